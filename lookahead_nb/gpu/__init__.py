"""The CUDA backend: where flat buffers live in device memory. The only file that imports ``numba.cuda``."""

from contextlib import contextmanager

import numpy as np
from numba import cuda

from lookahead_nb.checks import DeviceError, NoDeviceError

is_device = True


def require():
    """Raise NoDeviceError in one sentence if no CUDA device can be used; there is no fallback to the CPU."""
    if not cuda.is_available():
        found = "no driver or no GPU was found, or the extra lookahead-nb[cuda] is missing"
        cpu = "NumPy arrays and backend='cpu' run on the CPU"
        raise NoDeviceError(f"a GPU is asked for and no CUDA device can be used: {found}; {cpu}")


@contextmanager
def failures_told(what):
    """Turn what the driver raises in the block into one DeviceError that says what was under way."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("numba.cuda", "numba_cuda", "cuda.")):
            raise
        cause = str(error).strip().partition("\n")[0]
        advice = "a process whose GPU failed has to be started anew"
        raise DeviceError(f"the GPU failed while {what} ({type(error).__name__}: {cause}); {advice}") from error


def name():
    """Return the name of the device that runs are trained on."""
    device = getattr(cuda.current_context(), "device", None)
    told = getattr(device, "name", "Numba's simulator")
    return told.decode() if isinstance(told, bytes) else told


def free_memory():
    """Return how many bytes of the device's memory are free."""
    return cuda.current_context().get_memory_info().free


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
