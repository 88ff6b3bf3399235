"""The generated population: classification tasks made from their numbers alone, to compare optimizers on.

``generated(i)`` draws the factors of task i from :data:`RANGES`, and ``generated(i).replicate(r)`` draws fresh rows for
replicate r. All bits come from ``philox`` and from sums in a fixed order, so they are identical on every CPU.

A row starts as z ~ N(0, I). The teacher computes the probability of each class from z, and the label is drawn from it.
Then ``x = R diag(lambda)**(1/2) z`` with a random rotation R and ``lambda_j`` proportional to ``j**-conditioning``, so
that the mean variance of a feature is 1. So every direction matters equally for the labels, however small its variance.
Features are not scaled again, which would change their covariance. Wrong labels occur in all parts at the same rate.

Teachers, with ``sharpness`` as the typical size of the log-odds between two classes:

- ``linear``: logits ``sharpness * v_k.z`` with random unit vectors v_k.
- ``tanh``: the same, of eight random tanh units instead of z.
- ``clusters``: the label is drawn first, and z ~ N(c_k, I) with random centres of length ``sqrt(sharpness)``.

There is no sine teacher: it can be learned only from few features, and the package has no sine with the same bits on
every CPU.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import types

from lookahead_nb.checks import default_errors, one_of, real_number, whole, whole_number
from lookahead_nb.datasets import Dataset
from lookahead_nb.datasets.scaling import Scaling
from lookahead_nb.kernels.cpu.product import product_for
from lookahead_nb.kernels.formulas import exp64, log64
from lookahead_nb.kernels.philox import LABELS, ROWS, TASKS, normals, uniforms
from lookahead_nb.models.dense import MLP, DenseNetwork, LogisticRegression
from lookahead_nb.settings_file import text
from lookahead_nb.training.ranges import Choice
from lookahead_nb.training.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

PILOTS = range(10_000)  # numbers for trying things out; registered results use larger ones
EVALUATED = 2000  # rows of the test part, and the most of the validation part

TEACHERS = ("linear", "tanh", "clusters")
TANH_UNITS, TANH_GAIN = 8, 3.0
TANH_VARIANCE = 0.7451667  # of tanh(3*z), z ~ N(0, 1)
CALIBRATION_ROWS, CALIBRATION_ROUNDS, CALIBRATION_ERROR = 4096, 2000, 1e-4


@dataclass(frozen=True)
class Range:
    """A factor that is uniform or log-uniform between two numbers.

    Parameters
    ----------
    low, high : float
        The ends.
    log : bool
        Whether the logarithm is uniform.
    multiple : int
        The number is rounded to a multiple of it; 0 leaves it as it is.
    """

    low: float
    high: float
    log: bool = False
    multiple: int = 0

    def at(self, u: float) -> float:
        """Return the number at a quantile.

        Parameters
        ----------
        u : float
            In [0, 1).

        Returns
        -------
        float or int
            A whole number with ``multiple``.
        """
        spread = self.high - self.low
        value = self.low * _exp(u * _log(self.high / self.low)) if self.log else self.low + u * spread
        return round(value / self.multiple) * self.multiple if self.multiple else value


# The declared population, chosen in pilots so that at every number of steps some tasks gain from more of them and few
# cannot be learned. The position of an entry is its position in the stream, so new ones are added at the end.
RANGES: dict[str, Range | Choice] = {
    "features": Range(8, 128, log=True, multiple=1),
    "classes": Choice((2, 3, 5, 10)),
    "rows": Range(500, 50_000, log=True, multiple=1),
    "layers": Choice((0, 1, 2)),  # hidden ones
    "first_width": Range(16, 64, log=True, multiple=1),
    "second_width": Range(16, 64, log=True, multiple=1),
    "activation": Choice(("relu", "tanh")),
    "batch_size": Range(16, 128, log=True, multiple=1),
    "steps": Range(40, 2000, log=True, multiple=20),  # so that sync periods of 1, 2, 5, 10 and 20 end on a sync
    "label_noise": Range(0, 0.3),
    "conditioning": Range(0, 2.5),
    "teacher": Choice((*TEACHERS, "tanh")),
    "sharpness": Range(3, 24, log=True),
    "skewed": Choice((False, True)),
    "skew": Range(2, 10, log=True),  # of skewed classes; 1 otherwise
}


def ranges_sha256() -> str:
    """Return the hash of the declared population: results that were measured on other ranges are refused.

    Returns
    -------
    str
        SHA-256 as hex digits, of :data:`RANGES` in their order and of the teachers' constants.
    """
    return declared_sha256(RANGES, [TEACHERS, TANH_UNITS, TANH_GAIN, TANH_VARIANCE, EVALUATED])


def declared_sha256(ranges: Mapping[str, Range | Choice], constants: list[Any]) -> str:
    """Return the hash of a declared population.

    Parameters
    ----------
    ranges : mapping of str to Range or Choice
        Of its factors, in their order.
    constants : list
        What else decides its tasks, as JSON can hold it.

    Returns
    -------
    str
        SHA-256 as hex digits.
    """
    factors = [[name, type(factor).__name__, *vars(factor).values()] for name, factor in ranges.items()]
    return hashlib.sha256(json.dumps([factors, constants]).encode()).hexdigest()


def seeds_of(sha256: str, number: int, attempt: int = 0) -> list[int]:
    """Return seeds that follow from a hash and the number of the attempt.

    Parameters
    ----------
    sha256 : str
        Hex digits.
    number : int
        How many seeds.
    attempt : int, default 0
        At least 0.

    Returns
    -------
    list of int
        Seeds in [2**32, 2**48).

    Raises
    ------
    TypeError, ValueError
        If attempt is no int or is negative.

    Examples
    --------
    >>> seeds_of("00", 2) == seeds_of("00", 2)
    True
    >>> seeds_of("00", 2) == seeds_of("00", 2, attempt=1)
    False
    """
    attempt, number = whole_number("attempt", attempt, 0), whole_number("number", number, 0)
    text("sha256", sha256)
    digests = (hashlib.sha256(f"{sha256} {attempt} {i}".encode()) for i in range(number))
    return [2**32 + int.from_bytes(digest.digest()[:6]) % (2**48 - 2**32) for digest in digests]


def made_dataset(
    name: str, X: np.ndarray, y: np.ndarray, parts: Sequence[np.ndarray], classes: int, r: int, std: float = 1.0
) -> Dataset:
    """Return rows from the random stream as a data set.

    Parameters
    ----------
    name : str
        Of the task.
    X : (n, features) float32 array
        The rows, as they are trained on.
    y : (n,) int array
        Their labels.
    parts : three int arrays
        The rows of the training, validation and test part.
    classes : int
        The number of classes.
    r : int
        The number of the replicate.
    std : float, default 1
        By which the rows were divided.

    Returns
    -------
    Dataset
    """
    train, validation, test = ((X[rows], y[rows], rows) for rows in parts)
    scaling = Scaling(X.shape[1], np.array(0.0), np.array(0.0), np.array(std))
    source = "made by lookahead_nb from its random stream"
    return Dataset(*train, *validation, *test, name, classes, False, r, source, scaling, np.arange(classes))


class Limits(NamedTuple):
    """The losses and accuracies between which a learner of a generated task ends.

    Attributes
    ----------
    chance_loss, chance_accuracy : float
        Of guessing by the class frequencies of the training part.
    best_loss, best_accuracy : float
        Of the true probabilities of the classes, on the test part.
    """

    chance_loss: float
    chance_accuracy: float
    best_loss: float
    best_accuracy: float


def chance(train: np.ndarray, test: np.ndarray, classes: int) -> tuple[float, float]:
    """Return the loss and accuracy of guessing by class frequencies.

    Parameters
    ----------
    train, test : (rows,) int64 array
        The labels of both parts.
    classes : int
        Their number.

    Returns
    -------
    float, float
        The loss is the entropy of the training labels; the accuracy is that of their most frequent class on test.
    """
    shares = np.bincount(train, minlength=classes) / len(train)
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum()), float((test == shares.argmax()).mean())


class _Source(NamedTuple):
    """What all replicates of a task share."""

    basis: np.ndarray  # (features, features): rows x = z @ basis
    network: DenseNetwork  # the teacher, on z
    params: np.ndarray  # of the network, float64
    weights: np.ndarray  # (classes,): the probabilities of the network are multiplied by them
    centres: np.ndarray | None  # (classes, features) of clusters


@dataclass(frozen=True)
class GeneratedTask:
    """A task of the generated population; made by :func:`generated`.

    ``dataclasses.replace`` changes a factor and keeps the random numbers, for studies of a single factor. For example,
    ``label_noise=0`` gives the same rows with the labels before any was made wrong.

    Attributes
    ----------
    number : int
        Its number in the population, in [0, 2**32).
    features, classes : int
        Columns and labels.
    rows : int
        Rows of the training part. The validation part has a third as many, but at most ``EVALUATED``; the test part
        has ``EVALUATED``.
    hidden : tuple of int
        Widths of the hidden layers of the trained network; empty for logistic regression.
    activation : str or None
        "relu" or "tanh"; None without hidden layers.
    batch_size, steps : int
        Of the training; steps is a multiple of 20.
    label_noise : float
        The expected share of wrong labels, in [0, 1).
    conditioning : float
        The exponent p, at least 0: the variances along the principal axes are proportional to ``j**-p``, j = 1, 2, ...
        For clusters it is the covariance around a centre.
    teacher : str
        One of ``TEACHERS``.
    sharpness : float
        The typical size of the log-odds between two classes, above 0.
    skew : float
        How many times as frequent the first class is as the last, at least 1; frequencies fall geometrically. Wrong
        labels are not counted.
    """

    number: int
    features: int
    classes: int
    rows: int
    hidden: tuple[int, ...]
    activation: str | None
    batch_size: int
    steps: int
    label_noise: float
    conditioning: float
    teacher: str
    sharpness: float
    skew: float

    def __post_init__(self) -> None:
        whole_number("number", self.number, 0, 2**32 - 1)
        for name, low in {"features": 1, "classes": 2, "rows": 1, "steps": 1}.items():
            whole_number(name, getattr(self, name), low)
        whole_number("batch_size", self.batch_size, 1, self.rows)
        real_number("label_noise", self.label_noise, 0, 1, open_high=True)
        real_number("conditioning", self.conditioning, 0)
        one_of("teacher", self.teacher, TEACHERS)
        real_number("sharpness", self.sharpness, 0, open_low=True)
        real_number("skew", self.skew, 1)
        if bool(self.hidden) != (self.activation is not None):
            raise ValueError(
                f"activation must be None without hidden layers and a name with some, got {self.activation!r}"
            )

    @property
    def name(self) -> str:
        """The name of the task in a sweep, such as "G10042"."""
        return f"G{self.number}"

    @property
    def model(self) -> DenseNetwork:
        """The network that is trained."""
        if not self.hidden:
            return LogisticRegression(self.features, n_classes=self.classes)
        return MLP((self.features, *self.hidden, self.classes), activation=self.activation or "relu")

    @property
    def task(self) -> Task:
        """The task for ``sweep``: every seed trains on its own replicate."""
        return Task(self.name, self.model, self.replicate, self.steps, self.batch_size, eval_rows=EVALUATED)

    @default_errors
    def replicate(self, r: int) -> Dataset:
        """Return fresh rows of the task in three parts.

        Parameters
        ----------
        r : int
            The number of the replicate, in [0, 2**63). In a sweep it is the seed.

        Returns
        -------
        Dataset
            ``rows_train`` and so on count the drawn rows. The test part comes first, so a task with fewer rows has the
            same test part.

        Raises
        ------
        TypeError, ValueError
            If r has another type or lies out of range.
        """
        Z, y = self._drawn(whole_number("r", r, 0, 2**63 - 1))
        X = np.empty_like(Z)
        product_for(types.float64)(Z, self._source.basis, X)
        X = X.astype(np.float32)
        last = EVALUATED + min(EVALUATED, self.rows // 3)
        parts = [np.arange(*ends) for ends in ((2 * EVALUATED, len(y)), (EVALUATED, last), (0, EVALUATED))]
        return made_dataset(self.name, X, y, parts, self.classes, r)

    @default_errors
    def limits(self, r: int) -> Limits:
        """Return the loss and accuracy of chance and of the true probabilities, for a replicate.

        Parameters
        ----------
        r : int
            The number of the replicate, in [0, 2**63).

        Returns
        -------
        Limits
            The last digits may differ between classes of CPU.

        Raises
        ------
        TypeError, ValueError
            If r has another type or lies out of range.
        """
        Z, y = self._drawn(whole_number("r", r, 0, 2**63 - 1))
        known, label = self._probabilities(Z[:EVALUATED]), y[:EVALUATED]
        noisy = (1 - self.label_noise) * known + self.label_noise * (1 - known) / (self.classes - 1)
        return Limits(
            *chance(y[2 * EVALUATED :], label, self.classes),
            best_loss=float(-np.log(noisy[np.arange(EVALUATED), label]).mean()),
            best_accuracy=float((noisy.argmax(axis=1) == label).mean()),
        )

    @default_errors
    def in_plane(self, r: int, n: int = 200) -> pd.DataFrame:
        """Return rows of the test part of a replicate in a plane that tells classes apart, for pictures.

        Parameters
        ----------
        r : int
            The number of the replicate, in [0, 2**63).
        n : int, default 200
            From 1 to ``EVALUATED``.

        Returns
        -------
        frame
            n rows with the columns ``x`` and ``y``, in standard deviations, and ``label``. The axes are the difference
            of the means of the first two classes and, orthogonal to it, that of the first and the last class (with two
            classes, any direction); means are taken after whitening.

        Raises
        ------
        TypeError, ValueError
            If an argument has another type or lies out of range.
        """
        pd = whole("pandas")

        Z, y = self._drawn(whole_number("r", r, 0, 2**63 - 1))
        Z, y = Z[:EVALUATED], y[:EVALUATED]
        means = [np.cumsum(Z[y == k], axis=0)[-1] / max((y == k).sum(), 1) for k in (0, 1, self.classes - 1)]
        second = means[2] - means[0] if self.classes > 2 else np.eye(self.features)[0]
        axes = [_unit((means[1] - means[0])[None])[0]]
        axes.append(_unit((second - _sums(second * axes[0]) * axes[0])[None])[0])
        first = Z[: whole_number("n", n, 1, EVALUATED)]
        return pd.DataFrame({name: _sums(first * axis) for name, axis in zip("xy", axes, strict=True)}).assign(
            label=y[: len(first)]
        )

    @property
    def class_shares(self) -> np.ndarray:
        """The expected frequencies of the classes before labels are made wrong, a (classes,) array."""
        falling = np.array([_exp(-k / (self.classes - 1) * _log(self.skew)) for k in range(self.classes)])
        return falling / _sums(falling)

    def _drawn(self, r: int) -> tuple[np.ndarray, np.ndarray]:
        """Return z and labels of a replicate: test, validation and training part."""
        n, source = 2 * EVALUATED + self.rows, self._source
        Z = normals(n * self.features, r, ROWS, step=self.number).reshape(n, self.features)
        u, noise, other = uniforms(3 * n, r, LABELS, block=self.number).reshape(n, 3).T
        if source.centres is not None:
            y = _drawn_labels(np.tile(source.weights, (n, 1)), u)
            Z += source.centres[y]
        else:
            y = _drawn_labels(self._probabilities(Z), u)
        wrong = noise < self.label_noise
        y[wrong] = (y + 1 + (other * (self.classes - 1)).astype(np.int64))[wrong] % self.classes
        return Z, y

    def _probabilities(self, Z: np.ndarray) -> np.ndarray:
        """Return the probabilities of the classes before labels are made wrong."""
        weighted = self._source.network.predict_proba(self._source.params, Z) * self._source.weights
        return weighted / _sums(weighted)[:, None]

    @cached_property
    def _source(self) -> _Source:
        variances = np.array([_exp(-self.conditioning * _log(j)) for j in range(1, self.features + 1)])
        variances *= self.features / _sums(variances)
        basis = np.sqrt(variances)[:, None] * _rotation(self._normals(1, self.features, self.features))
        centres = None
        if self.teacher == "clusters":
            centres = math.sqrt(self.sharpness) * _unit(self._normals(2, self.classes, self.features))
        network, params = self._teacher(centres)
        weights = self.class_shares
        if centres is None:
            known = network.predict_proba(params, self._normals(3, CALIBRATION_ROWS, self.features))
            weights = _calibrated(known, weights)
        return _Source(basis, network, params, weights, centres)

    def _teacher(self, centres: np.ndarray | None) -> tuple[DenseNetwork, np.ndarray]:
        """Return the network that computes the probabilities of balanced classes from z, and its parameters."""
        logits = 1 if self.classes == 2 else self.classes
        gain = self.sharpness if logits == 1 else self.sharpness / math.sqrt(2)
        if self.teacher == "tanh":
            network: DenseNetwork = MLP((self.features, TANH_UNITS, self.classes), activation="tanh")
            first = TANH_GAIN * _unit(self._normals(4, TANH_UNITS, self.features))
            layers = [first, gain / math.sqrt(TANH_VARIANCE) * _unit(self._normals(2, logits, TANH_UNITS))]
        else:
            network = LogisticRegression(self.features, n_classes=self.classes)
            if centres is None:
                layers = [gain * _unit(self._normals(2, logits, self.features))]
            else:  # the log-odds of N(c_1, I) against N(c_0, I) are (c_1 - c_0).z, as all centres have one length
                layers = [centres[1:] - centres[:1] if logits == 1 else centres]
        params = np.zeros(network.size)
        for number, W in enumerate(layers, 1):
            network.unpack(params)[f"W{number}"][:] = W
        return network, params

    def _normals(self, block: int, rows: int, columns: int) -> np.ndarray:
        return normals(rows * columns, self.number, TASKS, step=block).reshape(rows, columns)


@default_errors
def generated(number: int) -> GeneratedTask:
    """Return a task of the generated population.

    Parameters
    ----------
    number : int
        In [0, 2**32). Numbers below 10 000 are for pilots, see :data:`PILOTS`; registered results use larger ones.

    Returns
    -------
    GeneratedTask
        Its factors are drawn from :data:`RANGES`.

    Raises
    ------
    TypeError, ValueError
        If number has another type or lies out of range.

    Examples
    --------
    Your own optimizer on tasks of the population, with fresh rows for every seed:

    >>> import lookahead_nb as lnb
    >>> from lookahead_nb.claims import population
    >>> chosen = [population.generated(i).task for i in (2, 3)]
    >>> configs = lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=[1e-3, 1e-2])
    >>> rows = lnb.sweep(chosen, None, configs, seeds=3, progress=False)
    >>> last = rows[rows["weights"] == "slow"].groupby(["task", "lr", "seed"]).last()
    >>> last["test_loss"].unstack("seed").shape
    (4, 3)
    """
    number = whole_number("number", number, 0, 2**32 - 1)
    quantiles = uniforms(len(RANGES), number, TASKS)
    drawn: dict[str, Any] = {
        name: factor.at(float(u)) for (name, factor), u in zip(RANGES.items(), quantiles, strict=True)
    }
    hidden = (drawn.pop("first_width"), drawn.pop("second_width"))[: drawn.pop("layers")]
    if not hidden:
        drawn["activation"] = None
    if not drawn.pop("skewed"):
        drawn["skew"] = 1.0
    return GeneratedTask(number, hidden=hidden, **drawn)


@default_errors
def population(numbers: Iterable[int]) -> pd.DataFrame:
    """Return the factors of tasks of the generated population.

    Parameters
    ----------
    numbers : iterable of int
        As in :func:`generated`.

    Returns
    -------
    DataFrame
        Indexed by ``number``; a column for each factor. ``hidden`` is text such as "32-16"; ``hidden`` and
        ``activation`` are empty for logistic regression.

    Raises
    ------
    TypeError, ValueError
        If a number has another type or lies out of range.

    Examples
    --------
    >>> from lookahead_nb.claims import population
    >>> population.population(range(3))[["features", "classes", "steps", "teacher"]].shape
    (3, 4)
    """
    pd = whole("pandas")

    chosen = [generated(number) for number in numbers]
    factors = [name for name in GeneratedTask.__dataclass_fields__ if name != "number"]
    frame = pd.DataFrame(
        [{name: getattr(task, name) for name in factors} for task in chosen],
        pd.Index([task.number for task in chosen], name="number", dtype=np.int64),
        columns=factors,
    )
    frame["hidden"] = ["-".join(map(str, task.hidden)) for task in chosen]
    frame["activation"] = [task.activation or "" for task in chosen]
    return frame


# ------------------------------------------------------------------------------- arithmetic with one result on all CPUs


def power(base: float, exponent: float) -> float:
    """Return ``base**exponent`` for base > 0, with the same bits on every CPU.

    Parameters
    ----------
    base, exponent : float

    Returns
    -------
    float
    """
    return _exp(exponent * _log(base))


def _exp(x: float) -> float:
    return float(exp64(np.float64(x)))


@lru_cache(256)
def _log(x: float) -> float:
    return float(log64(np.float64(x)))


def _sums(numbers: np.ndarray) -> np.ndarray:
    """Return the sums along the last axis, added in order; the order of ``np.sum`` depends on the CPU."""
    return np.cumsum(numbers, axis=-1)[..., -1]


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length 1."""
    return vectors / np.sqrt(_sums(vectors * vectors))[:, None]


def _rotation(vectors: np.ndarray) -> np.ndarray:
    """Return orthonormal rows from square normal ones: a random rotation, up to reflection.

    Source: modified Gram-Schmidt; Stewart 1980 for its distribution.
    """
    rows = vectors.copy()
    for k in range(len(rows)):
        rows[k] = _unit(rows[k : k + 1])[0]
        later = rows[k + 1 :]
        later -= _sums(later * rows[k])[:, None] * rows[k]
    return rows


def _drawn_labels(probabilities: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return the class of each row at a quantile of its probabilities."""
    upto = np.cumsum(probabilities, axis=1)
    return (u[:, None] * upto[:, -1:] >= upto[:, :-1]).sum(axis=1)


def _calibrated(known: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return the weights of the classes with which the mean probabilities of the rows become the shares.

    A round multiplies every weight by share / mean probability, until no mean is off by more than CALIBRATION_ERROR,
    which takes the more rounds the sharper the probabilities are. Source: Berry 1994, the contraction for the constants
    of a logit model.
    """
    weights = shares.copy()
    for _ in range(CALIBRATION_ROUNDS):
        weighted = known * weights
        means = np.cumsum(weighted / _sums(weighted)[:, None], axis=0)[-1] / len(known)
        if np.abs(means - shares).max() < CALIBRATION_ERROR:
            break
        weights = weights * (shares / means)
        weights /= _sums(weights)
    return weights
