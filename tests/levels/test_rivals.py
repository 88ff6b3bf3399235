"""The rivals of the benchmarks do the same work, and what else their tables rest on."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import lookahead_nb as lnb
from tests.benchmarks import agents, flat_step, jax_worker, peak, sweep
from tests.benchmarks.measure import Rival


@pytest.fixture
def in_float32():
    with jax.enable_x64(False):
        yield


def test_rivals_of_the_flat_step_do_the_same_work(in_float32, rng):
    params, gradients = rng.standard_normal(33, np.float32), rng.standard_normal(33, np.float32)
    made = flat_step.rivals(params, gradients)
    assert flat_step.difference(made) < flat_step.AGREEMENT
    assert np.abs(made[flat_step.ADAMW].weights() - made[flat_step.OURS].weights()).max() > 1e-3


@pytest.mark.parametrize("seeds", [range(1), range(3)], ids=["one seed", "seeds"])
@pytest.mark.parametrize("model", [lnb.LogisticRegression(5, n_classes=3), lnb.MLP((5, 4, 3))], ids=repr)
def test_rivals_of_a_sweep_do_the_same_work(model, seeds, in_float32, rng):
    X, y = rng.standard_normal((60, 5)), rng.integers(0, 3, 60)
    data = lnb.datasets.from_arrays(X, y)
    configs = sweep.lookaheads(2, 2, 2)
    problem = sweep.Problem(model, data, configs, seeds, steps=20, eval_steps=(0, 20), batch_size=8)
    assert sweep.difference(problem) < sweep.AGREEMENT
    slower = sweep.Problem(model, data, [*configs[1:], configs[0]], seeds, 20, (0, 20), 8)
    assert np.abs(sweep.ours(problem) - sweep.ours(slower)).max() > 10 * sweep.AGREEMENT


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_rivals_do_the_same_work_on_generated_tasks(activation, in_float32):
    model = lnb.MLP((5, 4, 3), activation=activation)
    data = lnb.datasets.from_arrays(np.random.default_rng(0).standard_normal((60, 5)), np.arange(60) % 3)
    problem = sweep.Problem(model, data, sweep.lookaheads(1, 1, 2), range(2), 20, (0, 20), batch_size=8)
    assert sweep.difference(problem) < sweep.AGREEMENT


@pytest.mark.parametrize("count", [1, 3])
def test_environments_that_are_timed_take_the_same_step(count):
    assert agents.difference(count) <= agents.AGREEMENT
    ours = agents.Ours(count, 200)
    pushes, ended = ours.actions.copy(), ours()
    assert ended == ours.episodes.sum() > 5 * count
    poles = [lnb.agents.CartPole(environment=e) for e in range(count)]
    for push in pushes:
        for pole, action in zip(poles, push, strict=True):
            if pole.ended:
                pole.reset()
            pole.step(int(action))
    for pole, state in zip(poles, ours.states, strict=True):
        if pole.ended:
            pole.reset()
        assert (pole.state == state).all()


def test_tasks_in_one_call_are_the_problems_one_by_one():
    work = sweep.generated_tasks(4, 2)
    assert (len(work.problems), len(work.sample)) == (4, 2)
    assert work.runs == 4 * 6 * 4
    assert work.scale == work.operations / (work.problems[0].operations + work.problems[2].operations)
    few = [replace(problem, steps=20, eval_steps=(0, 20)) for problem in work.problems[:2]]
    for together, alone in zip(sweep.ours_together(few), map(sweep.ours, few), strict=True):
        assert together.tobytes() == alone.tobytes()


def test_jax_with_other_flags_trains_the_same_and_flags_that_xla_does_not_know_are_left_out(capsys, in_float32, rng):
    data = lnb.datasets.from_arrays(rng.standard_normal((60, 5)), rng.integers(0, 3, 60))
    model = lnb.LogisticRegression(5, n_classes=3)
    problem = sweep.Problem(model, data, sweep.lookaheads(1, 1, 2), range(1), 20, (0, 20), batch_size=8)
    found = jax_worker.quickest_flags(problem, ["--no_such_flag=1", "--xla_cpu_multi_thread_eigen=false"], times=1)
    assert [*found] == ["--xla_cpu_multi_thread_eigen=false"]
    assert "XLA does not take --no_such_flag=1" in capsys.readouterr().out
    assert sweep.difference(problem, flags=next(iter(found))) < sweep.AGREEMENT


def test_chains_of_multiply_adds_do_what_is_counted():
    made = peak.Peak(factor=0.25, term=3.0)
    made()
    assert np.unique(made.arrays[:, 2:]).tolist() == [4.0]  # the fixed point of x/4 + 3
    assert made.operations == 2 * peak.TIMES * made.arrays[:, 2:].size
    assert made.arrays.shape[1] - 2 == made.chains


def test_the_line_of_a_table_by_hand():
    work = SimpleNamespace(runs=10, operations=4e9)
    seconds = {sweep.OURS: 2.0, Rival(None, "JAX", "--a"): 6.0, Rival(None, "torch", "vmap", 1): 8.0, sweep.PEAK: 0.5}
    seconds |= {Rival(None, "torch", "vmap", 2): 4.0, Rival(None, "torch", thread_limit=1): 20.0}
    seconds |= {Rival(None, "sgemm", thread_limit=2): 1.0, Rival(None, "sgemm", thread_limit=1): 1.5}
    line = sweep.line_of("a sweep", work, {rival: np.array([value]) for rival, value in seconds.items()})
    assert line == ["a sweep", "5", "2", "3×", "2×", "10×", "50 %", "25 % (50 %)"]
    assert len(line) == len(sweep.HEAD)
