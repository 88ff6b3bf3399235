"""The door for flat buffers: what a user hands in is checked and described here, and given to a backend as it is."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from lookahead_nb import cpu
from lookahead_nb.cpu import step as cpu_step

WIDTHS = (np.dtype("float32"), np.dtype("float64"))


class Buffer:
    """A flat buffer a user handed in: checked, described, and only then given to a backend, never copied."""

    def __init__(self, name, given, *, writes):
        self.name, self.given = name, given
        interface = None if isinstance(given, np.ndarray) else _interface(name, given)
        self.on_device = interface is not None
        if interface is not None:
            shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
            strides, (self.address, readonly) = interface.get("strides"), interface["data"]
            flat = len(shape) == 1 and (strides is None or tuple(strides) == (dtype.itemsize,) or shape[0] < 2)
        elif isinstance(given, np.ndarray) and not isinstance(given, np.ma.MaskedArray):  # a mask would be ignored
            shape, dtype, readonly = given.shape, given.dtype, not given.flags.writeable
            flat = given.ndim == 1 and given.flags.c_contiguous and given.flags.aligned
            self.address = given.ctypes.data
        else:
            raise TypeError(f"{name} must be a NumPy array or a CUDA array, not {type(given).__name__}")
        if dtype not in WIDTHS or not dtype.isnative:
            raise TypeError(f"{name} must be float32 or float64, not {dtype}")
        self.size, self.dtype = math.prod(shape), dtype
        self.end = self.address + self.size * dtype.itemsize
        if not flat:
            raise ValueError(f"{name} must be 1-D, contiguous and aligned, not {shape} in another layout")
        if writes and readonly:
            raise ValueError(f"{name} must be writeable, not read-only")

    @cached_property
    def device(self):
        """The number of the CUDA device that holds the buffer; None on the host, and for an empty one."""
        return self.backend().device_of(self.address) if self.on_device and self.size else None

    def describe(self):
        """Return shape, width and place in words."""
        return f"a ({self.size},) {self.dtype} array on {place_in_words(self.on_device)}"

    def overlaps(self, other):
        """Tell whether two buffers share memory; exact, since both are contiguous."""
        if self.on_device != other.on_device:
            return False
        return max(self.address, other.address) < min(self.end, other.end)

    def backend(self):
        """Return the package whose kernels run on this buffer; a GPU that cannot be used is an error, never the CPU."""
        if self.on_device:
            backend_of(True).require()
        return backend_of(self.on_device)

    def array(self):
        """Return the buffer as the kernels take it."""
        backend = self.backend()
        with backend.on(self.device):
            return backend.adopt(self.given)


def _interface(name, given):
    try:
        return getattr(given, "__cuda_array_interface__", None)
    except RuntimeError as error:  # a tensor of PyTorch that wants a gradient says so here
        raise TypeError(f"{name} must be a NumPy array or a CUDA array: {error}") from error


def place_in_words(on_device):
    """Return where memory lies."""
    return "a CUDA device" if on_device else "the host"


def backend_of(on_device):
    """Return the package that holds buffers on the host or on a device."""
    if not on_device:
        return cpu
    from lookahead_nb import gpu  # numba.cuda is imported only where it is used

    return gpu


def kernels_of(on_device):
    """Return the loops over buffers on the host or on a device, two mirrors."""
    if not on_device:
        return cpu_step
    from lookahead_nb.gpu import step as gpu_step

    return gpu_step
