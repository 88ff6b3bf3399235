"""What explains the benefits on single tasks, and whether a comparison agrees between experiments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lookahead_nb.checks import default_errors, whole, whole_number
from lookahead_nb.claims import inference, trial

if TYPE_CHECKING:
    import pandas as pd

FACTORS = {  # of a task: whether its logarithm counts
    "steps": True,
    "rows": True,
    "batch_size": True,
    "features": True,
    "classes": True,
    "label_noise": False,
    "conditioning": False,
    "sharpness": True,
    "skew": True,
    "layers": False,
    "width": True,
    "gain": False,
}
LEAST_FOR_A_PART = 10  # tasks


def with_factors(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the factors of tasks as numbers.

    Parameters
    ----------
    tasks : frame
        Of :func:`.screening.classified`.

    Returns
    -------
    frame
        Indexed by ``number``, with the columns ``FACTORS``: those of the task; ``layers`` and ``width``, the number of
        hidden layers and of all hidden units, at least 1; ``gain``, what twice the steps gain AdamW, in log loss.
    """
    pd = whole("pandas")

    hidden = [
        [int(part) for part in str(text).split("-")] if str(text) not in ("", "nan") else [] for text in tasks["hidden"]
    ]
    frame = tasks.set_index("number").assign(
        layers=[len(widths) for widths in hidden],
        width=[max(sum(widths), 1) for widths in hidden],
    )
    return pd.DataFrame({name: frame[name].astype(np.float64) for name in FACTORS})


@default_errors
def by_factor(benefits: pd.DataFrame, tasks: pd.DataFrame, parts: int = 4) -> pd.DataFrame:
    """Return the mean benefit in parts of the range of each factor.

    Parameters
    ----------
    benefits : frame
        A row per task, indexed by ``number``, and a column per replicate.
    tasks : frame
        Of :func:`.screening.classified`, with these tasks.
    parts : int, default 4
        Parts with equally many tasks, at least 2; fewer where a factor has fewer values.

    Returns
    -------
    frame
        A row for each factor and part: ``factor``, ``least``, ``most`` (the ends of the part), ``tasks``, ``value``,
        ``low``, ``high`` (of :func:`.inference.mean_benefit`). Parts with fewer than 10 tasks are left out.

    Raises
    ------
    TypeError, ValueError
        If parts is wrong.
    """
    pd = whole("pandas")

    parts = whole_number("parts", parts, 2)
    factors = with_factors(tasks).loc[benefits.index]
    found = []
    for name in FACTORS:
        values = factors[name]
        few = values.nunique() <= parts
        part = values.rank(method="dense") if few else pd.qcut(values, parts, labels=False, duplicates="drop")
        for _, numbers in values.groupby(part):
            if len(numbers) >= LEAST_FOR_A_PART:
                mean = inference.mean_benefit(benefits.loc[numbers.index].to_numpy())
                ends = {"factor": name, "least": numbers.min(), "most": numbers.max(), "tasks": len(numbers)}
                found.append(ends | mean._asdict())
    return pd.DataFrame(found)


class Explained(NamedTuple):
    """A linear prediction of the benefit of a task by its factors.

    Attributes
    ----------
    weights : frame
        ``factor`` and ``weight``, the change of the benefit with one standard deviation of the factor, in the order of
        their size.
    r2 : float
        The share of the variance between tasks that is predicted, on tasks that were not used for the weights; below 0
        if the mean predicts better.
    noise : float
        The share of that variance that is noise of replicates, which nothing can predict.
    """

    weights: pd.DataFrame
    r2: float
    noise: float


@default_errors
def explained(benefits: pd.DataFrame, tasks: pd.DataFrame) -> Explained:
    """Predict the benefit of tasks by their factors, with weights from tasks with even numbers, tested on the odd ones.

    Parameters
    ----------
    benefits, tasks
        As in :func:`by_factor`, with at least 3 tasks per factor among the even numbers.

    Returns
    -------
    Explained

    Raises
    ------
    ValueError
        If there are too few tasks.

    Notes
    -----
    Least squares on standardized factors, some as logarithms (``FACTORS``).
    """
    pd = whole("pandas")

    factors = with_factors(tasks).loc[benefits.index]
    even = benefits.index.to_numpy() % 2 == 0
    if min(even.sum(), (~even).sum()) < 3 * len(FACTORS):
        raise ValueError(f"benefits must have at least {6 * len(FACTORS)} tasks, got {len(benefits)}")
    table = np.column_stack([np.log(factors[name]) if log else factors[name] for name, log in FACTORS.items()])
    middle, spread = table[even].mean(axis=0), table[even].std(axis=0)
    design = np.column_stack([np.ones(len(table)), (table - middle) / np.where(spread > 0, spread, 1)])
    values = benefits.mean(axis=1).to_numpy()
    weights = np.linalg.lstsq(design[even], values[even], rcond=None)[0]
    error = values[~even] - design[~even] @ weights
    odd = benefits.to_numpy()[~even]
    variance = values[~even].var()
    noise = (odd.var(axis=1, ddof=1) / odd.shape[1]).mean() / variance
    frame = pd.DataFrame({"factor": [*FACTORS], "weight": weights[1:]})
    frame = frame.sort_values("weight", key=lambda column: -column.abs(), ignore_index=True, kind="stable")
    return Explained(frame, float(1 - (error**2).mean() / variance), float(noise))


@default_errors
def agreements(rows: Mapping[str, pd.DataFrame], arm: str, control: str) -> dict[str, Any]:
    """Compare a contrast between the experiments that it occurs in, on the tasks that they share.

    Parameters
    ----------
    rows : mapping of str to frame
        The rows of each experiment, at least 2 with both arms; they share at least 2 tasks.
    arm, control : str
        The names of the arms.

    Returns
    -------
    dict
        ``arm``, ``control``, ``experiments`` (their names, joined), ``tasks`` (how many they share), ``values`` (their
        mean benefits in log loss, joined), ``q`` and ``p`` of :func:`.inference.agreement`. The tasks are the same, so
        errors are those of the replicates alone.

    Raises
    ------
    ValueError
        If fewer than two experiments have both arms, or they share fewer than two tasks.
    """
    having = {name: each for name, each in rows.items() if {arm, control} <= {*each["arm"]}}
    if len(having) < 2:
        raise ValueError(f"rows must have two experiments with the arms {arm!r} and {control!r}, got {len(having)}")
    benefits = {name: trial.benefits(each, arm, control) for name, each in having.items()}
    shared = sorted(set.intersection(*({*frame.index} for frame in benefits.values())))
    if len(shared) < 2:
        raise ValueError(f"rows must share at least 2 tasks, got {len(shared)}")
    values, errors = [], []
    for frame in benefits.values():
        table = frame.loc[shared].to_numpy()
        values.append(float(table.mean()))
        errors.append(float(np.sqrt((table.var(axis=1, ddof=1) / table.shape[1]).sum()) / len(shared)))
    test = inference.agreement(values, errors)
    words = {"experiments": ", ".join(having), "tasks": len(shared), "values": ", ".join(f"{v:.4f}" for v in values)}
    return {"arm": arm, "control": control} | words | {"q": test.q, "p": test.p}
