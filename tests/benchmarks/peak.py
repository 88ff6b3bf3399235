"""The most float32 operations per second of this CPU: chains of fused multiply-adds that stay in registers.

Twelve vectors of sixteen numbers are multiplied and added to at once, so that two units with a latency of four to six
cycles always have work. Vectors of 64 bytes are two registers where the CPU has registers of 32; there six are enough,
and twelve would not fit.
"""

import numpy as np
from numba import get_num_threads, njit, prange
from numba.core.registry import cpu_target

from lookahead_nb.kernels.compiler import fma
from lookahead_nb.kernels.cpu.lanes import lanes_of, line, lined_up, set_line
from lookahead_nb.kernels.cpu.product import vector_bytes

TIMES = 1 << 22  # multiply-adds of a chain, tens of milliseconds


@njit(fastmath={"contract"})
def _six(a, times):
    f, c = line(a, 0), line(a, 1)
    x0, x1, x2, x3, x4, x5 = line(a, 2), line(a, 3), line(a, 4), line(a, 5), line(a, 6), line(a, 7)
    for _ in range(times):
        x0, x1, x2 = fma(x0, f, c), fma(x1, f, c), fma(x2, f, c)
        x3, x4, x5 = fma(x3, f, c), fma(x4, f, c), fma(x5, f, c)
    set_line(a, 2, x0)
    set_line(a, 3, x1)
    set_line(a, 4, x2)
    set_line(a, 5, x3)
    set_line(a, 6, x4)
    set_line(a, 7, x5)


@njit(fastmath={"contract"})
def _twelve(a, times):
    f, c = line(a, 0), line(a, 1)
    x0, x1, x2, x3, x4, x5 = line(a, 2), line(a, 3), line(a, 4), line(a, 5), line(a, 6), line(a, 7)
    y0, y1, y2, y3, y4, y5 = line(a, 8), line(a, 9), line(a, 10), line(a, 11), line(a, 12), line(a, 13)
    for _ in range(times):
        x0, x1, x2 = fma(x0, f, c), fma(x1, f, c), fma(x2, f, c)
        x3, x4, x5 = fma(x3, f, c), fma(x4, f, c), fma(x5, f, c)
        y0, y1, y2 = fma(y0, f, c), fma(y1, f, c), fma(y2, f, c)
        y3, y4, y5 = fma(y3, f, c), fma(y4, f, c), fma(y5, f, c)
    set_line(a, 2, x0)
    set_line(a, 3, x1)
    set_line(a, 4, x2)
    set_line(a, 5, x3)
    set_line(a, 6, x4)
    set_line(a, 7, x5)
    set_line(a, 8, y0)
    set_line(a, 9, y1)
    set_line(a, 10, y2)
    set_line(a, 11, y3)
    set_line(a, 12, y4)
    set_line(a, 13, y5)


@njit(parallel=True)
def _in_six(arrays, times):
    for thread in prange(arrays.shape[0]):
        _six(arrays[thread], times)


@njit(parallel=True)
def _in_twelve(arrays, times):
    for thread in prange(arrays.shape[0]):
        _twelve(arrays[thread], times)


class Peak:
    """Chains of fused multiply-adds on all threads of Numba; the numbers go to ``term / (1 - factor)``."""

    def __init__(self, factor=0.5, term=1.0):
        wide = vector_bytes(cpu_target.target_context) == 64
        self.run, self.chains = (_in_twelve, 12) if wide else (_in_six, 6)
        self.arrays = lined_up((get_num_threads(), 2 + self.chains), np.float32)
        self.arrays[:, 0], self.arrays[:, 1] = factor, term

    @property
    def operations(self):
        """Operations of a call: a fused multiply-add is two."""
        return 2 * TIMES * self.chains * lanes_of(np.float32) * len(self.arrays)

    def __call__(self):
        self.run(self.arrays, TIMES)
