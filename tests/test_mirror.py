"""``cpu/step.py`` and ``gpu/step.py`` are mirrors, and neither of them states a formula."""

import ast
from pathlib import Path

import pytest

import lookahead_nb

PACKAGE = Path(lookahead_nb.__file__).parent
CPU, GPU = (ast.parse((PACKAGE / room / "step.py").read_text(encoding="utf-8")) for room in ("cpu", "gpu"))
# What other compiled code takes from the CPU loops; a kernel on a GPU is never called by one on the CPU.
FOR_COMPILED_CODE = {"width_types", "signatures", "plain_loop", "fused_loop", "sync_loop", "average_all"}
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
    cpu = {name: names for name, names in public(CPU).items() if name not in FOR_COMPILED_CODE}
    assert list(cpu.items()) == list(public(GPU).items())


@pytest.mark.parametrize("builder", ["_plain", "_fused"])
def test_loops_and_kernels_have_the_same_parameters(builder):
    loop, kernel = (functions(functions(tree)[builder])[name] for tree, name in ((CPU, "loop"), (GPU, "kernel")))
    assert parameters(loop) == parameters(kernel)
    assert parameters(functions(CPU)["_sync"]) == parameters(functions(GPU)["_sync"])


def holds_a_weight(node):
    """Tell whether an element of an array, or a value made from one, stands in the expression outside of a call."""
    if isinstance(node, ast.Call):
        return False
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Name) and node.value.id in ARRAYS and not isinstance(node.slice, ast.Slice)
    if isinstance(node, ast.Name):
        return node.id in VALUES
    return any(holds_a_weight(child) for child in ast.iter_child_nodes(node))


@pytest.mark.parametrize("tree", [CPU, GPU], ids=["cpu", "gpu"])
def test_no_formula_is_stated_in_a_loop(tree):
    sums = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp | ast.AugAssign | ast.UnaryOp)]
    sums = [node for node in sums if not isinstance(getattr(node, "op", None), ast.Not)]
    assert [ast.unparse(node) for node in sums if holds_a_weight(node)] == []
    assert holds_a_weight(ast.parse("rest * slow[i] + fast").body[0])
