"""Every figure: the notebook it belongs to, the committed tables it is drawn from, and the one way to draw it again."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lookahead_nb import claims, figures, tables
from lookahead_nb.figures import (
    convergence,
    faq_8_1_alpha,
    faq_8_2_k,
    faq_8_3_vs_adam,
    inner_rules,
    local_optima,
    noise_floor,
    performance,
    quick_start,
    response_surface,
    slow_weights,
    update_rules,
    verdicts,
    your_own_question,
)
from lookahead_nb.problems import with_parameters


@dataclass(frozen=True)
class Entry:
    """A figure. notebook : str, without ending. tables : names in ``data/results``. draw : from their frames to it.

    timings : names in ``data/timings``, whose frames come next. on_gpu : one more of these, where it has been measured.
    """

    notebook: str
    tables: tuple[str, ...]
    draw: Callable[..., Any]
    timings: tuple[str, ...] = ()
    on_gpu: str = ""

    def paths(self):
        """Return the paths of the committed tables whose frames draw takes, in its order."""
        folder = tables.checkout() / "data"
        paths = [folder / f"results/{name}.csv" for name in self.tables]
        paths += [folder / f"timings/{name}.csv" for name in self.timings]
        seldom = folder / f"timings/{self.on_gpu}.csv"
        return [*paths, *([seldom] if self.on_gpu and seldom.is_file() else [])]


FIGURES = {
    "quick_start_losses": Entry("00_quick_start", ("quick_start",), quick_start.losses),
    "update_rules_readings": Entry("01_update_rules", ("update_rules_pull_back",), update_rules.readings),
    "update_rules_surface": Entry("01_update_rules", ("update_rules_surface",), update_rules.surface),
    "faq_8_1_alpha_speed": Entry("02_faq_8_1_alpha", ("C01",), faq_8_1_alpha.speed),
    "faq_8_1_alpha_stability": Entry("02_faq_8_1_alpha", ("C02",), faq_8_1_alpha.stability),
    "faq_8_1_alpha_budget": Entry("02_faq_8_1_alpha", ("C04",), faq_8_1_alpha.budget),
    "faq_8_2_k_exact_cycle": Entry("03_faq_8_2_k", ("faq_8_2_k_exact_cycle",), faq_8_2_k.exact_cycle),
    "faq_8_2_k_stability_and_speed": Entry("03_faq_8_2_k", ("C05",), faq_8_2_k.stability_and_speed),
    "faq_8_2_k_choice": Entry("03_faq_8_2_k", ("C07",), faq_8_2_k.choice),
    "response_surface_best_of": Entry("04_response_surface", ("C14",), response_surface.best_of),
    "response_surface_maps": Entry("04_response_surface", ("response_surface",), response_surface.maps),
    "response_surface_ridge": Entry("04_response_surface", ("response_surface",), response_surface.ridge),
    "response_surface_finer": Entry(
        "04_response_surface", ("response_surface_teacher", "response_surface_fashion"), response_surface.finer
    ),
    "faq_8_3_over_tasks": Entry("05_faq_8_3_vs_adam", ("C08",), faq_8_3_vs_adam.over_tasks),
    "faq_8_3_training_time": Entry(
        "05_faq_8_3_vs_adam", ("C10", "C08", "faq_8_3_overtaking"), faq_8_3_vs_adam.training_time
    ),
    "faq_8_3_data_size": Entry("05_faq_8_3_vs_adam", ("C09",), faq_8_3_vs_adam.data_size),
    "faq_8_3_text": Entry("05_faq_8_3_vs_adam", ("C19",), faq_8_3_vs_adam.text),
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
    "slow_weights_by_phase": Entry("07_slow_weights", ("C13",), slow_weights.by_phase),
    "slow_weights_generalisation": Entry("07_slow_weights", ("C11",), slow_weights.generalisation),
    "slow_weights_decay": Entry("07_slow_weights", ("C12",), slow_weights.decay),
    "inner_rules": Entry("08_inner_rules", ("C15",), inner_rules.around_every_rule),
    "inner_rules_adaptive": Entry("08_inner_rules", ("inner_rules_steps", "C16"), inner_rules.adapting),
    "inner_rules_changing": Entry("08_inner_rules", ("C20",), inner_rules.sparse_and_drifting),
    "local_optima_paths": Entry("09_local_optima", ("local_optima_paths",), local_optima.paths),
    "local_optima_rates": Entry("09_local_optima", ("C03", "C06"), local_optima.rates),
    "local_optima_stuck": Entry("09_local_optima", ("C03", "C06"), local_optima.stuck),
    "local_optima_tuned": Entry("09_local_optima", ("C17_tuning",), local_optima.tuned),
    "your_own_question": Entry(
        "10_your_own_question", ("your_own_question",), lambda arms: your_own_question.against_adamw(arms, margin=0.02)
    ),
    "verdicts": Entry("11_verdicts", ("verdicts",), verdicts.forest),
    "performance_roofline": Entry(
        "12_performance", (), performance.roofline, ("flat_step", "sweep"), on_gpu="cuda-flat_step"
    ),
    "performance_steps": Entry("12_performance", (), performance.steps, ("flat_step",), on_gpu="cuda-flat_step"),
    "performance_sweeps": Entry("12_performance", (), performance.sweeps, ("sweep",), on_gpu="cuda-sweep"),
    "performance_scaling": Entry("12_performance", (), performance.scaling, ("scaling",)),
}


def entry(name):
    """Return the entry of a figure. name : str. errors : ValueError, with the names that are nearest."""
    if name not in FIGURES:
        near = difflib.get_close_matches(name, FIGURES, n=3, cutoff=0.4) or [*FIGURES]
        raise ValueError(f"NAME must be a figure, such as {', '.join(near)}, not {name!r}")
    return FIGURES[name]


def committed():
    """Return the names of the figures that the notebooks have drawn and the checkout holds, in their order."""
    return [name for name in FIGURES if _manifest(name).is_file()]


def captions(notebook):
    """Return the captions of the committed figures of a notebook, a dict by name. notebook : str, without ending."""
    return {name: told(name)["caption"] for name in committed() if FIGURES[name].notebook == notebook}


def draw(name, *, folder=None):
    """Draw a figure from the committed tables, in the words its notebook gave it, and say whether it is the committed.

    name : str. folder : path, default ``build_folder("figures")``. returns : bool, whether the bytes are those of the
    committed files. errors : ValueError for a name that is none, or a table that is not the one of its manifest;
    OSError for a table or a figure that is not there yet.
    """
    drawn, manifest = entry(name), told(name)
    frames = [_read(path) for path in drawn.paths()]
    figures.use_style()
    figures.save(drawn.draw(*frames), name, manifest["caption"], manifest["alt"], folder=folder)
    made = (tables.build_folder("figures") if folder is None else folder) / f"{name}.json"
    return json.loads(made.read_text(encoding="utf-8"))["sha256"] == manifest["sha256"]


def _read(path):
    """Return a committed table, with the parameters of its tasks, and of its arms where it is that of a claim."""
    frame = tables.read_table(path)
    if "task" not in frame:
        return frame
    register = claims.read()
    if path.stem in register:
        return claims.results(register[path.stem], folder=path.parent)
    return with_parameters(frame, {name: each.problems[name] for each in register.values() for name in each.tasks})


def told(name):
    """Return the manifest of a committed figure: caption, alt, sha256 and drawn_with.

    name : str. errors : ValueError, OSError.
    """
    entry(name)
    if not _manifest(name).is_file():
        raise OSError(f"{name} has not been drawn by its notebook yet: paper/figures/{name}.json is missing")
    return json.loads(_manifest(name).read_text(encoding="utf-8"))


def where(name):
    """Return the lines that trace a committed figure: notebook, tables, their configurations and machine, commands.

    name : str. errors : as of :func:`draw`.
    """
    drawn, manifest = entry(name), told(name)
    yield f"figure    paper/figures/{name}.svg and .pdf: {manifest['caption']}"
    yield f"notebook  notebooks/{drawn.notebook}.ipynb, made from notebooks/source/{drawn.notebook}.py"
    for path in drawn.paths():
        rows = len(tables.read_table(path))
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        yield f"table     data/{path.parent.name}/{path.name}, {rows:,} rows, sha256 {about['sha256'][:16]}"
        yield f"  configurations  {about['configurations'][:16]}" + (
            f", registered as {about['claim'][:16]}" if "claim" in about else ""
        )
        yield f"  made on         {tables.made_on(path)}"
    yield "drawn by  " + ", ".join(f"{package} {version}" for package, version in manifest["drawn_with"].items())
    yield f"  again from these tables         lookahead-nb figures {name}"
    if not drawn.timings:
        yield f"  with the tables, from nothing   python notebooks/reproduce.py {drawn.notebook}"
        return
    yield f"  again in its notebook           python notebooks/reproduce.py {drawn.notebook}"
    yield "  with times measured anew        make bench, then the line above"
    if drawn.on_gpu:
        yield "  and with those of a GPU         make bench DEVICE=cuda, then the same"


def _manifest(name):
    return tables.checkout() / "paper/figures" / f"{name}.json"
