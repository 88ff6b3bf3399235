"""The compiler's door: one rounding in every fma, no silent float64, a cache that notices an edited formula."""

import errno
import gc
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numba import njit, types
from numba.core import caching, codegen, config
from numba.core.errors import TypingError

import lookahead_nb
from lookahead_nb.kernels import compiler as jit
from lookahead_nb.kernels import formulas
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
SIGN = "fma(-lr, fma(l2, p, g), p), s1", "fma(lr, fma(l2, p, g), p), s1"  # of a step, right and wrong
FORMULAS = Path("kernels/formulas/optimizers.py")


def copy_of_package(folder):
    source = Path(lookahead_nb.__file__).parent
    return Path(shutil.copytree(source, folder / "lookahead_nb", ignore=shutil.ignore_patterns("__pycache__")))


def stepped(path, **environment):
    """What a new process prints after one step from 0 along -1, and its warnings. path : where the package lies."""
    environment = os.environ | {"PYTHONPATH": str(path)} | environment
    child = subprocess.run(
        [sys.executable, "-c", STEP], cwd=path.parent, env=environment, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    return child.stdout.split(), child.stderr


@pytest.mark.jit
def test_edited_formula_is_compiled_anew_and_an_unedited_one_is_not(tmp_path):
    package, cache = copy_of_package(tmp_path), str(tmp_path / "cache")
    assert stepped(tmp_path, NUMBA_CACHE_DIR=cache) == (["-1.0"], "")
    assert stepped(tmp_path, NUMBA_CACHE_DIR=cache) == (["-1.0", "1"], "")
    text = (package / FORMULAS).read_text(encoding="utf-8")
    (package / FORMULAS).write_text(text.replace(*SIGN), encoding="utf-8")
    assert stepped(tmp_path, NUMBA_CACHE_DIR=cache) == (["1.0"], "")
    assert not list(package.rglob("*.nbi"))  # NUMBA_CACHE_DIR is where the cache went


def zipped(package, place, change=("", "")):
    """Pack a package into a .zip, its formulas changed, and every file dated alike."""
    with zipfile.ZipFile(place, "w") as archive:
        for file in sorted(package.rglob("*")):
            if file.is_file():
                name = file.relative_to(package.parent).as_posix()
                content = file.read_bytes()
                if name.endswith(FORMULAS.as_posix()):
                    content = content.replace(*(text.encode() for text in change))
                archive.writestr(zipfile.ZipInfo(name), content)


@pytest.mark.jit
def test_a_replaced_zip_is_compiled_anew_and_an_unchanged_one_is_not(tmp_path):
    package, place, cache = copy_of_package(tmp_path / "source"), tmp_path / "package.zip", str(tmp_path / "cache")
    zipped(package, place)
    assert stepped(place, NUMBA_CACHE_DIR=cache) == (["-1.0"], "")
    assert stepped(place, NUMBA_CACHE_DIR=cache) == (["-1.0", "1"], "")
    zipped(package, place, SIGN)
    assert stepped(place, NUMBA_CACHE_DIR=cache) == (["1.0"], "")


@pytest.mark.jit
def test_sources_that_cannot_be_read_are_not_cached(monkeypatch, tmp_path):
    monkeypatch.setattr(jit, "_sources", lambda *_: iter([(jit.__name__, None)]))
    assert jit._source_stamp() is None
    monkeypatch.setattr(jit, "_sources", lambda *_: iter([]))  # a loader that lists no modules
    assert jit._source_stamp() is None
    monkeypatch.setattr(jit, "_STAMP", None)
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert synced_once() == [1.5]
    assert not list(tmp_path.rglob("*"))


def test_only_loops_of_the_package_are_cacheable():
    rule = jit.formula(lambda p, g, s1, s2, c: (p - c[0] * g, s1, s2))
    assert jit._is_cacheable(kernels._plain(formulas.RULES["sgd"][0], 0))
    assert not jit._is_cacheable(kernels._plain(rule, 0))
    assert not jit._is_cacheable(test_only_loops_of_the_package_are_cacheable)


@pytest.mark.jit
def test_a_loop_around_a_formula_from_elsewhere_is_not_cached(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    rule = jit.formula(lambda p, g, s1, s2, c: (p - c[0] * g, s1, s2))
    assert rule.__module__ == __name__
    loop = jit.compiled(kernels.signatures(np.float64)[0])(kernels._plain(rule, 0))
    params = np.ones(1)
    loop(params, np.ones(1), *np.zeros((2, 0)), np.full(8, 0.5))
    assert params.tolist() == [0.5]
    assert not list(tmp_path.rglob("*"))


def synced_once():
    """Compile a loop and return the slow weight 1 after half a step to 2."""
    loop = jit.compiled(kernels.signatures(np.float64)[2])(kernels._sync)
    slow, none = np.ones(1), np.zeros(0)
    loop(np.full(1, 2.0), none, none, slow, none, none, 0.5, 0.5, False, 0)
    return slow.tolist()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A cache folder that holds the loop of `synced_once`; nothing was reported yet."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "_reported", threading.Event())
    assert synced_once() == [1.5]
    return tmp_path / "cache"


def flipped(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


DAMAGES = {
    "empty": lambda content: b"",
    "cut in the stamp": lambda content: content[:20],
    "cut in the checksum": lambda content: content[:50],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "one bit": flipped,
    "longer": lambda content: content + b"\0",
}


@pytest.mark.jit
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_file_is_replaced_with_one_warning(cache, damage):
    [file] = cache.rglob("*.nbc")
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    with pytest.warns(RuntimeWarning, match=f"{file.name} is damaged and was compiled again") as told:
        assert synced_once() == [1.5]
    assert len(told) == 1
    assert synced_once() == [1.5]  # warns no more, since it is whole
    jit._reported.clear()
    assert synced_once() == [1.5]


def test_only_what_was_written_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "_problems", [])
    files = jit._CacheFiles(str(tmp_path), "loop", b"s" * 32)
    files.save("float64", {"code": 1})
    assert files.load("float64") == {"code": 1}
    assert files.load("float32") is None
    assert jit._CacheFiles(str(tmp_path), "loop", b"t" * 32).load("float64") is None
    assert jit._problems == []
    [file] = tmp_path.glob("*.nbc")
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert files.load("float64") is None
        file.write_bytes(whole[:place])
        assert files.load("float64") is None


def test_two_processes_that_write_at_once_never_read_the_code_of_the_other(tmp_path):
    """Both start with an empty folder; whatever order their files arrive in, a key gives its own code or none."""
    keys, written = ("float32", "float64"), []
    for key in keys:
        folder = tmp_path / key
        folder.mkdir()
        jit._CacheFiles(str(folder), "loop", b"s" * 32).save(key, {"code": key})
        written += [(file.name, file.read_bytes()) for file in folder.iterdir()]
    for order in itertools.permutations(written):
        folder = tmp_path / "both"
        folder.mkdir()
        for name, content in order:
            (folder / name).write_bytes(content)
        files = jit._CacheFiles(str(folder), "loop", b"s" * 32)
        assert all(files.load(key) in (None, {"code": key}) for key in keys)
        shutil.rmtree(folder)


def test_the_stamp_follows_every_source_and_switch(monkeypatch):
    sources = dict(jit._sources(sys.modules[jit.__package__].__path__, f"{jit.__package__}."))
    assert {"compiler", "formulas", "formulas.optimizers", "cpu.step", "gpu.step"} <= {
        name.removeprefix(f"{jit.__package__}.") for name in sources
    }
    stamps = {jit._STAMP}
    for name in sources:
        changed = sources | {name: sources[name] + b"#"}
        monkeypatch.setattr(jit, "_sources", lambda *_, changed=changed: iter(changed.items()))
        stamps.add(jit._source_stamp())
    monkeypatch.setattr(config, "CPU_NAME", "another")
    stamps.add(jit._source_stamp())
    assert len(stamps) == len(sources) + 2


@pytest.mark.jit
def test_a_file_of_other_sources_is_replaced_in_silence(cache):
    for file in cache.rglob("*.nbc"):
        file.write_bytes(bytes(32) + file.read_bytes()[32:])
    assert synced_once() == [1.5]
    assert all(file.read_bytes()[:32] == jit._STAMP for file in cache.rglob("*.nbc"))


@pytest.mark.jit
def test_a_full_cache_folder_is_one_warning(cache, monkeypatch):
    for file in cache.rglob("*.nbc"):
        file.unlink()

    def full(self, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    with monkeypatch.context() as disk:
        disk.setattr(caching.IndexDataCacheFile, "_open_for_write", full)
        with pytest.warns(
            RuntimeWarning, match=r"cannot be written \(No space left on device\).*NUMBA_CACHE_DIR"
        ) as told:
            assert synced_once() == [1.5]
        assert synced_once() == [1.5]
    assert len(told) == 1
    assert synced_once() == [1.5]
    assert len(list(cache.rglob("*.nbc"))) == 1


@pytest.mark.jit
def test_a_cache_that_cannot_be_read_is_one_warning(cache):
    [file] = cache.rglob("*.nbc")
    file.unlink()
    file.mkdir()
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert synced_once() == [1.5]


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Only folders below the temporary one can be written; returned is that one."""
    ensure = caching._CacheLocator.ensure_cache_path

    def only_there(locator):
        if not locator.get_cache_path().startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), locator.get_cache_path())
        ensure(locator)

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", only_there)
    monkeypatch.setattr(config, "CACHE_DIR", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(jit, "_reported", threading.Event())
    return tmp_path


@pytest.mark.jit
def test_where_no_other_folder_can_be_written_the_cache_is_temporary(nowhere):
    with pytest.warns(
        RuntimeWarning, match=r"NUMBA_CACHE_DIR, /nowhere, cannot be written .*: compiled code goes to "
    ) as told:
        assert synced_once() == [1.5]
    assert str(nowhere) in str(told[0].message)
    [folder] = nowhere.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.rglob("*.nbc"))) == 1
    loop = jit.compiled(kernels.signatures(np.float64)[2])(kernels._sync)
    assert list(loop.stats.cache_hits.values()) == [1]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_the_temporary_folder_is_the_users_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    place = jit._InTemporaryFolder(kernels._sync, kernels.__file__)
    place.ensure_cache_path()
    [folder] = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    place.ensure_cache_path()
    folder.chmod(0o720)
    with pytest.raises(PermissionError):
        place.ensure_cache_path()


@pytest.mark.jit
@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
@pytest.mark.parametrize("foreign", ["open to others", "link", "of another user"])
def test_a_temporary_folder_that_others_may_write_is_not_used(nowhere, foreign, monkeypatch):
    folder = nowhere / f"lookahead_nb-{os.getuid()}"
    if foreign == "link":
        (nowhere / "elsewhere").mkdir(0o700)
        folder.symlink_to(nowhere / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777 if foreign == "open to others" else 0o700)
    if foreign == "of another user":
        theirs = os.getuid() + 1
        folder = folder.rename(nowhere / f"lookahead_nb-{theirs}")
        monkeypatch.setattr(os, "getuid", lambda: theirs)
    with pytest.warns(RuntimeWarning, match="no folder for compiled code can be written.*NUMBA_CACHE_DIR"):
        assert synced_once() == [1.5]  # compiled in memory
    assert synced_once() == [1.5]
    assert not list(nowhere.rglob("*.nbc"))


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
