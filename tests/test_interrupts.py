"""Steps, checkpoints and slow weights are all or nothing: an exception at any instruction leaves nothing half done.

LEVEL=faults does the same to all kinds of optimizers, to whole runs, and with signals.
"""

import copy
import pickle
from contextlib import suppress

import pytest

import lookahead_nb as lnb
from lookahead_nb.optimizers import base
from tests.support.cases import INNER, picture, problem, run
from tests.support.interrupts import assert_all_or_nothing, boundaries, each_boundary, everything

K, SIZE = 3, 5
INTERPOLATE = lnb.Lookahead(INNER["adamw"], sync_period=K, retention=0.7, inner_state="interpolate")
IN_TURN = lnb.Lookahead(lnb.SGD(0.1), sync_period=1, slow_step_size=(0.3, 0.9, 0.5))
LUMPS = lnb.Lookahead(lnb.AdamW(0.1, weight_decay=5e-14), sync_period=K)  # step 3 applies the decay of all three


@pytest.mark.parametrize("opt", [INTERPOLATE, IN_TURN, LUMPS], ids=["interpolate", "in turn", "lumps"])
def test_a_step_is_all_or_nothing(opt, rng, monkeypatch):
    monkeypatch.setattr(base, "STEPS_AHEAD", 2)  # step 3 syncs and begins a stretch
    missed, taken = assert_all_or_nothing(opt, K - 1, *problem(rng, K + 2, SIZE))
    assert missed > 300
    assert taken > 3


def test_an_interrupted_restore_changes_nothing(rng):
    params, state = run(INTERPOLATE, *problem(rng, K + 1, SIZE))
    arrays, before = state.to_arrays(), everything(params, state)

    def attempt():
        return lambda: INTERPOLATE.restore(arrays), lambda: None

    assert each_boundary(attempt, every=5) > 300
    assert picture(INTERPOLATE.restore(arrays), state) == before[1:2] * 2


@pytest.mark.parametrize("opt", [INTERPOLATE, INNER["schedule_free_adamw"]], ids=["lookahead", "schedule free"])
def test_fast_weights_outlive_an_interrupt_of_slow_weights(opt, rng):
    start, gradients = problem(rng, 5, SIZE)
    expected, end = run(opt, start, gradients)
    fast, other = run(opt, start, gradients[:4])
    with opt.slow_weights(fast, other):
        slow = fast.tobytes()
    counts = [0, 0]

    def attempt():
        params, state = run(opt, start, gradients[:4])

        def look():
            with opt.slow_weights(params, state):
                assert params.tobytes() == slow

        def compare_and_go_on():
            assert params.tobytes() in (fast.tobytes(), slow)
            with suppress(RuntimeError):  # until the next step the state may refuse to be stored with params
                assert picture(state) == picture(other)
            counts[params.tobytes() == slow] += 1
            opt.step(params, gradients[4], state)
            assert everything(params, state) == everything(expected, end)

        return look, compare_and_go_on

    assert each_boundary(attempt) > 300
    assert 0 < counts[1] < counts[0]  # at the very end of the block params may still hold the slow weights


def test_an_interrupt_inside_a_block_returns_the_fast_weights_at_once_and_once(rng):
    start, gradients = problem(rng, K + 3, SIZE)
    params, state = run(INTERPOLATE, start, gradients[: K + 1])
    before = everything(params, state)
    with pytest.raises(KeyboardInterrupt), INTERPOLATE.slow_weights(params, state):
        raise KeyboardInterrupt
    assert everything(params, state) == before
    for g in gradients[K + 1 :]:
        INTERPOLATE.step(params, g, state)
    assert everything(params, state) == everything(*run(INTERPOLATE, start, gradients))


def test_a_copy_from_inside_a_block_returns_to_the_fast_weights(rng):
    start, gradients = problem(rng, K + 2, SIZE)
    params, state = run(INTERPOLATE, start, gradients[: K + 1])
    with INTERPOLATE.slow_weights(params, state):
        copied = [(params.copy(), made) for made in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)))]
    expected = everything(*run(INTERPOLATE, start, gradients))
    for one in copied:
        INTERPOLATE.step(one[0], gradients[-1], one[1])
        assert everything(*one) == expected


def test_slow_steps_are_those_of_all_syncs_across_stretches_and_copies(rng, monkeypatch):
    monkeypatch.setattr(base, "STEPS_AHEAD", 4)
    opt = lnb.Lookahead(lnb.SGD(0.1), sync_period=K, slow_step_size=(0.3, 0.9, 0.5))
    params, gradients = problem(rng, 25, SIZE)
    state = opt.init(params)
    for t, g in enumerate(gradients, 1):
        opt.step(params, g, state)
        assert state.slow_steps == ([0.3, 0.9, 0.5] * 3)[: t // K]
        state = copy.deepcopy(state) if t % 5 == 0 else state
    state.slow_steps.clear()  # a list of the caller's
    assert len(state.slow_steps) == 8


def test_every_boundary_is_reached():
    def call():
        lnb.schedules.constant(0.1)

    count = boundaries(call)
    assert count > 20
    assert [boundaries(call, at) for at in range(count)] == [None] * count
    assert boundaries(call, count) == count
