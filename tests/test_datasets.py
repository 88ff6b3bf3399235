"""Data sets: splits and scaling for good, the user's own arrays, label noise, the sets as they were published."""

import copy
import os
import pickle
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.sparse import csr_array
from scipy.stats import chisquare, norm

import lookahead_nb as lnb
from lookahead_nb import datasets
from lookahead_nb.datasets import (
    DOWNLOADED,
    NAMES,
    available,
    from_arrays,
    load,
    sources,
    split,
    stratified_rows,
    synthetic,
)
from lookahead_nb.datasets.downloads import FILES

ROOT = Path(__file__).resolve().parent.parent
LOCAL = [name for name in NAMES if name not in DOWNLOADED]
PARTS = ("train", "validation", "test")
ARRAYS = [f"{kind}_{part}" for part in PARTS for kind in "Xy"]

FLIPPED = "505d5084d33070b7fcd82eb671f56f8a9138996f5c7b83ad7b6ff2cc130bdd18"  # iris, a tenth of its labels, seed 7

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


@pytest.fixture
def fresh():
    """No table read by another test, and none left to one."""
    sources._table.cache_clear()
    yield
    sources._table.cache_clear()


def numbered(y, split_seed=0):
    """A data set of one column that numbers its rows, and the row numbers of its three parts."""
    data = from_arrays(2 * np.arange(len(y))[:, None], y, split_seed)  # not 0, 1, 2, ..., which is an index
    column = np.concatenate([data.X_train, data.X_validation, data.X_test])[:, 0]
    ranks = np.argsort(np.argsort(column))
    rows = np.split(ranks, np.cumsum([len(data.y_train), len(data.y_validation)]))
    for part, there in zip(PARTS, rows, strict=True):
        np.testing.assert_array_equal(getattr(data, f"rows_{part}"), there)
    return data, rows


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
    X = np.column_stack([np.full(10, 0.1), np.arange(10) ** 2])
    data = from_arrays(X, np.arange(10) % 2)
    for part in PARTS:
        assert (getattr(data, f"X_{part}")[:, 0] == 0).all()


def test_bytes_are_scaled_together(rng):
    X, train = rng.integers(0, 256, (1203, 7)).astype(np.uint8), np.arange(0, 1203, 2)
    scaling = split._all_bytes(X, train)
    expected = (X - X[train].mean()) / X[train].std()
    np.testing.assert_allclose(scaling.apply(X), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(scaling(X.tolist()), scaling.apply(X))
    before = scaling.apply(X[train])
    X[1::2] = 0
    np.testing.assert_array_equal(split._all_bytes(X, train).apply(X[train]), before)


def test_words_are_weighted_and_scaled_by_the_training_part_alone(rng):
    counts, train = rng.poisson(0.5, (300, 8)).astype(np.float64), np.arange(0, 300, 2)
    counts[7] = 0  # an empty text
    scaling = split._all_words(csr_array(counts), train)
    weights = counts * (1 + np.log((1 + 150) / (1 + (counts[train] > 0).sum(axis=0))))
    length = np.sqrt((weights**2).sum(axis=1, keepdims=True))
    weights /= np.where(length > 0, length, 1)
    expected = (weights - weights[train].mean()) / weights[train].std()
    np.testing.assert_allclose(scaling.apply(csr_array(counts)), expected, rtol=1e-5, atol=1e-6)
    before = scaling.apply(csr_array(counts)[train])
    counts[1::2] = 1
    np.testing.assert_array_equal(split._all_words(csr_array(counts), train).apply(csr_array(counts)[train]), before)


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
    assert small.scaling is data.scaling
    rows = [np.flatnonzero(data.rows_train == row).item() for row in small.rows_train]
    np.testing.assert_array_equal(small.X_train, data.X_train[rows])
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
        (0, 0, ValueError, "n must be a whole number from 1 to 90, got 0"),
        (91, 0, ValueError, "n must be a whole number from 1 to 90, got 91"),
        (9.0, 0, TypeError, "n must be a whole number from 1 to 90, got 9.0"),
        (9, -1, ValueError, f"seed must be a whole number from 0 to {2**63 - 1}, got -1"),
    ],
)
def test_subset_refuses(n, seed, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        load("iris").subset(n, seed)


# --------------------------------------------------------------------------------------------------------- label noise


def test_flipped_labels_are_other_classes_on_a_share_of_the_training_part():
    data = load("gaussian_blobs")
    noisy = data.with_flipped_labels(0.3, seed=1)
    wrong = noisy.y_train != data.y_train
    assert wrong.sum() == 900
    assert noisy.y_train.min() == 0
    assert noisy.y_train.max() == 9
    further = (noisy.y_train - data.y_train)[wrong] % 10
    for counts in (np.bincount(further, minlength=10)[1:], np.bincount(data.y_train[wrong])):
        assert chisquare(counts).pvalue > 0.01
    for name in ("X_train", "X_validation", "y_validation", "X_test", "y_test"):
        assert getattr(noisy, name) is getattr(data, name)
    assert not noisy.y_train.flags.writeable


def test_flipped_labels_are_fixed_for_good():
    assert load("iris").with_flipped_labels(0.1, seed=7).fingerprint == FLIPPED
    assert load("iris").with_flipped_labels(0.1, seed=8).fingerprint != FLIPPED


def test_a_larger_share_keeps_the_wrong_labels_of_a_smaller_one():
    data = load("digits")
    labels = [data.with_flipped_labels(share, seed=3).y_train for share in (0, 0.01, 0.2, 1)]
    np.testing.assert_array_equal(labels[0], data.y_train)
    for fewer, more in pairwise(labels):
        wrong = fewer != data.y_train
        np.testing.assert_array_equal(fewer[wrong], more[wrong])
        assert wrong.sum() < (more != data.y_train).sum()
    assert (labels[-1] != data.y_train).all()


def test_two_classes_are_exchanged():
    data = load("breast_cancer")
    np.testing.assert_array_equal(data.with_flipped_labels(1.0, seed=0).y_train, 1 - data.y_train)


@pytest.mark.parametrize(
    ("share", "seed", "error", "message"),
    [
        (1.1, 0, ValueError, "share must be a finite number in [0, 1], got 1.1"),
        (-0.1, 0, ValueError, "share must be a finite number in [0, 1], got -0.1"),
        (np.nan, 0, ValueError, "share must be a finite number in [0, 1], got nan"),
        (True, 0, TypeError, "share must be a finite number in [0, 1], got True"),
        (0.1, -1, ValueError, f"seed must be a whole number from 0 to {2**63 - 1}, got -1"),
    ],
)
def test_flipping_labels_refuses(share, seed, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        load("iris").with_flipped_labels(share, seed)


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
    frame = pandas.DataFrame(table, index=range(7, 507))
    series = pandas.Series(y, index=frame.index)
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
            "X must hold finite numbers below 1e+100 in size, got nan at row 3, column 1 (counted from 0)",
        ),
        (
            with_value(-np.inf),
            Y,
            ValueError,
            "X must hold finite numbers below 1e+100 in size, got -inf at row 3, column 1 (counted from 0)",
        ),
        (
            with_value(1e200),
            Y,
            ValueError,
            "X must hold finite numbers below 1e+100 in size, got 1e+200 at row 3, column 1 (counted from 0)",
        ),
        (X[:, 0], Y, ValueError, "X must be a table of rows and columns, got shape (10,): for a single row pass [X]"),
        (X[:, :0], Y, ValueError, "X must be a table of at least one row and one column, got shape (10, 0)"),
        (X[:0], np.zeros(0, int), ValueError, "X must be a table of at least one row and one column, got shape (0, 2)"),
        (X.astype(str), Y, TypeError, "X must hold numbers, got <U32"),
        (X.astype(object), Y, TypeError, "X must hold numbers, got object"),
        (X * 1j, Y, TypeError, "X must hold numbers, got complex128"),
        ([[1, 2], [3]], Y, ValueError, "X must be a rectangular array of numbers, got list"),
        (np.ma.masked_array(X), Y, TypeError, "X must be a plain array, not a masked one, whose mask would be lost"),
        (X, Y[1:], ValueError, "y must have one label for each of the 10 rows of X, got 9"),
        (X, [Y], ValueError, "y must have one dimension, got shape (1, 10)"),
        (X, np.zeros(10, int), ValueError, "y must hold at least two different labels, got 0 alone"),
        (
            X,
            np.arange(10) // 2,
            ValueError,
            "y must hold some label at least three times to be split in three, got 2 times",
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
    with pytest.raises(ValueError, match=rf"^X must fit float32 .* row {row}, column 1 \(counted from 0\) overflows$"):
        from_arrays(X, y)


def test_the_smallest_data_have_four_rows():
    data = from_arrays([[0], [1], [2], [5]], [0, 0, 0, 1])
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
    for array in (*(getattr(data, f"rows_{part}") for part in PARTS), data.classes, data.scaling.mean):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
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
    X, y = synthetic._gaussian_blobs()
    best, _ = quad(lambda u: norm.pdf(u - 3) * norm.cdf(u) ** 9, -8, 12)
    assert round(best, 3) == 0.902
    assert abs((X[:, :10].argmax(axis=1) == y).mean() - best) < 0.015


def test_checkerboard_can_be_told_apart_as_stated():
    X, y = synthetic._checkerboard()
    assert ((X >= 0) & (X < 4)).all()
    assert abs((np.floor(X).sum(axis=1) % 2 == y).mean() - 0.9) < 0.015


def test_logistic_teacher_can_be_learned_as_stated():
    X, y = synthetic._logistic_teacher()
    covariance = 0.9 ** np.abs(np.subtract.outer(np.arange(20), np.arange(20)))
    assert round(np.linalg.cond(covariance)) == 212
    np.testing.assert_allclose(np.cov(X.T), covariance, atol=0.08)
    teacher = 3.0 * (-1) ** np.arange(20)
    width = np.sqrt(teacher @ covariance @ teacher)
    best = 2 * quad(lambda u: norm.pdf(u) / (1 + np.exp(-width * u)), 0, 10)[0]
    assert round(best, 2) == 0.86
    assert abs(((X @ teacher > 0) == y).mean() - best) < 0.015


def test_exclusive_or_can_be_told_apart_as_stated():
    X, y = synthetic._exclusive_or()
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


def test_without_scikit_learn_the_extra_is_named(monkeypatch, fresh):
    for module in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=r"^digits needs scikit-learn: install the extra reproduce") as error:
        load("digits")
    assert one_sentence(error)


def test_changed_bundled_data_are_refused(monkeypatch, fresh):
    monkeypatch.setitem(sources._BUNDLED, "iris", "0" * 64)
    with pytest.raises(OSError, match=r"^iris differs in this scikit-learn") as error:
        load("iris")
    assert one_sentence(error)


# -------------------------------------------------------------------------------------------------------- as published

# The sha256 of split 0, rows of the three parts, columns; rows of each class in training and validation, and in test.
PUBLISHED = {
    "fashion_mnist": (
        "d6b33e2a315df32b8d5992937242d0ee316c08b9ac597af512942b22af3b1143",
        (50_000, 10_000, 10_000, 784),
        ([6000] * 10, [1000] * 10),
    ),
    "a9a": (
        "faddfd477c0406f89f69e8b55bbdba7c92f142edc1b414fcf267d6d5fcdc8a0b",
        (27_134, 5427, 16_281, 123),
        ([24_720, 7841], [12_435, 3846]),
    ),
    "sms_spam": (
        "859de15f0a70599728e824ebd36f2e85d41b165bac750d9e63ba5c38527670af",
        (3346, 1114, 1114, 512),
        ([3862, 598], [965, 149]),
    ),
    "sms_spam_counts": (
        "0e937bd1d006ea67aeff010400ed9388e5582af4035188b31544f52040475229",
        (3346, 1114, 1114, 512),
        ([3862, 598], [965, 149]),
    ),
    "banking77": (
        "62e3ef0da7ac82f5f7e32f4eaf2b4087e2ce319dd8c339faba50307078df5c04",
        (8344, 1659, 3080, 1024),
        (None, [40] * 77),
    ),
    "banking77_counts": (
        "8ecc9414ce1d2b5fbd3c58335380618a6956d59a01f0cf32608f4373904e34d9",
        (8344, 1659, 3080, 1024),
        (None, [40] * 77),
    ),
    "spoken_digits": (
        "bf7a0372fa77f103e3f0f082ae1c4caca4cc38f2226d9d19d6b6cdc106139956",
        (2250, 450, 300, 320),
        ([270] * 10, [30] * 10),
    ),
    "movietweetings": (
        "645808399e21c189f628b1ef0ba1047cb3a6b6c28bffedfdb662fc3688bb0bd6",
        (24_000, 8000, 8000, 2073),
        ([15_756, 16_244], [3923, 4077]),
    ),
    "cmudict": (
        "e60f9fb4526ed4363480a38d0ae76e89bceaf5fc9bff095beb382b27e7c32ea6",
        (130_029, 43_896, 43_887, 189),
        (
            None,
            [
                *(6973, 248, 771, 140, 70, 687, 125, 2566, 131, 333, 45, 73, 336, 82, 19, 96, 12, 54, 286, 148, 975),
                *(222, 1352, 27, 130, 879, 162, 1038, 231, 32, 31, 431, 158, 637, 633, 432, 1260, 675, 161, 973, 431),
                *(88, 284, 1870, 115, 28, 2126, 1325, 20, 2480, 445, 360, 427, 109, 45, 885, 2056, 2115, 385, 2110),
                *(12, 141, 13, 52, 20, 61, 222, 43, 484, 348, 91, 20, 27, 66, 9, 904, 10, 26),
            ],
        ),
    ),
}


@pytest.fixture(scope="module")
def whole(request):
    if not (os.environ.get("LOOKAHEAD_NB_DATA") and available(request.param)):
        path = FILES[request.param.removesuffix("_counts")][0].path
        pytest.skip(f"needs LOOKAHEAD_NB_DATA, a folder that holds {path}")
    return load(request.param)


every_downloaded = pytest.mark.parametrize("whole", DOWNLOADED, indirect=True)


@pytest.mark.jit
@every_downloaded
def test_downloaded_data_are_fixed_for_good(whole):
    fingerprint, (*rows, columns), (classes, test_classes) = PUBLISHED[whole.name]
    assert [getattr(whole, f"X_{part}").shape for part in PARTS] == [(n, columns) for n in rows]
    others = np.bincount(whole.y_train) + np.bincount(whole.y_validation)
    assert classes is None or others.tolist() == classes
    assert np.bincount(whole.y_test).tolist() == test_classes
    assert whole.fingerprint == fingerprint


@pytest.mark.jit
@every_downloaded
def test_downloaded_data_are_what_models_expect(whole):
    assert available(whole.name)
    assert whole.official_test is not whole.name.startswith(("sms_spam", "movietweetings", "cmudict"))
    assert whole.n_classes == len(PUBLISHED[whole.name][2][1])
    for array in (whole.X_train, whole.X_validation, whole.X_test):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
    together = None if whole.name != "spoken_digits" else 0
    X = whole.X_train.astype(np.float64)
    np.testing.assert_allclose(X.std(axis=together), 1, atol=1e-6)
    if whole.name.endswith("_counts"):
        assert (X == 0).mean() > 0.9
    else:
        np.testing.assert_allclose(X.mean(axis=together), 0, atol=1e-6)


@pytest.mark.jit
@every_downloaded
def test_another_seed_splits_anew_and_leaves_an_official_test_set(whole):
    other, again = load(whole.name, 1), load(whole.name, 1)
    assert other.fingerprint == again.fingerprint != whole.fingerprint
    assert other.rows_train.tolist() != whole.rows_train.tolist()
    if whole.official_test:
        np.testing.assert_array_equal(other.y_test, whole.y_test)
    assert len(pickle.dumps(other)) < 200


def test_each_set_is_read_once(monkeypatch, fresh):
    reads = []
    monkeypatch.setitem(sources._TABLES, "iris", lambda: reads.append(1) or sources._bundled("iris"))
    assert load("iris", 1).fingerprint != load("iris", 2).fingerprint
    assert load("iris").fingerprint == FINGERPRINTS["iris"]
    assert reads == [1]


def test_what_needs_no_download_is_available(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOKAHEAD_NB_DATA", str(tmp_path))
    assert [name for name in NAMES if available(name)] == LOCAL
    with pytest.raises(ValueError, match=r"^name must be one of 'digits', .*got 'mnist'$"):
        available("mnist")


# ------------------------------------------------------------------------------------------------------------- written


def test_readme_lists_every_set_and_sum():
    text = (ROOT / "data/README.md").read_text(encoding="utf-8")
    files = [file for some in FILES.values() for file in some]
    known = [*NAMES, *sources._BUNDLED.values(), *(file.path for file in files)]
    known += [word for file in files for word in (file.sha256, file.url.removesuffix(file.path.rpartition("/")[2]))]
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


# ----------------------------------------------------------------------------------------------------------- chunks


def test_chunks_share_no_row_and_cover_the_whole_set():
    chunks = [lnb.datasets.chunk("digits", i, 400) for i in range(4)]
    rows = [np.concatenate([c.rows_train, c.rows_validation, c.rows_test]) for c in chunks]
    assert len({*np.concatenate(rows).tolist()}) == 1600
    assert [len(each) for each in rows] == [400] * 4
    sizes = [(len(c.y_train), len(c.y_validation), len(c.y_test)) for c in chunks]
    assert all(abs(a - 240) < 10 and abs(b - 80) < 10 and abs(c - 80) < 10 for a, b, c in sizes)


def test_a_chunk_is_scaled_by_its_own_training_part_and_numbers_the_rows_of_the_set():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    chunk = lnb.datasets.chunk("digits", 2, 300, split_seed=3)
    assert chunk.n_classes == 10
    assert not chunk.official_test
    for part in ("train", "validation", "test"):
        rows = getattr(chunk, f"rows_{part}")
        np.testing.assert_array_equal(getattr(chunk, f"y_{part}"), y[rows])
        np.testing.assert_array_equal(getattr(chunk, f"X_{part}"), chunk.scaling(X[rows]))
    np.testing.assert_allclose(chunk.X_train.mean(axis=0, dtype=np.float64), 0, atol=1e-6)


def test_a_chunk_depends_on_its_number_and_its_split_seed():
    first, again, other = (lnb.datasets.chunk("digits", 1, 300, seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert {*np.r_[first.rows_train, first.rows_test, first.rows_validation]} == {
        *np.r_[other.rows_train, other.rows_test, other.rows_validation]
    }
    assert pickle.loads(pickle.dumps(first)).fingerprint == first.fingerprint


def parts_of(data):
    return [{*getattr(data, f"rows_{part}").tolist()} for part in PARTS]


def table_of(n, **keys):
    return split._Table(np.arange(2.0 * n).reshape(n, 2), np.arange(n) % 3, split._each_column, **keys)


def test_rows_with_a_time_are_split_by_it_and_so_are_their_chunks():
    table = table_of(103, in_time=True)
    for seed in (0, 1):
        whole = split._split_and_scaled(table, "some", seed, "")
        assert parts_of(whole) == [{*range(62)}, {*range(62, 83)}, {*range(83, 103)}]
        second = split._chunk(table, "some", 1, 50, seed, "")
        assert parts_of(second) == [{*range(50, 80)}, {*range(80, 90)}, {*range(90, 100)}]
        np.testing.assert_array_equal(second.y_test, table.y[second.rows_test])
    orders = [split._split_and_scaled(table, "some", seed, "").rows_train.tolist() for seed in (0, 1)]
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


def test_rows_of_a_group_stay_in_one_part():
    groups = np.repeat(np.arange(200), np.arange(200) % 7 + 1)
    table = table_of(len(groups), groups=groups)
    divided = []
    for seed in (0, 1):
        of_parts = [{*groups[[*rows]].tolist()} for rows in parts_of(split._split_and_scaled(table, "some", seed, ""))]
        assert [len(some) for some in of_parts] == [120, 40, 40]
        assert len(set().union(*of_parts)) == 200
        divided.append(of_parts)
    assert divided[0] != divided[1]
    chunks = [split._chunk(table, "some", i, 190, 5, "") for i in range(4)]
    rows = [set().union(*parts_of(chunk)) for chunk in chunks]
    assert [len(some) for some in rows] == [190] * 4
    assert len(set().union(*rows)) == 760
    inside = [[{*groups[[*some]].tolist()} for some in parts_of(chunk)] for chunk in chunks]
    for train, validation, test in inside:
        assert not (train | validation) & test
        assert not train & validation
    both = [{*groups[[*rows[i]]]} & {*groups[[*rows[j]]]} for i in range(4) for j in range(i)]
    assert sum(map(len, both)) <= 3  # the groups that are cut
    first = {*groups[[*rows[0]]].tolist()}
    assert first != {*range(len(first))}  # in random order


def test_a_chunk_of_fewer_than_three_groups_is_refused():
    table = table_of(40, groups=np.repeat(np.arange(4), 10))
    with pytest.raises(ValueError, match=r"^rows must give chunk 1 at least three groups to be split in three, got 20"):
        split._chunk(table, "some", 1, 20, 0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits", 17, 100), r"i must be a whole number from 0 to 16, got 17"),
        (("digits", 0, 4), r"rows must be a whole number from 5 to 1797, got 4"),
        (("digits", 0, 1798), r"rows must be"),
        (("digit", 0, 10), r"name must be one of"),
        (("digits", 0, 10, -1), r"split_seed must be"),
        (("digits", 0, 5), r"rows must give chunk 0 some class at least three times .*, got 5 with 1 of"),
    ],
)
def test_a_chunk_that_does_not_exist_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        lnb.datasets.chunk(*arguments)
