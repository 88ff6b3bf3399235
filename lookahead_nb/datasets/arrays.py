"""The user's own data: arrays in memory and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from lookahead_nb.datasets.dataset import Dataset, _seed
from lookahead_nb.datasets.split import _each_column, _split_and_scaled, _Table
from lookahead_nb.datasets.tables import labels_of, numbers_of


def from_arrays(X: ArrayLike, y: ArrayLike, split_seed: int = 0) -> Dataset:
    """Return your own data, split and scaled like the bundled sets.

    A class with at least three rows is in every part; a smaller one is in the training part.

    Parameters
    ----------
    X : (rows, columns) array
        Anything that ``np.asarray`` accepts, pandas objects included; copied. Finite numbers with absolute values below
        1e100.
    y : (rows,) array
        Likewise, with an integer or bool dtype. Every label 0..C-1 occurs, C is at least 2, and one label occurs at
        least three times.
    split_seed : int
        In [0, 2**63).

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError, ValueError
        If an argument has another type, dtype or shape, or holds a value out of range. The message gives its row.

    Notes
    -----
    The module's docstring describes splitting and scaling. ``data.X_train`` is scaled, your own X is not.
    ``run.predict`` and ``data.scaling`` scale raw rows, so pass these your own rows. ``model.predict`` expects scaled
    ones.

    Examples
    --------
    From your own rows to predictions for raw ones:

    >>> import numpy as np
    >>> import lookahead_nb as lnb
    >>> X = np.random.default_rng(0).normal(50, 20, (100, 2))
    >>> y = (X[:, 0] > X[:, 1]).astype(int)
    >>> data = lnb.datasets.from_arrays(X, y)
    >>> len(data.y_train), len(data.y_validation), len(data.y_test)
    (60, 20, 20)
    >>> run = lnb.train(lnb.LogisticRegression(2), data, lnb.AdamW(0.1), steps=200, batch_size=20)
    >>> run.predict([[70, 20], [20, 70]])
    array([1, 0])
    """
    features, labels = numbers_of(X), labels_of(y)
    if len(features) != len(labels):
        raise ValueError(f"y must have one label for each of the {len(features)} rows of X, got {len(labels)}")
    return _split_and_scaled(
        _Table(features, labels, _each_column), "arrays", _seed("split_seed", split_seed), "the user's own arrays"
    )


def read_rows(file: str | Path, label: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of an .npz or .csv file as X and y, for :func:`from_arrays`.

    Parameters
    ----------
    file : path
        An .npz file with the arrays X and y, or a .csv file with a line of column names.
    label : str, optional
        The label column of a .csv file. All other columns hold numbers. None for an .npz file.

    Returns
    -------
    X : (rows, columns) array
    y : (rows,) array
        Labels that are text are numbered in alphabetical order.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is of another kind or is damaged, or lacks an array, a column or a label.
    """
    path = Path(file)
    if path.suffix not in (".npz", ".csv"):
        raise ValueError(f"file must be the path of an .npz or .csv file, got {path.name!r}")
    if (path.suffix == ".csv") != isinstance(label, str):
        raise ValueError(f"label must be a column name for a .csv file and None for an .npz file, got {label!r}")
    try:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return arrays["X"], arrays["y"]
        import pandas as pd

        frame = pd.read_csv(path)
        labels = frame.pop(label)
    except OSError as error:
        raise OSError(f"file {path} cannot be read: {error.strerror}") from error
    except KeyError:
        wanted = "arrays X and y" if label is None else f"a column {label!r}"
        raise ValueError(f"file must hold {wanted}, but {path} does not") from None
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"file {path} is not a readable {path.suffix} file: {error}") from error
    if other := [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]:
        raise ValueError(f"file must hold numbers in all columns except the label column, got text in {other[0]!r}")
    if labels.isna().any():
        raise ValueError(f"file must hold a label in every row, but row {int(labels.isna().argmax())} has none")
    text = not pd.api.types.is_numeric_dtype(labels)
    return frame.to_numpy(), np.unique(labels, return_inverse=True)[1] if text else labels.to_numpy()
