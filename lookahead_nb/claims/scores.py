"""Scores by which others judge film ratings and letters: area under the ROC curve, and words without a wrong letter.

Training reports losses and accuracies only, so no verdict depends on these scores. They follow from the weights of the
runs that the replicates of an experiment chose.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import whole
from lookahead_nb.claims import experiments, trial
from lookahead_nb.claims.experiments import Experiment
from lookahead_nb.claims.population import EVALUATED
from lookahead_nb.claims.real import RealTask
from lookahead_nb.claims.trial_arms import TrialArm
from lookahead_nb.claims.tuning import tuned
from lookahead_nb.datasets import Dataset
from lookahead_nb.datasets.phonemes import whole_words
from lookahead_nb.training.run import Run, train
from lookahead_nb.training.sweep import sweep

if TYPE_CHECKING:
    import pandas as pd


def roc_auc(scores: Any, y: Any) -> float:
    """Return the area under the ROC curve: how often a row of class 1 has a higher score than one of class 0.

    Parameters
    ----------
    scores : (rows,) array
        Of numbers, higher for class 1. Two equal ones count a half.
    y : (rows,) array
        0 or 1, each at least once.

    Returns
    -------
    float
        In [0, 1]; 0.5 for guessing.

    Raises
    ------
    ValueError
        If the arrays have different shapes, or a class is missing.

    Notes
    -----
    Source: Hanley & McNeil 1982; it is the statistic of Mann & Whitney 1947, divided by the number of pairs.

    Examples
    --------
    >>> from lookahead_nb.claims.scores import roc_auc
    >>> roc_auc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    0.875
    """
    scores, y = np.asarray(scores), np.asarray(y)
    if scores.shape != y.shape or scores.ndim != 1:
        raise ValueError(f"scores must have the shape of y, {y.shape} with one dimension, got {scores.shape}")
    positive, negative = np.sort(scores[y == 1]), np.sort(scores[y == 0])
    if not (len(positive) and len(negative)):
        raise ValueError(f"y must hold both classes, got {sorted({*y.tolist()})}")
    below = sum(int(np.searchsorted(negative, positive, side).sum()) for side in ("left", "right"))
    return below / (2 * len(positive) * len(negative))


def words_right(data: Dataset, predicted: Any) -> float:
    """Return the share of the words of a test part that have no wrong letter.

    Parameters
    ----------
    data : Dataset
        "cmudict" or a chunk of it.
    predicted : (rows,) array of int
        The class of each row of the test part.

    Returns
    -------
    float
        In [0, 1]. Words of which the test part lacks letters do not count.

    Raises
    ------
    ValueError
        If predicted has another number of rows, or the test part has no whole word.
    """
    predicted = np.asarray(predicted)
    if predicted.shape != data.y_test.shape:
        raise ValueError(f"predicted must have one class for each of {len(data.y_test)} rows, got {predicted.size}")
    right = predicted == data.y_test
    words = whole_words(data.X_test > 0, data.rows_test)
    if not words:
        raise ValueError(f"data must have whole words in its test part, got {data!r}")
    return float(np.mean([right[rows].all() for rows in words]))


def scores_of(run: Run, data: Dataset) -> dict[str, float]:
    """Return the scores of a run on the whole test part, at its slow weights if there are some.

    Parameters
    ----------
    run : Run
        Of :func:`lookahead_nb.train`.
    data : Dataset
        On which it was trained.

    Returns
    -------
    dict of str to float
        ``right``, the share of rows; with two classes ``roc_auc``; of letters ``words``, see :func:`words_right`.
    """
    params = run.params if run.slow is None else run.slow
    predicted = run.model.predict(params, data.X_test)
    found = {"right": float(np.mean(predicted == data.y_test))}
    if data.n_classes == 2:
        found["roc_auc"] = roc_auc(run.model.predict_proba(params, data.X_test)[:, 1], data.y_test)
    if data.name == "cmudict":
        found["words"] = words_right(data, predicted)
    return found


def of_experiment(experiment: Experiment, arms: Iterable[str]) -> pd.DataFrame:
    """Return the scores of the runs that replicates chose by their validation loss.

    Parameters
    ----------
    experiment : Experiment
        On real data sets.
    arms : iterable of str
        Some of its arms, each with one grid.

    Returns
    -------
    frame
        A row for each task, arm and replicate: ``set``, ``steps``, ``arm``, ``replicate``, ``lr``, ``test_loss``, and
        those of :func:`scores_of`. The loss is that of the rows of the experiment, unless grids were widened.

    Raises
    ------
    OSError, OutdatedError
        If a set or the screening is missing.
    """
    pd = whole("pandas")

    chosen = experiment.chosen(experiments.screening_table(experiment)).set_index("number")
    tasks = [task for task in experiment.real_tasks() if task.number in chosen.index]
    names = [*arms]
    found = []
    for task in tasks:
        for name in names:
            found += _of_arm(task, experiment.arms[name], float(chosen.loc[task.number, "centre"]))
    return pd.DataFrame(found)


def _of_arm(task: RealTask, arm: TrialArm, centre: float) -> list[dict[str, Any]]:
    (part,), seeds = trial.parts_of(task, {arm.name: arm}), task.seeds
    (grid,) = part.grids
    rates = grid.rates(task.number, centre)
    configs = [grid.optimizer(lr, part.of_settings) for lr in rates]
    rows = sweep([replace(task.task, eval_at=[], configs=configs)], None, None, seeds=seeds, progress=False)
    values = trial.values_of(rows, part, len(seeds))
    losses = [values[grid, "slow", task.steps, f"{name}_loss"] for name in ("validation", "test")]
    found = []
    for r, (i, loss) in enumerate(zip(*tuned(*losses), strict=True)):
        data = task.replicate(seeds[r])
        run = train(
            task.model, data, configs[i], steps=task.steps, batch_size=task.batch_size, seed=seeds[r], eval_at=[],
            eval_rows=EVALUATED,
        )  # fmt: skip
        keys = {"set": task.of.name, "steps": task.steps, "arm": arm.name, "replicate": r, "lr": rates[i]}
        found.append(keys | {"test_loss": float(loss)} | scores_of(run, data))
    return found
