"""Recompute what depends on the class of the CPU, and a table of training, into the results of LOOKAHEAD_NB_BUILD.

``test_cpu_classes.py`` runs this file in processes that take the machine for another one. Each table is the committed
one with the columns replaced that are computed here, so that it can be compared as ``make verify`` does. The last line
of the output is JSON: the code that NumPy and BLAS chose, what training starts from, and figures that differ.
"""

import contextlib
import json
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from threadpoolctl import threadpool_info

import lookahead_nb as lnb
from lookahead_nb import figures, theory
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, population
from lookahead_nb.figures import catalogue
from lookahead_nb.optimizers import step_table
from lookahead_nb.theory import near_minimum, predictions

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))
import reproduce  # noqa: E402

FIRST_TABLES = ("00_quick_start", "03_sync_period")  # the one of training, and the one of the exact cycle


def committed(name):
    """Return a committed table."""
    return tables.read_table(ROOT / f"data/results/{name}.csv")


def first_table_of(notebook):
    """Run the code of a notebook up to the cell that writes its first table."""
    namespace = {}
    cells = reproduce.prepared(ROOT / f"notebooks/source/{notebook}.py").cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    last = next(i for i, source in enumerate(code) if "write_table" in source)
    with contextlib.chdir(ROOT / "notebooks"):
        exec("\n".join(code[: last + 1]), namespace)


def cycles():
    """Write what theory says of quadratics."""
    modes = committed("convergence_cycle")
    for (k, state), rows in modes.groupby(["sync_period", "inner_state"]):
        settings = {name: rows[name].to_numpy() for name in ("lr", "beta1")} | {"noise": 1.0}
        cycle = theory.Cycle(
            **settings, sync_period=int(k), inner_state=state, slow_step_size=rows["slow_step_size"].to_numpy()
        )
        inner = theory.Cycle(**settings)
        modes.loc[rows.index, "predicted_rate"], modes.loc[rows.index, "inner_rate"] = cycle.rate, inner.rate
        modes.loc[rows.index, "predicted_variance"] = cycle.covariance()[..., theory.SLOW, theory.SLOW]
        modes.loc[rows.index, "inner_variance"] = inner.covariance()[..., theory.FAST, theory.FAST]
    tables.write_table(modes, "convergence_cycle")
    conditions, a = np.geomspace(10, 1e5, 9), 1 / np.arange(1, 101)
    gaps = predictions.gaps_around_momentum(conditions, [2, 50], 0.99, sync_period=20, slow_step_size=0.5)
    tables.write_table(gaps, "convergence_gaps")
    wanted = {"sync_periods": [5, 10, 20, 50], "slow_step_sizes": [0.5]}
    ratios = predictions.at_matched_risk(1000, np.geomspace(0.005, 0.2, 41), a, np.sqrt(a), **wanted)
    tables.write_table(ratios[0.5].reset_index(), "convergence_matched_risk")


def noise_floor():
    """Write what theory says of the noise near a minimum, with the weights that were measured left as they are."""
    data, model = lnb.datasets.load("logistic_teacher"), lnb.LogisticRegression(20, l2=0.1)
    minimum, floors = near_minimum.Minimum.of(model, data), committed("noise_floor_floors")
    nothing = near_minimum.Weights(*np.zeros((2, 10, 2, len(minimum.params))))
    at = range(5010, 7000, 210)
    base = lnb.Lookahead(lnb.AdamW(0.01))
    arms = lnb.grid(base, beta1=[0.0, 0.9], slow_step_size=[0.2, 0.8], sync_period=[5, 50])
    made = predictions.floors(minimum, dict.fromkeys(arms, nothing), at, 30)
    keys = ["lr", "beta1", "slow_step_size", "sync_period", "measure"]
    made = made.set_index(keys)[["predicted", "independent"]]
    floors = floors.set_index(keys)
    floors.loc[made.index, made.columns] = made
    tables.write_table(floors.reset_index()[committed("noise_floor_floors").columns], "noise_floor_floors")
    shown = minimum.cycle(lnb.Lookahead(lnb.AdamW(0.01), sync_period=20), 30)
    epoch = predictions.through_epoch(shown, nothing, at)
    tables.write_table(committed("noise_floor_epoch").assign(predicted=epoch["predicted"]), "noise_floor_epoch")


def start_of_training():
    """Return data of generated tasks, and a hash of the steps of all arms of the registered experiments.

    Rates that are spread over a range differ in their last digit from class to class, but not the float32 scalars of
    the steps that follow from them.
    """
    digest = sha256()
    for name in experiments.registered():
        for arm in experiments.read(name).arms.values():
            for grid in arm.grids:
                for lr in grid.rates(10_000, 0.01):
                    digest.update(step_table(grid.optimizer(lr, 300), 300, np.float32).tobytes())
    start = {f"G{i}": population.generated(i).replicate(i).fingerprint for i in range(20)}
    return start | {"steps": digest.hexdigest()}


def redrawn():
    """Draw some figures of estimates from the committed tables and return those that have other bytes than committed.

    A figure that other versions have drawn is not compared.
    """
    names = ("procedure_worth", "statements_factors", "verdicts")
    mine = [name for name in names if catalogue.manifest_of(name)["drawn_with"] == figures.drawn_with()]
    with tempfile.TemporaryDirectory() as folder:
        return [name for name in mine if not catalogue.draw(name, folder=Path(folder))]


if __name__ == "__main__":
    cycles()
    noise_floor()
    for notebook in FIRST_TABLES:
        first_table_of(notebook)
    blas = [library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"]
    numpy = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
    told = {"blas": sorted({*blas}), "numpy": numpy, "start": start_of_training(), "redrawn": redrawn()}
    json.dump(told, sys.stdout)
