"""The device that tests are given: Numba's simulator, an emulated one, both with what they lack, or a real one."""

import ctypes
import os

from numba import config

from lookahead_nb.kernels import gpu
from lookahead_nb.kernels.gpu import step

PLAIN_PYTHON = bool(config.ENABLE_CUDASIM)  # Numba's simulator
EMULATED = os.environ.get("EMULATED_CUDA") == "1"  # see emulated.py
SIMULATED = PLAIN_PYTHON or EMULATED


class Stream:
    """A stream of the simulator: a number."""

    def __init__(self, pointer):
        self.pointer = pointer

    def __int__(self):
        return self.pointer

    def synchronize(self):
        """Everything in the simulator is over when it returns."""


class Event:
    """An event of the simulator, which only writes down what it is asked to do, and on which stream."""

    log: list = []  # noqa: RUF012 (one log for all of them)

    def __init__(self, timing=False):
        assert not timing

    def record(self, stream=0):
        self.log.append(("record", int(stream)))

    def wait(self, stream=0):
        self.log.append(("wait", int(stream)))

    def synchronize(self):
        self.log.append(("synchronize", None))


class Foreign:
    """An array of another library: an interface, and nothing else of what an array of Numba has."""

    def __init__(self, array, stream=None, version=3):
        self.array, self.stream, self.version = array, stream, version

    @property
    def __cuda_array_interface__(self):
        return self.array.__cuda_array_interface__ | {"stream": self.stream, "version": self.version}

    def __array__(self, *arguments, **options):
        raise AssertionError("copied to the host")


def device_to_test(monkeypatch):
    """Return the module numba.cuda with a device that can be used, or skip the test and say why there is none."""
    if EMULATED:
        from tests.support.emulated import pretend

        pretend(monkeypatch)
    if reason := gpu.problem():
        import pytest

        pytest.skip(f"no CUDA device can be used: {reason}")
    if SIMULATED:
        monkeypatch.setattr(step, "THREADS", 8)  # the simulator starts a Python thread for each
        monkeypatch.setattr(step, "FEWEST_BLOCKS", 1)
        monkeypatch.setattr(step, "MOST_BLOCKS", 3)
        _complete(monkeypatch, gpu.cuda)
    return gpu.cuda


def _complete(monkeypatch, cuda):
    kind = type(cuda.device_array(1))

    def interface(array):
        host = array._ary.__array_interface__
        return {name: host[name] for name in ("shape", "typestr", "strides", "data", "version")}

    def as_cuda_array(foreign, sync):
        assert not sync, "a step must not wait for the stream"
        return foreign.array.bind(0)

    added = {
        "__cuda_array_interface__": property(interface),
        "device_ctypes_pointer": property(lambda array: ctypes.c_void_p(array._ary.ctypes.data)),
    }
    for name, value in added.items():
        monkeypatch.setattr(kind, name, value, raising=False)
    monkeypatch.setattr(Event, "log", [])
    kernel = type(cuda.jit(_complete))
    configured = kernel.__getitem__

    def launched(self, configuration):
        Event.log.append(("launch", int(configuration[2]) if len(configuration) > 2 else 0))
        return configured(self, configuration)

    monkeypatch.setattr(kernel, "__getitem__", launched)
    for name, value in {"event": Event, "external_stream": Stream, "as_cuda_array": as_cuda_array}.items():
        monkeypatch.setattr(cuda, name, value, raising=False)
