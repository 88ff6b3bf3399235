"""Any optimizer of this package as a method of ``scipy.optimize.minimize``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from lookahead_nb.checks import flag, named_arguments, plain_array, real_number, shown, whole_number
from lookahead_nb.optimizers import Optimizer, State
from lookahead_nb.training.setup import check_optimizer

__all__ = ["method"]

_MESSAGES = {
    0: "The gradient is at most gtol.",
    1: "The maximum number of iterations is reached.",
    2: "The value, the gradient or the square of the gradient is not finite.",
    99: "`callback` raised `StopIteration`.",
}


@named_arguments
def method(opt: Optimizer) -> Callable[..., Any]:
    """Return an optimizer as a method for ``scipy.optimize.minimize``.

    Parameters
    ----------
    opt : Optimizer
        An inner optimizer, Lookahead or EMA.

    Returns
    -------
    function
        For the argument ``method`` of ``minimize``, which then returns a ``scipy.optimize.OptimizeResult``.

    Raises
    ------
    TypeError
        If opt is no optimizer.

    Notes
    -----
    Options of ``minimize``:

    - ``maxiter`` : int of at least 0, the largest number of steps; 1000 by default.
    - ``gtol`` : float of at least 0. The run succeeds once no element of the gradient at ``x`` exceeds it in magnitude;
      1e-5 by default. The argument ``tol`` of ``minimize`` means the same.
    - ``disp`` : True prints the result.

    The result has x, fun, jac, nit (steps), nfev, njev, success, status and message. ``x`` holds the slow weights of
    Lookahead and the average of Schedule-Free; ``fun`` and ``jac`` belong to ``x``. Status 0 is success, 1 the end of
    maxiter, 2 a value, gradient or square of it that is not finite, 99 a callback that raised StopIteration. With
    status 2, x is the last point that was evaluated, or its slow weights.

    Gradients are taken at the fast weights. After each step a callback gets these and their value, as ``callback(xk)``
    or ``callback(intermediate_result=OptimizeResult(x=..., fun=...))``. Points are float64. Bounds, constraints and
    Hessians are refused.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> from scipy.optimize import minimize, rosen, rosen_der
    >>> opt = lnb.Lookahead(lnb.AdamW(0.05, weight_decay=0), sync_period=5, slow_step_size=0.5)
    >>> method = lnb.adapters.scipy.method(opt)
    >>> result = minimize(rosen, [-1, 2], jac=rosen_der, method=method, options={"maxiter": 5000})
    >>> result.success, result.x.round(2).tolist()
    (True, [1.0, 1.0])
    """
    check_optimizer("opt", opt)

    def minimized(
        fun: Callable,
        x0: np.ndarray,
        args: tuple = (),
        jac: Any = None,
        hess: Any = None,
        hessp: Any = None,
        bounds: Any = None,
        constraints: Any = (),
        callback: Callable | None = None,
        **options: Any,
    ) -> Any:
        _check_problem(jac, hess=hess, hessp=hessp, bounds=bounds, constraints=constraints)
        maxiter, gtol, disp = _checked_options(**options)
        if x0.dtype.kind not in "fiu":
            raise TypeError(f"x0 must hold real numbers, got {x0.dtype}")
        if not np.isfinite(x0).all():
            raise ValueError(f"x0 must be finite, got {shown(x0)}")
        problem = _Problem(fun, jac, args)
        result = _minimized(opt, problem, x0.astype(np.float64), _reported(callback), maxiter, gtol)
        if disp:
            counts = f"Value: {result.fun:g}. Iterations: {result.nit}. Evaluations: {result.nfev}."
            sys.stdout.write(f"{result.message} {counts}\n")
        return result

    return minimized


class _Problem:
    """The function with its gradient; counts and checks what they return."""

    def __init__(self, fun: Callable, jac: Callable, args: tuple) -> None:
        self.fun, self.jac, self.args, self.evaluations = fun, jac, args, 0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the value and a new array with the gradient; the user gets copies of x."""
        self.evaluations += 1
        value = np.asarray(self.fun(x.copy(), *self.args))
        gradient = plain_array("the gradient", self.jac(x.copy(), *self.args))
        if value.size != 1 or value.dtype.kind not in "fiub":
            raise ValueError(f"fun must return one real number, got {shown(value)}")
        if gradient.dtype.kind not in "fiub":
            raise ValueError(f"the gradient must hold real numbers, got {shown(gradient)}")
        if gradient.shape != x.shape:
            raise ValueError(f"the gradient must have the shape {x.shape} of x0, got {gradient.shape}")
        return float(value.item()), np.array(gradient, np.float64)


def _minimized(
    opt: Optimizer, problem: _Problem, x: np.ndarray, report: Callable[..., bool], maxiter: int, gtol: float
) -> Any:
    """Step from x until the gradient is small, the steps run out, or nothing more can be done."""
    state, status = opt.init(x), None
    fun, jac = problem(x)
    while status is None:
        if state.t and report(x.copy(), fun):
            status = 99
        elif not (np.isfinite(fun) and np.isfinite(jac).all()):
            status = 2
        elif _largest(jac) <= gtol and _largest(_at_result(opt, problem, x, state, fun, jac)[2]) <= gtol:
            status = 0
        elif state.t == maxiter:
            status = 1
        else:
            try:
                opt.step(x, jac, state)
            except FloatingPointError:
                status = 2
            else:
                fun, jac = problem(x)
    steps = state.t
    x, fun, jac = _at_result(opt, problem, x, state, fun, jac)
    return OptimizeResult(
        x=x,
        fun=fun,
        jac=jac,
        nit=steps,
        nfev=problem.evaluations,
        njev=problem.evaluations,
        success=status == 0,
        status=status,
        message=_MESSAGES[status],
    )


def _at_result(
    opt: Optimizer, problem: _Problem, x: np.ndarray, state: State, fun: float, jac: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Return the slow weights, or x where there are none, with value and gradient."""
    slow = opt.slow_from(x, state)
    if slow is None or np.array_equal(slow, x):
        return x, fun, jac
    return slow.copy(), *problem(slow)


def _largest(gradient: np.ndarray) -> float:
    return float(np.max(np.abs(gradient), initial=0))


def _reported(callback: Callable | None) -> Callable[..., bool]:
    """Return a function that calls back with a point and its value, and returns whether to stop."""
    if callback is None:
        return lambda x, fun: False  # noqa: ARG005
    by_name = {*inspect.signature(callback).parameters} == {"intermediate_result"}

    def report(x: np.ndarray, fun: float) -> bool:
        try:
            if by_name:
                callback(intermediate_result=OptimizeResult(x=x, fun=fun))
            else:
                callback(x)
        except StopIteration:
            return True
        return False

    return report


def _check_problem(jac: Any, **unused: Any) -> None:
    """Refuse a problem without a gradient, or with more than a function and its gradient."""
    for name, value in unused.items():
        if value is not None and not (isinstance(value, (tuple, list)) and not len(value)):
            raise ValueError(f"{name} cannot be used by this method, got {shown(value)}: leave it out")
    if not callable(jac):
        advice = "pass jac=True with a fun that returns (value, gradient), or a function"
        raise ValueError(f"jac must give the gradient, got {shown(jac)}: {advice}")


def _checked_options(**options: Any) -> tuple[int, float, bool]:
    """Return maxiter, gtol and disp, or refuse an option."""
    if "tol" in options:
        options = {"gtol": options["tol"]} | {name: value for name, value in options.items() if name != "tol"}
    allowed = {"maxiter": 1000, "gtol": 1e-5, "disp": False}
    for name in options:
        if name not in allowed:
            raise ValueError(f"options must be among {', '.join(allowed)}, got {name}")
    merged: dict[str, Any] = allowed | options
    return (
        whole_number("maxiter", merged["maxiter"], 0),
        real_number("gtol", merged["gtol"], 0),
        flag("disp", merged["disp"]),
    )
