"""Validate user-supplied 1-D buffers, on the host or on a CUDA device, and pass them to a backend without copying."""

from __future__ import annotations

import math
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from lookahead_nb.kernels import cpu
from lookahead_nb.kernels.cpu import step as cpu_step

WIDTHS = (np.dtype("float32"), np.dtype("float64"))


class Buffer:
    """A checked 1-D buffer of the user's, never copied.

    Parameters
    ----------
    name : str
        The argument that error messages name.
    memory : NumPy array or object with ``__cuda_array_interface__``
        One-dimensional, contiguous, aligned, float32 or float64 in native byte order.
    writes : bool
        Whether the buffer will be written to, so that read-only memory is refused.

    Attributes
    ----------
    name : str
    memory : array
        The user's object itself.
    on_device : bool
        Whether the memory belongs to a CUDA device.
    address, end : int
        The first byte, and the one after the last.
    size : int
        The number of elements.
    dtype : np.dtype

    Raises
    ------
    TypeError
        If memory is no such array, is masked, or has another dtype.
    ValueError
        If its layout is another one, or it is read-only where it will be written to.
    """

    def __init__(self, name: str, memory: Any, *, writes: bool) -> None:
        self.name, self.memory = name, memory
        interface = None if isinstance(memory, np.ndarray) else _interface(name, memory)
        self.on_device = interface is not None
        if interface is not None:
            shape, dtype = tuple(interface["shape"]), np.dtype(interface["typestr"])
            strides, (self.address, readonly) = interface.get("strides"), interface["data"]
            flat = len(shape) == 1 and (strides is None or tuple(strides) == (dtype.itemsize,) or shape[0] < 2)
        elif isinstance(memory, np.ndarray) and not isinstance(memory, np.ma.MaskedArray):  # a mask would be ignored
            shape, dtype, readonly = memory.shape, memory.dtype, not memory.flags.writeable
            flat = memory.ndim == 1 and memory.flags.c_contiguous and memory.flags.aligned
            self.address = memory.ctypes.data
        else:
            raise TypeError(f"{name} must be a NumPy array or a CUDA array, got {type(memory).__name__}")
        if dtype not in WIDTHS or not dtype.isnative:
            raise TypeError(f"{name} must be float32 or float64, got {dtype}")
        self.size, self.dtype = math.prod(shape), dtype
        self.end = self.address + self.size * dtype.itemsize
        if not flat:
            raise ValueError(f"{name} must be 1-D, contiguous and aligned, got {shape} in another layout")
        if writes and readonly:
            raise ValueError(f"{name} must be writeable, got a read-only array")

    @cached_property
    def device(self) -> int | None:
        """The number of the CUDA device that holds the buffer; None on the host, and for an empty buffer."""
        return self.backend().device_of(self.address) if self.on_device and self.size else None

    def describe(self) -> str:
        """Return shape, dtype and place in words, for error messages.

        Returns
        -------
        str
            For example "a (5,) float32 array on the host".
        """
        return f"a ({self.size},) {self.dtype} array on {place_in_words(self.on_device)}"

    def overlaps(self, other: Buffer) -> bool:
        """Return whether two buffers share memory; exact, since both are contiguous.

        Parameters
        ----------
        other : Buffer

        Returns
        -------
        bool
        """
        if self.on_device != other.on_device:
            return False
        return max(self.address, other.address) < min(self.end, other.end)

    def backend(self) -> ModuleType:
        """Return the package whose kernels run on this buffer.

        Returns
        -------
        module
            ``lookahead_nb.kernels.cpu`` or ``lookahead_nb.kernels.gpu``.

        Raises
        ------
        NoDeviceError
            If the buffer is on a device that cannot be used; there is no silent fallback to the CPU.
        """
        if self.on_device:
            backend_of(True).require()
        return backend_of(self.on_device)

    def array(self) -> Any:
        """Return the buffer in the form that the kernels accept.

        Returns
        -------
        NumPy array or device array
            A view of the same memory.

        Raises
        ------
        NoDeviceError
            As in :meth:`backend`.
        """
        backend = self.backend()
        with backend.on(self.device):
            return backend.adopt(self.memory)


def _interface(name: str, memory: Any) -> dict[str, Any] | None:
    try:
        return getattr(memory, "__cuda_array_interface__", None)
    except RuntimeError as error:  # raised by PyTorch for a tensor that requires a gradient
        raise TypeError(f"{name} must be a NumPy array or a CUDA array: {error}") from error


def place_in_words(on_device: bool) -> str:
    """Return where memory lies, for error messages.

    Parameters
    ----------
    on_device : bool

    Returns
    -------
    str
    """
    return "a CUDA device" if on_device else "the host"


def backend_of(on_device: bool) -> ModuleType:
    """Return the package that holds buffers on the host or on a device.

    Parameters
    ----------
    on_device : bool

    Returns
    -------
    module
        ``lookahead_nb.kernels.cpu`` or ``lookahead_nb.kernels.gpu``.
    """
    if not on_device:
        return cpu
    from lookahead_nb.kernels import gpu  # numba.cuda is imported only where it is used

    return gpu


def kernels_of(on_device: bool) -> ModuleType:
    """Return the loops over buffers on the host or on a device.

    Parameters
    ----------
    on_device : bool

    Returns
    -------
    module
        ``lookahead_nb.kernels.cpu.step`` or ``lookahead_nb.kernels.gpu.step``, which define the same functions.
    """
    if not on_device:
        return cpu_step
    from lookahead_nb.kernels.gpu import step as gpu_step

    return gpu_step
