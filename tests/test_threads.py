"""Threads that use one state at the same time: every step is taken and counted, or refused without any change."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb.kernels.cpu import step as loops
from lookahead_nb.optimizers import base
from tests.support.cases import INNER, INNER_STATES, picture, run

compiled = pytest.mark.jit  # plain Python claims no step: an interrupt in the middle would leave the claim

AT_ONCE = "two threads use one state at the same time, and this call changed nothing: guard opt.step"
THREADS, CALLS = 4, 400
OPTIMIZERS = {
    "adamw": INNER["adamw"],
    "schedule-free": INNER["schedule_free_adamw"],
    **{mode: lnb.Lookahead(INNER["adamw"], sync_period=3, inner_state=mode) for mode in INNER_STATES},
    "adaptive": lnb.Lookahead(INNER["adamw"], sync_period=3, slow_step_size="adaptive"),
}


def at_once(*calls):
    """Make the calls in threads that start together; return how many were not refused. errors : any other one."""
    together = threading.Barrier(len(calls))

    def made(call):
        together.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return sum(future.result() for future in [pool.submit(made, call) for call in calls])


def taken(call, refusals=(AT_ONCE,)):
    try:
        call()
    except RuntimeError as error:
        if not str(error).startswith(refusals):
            raise
        return False
    return True


@compiled
@pytest.mark.parametrize("size", [3000, 200_000], ids=["one thread each", "a parallel loop"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_step_is_lost_in_silence(name, size, rng, monkeypatch):
    monkeypatch.setattr(base, "STEPS_AHEAD", 2)  # threads meet where a state moves on to further steps too
    opt, calls = OPTIMIZERS[name], CALLS if size < loops.PARALLEL_FROM else CALLS // 10
    start, grad = rng.standard_normal((2, size), np.float32)
    params, g = start.copy(), [grad.copy() for _ in range(THREADS)]
    state = opt.init(params)

    def steps(i):
        return sum(taken(lambda: opt.step(params, g[i], state)) for _ in range(calls))

    counted = at_once(*(lambda i=i: steps(i) for i in range(THREADS)))
    assert state.t == counted
    assert 0 < counted < THREADS * calls
    alone, of_alone = run(opt, start, itertools.repeat(grad, counted))
    assert params.tobytes() == alone.tobytes()
    assert picture(state) == picture(of_alone)
    if opt.sync:
        assert state.slow_steps == of_alone.slow_steps


@compiled
def test_threads_that_take_turns_are_no_fault(rng):
    opt, lock = OPTIMIZERS["interpolate"], threading.Lock()
    start, grad = rng.standard_normal((2, 3000), np.float32)
    params = start.copy()
    state = opt.init(params)

    def steps():
        for _ in range(100):
            with lock:
                opt.step(params, grad, state)
        return 100

    assert at_once(*[steps] * THREADS) == state.t == 100 * THREADS
    assert params.tobytes() == run(opt, start, itertools.repeat(grad, state.t))[0].tobytes()


def under_way(state):
    """Leave the state as another thread leaves it in the middle of a step."""
    state._stretch.clock[0] = ~state._stretch.clock[0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_nothing_else_uses_a_state_in_the_middle_of_a_step(name, rng):
    opt = OPTIMIZERS[name]
    params, grad = rng.standard_normal((2, 50))
    state = opt.init(params)
    for _ in range(2):
        opt.step(params, grad, state)
    before = picture(params, state)
    under_way(state)
    assert state.t == 2
    uses = [lambda: opt.step(params, grad, state), state.to_arrays]
    if opt.has_slow_weights:
        uses.append(opt.slow_weights(params, state).__enter__)
    assert [taken(use) for use in uses] == [False] * len(uses)
    state._stretch.clock[0] = 2
    assert picture(params, state) == before
    opt.step(params, grad, state)
    assert state.t == 3


@compiled
def test_a_step_and_a_block_of_slow_weights_exclude_each_other(rng):
    opt = OPTIMIZERS["keep"]
    start, grad = rng.standard_normal((2, 200_000), np.float32)
    params = start.copy()
    state, done = opt.init(params), threading.Event()
    refusals = (AT_ONCE, "params hold the slow weights")

    def steps():
        try:
            return sum(taken(lambda: opt.step(params, grad, state), refusals) for _ in range(200))
        finally:
            done.set()

    def shows():
        while not done.is_set():
            block = opt.slow_weights(params, state)
            if taken(block.__enter__, refusals):
                slow = params.copy()
                assert slow.tobytes() == state.slow.tobytes()
                block.__exit__(None, None, None)
        return 0

    counted = at_once(steps, shows)
    assert state.t == counted
    assert params.tobytes() == run(opt, start, itertools.repeat(grad, counted))[0].tobytes()


@pytest.mark.parametrize("stays", [True, False], ids=["and stays there", "and has left it"])
def test_a_block_is_refused_if_another_thread_has_entered_one_since_the_weights_were_copied(stays, rng, monkeypatch):
    opt, slow_from = OPTIMIZERS["keep"], lnb.Lookahead.slow_from
    params, grad = rng.standard_normal((2, 50))
    state = opt.init(params)
    for _ in range(2):
        opt.step(params, grad, state)
    before, entered, leave = picture(params, state), threading.Event(), threading.Event()

    def other():
        with opt.slow_weights(params, state):
            entered.set()
            assert leave.wait(60)

    thread = threading.Thread(target=other)

    def meanwhile(*arguments):
        monkeypatch.setattr(lnb.Lookahead, "slow_from", slow_from)
        thread.start()
        assert entered.wait(60)
        if not stays:
            leave.set()
            thread.join()
        return slow_from(*arguments)

    monkeypatch.setattr(lnb.Lookahead, "slow_from", meanwhile)
    refusals = (AT_ONCE, "params hold the slow weights") if stays else (AT_ONCE,)
    assert not taken(opt.slow_weights(params, state).__enter__, refusals)
    leave.set()
    thread.join()
    assert picture(params, state) == before
    opt.step(params, grad, state)
    assert state.t == 3
