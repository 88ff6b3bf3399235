"""An exception at any opcode boundary of a call, inside the package: more places than Ctrl-C can reach."""

import itertools
import sys
from pathlib import Path

import numba

import lookahead_nb
from tests.support.cases import picture, run

PACKAGE = Path(lookahead_nb.__file__).parent
# Without compiling, a kernel is as many instructions as there are weights, and no longer all or nothing.
LEFT_OUT = str(PACKAGE / "kernels") if numba.config.DISABLE_JIT else "nothing"


def boundaries(call, at=-1, error=KeyboardInterrupt):
    """Call, raise at the boundary of this number, and return how many there are, or None after the exception."""
    count, before = itertools.count(), sys.gettrace()

    def trace(frame, event, _):
        name = frame.f_code.co_filename
        if not name.startswith(str(PACKAGE)) or name.startswith(LEFT_OUT):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(count) == at:
            raise error
        return trace

    sys.settrace(trace)
    try:
        call()
    except error:
        return None
    finally:
        sys.settrace(before)
    return next(count)


def each_boundary(attempt, every=1):
    """Interrupt a fresh attempt at every boundary in turn: ``attempt()`` returns (the call, what to do after it)."""
    for at in itertools.count(step=every):
        call, after = attempt()
        reached = boundaries(call, at) is None
        after()
        if not reached:
            return at


def everything(params, state):
    """Return all that a step changes, to see whether it has moved."""
    return [*picture(params, state), state.t, state.carried, getattr(state, "slow_steps", None)]


def assert_all_or_nothing(opt, t, start, gradients, **options):
    """Interrupt step t + 1 everywhere, and go on each time; return how often it was not taken and how often it was."""
    before, after, end = (everything(*run(opt, start, gradients[:n])) for n in (t, t + 1, None))
    counts = [0, 0]

    def attempt():
        params, state = run(opt, start, gradients[:t])

        def compare_and_go_on():
            assert everything(params, state) in (before, after)
            counts[state.t - t] += 1
            for g in gradients[state.t :]:
                opt.step(params, g, state, **options)
            assert everything(params, state) == end

        return lambda: opt.step(params, gradients[t], state, **options), compare_and_go_on

    each_boundary(attempt)
    return counts
