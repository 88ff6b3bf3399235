"""The emulated device does what the PTX ISA says where one could go wrong, and refuses what it does not know."""

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels.gpu import cuda, runs, step
from tests.support import emulated
from tests.support.cases import INNER, MODES, RULES, Buffers, how
from tests.support.device_runs import LANDSCAPES, LOOKAHEADS, MODELS, TRAINING, launch_with, rows_for
from tests.support.simulated import EMULATED

assert EMULATED, "this is run by `make test LEVEL=ptx`"

pytestmark = pytest.mark.usefixtures("device")

ROOT = Path(__file__).resolve().parents[2]
NAN, TINY = float("nan"), 2.0**-149
REGISTERS = {"pred": "%p", "b16": "%rs", "b32": "%r", "b64": "%rd", "f32": "%f", "f64": "%fd"}
FORMATS = {"b32": "i", "b64": "q", "f32": "f", "f64": "d"}

# instruction, bits of what it is given, values, bits of the result, result
KNOWN = [
    ("shl.b64", "b64 b32", (1, 63), "b64", -(2**63)),
    ("shl.b64", "b64 b32", (1, 64), "b64", 0),
    ("shr.u64", "b64 b32", (-1, 64), "b64", 0),
    ("shr.u64", "b64 b32", (-1, 1), "b64", 2**63 - 1),
    ("shr.s64", "b64 b32", (-8, 1), "b64", -4),
    ("shr.s64", "b64 b32", (-8, 70), "b64", -1),
    ("shr.s32", "b32 b32", (-8, 33), "b32", -1),
    ("add.s32", "b32 b32", (2**31 - 1, 1), "b32", -(2**31)),
    ("sub.s64", "b64 b64", (3, 5), "b64", -2),
    ("mul.lo.s64", "b64 b64", (2**40, 2**30 + 1), "b64", 2**40),
    ("mul.hi.u64", "b64 b64", (-1, -1), "b64", -2),
    ("mul.hi.s64", "b64 b64", (-1, 2), "b64", -1),
    ("mul.wide.s32", "b32 b32", (-(2**31), 2), "b64", -(2**32)),
    ("mul.wide.u32", "b32 b32", (-1, -1), "b64", (2**32 - 1) ** 2 - 2**64),
    ("mad.lo.s32", "b32 b32 b32", (3, -4, 5), "b32", -7),
    ("div.s64", "b64 b64", (-7, 2), "b64", -3),
    ("rem.s64", "b64 b64", (-7, 2), "b64", -1),
    ("div.u64", "b64 b64", (-2, 2), "b64", 2**63 - 1),
    ("max.s64", "b64 b64", (-1, 1), "b64", 1),
    ("max.u64", "b64 b64", (-1, 1), "b64", -1),
    ("neg.s64", "b64", (5,), "b64", -5),
    ("not.b64", "b64", (5,), "b64", -6),
    ("xor.b64", "b64 b64", (6, 3), "b64", 5),
    ("cvt.s64.s32", "b32", (-1,), "b64", -1),
    ("cvt.u64.u32", "b32", (-1,), "b64", 2**32 - 1),
    ("cvt.u32.u64", "b64", (2**32 + 7,), "b32", 7),
    ("cvt.rn.f32.s64", "b64", (2**24 + 1,), "f32", 2.0**24),
    ("cvt.rn.f32.s64", "b64", (2**24 + 3,), "f32", 2.0**24 + 4),
    ("cvt.rn.f64.u64", "b64", (-1,), "f64", 2.0**64),
    ("cvt.rn.f32.f64", "f64", (1 + 2.0**-30,), "f32", 1.0),
    ("cvt.f64.f32", "f32", (TINY,), "f64", TINY),
    ("cvt.rzi.s64.f64", "f64", (-2.9,), "b64", -2),
    ("cvt.rzi.s64.f64", "f64", (NAN,), "b64", 0),
    ("cvt.rzi.s32.f32", "f32", (1e20,), "b32", 2**31 - 1),
    ("fma.rn.f32", "f32 f32 f32", (1 + 2.0**-23, 1 - 2.0**-23, -1.0), "f32", -(2.0**-46)),
    ("fma.rn.f64", "f64 f64 f64", (1 + 2.0**-52, 1 - 2.0**-52, -1.0), "f64", -(2.0**-104)),
    ("mul.f32", "f32 f32", (TINY, 0.5), "f32", 0.0),
    ("mul.f32", "f32 f32", (2.0**-100, 2.0**-40), "f32", 2.0**-140),
    ("add.f32", "f32 f32", (1.0, 2.0**-24), "f32", 1.0),
    ("sub.f64", "f64 f64", (1.0, 2.0**-54), "f64", 1.0),
    ("div.rn.f32", "f32 f32", (1.0, 3.0), "f32", 11184811 / 2**25),
    ("rcp.rn.f32", "f32", (3.0,), "f32", 11184811 / 2**25),
    ("div.rn.f64", "f64 f64", (1.0, 0.0), "f64", float("inf")),
    ("sqrt.rn.f32", "f32", (2.0,), "f32", 11863283 / 2**23),
    ("sqrt.rn.f64", "f64", (-1.0,), "f64", NAN),
    ("neg.f32", "f32", (0.0,), "f32", -0.0),
    ("abs.f64", "f64", (-0.0,), "f64", 0.0),
    ("max.f32", "f32 f32", (NAN, 1.0), "f32", 1.0),
    ("max.f32", "f32 f32", (-0.0, 0.0), "f32", 0.0),
    ("min.f64", "f64 f64", (0.0, -0.0), "f64", -0.0),
    ("min.f32", "f32 f32", (NAN, NAN), "f32", NAN),
    ("copysign.f32", "f32 f32", (-2.0, 3.0), "f32", -3.0),
    ("mov.b32", "f32", (-0.0,), "b32", -(2**31)),
    ("mov.b64", "b64", (1,), "f64", 5e-324),
    ("setp.gt.f32", "f32 f32", (NAN, 1.0), "pred", 0),
    ("setp.gtu.f32", "f32 f32", (NAN, 1.0), "pred", 1),
    ("setp.neu.f64", "f64 f64", (NAN, NAN), "pred", 1),
    ("setp.ne.f64", "f64 f64", (NAN, NAN), "pred", 0),
    ("setp.eq.f32", "f32 f32", (0.0, -0.0), "pred", 1),
    ("setp.nan.f32", "f32 f32", (NAN, 0.0), "pred", 1),
    ("setp.lt.s64", "b64 b64", (-1, 0), "pred", 1),
    ("setp.lt.u64", "b64 b64", (-1, 0), "pred", 0),
    ("selp.f32", "f32 f32 pred", (1.0, 2.0, 0), "f32", 2.0),
    ("selp.s64", "b64 b64 pred", (1, 2, 1), "b64", 1),
]


def written(bits, value):
    """Return a value as PTX writes it down, or the register it is in."""
    if bits == "pred":
        return f"setp.ne.s32 %p0, {value}, 0;", "%p0"
    if bits[0] == "f":
        digits = struct.pack(f">{FORMATS[bits]}", value).hex().upper()
        return "", f"0{'f' if bits == 'f32' else 'd'}{digits}"
    return "", str(value)


def program(lines):
    declared = "\n".join(f".reg .{bits} {name}<9>;" for bits, name in REGISTERS.items())
    body = f"{declared}\nld.param.u64 %rd8, [k_param_0];\n{lines}\nret;\n"
    return emulated.Program(f".visible .entry k(\n.param .u64 k_param_0\n)\n{{\n{body}}}")


@pytest.mark.parametrize(("instruction", "given", "values", "result", "expected"), KNOWN)
def test_what_an_instruction_does(instruction, given, values, result, expected):
    prepared = [written(*each) for each in zip(given.split(), values, strict=True)]
    target = f"{REGISTERS[result]}1"
    lines = [first for first, _ in prepared] + [f"{instruction} {target}, {', '.join(name for _, name in prepared)};"]
    if result == "pred":
        lines, result, target = [*lines, "selp.b32 %r1, 1, 0, %p1;"], "b32", "%r1"
    kind = FORMATS[result]
    out = emulated.to_device(np.zeros(1, kind))
    store = f"st.global.{result.replace('b', 'u')} [%rd8], {target};"
    program("\n".join([*lines, store])).launch(1, 1, 0, [out.device_ctypes_pointer.value])
    assert np.array_equal(out.copy_to_host(), np.array([expected], kind), equal_nan=kind in "fd")
    if expected == 0:
        assert np.signbit(out.copy_to_host()[0]) == np.signbit(expected)


@pytest.mark.parametrize(
    "instruction",
    ["ex2.approx.f32 %f1, %f2", "div.full.f32 %f1, %f2, %f3", "sqrt.approx.f32 %f1, %f2", "add.rz.f32 %f1, %f2, %f3",
     "fma.rn.ftz.f32 %f1, %f2, %f3, %f4", "tex.1d %f1, %f2", "@%p1 add.f32 %f1, %f2, %f3", "bar.arrive 0, 32"],
)  # fmt: skip
def test_what_is_not_known_is_refused(instruction):
    with pytest.raises((AssertionError, KeyError)):
        program(instruction + ";")


def test_shared_memory_and_barriers():
    def reversed_in_blocks(out):
        near = cuda.shared.array(8, np.int64)
        me = cuda.threadIdx.x
        near[me] = 100 * cuda.blockIdx.x + me
        cuda.syncthreads()
        out[cuda.grid(1)] = near[cuda.blockDim.x - 1 - me]

    out = emulated.to_device(np.zeros(16, np.int64))
    cuda.jit(reversed_in_blocks)[2, 8](out)
    assert out.copy_to_host().tolist() == [*range(7, -1, -1), *range(107, 99, -1)]


def test_threads_that_part_at_a_barrier_are_found(monkeypatch):
    def parted(out):
        if cuda.threadIdx.x > 0:
            cuda.syncthreads()
        out[0] = 1

    monkeypatch.setattr(emulated, "PATIENCE", 0.2)
    with pytest.raises(AssertionError, match=r"threads \[1, 2\] of a block waited"):
        cuda.jit(parted)[1, 3](emulated.to_device(np.zeros(1)))


# ----------------------------------------------------------------------------------- every access to memory, watched


@pytest.fixture
def watched(monkeypatch):
    monkeypatch.setattr(emulated, "WATCHED", True)


def _neighbour_in_shared_memory(out):
    near, me = cuda.shared.array(8, np.int64), cuda.threadIdx.x
    near[me] = me
    out[me] = near[cuda.blockDim.x - 1 - me]


def _one_cell_for_all(out):
    if cuda.blockIdx.x == 0:
        out[0] = cuda.threadIdx.x


def _one_cell_for_all_blocks(out):
    if cuda.threadIdx.x == 0:
        out[0] = cuda.blockIdx.x


def _beyond_the_end(out):
    if cuda.grid(1) == 0:
        out[out.size] = 1


def _before_it_is_written(out):
    near = cuda.shared.array(8, np.int64)
    out[cuda.grid(1)] = near[cuda.threadIdx.x]


WRONG = {
    "a thread touches what another thread writes": [_neighbour_in_shared_memory, _one_cell_for_all],
    "a block touches what another block writes": [_one_cell_for_all_blocks],
    "memory is touched that belongs to no array": [_beyond_the_end],
    "shared memory is read before it is written": [_before_it_is_written],
}


@pytest.mark.parametrize(("found", "kernel"), [(found, each) for found, kernels in WRONG.items() for each in kernels])
def test_a_wrong_access_is_found(found, kernel, watched):
    with pytest.raises(AssertionError, match=found):
        cuda.jit(kernel)[1 if kernel is _neighbour_in_shared_memory else 2, 4](
            emulated.to_device(np.zeros(16, np.int64))[:8]
        )


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_no_thread_of_a_run_touches_what_another_writes(model, shared, watched, monkeypatch):
    launch_with(monkeypatch, 3, 2)
    monkeypatch.setattr(runs, "ROWS_AT_ONCE", 5)
    monkeypatch.setattr(runs, "SHARED_BYTES", runs.SHARED_BYTES if shared else 0)
    data = rows_for(model)
    opts = [LOOKAHEADS["interpolate"], lnb.Lookahead(LOOKAHEADS["keep"].inner, sync_period=1, retention=0.3)]
    lnb.sweep(model, data, opts, seeds=2, **TRAINING, backend="cuda", progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES)
def test_no_thread_on_a_landscape_touches_what_another_writes(landscape, watched, monkeypatch):
    launch_with(monkeypatch, 3, 2)
    for opt in (LOOKAHEADS["one slot"], INNER["schedule_free_adamw"]):
        lnb.sweep(landscape, None, [opt], seeds=2, steps=4, eval_at=[2], backend="cuda", progress=False)


@pytest.mark.parametrize("guard", [8, 7], ids=["sixteen bytes", "one element"])
@pytest.mark.parametrize("rule", RULES)
def test_no_thread_of_a_step_touches_what_another_writes(rule, guard, width, watched):
    for n in (1, 4, 31, 33):
        buffers = Buffers(rule, n, width, MODES[0][1], place=cuda.to_device, guard=guard)
        buffers.step(step, rule)
        buffers.step_and_sync(step, rule, *how(width, *MODES[0]))
        assert step.first_beyond(buffers.g, width(1e30)) == -1


def barriers():
    """Each barrier of the kernels that train, as (file, number of its line)."""
    for file in ("runs", "surfaces"):
        lines = (ROOT / f"lookahead_nb/kernels/gpu/{file}.py").read_text(encoding="utf-8").splitlines()
        yield from ((file, i) for i, line in enumerate(lines) if line.strip() == "cuda.syncthreads()")


@pytest.mark.slow
@pytest.mark.parametrize(("file", "number"), [*barriers()])
def test_a_barrier_that_is_missing_is_found(file, number, tmp_path):
    for folder in ("lookahead_nb", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / f"lookahead_nb/kernels/gpu/{file}.py"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[number] = lines[number].replace("cuda.syncthreads()", "pass")
    path.write_text("".join(lines), encoding="utf-8")
    on_landscapes = "on_a_landscape_touches and (drift or game)"
    some = f"of_a_run_touches and (relu-True or logits-True or tanh-True) or {on_landscapes}"
    some = on_landscapes if file == "surfaces" else some  # both kinds of runs share the loop in runs.py
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=line", "tests/levels/test_emulated.py", "-k", some]
    child = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert child.returncode == 1, child.stdout + child.stderr
    assert "a thread touches what another thread writes" in child.stdout


# ---------------------------------------------------------------------------------------------- bundles of arguments


class Cell(NamedTuple):
    array: Any
    at: Any


class Pair(NamedTuple):
    cell: Cell
    used: Any
    terms: Any


def _write_to_a_cell(pair, factor):
    if pair.used:
        pair.cell.array[pair.cell.at] = factor * pair.terms[1] + pair.terms[0]


def pair_of(array, at):
    return Pair(Cell(array, np.int64(at)), True, (np.int64(5), np.int64(7)))


def test_a_kernel_takes_bundles_of_bundles():
    out = emulated.to_device(np.zeros(4, np.int64))
    cuda.jit(_write_to_a_cell)[1, 1](pair_of(out, 2), np.int64(10))
    assert out.copy_to_host().tolist() == [0, 0, 75, 0]


def test_accesses_to_an_array_in_a_bundle_are_watched(watched):
    out, kernel = emulated.to_device(np.zeros(8, np.int64))[:4], cuda.jit(_write_to_a_cell)
    kernel[1, 1](pair_of(out, 3), np.int64(10))
    assert out.copy_to_host().tolist() == [0, 0, 0, 75]
    with pytest.raises(AssertionError, match="memory is touched that belongs to no array"):
        kernel[1, 1](pair_of(out, 4), np.int64(10))


def test_an_array_of_the_host_in_a_bundle_is_refused():
    with pytest.raises(AssertionError, match="neither an array of the device nor a number"):
        cuda.jit(_write_to_a_cell)[1, 1](pair_of(np.zeros(4, np.int64), 2), np.int64(10))


def test_an_array_of_the_device_is_not_read_on_the_host():
    with pytest.raises(AssertionError, match="read on the host"):
        np.asarray(emulated.to_device(np.zeros(1)))
