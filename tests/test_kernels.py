"""The loops of ``cpu/step.py``: sizes, borders, fusion, threads, types, machine code."""

import itertools
import os
import platform
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
from conftest import NO_JIT

import lookahead_nb as lnb
from lookahead_nb.kernels import formulas
from lookahead_nb.kernels.compiler import FLAGS
from lookahead_nb.kernels.cpu import step as kernels
from lookahead_nb.kernels.formulas import INTERPOLATE, KEEP, RESET
from tests.support.cases import INNER, MODES, RULES, WRAPPED, Buffers, how, problem

SMALL_SIZES = [0, 1, 31, 32, 33]
CHUNK_SIZES = [1, 1025, kernels.CHUNK - 1, kernels.CHUNK, kernels.CHUNK + 1]
PARALLEL_SIZE = kernels.PARALLEL_FROM + 77  # the last chunk is a short one


# ----------------------------------------------------------------------------------------- one element at a time


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", SMALL_SIZES)
def test_loop_is_the_formula_element_by_element(rule, n, width):
    b = Buffers(rule, n, width)
    formula, slots = formulas.RULES[rule]
    row = tuple(b.row)
    expected = []
    for i in range(n):
        slot = [b.s1[i] if len(slots) > 0 else width(0), b.s2[i] if len(slots) > 1 else width(0)]
        expected.append(formula(b.p[i], b.g[i], *slot, row))
    b.step(kernels, rule)
    assert b.p.tolist() == [p for p, _, _ in expected]
    assert b.s1.tolist() == [s1 for _, s1, _ in expected][: b.s1.size]
    assert b.s2.tolist() == [s2 for _, _, s2 in expected][: b.s2.size]
    assert b.guards_are_intact()


@pytest.mark.parametrize(("pull_back", "mode"), MODES)
@pytest.mark.parametrize("rule", RULES)
def test_fused_is_step_then_sync(rule, pull_back, mode):
    for n, width in itertools.product([0, 1, 33], [np.float32, np.float64]):
        fused, apart = Buffers(rule, n, width, mode), Buffers(rule, n, width, mode)
        fused.step_and_sync(kernels, rule, *how(width, pull_back, mode))
        apart.step(kernels, rule)
        apart.sync(kernels, *how(width, pull_back, mode))
        assert fused.everything() == apart.everything()
        assert fused.guards_are_intact()


@pytest.mark.parametrize(("pull_back", "mode"), MODES)
def test_sync_does_what_it_says(pull_back, mode, width):
    b, before = (Buffers("adamw", 33, width, mode) for _ in range(2))
    size, rest, _, _ = how(width)
    b.sync(kernels, size, rest, pull_back, mode)
    slow = [formulas.pull(s, f, size, rest) for s, f in zip(before.slow, before.p, strict=True)]
    if mode in formulas.MOMENTUM_PULLS:
        moved = zip(before.slow, before.a1, before.p, strict=True)
        slow, velocity = zip(*(formulas.MOMENTUM_PULLS[mode](*each, size, rest) for each in moved), strict=True)
        slow = list(slow)
        assert b.a1.tolist() == list(velocity)
    assert b.slow.tolist() == slow
    assert b.p.tolist() == (slow if pull_back else before.p.tolist())
    if mode == INTERPOLATE:
        pulled = [formulas.pull(a, s, size, rest) for a, s in zip(before.a2, before.s2, strict=True)]
        assert b.s2.tolist() == b.a2.tolist() == pulled
    else:
        assert b.s2.tolist() == ([0] * 33 if mode == RESET else before.s2.tolist())


@pytest.mark.parametrize(("size", "rest"), [(0, 1), (1, 0)])
def test_pull_at_the_ends_is_a_choice_not_a_sum(size, rest, width):
    odd = np.array([-0.0, 0.0, np.inf, -np.inf, np.nan, 1.5], width)
    for slow, fast in itertools.product(odd, odd):
        pulled = formulas.pull(slow, fast, width(size), width(rest))
        assert pulled.tobytes() == (fast if size else slow).tobytes()


@pytest.mark.parametrize("mode", formulas.MOMENTUM_PULLS)
def test_pull_with_momentum_at_step_0_is_a_choice_not_a_sum(mode, width):
    odd = np.array([-0.0, 0.0, np.inf, -np.inf, np.nan, 1.5], width)
    with np.errstate(invalid="ignore"):
        for slow, fast, velocity in itertools.product(odd, odd, odd):
            pulled, _ = formulas.MOMENTUM_PULLS[mode](slow, velocity, fast, width(0), width(0.5))
            assert pulled.tobytes() == slow.tobytes()


# ------------------------------------------------------------------------------------------------------- threads

FORKED = """
import multiprocessing, sys, threading
import numpy as np
import lookahead_nb as lnb
from lookahead_nb.kernels.cpu import step
from lookahead_nb.training import setup

def stepped(n=step.PARALLEL_FROM + 77):
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=2)
    params = np.linspace(-1, 1, n, dtype=np.float32)
    state = opt.init(params)
    for _ in range(3):
        opt.step(params, np.sin(params), state)
    return params.tobytes()

def trained():
    rows = lnb.datasets.from_arrays(np.arange(80.0).reshape(40, 2), np.arange(40) % 2)
    return lnb.train(lnb.MLP((2, 2)), rows, lnb.SGD(0.5), steps=2, batch_size=4).params.tolist()

def child(pipe):
    pipe.send((stepped(), trained()))

here = stepped(), trained()  # starts the threads
held = [step._one_launch, setup._loading]
[lock.acquire() for lock in held]  # as another thread does that is at work while this one forks
forks = multiprocessing.get_context("fork")
mine, theirs = forks.Pipe()
process = forks.Process(target=child, args=(theirs,))
process.start()
theirs.close()
answer = mine.recv() if mine.poll(60) else None
process.kill() if answer is None else process.join()
sys.exit(0 if answer == here and process.exitcode == 0 else f"{process.exitcode}: {answer and answer[1]}")
"""


@pytest.mark.jit
@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
def test_a_forked_process_takes_the_same_steps(layer):
    environment = os.environ | {"NUMBA_THREADING_LAYER": layer}
    ended = subprocess.run([sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")


def _on_threads(count, work):
    if NO_JIT:
        return work()
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        return work()
    finally:
        numba.set_num_threads(before)


def _both_passes(rule, n, width, mode):
    b = Buffers(rule, n, width, mode)
    b.step(kernels, rule)
    b.step_and_sync(kernels, rule, *how(width, True, mode))
    assert b.guards_are_intact()
    return b.everything()


def _assert_threads_change_no_bit(rule, sizes, width, monkeypatch, mode=INTERPOLATE):
    threads = sorted({1, min(2, numba.config.NUMBA_NUM_THREADS)})
    for n in sizes:
        monkeypatch.setattr(kernels, "PARALLEL_FROM", n + 1)
        serial = _both_passes(rule, n, width, mode)
        monkeypatch.setattr(kernels, "PARALLEL_FROM", n)
        for count in threads:
            assert _on_threads(count, lambda n=n: _both_passes(rule, n, width, mode)) == serial


@pytest.mark.jit
@pytest.mark.parametrize("rule", RULES)
def test_r1_same_bits_for_any_number_of_threads_float32(rule, monkeypatch):
    _assert_threads_change_no_bit(rule, [*CHUNK_SIZES, PARALLEL_SIZE], np.float32, monkeypatch)


@pytest.mark.jit
@pytest.mark.parametrize("rule", ["sgd_momentum", "adamw"])
def test_r1_same_bits_for_any_number_of_threads_float64(rule, monkeypatch):
    _assert_threads_change_no_bit(rule, [*CHUNK_SIZES, PARALLEL_SIZE], np.float64, monkeypatch)


@pytest.mark.jit
@pytest.mark.parametrize("mode", formulas.MOMENTUM_PULLS)
def test_r1_same_bits_for_any_number_of_threads_with_momentum(mode, monkeypatch):
    _assert_threads_change_no_bit("adamw", [*CHUNK_SIZES, PARALLEL_SIZE], np.float32, monkeypatch, mode)


@pytest.mark.skipif(not NO_JIT, reason="a compiled loop has its chunk size built in")
@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adamw"])  # no slot, one, two
def test_r1_same_bits_for_any_chunk_in_plain_python(rule, width, monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK", 4)
    _assert_threads_change_no_bit(rule, [1, 4, 9], width, monkeypatch)


@pytest.mark.jit
def test_two_python_threads_may_step_at_once(rng):
    from concurrent.futures import ThreadPoolExecutor

    opt = INNER["adamw"]
    g = rng.standard_normal(PARALLEL_SIZE, np.float32)

    def train(_):
        params = np.ones(PARALLEL_SIZE, np.float32)
        state = opt.init(params)
        for _ in range(5):
            opt.step(params, g, state)
        return params.tobytes()

    with ThreadPoolExecutor(2) as pool:
        assert len({*pool.map(train, range(4))}) == 1


# --------------------------------------------------------------------------- slow weights rest on a plain step


@pytest.mark.parametrize("rule", WRAPPED)
def test_plain_step_reads_and_writes_no_slow_weight(rule, rng, width):
    params, gradients = problem(rng, 4, 9, width)
    opt = lnb.Lookahead(INNER[rule], inner_state="interpolate")
    state, plain = opt.init(params), INNER[rule].init(params)
    for array in (state._slow, state._a1, state._a2):
        array[:] = np.nan
    poisoned = [array.tobytes() for array in (state._slow, state._a1, state._a2)]
    alone = params.copy()
    for g in gradients:
        opt.step(params, g, state)
        INNER[rule].step(alone, g, plain)
    assert [array.tobytes() for array in (state._slow, state._a1, state._a2)] == poisoned
    assert params.tobytes() == alone.tobytes()


FORBIDDEN_PAGE = """
import ctypes, mmap
import numpy as np
import lookahead_nb as lnb

opt = lnb.Lookahead(lnb.AdamW(), sync_period=5)
params, g = np.ones(1024, np.float32), np.ones(1024, np.float32)
state = opt.init(params)
page = mmap.mmap(-1, 4096)
state._slow = np.frombuffer(page, np.float32)
address = ctypes.c_void_p(state._slow.ctypes.data)
assert ctypes.CDLL(None).mprotect(address, ctypes.c_size_t(4096), 0) == 0
for step in range(1, 6):
    opt.step(params, g, state)
    print(step, flush=True)
"""


@pytest.mark.jit
@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_slow_weights_could_lie_on_a_forbidden_page_until_the_sync():
    child = subprocess.run([sys.executable, "-c", FORBIDDEN_PAGE], capture_output=True, text=True, check=False)
    assert child.stdout.split() == ["1", "2", "3", "4"]
    assert child.returncode < 0  # the sync of step 5 touched the page, so the page was guarded


# -------------------------------------------------------------------------------------------------- first_beyond


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.0, -3.0])
def test_first_beyond_finds_the_first(value, width):
    for n in (1, 2, 33):
        for at in {0, n // 2, n - 1}:
            g = np.full(n, 2.0, width)  # the limit itself is inside
            assert kernels.first_beyond(g, width(2)) == -1
            g[at:] = value
            assert kernels.first_beyond(g, width(2)) == at


@pytest.mark.jit
@pytest.mark.parametrize("at", [0, kernels.CHUNK - 1, kernels.CHUNK, PARALLEL_SIZE // 2, PARALLEL_SIZE - 1])
def test_first_beyond_in_parallel(at, width):
    g = np.zeros(PARALLEL_SIZE, width)
    assert kernels.first_beyond(g, width(2)) == -1
    g[at] = np.nan
    assert kernels.first_beyond(g, width(2)) == at


def test_first_beyond_of_nothing(width):
    assert kernels.first_beyond(np.zeros(0, width), width(1)) == -1


# -------------------------------------------------------------------------------------------- types, machine code


@pytest.mark.jit
@pytest.mark.parametrize("rule", RULES)
def test_no_new_specialisation_after_compiling(rule, width):
    loops = kernels.step_loop(rule, width, False), kernels.fused_loop(rule, width, False), kernels.sync_loop(width)
    for mode, seed in itertools.product((KEEP, INTERPOLATE), (1, 2)):
        b = Buffers(rule, 5, width, mode, seed)
        b.step(kernels, rule)
        b.step_and_sync(kernels, rule, *how(width, True, mode))
        b.sync(kernels, *how(width, True, mode))
        b.inner["g"] = b.g.copy()  # writeable this time
        b.step(kernels, rule)
        b.step_and_sync(kernels, rule, *how(width, True, mode))
    assert [len(loop.signatures) for loop in loops] == [1, 1, 1]


def _float32_loop(kind, rule):
    plain, fused, sync = kernels.signatures(np.float32)
    if kind == "sync":
        return kernels._sync if rule is None else kernels._momentum_sync(formulas.MOMENTUM_PULLS[rule]), sync
    formula, slots = formulas.RULES[rule]
    if kind in formulas.MOMENTUM_PULLS:
        return kernels._fused_momentum(formula, len(slots), formulas.MOMENTUM_PULLS[kind]), fused
    return (
        (kernels._plain(formula, len(slots)), plain)
        if kind == "plain"
        else (kernels._fused(formula, len(slots)), fused)
    )


def _compiled_fresh(loop, signature):
    return numba.njit([signature], **FLAGS)(loop)  # a cached loop has no code to look at


def _widenings(fresh):
    (code,) = fresh.inspect_llvm().values()
    body = code[code.index("define") : code.index("define", code.index("define") + 1)]  # without the Python wrapper
    return re.findall(r".*fpext.*|.*\bf(?:add|sub|mul|div|cmp) .*double.*|.*llvm\.\w+\.f64.*", body)


@pytest.mark.jit
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        *itertools.product(("plain", "fused", formulas.HEAVY_BALL), RULES),
        (formulas.NESTEROV, "adamw"),
        *itertools.product(["sync"], (None, *formulas.MOMENTUM_PULLS)),
    ],
)
def test_float32_loop_never_widens_and_uses_packed_instructions(kind, rule):
    fresh = _compiled_fresh(*_float32_loop(kind, rule))
    assert _widenings(fresh) == []
    if platform.machine() in ("x86_64", "AMD64"):
        (assembly,) = fresh.inspect_asm().values()
        assert re.search(r"\bv?(?:mul|fn?m(?:add|sub)\d+)ps\b", assembly)


@pytest.mark.jit
def test_a_bare_literal_would_be_seen():
    def loop(p):
        for i in range(p.size):
            p[i] = 0.1 * p[i]

    assert _widenings(_compiled_fresh(loop, numba.types.void(numba.float32[::1])))
