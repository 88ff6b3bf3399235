"""The devices of this machine, and the missing parts for CUDA: ``lookahead-nb devices``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from numba.core.registry import cpu_target

from lookahead_nb.cpu.product import vector_bytes
from lookahead_nb.tables import machine

CUDA_PACKAGES = ("numba-cuda", "cuda-toolkit", "cuda-bindings", "nvidia-nvjitlink")  # those of the extra cuda


def lines() -> Iterator[str]:
    """Yield the lines of a report on the devices of this machine.

    Yields
    ------
    str
        One line each for the CPU, the packages for CUDA, its driver, every GPU, and whether CUDA can be used.
    """
    from lookahead_nb import gpu  # numba.cuda is loaded where it is used

    host, bits = machine(), 8 * vector_bytes(cpu_target.target_context)
    yield f"CPU       {host['cpu']} ({host['cpu_class']}): {host['threads']} threads, vectors of {bits} bits"
    yield "packages  " + ", ".join(f"{name} {_version(name) or 'is missing'}" for name in CUDA_PACKAGES)
    yield f"driver    {gpu.driver() or 'none that works'}"
    for device in gpu.devices():
        memory = "memory hidden"
        if device.total is not None and device.free is not None:
            memory = f"{device.total / 2**30:.1f} GiB of memory, {device.free / 2**30:.1f} of them free"
        capability = ".".join(map(str, device.capability))
        yield f"GPU {device.number:<5} {device.name}: {memory}, compute capability {capability}"
    problem = gpu.problem()
    yield f"CUDA      {f'cannot be used: {problem}' if problem else 'can be used'}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
