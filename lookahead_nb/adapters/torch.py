"""Any optimizer of this package as an optimizer of PyTorch, for tensors on the CPU."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from lookahead_nb.checks import extra, flag, named_arguments, real_number, shown
from lookahead_nb.kernels.cpu.step import first_beyond
from lookahead_nb.optimizers import INNER_RULES, WRAPPERS, Optimizer, State, gradient_limit
from lookahead_nb.optimizers.schedules import Schedule
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
_ROUNDED = 1e-12  # of lr: where LinearLR ends at 0, rounding can leave as much below it


@named_arguments
class TorchOptimizer(_Base):  # type: ignore[misc] # PyTorch is not installed where types are checked
    """A ``torch.optim.Optimizer`` that takes the steps of an optimizer of this package.

    Parameters
    ----------
    params : iterable
        Tensors, or groups as dicts: float32 or float64, contiguous, on the CPU. A group may have its own ``lr`` and
        ``weight_decay``.
    opt : Optimizer
        An inner optimizer, Lookahead or EMA, with a number as lr. An adaptive slow step is refused, since it is fitted
        to all weights together.
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
    Tensors are stepped where they lie, without a copy. Each has its own clock: a tensor without a gradient takes no
    step and no sync. ScheduleFreeAdamW refuses a change of its lr.

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
        if isinstance(opt.inner.lr, Schedule):
            raise ValueError(f"lr must be a number, which a scheduler of PyTorch may change, got {opt.inner.lr!r}")
        if opt.adapts:
            raise ValueError(f"slow_step_size must be a number or numbers for PyTorch, got {opt!r}")
        super().__init__(params, _numbers_of(opt))

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_opt": self._opt, "_check_finite": self._check_finite}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors.

        Parameters
        ----------
        param_group : dict
            ``params``, and lr and weight_decay if they differ from those of opt.

        Raises
        ------
        TypeError, ValueError
            If a tensor or a number is not allowed.
        """
        if isinstance(param_group, dict) and not isinstance(param_group.get("params"), set):  # PyTorch refuses a set
            tensors = param_group.get("params", [])
            tensors = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
            for item in tensors:  # a tensor, or a pair of its name and the tensor
                _flat(item[1] if isinstance(item, tuple) else item)
            _numbers(param_group, self._opt)
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
        work = []
        for group in self.param_groups:
            opt = self._of(group)
            with_gradient = (tensor for tensor in group["params"] if tensor.grad is not None)
            work += [(tensor, opt, _flat(tensor), _flat_gradient(tensor)) for tensor in with_gradient]
        for tensor, opt, params, grad in work:
            at = first_beyond(grad, params.dtype.type(gradient_limit(opt, params.dtype))) if self._check_finite else -1
            if at >= 0:
                shape = tuple(tensor.shape)
                raise FloatingPointError(
                    f"grad of a {shape} tensor must be finite, with a finite square for rules with a second moment, "
                    f"got {grad[at].item()!r} at element {at}; nothing was changed"
                )
            if state := self._state_of(tensor):
                state.check_follows(opt)
        for tensor, opt, params, grad in work:
            state = self._state_of(tensor) or opt.init(params)
            if state.optimizer != opt:
                state.follow(opt)
            opt.step(params, grad, state, check_finite=False)
            self.state[tensor]["state"] = state
            _tell_changed(tensor)
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
        packed = super().state_dict()
        packed["state"] = {number: self._stored(each["state"]) for number, each in packed["state"].items()}
        return packed

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
        groups = state_dict["param_groups"]
        pairs = zip(groups, self.param_groups, strict=False)  # PyTorch compares their numbers
        tensors = chain.from_iterable(zip(old["params"], new["params"], strict=False) for old, new in pairs)
        of_number, group_of = dict(tensors), {number: group for group in groups for number in group["params"]}
        states = {
            of_number[number]: self._restored(stored, of_number[number], group_of[number])
            for number, stored in state_dict["state"].items()
            if number in of_number
        }
        super().load_state_dict(state_dict | {"state": {}})
        for tensor, state in states.items():
            self.state[tensor]["state"] = state

    def _state_of(self, tensor: Any) -> State | None:
        return self.state[tensor]["state"] if tensor in self.state else None

    def _of(self, group: dict[str, Any]) -> Optimizer:
        """Return the optimizer with the numbers of a group."""
        return _with(self._opt, *_numbers(group, self._opt).items())

    def _settings(self) -> str:
        """Return what no group may change."""
        numbers = _numbers_of(self._opt)
        return json.dumps({k: v for k, v in self._opt.settings().items() if k not in numbers}, sort_keys=True)

    def _stored(self, state: State) -> dict[str, Any]:
        arrays = state.to_arrays() | {"settings": self._settings()}
        return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in arrays.items()}

    def _restored(self, stored: dict[str, Any], tensor: Any, group: dict[str, Any]) -> State:
        settings, params = stored.get("settings"), _flat(tensor)
        if settings != self._settings():
            raise ValueError(f"state_dict must belong to {self._settings()}, got a state of {settings}")
        if (stored["size"], stored["width"]) != (params.size, str(params.dtype)):
            wanted, got = f"{params.size} {params.dtype} weights", f"{stored['size']} of {stored['width']}"
            raise ValueError(f"state_dict must hold the state of {wanted}, got that of {got}")
        opt = self._of(group)
        arrays = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in stored.items()}
        return opt.restore(arrays | {"settings": json.dumps(opt.settings(), sort_keys=True)})


@lru_cache(256)
def _with(opt: Optimizer, *numbers: tuple[str, float]) -> Any:
    """Return the optimizer with other numbers of its inner one."""
    inner = replace(opt.inner, **dict(numbers))
    return inner if opt is opt.inner else replace(opt, inner=inner)  # type: ignore[type-var] # a frozen dataclass


def _numbers_of(opt: Optimizer) -> dict[str, float]:
    """Return what a group may set, as in an optimizer."""
    return {name: getattr(opt.inner, name) for name in ("lr", "weight_decay") if hasattr(opt.inner, name)}


def _numbers(group: dict[str, Any], opt: Optimizer) -> dict[str, float]:
    """Return lr and weight_decay of a group, or refuse them and all settings that only opt can have."""
    defaults = _numbers_of(opt)
    for name in group:
        if name in _OF_OPT:
            raise ValueError(f"a group may set {' and '.join(defaults)} only, got {name}: set it in opt")
    given = {name: group.get(name, default) for name, default in defaults.items()}
    if isinstance(given["lr"], float) and -_ROUNDED * defaults["lr"] <= given["lr"] < 0:
        given["lr"] = 0.0
    return {name: real_number(name, value, 0) for name, value in given.items()}


def _flat(tensor: Any) -> np.ndarray:
    """Return the elements of a tensor as a flat view, or refuse the tensor."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"params must hold tensors, got {shown(tensor)}")
    if tensor.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"params must be float32 or float64, got {tensor.dtype}")
    if tensor.device.type != "cpu" or tensor.layout != torch.strided or not tensor.is_contiguous():
        where = f"{tensor.layout} with strides {tensor.stride()}" if tensor.layout == torch.strided else tensor.layout
        raise ValueError(f"params must be contiguous tensors on the CPU, got one on {tensor.device}, {where}")
    return tensor.detach().numpy().reshape(-1)


def _tell_changed(tensor: Any) -> None:
    """Let PyTorch refuse a ``backward`` that needs the elements from before a change of them in place."""
    if not tensor.is_inference():  # these are never part of a graph
        torch.autograd.graph.increment_version(tensor)


def _flat_gradient(tensor: Any) -> np.ndarray:
    """Return the gradient of a tensor as a flat array, copied only if it lies in another order."""
    if tensor.grad.layout != torch.strided:
        raise TypeError(f"grad must be a dense tensor, got {tensor.grad.layout}")
    return tensor.grad.detach().contiguous().numpy().reshape(-1)
