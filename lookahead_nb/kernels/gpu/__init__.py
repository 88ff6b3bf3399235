"""The CUDA backend, for flat buffers in device memory; the only module that imports ``numba.cuda``.

Kernels for an array run on its device and on the stream that came with it, see :func:`turn`. Neither this module nor
``step`` waits for the device, unless the host needs a result.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import config, cuda

from lookahead_nb.checks import DeviceError, NoDeviceError

is_device = True

LEAST_CAPABILITY = (7, 5)  # the lowest that CUDA 13 compiles for
INSTALL = 'install the extra cuda, as in: pip install ".[cuda]" in a checkout'


# ----------------------------------------------------------------------------------------------- driver and devices


class Device(NamedTuple):
    """A CUDA device.

    Attributes
    ----------
    number : int
        The number that CUDA gives it.
    name : str
        The name that its maker gives it.
    capability : tuple of 2 ints
        Compute capability (major, minor).
    total, free : int or None
        Bytes of memory, None if the device does not report them.
    """

    number: int
    name: str
    capability: tuple[int, int]
    total: int | None
    free: int | None


@lru_cache(None)
def problem() -> str | None:
    """Return in one clause why no CUDA device can be used.

    Returns
    -------
    str or None
        None if one can be used.
    """
    if config.ENABLE_CUDASIM:
        return None
    if getattr(cuda, "implementation", "") != "NVIDIA":
        return f"the package numba-cuda is missing ({INSTALL})"
    if not cuda.is_available():
        reason = " ".join((cuda.cuda_error() or "no CUDA device was found").split())
        return f"the CUDA driver cannot be used ({reason.removesuffix('.')}); install the driver of an NVIDIA GPU"
    supported, toolkit = cuda.cudadrv.driver.driver.get_version(), toolkit_version()
    if toolkit and supported[0] < toolkit[0]:
        needed, version_of_driver = (".".join(map(str, numbers)) for numbers in (toolkit, supported))
        reason = f"it supports CUDA {version_of_driver}, the installed toolkit is {needed}"
        return f"the CUDA driver is too old ({reason}); update it"
    if not any(tuple(device.compute_capability) >= LEAST_CAPABILITY for device in cuda.gpus):
        least = ".".join(map(str, LEAST_CAPABILITY))
        return f"no CUDA device has compute capability {least} or above"
    return None


def toolkit_version() -> tuple[int, int] | None:
    """Return the version of the CUDA toolkit that is installed as a package.

    Returns
    -------
    tuple of 2 ints or None
        (major, minor), None if there is no such package.
    """
    try:
        major, minor = version("cuda-toolkit").split(".")[:2]
    except PackageNotFoundError:
        return None
    return int(major), int(minor)


def driver() -> str | None:
    """Return a description of the CUDA driver.

    Returns
    -------
    str or None
        Its version and the CUDA version that it supports, None if no driver works.
    """
    if config.ENABLE_CUDASIM:
        return "Numba's simulator, which runs kernels as plain Python"
    if not cuda.is_available():
        return None
    file = Path("/proc/driver/nvidia/version")
    number = re.search(r"Module\s+([\d.]+)|for \S+\s+([\d.]+)", file.read_text()) if file.is_file() else None
    support = "supports CUDA " + ".".join(map(str, cuda.cudadrv.driver.driver.get_version()))
    return f"{number[1] or number[2]}, {support}" if number else support


def devices() -> list[Device]:
    """Return every CUDA device.

    Returns
    -------
    list of Device
        Empty if no driver works, and in Numba's simulator.
    """
    if config.ENABLE_CUDASIM or not cuda.is_available():
        return []
    listed = []
    for number, device in enumerate(cuda.gpus):
        name = device.name.decode() if isinstance(device.name, bytes) else device.name
        try:
            with device:
                memory = cuda.current_context().get_memory_info()
        except cuda.cudadrv.driver.CudaAPIError:  # another process may have reserved it
            memory = None, None
        listed.append(Device(number, name, device.compute_capability, *memory[::-1]))
    return listed


def require() -> None:
    """Refuse to continue if no CUDA device can be used; there is no fallback to the CPU.

    Raises
    ------
    NoDeviceError
        If no CUDA device can be used; one sentence says why.
    """
    if reason := problem():
        cpu = "NumPy arrays and backend='cpu' run on the CPU"
        raise NoDeviceError(f"a GPU is asked for and no CUDA device can be used: {reason}; {cpu}")


def device_of(address: int) -> int:
    """Return the device that holds an address.

    Parameters
    ----------
    address : int
        An address in device memory.

    Returns
    -------
    int
        The number of the device.
    """
    if config.ENABLE_CUDASIM:
        return 0
    binding, api = cuda.cudadrv.driver.binding, cuda.cudadrv.driver.driver
    ordinal = binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(api.cuPointerGetAttribute(ordinal, binding.CUdeviceptr(address)))


# ----------------------------------------------------------------------------------------------- devices and streams


def on(device: int | None) -> Any:
    """Return a context inside which arrays are made on a device.

    Parameters
    ----------
    device : int or None
        The number of the device; None, if there is no array yet, is device 0.

    Returns
    -------
    context manager
    """
    return cuda.gpus[device or 0]


@contextmanager
def turn(device: int | None, arrays: Iterable[Any], before: Any = None) -> Iterator[Any]:
    """Queue the work of the block on the stream of the first array, after everything queued for the other arrays.

    Parameters
    ----------
    device : int or None
        As in :func:`on`.
    arrays : iterable of device arrays
        As :func:`adopt` returns them.
    before : event, optional
        The work starts after this event; by default after the work on the default stream, where arrays are made.

    Yields
    ------
    event
        ``before`` or a new event. It is recorded again after the block, and the streams of the other arrays wait for
        it.

    Notes
    -----
    The host waits for nothing.
    """
    stream, *others = {int(a.stream): a.stream for a in arrays}.values()
    with on(device):
        event = before or cuda.event(timing=False)
        if before is None:
            event.record(0)
        event.wait(stream)
        for other in others:
            queued = cuda.event(timing=False)
            queued.record(other)
            queued.wait(stream)
        try:
            yield event
        finally:
            event.record(stream)
            for other in others:
                event.wait(other)


def _stream_of(array: Any) -> Any:
    """Return the stream that came with an array, 0 for the default one."""
    torch = sys.modules.get("torch")
    if torch and isinstance(array, torch.Tensor):  # its interface does not include the stream
        pointer = torch.cuda.current_stream(array.device).cuda_stream
    else:
        pointer = array.__cuda_array_interface__.get("stream")
    return cuda.external_stream(pointer) if pointer else 0


# ------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def explained_failures(what: str) -> Iterator[None]:
    """Turn an error of the driver inside the block into a DeviceError that says what was under way.

    Parameters
    ----------
    what : str
        What the block does, as in "the GPU failed while 3 runs were trained".

    Yields
    ------
    None

    Raises
    ------
    DeviceError
        If the driver raises an error.
    """
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("numba.cuda", "numba_cuda", "cuda.")):
            raise
        cause = str(error).strip().partition("\n")[0]
        advice = "a process whose GPU failed has to be restarted"
        raise DeviceError(f"the GPU failed while {what} ({type(error).__name__}: {cause}); {advice}") from error


# ------------------------------------------------------------------------------------------------------------- arrays


def name() -> str:
    """Return the name of the device that runs are trained on.

    Returns
    -------
    str
    """
    device = getattr(cuda.current_context(), "device", None)
    label = getattr(device, "name", "Numba's simulator")
    return label.decode() if isinstance(label, bytes) else label


def free_memory() -> int:
    """Return the free memory of the device.

    Returns
    -------
    int
        Bytes.
    """
    return cuda.current_context().get_memory_info().free


def synchronize() -> None:
    """Wait until the device has finished all its work, on every stream."""
    cuda.synchronize()


def adopt(array: Any) -> Any:
    """Return the array in the form that this backend's kernels accept, with its stream and without a copy.

    Parameters
    ----------
    array : object
        A device array of Numba, or any object with ``__cuda_array_interface__``.

    Returns
    -------
    device array
    """
    if hasattr(array, "copy_to_host"):
        return array
    adopted = cuda.as_cuda_array(array, sync=False)
    adopted.stream = _stream_of(array)
    return adopted


def zeros(n: int, width: Any) -> Any:
    """Return n zeros.

    Parameters
    ----------
    n : int
        The number of elements.
    width : type
        ``np.float32`` or ``np.float64``.

    Returns
    -------
    (n,) device array
    """
    return cuda.to_device(np.zeros(n, width))


def copy(array: Any) -> Any:
    """Return a new device array with the same contents.

    Parameters
    ----------
    array : device array
        As :func:`adopt` returns it.

    Returns
    -------
    device array
        On the stream of the array.
    """
    out = cuda.device_array(array.shape, array.dtype, stream=array.stream)
    assign(out, array)
    return out


def from_host(array: np.ndarray) -> Any:
    """Return a new device array with the contents of a host array.

    Parameters
    ----------
    array : np.ndarray
        On the host.

    Returns
    -------
    device array
    """
    return cuda.to_device(array)


def to_host(array: Any) -> np.ndarray:
    """Return a new host array with the same contents.

    Parameters
    ----------
    array : device array
        As :func:`adopt` returns it.

    Returns
    -------
    np.ndarray
        Complete: the host waits for the stream of the array.
    """
    out = array.copy_to_host()
    if array.stream:
        array.stream.synchronize()
    return out


def assign(target: Any, source: Any) -> None:
    """Copy the contents of source into target.

    Parameters
    ----------
    target, source : device array
        Of one shape.
    """
    if target.size:
        target.copy_to_device(source)
