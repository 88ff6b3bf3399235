"""The optimizer for PyTorch: the bits of the package, PyTorch's own steps, groups, schedulers, checkpoints."""

import copy
import io
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as rates
from torch.optim.swa_utils import SWALR

import lookahead_nb as lnb
from lookahead_nb.adapters.torch import TorchOptimizer
from lookahead_nb.kernels.cpu.step import PARALLEL_FROM
from tests.support.cases import INNER, INNER_STATES, WRAPPED, assert_close, problem, run

RTOL = 1e-12  # both sides round some ten times per step by 1e-16
STEPS, SIZE = 11, 12

OPTS = [
    *INNER.values(),
    *(lnb.Lookahead(INNER[rule], sync_period=3, retention=0.7) for rule in WRAPPED),
    *(lnb.Lookahead(INNER["adamw"], sync_period=3, inner_state=mode) for mode in INNER_STATES),
    lnb.Lookahead(INNER["adamw"], sync_period=3, pull_back=False),
    lnb.Lookahead(INNER["adamw"], sync_period=3, outer_momentum=0.9),
    lnb.EMA(INNER["adamw"], window=5),
    lnb.Lookahead(INNER["adamw"], sync_period=3, slow_step_size=(0.3, 0.9)),
]
OPTS = [opt for opt in OPTS if opt.inner.schedule.warmup == 0] + [lnb.ScheduleFreeAdamW(0.02, weight_decay=0.1)]
LOOKAHEAD = lnb.Lookahead(lnb.AdamW(0.05, weight_decay=0.1), sync_period=3, slow_step_size=0.5)


def tensors(*arrays):
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def stepped(optimizer, gradients):
    """Take a step with each row of the gradients, cut into the tensors of all groups."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for row in gradients:
        start = 0
        for p in params:
            p.grad = torch.tensor(row[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
        optimizer.step()
    return np.concatenate([p.detach().numpy().ravel() for p in params])


def shapes(start):
    """The same numbers as three tensors."""
    return tensors(start[:6].reshape(2, 3), start[6:11], start[11].reshape(()))


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ------------------------------------------------------------------------------------------------------------ steps


@pytest.mark.parametrize("opt", OPTS, ids=str)
def test_tensors_have_the_bits_of_a_flat_buffer(opt, rng, width):
    start, gradients = problem(rng, STEPS, SIZE, width)
    params = shapes(start)
    where = [p.data_ptr() for p in params]
    assert stepped(TorchOptimizer(params, opt), gradients).tobytes() == run(opt, start, gradients)[0].tobytes()
    assert [p.data_ptr() for p in params] == where


def test_tensors_are_stepped_where_they_lie(rng):
    start, gradients = problem(rng, 3, SIZE)
    array = start.copy()
    params = [torch.nn.Parameter(torch.from_numpy(array[:5])), torch.nn.Parameter(torch.from_numpy(array[5:]))]
    stepped(TorchOptimizer(params, LOOKAHEAD), gradients)
    assert array.tobytes() == run(LOOKAHEAD, start, gradients)[0].tobytes()


def test_a_backward_through_weights_that_have_changed_is_refused_as_by_torch():
    first, second = torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)
    optimizer = TorchOptimizer([*first.parameters(), *second.parameters()], LOOKAHEAD)

    def loss():
        return second(torch.tanh(first(torch.ones(1, 2)))).sum()

    ahead = loss()
    ahead.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        ahead.backward()
    ahead = loss()
    with optimizer.slow_weights():
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            ahead.backward(retain_graph=True)
        inside = loss()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        inside.backward()


def test_gradients_in_another_order_are_read_right(rng):
    start, gradients = problem(rng, 2, SIZE)
    plain, turned = tensors(start.reshape(3, 4)), tensors(start.reshape(3, 4))
    ours, other = TorchOptimizer(plain, LOOKAHEAD), TorchOptimizer(turned, LOOKAHEAD)
    for row in gradients:
        plain[0].grad = torch.tensor(row.reshape(3, 4))
        turned[0].grad = torch.tensor(row.reshape(3, 4).T.copy()).T
        assert not turned[0].grad.is_contiguous()
        ours.step()
        other.step()
    assert torch.equal(*plain, *turned)


def test_a_network_learns_with_a_closure():
    torch.manual_seed(0)
    X = torch.randn(64, 3)
    y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 1
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = TorchOptimizer(model.parameters(), LOOKAHEAD)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(X), y)
        loss.backward()
        return loss

    with torch.no_grad():  # the closure computes gradients all the same
        losses = [optimizer.step(closure).item() for _ in range(300)]
    assert losses[-1] < 0.02 * losses[0]


def test_a_tensor_without_a_gradient_stays_and_has_a_clock_of_its_own(rng):
    start, gradients = problem(rng, 4, SIZE)
    first, second = tensors(start, start)
    optimizer = TorchOptimizer([first, second], LOOKAHEAD)
    for t, row in enumerate(gradients):
        first.grad, second.grad = torch.tensor(row), torch.tensor(row) if t else None
        optimizer.step()
    assert first.detach().numpy().tobytes() == run(LOOKAHEAD, start, gradients)[0].tobytes()
    assert second.detach().numpy().tobytes() == run(LOOKAHEAD, start, gradients[1:])[0].tobytes()


def test_gradients_come_and_go(rng):
    start, gradients = problem(rng, 9, SIZE)
    params = tensors(start, start, start)
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    taken = [[], [], []]
    for t, row in enumerate(gradients):
        for n, (param, rows) in enumerate(zip(params, taken, strict=True)):
            param.grad = torch.tensor(row) if n == 0 or t % (n + 1) else None
            rows += [] if param.grad is None else [row]
        optimizer.step()
    for param, rows in zip(params, taken, strict=True):
        assert param.detach().numpy().tobytes() == run(LOOKAHEAD, start, rows)[0].tobytes()


def test_tensors_added_later_and_states_taken_away_start_afresh(rng):
    start, gradients = problem(rng, 6, SIZE)
    first, second = tensors(start, start)
    optimizer = TorchOptimizer([first], LOOKAHEAD)
    stepped(optimizer, gradients[:2])
    optimizer.add_param_group({"params": [second], "weight_decay": 0.0})
    stepped(optimizer, np.hstack([gradients[2:4]] * 2))
    other = lnb.Lookahead(lnb.AdamW(0.05, weight_decay=0.0), sync_period=3, slow_step_size=0.5)
    middle, _ = run(LOOKAHEAD, start, gradients[:4])
    assert first.detach().numpy().tobytes() == middle.tobytes()
    assert second.detach().numpy().tobytes() == run(other, start, gradients[2:4])[0].tobytes()
    optimizer.state.pop(first)
    stepped(optimizer, np.hstack([gradients[4:]] * 2))
    assert first.detach().numpy().tobytes() == run(LOOKAHEAD, middle, gradients[4:])[0].tobytes()
    assert second.detach().numpy().tobytes() == run(other, start, gradients[2:])[0].tobytes()


def test_data_that_moves_is_stepped_where_it_is_now(rng):
    start, gradients = problem(rng, 4, SIZE)
    params = shapes(start)
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    stepped(optimizer, gradients[:2])
    params[0].data = params[0].data.clone()
    assert stepped(optimizer, gradients[2:]).tobytes() == run(LOOKAHEAD, start, gradients)[0].tobytes()


@pytest.mark.parametrize(
    ("change", "got"),
    [(lambda data: data[:4], r"\(4, torch\.float64\)"), (lambda data: data.float(), r"\(5, torch\.float32\)")],
    ids=["size", "dtype"],
)
def test_data_of_another_size_or_dtype_is_refused(change, got, rng):
    start, gradients = problem(rng, 4, SIZE)
    params = shapes(start)
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    stepped(optimizer, gradients[:2])
    params[1].data = change(params[1].data)
    for each in params:
        each.grad = torch.ones_like(each)
    stored = str(optimizer.state_dict())
    with pytest.raises(ValueError, match=rf"params must keep size and dtype \(5, torch\.float64\).*, got {got}"):
        optimizer.step()
    assert str(optimizer.state_dict()) == stored


def test_tensors_that_share_memory_are_refused_ahead_of_any_change():
    whole = torch.ones(5)
    params = [torch.nn.Parameter(whole[:3]), torch.nn.Parameter(whole[2:])]
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    for each in params:
        each.grad = torch.ones_like(each)
    with pytest.raises(ValueError, match="params must not share memory: pass tied tensors once"):
        optimizer.step()
    assert torch.equal(whole, torch.ones(5))
    assert not optimizer.state


def test_a_tied_tensor_is_stepped_once(rng):
    start, gradients = problem(rng, 4, SIZE)
    first, second = torch.nn.Linear(3, 4, bias=False).double(), torch.nn.Linear(3, 4, bias=False).double()
    second.weight = first.weight
    with torch.no_grad():
        first.weight.copy_(torch.tensor(start.reshape(4, 3)))
    optimizer = TorchOptimizer(torch.nn.Sequential(first, second).parameters(), LOOKAHEAD)
    assert stepped(optimizer, gradients).tobytes() == run(LOOKAHEAD, start, gradients)[0].tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_torch_change_no_bit(threads, rng):
    start, gradients = problem(rng, 4, PARALLEL_FROM + 5, np.float32)
    params, before = tensors(start[:7], start[7:]), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ended = stepped(TorchOptimizer(params, LOOKAHEAD), gradients)
    finally:
        torch.set_num_threads(before)
    assert ended.tobytes() == run(LOOKAHEAD, start, gradients)[0].tobytes()


def test_a_state_that_is_used_by_itself_leaves_the_others_alone(rng):
    start, gradients = problem(rng, 5, SIZE)
    params = shapes(start)
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    stepped(optimizer, gradients[:2])
    flat = params[1].detach().numpy()
    LOOKAHEAD.step(flat, gradients[2][6:11].copy(), optimizer.state[params[1]]["state"])
    params[0].grad, params[1].grad, params[2].grad = (torch.tensor(gradients[2][:6].reshape(2, 3)), None, None)
    params[2].grad = torch.tensor(gradients[2][11].reshape(()))
    optimizer.step()
    assert stepped(optimizer, gradients[3:]).tobytes() == run(LOOKAHEAD, start, gradients)[0].tobytes()


# ------------------------------------------------------------------------------------------- groups and schedulers


def test_groups_have_their_own_rates_and_decays_like_those_of_torch(rng):
    start, gradients = problem(rng, 40, SIZE)

    def groups(params):
        return [{"params": params[:2], "weight_decay": 0.0}, {"params": params[2:], "lr": 0.2}]

    ours, theirs = (groups(shapes(start)) for _ in range(2))
    inner = lnb.AdamW(0.05, weight_decay=0.1)
    got = stepped(TorchOptimizer(ours, inner), gradients)
    assert_close(got, stepped(torch.optim.AdamW(theirs, lr=0.05, weight_decay=0.1), gradients), RTOL)


SCHEDULERS = {
    "LambdaLR": lambda o: rates.LambdaLR(o, lambda t: 0.9**t),
    "MultiplicativeLR": lambda o: rates.MultiplicativeLR(o, lambda _: 0.9),
    "StepLR": lambda o: rates.StepLR(o, 7, gamma=0.3),
    "MultiStepLR": lambda o: rates.MultiStepLR(o, [5, 20]),
    "ConstantLR": lambda o: rates.ConstantLR(o, 0.3, 11),
    "LinearLR": lambda o: rates.LinearLR(o, 0.3, 0.0, 11),  # down to 0, and 4e-18 below it
    "ExponentialLR": lambda o: rates.ExponentialLR(o, 0.9),
    "SequentialLR": lambda o: rates.SequentialLR(o, [rates.ConstantLR(o, 0.1, 9), rates.ExponentialLR(o, 0.9)], [9]),
    "CosineAnnealingLR": lambda o: rates.CosineAnnealingLR(o, 40),
    "ChainedScheduler": lambda o: rates.ChainedScheduler([rates.ConstantLR(o, 0.1, 9), rates.ExponentialLR(o, 0.9)]),
    "ReduceLROnPlateau": lambda o: rates.ReduceLROnPlateau(o, patience=3),
    "CyclicLR": lambda o: rates.CyclicLR(o, 0.01, 0.3, step_size_up=6, cycle_momentum=False),
    "CosineAnnealingWarmRestarts": lambda o: rates.CosineAnnealingWarmRestarts(o, 9),
    "OneCycleLR": lambda o: rates.OneCycleLR(o, 0.3, total_steps=41, cycle_momentum=False),
    "PolynomialLR": lambda o: rates.PolynomialLR(o, 30, power=2.0),
    "SWALR": lambda o: SWALR(o, swa_lr=0.001, anneal_epochs=9),
}


def test_no_scheduler_of_torch_is_left_out():
    assert {*rates.__all__} - {"LRScheduler"} == {*SCHEDULERS} - {"SWALR"}


@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
def test_schedulers_set_the_rate(scheduler, rng):
    start, gradients = problem(rng, 40, SIZE)
    ends = []
    for make in (
        lambda p: TorchOptimizer(p, lnb.AdamW(0.05, weight_decay=0.1)),
        lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
    ):
        optimizer = make(shapes(start))
        rate = scheduler(optimizer)
        for row in gradients:
            end = stepped(optimizer, [row])
            rate.step(*[1.0] * isinstance(rate, rates.ReduceLROnPlateau))
        ends.append(end)
    assert_close(*ends, RTOL)
    assert (
        abs(ends[0] - stepped(TorchOptimizer(shapes(start), lnb.AdamW(0.05, weight_decay=0.1)), gradients)).max() > 0.01
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
def test_what_a_scheduler_keeps_in_a_group_stays_and_may_be_passed_again(scheduler, rng):
    start, gradients = problem(rng, 4, SIZE)
    optimizer = TorchOptimizer(shapes(start), lnb.AdamW(0.05, weight_decay=0.1))
    scheduler(optimizer)
    stepped(optimizer, gradients)
    kept = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    assert kept.keys() <= {"lr", "weight_decay", "initial_lr", "max_lr", "min_lr", "swa_lr"}
    other = TorchOptimizer([kept | {"params": shapes(start), "name": "all"}], lnb.AdamW())
    other.load_state_dict(through_a_file(optimizer.state_dict()))
    assert {key: value for key, value in other.param_groups[0].items() if key != "params"} == kept
    again = TorchOptimizer([kept | {"params": shapes(start), "name": "all"}], lnb.AdamW())
    assert {key: value for key, value in again.param_groups[0].items() if key not in ("params", "name")} == kept


def test_a_scheduler_that_moves_the_momentum_is_refused_by_torch():
    optimizer = TorchOptimizer(shapes(np.zeros(SIZE)), lnb.SGD(momentum=0.9))
    with pytest.raises(ValueError, match="must support momentum"):
        rates.CyclicLR(optimizer, 0.01, 0.3)


# ------------------------------------------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize("opt", OPTS, ids=str)
def test_a_checkpoint_continues_exactly_at_every_phase(opt, rng, width):
    start, gradients = problem(rng, STEPS, SIZE, width)
    for stop in range(7):
        params = shapes(start)
        whole, before = TorchOptimizer(shapes(start), opt), TorchOptimizer(params, opt)
        for optimizer in (whole, before):
            stepped(optimizer, gradients[:stop])
            if not isinstance(opt, lnb.ScheduleFreeAdamW):
                optimizer.param_groups[0]["lr"] *= 0.5
            stepped(optimizer, gradients[stop : stop + 1])
        stored = through_a_file(before.state_dict())
        kept = str(stored)
        again = TorchOptimizer([p.detach().clone().requires_grad_() for p in params], opt)
        again.load_state_dict(stored)
        stepped(before, gradients[stop + 1 :])  # a checkpoint is a copy
        assert again.param_groups[0]["lr"] == whole.param_groups[0]["lr"]
        assert str(again.state_dict()["state"]) == str(stored["state"])
        expected = stepped(whole, gradients[stop + 1 :])
        assert stepped(again, gradients[stop + 1 :]).tobytes() == expected.tobytes()
        assert str(stored) == kept


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"]
)
def test_copies_continue_with_the_same_bits(copied, rng):
    start, gradients = problem(rng, STEPS, SIZE)
    params = shapes(start)
    optimizer = TorchOptimizer(params, LOOKAHEAD)
    stepped(optimizer, gradients[:4])
    _, other = copied((params, optimizer))
    assert stepped(other, gradients[4:]).tobytes() == stepped(optimizer, gradients[4:]).tobytes()


def test_a_checkpoint_that_does_not_fit_changes_nothing(rng):
    start, gradients = problem(rng, 5, SIZE)
    optimizer = TorchOptimizer(shapes(start), LOOKAHEAD)
    stepped(optimizer, gradients)
    stored = str(optimizer.state_dict())
    other = TorchOptimizer(shapes(start), lnb.Lookahead(lnb.AdamW(0.05, weight_decay=0.1), sync_period=4))
    stepped(other, gradients)
    short = TorchOptimizer(tensors(start[:6], start[6:11], start[:2]), LOOKAHEAD)
    stepped(short, np.hstack([gradients, gradients]))
    fewer = TorchOptimizer(shapes(start)[:2], LOOKAHEAD)
    for wrong, sentence in (
        (other, "state_dict must belong to .*sync_period.: 3.* got a state of .*sync_period.: 4"),
        (short, "state_dict must hold the state of 1 float64 weights, got that of 2 of float64"),
        (fewer, "loaded state dict contains a parameter group that doesn't match"),
    ):
        with pytest.raises(ValueError, match=sentence):
            optimizer.load_state_dict(wrong.state_dict())
        assert str(optimizer.state_dict()) == stored


# ----------------------------------------------------------------------------------------------------- slow weights


@pytest.mark.parametrize("opt", [LOOKAHEAD, lnb.ScheduleFreeAdamW(0.02)], ids=str)
def test_tensors_hold_the_slow_weights_inside_the_block(opt, rng):
    start, gradients = problem(rng, 4, SIZE)
    params = shapes(start)
    optimizer = TorchOptimizer(params, opt)
    with optimizer.slow_weights():  # they start at the fast ones
        assert np.concatenate([p.detach().numpy().ravel() for p in params]).tobytes() == start.tobytes()
    fast = stepped(optimizer, gradients)
    flat, state = run(opt, start, gradients)
    with pytest.raises(KeyError), optimizer.slow_weights():  # noqa: PT012 (the block is what is tested)
        held = np.concatenate([p.detach().numpy().ravel() for p in params])
        with pytest.raises(RuntimeError, match="leave the block"):
            optimizer.state_dict()
        with pytest.raises(RuntimeError, match="leave the block"):
            optimizer.step()
        raise KeyError
    assert held.tobytes() == opt.slow_from(flat, state).tobytes()
    assert np.concatenate([p.detach().numpy().ravel() for p in params]).tobytes() == fast.tobytes()


def test_without_slow_weights_there_is_no_block():
    optimizer = TorchOptimizer(tensors(np.ones(2)), lnb.AdamW())
    with (
        pytest.raises(TypeError, match="slow_weights needs an optimizer with slow weights, got AdamW"),
        optimizer.slow_weights(),
    ):
        pass


# ------------------------------------------------------------------------------------------------ what is refused


def test_a_gradient_that_is_not_finite_changes_no_tensor(rng):
    start, gradients = problem(rng, 5, SIZE)
    optimizer = TorchOptimizer(shapes(start), LOOKAHEAD)
    before, stored = stepped(optimizer, gradients), str(optimizer.state_dict())
    for bad in (np.nan, 1e200):
        row = gradients[0].copy()
        row[8] = bad  # the third element of the second tensor
        with pytest.raises(
            FloatingPointError, match=r"grad of a \(5,\) tensor must be finite.* at element 2; nothing was"
        ):
            stepped(optimizer, [row])
    assert str(optimizer.state_dict()) == stored
    assert (
        np.concatenate([p.detach().numpy().ravel() for p in optimizer.param_groups[0]["params"]]).tobytes()
        == before.tobytes()
    )
    passed = TorchOptimizer(shapes(start), LOOKAHEAD, check_finite=False)
    assert not np.isfinite(stepped(passed, [np.full(SIZE, np.nan)])).any()


ONE = torch.ones(2, 3, requires_grad=True)
REFUSED = {
    "opt": (
        lambda: TorchOptimizer([ONE], "adam"),
        TypeError,
        "opt must be an inner optimizer, Lookahead or EMA, got 'adam'",
    ),
    "schedule": (
        lambda: TorchOptimizer([ONE], lnb.AdamW(lnb.schedules.cosine(0.1, 9))),
        ValueError,
        "lr must be a number, which a scheduler of PyTorch may change, got",
    ),
    "schedule of the decay": (
        lambda: TorchOptimizer([ONE], lnb.AdamW(weight_decay=lnb.schedules.cosine(0.1, 9))),
        ValueError,
        "weight_decay must be a number, which a scheduler of PyTorch may change, got",
    ),
    "adaptive": (
        lambda: TorchOptimizer([ONE], lnb.Lookahead(lnb.AdamW(), slow_step_size="adaptive")),
        ValueError,
        "slow_step_size must be a number or numbers for PyTorch, got Lookahead",
    ),
    "check": (
        lambda: TorchOptimizer([ONE], lnb.SGD(), check_finite=1),
        TypeError,
        "check_finite must be True or False",
    ),
    "width": (
        lambda: TorchOptimizer([ONE.half()], lnb.SGD()),
        TypeError,
        "params must be float32 or float64, got torch.f",
    ),
    "order": (
        lambda: TorchOptimizer([ONE.detach().T], lnb.SGD()),
        ValueError,
        "params must be contiguous tensors on the CPU",
    ),
    "device": (
        lambda: TorchOptimizer([torch.ones(2, device="meta")], lnb.SGD()),
        ValueError,
        "params must be contiguous tensors on the CPU or a CUDA device, got .* on meta",
    ),
    "array": (lambda: TorchOptimizer([np.ones(2)], lnb.SGD()), TypeError, "params must hold tensors, got array"),
    "option": (
        lambda: TorchOptimizer([{"params": [ONE], "betas": (0.9, 0.99)}], lnb.AdamW()),
        ValueError,
        "a group may set lr and weight_decay only, got betas: set it in opt",
    ),
    "a setting": (
        lambda: TorchOptimizer([{"params": [ONE], "sync_period": 3}], LOOKAHEAD),
        ValueError,
        "a group may set lr and weight_decay only, got sync_period: set it in opt",
    ),
    "average": (
        lambda: TorchOptimizer([{"params": [ONE], "window": 3}], lnb.EMA(lnb.SGD())),
        ValueError,
        "a group may set lr and weight_decay only, got window: set it in opt",
    ),
    "mistyped": (
        lambda: TorchOptimizer([{"params": [ONE], "weigth_decay": 0.0}], lnb.AdamW()),
        ValueError,
        r"a group may set lr and weight_decay only, got 'weigth_decay' \(did you mean weight_decay\?\)",
    ),
    "another name": (
        lambda: TorchOptimizer([{"params": [ONE], "learning_rate": 0.1}], lnb.AdamW()),
        ValueError,
        r"a group may set lr and weight_decay only, got 'learning_rate' \(did you mean lr\?\)",
    ),
    "unknown": (
        lambda: TorchOptimizer([{"params": [ONE], 3: True}], lnb.AdamW()),
        ValueError,
        "a group may set lr and weight_decay only, got 3$",
    ),
    "rate": (
        lambda: TorchOptimizer([{"params": [ONE], "lr": -1.0}], lnb.SGD()),
        ValueError,
        "lr must be a finite number of",
    ),
    "name": (lambda: TorchOptimizer([ONE], lnb.SGD(), lr=0.1), TypeError, "TorchOptimizer has no argument lr"),
}


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_a_rate_that_cannot_be_is_refused_ahead_of_any_change(rng):
    start, gradients = problem(rng, 3, SIZE)
    optimizer = TorchOptimizer([{"params": shapes(start)[:2]}, {"params": shapes(start)[2:]}], LOOKAHEAD)
    before, stored = stepped(optimizer, gradients), str(optimizer.state_dict()["state"])
    optimizer.param_groups[1]["lr"] = float("nan")
    with pytest.raises(ValueError, match="lr must be a finite number of at least 0, got nan"):
        optimizer.step()
    assert str(optimizer.state_dict()["state"]) == stored
    free = TorchOptimizer(shapes(start), lnb.ScheduleFreeAdamW(0.1))
    before = stepped(free, gradients)
    free.param_groups[0]["lr"] = 0.2
    with pytest.raises(ValueError, match=r"lr must stay 0\.1 for ScheduleFreeAdamW, got 0\.2"):
        free.step()
    assert (
        np.concatenate([p.detach().numpy().ravel() for p in free.param_groups[0]["params"]]).tobytes()
        == before.tobytes()
    )


def test_sparse_gradients_are_refused():
    table = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = TorchOptimizer(table.parameters(), lnb.SGD())
    table(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(TypeError, match=r"grad must be a dense tensor, got torch\.sparse_coo"):
        optimizer.step()


ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("page", ["README.md", "paper/book/using.md"])
def test_the_example_of_a_page_runs(page, capsys):
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    (example,) = (each for each in examples if "import torch" in each)
    exec(compile(example, page, "exec"), {})
    assert re.fullmatch(r"loss \d\.\d+\n", capsys.readouterr().out)
