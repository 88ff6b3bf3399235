"""The CUDA backend: where flat buffers live in device memory. The only file that imports ``numba.cuda``."""

import numpy as np
from numba import cuda

is_device = True


def require():
    """Raise RuntimeError in one sentence if no CUDA device can be used; there is no fallback to the CPU."""
    if not cuda.is_available():
        raise RuntimeError(
            "params on a GPU need a usable CUDA device and driver, and none was found; pass NumPy arrays "
            "to run on the CPU, or install the extra lookahead-nb[cuda] on a machine with an NVIDIA GPU"
        )


def adopt(array):
    """Return the array as this backend's kernels take it, without a copy."""
    return array if hasattr(array, "copy_to_host") else cuda.as_cuda_array(array)


def zeros(n, width):
    """Return n zeros of a NumPy float width."""
    return cuda.to_device(np.zeros(n, width))


def copy(array):
    """Return a new device array with the same contents."""
    out = cuda.device_array(array.shape, array.dtype)
    assign(out, array)
    return out


def from_host(array):
    """Return a new device array with the contents of a host array."""
    return cuda.to_device(array)


def to_host(array):
    """Return a new host array with the same contents."""
    return array.copy_to_host()


def assign(target, source):
    """Copy the contents of source into target."""
    if target.size:
        target.copy_to_device(source)
