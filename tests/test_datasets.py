"""Data sets: splits and scaling for good, the user's own arrays, downloads that are checked or refused."""

import copy
import gzip
import hashlib
import os
import pickle
import re
import struct
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

import lookahead_nb as lnb
from lookahead_nb import datasets
from lookahead_nb.datasets import NAMES, from_arrays, load, stratified_rows

ROOT = Path(__file__).resolve().parent.parent
LOCAL = [name for name in NAMES if name != "fashion_mnist"]
PARTS = ("train", "validation", "test")
ARRAYS = [f"{kind}_{part}" for part in PARTS for kind in "Xy"]

FINGERPRINTS = {
    "digits": "cc66d31fe10bc78d71ca2c126a7d51e7c451c3dabed1803425af19833fea92a5",
    "breast_cancer": "ffc55345e6f001bd4fd3d5e1ce3b5743eee4d9d28d710079900c4462c6480101",
    "wine": "e8eb4ee7913bb5e9e4cbb1166debd01d161a5db453cd6e3581705883d473ebac",
    "iris": "9d0d4a5ef177370bd6a98bbf4bf9f5188b6bbbad002a2ef7477ac7a44aabde05",
    "gaussian_blobs": "79fc6668831d5c0fdade31a2b0f4042b0c8ffdb116c1f71b2699dc85866026eb",
    "checkerboard": "6649acb009af42f05c7c048d6b5d8178ef9d839e51f399d2f0f7387e4908c985",
    "logistic_teacher": "360e6d8a5aa2d036d651a6123d394cddfde5e3fc79a8f0f3ff80a01e05599081",
    "exclusive_or": "f6f02a107f3aec6dd313ce302b0b5ca59eb75dfce2a3444bd503ebc409de6d7a",
}


def numbered(y, split_seed=0):
    """A data set of one column that numbers its rows, and the row numbers of its three parts."""
    data = from_arrays(np.arange(len(y))[:, None], y, split_seed)
    column = np.concatenate([data.X_train, data.X_validation, data.X_test])[:, 0]
    ranks = np.argsort(np.argsort(column))
    return data, np.split(ranks, np.cumsum([len(data.y_train), len(data.y_validation)]))


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and not re.search(r"\.( |$)", text)


# ------------------------------------------------------------------------------------------------------------- splits


def test_split_is_fixed_for_good():
    _, rows = numbered(np.arange(20) % 3, split_seed=7)
    assert [part.tolist() for part in rows] == [
        [17, 3, 16, 2, 8, 13, 4, 6, 10, 7, 18, 5, 9, 12],
        [14, 19, 15],
        [1, 11, 0],
    ]


@pytest.mark.parametrize("name", LOCAL)
def test_data_are_fixed_for_good(name):
    assert load(name).fingerprint == load(name, split_seed=0).fingerprint == FINGERPRINTS[name]


@pytest.mark.parametrize("name", LOCAL)
def test_arrays_are_what_models_expect(name):
    data = load(name, split_seed=1)
    assert data.name == name
    assert data.split_seed == 1
    assert data.official_test is False
    assert data.source
    for part in PARTS:
        X, y = getattr(data, f"X_{part}"), getattr(data, f"y_{part}")
        assert X.shape == (len(y), data.n_features)
        assert X.dtype == np.float32
        assert y.dtype == np.int64
        assert X.flags.c_contiguous
        assert set(y) == set(range(data.n_classes))
    assert data.fingerprint != load(name, split_seed=2).fingerprint


def test_parts_are_disjoint_and_complete():
    y = np.arange(101) % 4
    data, rows = numbered(y, split_seed=3)
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(101))
    for part, there in zip(PARTS, rows, strict=True):
        np.testing.assert_array_equal(getattr(data, f"y_{part}"), y[there])
    assert any((there != other).any() for there, other in zip(rows, numbered(y, split_seed=4)[1], strict=True))


@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=6).filter(lambda sizes: max(sizes) > 2), st.integers(0, 2**63 - 1)
)
@settings(deadline=None, max_examples=50)
def test_every_class_is_shared_out_in_proportion(sizes, split_seed):
    data, _ = numbered(np.repeat(np.arange(len(sizes)), sizes), split_seed)
    counts = [np.bincount(getattr(data, f"y_{part}"), minlength=len(sizes)) for part in PARTS]
    for size, (train, validation, test) in zip(sizes, np.transpose(counts), strict=True):
        assert abs(train - 0.6 * size) <= 1
        assert abs(validation - 0.2 * size) <= 1
        assert abs(test - 0.2 * size) <= 1
        assert train >= 1
        assert size < 3 or min(validation, test) >= 1


def test_a_round_class_is_shared_out_exactly():
    data = load("iris")
    assert [np.bincount(getattr(data, f"y_{part}")).tolist() for part in PARTS] == [[30] * 3, [10] * 3, [10] * 3]


# ------------------------------------------------------------------------------------------------------------ scaling


def test_scaling_is_fitted_on_the_training_part_alone():
    rng = np.random.default_rng(0)
    X, y = rng.normal(5, 3, (100, 4)), np.arange(100) % 2
    data, rows = from_arrays(X, y), numbered(y)[1]
    mean, std = X[rows[0]].mean(axis=0), X[rows[0]].std(axis=0)
    for part, there in zip(PARTS, rows, strict=True):
        np.testing.assert_allclose(getattr(data, f"X_{part}"), (X[there] - mean) / std, rtol=1e-6, atol=1e-7)
    X[np.concatenate(rows[1:])] *= 1000
    np.testing.assert_array_equal(from_arrays(X, y).X_train, data.X_train)


@pytest.mark.parametrize("name", LOCAL)
def test_training_columns_are_standard(name):
    X = load(name).X_train.astype(np.float64)
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-6)
    std = X.std(axis=0)
    assert ((abs(std - 1) < 1e-6) | (std == 0)).all()


def test_a_constant_column_becomes_zero():
    X = np.column_stack([np.full(10, 0.1), np.arange(10)])
    data = from_arrays(X, np.arange(10) % 2)
    for part in PARTS:
        assert (getattr(data, f"X_{part}")[:, 0] == 0).all()


# ------------------------------------------------------------------------------------------------------------- subset


def test_subset_takes_stratified_training_rows():
    data = load("digits")
    small = data.subset(200, seed=0)
    assert small.X_train.shape == (200, 64)
    assert np.abs(np.bincount(small.y_train) - 200 * np.bincount(data.y_train) / len(data.y_train)).max() <= 1
    there = {row.tobytes() for row in data.X_train}
    assert all(row.tobytes() in there for row in small.X_train)
    assert small.X_validation is data.X_validation
    assert small.X_test is data.X_test
    assert small.n_classes == 10
    assert not small.X_train.flags.writeable
    assert small.fingerprint == data.subset(200, seed=0).fingerprint
    assert len({data.fingerprint, small.fingerprint, data.subset(200, seed=1).fingerprint}) == 3
    assert data.subset(len(data.y_train), seed=5).fingerprint == data.fingerprint


def test_subsets_of_one_seed_nest():
    y = np.repeat([0, 1, 2], [1, 30, 69])
    rows = [set(stratified_rows(y, n, seed=2)) for n in range(1, 101)]
    assert [len(there) for there in rows] == list(range(1, 101))
    assert all(smaller < larger for smaller, larger in pairwise(rows))
    assert all(set(y[list(there)]) == {0, 1, 2} for there in rows[2:])


def test_stratified_rows_are_fixed_for_good():
    assert stratified_rows(np.arange(20) % 3, 8, seed=7).tolist() == [3, 4, 6, 8, 10, 11, 12, 19]


@pytest.mark.parametrize(
    ("n", "seed", "error", "message"),
    [
        (0, 0, ValueError, "n must be a whole number from 1 to 90, not 0"),
        (91, 0, ValueError, "n must be a whole number from 1 to 90, not 91"),
        (9.0, 0, TypeError, "n must be a whole number from 1 to 90, not 9.0"),
        (9, -1, ValueError, f"seed must be a whole number from 0 to {2**63 - 1}, not -1"),
    ],
)
def test_subset_refuses(n, seed, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        load("iris").subset(n, seed)


# --------------------------------------------------------------------------------------------------- the user's arrays

Y = [0, 1] * 5
X = np.arange(20.0).reshape(10, 2)


def with_value(value):
    changed = X.copy()
    changed[3, 1] = value
    return changed


def test_anything_numpy_takes_gives_the_same():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    table, y = rng.normal(size=(500, 3)), np.arange(500) % 2
    fingerprint = from_arrays(table, y).fingerprint
    frame, series = pandas.DataFrame(table, index=range(7, 507)), pandas.Series(y)
    for other, labels in [(np.asfortranarray(table), y.astype(bool)), (table.tolist(), y.tolist()), (frame, series)]:
        assert from_arrays(other, labels).fingerprint == fingerprint


def test_the_arrays_of_the_user_are_left_alone():
    mine, y = X.copy(), np.array(Y)
    data = from_arrays(mine, y)
    assert mine.flags.writeable
    assert y.flags.writeable
    np.testing.assert_array_equal(mine, X)
    assert not any(np.shares_memory(getattr(data, name), array) for name in ARRAYS for array in (mine, y))


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (
            with_value(np.nan),
            Y,
            ValueError,
            "X must hold finite numbers below 1e+100 in size, not nan at row 3, column 1",
        ),
        (
            with_value(-np.inf),
            Y,
            ValueError,
            "X must hold finite numbers below 1e+100 in size, not -inf at row 3, column 1",
        ),
        (
            with_value(1e200),
            Y,
            ValueError,
            "X must hold finite numbers below 1e+100 in size, not 1e+200 at row 3, column 1",
        ),
        (X[:, 0], Y, ValueError, "X must be a table of rows and columns, not of shape (10,)"),
        (X[:, :0], Y, ValueError, "X must be a table of rows and columns, not of shape (10, 0)"),
        (X[:0], np.zeros(0, int), ValueError, "X must be a table of rows and columns, not of shape (0, 2)"),
        (X.astype(str), Y, TypeError, "X must hold numbers, not <U32"),
        (X.astype(object), Y, TypeError, "X must hold numbers, not object"),
        (X * 1j, Y, TypeError, "X must hold numbers, not complex128"),
        ([[1, 2], [3]], Y, ValueError, "X must be a rectangular array of numbers, not list"),
        (np.ma.masked_array(X), Y, TypeError, "X must be a plain array, not a masked one, whose mask would be lost"),
        (X, Y[1:], ValueError, "y must have one label for each of the 10 rows of X, not 9"),
        (X, [Y], ValueError, "y must have one dimension, not shape (1, 10)"),
        (X, np.array(Y, float), TypeError, "y must have an integer or bool dtype, not float64"),
        (X, list("ab" * 5), TypeError, "y must have an integer or bool dtype, not <U1"),
        *(
            (
                X,
                y,
                ValueError,
                f"y must hold every label 0, 1, ... up to its largest, at least two of them, not [{shown}]",
            )
            for y, shown in [
                (np.zeros(10, int), "0"),
                ([1, 2] * 5, "1, 2"),
                ([-1, 0] * 5, "-1, 0"),
                ([0, 2] * 5, "0, 2"),
                ([0, 10**18] * 5, "0, 1000000000000000000"),
                (range(1, 11), "1, 2, 3, 4, 5, 6, 7, 8, ..."),
            ]
        ),
        (
            X,
            np.arange(10) // 2,
            ValueError,
            "y must hold some label at least three times to be split in three, not 2 times",
        ),
    ],
)
def test_from_arrays_refuses(X, y, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        from_arrays(X, y)


def test_what_overflows_float32_is_refused():
    y = np.arange(10) % 2
    row = numbered(y)[1][2][0]
    X = np.zeros((10, 2))
    X[row, 1] = 1e50
    with pytest.raises(ValueError, match=rf"^X must fit float32 .* row {row}, column 1 does not$"):
        from_arrays(X, y)


def test_the_smallest_data_have_four_rows():
    data = from_arrays([[0], [1], [2], [3]], [0, 0, 0, 1])
    assert [len(getattr(data, f"y_{part}")) for part in PARTS] == [2, 1, 1]


@pytest.mark.parametrize(
    ("split_seed", "error"),
    [(-1, ValueError), (2**63, ValueError), (0.0, TypeError), (True, TypeError), (None, TypeError)],
)
@pytest.mark.parametrize("make", [lambda seed: load("iris", seed), lambda seed: from_arrays(X, Y, seed)])
def test_split_seed_is_a_whole_number(make, split_seed, error):
    with pytest.raises(error, match=r"^split_seed must be a whole number from 0 to "):
        make(split_seed)


@pytest.mark.parametrize("name", ["mnist", "", None, ["digits"]])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=r"^name must be one of ") as error:
        load(name)
    assert all(repr(known) in str(error.value) for known in NAMES)


# ------------------------------------------------------------------------------------------------------ the data frozen


@pytest.mark.parametrize("made", [lambda x: x, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_arrays_are_read_only(made):
    data = made(load("iris"))
    for name in ARRAYS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(data, name)[0] = 0
    with pytest.raises(AttributeError):
        data.name = "other"
    assert data.fingerprint == FINGERPRINTS["iris"]


def test_import_is_light():
    heavy = ["pandas", "pooch", "requests", "scipy.special", "sklearn"]
    code = f"import sys, lookahead_nb.datasets; print(*(name for name in {heavy} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert loaded.split() == []


# ---------------------------------------------------------------------------------------------------------- synthetic


def test_gaussian_blobs_can_be_told_apart_as_stated():
    X, y = datasets._gaussian_blobs()
    best, _ = quad(lambda u: norm.pdf(u - 3) * norm.cdf(u) ** 9, -8, 12)
    assert round(best, 3) == 0.902
    assert abs((X[:, :10].argmax(axis=1) == y).mean() - best) < 0.015


def test_checkerboard_can_be_told_apart_as_stated():
    X, y = datasets._checkerboard()
    assert ((X >= 0) & (X < 4)).all()
    assert abs((np.floor(X).sum(axis=1) % 2 == y).mean() - 0.9) < 0.015


def test_logistic_teacher_can_be_learned_as_stated():
    X, y = datasets._logistic_teacher()
    covariance = 0.9 ** np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    assert round(np.linalg.cond(covariance)) == 212
    np.testing.assert_allclose(np.cov(X.T), covariance, atol=0.08)
    teacher = 3.0 * (-1) ** np.arange(20)
    width = np.sqrt(teacher @ covariance @ teacher)
    best = 2 * quad(lambda u: norm.pdf(u) / (1 + np.exp(-width * u)), 0, 10)[0]
    assert round(best, 2) == 0.86
    assert abs(((X @ teacher > 0) == y).mean() - best) < 0.015


def test_exclusive_or_can_be_told_apart_as_stated():
    X, y = datasets._exclusive_or()
    best = norm.cdf(1 / 0.3) ** 2 + norm.sf(1 / 0.3) ** 2
    assert round(best, 3) == 0.999
    assert abs(((X[:, 0] > 0) != (X[:, 1] > 0)).astype(int) - y).mean() < 0.005
    corners = np.unique((X > 0).astype(int), axis=0, return_counts=True)[1]
    assert (np.abs(corners / 5000 - 0.25) < 0.03).all()
    np.testing.assert_allclose((np.abs(X) - 1).std(0), 0.3, atol=0.015)


@pytest.mark.jit
def test_a_small_network_gets_stuck_on_exclusive_or_at_the_stated_losses():
    opts, steps = [lnb.AdamW(0.03, weight_decay=0.0)], 1500
    rows = lnb.sweep(lnb.MLP((2, 2, 2)), load("exclusive_or"), opts, seeds=10, steps=steps, eval_at=[], progress=False)
    losses = rows[rows.step == steps].train_loss.to_numpy()
    stuck = losses[losses > 0.1]
    levels = np.array([np.log(2) / 2, 0.75 * (np.log(3) - 2 / 3 * np.log(2))])
    assert 2 <= len(stuck) <= 9
    assert (np.abs(stuck[:, None] - levels).min(axis=1) < 0.03).all()  # clusters of one split are not equally large
    assert (losses[losses <= 0.1] < 0.06).all()


# ------------------------------------------------------------------------------------------------------------ bundled


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"^digits needs scikit-learn: install the extra reproduce") as error:
        load("digits")
    assert one_sentence(error)


def test_changed_bundled_data_are_refused(monkeypatch):
    monkeypatch.setitem(datasets._BUNDLED, "iris", "0" * 64)
    with pytest.raises(OSError, match=r"^iris differs in this scikit-learn") as error:
        load("iris")
    assert one_sentence(error)


# ------------------------------------------------------------------------------------------ Fashion-MNIST, as published


@pytest.fixture(scope="module")
def fashion():
    if not os.environ.get("LOOKAHEAD_NB_DATA"):
        pytest.skip("needs LOOKAHEAD_NB_DATA, a folder that holds fashion-mnist/")
    return load("fashion_mnist")


@pytest.mark.jit
def test_fashion_mnist_is_fixed_for_good(fashion):
    assert fashion.fingerprint == "d6b33e2a315df32b8d5992937242d0ee316c08b9ac597af512942b22af3b1143"
    assert fashion.official_test is True
    assert [getattr(fashion, f"X_{part}").shape for part in PARTS] == [(50_000, 784), (10_000, 784), (10_000, 784)]
    assert [np.bincount(getattr(fashion, f"y_{part}")).tolist() for part in PARTS] == [
        [n] * 10 for n in (5000, 1000, 1000)
    ]
    assert abs(fashion.X_train.mean(dtype=np.float64)) < 1e-6
    assert abs(fashion.X_train.std(dtype=np.float64) - 1) < 1e-6


# ----------------------------------------------------------------------------- Fashion-MNIST in small, and how it fails


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def publish(monkeypatch, files):
    monkeypatch.setattr(
        datasets, "_FASHION_FILES", {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    )


@pytest.fixture
def files(monkeypatch):
    """Four small files in place of the published ones, with their sums registered."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (n, 4, 3), np.uint8) for n in (60, 20)]
    labels = [(np.arange(n) % 10).astype(np.uint8) for n in (60, 20)]
    arrays = [images[0], labels[0], images[1], labels[1]]
    files = {name: idx(array) for name, array in zip(datasets._FASHION_FILES, arrays, strict=True)}
    publish(monkeypatch, files)
    return files


@pytest.fixture
def mirror(tmp_path, monkeypatch, files):
    folder = tmp_path / "mirror" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    monkeypatch.setenv("LOOKAHEAD_NB_DATA", str(folder.parent))
    monkeypatch.setitem(sys.modules, "pooch", None)  # nothing is downloaded
    return folder


def test_mirror_is_read_split_and_scaled(mirror, files):
    data, other = load("fashion_mnist"), load("fashion_mnist", split_seed=1)
    assert [getattr(data, f"X_{part}").shape for part in PARTS] == [(50, 12), (10, 12), (20, 12)]
    assert np.bincount(data.y_validation).tolist() == [1] * 10
    np.testing.assert_array_equal(data.y_test, np.arange(20) % 10)
    assert data.fingerprint != other.fingerprint
    np.testing.assert_array_equal(data.y_test, other.y_test)
    pixels = [np.frombuffer(gzip.decompress(files[name])[16:], np.uint8) for name in list(files)[::2]]
    scaled = np.concatenate([data.X_train, data.X_validation]).astype(np.float64)
    assert np.corrcoef(np.sort(scaled.ravel()), np.sort(pixels[0]))[0, 1] > 1 - 1e-12
    assert abs(data.X_train.mean(dtype=np.float64)) < 1e-7
    assert abs(data.X_train.std(dtype=np.float64) - 1) < 1e-7
    slope, shift = np.polyfit(pixels[1], data.X_test.ravel().astype(np.float64), 1)
    np.testing.assert_allclose(data.X_test.ravel(), slope * pixels[1] + shift, atol=1e-6)


def test_a_missing_file_of_the_mirror_is_named(mirror):
    path = mirror / "train-labels-idx1-ubyte.gz"
    path.unlink()
    with pytest.raises(
        OSError, match=f"^{re.escape(str(path))} is missing: put https://.* or unset LOOKAHEAD_NB_DATA"
    ) as error:
        load("fashion_mnist")
    assert one_sentence(error)
    assert not path.exists()


def test_a_different_file_of_the_mirror_is_refused_and_left_alone(mirror):
    path = mirror / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(b"tampered")
    with pytest.raises(OSError, match=f"^{re.escape(str(path))} is not the published file .* put https://") as error:
        load("fashion_mnist")
    assert one_sentence(error)
    assert path.read_bytes() == b"tampered"


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-9],
        lambda packed: packed[9:],
        lambda packed: gzip.compress(gzip.decompress(packed)[:3]),
        lambda packed: gzip.compress(b"\0\0\x0d" + gzip.decompress(packed)[3:]),
        lambda packed: gzip.compress(b"\0\0\x08\x01" + gzip.decompress(packed)[4:]),
        lambda packed: gzip.compress(gzip.decompress(packed)[:-1]),
        lambda packed: gzip.compress(gzip.decompress(packed) + b"\0"),
    ],
)
def test_a_malformed_idx_file_is_refused(mirror, files, monkeypatch, damage):
    name = "train-images-idx3-ubyte.gz"
    files[name] = damage(files[name])
    (mirror / name).write_bytes(files[name])
    publish(monkeypatch, files)
    with pytest.raises(OSError, match=f"^{re.escape(name)} is not ") as error:
        load("fashion_mnist")
    assert one_sentence(error)


def test_without_pooch_the_extra_is_named(files, monkeypatch):
    monkeypatch.delenv("LOOKAHEAD_NB_DATA", raising=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match=r"^fashion_mnist needs pooch: install the extra reproduce") as error:
        load("fashion_mnist")
    assert one_sentence(error)


@pytest.fixture
def cache(tmp_path, monkeypatch, files):
    """An empty cache folder, no mirror, and an address on this machine where nobody listens."""
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("LOOKAHEAD_NB_DATA", raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / project)
    monkeypatch.setattr(datasets, "_FASHION_URL", "http://127.0.0.1:9/")
    return tmp_path / "lookahead-nb" / "fashion-mnist"


@pytest.fixture
def server(cache, files, monkeypatch):
    """A server of the small files; yields the list of what was asked of it."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.strip("/")
            asked.append(name)
            status, body, length = server.answer(files[name])
            self.send_response(status)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.answer = asked, lambda data: (200, data, len(data))
        monkeypatch.setattr(datasets, "_FASHION_URL", f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def left_in(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_files_are_downloaded_once(server, cache, files):
    first = load("fashion_mnist")
    assert server.asked == list(files)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == files
    assert load("fashion_mnist").fingerprint == first.fingerprint
    assert server.asked == list(files)


def test_a_damaged_file_of_the_cache_is_never_used(server, cache, files):
    first = load("fashion_mnist")
    name = next(iter(files))
    (cache / name).write_bytes(b"damaged")
    assert load("fashion_mnist").fingerprint == first.fingerprint
    assert server.asked == [*files, name]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda data: (200, data[:-1] + b"?", len(data)), "did not send the published file"),
        (
            lambda data: (200, data[:9], len(data)),
            r"^could not download http://127.* \(ChunkedEncodingError\): connect, or set",
        ),
        (lambda data: (404, data[:0], 0), r"^could not download http://127.* \(HTTPError\): connect, or set"),
    ],
    ids=["other_bytes", "broken_off", "not_found"],
)
def test_a_bad_answer_is_refused_and_leaves_nothing(server, cache, files, answer, message):
    server.answer = answer
    with pytest.raises(OSError, match=message) as error:
        load("fashion_mnist")
    assert one_sentence(error)
    assert "set LOOKAHEAD_NB_DATA to a folder that holds fashion-mnist/train-images-idx3-ubyte.gz" in str(error.value)
    assert server.asked == [next(iter(files))]
    assert left_in(cache) == []


def test_without_network_one_sentence_says_what_to_do(cache):
    with pytest.raises(OSError, match=r"^could not download http://127\.0\.0\.1:9/train-images") as error:
        load("fashion_mnist")
    assert one_sentence(error)
    assert "connect, or set LOOKAHEAD_NB_DATA to a folder that holds fashion-mnist/" in str(error.value)
    assert left_in(cache) == []


# ------------------------------------------------------------------------------------------------------------- written


def test_readme_lists_every_set_and_sum():
    text = (ROOT / "data/README.md").read_text(encoding="utf-8")
    known = [*NAMES, *datasets._BUNDLED.values(), *datasets._FASHION_FILES, *datasets._FASHION_FILES.values()]
    assert [word for word in known if word not in text] == []


def test_a_named_set_travels_by_its_name_and_any_other_whole():
    pytest.importorskip("sklearn", reason="needs scikit-learn for the digits")
    whole = datasets.load("digits", 3)
    message = pickle.dumps(whole)
    assert len(message) < 200
    assert pickle.loads(message).fingerprint == whole.fingerprint
    for other in (whole.subset(100, 1), datasets.from_arrays(np.eye(9), np.arange(9) % 2)):
        copied = pickle.loads(pickle.dumps(other))
        assert copied.fingerprint == other.fingerprint
        assert not copied.X_train.flags.writeable
