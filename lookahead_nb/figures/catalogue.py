"""All figures: the notebook and the committed tables of each, and the one way to draw it again."""

from __future__ import annotations

import difflib
import json
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.checks import shown
from lookahead_nb.figures import (
    agents,
    comparing,
    convergence,
    games,
    inner_optimizers,
    local_optima,
    noise_floor,
    one_family,
    other_numbers,
    performance,
    population,
    procedure,
    quick_start,
    retention,
    settings,
    statements,
    sync_period,
    update_rules,
    verdicts,
    when_it_helps,
    your_own_question,
)


@dataclass(frozen=True)
class Entry:
    """A figure of a notebook.

    Parameters
    ----------
    notebook : str
        The name of the notebook without its ending.
    tables : tuple of str
        Names of tables in ``data/results``.
    draw : callable
        Draws the figure from the frames of its tables, in their order.
    timings : tuple of str, optional
        Names of tables in ``data/timings``, whose frames come next. None by default.
    on_gpu : str, optional
        One more table in ``data/timings``, used where it has been measured. "" for none, the default.
    """

    notebook: str
    tables: tuple[str, ...]
    draw: Callable[..., Any]
    timings: tuple[str, ...] = ()
    on_gpu: str = ""

    def paths(self) -> list[pathlib.Path]:
        """Return the paths of the committed tables.

        Returns
        -------
        list of Path
            One path for each frame that ``draw`` accepts, in its order.
        """
        folder = tables.committed("data")
        paths = [folder / f"results/{name}.csv" for name in self.tables]
        paths += [folder / f"timings/{name}.csv" for name in self.timings]
        seldom = folder / f"timings/{self.on_gpu}.csv"
        return [*paths, *([seldom] if self.on_gpu and seldom.is_file() else [])]


FIGURES = {
    "quick_start_losses": Entry("00_quick_start", ("quick_start",), quick_start.losses),
    "update_rules_readings": Entry("01_update_rules", ("update_rules_pull_back",), update_rules.readings),
    "update_rules_surface": Entry("01_update_rules", ("update_rules_surface",), update_rules.surface),
    "retention_over_time": Entry("02_retention", ("retention_over_time",), retention.over_time),
    "retention_tasks": Entry("02_retention", ("retention_tasks",), statements.all_tasks),
    "sync_period_rates": Entry("03_sync_period", ("sync_period_cycle", "sync_period_rates"), sync_period.by_rate),
    "sync_period_tasks": Entry("03_sync_period", ("sync_period_tasks",), statements.all_tasks),
    "settings_tasks": Entry("04_settings", ("settings_tasks",), statements.all_tasks),
    "settings_surface": Entry("04_settings", ("settings_surface",), settings.surface),
    "settings_rate": Entry("04_settings", ("settings_surface",), settings.rates),
    "against_adam_tasks": Entry("05_against_adam", ("against_adam_tasks",), statements.all_tasks),
    "convergence_cycle": Entry("06_convergence", ("convergence_cycle", "convergence_phases"), convergence.cycle),
    "convergence_published": Entry(
        "06_convergence",
        ("convergence_over_time", "convergence_matched_risk", "convergence_gaps"),
        convergence.published,
    ),
    "convergence_identity": Entry("06_convergence", ("convergence_identity",), convergence.identity),
    "noise_floor_prediction": Entry(
        "06b_noise_floor", ("noise_floor_floors", "noise_floor_epoch"), noise_floor.prediction
    ),
    "slow_weights_tasks": Entry("07_slow_weights", ("slow_weights_tasks",), statements.all_tasks),
    "slow_weights_phase": Entry("07_slow_weights", ("slow_weights_phase",), statements.all_tasks),
    "inner_optimizers_oscillation": Entry(
        "08_inner_optimizers", ("inner_optimizers_ratios", "inner_optimizers_path"), inner_optimizers.oscillation
    ),
    "inner_optimizers_tasks": Entry("08_inner_optimizers", ("inner_optimizers_tasks",), statements.all_tasks),
    "inner_optimizers_adam": Entry("08_inner_optimizers", ("inner_optimizers_adam",), statements.all_tasks),
    "local_optima_paths": Entry("09_local_optima", ("local_optima_paths", "local_optima_profile"), local_optima.paths),
    "local_optima_tasks": Entry("09_local_optima", ("local_optima_tasks",), statements.all_tasks),
    "your_own_question": Entry(
        "10_your_own_question", ("your_own_question",), lambda rows: your_own_question.against_adamw(rows, margin=1.0)
    ),
    "population_rows": Entry("10b_population", ("population_rows",), population.rows),
    "population_regimes": Entry("10b_population", ("population_screening",), population.regimes),
    "procedure_verdicts": Entry("10c_procedure", ("procedure_simulated",), procedure.verdicts),
    "procedure_worth": Entry("10c_procedure", ("procedure_worth",), procedure.worth),
    "statements_worth": Entry("10d_which_tasks", ("statements_worth",), statements.worth),
    "statements_tasks": Entry("10d_which_tasks", ("statements_tasks",), statements.every_task),
    "statements_factors": Entry("10d_which_tasks", ("statements_factors",), statements.factors),
    "statements_ranges": Entry("10d_which_tasks", ("statements_ranges",), statements.ranges),
    "verdicts": Entry("11_verdicts", ("statements",), verdicts.forest),
    "performance_roofline": Entry(
        "12_performance", (), performance.roofline, ("flat_step", "sweep"), on_gpu="cuda-flat_step"
    ),
    "performance_steps": Entry("12_performance", (), performance.steps, ("flat_step",), on_gpu="cuda-flat_step"),
    "performance_sweeps": Entry("12_performance", (), performance.sweeps, ("sweep",), on_gpu="cuda-sweep"),
    "performance_scaling": Entry("12_performance", (), performance.scaling, ("scaling",)),
    "other_numbers_curves": Entry("14_other_peoples_numbers", ("other_numbers_curves",), other_numbers.curves),
    "other_numbers_orders": Entry(
        "14_other_peoples_numbers", ("other_numbers_minibatches", "other_numbers_orders"), other_numbers.orders
    ),
    "other_numbers_lookahead": Entry(
        "14_other_peoples_numbers", ("other_numbers_lookahead", "other_numbers_starts"), other_numbers.lookahead
    ),
    "gan_ring": Entry("13b_gan_on_a_ring", ("gan_points", "gan_distances"), games.ring),
    "gan_tasks": Entry("13b_gan_on_a_ring", ("gan_tasks",), statements.all_tasks),
    "games_noisy": Entry("13b_gan_on_a_ring", ("games_noisy",), games.noisy),
    "when_it_helps_rule": Entry("16_when_it_helps", ("when_it_helps_best", "when_it_helps_curves"), when_it_helps.rule),
    "when_it_helps_gains": Entry(
        "16_when_it_helps", ("when_it_helps_gains", "when_it_helps_means"), when_it_helps.gains
    ),
    "comparing_costs": Entry(
        "17_what_comparing_costs",
        ("comparing_sources", "comparing_itself", "comparing_false", "comparing_luck"),
        comparing.costs,
    ),
    "games_rotation": Entry("13_games", ("games_paths", "games_distances"), games.rotation),
    "games_rule": Entry("13_games", ("games_least", "games_rates"), games.rule),
    "games_left": Entry("13_games", ("games_left",), games.left),
    "games_published": Entry("13_games", ("games_published",), games.published),
    "agents_learning": Entry("13c_agents", ("agents_learning",), agents.learning),
    "agents_tasks": Entry("13c_agents", ("agents_tasks",), statements.all_tasks),
    "one_family_frontier": Entry(
        "15_one_family", ("one_family_frontier", "one_family_wedge"), one_family.noise_and_speed
    ),
    "one_family_worths": Entry("15_one_family", ("one_family_worths",), one_family.worths),
}


def entry(name: str) -> Entry:
    """Return the entry of a figure.

    Parameters
    ----------
    name : str
        The name of the figure.

    Returns
    -------
    Entry
        Its notebook, its tables and its drawing function.

    Raises
    ------
    TypeError
        If name is no text.
    ValueError
        If no figure has that name; the message lists the nearest names.

    Examples
    --------
    >>> entry("verdicts").notebook
    '11_verdicts'
    """
    if not isinstance(name, str):
        raise TypeError(f"NAME must be the name of a figure, got {shown(name)}")
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=3, cutoff=0.4) or [*FIGURES]
        raise ValueError(f"NAME must be a figure, such as {', '.join(near)}, got {name!r}")
    return FIGURES[name]


def committed() -> list[str]:
    """Return the names of the figures that the checkout holds.

    Returns
    -------
    list of str
        The names, in the order of ``FIGURES``.
    """
    return [name for name in FIGURES if _manifest_path(name).is_file()]


def captions(notebook: str) -> dict[str, str]:
    """Return the captions of the committed figures of a notebook.

    Parameters
    ----------
    notebook : str
        The name of the notebook without its ending.

    Returns
    -------
    dict of str
        The captions by name of the figure.
    """
    return {name: manifest_of(name)["caption"] for name in committed() if FIGURES[name].notebook == notebook}


def draw(name: str, *, folder: pathlib.Path | None = None) -> bool:
    """Draw a figure from the committed tables and compare it with the committed files.

    Parameters
    ----------
    name : str
        The name of the figure.
    folder : Path, optional
        The folder of the new files, by default ``build_folder("figures")``.

    Returns
    -------
    bool
        Whether the new files have the bytes of the committed ones.

    Raises
    ------
    ValueError
        If no figure has that name, or a table does not match its manifest.
    OSError
        If a table or the committed figure is missing.

    Notes
    -----
    The caption and the alternative text are those that the notebook gave.
    """
    drawn, manifest = entry(name), manifest_of(name)
    frames = [tables.read_table(path) for path in drawn.paths()]
    figures.use_style()
    figures.save(drawn.draw(*frames), name, manifest["caption"], manifest["alt"], folder=folder)
    made = (tables.build_folder("figures") if folder is None else folder) / f"{name}.json"
    return json.loads(made.read_text(encoding="utf-8"))["sha256"] == manifest["sha256"]


def manifest_of(name: str) -> dict[str, Any]:
    """Return the manifest of a committed figure.

    Parameters
    ----------
    name : str
        The name of the figure.

    Returns
    -------
    dict
        The ``caption``, the ``alt`` text, the ``sha256`` of both files, and ``drawn_with``, the versions used.

    Raises
    ------
    ValueError
        If no figure has that name.
    OSError
        If the notebook has not drawn the figure yet.
    """
    entry(name)
    tables.committed("paper/figures")
    if not _manifest_path(name).is_file():
        raise OSError(f"{name} has not been drawn by its notebook yet: paper/figures/{name}.json is missing")
    return json.loads(_manifest_path(name).read_text(encoding="utf-8"))


def where(name: str) -> Iterator[str]:
    """Report where a committed figure comes from.

    Parameters
    ----------
    name : str
        The name of the figure.

    Yields
    ------
    str
        A line on the notebook, a table, its configurations, its machine, or a command that draws the figure.

    Raises
    ------
    ValueError, OSError
        As :func:`draw` does.
    """
    drawn, manifest = entry(name), manifest_of(name)
    yield f"figure    paper/figures/{name}.svg and .pdf: {manifest['caption']}"
    yield f"notebook  notebooks/{drawn.notebook}.ipynb, made from notebooks/source/{drawn.notebook}.py"
    for path in drawn.paths():
        rows = len(tables.read_table(path))
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        yield f"table     data/{path.parent.name}/{path.name}, {rows:,} rows, sha256 {about['sha256'][:16]}"
        registered = f", registered as {about['entry'][:16]}" if "entry" in about else ""
        yield f"  configurations  {about['configurations'][:16]}{registered}"
        yield f"  made on         {tables.made_on(path)}"
    yield "drawn by  " + ", ".join(f"{package} {version}" for package, version in manifest["drawn_with"].items())
    yield f"  again from these tables         lookahead-nb figures {name}"
    if not drawn.timings:
        yield f"  with the tables, from nothing   python notebooks/reproduce.py {drawn.notebook}"
        return
    yield f"  again in its notebook           python notebooks/reproduce.py {drawn.notebook}"
    yield "  with times measured again       make bench, then the line above"
    if drawn.on_gpu:
        yield "  and with those of a GPU         make bench DEVICE=cuda, then the same"


def _manifest_path(name: str) -> pathlib.Path:
    return tables.checkout() / "paper/figures" / f"{name}.json"
