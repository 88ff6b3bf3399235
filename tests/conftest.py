"""Fixtures of all tests. Every random number comes from a fixed seed."""

import sys

import numba
import numpy as np
import pytest

NO_JIT = bool(numba.config.DISABLE_JIT)


def pytest_collection_modifyitems(items):
    for item in items:
        if NO_JIT and item.get_closest_marker("jit"):
            item.add_marker(pytest.mark.skip(reason="needs compiled code"))


@pytest.fixture(autouse=True)
def figures_are_closed():
    """Close the figures that a test has drawn: matplotlib warns of too many, and warnings are errors."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng():
    return np.random.default_rng(20190719)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def width(request):
    return request.param


@pytest.fixture
def device(monkeypatch):
    """The module numba.cuda with a device to use, real or simulated; without one the test is skipped and says why."""
    from tests.support.simulated import device_to_test

    return device_to_test(monkeypatch)
