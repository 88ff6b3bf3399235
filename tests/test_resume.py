"""Checkpoints: a run stopped at any phase goes on with the same bits, also in another process."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lookahead_nb as lnb
from tests.support.cases import INNER, INNER_STATES, RULES, WRAPPED, picture, problem, run

K, STEPS, SIZE = 3, 10, 5
PHASES = [3, 4, 5]  # one whole cycle lies behind, so that every anchor has moved


def optimizers(rule):
    """The rule alone and inside Lookahead with every inner state, without pull-back too."""
    inner = INNER[rule]
    if rule not in WRAPPED:
        return [inner]
    wrapped = [lnb.Lookahead(inner, sync_period=K, retention=0.7, inner_state=mode) for mode in INNER_STATES]
    turns = lnb.Lookahead(inner, sync_period=K, slow_step_size=(0.3, 0.9), inner_state="interpolate")
    adaptive = [lnb.Lookahead(inner, sync_period=K, slow_step_size="adaptive")] if rule == "adamw" else []
    beyond = [lnb.Lookahead(inner, sync_period=K, slow_step_size=(1.5, 0.2, 2))]
    beyond += [lnb.Lookahead(inner, sync_period=K, outer_momentum=0.7, outer_nesterov=n) for n in (False, True)]
    averages = lnb.Lookahead(inner, sync_period=K, pull_back=False), lnb.EMA(inner, window=K)
    return [inner, *wrapped, *averages, turns, *beyond, *adaptive]


def same_state(one, other):
    return picture(one) == picture(other)


def through_a_file(arrays, path):
    np.savez(path, **arrays)
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


@pytest.mark.parametrize("stop", [0, 1, 2, *PHASES])
@pytest.mark.parametrize("rule", RULES)
def test_resume_is_exact_at_every_phase(rule, stop, rng, width, tmp_path):
    start, gradients = problem(rng, STEPS, SIZE, width)
    for opt in optimizers(rule):
        expected, end = run(opt, start, gradients)
        params, state = run(opt, start, gradients[:stop])
        params = params.copy()  # arrays of another identity, as after a restart
        state = opt.restore(through_a_file(state.to_arrays(), tmp_path / "state.npz"))
        for g in gradients[stop:]:
            opt.step(params, g.copy(), state)
        assert params.tobytes() == expected.tobytes()
        assert same_state(state, end)


@pytest.mark.parametrize("rule", WRAPPED)
def test_a_state_that_follows_new_rates_has_the_bits_of_their_schedule(rule, rng, width):
    schedule = lnb.schedules.cosine(0.1, 12, warmup=3)
    start, gradients = problem(rng, STEPS, SIZE, width)
    inner = INNER[rule]
    for opt in optimizers(rule)[:-1] if rule == "adamw" else optimizers(rule):
        at = lambda lr, opt=opt: next(iter(lnb.grid(opt, lr=[lr])))  # noqa: E731
        expected, end = run(at(schedule), start, gradients)
        params = start.copy()
        state = at(1.0).init(params)
        for t, g in enumerate(gradients, 1):
            if t != 6:  # a rate may stay as it is
                state.follow(at(float(schedule(t))))
            else:
                state.follow(at(float(schedule(6))))
                state.follow(state.optimizer)
            state.optimizer.step(params, g, state)
        assert params.tobytes() == expected.tobytes()
        assert inner.rule == state.optimizer.inner.rule
        assert {k: v.tobytes() for k, v in state.slots.items()} == {k: v.tobytes() for k, v in end.slots.items()}


@pytest.mark.parametrize("rule", WRAPPED)
def test_a_state_that_follows_has_the_bits_of_one_restored_under_the_new_numbers(rule, rng, width):
    start, gradients = problem(rng, STEPS, SIZE, width)
    for opt in optimizers(rule):
        (slower,) = lnb.grid(opt, lr=[0.003], weight_decay=[0.3])
        for stop in PHASES:
            params, state = run(opt, start, gradients[:stop])
            same = params.copy()
            settings = json.dumps(slower.settings(), sort_keys=True)
            restored = slower.restore(state.to_arrays() | {"settings": np.array(settings)})
            before = getattr(state, "slow_steps", [])
            state.follow(slower)
            assert (state.t, getattr(state, "slow_steps", [])) == (stop, before)
            for g in gradients[stop:]:
                slower.step(params, g, state)
                slower.step(same, g, restored)
            assert params.tobytes() == same.tobytes()
            assert same_state(state, restored)


def test_a_state_follows_no_other_rule_or_sync():
    state = lnb.Lookahead(lnb.AdamW(0.1), sync_period=3).init(np.ones(2))
    for other in (lnb.AdamW(0.1), lnb.Lookahead(lnb.Adam(0.1), sync_period=3), lnb.Lookahead(lnb.AdamW(0.1))):
        with pytest.raises(ValueError, match="optimizer must have the rule and the syncs of Lookahead"):
            state.follow(other)
    with pytest.raises(ValueError, match=r"optimizer must have the rule and the syncs of Lookahead.* got 'adam'"):
        state.follow("adam")
    state.follow(lnb.Lookahead(lnb.AdamW(0.2), sync_period=3))
    with pytest.raises(ValueError, match=r"lr must .* float32"):
        lnb.SGD(0.1).init(np.ones(2, "f")).follow(lnb.SGD(1e300))
    state = lnb.ScheduleFreeAdamW(0.1).init(np.ones(2))
    with pytest.raises(ValueError, match=r"lr must stay 0\.1 for ScheduleFreeAdamW, got 0\.2"):
        state.follow(lnb.ScheduleFreeAdamW(0.2))


GO_ON = """
import sys
import numpy as np
import lookahead_nb as lnb

names = vars(lnb) | {"Schedule": lnb.schedules.Schedule}
for folder in sys.argv[1:]:
    with np.load(f"{folder}/state.npz", allow_pickle=False) as stored, np.load(f"{folder}/rest.npz") as rest:
        opt = eval(str(rest["opt"]), names)
        state, params = opt.restore(stored), rest["params"]
        for g in rest["gradients"]:
            opt.step(params, g, state)
    np.savez(f"{folder}/end.npz", params=params, **state.to_arrays())
"""


def test_another_process_goes_on_with_the_same_bits(rng, tmp_path):
    start, gradients = problem(rng, STEPS, SIZE, np.float32)
    warm = lnb.AdamW(lr=lnb.schedules.cosine(0.1, 8, warmup=2))
    opts = [opt for rule in RULES for opt in optimizers(rule)] + [lnb.Lookahead(warm, sync_period=K)]
    cases = [(opt, stop) for opt in opts for stop in PHASES]
    folders = [tmp_path / str(i) for i in range(len(cases))]
    for folder, (opt, stop) in zip(folders, cases, strict=True):
        folder.mkdir()
        params, state = run(opt, start, gradients[:stop])
        np.savez(folder / "state.npz", **state.to_arrays())
        np.savez(folder / "rest.npz", opt=repr(opt), params=params, gradients=gradients[stop:])
    root = Path(lnb.__file__).parents[1]
    subprocess.run([sys.executable, "-c", GO_ON, *map(str, folders)], cwd=root, check=True)
    for folder, (opt, _) in zip(folders, cases, strict=True):
        params, state = run(opt, start, gradients)
        with np.load(folder / "end.npz") as end:
            assert end["params"].tobytes() == params.tobytes()
            assert {name: end[name].tobytes() for name in end if name != "params"} == picture(state)[0]


def test_stored_state_needs_no_pickle_and_holds_copies(rng):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=K, inner_state="interpolate")
    params, state = run(opt, *problem(rng, 4, SIZE))
    arrays = state.to_arrays()
    assert not any(np.asarray(value).dtype.hasobject for value in arrays.values())
    before = {name: np.asarray(value).tobytes() for name, value in arrays.items()}
    opt.step(params, np.ones(SIZE), state)
    assert {name: np.asarray(value).tobytes() for name, value in arrays.items()} == before


def test_restore_neither_keeps_nor_changes_what_it_read(rng):
    opt = lnb.Lookahead(INNER["adamw"], sync_period=K, inner_state="interpolate")
    params, state = run(opt, *problem(rng, 4, SIZE))
    arrays = state.to_arrays()
    before = {name: np.asarray(value).tobytes() for name, value in arrays.items()}
    restored = opt.restore(arrays)
    for _ in range(K):
        opt.step(params, np.ones(SIZE), restored)
    assert {name: np.asarray(value).tobytes() for name, value in arrays.items()} == before


def test_restore_reads_readonly_arrays(rng):
    opt = INNER["adamw"]
    params, state = run(opt, *problem(rng, 4, SIZE))
    arrays = state.to_arrays()
    for array in (arrays["m"], arrays["v"]):
        array.flags.writeable = False
    opt.step(params, np.ones(SIZE), opt.restore(arrays))


def test_state_of_no_weights_can_be_stored(width):
    opt = lnb.Lookahead(INNER["adamw"], inner_state="interpolate")
    state = run(opt, np.zeros(0, width), np.zeros((7, 0), width))[1]
    assert state.t == 7
    assert same_state(opt.restore(state.to_arrays()), state)


def test_like_names_the_place(rng):
    params, state = run(INNER["adamw"], *problem(rng, 2, SIZE))
    assert same_state(INNER["adamw"].restore(state.to_arrays(), like=params), state)


def test_clock_beyond_every_counter_still_steps():
    opt = lnb.Lookahead(INNER["adamw"], sync_period=5)
    stored = opt.init(np.ones(1)).to_arrays()
    for t in (2**24, 2**31 - 1, 2**53):
        state = opt.restore(stored | {"t": t, "power1": 0.0, "power2": 0.0})
        params = np.ones(1)
        opt.step(params, np.ones(1), state)
        assert state.t == t + 1
        assert 0.9 < params[0] < 1


# ------------------------------------------------------------------------------------------------------ refusals


@pytest.fixture
def stored():
    opt = lnb.Lookahead(lnb.AdamW(lr=0.1), sync_period=K, inner_state="interpolate")
    return opt, run(opt, np.ones(SIZE, np.float32), np.ones((4, SIZE), np.float32))[1].to_arrays()


OTHER_SETTINGS = [
    lnb.AdamW(lr=0.1),
    lnb.Lookahead(lnb.Adam(lr=0.1, weight_decay=0.01), sync_period=K, inner_state="interpolate"),
    lnb.Lookahead(lnb.AdamW(lr=0.2), sync_period=K, inner_state="interpolate"),
    lnb.Lookahead(lnb.AdamW(lr=lnb.schedules.constant(0.1, warmup=1)), sync_period=K, inner_state="interpolate"),
    lnb.Lookahead(lnb.AdamW(lr=0.1), sync_period=K + 1, inner_state="interpolate"),
    lnb.Lookahead(lnb.AdamW(lr=0.1), sync_period=K, retention=0.6, inner_state="interpolate"),
    lnb.Lookahead(lnb.AdamW(lr=0.1), sync_period=K, inner_state="keep"),
]


@pytest.mark.parametrize("other", OTHER_SETTINGS)
def test_other_settings_are_refused(other, stored):
    with pytest.raises(ValueError, match="arrays must hold a state of"):
        other.restore(stored[1])


@pytest.mark.parametrize(
    "missing", ["settings", "size", "width", "t", "power1", "m", "slow", "synced_power2", "synced_v"]
)
def test_missing_part_is_refused_by_name(missing, stored):
    opt, arrays = stored
    del arrays[missing]
    with pytest.raises(ValueError, match=f"{missing}|state of"):
        opt.restore(arrays)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"extra": 1}, ValueError, ["extra"]),
        ({"m": np.zeros(SIZE)}, ValueError, ["'m'", "float64"]),
        ({"m": np.zeros(SIZE, ">f4")}, ValueError, ["'m'", ">f4"]),
        ({"m": np.zeros(SIZE + 1, np.float32)}, ValueError, ["'m'", "(6,)"]),
        ({"slow": np.zeros((SIZE, 1), np.float32)}, ValueError, ["'slow'", "(5, 1)"]),
        ({"slow": None}, ValueError, ["'slow'", "object"]),
        ({"t": -1}, ValueError, ["t must", "-1"]),
        ({"t": 1.5}, TypeError, ["t must", "1.5"]),
        ({"t": True}, TypeError, ["t must", "True"]),
        ({"power1": np.nan}, ValueError, ["power1", "nan"]),
        ({"power1": 1.5}, ValueError, ["power1", "1.5"]),
        ({"synced_power2": "x"}, TypeError, ["synced_power2", "'x'"]),
        ({"size": -1}, ValueError, ["size", "-1"]),
        ({"size": 5.0}, TypeError, ["size", "5.0"]),
        ({"size": 10**15}, ValueError, ["size|arrays"]),
        ({"width": "float16"}, ValueError, ["width", "'float16'"]),
        ({"settings": "{}"}, ValueError, ["settings|state of", "{}"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) and "slow" not in value else None,
)
def test_broken_part_is_refused_by_name(change, error, words, stored):
    opt, arrays = stored
    with pytest.raises(error) as caught:
        opt.restore(arrays | change)
    message = str(caught.value)
    assert all(any(choice in message for choice in word.split("|")) for word in words)
    assert "\n" not in message


@pytest.mark.parametrize("arrays", [None, 3, "state", [1, 2], np.zeros(3)])
def test_what_is_no_mapping_is_refused(arrays):
    with pytest.raises(TypeError, match="arrays must be a mapping"):
        lnb.AdamW().restore(arrays)


def test_state_of_another_optimizer_is_refused_by_step():
    params = np.ones(SIZE)
    state = lnb.AdamW(lr=0.1).init(params)
    with pytest.raises(ValueError, match="state must belong to"):
        lnb.AdamW(lr=0.2).step(params, np.ones(SIZE), state)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_a_copied_state_and_mapped_weights_step_as_quickly_as_any(copied, tmp_path, monkeypatch):
    opt = lnb.Lookahead(lnb.AdamW(), sync_period=K)
    start, grad = np.ones(SIZE), np.full(SIZE, 0.1)
    params = np.memmap(tmp_path / "weights", np.float64, "w+", shape=SIZE)
    params[:] = start
    state = copied(opt.init(params))
    opt.step(params, grad, state)
    monkeypatch.setattr(lnb.optimizers.Optimizer, "_enter", None)  # the way of the first step with a foreign state
    other = opt.init(start)
    opt.step(start, grad, other)
    for _ in range(STEPS):
        opt.step(params, grad, state)
        opt.step(start, grad, other)
    assert (params == start).all()
    assert same_state(state, other)
