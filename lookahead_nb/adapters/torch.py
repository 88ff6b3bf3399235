"""Any optimizer of this package as an optimizer of PyTorch, for tensors on the CPU; on CUDA devices experimental."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

import numpy as np

from lookahead_nb.checks import extra, flag, meant, named_arguments, real_number, shown
from lookahead_nb.optimizers import INNER_RULES, WRAPPERS, Optimizer, State
from lookahead_nb.optimizers.groups import SETTINGS, with_numbers
from lookahead_nb.optimizers.schedules import Schedule
from lookahead_nb.optimizers.together import Together, check_gradients, kind_of, written_memory
from lookahead_nb.training.setup import check_optimizer

try:
    import torch

    _Base: Any = torch.optim.Optimizer
except ModuleNotFoundError:  # so that the reference can be written without it
    torch, _Base = None, object

__all__ = ["TorchOptimizer"]

# Settings of all optimizers here, but for lr and weight_decay, and those by which PyTorch knows some of them.
_OF_OPT = {name for of in (*INNER_RULES.values(), *WRAPPERS.values()) for name in inspect.signature(of).parameters}
_OF_OPT |= {"betas", "dampening", "amsgrad", "maximize", "centered", "alpha"}
_OF_OPT -= {"lr", "weight_decay"}
# What a group may hold besides its numbers: its tensors, their names and its own, and what schedulers of PyTorch keep.
_OF_GROUP = {"params", "param_names", "name", "initial_lr", "max_lr", "min_lr", "swa_lr"}
_ROUNDED = 1e-12  # of lr: where LinearLR ends at 0, rounding can leave as much below it


@named_arguments
class TorchOptimizer(_Base):  # type: ignore[misc] # PyTorch is not installed where types are checked
    """A ``torch.optim.Optimizer`` that takes the steps of an optimizer of this package.

    Parameters
    ----------
    params : iterable
        Tensors, or groups as dicts: float32 or float64, contiguous, without memory in common, on the CPU or (not yet
        tried on a device) on CUDA devices. A group may have its own ``lr`` and ``weight_decay``.
    opt : Optimizer
        An inner optimizer, Lookahead or EMA, with numbers as lr and weight_decay. An adaptive slow step is refused,
        since it is fitted to all weights together.
    check_finite : bool
        True refuses gradients that are not finite, or whose square is not, ahead of any change. False lets them pass.

    Attributes
    ----------
    param_groups : list of dict
        With ``lr`` and, where opt has one, ``weight_decay``. Schedulers of ``torch.optim.lr_scheduler`` set ``lr``.
    state : dict
        By tensor: ``{"state": State}`` after its first step.

    Raises
    ------
    ModuleNotFoundError
        Without PyTorch.
    TypeError, ValueError
        If a tensor, a group or opt is not allowed.

    Notes
    -----
    Tensors are stepped where they lie, without a copy. A tensor without a gradient takes no step and no sync.
    ScheduleFreeAdamW refuses a change of its lr.

    On the CPU, the tensors of a group that have taken the same steps take the next one in one compiled call: all of
    them or, after an exception, none. It uses as many threads as PyTorch, at most Numba's, and no bit depends on their
    number. On a CUDA device each tensor is one launch, on PyTorch's current stream.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> import torch  # doctest: +SKIP
    >>> model = torch.nn.Linear(3, 1)  # doctest: +SKIP
    >>> opt = lnb.Lookahead(lnb.AdamW(1e-3), sync_period=5, slow_step_size=0.5)
    >>> optimizer = lnb.adapters.torch.TorchOptimizer(model.parameters(), opt)  # doctest: +SKIP
    """

    def __init__(self, params: Any, opt: Optimizer, *, check_finite: bool = True) -> None:
        extra("torch", "PyTorch", "TorchOptimizer", "torch")
        self._opt, self._check_finite = check_optimizer("opt", opt), flag("check_finite", check_finite)
        self._plan: _Plan | None = None
        for name, value in _numbers_of(opt).items():
            if isinstance(value, Schedule):
                raise ValueError(f"{name} must be a number, which a scheduler of PyTorch may change, got {value!r}")
        if opt.adapts:
            raise ValueError(f"slow_step_size must be a number or numbers for PyTorch, got {opt!r}")
        super().__init__(params, _numbers_of(opt))

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_opt": self._opt, "_check_finite": self._check_finite, "_plan": None}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors.

        Parameters
        ----------
        param_group : dict
            ``params``, and lr and weight_decay if they differ from those of opt. It may have a ``name``, and what
            schedulers of PyTorch keep in a group, such as ``initial_lr``.

        Raises
        ------
        TypeError, ValueError
            If a tensor, a number or another key is not allowed.
        """
        if isinstance(param_group, dict) and not isinstance(param_group.get("params"), set):  # PyTorch refuses a set
            tensors = param_group.get("params", [])
            tensors = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            for item in tensors:  # a tensor, or a pair of its name and the tensor
                _flat(item[1] if isinstance(item, tuple) else item)
            _check_keys(param_group, _numbers(param_group, self._opt))
            param_group = param_group | {"params": tensors}
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradients in ``grad``; a tensor without one stays as it is.

        Parameters
        ----------
        closure : function, optional
            Computes the loss and its gradients ahead of the step.

        Returns
        -------
        object
            What closure returned; None without one.

        Raises
        ------
        TypeError, ValueError
            If a tensor, a gradient or a number of a group is not allowed.
        FloatingPointError
            If a gradient is refused. No tensor has then changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work = [_work_of(group, self._of(group)) for group in self.param_groups]
        plan = self._plan
        if plan is None or not plan.fits(work, self.state):
            plan = _Plan(work, self._state_of)
        plan.place(work)
        threads = torch.get_num_threads()
        if self._check_finite:
            plan.check_finite(work, threads)
        plan.check_follows(work)
        plan.keep(self.state)
        self._plan = plan
        plan.step(work, threads)
        return loss

    @contextmanager
    def slow_weights(self) -> Iterator[None]:
        """Return a context in which all tensors hold their slow weights, and exactly the fast ones again after it.

        Returns
        -------
        context manager
            The fast weights return after an exception too. Inside, ``step`` and ``state_dict`` raise RuntimeError.

        Raises
        ------
        TypeError
            If opt has no slow weights.
        """
        if not self._opt.has_slow_weights:
            raise TypeError(f"slow_weights needs an optimizer with slow weights, got {self._opt!r}")
        with ExitStack() as stack:
            for tensor in chain.from_iterable(group["params"] for group in self.param_groups):
                if state := self._state_of(tensor):  # the slow weights start at the fast ones
                    stack.callback(_tell_changed, tensor)
                    stack.enter_context(state.optimizer.slow_weights(_flat(tensor), state))
                    _tell_changed(tensor)
            yield

    def state_dict(self) -> dict[str, Any]:
        """Return a checkpoint of tensors, numbers and text, which PyTorch also loads with ``weights_only=True``.

        Returns
        -------
        dict
            As of any optimizer of PyTorch. The tensors are copies.

        Raises
        ------
        RuntimeError
            Inside ``slow_weights``.
        """
        packing = self.register_state_dict_post_hook(
            self._packed, prepend=True
        )  # ahead of the user's, which see tensors
        try:
            return super().state_dict()
        finally:
            packing.remove()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly from a checkpoint, at any step between two syncs.

        Parameters
        ----------
        state_dict : dict
            What ``state_dict`` returned. The tensors of the model are loaded apart, as always in PyTorch.

        Raises
        ------
        TypeError, ValueError
            If groups, sizes or settings differ. Nothing has then changed.
        """
        restored: dict[Any, State] = {}

        def take_states(_: Any, given: dict[str, Any]) -> dict[str, Any]:  # PyTorch would cast them like weights
            own, others = self._split(given)
            restored.update(own)
            return given | {"state": others}

        def enter_states(_: Any) -> None:
            for tensor, state in restored.items():
                self.state[tensor]["state"] = state

        # The last hook before the checks and the first one after them: the user's see all of it.
        taking = self.register_load_state_dict_pre_hook(take_states)
        entering = self.register_load_state_dict_post_hook(enter_states, prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            taking.remove()
            entering.remove()

    def _split(self, state_dict: dict[str, Any]) -> tuple[dict[Any, State], dict[Any, Any]]:
        """Return the states of a checkpoint by tensor, and by its key what belongs to no tensor."""
        groups = state_dict["param_groups"]
        pairs = zip(groups, self.param_groups, strict=False)  # PyTorch compares their numbers
        tensors = chain.from_iterable(zip(old["params"], new["params"], strict=False) for old, new in pairs)
        of_number, group_of = dict(tensors), {number: group for group in groups for number in group["params"]}
        states, others = {}, {}
        for key, stored in state_dict["state"].items():
            if key in of_number:
                states[of_number[key]] = self._restored(stored, of_number[key], group_of[key])
            else:
                others[key] = stored
        return states, others

    def _state_of(self, tensor: Any) -> State | None:
        return self.state[tensor].get("state") if tensor in self.state else None

    def _of(self, group: dict[str, Any]) -> Optimizer:
        """Return the optimizer with the numbers of a group."""
        return _with(self._opt, *_numbers(group, self._opt).items())

    def _settings(self) -> str:
        """Return what no group may change."""
        numbers = _numbers_of(self._opt)
        return json.dumps({k: v for k, v in self._opt.settings().items() if k not in numbers}, sort_keys=True)

    def _packed(self, _: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        """Return a checkpoint with tensors, numbers and text instead of states."""
        states = state_dict["state"]
        packed = {key: self._stored(entry["state"]) for key, entry in states.items() if _is_ours(entry)}
        return state_dict | {"state": states | packed}

    def _stored(self, state: State) -> dict[str, Any]:
        arrays = state.to_arrays() | {"settings": self._settings()}
        return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in arrays.items()}

    def _restored(self, stored: dict[str, Any], tensor: Any, group: dict[str, Any]) -> State:
        settings, params = stored.get("settings"), _flat(tensor)
        if settings != self._settings():
            raise ValueError(f"state_dict must belong to {self._settings()}, got a state of {settings}")
        if (stored["size"], stored["width"]) != (tensor.numel(), str(tensor.dtype).removeprefix("torch.")):
            wanted, got = (
                f"{tensor.numel()} {str(tensor.dtype).removeprefix('torch.')} weights",
                f"{stored['size']} of {stored['width']}",
            )
            raise ValueError(f"state_dict must hold the state of {wanted}, got that of {got}")
        opt = self._of(group)
        arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in stored.items()}
        like = None if tensor.is_cpu else params
        return opt.restore(arrays | {"settings": json.dumps(opt.settings(), sort_keys=True)}, like=like)


def _number(value: Any) -> Any:
    """Return what a tensor of one element holds, which PyTorch allows as a learning rate, else the value."""
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


def _is_ours(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("state"), State)


class _Work(NamedTuple):
    """What a group contributes to a step: its optimizer, the tensors with a gradient, and these gradients."""

    opt: Optimizer
    tensors: list[Any]
    grads: list[Any]


def _work_of(group: dict[str, Any], opt: Optimizer) -> _Work:
    """Return what a group contributes to a step, or refuse a tensor or a gradient."""
    tensors, grads = [], []
    for tensor in group["params"]:
        grad = tensor.grad
        if grad is not None:
            if not (tensor.is_cpu and tensor.is_contiguous()):
                _flat(tensor)
            if grad.layout is not torch.strided:
                raise TypeError(f"grad must be a dense tensor, got {grad.layout}")
            if not grad.is_contiguous() or grad.is_neg():  # copied only if it lies in another order
                grad = grad.detach().resolve_neg().contiguous()
            tensors.append(tensor)
            grads.append(grad)
    return _Work(opt, tensors, grads)


class _Plan:
    """Which tensors take their steps together, kept from step to step until something else than numbers changes.

    Parameters
    ----------
    work : list of _Work
        By group.
    state_of : function
        Returns the state of a tensor; None ahead of its first step.
    """

    def __init__(self, work: list[_Work], state_of: Callable[[Any], State | None]) -> None:
        self.counts = [len(each.tensors) for each in work]
        self.tensors = [tensor for each in work for tensor in each.tensors]
        self.on_host = [tensor.is_cpu for tensor in self.tensors]
        self.states: list[Any] = []
        kinds: dict[Any, list[int]] = {}
        for group, each in enumerate(work):
            for tensor in each.tensors:
                params = _flat(tensor)
                state = state_of(tensor) or each.opt.init(params)
                if state.on_device is tensor.is_cpu:
                    raise ValueError(f"params must stay on the device of their state, got one moved to {tensor.device}")
                state.check_outside(params)
                kind = kind_of(state) if tensor.is_cpu else id(state)
                kinds.setdefault((group, tensor.is_cpu, kind), []).append(len(self.states))
                self.states.append(state)
        self.parts = [
            (group, members, Together([self.states[n] for n in members]))
            for (group, on_host, _), members in kinds.items()
            if on_host
        ]
        self.on_device = [(group, n) for (group, on_host, _), (n, *_) in kinds.items() if not on_host]
        self.sizes = [state._size for state in self.states]
        self.dtypes = [getattr(torch, str(state._width)) for state in self.states]
        self.changed = [tensor for tensor in self.tensors if not tensor.is_inference()]  # those are in no graph
        self.params: list[int] = []  # the addresses of tensors and gradients, and the memory that a step changes
        self.read: list[int] = []
        self.written = np.zeros((0, 2), np.int64)
        self.values: list[Any] = []
        self.entries: list[Any] = []

    def fits(self, work: list[_Work], state: dict[Any, Any]) -> bool:
        """Return whether the same tensors take a step, with the states that the plan knows."""
        values, tensors = [*state.values()], [tensor for each in work for tensor in each.tensors]
        return (
            [len(each.tensors) for each in work] == self.counts
            and len(values) == len(self.values)
            and all(map(is_, tensors, self.tensors))
            and [tensor.is_cpu for tensor in tensors] == self.on_host
            and all(map(is_, values, self.values))
            and all(entry.get("state") is own for entry, own in zip(self.entries, self.states, strict=True))
            and all(part.holds for _, _, part in self.parts)
        )

    def keep(self, state: dict[Any, Any]) -> None:
        """Enter the states of tensors that take their first step."""
        if not self.entries:
            for tensor, own in zip(self.tensors, self.states, strict=True):
                state[tensor]["state"] = own
            self.values, self.entries = [*state.values()], [state[tensor] for tensor in self.tensors]

    def place(self, work: list[_Work]) -> None:
        """Take in where weights and gradients lie, or refuse them if that does not fit the states."""
        tensors, grads = self.tensors, [grad for each in work for grad in each.grads]
        for what, these in (("params", tensors), ("grad", grads)):
            if [each.numel() for each in these] != self.sizes or [each.dtype for each in these] != self.dtypes:
                wanted, got = ([*zip(*both, strict=True)] for both in self._described(these))
                n = next(n for n, pair in enumerate(got) if pair != wanted[n])
                raise ValueError(f"{what} must keep size and dtype {wanted[n]} of the state, got {got[n]}")
        params, read = [each.data_ptr() for each in tensors], [each.data_ptr() for each in grads]
        moved = params != self.params
        if self.parts and (moved or read != self.read):
            for _, members, part in self.parts:
                part.place([params[n] for n in members] if moved else None, [read[n] for n in members])
            parts = [part for _, _, part in self.parts]
            self.params, self.read = [], []  # an error below leaves them unknown
            self.written = written_memory(parts) if moved else self.written
            check_gradients(parts, self.written)
            self.params, self.read = params, read

    def _described(self, these: list[Any]) -> tuple[tuple[list, list], tuple[list, list]]:
        return (self.sizes, self.dtypes), ([each.numel() for each in these], [each.dtype for each in these])

    def check_finite(self, work: list[_Work], threads: int) -> None:
        """Refuse a gradient that a step refuses."""
        beyond = [n for _, members, part in self.parts if part.are_beyond(threads) for n in members]
        if beyond or self.on_device:
            grads = [grad for each in work for grad in each.grads]
            for n in sorted([*beyond, *(n for _, n in self.on_device)]):
                flat = _flat_gradient(grads[n])
                if (at := self.states[n].first_refused(flat)) >= 0:
                    shape = tuple(self.tensors[n].shape)
                    raise FloatingPointError(
                        f"grad of a {shape} tensor must be finite, with a finite square for rules with a second "
                        f"moment, got {flat[at].item()!r} at element {at}; nothing was changed"
                    )

    def check_follows(self, work: list[_Work]) -> None:
        """Refuse numbers of a group with which its states cannot continue."""
        firsts = [(group, self.states[members[0]]) for group, members, _ in self.parts]
        for group, state in chain(firsts, ((group, self.states[n]) for group, n in self.on_device)):
            if state.optimizer is not work[group].opt:
                state.check_follows(work[group].opt)

    def step(self, work: list[_Work], threads: int) -> None:
        """Take the step of all tensors, with the numbers that their groups have now."""
        for group, _, part in self.parts:
            if part.optimizer is not work[group].opt and part.optimizer != work[group].opt:
                part.follow(work[group].opt)
            part.step(threads)
        grads = [grad for each in work for grad in each.grads] if self.on_device else []
        for group, n in self.on_device:
            opt, state = work[group].opt, self.states[n]
            if state.optimizer != opt:
                state.follow(opt)
            opt.step(_flat(self.tensors[n]), _flat_gradient(grads[n]), state, check_finite=False)
        torch.autograd.graph.increment_version(self.changed)


@lru_cache(256)
def _with(opt: Optimizer, *numbers: tuple[str, float]) -> Any:
    """Return the optimizer with other numbers of its inner one, kept from step to step."""
    return with_numbers(opt, dict(numbers))


def _numbers_of(opt: Optimizer) -> dict[str, float]:
    """Return what a group may set, as in an optimizer."""
    return {name: getattr(opt.inner, name) for name in SETTINGS if hasattr(opt.inner, name)}


def _numbers(group: dict[str, Any], opt: Optimizer) -> dict[str, float]:
    """Return lr and weight_decay of a group, or refuse them and all settings that only opt can have."""
    defaults = _numbers_of(opt)
    for name in group:
        if name in _OF_OPT:
            raise ValueError(f"a group may set {' and '.join(defaults)} only, got {name}: set it in opt")
    given = {name: _number(group.get(name, default)) for name, default in defaults.items()}
    if isinstance(given["lr"], float) and -_ROUNDED * defaults["lr"] <= given["lr"] < 0:
        given["lr"] = 0.0
    return {name: real_number(name, value, 0) for name, value in given.items()}


def _check_keys(group: dict[str, Any], numbers: dict[str, float]) -> None:
    """Refuse a key of a new group that nobody reads, such as a mistyped setting."""
    for name in group:
        if name not in numbers and name not in _OF_GROUP:
            near = meant(name, [*numbers]) if isinstance(name, str) else ""
            raise ValueError(f"a group may set {' and '.join(numbers)} only, got {shown(name)}{near}")


def _flat(tensor: Any) -> Any:
    """Return the elements of a tensor as a flat view that optimizers accept, or refuse the tensor."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"params must hold tensors, got {shown(tensor)}")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"params must be float32 or float64, got {tensor.dtype}")
    on_device = tensor.device.type
    if on_device not in ("cpu", "cuda") or tensor.layout != torch.strided or not tensor.is_contiguous():
        where = f"{tensor.layout} with strides {tensor.stride()}" if tensor.layout == torch.strided else tensor.layout
        raise ValueError(
            f"params must be contiguous tensors on the CPU or a CUDA device, got {where} on {tensor.device}"
        )
    flat = tensor.detach().view(-1)
    return flat.numpy() if tensor.is_cpu else flat


def _flat_gradient(grad: Any) -> Any:
    """Return the elements of a contiguous gradient as a flat view."""
    flat = grad.detach().view(-1)
    return flat.numpy() if grad.is_cpu else flat


def _tell_changed(tensor: Any) -> None:
    """Let PyTorch refuse a ``backward`` that needs the elements from before a change of them in place."""
    if not tensor.is_inference():  # these are never part of a graph
        torch.autograd.graph.increment_version(tensor)
