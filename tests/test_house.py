"""The rules of the house that a machine can check: floors, locks, stray addresses and paths, the handles of make."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lookahead_nb

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lookahead_nb"
MOST_PARAMETERS = 12  # positional, of a function: more are easily confused, and each one slows a compiled call down
LOCKS = [ROOT / "requirements.lock", ROOT / "tests/ptx.lock", ROOT / "tests/peers.lock"]

# The packages and top-level modules, ground floor first. A module imports from lower floors, or sideways without cycle.
FLOORS = [
    ["checks", "settings_file", "display"],
    ["kernels"],
    ["optimizers", "provenance"],
    ["models", "datasets"],
    ["training"],
    ["theory"],
    ["claims"],
    ["figures", "adapters"],
    ["__main__", "__init__"],
]
AT_THE_TOP = {
    *("pyproject.toml", "README.md", "notebooks", "lookahead_nb", "data", "tests", "paper", "Makefile", "MANIFEST.in"),
    *("requirements.lock", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md"),
    *(".ci", ".github", ".gitignore", ".pre-commit-config.yaml"),
}
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def package_of(module):
    return [*module.split("."), "__init__"][1]


class AtRunTime(ast.NodeTransformer):
    """Drops what is imported for annotations alone."""

    def visit_If(self, node):
        return None if ast.unparse(node.test) == "TYPE_CHECKING" else node


def imports(path):
    """All modules named in an import of the file, wherever it stands; a name that is a module counts as that module."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(AtRunTime().visit(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in MODULES or name == "numba.cuda" else base


IMPORTS = {module: set(imports(path)) for module, path in MODULES.items()}
INSIDE = {module: {name for name in names if name in MODULES} for module, names in IMPORTS.items()}


def listed_files():
    """Paths of all text files of the tree that git does not ignore."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def lines_with(pattern):
    for path in listed_files():
        text = path.read_bytes()
        if b"\0" not in text:
            for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
                if found := pattern.search(line):
                    yield f"{path.relative_to(ROOT)}:{number}: {found.group()}"


def test_every_module_has_a_floor():
    assert [module for module in MODULES if package_of(module) not in FLOOR] == []


def test_imports_go_down_or_sideways():
    arrows = [(user, used) for user, names in INSIDE.items() for used in names]
    assert [f"{user} -> {used}" for user, used in arrows if FLOOR[package_of(used)] > FLOOR[package_of(user)]] == []


def test_imports_have_no_cycle():
    TopologicalSorter(INSIDE).prepare()  # raises CycleError, which names the cycle


def test_cpu_and_gpu_never_import_each_other():
    pairs = [(user, used) for user, names in INSIDE.items() for used in names]
    assert [pair for pair in pairs if {side(name) for name in pair} == {"cpu", "gpu"}] == []


def side(module):
    return module.removeprefix("lookahead_nb.kernels.").split(".")[0]


def with_too_many_parameters(tree):
    """Each function that has more positional parameters than allowed, nested ones and lambdas too, by name and line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            count = len(node.args.posonlyargs) + len(node.args.args)
            if count > MOST_PARAMETERS:
                yield f"{getattr(node, 'name', 'lambda')} in line {node.lineno}: {count}"


def test_no_function_has_too_many_positional_parameters():
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}
    assert [f"{module}: {name}" for module, tree in trees.items() for name in with_too_many_parameters(tree)] == []


def test_too_many_positional_parameters_would_be_seen():
    most = ", ".join(f"p{i}" for i in range(MOST_PARAMETERS))
    for right in (f"def f({most}, *rest, key): pass", f"lambda {most}: 0"):
        assert [*with_too_many_parameters(ast.parse(right))] == []
    for wrong in (f"def f(a, /, {most}): pass", f"class C:\n def f(self, {most}): pass", f"lambda a, {most}: 0"):
        assert len([*with_too_many_parameters(ast.parse(wrong))]) == 1, wrong
    nested = f"def build(rule):\n async def first({most}, t): pass\n def second(clock, {most}): pass"
    assert [*with_too_many_parameters(ast.parse(nested))] == ["first in line 2: 13", "second in line 3: 13"]


def test_figures_never_reach_for_kernels():
    reached = {package_of(used) for user, names in INSIDE.items() if package_of(user) == "figures" for used in names}
    assert reached & {"kernels"} == set()


def test_ground_floor_needs_numpy_and_numba_only():
    allowed = {*sys.stdlib_module_names, "numpy", "numba", "llvmlite", "lookahead_nb"}
    used = {
        name.split(".")[0]
        for module, names in IMPORTS.items()
        if package_of(module) in FLOORS[0] + FLOORS[1]
        for name in names
    }
    assert used - allowed == set()


def test_cuda_is_imported_in_one_place():
    users = [m for m, names in IMPORTS.items() if any(re.match(r"numba(\.|_)cuda\b", name) for name in names)]
    assert set(users) <= {"lookahead_nb.kernels.gpu"}


@pytest.mark.parametrize("name", ["reference", "reference_network", "reference_agents"])
def test_reference_never_imports_the_package(name):
    used = {name.split(".")[0] for name in imports(ROOT / f"tests/support/{name}.py")}
    assert used <= {*sys.stdlib_module_names, "numpy"}


def test_import_is_light():
    heavy = ["matplotlib", "pandas", "pyarrow", "seaborn", "sklearn", "lookahead_nb.kernels.gpu"]
    code = f"import sys, lookahead_nb; print(*(name for name in {heavy} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_holds_names_versions_and_hashes_only(lock):
    text = lock.read_text(encoding="utf-8")
    requirement = re.compile(r"[a-z0-9-]+==[^\s;]+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+")
    assert "://" not in text
    assert [line for line in text.replace("\\\n", "").splitlines() if not requirement.fullmatch(line)] == []


def test_locks_agree():
    pins = [dict(re.findall(r"^(\S+)==(\S+)", lock.read_text(encoding="utf-8"), re.M)) for lock in LOCKS]
    assert [name for other in pins[1:] for name in pins[0].keys() & other if pins[0][name] != other[name]] == []


def test_no_address_of_a_package_registry():
    hosts = ["pypi" + r"\.org", r"python" + r"hosted\.org", "download\\.py" + "torch", "ana" + r"conda\.(org|com)"]
    assert list(lines_with(re.compile("|".join(hosts)))) == []


def test_no_path_of_a_machine():
    tops = "|".join(["work", "root", "home", "tmp", "Users"])
    assert list(lines_with(re.compile(rf"(?<![\w.)}}])/({tops})/[\w.-]+"))) == []


def test_nothing_lies_at_the_top_but_what_a_tool_needs_there():
    assert {path.relative_to(ROOT).parts[0] for path in listed_files()} == AT_THE_TOP


def test_hooks_of_a_commit_come_from_the_checkout():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (.*)", text) == ["local"]
    assert re.findall(r"entry: (.*)", text) == ["make --no-print-directory check"]


def test_version_is_the_same_everywhere():
    changes, citation = ((ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    version, date = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", changes, re.M).groups()  # the newest stands first
    assert version == lookahead_nb.__version__
    assert f"\nversion: {version}\ndate-released: {date}\n" in citation
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "lookahead_nb.__version__"}


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_help_lists_what_make_can_do():
    listed = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, re.M)
    assert re.findall(r"^make (\w+)", listed, re.M) == targets
    assert re.search(r"^\.PHONY: (.*)", makefile, re.M)[1].split() == targets
    assert '". .venv/bin/activate" puts them on your PATH' in listed


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", ["bench", "help"])
def test_a_mistyped_device_is_refused_before_anything_is_built(target):
    refused = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", target, "DEVICE=gpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert "DEVICE=gpu is nothing to measure on: choose cpu or cuda" in refused.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(("device", "first"), [("cpu", ".venv-peers"), ("cuda", ".venv-ptx")])
def test_a_device_is_measured_in_its_environment(device, first):
    command = ["make", "--dry-run", "bench", f"DEVICE={device}"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"{first}/bin/python" in planned


def test_no_text_names_a_package_that_is_on_no_index():
    texts = [*ROOT.glob("*.md"), *(ROOT / "lookahead_nb").rglob("*.py"), *ROOT.glob("paper/*.py")]
    assert [path.name for path in texts if 'install "lookahead-nb' in path.read_text(encoding="utf-8")] == []
