"""Every public docstring is complete, and `make api` shows it.

It begins with a sentence, describes every argument and none that is not there, says what is returned and which errors
are raised. A name is described as in ``lr : float at least 0``. What the docstring of a module says of a name holds for
its functions, that of a class for its methods, and that of ``figures`` for the modules in it. A class that something
else makes needs not describe how.
"""

import ast
import builtins
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from functools import cache, cached_property
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from types import FunctionType, ModuleType

import pytest

import lookahead_nb
from lookahead_nb import checks, figures

ROOT = Path(__file__).resolve().parent.parent
spec = spec_from_file_location("api", ROOT / "paper/api.py")
api = module_from_spec(spec)
spec.loader.exec_module(api)

FIGURES = ["lookahead_nb.figures", *(f"lookahead_nb.figures.{each.name}" for each in iter_modules(figures.__path__))]
MODULES = [importlib.import_module(name) for name in ["lookahead_nb", *api.public_modules()]]
NO_ARGUMENTS = {"returns", "yields", "errors"}
CHECKS = {name for name, check in vars(checks).items() if isinstance(check, FunctionType)}
MADE = re.compile(r"\b[Mm]ade\b.* by\b")  # and not by the user
GIVES = re.compile(r"\b([Rr]eturns?|[Yy]ields?|Say|Tell|Give)\b")
REFERENCE = re.compile(r"`(?:lookahead_nb\.)?([a-z_]+)\.(\w+)")  # to a name in another module
DEFERS = re.compile(r"\b(those of|that of|as (in|for)?) ")  # to another docstring


# -------------------------------------------------------------------------------------------------------- what is told


def public(module):
    """The names of a module's own that a user may import, and the functions and classes that they stand for."""
    for name in getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]):
        value = inspect.unwrap(getattr(module, name))
        if isinstance(value, (type, FunctionType)) and value.__module__ == module.__name__:
            yield f"{module.__name__}.{name}", value


def faults_of_module(module):
    yield from faults_of_sentence(module.__name__, module)
    held = told_of(module)
    if module.__package__ not in ("", "lookahead_nb"):
        held = told_of(sys.modules[module.__package__]) | held
    for name, value in public(module):
        yield from (faults_of_class if isinstance(value, type) else faults_of_function)(name, value, held)


def faults_of_class(name, kind, held):
    yield from faults_of_sentence(name, kind)
    told, asked = told_of(kind), []
    if not (issubclass(kind, Exception) or inspect.isabstract(kind) or MADE.search(kind.__doc__ or "")):
        asked = arguments(kind)
    yield from (f"{name}: {each} is not described" for each in asked if each not in held | told)
    methods = {key: inspect.unwrap(getattr(each, "__func__", each)) for key, each in vars(kind).items()}
    functions = {key: each for key, each in methods.items() if isinstance(each, FunctionType) and is_written(each)}
    has = {*asked, *dir(kind), *kind.__annotations__, *re.findall(r"self\.(\w+)", source(kind)), *NO_ARGUMENTS}
    has |= {each for function in functions.values() for each in arguments(function)}
    yield from (f"{name}: {each} is nothing it has" for each in told if each not in has)
    for key, method in methods.items():
        if key in functions and key in ("__init__", "__post_init__"):
            yield from faults_of_errors(name, method, told)
        elif key in functions and (key == "__call__" or not key.startswith("_")):
            yield from faults_of_function(f"{name}.{key}", method, held | told)
        elif not key.startswith("_") and isinstance(method, property | cached_property):
            yield from faults_of_sentence(f"{name}.{key}", method)


def faults_of_function(name, function, held):
    yield from faults_of_sentence(name, function)
    told, asked = told_of(function), arguments(function)
    yield from (f"{name}: {each} is not described" for each in asked if each not in held | told)
    yield from (f"{name}: {each} is no argument" for each in told if each not in {*asked, *NO_ARGUMENTS})
    if gives(function) and not GIVES.search(function.__doc__ or "") and "returns" not in held:
        yield f"{name}: does not say what it returns"
    yield from faults_of_errors(name, function, held | told)


def faults_of_sentence(name, value):
    if not re.match(r"[^a-z\s].*\.$", (value.__doc__ or "").strip().split("\n\n")[0], re.DOTALL):
        yield f"{name}: begins with no sentence"


def faults_of_errors(name, function, told):
    raised, refuses = errors_of(function)
    if refuses and "errors" not in told:
        yield f"{name}: does not say which errors it raises"
    elif refuses and not DEFERS.search(told["errors"]):
        listed = tuple(error_named(word, function) for word in re.findall(r"\w+Error", told["errors"]))
        missing = [each for each in sorted(raised) if not issubclass(error_named(each, function), listed)]
        yield from (f"{name}: {each} is not among its errors" for each in missing)


def told_of(value):
    return api.described(inspect.cleandoc(value.__doc__ or ""))


# -------------------------------------------------------------------------------------------------------- what is true


def arguments(value):
    return [name for name in inspect.signature(value).parameters if name not in ("self", "cls", "_")]


def gives(function):
    """Whether a function returns a value or yields some."""
    return any(
        isinstance(n, ast.Yield | ast.YieldFrom) or getattr(n, "value", None)
        for n in body(function, ast.Return, ast.Yield, ast.YieldFrom)
    )


@cache
def errors_of(function):
    """The names of the errors that a function raises itself, and whether it or what it leans on refuses anything.

    It leans on the checks, and on private functions and methods of its module.
    """
    raised = {
        name
        for node in body(function, ast.Raise)
        if node.exc
        for name in re.findall(r"^[A-Z]\w+Error", ast.unparse(node.exc))
    }
    called = {getattr(node.func, "id", getattr(node.func, "attr", "")) for node in body(function, ast.Call)}
    leans = (helper for name in called if name.startswith("_") for helper in beside(function, name))
    return raised, bool(raised or called & CHECKS) or any(
        errors_of(helper)[1] for helper in leans if helper is not function
    )


def beside(function, name):
    """The functions and methods of this name in the module of a function."""
    there = vars(sys.modules[function.__module__])
    kinds = [vars(kind) for kind in there.values() if isinstance(kind, type) and kind.__module__ == function.__module__]
    found = (inspect.unwrap(space[name]) for space in (there, *kinds) if callable(space.get(name)))
    return [each for each in found if isinstance(each, FunctionType) and is_written(each)]


def body(function, *kinds):
    """The nodes of these kinds in the body of a function, without those of functions inside it."""
    waiting = ast.parse(source(function)).body[0].body[:]
    while waiting:
        node = waiting.pop()
        if isinstance(node, kinds):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def source(value):
    return textwrap.dedent(inspect.getsource(value))


def is_written(function):
    """Whether it stands in a file; a dataclass and a named tuple make some of theirs."""
    return not function.__code__.co_filename.startswith("<")


def error_named(name, function):
    """The error that a name stands for in a function; none where it is unknown there."""
    return next((space[name] for space in (function.__globals__, vars(checks), vars(builtins)) if name in space), ())


# -------------------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("module", [*MODULES, *map(importlib.import_module, FIGURES)], ids=lambda each: each.__name__)
def test_docstrings_are_complete(module):
    assert list(faults_of_module(module)) == []


@pytest.mark.parametrize("name", [module.__name__ for module in MODULES] + FIGURES)
def test_what_docstrings_refer_to_is_there(name):
    tree = ast.parse(inspect.getsource(sys.modules[name]))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    told = "\n".join(ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds))
    assert [f"{room}.{thing}" for room, thing in REFERENCE.findall(told) if is_lost(room, thing)] == []


def is_lost(room, thing):
    """Whether a room of the package has nothing of this name."""
    module = f"lookahead_nb.{room}"
    return find_spec(module) is not None and not hasattr(importlib.import_module(module), thing)


def test_a_lost_reference_is_found():
    assert REFERENCE.findall("``comparisons.with_theory`` and :func:`lookahead_nb.train.train`") == [
        ("comparisons", "with_theory"),
        ("train", "train"),
    ]
    assert is_lost("comparisons", "with_theory")
    assert not is_lost("predictions", "with_theory")
    assert not is_lost("pandas", "DataFrame")


WHOLE = '''
"""A module."""
from lookahead_nb.checks import whole_number

class Thing:
    """A thing.

    n : int, at least 1. errors : TypeError, ValueError.
    """

    def __init__(self, n):
        self.n = _checked(n)

    def times(self, factor):
        """Return n times a factor.

        factor : int, at least 0. errors : ValueError.
        """
        if factor < 0:
            raise ValueError("factor must be at least 0")
        return self.n * factor

def _checked(n):
    return whole_number("n", n, 1)
'''
FAULTS = {
    ('"""A module."""', '"""a module"""'): "planted: begins with no sentence",
    ("n : int, at least 1. errors", "errors"): "planted.Thing: n is not described",
    ("n : int", "n, m : int"): "planted.Thing: m is nothing it has",
    (" errors : TypeError, ValueError.", ""): "planted.Thing: does not say which errors it raises",
    ("Return n times a factor.", "N times a factor."): "planted.Thing.times: does not say what it returns",
    ("Return n times a factor.", "Return n times a factor"): "planted.Thing.times: begins with no sentence",
    ("factor : int, at least 0. errors", "errors"): "planted.Thing.times: factor is not described",
    ("factor : int", "factor, sign : int"): "planted.Thing.times: sign is no argument",
    ("self, factor)", "self, factor, sign=1)"): "planted.Thing.times: sign is not described",
    (" errors : ValueError.", ""): None,  # what the class says of errors holds for its methods
    (" errors : ValueError.", " errors : TypeError."): "planted.Thing.times: ValueError is not among its errors",
}  # fmt: skip


def faults_of_text(text, folder, monkeypatch):
    (folder / "planted.py").write_text(text)
    planted = module_from_spec(spec_from_file_location("planted", folder / "planted.py"))
    monkeypatch.setitem(sys.modules, "planted", planted)
    planted.__spec__.loader.exec_module(planted)
    return list(faults_of_module(planted))


@pytest.mark.parametrize(("change", "fault"), FAULTS.items(), ids=lambda each: None)
def test_a_planted_fault_is_found(change, fault, tmp_path, monkeypatch):
    assert faults_of_text(WHOLE, tmp_path, monkeypatch) == []
    assert change[0] in WHOLE
    (tmp_path / "changed").mkdir()
    assert faults_of_text(WHOLE.replace(*change), tmp_path / "changed", monkeypatch) == ([fault] if fault else [])


def test_the_front_page_names_every_module():
    assert [name for name in api.public_modules() if f"``{name}``" not in lookahead_nb.__doc__] == []


def test_all_that_is_offered_is_described():
    offered = [getattr(lookahead_nb, name) for name in lookahead_nb.__all__]
    known = {value for module in MODULES for _, value in public(module)}
    assert [value for value in offered if not isinstance(value, ModuleType) and value not in known] == []
    assert {value for value in offered if isinstance(value, ModuleType)} <= {*MODULES}


def test_the_reference_is_written(tmp_path):
    environment = os.environ | {"LOOKAHEAD_NB_BUILD": str(tmp_path)}
    subprocess.run([sys.executable, ROOT / "paper/api.py"], env=environment, check=True, capture_output=True, text=True)
    pages = {
        name: tmp_path / "api" / f"{name.replace('.', '/')}.html" for name in ["lookahead_nb", *api.public_modules()]
    }
    texts = {name: page.read_text(encoding="utf-8") for name, page in pages.items()}
    shown = {name: set(re.findall(r'id="([\w.]+)"', text)) for name, text in texts.items()}
    for module in MODULES:
        assert {name.removeprefix(f"{module.__name__}.") for name, _ in public(module)} <= shown[module.__name__]
    assert {*lookahead_nb.__all__} - shown["lookahead_nb"] == {"datasets", "landscapes", "schedules", "theory"}
    assert "<li><strong>sync_period</strong> : int k, at least 1.</li>" in texts["lookahead_nb"]
    loaded = re.findall(r'(?:src=|<link[^>]* href=|url\(|@import )["\']?(?!data:)([^"\' )>]+)', "".join(texts.values()))
    assert {*loaded} <= {"search.js", "../search.js"}  # so that it opens without a network
