"""The compiler's door: one rounding in every fma, no silent float64, a cache that notices an edited formula."""

import gc
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types
from numba.core import codegen, config
from numba.core.errors import TypingError

import lookahead_nb
from lookahead_nb.kernels import compiler as jit
from lookahead_nb.kernels.cpu import step as kernels

INTEGER = {np.float32: np.uint32, np.float64: np.uint64}


def nearest(exact, width):
    """Round a nonzero Fraction to the nearest number of the width, ties to even, by integers alone."""
    info = np.finfo(width)
    magnitude, sign = abs(exact), -1 if exact < 0 else 1
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    exponent -= magnitude < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, info.minexp) - info.nmant)
    rounded = round(magnitude / unit) * unit  # Python rounds a Fraction half to even
    return width(sign * (np.inf if rounded > Fraction(float(info.max)) else float(rounded)))


def numbers_of_all_sizes(rng, n, width):
    """Random bit patterns, so that every exponent is as likely as any other, without inf and NaN."""
    bits = rng.integers(0, np.iinfo(INTEGER[width]).max, n, INTEGER[width], endpoint=True)
    numbers = bits.view(width)
    return np.where(np.isfinite(numbers), numbers, width(1))


def triples(rng, n, width):
    """Factors of all sizes with an addend that is unrelated, near the product, or its opposite but for a few digits."""
    a, b, c = (numbers_of_all_sizes(rng, n, width) for _ in range(3))
    a[: n // 2] = rng.standard_normal(n // 2)
    b[: n // 2] = rng.standard_normal(n // 2)
    with np.errstate(over="ignore", under="ignore"):
        c[: n // 4] = -a[: n // 4] * b[: n // 4]
        c[n // 4 : n // 2] = (a * b * width(2) ** rng.integers(-60, 60, n).astype(width))[n // 4 : n // 2]
    return a, b, np.where(np.isfinite(c), c, width(1))


def test_fma_rounds_once(rng, width):
    for a, b, c in zip(*triples(rng, 2000, width), strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        if exact:
            assert jit.fma(a, b, c).tobytes() == nearest(exact, width).tobytes(), (a, b, c)


def test_fma_is_not_fooled_by_rounding_twice():
    # a*b = 24929*673*2**-24 = 1 + 2**-24 lies half-way between 1 and the next float32. What breaks the tie is too small
    # for float64, where the sum would round back to the tie, and then to 1.
    a, b, tiny, zero = (np.float32(x) for x in (24929 * 2.0**-12, 673 * 2.0**-12, 2.0**-80, 0))
    assert jit.fma(a, b, tiny) == np.float32(1 + 2**-23)
    assert jit.fma(a, b, zero) == jit.fma(a, b, -tiny) == 1


SPECIAL = [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 5e-324, -1e-45, 3e38, -3e38, 1.7e308, -1.7e308]


def specials(width):
    with np.errstate(over="ignore"):
        values = np.array(SPECIAL, np.float64).astype(width)
    return [(a, b, c) for a in values for b in values for c in values]


@pytest.mark.jit
def test_fma_in_plain_python_has_the_bits_of_compiled_code(rng, width):
    compiled = njit(**jit.FLAGS)(lambda a, b, c: jit.fma(a, b, c))
    for a, b, c in [*zip(*triples(rng, 4000, width), strict=True), *specials(width)]:
        plain, machine = jit.fma(a, b, c), width(compiled(a, b, c))
        assert type(plain) is width
        assert plain.tobytes() == machine.tobytes() or (np.isnan(plain) and np.isnan(machine)), (a, b, c)


def test_fma_of_infinities_and_signed_zeros(width):
    inf, nan, zero, one = width(np.inf), width(np.nan), width(0), width(1)
    assert jit.fma(inf, one, one) == inf
    assert jit.fma(np.finfo(width).max, np.finfo(width).max, -inf) == -inf  # the product is finite before rounding
    assert all(np.isnan(jit.fma(*x)) for x in [(inf, zero, one), (inf, one, -inf), (nan, one, one), (one, one, nan)])
    assert np.signbit(jit.fma(-zero, one, -zero))
    assert not np.signbit(jit.fma(one, one, -one))


def test_square_root_keeps_the_width(width):
    for x, root in [(4, 2), (0, 0), (np.inf, np.inf)]:
        assert jit.sqrt(width(x)) == width(root)
        assert type(jit.sqrt(width(x))) is width
    assert np.isnan(jit.sqrt(width(-1)))
    assert np.isnan(jit.sqrt(width(np.nan)))
    assert np.signbit(jit.sqrt(width(-0.0)))


def test_like_takes_the_width_of_its_neighbour(width):
    assert type(jit.like(width(3), 1)) is width
    assert jit.like(width(3), 1) == 1


@pytest.mark.jit
def test_fma_of_mixed_widths_does_not_compile():
    mixed = njit(lambda a, b: jit.fma(a, a, b))
    with pytest.raises(TypingError):
        mixed(np.float32(1), 1.0)


def test_flags_are_the_two_that_change_no_bit():
    assert {"error_model": "numpy", "fastmath": {"contract"}} == jit.FLAGS


# ------------------------------------------------------------------------------------------------------- cache

STEP = """
import numpy as np
import lookahead_nb as lnb
from lookahead_nb.kernels.cpu import step
opt, params = lnb.SGD(lr=1.0), np.zeros(1)
opt.step(params, np.ones(1), opt.init(params), check_finite=False)
print(params[0], *step.step_loop("sgd", np.float64, False).stats.cache_hits.values())
"""


@pytest.mark.jit
def test_edited_formula_is_compiled_anew_and_an_unedited_one_is_not(tmp_path):
    package = shutil.copytree(Path(lookahead_nb.__file__).parent, tmp_path / "lookahead_nb",
                              ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def stepped():
        child = subprocess.run(
            [sys.executable, "-c", STEP], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert child.returncode == 0, child.stderr
        return child.stdout.split()

    assert stepped() == ["-1.0"]
    assert stepped() == ["-1.0", "1"]
    formulas = package / "kernels/formulas/optimizers.py"
    text = formulas.read_text(encoding="utf-8")
    formulas.write_text(
        text.replace("fma(-lr, fma(l2, p, g), p), s1", "fma(lr, fma(l2, p, g), p), s1"), encoding="utf-8"
    )
    assert stepped() == ["1.0"]
    assert not list(package.rglob("*.nbi"))  # NUMBA_CACHE_DIR is where the cache went


@pytest.mark.jit
def test_where_no_cache_can_be_written_loops_compile_in_memory(monkeypatch):
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "IPythonCacheLocator")  # finds no place for a file
    loop = jit.compiled(kernels.signatures(np.float64)[2])(kernels._sync)
    assert len(loop.signatures) == 1


# ------------------------------------------------------------------------------------------------------- first start


def loop_of(name):
    """A loop of its own, with a formula and an allocation inside."""
    square = jit.formula(jit.named(f"square_{name}", lambda x: jit.fma(x, x, x)))

    def loop(x):
        total = np.zeros(1)
        for i in range(x.size):
            total[0] += square(x[i])
        return total[0]

    return jit.named(name, loop)


@pytest.mark.jit
def test_only_the_loop_becomes_machine_code(monkeypatch):
    libraries, finish = [], codegen.JITCodeLibrary._finalize_specific
    monkeypatch.setattr(
        codegen.JITCodeLibrary, "_finalize_specific", lambda it: libraries.append(it.name) or finish(it)
    )
    loop = jit.compiled(types.float64(types.float64[::1]))(loop_of("loop_with_a_formula"))
    assert loop(np.array([2.0, 3.0])) == 18
    assert [name for name in libraries if name != "nrt"] == ["loop_with_a_formula"]  # nrt: Numba's memory, once
    outside = njit(loop_of("loop_outside"))  # shares what Numba compiled for the first one, such as np.zeros
    assert outside(np.array([2.0, 3.0])) == 18
    assert len(libraries) > 3  # compiled as Numba does it


@pytest.mark.jit
def test_a_terminal_is_told_once_what_takes_so_long(monkeypatch, capsys):
    monkeypatch.setattr(jit, "SILENT_SECONDS", 0)
    monkeypatch.setattr(jit, "_spent", [0.0])
    for name, is_terminal in (("silent", False), ("told", True), ("told_no_more", True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda is_terminal=is_terminal: is_terminal)
        jit.compiled(types.float64(types.float64[::1]))(loop_of(name))
    line = "lookahead_nb is compiling its kernels for this CPU (told, ...). This takes seconds and happens once.\n"
    assert capsys.readouterr().err == line


def test_ctrl_c_as_compiling_begins_leaves_garbage_collection_on(monkeypatch):
    disable = gc.disable

    def interrupted():
        disable()
        raise KeyboardInterrupt

    monkeypatch.setattr(gc, "disable", interrupted)
    with pytest.raises(KeyboardInterrupt), jit._without_garbage_collection():
        pass
    assert gc.isenabled()
