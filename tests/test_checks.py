"""Checks of arguments that many functions share: what is accepted, as what, and which value a refusal names."""

import subprocess
import sys
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from lookahead_nb import checks
from lookahead_nb.checks import real_numbers

BAD_NUMBERS = {
    "nan": ([[1.0, 2.0], [np.nan, np.inf]], ValueError, r"x\[1, 0\] must be a finite number in \[0, 5\), got nan"),
    "inf": ([1.0, np.inf], ValueError, r"x\[1\] must be .*, got inf"),
    "below": ([1.0, 5.0, -1e-300], ValueError, r"x\[1\] must be .*, got 5\.0"),
    "the end that is open": ([1, 2, 5, 5], ValueError, r"x\[2\] must be .*, got 5"),
    "alone": (np.float32(-1), ValueError, "x must be .*, got -1"),
    "text": ([1.0, "2"], TypeError, r"x\[0\] must be .*, got '1\.0'"),
    "bool": ([True, False], TypeError, r"x\[0\] must be .*, got True"),
    "complex": ([1j], TypeError, r"x\[0\] must be .*, got 1j"),
    "nothing": ([1.0, None], TypeError, r"x\[1\] must be .*, got None"),
    "decimal": ([1.0, Decimal(2)], TypeError, r"x\[1\] must be .*got Decimal"),
    "huge": ([1, 10**400], ValueError, r"x\[1\] must be .*, got 1000"),
}


@pytest.mark.parametrize("case", BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_the_first_number_outside_the_range_is_named(case):
    given, error, message = case
    with pytest.raises(error, match=message):
        real_numbers("x", given, 0, 5, open_high=True)


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float16", "float32", ">f8", "longdouble", object])
def test_numbers_become_float64_that_cannot_be_written(dtype):
    given = np.array([[0, 1], [4, 5]], dtype)
    numbers = real_numbers("x", given, 0, 5)
    assert (numbers.dtype, numbers.tolist(), numbers.flags.writeable) == (np.float64, [[0.0, 1.0], [4.0, 5.0]], False)
    given[0, 0] = 3  # what is kept is a copy
    assert numbers[0, 0] == 0.0


def test_an_end_is_compared_in_full_precision():
    assert real_numbers("x", Fraction(1, 10), 0, 0.1) == 0.1
    with pytest.raises(ValueError, match="x must be"):  # its value is 0.10000000149
        real_numbers("x", np.float32(0.1), 0, 0.1)


def test_minus_zero_becomes_zero():
    assert not np.signbit(real_numbers("x", [-0.0, 0.0], 0)).any()


def test_numbers_of_an_array_are_checked_together(monkeypatch):
    def alone(*_, **__):
        raise AssertionError("one number was checked by itself")

    monkeypatch.setattr(checks, "real_number", alone)
    assert real_numbers("x", np.eye(300), 0, 1).shape == (300, 300)


INTERRUPTED = """
import os, signal, sys
import numpy as np
import lookahead_nb as lnb

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas.core.frame":  # in the middle of pandas
            os.kill(os.getpid(), signal.SIGINT)

data = lnb.datasets.from_arrays(np.random.default_rng(0).normal(0, 1, (60, 4)), np.arange(60) % 2)
train = lambda: lnb.train(lnb.MLP((4, 3, 2)), data, lnb.AdamW(0.1), steps=2, batch_size=8)
assert "pandas" not in sys.modules
sys.meta_path.insert(0, Interrupt())
handler = signal.getsignal(signal.SIGINT)
try:
    train()
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGINT) is handler
print(len(train().history))
"""


def test_ctrl_c_while_pandas_is_imported_leaves_it_whole():
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=300, check=False
    )
    assert (ended.stdout, ended.stderr) == ("interrupted\n2\n", "")


INTERRUPTED_IMPORT = """
import importlib, os, signal, sys
import lookahead_nb

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {inside!r}:
            sys.meta_path.remove(self)  # Ctrl-C comes once
            os.kill(os.getpid(), signal.SIGINT)

assert {inside!r} not in sys.modules
sys.meta_path.insert(0, Interrupt())
try:
    importlib.import_module({module!r})
except KeyboardInterrupt:
    print({inside!r} in sys.modules)
importlib.import_module({module!r})
"""


@pytest.mark.parametrize(
    ("module", "inside"),
    [
        ("lookahead_nb.claims", "pandas.core.frame"),
        ("lookahead_nb.claims.inference", "scipy.special._orthogonal"),
        ("lookahead_nb.theory.predictions", "pandas.core.frame"),
        ("lookahead_nb.figures.catalogue", "matplotlib.axes._axes"),
    ],
)
def test_ctrl_c_while_a_package_imports_pandas_comes_after_it(module, inside):
    """Inside the C code of pandas it would be lost, or leave half of it."""
    code = INTERRUPTED_IMPORT.format(module=module, inside=inside)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (ended.stdout, ended.stderr) == ("True\n", "")
