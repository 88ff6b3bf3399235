"""Every public docstring is complete in numpydoc form, its examples run, and `make api` shows it.

A docstring begins with a sentence. Sections list every parameter in order and none that does not exist, what is
returned, and the errors that the body raises. A method may refer to the one it overrides instead ("see :meth:").
"""

import ast
import builtins
import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from functools import cached_property
from html.parser import HTMLParser
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

import lookahead_nb

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
spec = spec_from_file_location("api", ROOT / "paper/api.py")
api = module_from_spec(spec)
spec.loader.exec_module(api)

MODULES = [importlib.import_module(name) for name in api.public_modules()]
REFERENCE = re.compile(r"`(?:lookahead_nb\.)?([a-z_]+(?:\.[a-z_]+)*)\.(\w+)")  # to a name in another module
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
ENTRY = re.compile(r"^(\*{0,2}\w[\w.]*(?:, \*{0,2}\w[\w.]*)*)(?: : .*)?$", re.MULTILINE)
MADE = re.compile(r"\b[Mm]ade (?:or opened )?by\b")  # and not by the user
REFERS = re.compile(r"\bsee :(?:meth|func|class|attr):")  # to another docstring

# The names that users need most; each has an example in the reference.
MOST_USED = {
    "optimizers": ["AdamW", "Adam", "SGD", "Lookahead", "EMA", "ScheduleFreeAdamW"],
    "optimizers.schedules": ["constant", "cosine"],
    "models": ["MLP", "LogisticRegression"],
    "models.landscapes": ["Quadratic", "DoubleWell"],
    "datasets": ["load", "from_arrays"],
    "training": ["train", "load", "Training"],
    "training.grid": ["grid", "sample"],
    "training.plots": ["plot"],
    "training.sweep": ["sweep"],
    "kernels.philox": ["minibatches"],
    "theory": ["Cycle", "best_lr"],
    "optimizers.controls": ["with_controls"],
    "adapters.sklearn": ["MLPClassifier", "MLPRegressor"],
    "adapters.scipy": ["method"],
    "claims.curves": ["first_below"],
    "claims.population": ["generated", "population"],
    "claims.inference": ["mean_benefit", "clopper_pearson", "benjamini_hochberg", "steps_worth", "agreement"],
    "claims.modality": ["verdict_by_mean", "verdict_on"],
    "claims.tuning": ["tuned", "regimes"],
}


# -------------------------------------------------------------------------------------------------------- what is said


def sections(value):
    """The text of each section of a docstring by name; "" is the part ahead of the first."""
    first, *rest = SECTION.split(inspect.cleandoc(value.__doc__ or ""))
    return {"": first} | dict(zip(rest[::2], rest[1::2], strict=True))


def entries(text):
    """The names that a section lists, in order."""
    return [name.lstrip("*") for names in ENTRY.findall(text) for name in names.split(", ")]


def public(module):
    """The public functions and classes that a module defines or exports."""
    for name in getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")]):
        value = inspect.unwrap(getattr(module, name))
        defined = getattr(value, "__module__", "")
        if isinstance(value, (type, FunctionType)) and (defined == module.__name__ or hasattr(module, "__all__")):
            yield f"{module.__name__}.{name}", value


def flaws_of_module(module):
    yield from flaws_of_sentence(module.__name__, module)
    for name, value in public(module):
        if ".kernels.formulas" in module.__name__:  # equations share their conventions, stated once in a module
            yield from flaws_of_sentence(name, value)
        elif value.__module__ == module.__name__:
            yield from (flaws_of_class if isinstance(value, type) else flaws_of_function)(name, value)


def flaws_of_class(name, kind):
    yield from flaws_of_sentence(name, kind)
    told = sections(kind)
    listed = entries(told.get("Parameters", "")) + entries(told.get("Attributes", ""))
    written = not MADE.search(told[""]) and (
        "__init__" in vars(kind) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "_fields")
    )
    if written and not issubclass(kind, Exception) and not inspect.isabstract(kind):
        yield from (f"{name}: {p} is not described" for p in parameters(kind) if p not in listed)
    for key, value in vars(kind).items():
        method = inspect.unwrap(getattr(value, "__func__", value))
        if isinstance(method, (property, cached_property)) and not key.startswith("_"):
            yield from flaws_of_sentence(f"{name}.{key}", method)
        elif isinstance(method, FunctionType) and is_written(method) and (not key.startswith("_") or key == "__call__"):
            yield from flaws_of_function(f"{name}.{key}", method)


def flaws_of_function(name, function):
    yield from flaws_of_sentence(name, function)
    told = sections(function)
    if REFERS.search(told[""]):
        return
    asked, listed = parameters(function), entries(told.get("Parameters", ""))
    if sorted(asked) != sorted(listed):
        yield f"{name}: the parameters are {asked}, described are {listed}"
    gives = any(getattr(node, "value", None) for node in body(function, ast.Return, ast.Yield, ast.YieldFrom))
    if gives and not {"Returns", "Yields"} & {*told} and not re.match(r"(Return|Yield)s? ", told[""]):
        yield f"{name}: does not say what it returns"
    raised = {ast.unparse(node.exc).partition("(")[0] for node in body(function, ast.Raise) if node.exc}
    said = re.findall(r"\w+", told.get("Raises", ""))
    raised = {error_name(error) for error in raised if re.fullmatch(r"[\w.]*[A-Z]\w*", error)}
    yield from (f"{name}: {error} is not among its errors" for error in sorted(raised) if not is_listed(error, said))


def error_name(expression):
    return expression.rpartition(".")[2]


def is_listed(error, names):
    """Whether an error, or a built-in one that it is a kind of, is among the names."""
    kinds = [kind.__name__ for kind in getattr(vars(builtins).get(error), "__mro__", ())]
    return not ({error, *kinds} - {"Exception", "BaseException", "object"}).isdisjoint(names)


def flaws_of_sentence(name, value):
    if not re.match(r"[^a-z\s].*[.:]$", (value.__doc__ or "").strip().split("\n\n")[0], re.DOTALL):
        yield f"{name}: begins with no sentence"


# -------------------------------------------------------------------------------------------------------- what is true


def parameters(value):
    return [name for name in inspect.signature(value).parameters if name not in ("self", "cls", "_")]


def body(function, *kinds):
    """The nodes of these kinds in the body of a function, without those of functions inside it."""
    waiting = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body[:]
    while waiting:
        node = waiting.pop()
        if isinstance(node, kinds):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def is_written(function):
    """Whether it stands in a file of ours; a dataclass and a named tuple generate some of theirs."""
    return str(ROOT) in str(Path(function.__code__.co_filename).resolve()) or "planted" in function.__code__.co_filename


# --------------------------------------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_docstrings_are_complete(module):
    assert list(flaws_of_module(module)) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_what_docstrings_refer_to_exists(module):
    tree = ast.parse(inspect.getsource(module))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    told = "\n".join(ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds))
    lost = [f"{path}.{name}" for path, name in REFERENCE.findall(told) if is_lost(path, name, module)]
    assert lost == []


def is_lost(path, name, module=lookahead_nb):
    """Whether a path that leads to a module of the package leads to nothing of this name."""
    for base in ("lookahead_nb", module.__package__ or "lookahead_nb", "lookahead_nb.kernels"):
        try:
            found = find_spec(f"{base}.{path}")
        except ModuleNotFoundError:
            found = None
        if found is not None:
            return not hasattr(importlib.import_module(f"{base}.{path}"), name) and not find_child(found, name)
    return False


def find_child(parent, name):
    return bool(parent.submodule_search_locations) and find_spec(f"{parent.name}.{name}") is not None


def test_a_lost_reference_is_found():
    assert REFERENCE.findall("``theory.with_theory`` and :func:`lookahead_nb.training.train`") == [
        ("theory", "with_theory"),
        ("training", "train"),
    ]
    assert is_lost("theory", "with_theory")
    assert not is_lost("theory", "Cycle")
    assert not is_lost("pandas", "DataFrame")


NAMES = [f"{module}.{name}" for module, names in MOST_USED.items() for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_the_most_used_names_have_an_example_that_runs(name):
    module, _, last = f"lookahead_nb.{name}".rpartition(".")
    value = getattr(importlib.import_module(module), last)
    examples = doctest.DocTestParser().get_examples(sections(value)["Examples"])
    assert examples
    lines = []
    test = doctest.DocTest(examples, {}, name, None, None, None)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=lines.append).failed == 0, "".join(lines)


WITH_EXAMPLES = (
    "datasets.dataset",
    "datasets.sources",
    "models.finite_sum",
    "models.games",
    "models.ring",
    "optimizers.groups",
    "optimizers.schedules",
    "theory.worth",
    "training.callbacks",
    "training.play",
    "training.tasks",
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_all_examples_of_a_module_run(name):
    flags, lines = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, []
    module, runner = importlib.import_module(f"lookahead_nb.{name}"), doctest.DocTestRunner(optionflags=flags)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(test, out=lines.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(lines)


WHOLE = '''
"""A module."""

class Thing:
    """A thing.

    Parameters
    ----------
    n : int
        At least 1.
    """

    def __init__(self, n):
        self.n = n

    def times(self, factor):
        """Multiply it.

        Parameters
        ----------
        factor : int
            At least 0.

        Returns
        -------
        int

        Raises
        ------
        ValueError
            If factor is below 0.
        """
        if factor < 0:
            raise ValueError("factor must be at least 0")
        return self.n * factor
'''
TIMES = "planted.Thing.times"
FLAWS = {
    ('"""A module."""', '"""a module"""'): "planted: begins with no sentence",
    ("    n : int\n        At least 1.\n", ""): "planted.Thing: n is not described",
    ("Multiply it.", "Multiply it"): "planted.Thing.times: begins with no sentence",
    ("        Returns\n        -------\n        int\n\n", ""): "planted.Thing.times: does not say what it returns",
    ("factor : int", "factor, sign : int"): f"{TIMES}: the parameters are ['factor'], described are ['factor', 'sign']",
    ("self, factor)", "self, factor, b=1)"): f"{TIMES}: the parameters are ['factor', 'b'], described are ['factor']",
    ("        ValueError\n", "        TypeError\n"): "planted.Thing.times: ValueError is not among its errors",
}  # fmt: skip


def flaws_of_text(text, folder, monkeypatch):
    (folder / "planted.py").write_text(text)
    planted = module_from_spec(spec_from_file_location("planted", folder / "planted.py"))
    monkeypatch.setitem(sys.modules, "planted", planted)
    planted.__spec__.loader.exec_module(planted)
    return list(flaws_of_module(planted))


@pytest.mark.parametrize(("change", "flaw"), FLAWS.items(), ids=lambda value: None)
def test_a_planted_flaw_is_found(change, flaw, tmp_path, monkeypatch):
    assert flaws_of_text(WHOLE, tmp_path, monkeypatch) == []
    assert change[0] in WHOLE
    (tmp_path / "changed").mkdir()
    assert flaws_of_text(WHOLE.replace(*change), tmp_path / "changed", monkeypatch) == [flaw]


def test_all_that_is_offered_is_described():
    offered = [inspect.unwrap(getattr(lookahead_nb, name)) for name in lookahead_nb.__all__]
    known = {value for module in MODULES for _, value in public(module)}
    assert [value for value in offered if not isinstance(value, ModuleType) and value not in known] == []


class Places(HTMLParser):
    """The ids of a page, and where its links lead."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, _, attrs):
        found = dict(attrs)
        self.ids.add(found.get("id"))
        self.targets += [found["href"]] if "href" in found else []


def dead_links(folder):
    pages = {path.resolve(): Places(path) for path in folder.rglob("*.html")}
    for path, page in pages.items():
        for target in page.targets:
            name, _, place = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if not re.match("[a-z]+:", target) and (file not in pages or (place and place not in pages[file].ids)):
                yield f"{path.name} links to {target}"


def test_the_reference_is_written(tmp_path):
    environment = os.environ | {"LOOKAHEAD_NB_BUILD": str(tmp_path)}
    subprocess.run([sys.executable, ROOT / "paper/api.py"], env=environment, check=True, capture_output=True, text=True)
    pages = {module.__name__: tmp_path / "api" / f"{module.__name__.replace('.', '/')}.html" for module in MODULES}
    texts = {name: page.read_text(encoding="utf-8") for name, page in pages.items()}
    shown = {name: set(re.findall(r'id="([\w.]+)"', text)) for name, text in texts.items()}
    for module in MODULES:
        names = {name.removeprefix(f"{module.__name__}.") for name, _ in public(module)}
        assert names <= shown[module.__name__], module.__name__
    assert "sync_period" in texts["lookahead_nb.optimizers.lookahead"]
    assert [*dead_links(tmp_path / "api")] == []
    assert "_Estimator" not in re.findall(r'href="#(\w+)', texts["lookahead_nb.adapters.sklearn"])  # a private base
    loaded = re.findall(r'(?:src=|<link[^>]* href=|url\(|@import )["\']?(?!data:)([^"\' )>]+)', "".join(texts.values()))
    assert {name.rpartition("/")[2] for name in loaded} <= {"search.js"}  # so that it opens without a network
