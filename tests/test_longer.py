"""Finished runs that are trained further: the bits of one longer run."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb.datasets import from_arrays
from tests.support.cases import picture
from tests.support.runs import ADAMW, BATCH, COMPILED, OPTIMIZERS, assert_same_run, problem

LENGTHS = [(1, 1), (5, 2), (7, 13), (9, 9)] if COMPILED else [(4, 3)]  # of 3 steps between syncs: at and off a sync
each_width = pytest.mark.parametrize("dtype", ["float32", "float64"])


@each_width
@pytest.mark.parametrize("opt", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_run_trained_further_has_the_bits_of_one_longer_run(opt, dtype):
    model, data = problem()
    how = {"batch_size": BATCH, "seed": 2**40, "eval_every": 2, "dtype": dtype}
    for first, more in LENGTHS:
        run = lnb.train(model, data, opt, steps=first, **how | ({"eval_every": 1} if first == 1 else {}))
        whole = lnb.train(model, data, opt, steps=first + more, **how | ({"eval_every": 1} if first == 1 else {}))
        assert_same_run(run.train(more), whole)


def test_a_run_may_be_trained_further_again_and_again():
    model, data = problem()
    run = lnb.train(model, data, OPTIMIZERS["interpolate"], steps=1, batch_size=BATCH, eval_every=1)
    for more in (1, 2, 3, 4):
        run = run.train(more)
    assert_same_run(run, lnb.train(model, data, OPTIMIZERS["interpolate"], steps=11, batch_size=BATCH, eval_every=1))


@pytest.mark.parametrize("opt", [ADAMW, OPTIMIZERS["interpolate"], OPTIMIZERS["adaptive"]], ids=["adamw", "la", "fit"])
@pytest.mark.parametrize("drift", [0.0, 0.01])
def test_a_run_on_a_landscape_goes_on_with_its_noise_and_drift(opt, drift):
    landscape = lnb.landscapes.Quadratic([1.0, 0.1], noise=1.0, drift=drift)
    run, whole = (lnb.train(landscape, None, opt, steps=steps, seed=3, eval_every=4) for steps in (10, 27))
    assert_same_run(run.train(17), whole)


def test_evaluations_are_those_of_the_longer_run():
    model, data = problem()
    how = {"batch_size": BATCH, "eval_rows": 10}
    for when in ({"eval_at": [1, 4]}, {"eval_every": 3}, {}):
        run = lnb.train(model, data, OPTIMIZERS["keep"], steps=5, **how | when)
        longer = run.train(6)
        assert_same_run(longer, lnb.train(model, data, OPTIMIZERS["keep"], steps=11, **how | when))
        assert 5 in run.history["step"].tolist()
        assert 5 not in longer.history["step"].tolist()


def test_data_of_the_seed_and_words_stay_with_the_run():
    model, data = problem()
    words = from_arrays(data.X_train, np.array(["no", "yes"])[data.y_train])
    how = {"batch_size": 4, "seed": 5, "eval_every": 1}
    run = lnb.train(model, lambda seed: {5: words}[seed], ADAMW, steps=3, **how)
    longer = pickle.loads(pickle.dumps(run)).train(4)
    assert_same_run(longer, lnb.train(model, words, ADAMW, steps=7, **how))
    assert set(longer.predict(data.X_train)) <= {"no", "yes"}


def test_the_shorter_run_stays_as_it_is():
    model, data = problem()
    run = lnb.train(model, data, OPTIMIZERS["interpolate"], steps=5, batch_size=BATCH, eval_every=1)
    before, history = copy.deepcopy(picture(run.params, run.state)), run.history.copy()
    one, two = run.train(4), run.train(4)
    assert_same_run(one, two)
    assert picture(run.params, run.state) == before
    pd.testing.assert_frame_equal(run.history, history)


@pytest.mark.jit  # plain Python warns on the way to inf
@pytest.mark.parametrize("steps", [1, 3, 20])
@pytest.mark.parametrize("lr", [1e4, 1e30])
def test_a_run_that_diverges_is_trained_no_further(lr, steps):
    opt = lnb.Lookahead(lnb.SGD(lr), sync_period=3)
    run, whole = (lnb.train(lnb.landscapes.Quadratic([1.0]), None, opt, steps=n, eval_every=1) for n in (steps, 30))
    assert whole.diverged_at is not None
    assert_same_run(run.train(30 - steps), whole)


def test_a_schedule_that_goes_on_is_continued():
    model, data = problem()
    opt = lnb.Lookahead(lnb.AdamW(lnb.schedules.cosine(0.05, steps=12, warmup=2)), sync_period=3)
    run, whole = (lnb.train(model, data, opt, steps=steps, batch_size=BATCH, eval_every=2) for steps in (5, 12))
    assert_same_run(run.train(7), whole)


def test_a_weight_decay_that_has_ended_stays_at_zero():
    model, data = problem()
    opt = lnb.AdamW(0.05, weight_decay=lnb.schedules.linear(0.1, steps=5))
    run, whole = (lnb.train(model, data, opt, steps=steps, batch_size=BATCH, eval_every=2) for steps in (5, 12))
    assert_same_run(run.train(7), whole)


def test_a_table_of_weight_decays_that_ends_is_refused():
    opt = lnb.AdamW(0.05, weight_decay=lnb.schedules.from_function(lambda t: 0.1 / t, 5))
    run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, opt, steps=5, eval_every=1)
    message = "opt must have a weight decay for each of the 6 steps, got a table of 5"
    with pytest.raises(ValueError, match=message):
        run.train(1)
    with pytest.raises(ValueError, match=message):
        lnb.train(lnb.landscapes.Quadratic([1.0]), None, opt, steps=6)


@pytest.mark.parametrize("kind", [lnb.schedules.cosine, lnb.schedules.linear])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_schedule_that_ends_is_refused_by_name(kind, wrapped):
    model, data = problem()
    inner = lnb.AdamW(kind(0.05, steps=5))
    run = lnb.train(model, data, lnb.Lookahead(inner) if wrapped else inner, steps=5, batch_size=BATCH, eval_every=1)
    message = f"lr must be above 0 in all 6 steps to train longer, got the {kind.__name__} schedule of 5 steps: train"
    with pytest.raises(ValueError, match=message):
        run.train(1)


@pytest.mark.parametrize(("more", "error"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)])
def test_a_bad_number_of_steps_is_refused(more, error):
    run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=1, eval_every=1)
    with pytest.raises(error, match=f"more_steps must be a whole number of at least 1, got {more}"):
        run.train(more)


def test_a_state_that_was_stepped_by_hand_is_refused():
    run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=2, eval_every=1)
    run.state.optimizer.step(run.params, np.ones(1, np.float32), run.state)
    with pytest.raises(ValueError, match="state must be as training has left it, at step 2, got one at step 3"):
        run.train(1)


def test_a_run_on_a_gpu_is_refused():
    run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.SGD(0.5), steps=2, eval_every=1)
    object.__setattr__(run.setup.training, "backend", "cuda")
    with pytest.raises(ValueError, match="train can only continue a run of backend='cpu', got 'cuda'"):
        run.train(1)


def test_an_error_state_of_the_program_stops_nothing():
    run = lnb.train(lnb.landscapes.Quadratic([1.0]), None, lnb.AdamW(1e-30), steps=2, eval_every=1)
    with np.errstate(all="raise"):
        assert run.train(1).state.t == 3
