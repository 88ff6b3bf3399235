"""What a machine has to compute on, and what is said where no GPU can be used, for want of what."""

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

import lookahead_nb as lnb
from lookahead_nb import provenance
from lookahead_nb.__main__ import main
from lookahead_nb.checks import NoDeviceError
from lookahead_nb.kernels import cpu, gpu


class Refused(Exception):  # noqa: N818 (as the driver's own)
    """What the driver raises."""


class Card:
    """A device as Numba shows it."""

    def __init__(self, name="NVIDIA X", capability=(9, 0), memory=(60 * 2**30, 80 * 2**30)):
        self.name, self.compute_capability, self.memory = name, capability, memory

    def __enter__(self):
        if self.memory is None:
            raise Refused

    def __exit__(self, *_):
        pass


ONE_CARD = (Card(),)


@pytest.fixture
def machine(monkeypatch):
    """A function that makes Numba see a machine like this."""

    def see(*, cards=ONE_CARD, driver=(13, 0), toolkit=(13, 0), implementation="NVIDIA", error=None):
        memory = SimpleNamespace(get_memory_info=lambda: cards[0].memory)
        api = SimpleNamespace(get_version=lambda: driver)
        seen = SimpleNamespace(
            implementation=implementation,
            is_available=lambda: error is None,
            cuda_error=lambda: error,
            gpus=cards,
            current_context=lambda: memory,
            cudadrv=SimpleNamespace(driver=SimpleNamespace(driver=api, CudaAPIError=Refused)),
        )
        monkeypatch.setattr(gpu, "config", SimpleNamespace(ENABLE_CUDASIM=0))
        monkeypatch.setattr(gpu, "cuda", seen)
        monkeypatch.setattr(gpu, "toolkit_version", lambda: toolkit)
        gpu.problem.cache_clear()

    yield see
    gpu.problem.cache_clear()


PROBLEMS = {
    "no package": ({"implementation": "Built-in"}, r"numba-cuda is missing \(.*pip install \"\.\[cuda\]\""),
    "no driver": (
        {"error": "\nCUDA driver library cannot be found.\nInstall it.\n"},
        r"\(CUDA driver library .* it\);",
    ),
    "no device": ({"error": "no device (100)"}, r"driver cannot be used \(no device \(100\)\)"),
    "old driver": ({"driver": (12, 8)}, r"too old \(it supports CUDA 12.8, the installed toolkit is 13.0\)"),
    "old device": ({"cards": [Card(capability=(7, 0))]}, r"no CUDA device has compute capability 7.5"),
}


@pytest.mark.parametrize(("how", "told"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_missing_is_told_in_one_line_and_nothing_falls_back(how, told, machine, monkeypatch, capsys):
    machine(**how)
    with pytest.raises(NoDeviceError, match=told) as caught:
        gpu.require()
    assert "\n" not in str(caught.value)
    interface = {"shape": (9,), "typestr": "<f4", "data": (4096, False), "version": 3}
    with pytest.raises(NoDeviceError, match=told):
        lnb.AdamW().init(SimpleNamespace(__cuda_array_interface__=interface))
    monkeypatch.setattr(provenance, "device_lines", gpu.require)  # as a command that needs a GPU would
    assert main(["devices"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("driver", [(13, 0), (13, 3), (14, 0)])
def test_a_driver_as_new_as_the_toolkit_will_do(driver, machine):
    machine(cards=[Card(capability=(7, 0)), Card(capability=(7, 5))], driver=driver)
    assert gpu.problem() is None
    gpu.require()


def test_a_toolkit_that_is_not_a_package_is_not_judged(machine):
    machine(driver=(12, 0), toolkit=None)
    assert gpu.problem() is None


def test_devices_are_listed_with_memory_and_capability(machine, capsys):
    machine(cards=[Card(), Card(b"NVIDIA Y", (7, 5), None)])
    assert main(["devices"]) == 0
    told = capsys.readouterr().out
    assert "supports CUDA 13.0\n" in told
    assert "GPU 0     NVIDIA X: 80.0 GiB of memory, 60.0 of them free, compute capability 9.0\n" in told
    assert "GPU 1     NVIDIA Y: memory hidden, compute capability 7.5\n" in told
    assert "CUDA      can be used\n" in told


@pytest.mark.parametrize("how", [how for how, _ in PROBLEMS.values()], ids=PROBLEMS)
def test_devices_of_a_machine_without_a_usable_gpu(how, machine, capsys):
    machine(**how)
    assert main(["devices"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("CPU       ")
    assert " threads, vectors of " in told
    assert "\nCUDA      cannot be used: " in told


def test_packages_are_listed_and_the_missing_ones_named(machine, monkeypatch, capsys):
    machine()
    monkeypatch.setattr(provenance, "CUDA_PACKAGES", ("numpy", "no-such-package"))
    assert main(["devices"]) == 0
    assert f"packages  numpy {np.__version__}, no-such-package is missing\n" in capsys.readouterr().out


def test_numbers_of_the_driver(machine, monkeypatch, tmp_path):
    machine()
    told = tmp_path / "version"
    monkeypatch.setattr(gpu, "Path", lambda _: told)
    assert gpu.driver() == "supports CUDA 13.0"
    told.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n")
    assert gpu.driver() == "580.65.06, supports CUDA 13.0"
    told.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n")
    assert gpu.driver() == "580.65.06, supports CUDA 13.0"


def test_host_contexts_change_nothing():
    assert isinstance(cpu.on(None), nullcontext)
    assert isinstance(cpu.turn(None, ()), nullcontext)
