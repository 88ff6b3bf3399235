"""Plots of a run and of a sweep with matplotlib, in the style that the user has set."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lookahead_nb.checks import named_arguments, of_type, one_of, shown, whole
from lookahead_nb.display import COLOURS, DASHES, MARKERS, Line, curves, is_wide
from lookahead_nb.training.setup import KINDS, SPLITS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from lookahead_nb.training.range_test import RangeTest
    from lookahead_nb.training.run import Run

MEASURES = ("loss", "accuracy")
PANEL = (5.0, 3.6)  # inches
MOST_SYNCS = 60  # that a panel can show apart
MOST_MARKERS = 8  # on a line
MOST_LINES = 12  # that a reader can tell apart
OF_SPLITS: dict[str, tuple[float, ...]] = {"train": (1, 1), "validation": (), "test": (4, 1.5)}  # dashes
LINES = [COLOURS[name] for name in ("AdamW", "Lookahead", "slow", "averaging", "AdamW at lr x step")]
NO_SETTINGS = ("task", "run", "seed", "lr", "step", "phase", "weights", "status", "diverged_at")
SAME = {"slow_step_size": "retention", "decay": "window"}  # one follows from the other


# ----------------------------------------------------------------------------------------------------------------- run


def plot_run(run: Run, splits: Iterable[str], ax: Any) -> tuple[Axes, ...]:
    """Draw the history of a run; see :meth:`lookahead_nb.training.Run.plot`.

    Parameters
    ----------
    run : Run
    splits, ax
        As there.

    Returns
    -------
    tuple of Axes

    Raises
    ------
    TypeError, ValueError
        If splits are unknown or ax is no panel, or more than the run has measures.
    """
    splits = (splits,) if isinstance(splits, str) else splits
    chosen = [one_of(f"splits[{i}]", split, SPLITS) for i, split in enumerate(splits)]
    if not chosen:
        raise ValueError(f"splits must hold at least one of {', '.join(map(repr, SPLITS))}, got none")
    measures = MEASURES if run.setup.model.needs_data else MEASURES[:1]
    drawn = [split for split in chosen if run.setup.model.needs_data or split == "train"]
    if not drawn:
        raise ValueError(f"splits must hold 'train' for a landscape, which has no rows, got {shown(chosen)}")
    panels = _panels(ax, len(measures))
    for panel, measure in zip(panels, measures, strict=False):
        _draw(panel, run, measure, drawn)
    panels[0].legend(fontsize="small")
    return panels


def plot_range_test(found: RangeTest, ax: Any) -> Axes:
    """Draw the losses of a range test; see :meth:`lookahead_nb.training.range_test.RangeTest.plot`.

    Parameters
    ----------
    found : RangeTest
    ax
        As there.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError, ValueError
        If ax is no panel, or more than one.
    """
    (panel,) = _panels(ax, 1)
    rows = found.rows
    panel.plot(rows["lr"], rows["train_loss"], color="0.7", lw=0.8, label="loss after the step")
    panel.plot(rows["lr"], rows["smoothed"], color=COLOURS["AdamW"], label="smoothed")
    if found.lr is not None:
        panel.axvline(found.lr, color="0.4", ls=":", label=f"steepest fall: lr = {found.lr:.3g}")
    panel.set_xscale("log")
    if is_wide(rows["train_loss"].tolist()):
        panel.set_yscale("log")
    panel.set(xlabel="lr", ylabel="training loss")
    panel.legend(fontsize="small")
    return panel


def _panels(ax: Any, most: int) -> tuple[Axes, ...]:
    """Return the panels that are given, or those of a new figure."""
    if ax is None:
        size = PANEL[0] * most, PANEL[1]
        figure = whole("matplotlib.pyplot").figure(figsize=size, layout="constrained")
        return tuple(figure.subplots(1, most, squeeze=False)[0])
    kind = whole("matplotlib.axes").Axes
    given = (ax,) if isinstance(ax, kind) else tuple(np.ravel(np.asarray(ax, object)))
    for panel in given:
        of_type("ax", panel, kind, "Axes of matplotlib, or a list of them")
    if not 1 <= len(given) <= most:
        raise ValueError(f"ax must be Axes, or a list of at most {most} for this run, got {len(given)}")
    return given


def _draw(ax: Axes, run: Run, measure: str, splits: Sequence[str]) -> None:
    values: list[float] = []
    for split in splits:
        for kind, rows in _by_kind(run):
            y = rows[f"{split}_{measure}"].to_numpy()
            values += y[np.isfinite(y)].tolist()
            names = ([split] if len(splits) > 1 else []) + ([kind] if run.slow is not None else [])
            label = ", ".join(names) or split
            dashes = OF_SPLITS[split] if len(splits) > 1 else _dashes(run, kind)
            (line,) = ax.plot(rows["step"], y, color=COLOURS[kind], marker=MARKERS[kind], ms=4, label=label)
            line.set_markevery(max(1, len(rows) // MOST_MARKERS))
            if dashes:
                line.set_dashes(dashes)
    if at := syncs_to_mark(run):
        ax.vlines(at, 0, 0.03, transform=ax.get_xaxis_transform(), color="0.5", lw=0.8, label="sync")
    if run.diverged_at is not None:
        ax.axvline(run.diverged_at, color="0.5", ls=":", label=f"diverged at step {run.diverged_at}")
    if measure == "loss" and values and is_wide(values):
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel=measure)


def _by_kind(run: Run) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the kinds of weights of a run, each with its rows of the history."""
    for kind in KINDS:
        rows = run.history[run.history["weights"] == kind]
        if len(rows):
            yield kind, rows


def _dashes(run: Run, kind: str) -> tuple[float, ...]:
    return DASHES[kind] if run.slow is not None else ()


def syncs_to_mark(run: Run) -> list[int]:
    """Return the steps of the syncs of a run, if a plot can show them apart.

    Parameters
    ----------
    run : Run

    Returns
    -------
    list of int
        Empty without syncs, with one after every step, and for more than 60.
    """
    sync, steps = run.state.optimizer.sync, run.state.t
    if sync is None or sync.period == 1 or not 1 <= steps // sync.period <= MOST_SYNCS:
        return []
    return [*range(sync.period, steps + 1, sync.period)]


def pictures_of(run: Run) -> str:
    """Return small pictures of the training and the validation loss over the steps, as SVG.

    Parameters
    ----------
    run : Run

    Returns
    -------
    str
    """
    pictures = ""
    for split in SPLITS[:2] if run.setup.model.needs_data else SPLITS[:1]:
        lines = []
        for kind, rows in _by_kind(run):
            name, y = kind if run.slow is not None else "", rows[f"{split}_loss"].tolist()
            lines.append(Line(name, rows["step"].tolist(), y, COLOURS[kind], _dashes(run, kind)))
        about = f"The {split} loss over {run.setup.steps} steps"
        pictures += curves(lines, f"{split} loss", "step", about)
    return pictures


# --------------------------------------------------------------------------------------------------------------- sweep


@named_arguments
def plot(rows: pd.DataFrame, *, measure: str | None = None, weights: str = "slow", ax: Axes | None = None) -> Axes:
    """Draw the loss at the end of the runs of a sweep over the learning rate, a line for each of the other settings.

    A line is the median over seeds; its band reaches from the lower to the upper quartile. A run that diverged counts
    as infinite. Where most runs diverged the line ends, and a cross marks the rate at the edge.

    Parameters
    ----------
    rows : frame
        Of :func:`lookahead_nb.sweep`, of one task and one number of steps.
    measure : str, optional
        A column, such as "test_accuracy". Default: "validation_loss", for a landscape "train_loss".
    weights : str
        "slow" for the slow weights where there are some, else the fast ones; or "fast".
    ax : Axes, optional
        Where to draw. Default: a new figure of matplotlib.pyplot.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError, ValueError
        If rows is no frame, or has no learning rates, several tasks or several numbers of steps, or an argument is
        unknown.

    Notes
    -----
    More than 12 settings are drawn as points, and so are those of a random search, with one learning rate each. A point
    is the median over seeds of a setting, in the colour of its optimizer.

    Examples
    --------
    >>> import lookahead_nb as lnb
    >>> bowl, configs = lnb.landscapes.Quadratic([1.0], noise=0.1), lnb.grid(lnb.SGD(), lr=[0.1, 0.5, 1.0])
    >>> rows = lnb.sweep(bowl, None, configs, seeds=5, steps=20)
    >>> lnb.plot(rows).get_ylabel()
    'train loss'
    """
    ends, measure = _ends_of_runs(rows, measure, one_of("weights", weights, KINDS))
    groups = _groups(ends)
    alone = len(groups) > 1 and all(len({*ends["lr"][index]}) == 1 for index in groups.values())
    as_points = alone or len(groups) > MOST_LINES
    panel = _panels(ax, 1)[0]
    if as_points:
        groups = {str(name): index.index for name, index in ends.groupby("optimizer", sort=False)}
    by = ["lr", *_settings(ends)] if as_points else ["lr"]
    lines = {name: _quartiles(ends.loc[index], measure, by) for name, index in groups.items()}
    every = np.concatenate([line[:, 1:] for line in lines.values()])
    finite = every[np.isfinite(every)].tolist()
    for i, (name, line) in enumerate(lines.items()):
        look = {"color": LINES[i % len(LINES)], "marker": "osD^vP"[i % 6], "ms": 4, "label": name}
        _draw_line(panel, line, finite, look, as_points=as_points)
    if not np.isfinite(every[:, 1]).all():
        panel.plot([], [], "x", color="0.5", label="most runs diverged")
    rates = ends["lr"].to_numpy(float)
    if rates.min() > 0 and rates.max() > rates.min():
        panel.set_xscale("log")
    if measure.endswith("loss") and finite and is_wide(finite):
        panel.set_yscale("log")
    seeds = ends["seed"].nunique()
    over = "one seed" if seeds == 1 else f"median of {seeds} seeds" + ("" if as_points else ", band: middle half")
    panel.set(xlabel="lr", ylabel=measure.replace("_", " "))
    panel.legend(title=over, fontsize="small", title_fontsize="small")
    return panel


def _ends_of_runs(rows: Any, measure: str | None, weights: str) -> tuple[pd.DataFrame, str]:
    """Return the last row of each run, of the chosen weights, and the name of the column to draw."""
    of_type("rows", rows, whole("pandas").DataFrame, "a frame of lookahead_nb.sweep")
    if "lr" not in rows:
        raise ValueError(f"rows must have the column 'lr' of a sweep, got {shown([*rows.columns])}")
    needed = ["run", "seed", "optimizer", "step", "weights", "train_loss"]
    if absent := [name for name in needed if name not in rows]:
        raise ValueError(f"rows must have the column {absent[0]!r} of a sweep, got {shown([*rows.columns])}")
    if measure is not None:
        one_of("measure", measure, [name for name in rows if str(name).endswith(MEASURES)])
    if rows.empty:
        raise ValueError("rows must hold at least one run, got none")
    if "task" in rows and rows["task"].nunique() > 1:
        names = [*rows["task"].unique()]
        raise ValueError(f"rows must be of one task, got {shown(names)}: choose one, as in rows[rows['task'] == ...]")
    steps = rows.groupby("run", sort=False)["step"].transform("max")
    if steps.nunique() > 1:
        raise ValueError(
            f"rows must end at one step, got ends at {shown(sorted({*steps.tolist()}))}: choose one length"
        )
    ends = rows[rows["step"] == steps]
    slow = {*ends["run"][ends["weights"] == "slow"]} if weights == "slow" else set()
    ends = ends[(ends["weights"] == "slow") == ends["run"].isin(slow)].reset_index(drop=True)
    if measure is None:
        has_validation = "validation_loss" in ends and ends["validation_loss"].notna().any()
        measure = "validation_loss" if has_validation else "train_loss"
    return ends, measure


def _groups(ends: pd.DataFrame) -> dict[str, Any]:
    """Return the rows of each setting by its name, lr apart."""
    vary = [name for name in _settings(ends) if ends.groupby("optimizer")[name].nunique(dropna=False).max() > 1]
    vary = [name for name in vary if SAME.get(name) not in vary and name != "optimizer"]
    labels = ["optimizer", *vary]
    groups: dict[str, Any] = {}
    for (first, *others), rows in ends.groupby(labels, sort=False, dropna=False):
        told = [f"{n}={_number(v)}" for n, v in zip(vary, others, strict=True) if v is not None and v == v]
        groups[" ".join([str(first), *told])] = rows.index
    return groups


def _settings(ends: pd.DataFrame) -> list[str]:
    """Return the columns of the settings except lr."""
    return [name for name in ends if name not in NO_SETTINGS and not str(name).endswith(MEASURES)]


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def _quartiles(ends: pd.DataFrame, measure: str, by: list[str]) -> np.ndarray:
    """Return the learning rate, lower quartile, median and upper quartile of each group of runs."""
    worst = -math.inf if measure.endswith("accuracy") else math.inf
    rows = []
    for key, values in ends.groupby(by, dropna=False)[measure]:
        numbers = values.fillna(worst).tolist()
        rows.append([float(key[0]), *(quantile(numbers, share) for share in (0.25, 0.5, 0.75))])
    return np.array(rows)


def _draw_line(ax: Axes, line: np.ndarray, finite: list[float], look: dict[str, Any], *, as_points: bool) -> None:
    """Draw the quartiles of a setting, or the medians of an optimizer as points; finite : all finite numbers drawn."""
    x, low, middle, high = line.T
    lost = ~np.isfinite(middle)
    ax.plot(x, np.where(lost, np.nan, middle), ls="none" if as_points else "-", **look)
    if not as_points and finite and (low != high).any():
        low, high = (np.clip(np.where(lost, np.nan, end), min(finite), max(finite)) for end in (low, high))
        ax.fill_between(x, low, high, color=look["color"], alpha=0.2, lw=0)
    if lost.any():
        edge = np.where(middle[lost] > 0, 1.0, 0.0)  # upper for losses, lower for accuracies
        ax.plot(x[lost], edge, "x", color=look["color"], transform=ax.get_xaxis_transform(), clip_on=False)


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile of numbers, some of which may be infinite, with linear interpolation.

    Parameters
    ----------
    values : sequence of float
        At least one, without NaN.
    share : float
        In [0, 1].

    Returns
    -------
    float

    Examples
    --------
    >>> from lookahead_nb.training.plots import quantile
    >>> quantile([1.0, float("inf"), 3.0], 0.5), quantile([1.0, 2.0], 0.5)
    (3.0, 1.5)
    """
    ordered, place = sorted(values), share * (len(values) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    if below == above or math.isinf(below):
        return below
    return above if math.isinf(above) else below + (place % 1) * (above - below)
