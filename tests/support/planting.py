"""Plant faults in copies of the package, and run the test that must notice each one.

``planted_faults.txt`` holds the faults. An entry is a line ``title | function | test``, then the right code after ``-``
and the wrong code after ``+``. Entries are separated by empty lines, and a line that starts with ``#`` is a comment.

function : its qualified name, for example ``LookaheadState._take``, searched in the whole package. If several modules
    have it, ``cpu.runs:advance`` names one by the end of its dotted name, so that the packages above it may change. A
    class stands for its fields, and ``figures.catalogue:`` for the code of a module outside its functions and classes.
right, wrong : one expression, or whole statements. The right code is compared after parsing, so line breaks,
    parentheses, comments and the signature of the function do not matter. It must be there exactly once.

``python -m tests.support.planting`` reads jobs from its input; `outcomes` starts it.
"""

import ast
import builtins
import compileall
import difflib
import gc
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PACKAGE = TESTS.parent / "lookahead_nb"

TIMEOUT = 300  # seconds of computing; a fault that makes its test run forever is an error
PATIENCE = 1800  # seconds of waiting
# Imported once by the process that starts the others: most of the time of a short test is spent on them.
PRELOADED = ("pytest", "hypothesis", "numba.cuda", "pandas", "pyarrow.parquet", "scipy.stats", "seaborn", "sklearn")
FEW = 5  # jobs that are not worth it

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # where statements hold statements


class MisfitError(Exception):
    """A fault that does not fit the package. The text says why and what to do."""


@dataclass(frozen=True)
class Fault:
    """Wrong code in the place of right code, and the test that must notice."""

    title: str
    function: str
    test: str
    right: str
    wrong: str


def read(path=TESTS / "planted_faults.txt"):
    """Read all faults of a file, in their order."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [_entry(block) for block in "\n".join(lines).strip("\n").split("\n\n") if block.strip()]


def _entry(block):
    head, *lines = block.strip("\n").splitlines()
    fields = head.split(" | ")
    right, wrong = (textwrap.dedent("\n".join(line[1:] for line in lines if line[0] == sign)) for sign in "-+")
    if len(fields) != 3 or not right or not wrong or any(line[0] not in "-+" for line in lines):
        raise MisfitError(
            f"an entry must be a line 'title | function | test', then lines with - and lines with +, got:\n{block}"
        )
    return Fault(*fields, right.strip(" "), wrong.strip(" "))


# --------------------------------------------------------------------------------------------------- where it goes


def _definitions(node, prefix=""):
    """Yield every function and class below a statement or module with its qualified name."""
    below = [child for field in BLOCKS for child in getattr(node, field, ())]
    for child in below:
        if isinstance(child, DEFINITIONS):
            yield prefix + child.name, child
            yield from _definitions(child, f"{prefix}{child.name}.")
        else:
            yield from _definitions(child, prefix)


def _module(path, package):
    return ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")


def _inside(node):
    """Yield the nodes of a function, or of a class or module without the functions and classes in it."""
    yield node
    waiting = list(node.body)
    while waiting:
        child = waiting.pop()
        if isinstance(node, FUNCTIONS) or not isinstance(child, DEFINITIONS):
            yield child
            waiting += ast.iter_child_nodes(child)


def _parsed(code):
    """Return an expression, or a list of statements."""
    try:
        return ast.parse(code, mode="eval").body
    except SyntaxError:
        return ast.parse(code).body


def _both_parsed(fault):
    try:
        right, wrong = _parsed(fault.right), _parsed(fault.wrong)
        if isinstance(right, list) or isinstance(wrong, list):
            right, wrong = ast.parse(fault.right).body, ast.parse(fault.wrong).body
    except SyntaxError as error:
        raise MisfitError(
            f"{fault.title}: right and wrong must be an expression or whole statements: {error}"
        ) from None
    return right, wrong


def _same(node, other):
    return type(node) is type(other) and ast.unparse(node) == ast.unparse(other)


def _places(scope, right):
    """Return where the right code is: a list and the slice of it, or a node and the name of its field."""
    found = []
    for node in _inside(scope):
        for name, value in ast.iter_fields(node):
            if node is scope and name != "body":
                continue  # neither the signature nor the decorators
            if isinstance(right, list):
                if name in ("body", "orelse", "finalbody") and isinstance(value, list):
                    ends = range(len(right), len(value) + 1)
                    windows = [(value, slice(end - len(right), end)) for end in ends]
                    found += [(rows, at) for rows, at in windows if all(map(_same, rows[at], right))]
            elif isinstance(value, list):
                found += [(value, slice(i, i + 1)) for i, one in enumerate(value) if _same(one, right)]
            elif isinstance(value, ast.expr) and _same(value, right):
                found.append((node, name))
    return found


def _names(nodes):
    """Return every name that these nodes read, bind, import or define."""
    names = set()
    for node in nodes:
        for field in ("id", "arg", "name", "asname"):
            names.add(getattr(node, field, None))
    return {name.split(".")[0] for name in names if isinstance(name, str)}


def _module_of(function, modules):
    """Return the module that a name leads to. modules : what `_modules` returns."""
    module, colon, name = function.rpartition(":")
    chosen = list(modules)
    if colon:
        chosen = [module] if module in modules else [one for one in modules if one.endswith(f".{module}")]
    if not chosen:
        raise MisfitError(f"there is no module {module!r}{_nearest(module, modules)}")
    found = [one for one in chosen if not name or name in modules[one][1]]
    if not found:
        known = {own for one in chosen for own in modules[one][1]}
        raise MisfitError(f"there is no function or class {name!r}{_nearest(name, known)}")
    if len(found) > 1:
        raise MisfitError(f"several modules have {function!r}; name one: {', '.join(f'{one}:{name}' for one in found)}")
    return found[0]


def _scopes(tree):
    """Return the nodes of each qualified name of a module; it has several if a name is defined twice."""
    found = {"": [tree]}
    for name, node in _definitions(tree):
        found.setdefault(name, []).append(node)
    return found


def _nearest(text, known):
    near = difflib.get_close_matches(text, sorted(known), n=3, cutoff=0.5)
    return f"; the nearest: {', '.join(near)}" if near else ""


@cache
def _modules(package):
    """Parse every module of the package, once; nobody may change what this returns."""
    paths = {_module(path, package): path for path in sorted(package.rglob("*.py"))}
    return {module: (path, _scopes(ast.parse(path.read_text(encoding="utf-8")))) for module, path in paths.items()}


def planted(fault, package=PACKAGE):
    """Return the path of the file that the fault is in, relative to the package, and its text with the fault.

    Raises MisfitError if the function, or the right code in it, is missing or not the only one.
    """
    right, wrong = _both_parsed(fault)
    modules = _modules(package)
    try:
        module = _module_of(fault.function, modules)
    except MisfitError as error:
        raise MisfitError(f"{fault.title}: {error}") from None
    path = modules[module][0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    scopes = _scopes(tree)[fault.function.rpartition(":")[2]]
    places = [place for scope in scopes for place in _places(scope, right)]
    if len(places) != 1:
        kinds = (ast.expr, ast.stmt)
        code = {ast.unparse(node) for scope in scopes for node in _inside(scope) if isinstance(node, kinds)}
        hint = "; take more of the code around it" if places else _nearest(fault.right, code)
        raise MisfitError(
            f"{fault.title}: {fault.function} must hold this code once, but holds it {len(places)} times: "
            f"{fault.right}{hint}"
        )
    names = _names(ast.walk(tree)) | set(dir(builtins))
    if strange := sorted(_names(n for one in _as_list(wrong) for n in ast.walk(one)) - names):
        raise MisfitError(f"{fault.title}: {module} has no name {', '.join(strange)}; the wrong code must run")
    where, at = places[0]
    if isinstance(at, slice):
        where[at] = _as_list(wrong)
    else:
        setattr(where, at, wrong)
    return path.relative_to(package), ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _as_list(code):
    return code if isinstance(code, list) else [code]


# ----------------------------------------------------------------------------------------------------- running it


def outcomes(jobs, workers=None):
    """Yield ``(title, exit code of pytest, output)`` of every job as it ends.

    jobs : list of ``(title, file, text, tests)``; the tests run on a copy of the package in which this file has this
    text, or on an unchanged copy if file is None. Everything runs as plain Python, CUDA kernels in Numba's simulator.
    """
    plain = {"NUMBA_DISABLE_JIT": "1", "NUMBA_ENABLE_CUDASIM": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plain |= {"PYTHONPATH": str(TESTS.parent)}
    command = [sys.executable, "-m", "tests.support.planting", str(workers or os.cpu_count())]
    options = {"cwd": TESTS.parent, "env": os.environ | plain, "text": True}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options) as server:
        server.stdin.write(json.dumps(jobs))
        server.stdin.close()
        yield from map(json.loads, server.stdout)
    if server.returncode:
        raise RuntimeError(f"the process that runs the tests ended with exit code {server.returncode}")


def _serve(jobs, workers):
    """Run every job in a process of its own, forked from this one, and print what came of it."""
    for name in PRELOADED if len(jobs) > FEW else ("pytest",):
        importlib.import_module(name)
    gc.freeze()  # pytest collects garbage at the end, and would look through all of these libraries each time
    assert "lookahead_nb" not in sys.modules, "a copy could no longer be imported in its place"
    running = {}
    with tempfile.TemporaryDirectory() as folder:
        original = Path(shutil.copytree(PACKAGE, Path(folder, "original", PACKAGE.name)))
        compileall.compile_dir(original, quiet=2)
        for number, (title, file, text, tests) in enumerate(jobs):
            if len(running) == workers:
                _report(running)
            place = Path(folder, str(number))
            package = Path(shutil.copytree(original, place / PACKAGE.name))
            if file:
                Path(package, file).unlink()  # its compiled twin then counts for nothing, whatever the clock says
                shutil.rmtree(Path(package, file).parent / "__pycache__")
                Path(package, file).write_text(text, encoding="utf-8")
            process = os.fork()
            if not process:
                _run(place, tests)
            running[process] = title, place
        while running:
            _report(running)


def _run(place, tests):
    """Run pytest in this process on the copy in a folder, and end the process with its exit code."""
    import pytest

    code = pytest.ExitCode.INTERNAL_ERROR
    try:
        signal.setitimer(signal.ITIMER_PROF, TIMEOUT)  # the signals of both end the process
        signal.alarm(PATIENCE)
        with (place / "output").open("w") as output:
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
        os.environ["PYTHONPATH"] = str(place)
        os.chdir(place)
        sys.path.insert(0, str(place))
        quick = ["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", f"--basetemp={place / 'tmp'}"]
        code = pytest.main([*quick, *(str(TESTS / test) for test in tests)])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _report(running):
    process, status = os.wait()
    title, place = running.pop(process)
    output = (place / "output").read_text(encoding="utf-8", errors="replace")
    shutil.rmtree(place)
    print(json.dumps([title, os.waitstatus_to_exitcode(status), output]), flush=True)  # noqa: T201 (to its parent)


if __name__ == "__main__":
    _serve(json.load(sys.stdin), int(sys.argv[1]))
