"""``cpu/step.py`` and ``gpu/step.py`` are mirrors, and neither of them states a formula."""

import ast
from pathlib import Path

import pytest

import lookahead_nb

PACKAGE = Path(lookahead_nb.__file__).parent / "kernels"
CPU, GPU = (ast.parse((PACKAGE / room / "step.py").read_text(encoding="utf-8")) for room in ("cpu", "gpu"))
# What other compiled code takes from the loops of its side.
FOR_COMPILED_CODE = {"width_types", "signatures", "plain_loop", "step_loop", "fused_loop", "sync_loop", "average_all"}
FOR_COMPILED_CODE |= {"sync_slot", "fused_momentum_loop", "sync_loop_of", "step_formula", "fused_formula"}
ARRAYS = {"p", "g", "s1", "s2", "slow", "a1", "a2", "s", "a"}
ARRAYS |= {f"{name}_" for name in ARRAYS}  # what a thread on a GPU holds of them
VALUES = {"fast", "first", "second"}


def functions(tree):
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def parameters(function):
    return [argument.arg for argument in function.args.args]


def public(tree):
    return {name: parameters(f) for name, f in functions(tree).items() if not name.startswith("_")}


def test_public_functions_have_the_same_names_order_and_parameters():
    cpu, gpu = (
        [(name, names) for name, names in public(tree).items() if name not in FOR_COMPILED_CODE] for tree in (CPU, GPU)
    )
    assert cpu == gpu


@pytest.mark.parametrize("builder", ["_plain", "_fused"])
def test_loops_and_kernels_have_the_same_parameters(builder):
    loop, kernel = (functions(functions(tree)[builder])[name] for tree, name in ((CPU, "loop"), (GPU, "kernel")))
    assert [*parameters(loop), "clock", "t"] == parameters(kernel)
    assert parameters(functions(CPU)["_sync"]) == parameters(functions(GPU)["_sync"])


def holds_a_weight(node, arrays=ARRAYS, values=VALUES):
    """Tell whether an element of an array, or a value made from one, stands in the expression outside of a call."""
    if isinstance(node, ast.Call):
        return False
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in arrays and not isinstance(node.slice, ast.Slice)
    if isinstance(node, ast.Name):
        return node.id in values
    return any(holds_a_weight(child, arrays, values) for child in ast.iter_child_nodes(node))


@pytest.mark.parametrize("tree", [CPU, GPU], ids=["cpu", "gpu"])
def test_no_formula_is_stated_in_a_loop(tree):
    sums = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp | ast.AugAssign | ast.UnaryOp)]
    sums = [node for node in sums if not isinstance(getattr(node, "op", None), ast.Not)]
    assert [ast.unparse(node) for node in sums if holds_a_weight(node)] == []
    assert holds_a_weight(ast.parse("rest * slow[i] + fast").body[0])


# ------------------------------------------------------------------------------------------------------- whole runs

ROOMS = [
    ("cpu", "network"),
    ("gpu", "network"),
    ("cpu", "runs"),
    ("gpu", "runs"),
    ("gpu", "surfaces"),
    ("cpu", "agents"),
    ("cpu", "adversarial"),
]
# The float arrays and values of whole runs, in which only indices may be reckoned with.
OF_RUNS = ARRAYS | {"params", "run_params", "grad", "work", "space", "row", "error", "below", "inputs", "outputs"}
OF_RUNS |= {"W", "dW", "db", "noise", "normals", "coefficients", "weights", "heights", "peak", "chains", "logits"}
OF_RUNS |= {"losses"}
VALUES_OF_RUNS = {"fast", "after", "z", "x", "term", "probability", "label_logit", "share"}


def tree_of(room, name):
    return ast.parse((PACKAGE / room / f"{name}.py").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["runs", "surfaces"])
def test_whole_runs_have_one_entry(name):
    cpu, gpu = (functions(tree_of(room, name))["advance"] for room in ("cpu", "gpu"))
    assert parameters(cpu) == parameters(gpu)


def stated(tree):
    """Return the products, quotients and differences that are no index; a bare sum adds up what formulas gave."""
    kinds = (ast.Mult, ast.Div, ast.Sub, ast.Pow)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, kinds)]
    return [ast.unparse(node) for node in found if holds_a_weight(node, OF_RUNS, VALUES_OF_RUNS)]


@pytest.mark.parametrize(("room", "name"), ROOMS)
def test_no_formula_is_stated_in_a_whole_run(room, name):
    assert stated(tree_of(room, name)) == []


def test_a_formula_stated_in_a_whole_run_would_be_seen():
    for wrong in ("work[at] * slope", "z - peak[r]", "term / total", "params[i] - c[0] * g[i]", "row[r] * row[r]"):
        assert stated(ast.parse(wrong)), wrong
    for right in ("work[at * rows + r]", "fma(a, work[i], c)", "at * rows", "np.float64(hits) / np.float64(rows)"):
        assert not stated(ast.parse(right)), right
