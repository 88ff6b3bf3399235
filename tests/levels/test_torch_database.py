"""The optimizer for PyTorch on the inputs of PyTorch's own database of optimizers, with the names of its test_optim."""

import copy
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db

import lookahead_nb as lnb
from lookahead_nb.adapters.torch import TorchOptimizer
from tests.support.cases import assert_close, problem

RTOL = 1e-12  # both sides round some ten times per step by 1e-16
STEPS = 200
CPU, WIDTH = torch.device("cpu"), torch.float64

# PyTorch's optimizers that the package has too, with PyTorch's names of settings -> ours.
NAMES = {
    "SGD": {},
    "Adagrad": {},
    "RMSprop": {"alpha": "rho"},
    "Adam": {},
    "AdamW": {},
}
# Settings of the database that ours do not have.
MISSING = {"maximize", "dampening", "initial_accumulator_value", "lr_decay", "centered", "amsgrad"}
DATABASE = {info.name: info for info in optim_db if info.name in NAMES}
INPUTS = [(name, each) for name, info in DATABASE.items() for each in info.optim_inputs_func(CPU, WIDTH)]
OURS = [(name, each.kwargs) for name, each in INPUTS if not MISSING & {*each.kwargs}]
NOT_OURS = [(name, each.kwargs) for name, each in INPUTS if MISSING & {*each.kwargs}]
WAYS = {"alone": lambda inner: inner, "inside Lookahead": lambda inner: lnb.Lookahead(inner, sync_period=3)}


def inner_of(name, settings):
    """Our optimizer with PyTorch's settings."""
    own = {NAMES[name].get(key, key): value for key, value in settings.items() if not isinstance(value, torch.Tensor)}
    betas = own.pop("betas", None)
    return getattr(lnb, name)(**own, **(dict(zip(("beta1", "beta2"), betas, strict=True)) if betas else {}))


class Case:
    """One input of the database: makes our optimizer and PyTorch's over some tensors."""

    def __init__(self, name, settings, way):
        self.name, self.settings = name, copy.deepcopy(settings)  # schedulers write into a tensor
        self.opt = WAYS[way](inner_of(name, settings))

    def ours(self, params, **group):
        tensors = {key: value for key, value in self.settings.items() if isinstance(value, torch.Tensor)}
        groups = [*params]
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        return TorchOptimizer([tensors | group | each for each in groups], self.opt)

    def theirs(self, params):
        return getattr(torch.optim, self.name)(params, **self.settings)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """For tensors this small, waking a second thread of PyTorch takes longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=WAYS)
def case(request, name, settings):
    return Case(name, settings, request.param)


of_database = pytest.mark.parametrize(
    ("name", "settings"), OURS, ids=[f"{name}-{'-'.join(settings) or 'default'}" for name, settings in OURS]
)


def parameters(seed=0, dtype=WIDTH):
    """A matrix and a vector, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    made = [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in ((4, 3), (4,))]
    for each in made:
        each.grad = torch.randn(each.shape, generator=generator, dtype=dtype)
    return made


def fit(params, optimizer, steps, schedulers=()):
    """Take steps of least squares with a closure; return the losses."""
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(20, 3, generator=generator, dtype=params[0].dtype)
    y = X @ torch.ones(3, 4, dtype=X.dtype) + 0.5
    weight, bias = params

    def closure():
        optimizer.zero_grad()
        loss = (X @ weight.T + bias - y).square().mean()
        loss.backward()
        return loss

    losses = []
    for _ in range(steps):
        losses.append(optimizer.step(closure).item())
        for scheduler in schedulers:
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(losses[-1]) if plateau else scheduler.step()
    return losses


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def picture(optimizer):
    return str(optimizer.state_dict())


# ---------------------------------------------------------------------------------------- equality with torch.optim


@pytest.mark.parametrize(
    ("name", "settings"), OURS, ids=[f"{name}-{'-'.join(settings) or 'default'}" for name, settings in OURS]
)
def test_two_hundred_steps_equal_those_of_torch(name, settings, rng):
    start, gradients = problem(rng, STEPS, 12)
    ends = []
    for make in (Case(name, settings, "alone").ours, Case(name, settings, "alone").theirs):
        params = [torch.nn.Parameter(torch.tensor(part)) for part in (start[:8].reshape(2, 4), start[8:])]
        optimizer = make(params)
        for row in gradients:
            params[0].grad, params[1].grad = torch.tensor(row[:8].reshape(2, 4)), torch.tensor(row[8:])
            optimizer.step()
        ends.append(np.concatenate([each.detach().numpy().ravel() for each in params]))
    assert_close(*ends, RTOL)
    assert np.abs(ends[0] - start).max() > 1e-3


def test_the_database_has_the_settings_that_are_compared():
    assert [name for name in NAMES if name not in DATABASE] == []
    assert {key for _, settings in OURS for key in settings} == {"lr", "weight_decay", "momentum", "nesterov"}
    assert {name for name, _ in OURS} == {*NAMES}


@pytest.mark.parametrize(("name", "settings"), NOT_OURS, ids=[f"{n}-{'-'.join(settings)}" for n, settings in NOT_OURS])
def test_settings_that_ours_lack_are_refused(name, settings):
    with pytest.raises(TypeError, match=f"{name} has no argument ({'|'.join(MISSING)})"):
        inner_of(name, settings)


# ------------------------------------------------------------------------------------------------ properties by name


def test_forloop_goes_right_direction(case):
    params = parameters()
    losses = fit(params, case.ours(params), 60)
    assert losses[-1] < losses[0]


def test_param_group_with_lrscheduler_goes_right_direction(case):
    for makers in DATABASE[case.name].scheduler_inputs:
        params = parameters()
        optimizer = case.ours([{"params": [params[0]]}, {"params": [params[1]], "lr": 0.01}])
        losses = fit(params, optimizer, 40, [make(optimizer) for make in makers])
        assert losses[-1] < losses[0]


def test_tensor_lr(case):
    plain, other = parameters(), parameters()
    fit(plain, case.ours(plain, lr=0.25), 7)
    optimizer = case.ours(other, lr=torch.tensor(0.25))
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    fit(other, optimizer, 7, [schedule])
    assert same(plain, other)


def test_step_is_noop_when_params_have_no_grad(case):
    params = parameters()
    before = copy.deepcopy(params)
    optimizer = case.ours(params)
    optimizer.zero_grad()
    optimizer.step()
    assert same(params, before)
    assert not optimizer.state


def test_step_is_noop_for_zero_grads(case):
    if case.settings.get("weight_decay") or case.name == "AdamW":
        pytest.skip("decay moves weights without a gradient")
    params = parameters()
    before, optimizer = copy.deepcopy(params), case.ours(params)
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    assert same(params, before)
    assert len(optimizer.state) == 2


def test_optimizer_can_be_printed(case):
    assert str(case.ours(parameters())).startswith("TorchOptimizer (\nParameter Group 0\n")


def test_state_dict_deterministic(case):
    params, again = parameters(), parameters()
    first = case.ours(params)
    fit(params, first, 5)
    second = case.ours(again)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        for to, of in zip(again, params, strict=True):
            to.copy_(of)
    for _ in range(4):
        fit(params, first, 1)
        fit(again, second, 1)
        assert same(params, again)
        assert picture(first) == picture(second)


def test_save_load_equality_with_weights_only(case):
    params = parameters()
    optimizer = case.ours(params)
    fit(params, optimizer, 4)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    other = case.ours(params)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert picture(other) == picture(optimizer)


def test_cpu_load_state_dict(case):
    params = parameters()
    optimizer = case.ours(params)
    fit(params, optimizer, 4)
    stored = optimizer.state_dict()
    fewer = case.ours(parameters()[:1])
    with pytest.raises(ValueError, match="loaded state dict contains a parameter group"):
        fewer.load_state_dict(stored)
    groups = case.ours([{"params": [each]} for each in parameters()])
    with pytest.raises(ValueError, match="loaded state dict has a different number of parameter groups"):
        groups.load_state_dict(stored)
    narrow = parameters(dtype=torch.float32)
    other = case.ours(narrow)
    with pytest.raises(ValueError, match="must hold the state of 12 float32 weights, got that of 12 of float64"):
        other.load_state_dict(stored)
    assert not fewer.state
    assert not groups.state
    assert not other.state


def test_non_empty_state(case):
    params = parameters()
    optimizer = case.ours(params)
    optimizer.step()
    assert [*optimizer.state] == params
    assert [entry["state"].t for entry in optimizer.state.values()] == [1, 1]


def test_step_pre_hook(case):
    seen, params = [], parameters()
    optimizer = case.ours(params)
    before = copy.deepcopy(params)
    handle = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(same(params, before)))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert seen == [True]


def test_step_post_hook(case):
    seen, params = [], parameters()
    optimizer = case.ours(params)
    before = copy.deepcopy(params)
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(same(params, before)))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert seen == [False]


def test_step_all_hooks(case):
    seen, params = [], parameters()
    optimizer = case.ours(params)
    handles = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("all ahead")),
        register_optimizer_step_post_hook(lambda *_: seen.append("all after")),
        optimizer.register_step_pre_hook(lambda *_: seen.append("own ahead")),
        optimizer.register_step_post_hook(lambda *_: seen.append("own after")),
    ]
    optimizer.step()
    for handle in handles:
        handle.remove()
    optimizer.step()
    assert seen == ["all ahead", "own ahead", "own after", "all after"]


def test_state_dict_pre_hook(case):
    optimizer = case.ours(parameters())
    optimizer.step()
    optimizer.register_state_dict_pre_hook(lambda o: o.state.update(test=1))
    stored = optimizer.state_dict()["state"]
    assert stored["test"] == 1
    assert stored[0]["t"] == 1


def test_state_dict_post_hook(case):
    optimizer = case.ours(parameters())
    optimizer.step()
    plain = optimizer.state_dict()
    seen = []
    optimizer.register_state_dict_post_hook(lambda o, packed: seen.append(str(packed)), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, packed: packed | {"more": 2})
    assert optimizer.state_dict().pop("more") == 2
    assert seen == [str(plain)]


def test_state_dict_pre_post_hook(case):
    optimizer = case.ours(parameters())
    optimizer.step()
    optimizer.register_state_dict_pre_hook(lambda o: o.state.update(test=1))
    optimizer.register_state_dict_post_hook(lambda o, packed: packed | {"popped": packed["state"].pop("test")})
    stored = optimizer.state_dict()
    assert "test" not in stored["state"]
    assert stored["popped"] == 1


def test_load_state_dict_pre_hook_and_prepend(case):
    params = parameters()
    optimizer, other, order = case.ours(params), case.ours(params), []
    fit(params, optimizer, 2)

    def quicker(o, given):
        order.append("second")
        given = copy.deepcopy(given)
        given["param_groups"][0]["lr"] = 0.125
        return given | {"state": {0: given["state"][0]}}

    other.register_load_state_dict_pre_hook(quicker)
    other.register_load_state_dict_pre_hook(lambda o, given: order.append("first"), prepend=True)
    other.load_state_dict(optimizer.state_dict())
    assert order == ["first", "second"]
    assert other.param_groups[0]["lr"] == 0.125
    assert [*other.state] == params[:1]
    assert optimizer.param_groups[0]["lr"] != 0.125


def test_load_state_dict_post_hook(case):
    params = parameters()
    optimizer, other, seen = case.ours(params), case.ours(params), []
    fit(params, optimizer, 2)
    other.register_load_state_dict_post_hook(lambda o: seen.append(o.state[params[1]]["state"].t))
    other.load_state_dict(optimizer.state_dict())
    assert seen == [2]


def test_deepcopy_copies_all_public_attrs(case):
    params = parameters()
    optimizer = case.ours(params)
    fit(params, optimizer, 4)
    copied_params, copied = copy.deepcopy((params, optimizer))
    public = [name for name in vars(optimizer) if not name.startswith("_")]
    assert public == [name for name in vars(copied) if not name.startswith("_")]
    assert picture(copied) == picture(optimizer)
    fit(params, optimizer, 3)
    assert not same(params, copied_params)
    fit(copied_params, copied, 3)
    assert same(params, copied_params)


def test_param_groups_lr(case):
    params, frozen = parameters(), parameters()[0]
    before = copy.deepcopy(frozen)
    optimizer = case.ours([{"params": params, "lr": 0.01}, {"params": [frozen], "lr": 0.0}])
    losses = fit(params, optimizer, 30)
    frozen.grad = torch.ones_like(frozen)
    fit(params, optimizer, 1)
    assert losses[-1] < losses[0]
    assert torch.equal(frozen, before)


def test_param_groups_weight_decay(case):
    with_decay, without = parameters(), parameters()
    groups = [{"params": with_decay, "weight_decay": 0.5, "lr": 0.25}, {"params": without, "weight_decay": 0.0}]
    optimizer = case.ours(groups)
    optimizer.zero_grad(set_to_none=False)
    for _ in range(2):
        optimizer.step()
    assert all((a.abs() < b.abs()).all() for a, b in zip(with_decay, without, strict=True))
    assert same(without, parameters())


def test_mixed_device_dtype(case):
    alone, wide = parameters(dtype=torch.float32), parameters()
    together, other = parameters(dtype=torch.float32), parameters()
    both, first, second = case.ours([*together, *other]), case.ours(alone), case.ours(wide)
    for optimizer in (both, first, second):
        for _ in range(4):
            optimizer.step()
    assert same([*together, *other], [*alone, *wide])


def test_complex(case):
    with pytest.raises(TypeError, match=r"params must be float32 or float64, got torch\.complex64"):
        case.ours([torch.ones(3, dtype=torch.complex64, requires_grad=True)])


def test_contiguous(case):
    across = torch.nn.Parameter(torch.ones(3, 2).T)
    with pytest.raises(ValueError, match="params must be contiguous"):
        case.ours([across])


def test_duplicate_params_across_param_groups(case):
    params = parameters()
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        case.ours([{"params": params}, {"params": params[:1]}])
    with pytest.warns(UserWarning, match="a parameter group with duplicate parameters"):
        case.ours([params[0], params[0]])


PROPERTIES = [
    test_forloop_goes_right_direction,
    test_param_group_with_lrscheduler_goes_right_direction,
    test_tensor_lr,
    test_step_is_noop_when_params_have_no_grad,
    test_step_is_noop_for_zero_grads,
    test_optimizer_can_be_printed,
    test_state_dict_deterministic,
    test_save_load_equality_with_weights_only,
    test_cpu_load_state_dict,
    test_non_empty_state,
    test_step_pre_hook,
    test_step_post_hook,
    test_step_all_hooks,
    test_state_dict_pre_hook,
    test_state_dict_post_hook,
    test_state_dict_pre_post_hook,
    test_load_state_dict_pre_hook_and_prepend,
    test_load_state_dict_post_hook,
    test_deepcopy_copies_all_public_attrs,
    test_param_groups_lr,
    test_param_groups_weight_decay,
    test_mixed_device_dtype,
    test_complex,
    test_contiguous,
    test_duplicate_params_across_param_groups,
]
for _property in PROPERTIES:
    of_database(_property)


# ------------------------------------------------------------------------------------------------------ error inputs

# What PyTorch says -> what ours say: of the groups PyTorch itself, of the settings ours.
OWN_WORDS = {
    "Tensor lr must be 1-element": (TypeError, "lr must be a finite number of at least 0, got "),
    "Invalid beta parameter at index 0: 1.0": (ValueError, r"beta1 must be a finite number in \[0, 1\), got 1.0"),
    "Invalid weight_decay value: -1": (ValueError, "weight_decay must be a finite number of at least 0, got -1"),
    "Invalid momentum value: -0.5": (ValueError, r"momentum must be a finite number in \[0, 1\), got -0.5"),
    "Invalid momentum value: -1.0": (ValueError, r"momentum must be a finite number in \[0, 1\), got -1.0"),
    "Invalid lr_decay value: -0.5": (TypeError, "Adagrad has no argument lr_decay"),
    "lr as a Tensor is not supported for capturable=False and foreach=True": (TypeError, "has no argument foreach"),
    "betas must be either both floats or both Tensors": (TypeError, "beta[12] must be a finite number"),
    r"betas\[0\] as a Tensor is not supported for capturable=False and foreach=True": (TypeError, "has no argument"),
    r"betas\[1\] as a Tensor is not supported for capturable=False and foreach=True": (TypeError, "has no argument"),
}
ERRORS = [(name, each) for name, info in DATABASE.items() for each in info.optim_error_inputs_func(CPU, WIDTH)]


@pytest.mark.parametrize(
    ("name", "wrong"), ERRORS, ids=[f"{name}-{each.optimizer_error_input.desc}" for name, each in ERRORS]
)
def test_errors(name, wrong):
    assert wrong.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR
    given, settings = wrong.optimizer_error_input.params, wrong.optimizer_error_input.kwargs
    error, sentence = OWN_WORDS.get(wrong.error_regex, (wrong.error_type, wrong.error_regex))
    expected = pytest.warns if issubclass(error, Warning) else pytest.raises
    with expected(error, match=sentence):
        make(name, given, settings)


def make(name, given, settings):
    tensor_lr = {"lr": settings["lr"]} if settings.keys() == {"lr"} and isinstance(settings["lr"], torch.Tensor) else {}
    others = {key: value for key, value in settings.items() if key not in tensor_lr}
    betas = dict(zip(("beta1", "beta2"), others.pop("betas", ()), strict=False))
    opt = getattr(lnb, name)(**others, **betas)
    return TorchOptimizer([{"params": parameters()} | tensor_lr] if given is None else given, opt)


# -------------------------------------------------------------------------------------------------------- new process

SCRIPT = """
import json, sys, torch
import lookahead_nb as lnb
from lookahead_nb.adapters.torch import TorchOptimizer
from tests.levels.test_torch_database import fit, parameters
params = parameters()
optimizer = TorchOptimizer(params, lnb.Lookahead(lnb.AdamW(0.01), sync_period=5))
stored = torch.load(sys.argv[1], weights_only=True)
with torch.no_grad():
    [each.copy_(old) for each, old in zip(params, stored["params"])]
optimizer.load_state_dict(stored["optimizer"])
fit(params, optimizer, int(sys.argv[2]))
print(json.dumps([each.detach().numpy().tobytes().hex() for each in params]))
"""


def test_a_new_process_continues_with_the_same_bits(tmp_path):
    params = parameters()
    optimizer = TorchOptimizer(params, lnb.Lookahead(lnb.AdamW(0.01), sync_period=5))
    fit(params, optimizer, 13)
    stored = {"params": [each.detach().clone() for each in params], "optimizer": optimizer.state_dict()}
    torch.save(stored, tmp_path / "stored.pt")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "stored.pt"), "9"]
    child = subprocess.run(command, check=True, capture_output=True, text=True)
    fit(params, optimizer, 9)
    assert json.loads(child.stdout) == [each.detach().numpy().tobytes().hex() for each in params]
