"""The CUDA backend: where flat buffers live in device memory. The only file that imports ``numba.cuda``.

What is launched for an array runs on its device and on the stream it came with, see :func:`turn`. Nothing here or in
``step`` waits for the device, but for what has to be known on the host.
"""

import re
import sys
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import config, cuda

from lookahead_nb.checks import DeviceError, NoDeviceError

is_device = True

LEAST_CAPABILITY = (7, 5)  # the oldest that CUDA 13 compiles for
INSTALL = 'install the extra cuda, as in: pip install "lookahead-nb[cuda]"'


# ------------------------------------------------------------------------------------------------- what there is


class Device(NamedTuple):
    """A CUDA device; total, free : bytes of memory, None where it does not tell."""

    number: int
    name: str
    capability: tuple[int, int]
    total: int | None
    free: int | None


@lru_cache(None)
def problem():
    """Return in one clause why no CUDA device can be used, or None where one can."""
    if config.ENABLE_CUDASIM:
        return None
    if getattr(cuda, "implementation", "") != "NVIDIA":
        return f"the package numba-cuda is missing ({INSTALL})"
    if not cuda.is_available():
        told = " ".join((cuda.cuda_error() or "no CUDA device was found").split())
        return f"the CUDA driver cannot be used ({told.removesuffix('.')}); it comes with the driver of an NVIDIA GPU"
    served, toolkit = cuda.cudadrv.driver.driver.get_version(), toolkit_version()
    if toolkit and served[0] < toolkit[0]:
        asked, there = (".".join(map(str, each)) for each in (toolkit, served))
        return f"the CUDA driver is too old (it serves CUDA {there}, the toolkit installed here is {asked}); update it"
    if not any(tuple(device.compute_capability) >= LEAST_CAPABILITY for device in cuda.gpus):
        least = ".".join(map(str, LEAST_CAPABILITY))
        return f"no CUDA device has compute capability {least} or above"
    return None


def toolkit_version():
    """Return (major, minor) of the CUDA toolkit that is installed as a package, or None."""
    try:
        major, minor = version("cuda-toolkit").split(".")[:2]
    except PackageNotFoundError:
        return None
    return int(major), int(minor)


def driver():
    """Return in words what the CUDA driver is, or None where there is none that works."""
    if config.ENABLE_CUDASIM:
        return "Numba's simulator, which runs kernels as plain Python"
    if not cuda.is_available():
        return None
    told = Path("/proc/driver/nvidia/version")
    number = re.search(r"Module\s+([\d.]+)|for \S+\s+([\d.]+)", told.read_text()) if told.is_file() else None
    serves = "serves CUDA " + ".".join(map(str, cuda.cudadrv.driver.driver.get_version()))
    return f"{number[1] or number[2]}, {serves}" if number else serves


def devices():
    """Return every CUDA device as a :class:`Device`."""
    if config.ENABLE_CUDASIM or not cuda.is_available():
        return []
    found = []
    for number, device in enumerate(cuda.gpus):
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
        try:
            with device:
                memory = cuda.current_context().get_memory_info()
        except cuda.cudadrv.driver.CudaAPIError:  # it may be reserved by another process
            memory = None, None
        found.append(Device(number, name, device.compute_capability, *memory[::-1]))
    return found


def require():
    """Raise NoDeviceError in one sentence if no CUDA device can be used; there is no fallback to the CPU."""
    if found := problem():
        cpu = "NumPy arrays and backend='cpu' run on the CPU"
        raise NoDeviceError(f"a GPU is asked for and no CUDA device can be used: {found}; {cpu}")


def device_of(address):
    """Return the number of the device that holds this address."""
    if config.ENABLE_CUDASIM:
        return 0
    binding, api = cuda.cudadrv.driver.binding, cuda.cudadrv.driver.driver
    ordinal = binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(api.cuPointerGetAttribute(ordinal, binding.CUdeviceptr(address)))


# ------------------------------------------------------------------------------------------- whose turn it is


def on(device):
    """Return a context inside which arrays are made on a device, given by number; None, for no array, is any one."""
    return cuda.gpus[device or 0]


@contextmanager
def turn(device, arrays, before=None):
    """Queue what runs inside on the stream of the first array, after everything queued for the others.

    arrays : as :func:`adopt` returns them. before : an event to come after; None stands for the default stream, which
    is where arrays are made. It is recorded anew at the end, and the streams of the others wait for it. Yields that
    event. The host waits for nothing.
    """
    stream, *others = {int(a.stream): a.stream for a in arrays}.values()
    with on(device):
        event = before or cuda.event(timing=False)
        if before is None:
            event.record(0)
        event.wait(stream)
        for other in others:
            theirs = cuda.event(timing=False)
            theirs.record(other)
            theirs.wait(stream)
        try:
            yield event
        finally:
            event.record(stream)
            for other in others:
                event.wait(other)


def _stream_of(given):
    """Return the stream that an array came with, 0 for the default one."""
    torch = sys.modules.get("torch")
    if torch and isinstance(given, torch.Tensor):  # its interface does not tell
        pointer = torch.cuda.current_stream(given.device).cuda_stream
    else:
        pointer = given.__cuda_array_interface__.get("stream")
    return cuda.external_stream(pointer) if pointer else 0


# ------------------------------------------------------------------------------------------------------- arrays
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
    """Return the array as this backend's kernels take it, with the stream it came with, without a copy."""
    if hasattr(array, "copy_to_host"):
        return array
    adopted = cuda.as_cuda_array(array, sync=False)
    adopted.stream = _stream_of(array)
    return adopted


def zeros(n, width):
    """Return n zeros of a NumPy float width."""
    return cuda.to_device(np.zeros(n, width))


def copy(array):
    """Return a new device array with the same contents."""
    out = cuda.device_array(array.shape, array.dtype, stream=array.stream)
    assign(out, array)
    return out


def from_host(array):
    """Return a new device array with the contents of a host array."""
    return cuda.to_device(array)


def to_host(array):
    """Return a new host array with the same contents."""
    out = array.copy_to_host()
    if array.stream:
        array.stream.synchronize()
    return out


def assign(target, source):
    """Copy the contents of source into target."""
    if target.size:
        target.copy_to_device(source)
