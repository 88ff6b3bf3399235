"""A small checkout of the trial: one experiment whose eight tasks train in no time, three statements, rows by hand."""

import numpy as np
import pandas as pd

from lookahead_nb.claims import experiments, population, shards
from lookahead_nb.provenance import write_table

EXPERIMENT = """
about = "a test"
replicates = 2
metrics = ["test loss", "test error"]
tunings = ["own"]

[tasks]
first = 8

[arms.adamw]
optimizer = "AdamW"
lr = 0.01

[arms.lookahead]
optimizer = "Lookahead"
inner = "AdamW"
lr = 0.01

[arms.adam]
optimizer = "Adam"
lr = 0.01
"""
CLAIM = """
section = "8.3"
article = "Something is better."
notebook = "05_none"

[a]
says = "Lookahead is better."
modality = "plain"
experiment = "one"
arm = "lookahead"
controls = ["adamw"]

[a.reported.error]
arm = "lookahead"
controls = ["adamw"]
metric = "test error"

[a.reported.adam]
arm = "adam"
controls = ["adamw"]

[b]
says = "Lookahead can be better where labels are noisy."
modality = "can"
experiment = "one"
arm = "lookahead"
controls = ["adam"]
where = { most_label_noise = 0.9 }

[c]
says = "It can be better on images."
modality = "can"
untestable = "No images here."
"""
SINGLE = """
section = "6.1"
article = "Adam is worse."
notebook = "06_none"

[statement]
says = "Adam is worse."
modality = "usually"
experiment = "one"
arm = "adamw"
controls = ["adam"]
"""
ANSWERS = "\n".join(
    f'[{name}]\nfound = "By {{{name}}}."\nfirst = "Open."\nwhy = "More tasks."\nadvice = "Tune it."'
    for name in ("C30", "C31")
)


def numbers():
    """The numbers of six tasks that train quickly."""
    found = (
        i for i in range(1000) if (task := population.generated(i)).steps <= 60 and task.rows * task.features < 40_000
    )
    return [number for number, _ in zip(found, range(8), strict=False)]


def rows_by_hand(experiment, tasks):
    """Rows of all arms: Lookahead a tenth better than AdamW, give or take, and Adam a tenth worse."""
    rng = np.random.default_rng(3)
    size = {"adamw": 1.0, "lookahead": 0.9, "adam": 1.1}
    return pd.DataFrame([
        {"number": number, "arm": arm, "multiple": 1.0, "metric": metric, "tuning": "own"}
        | {f"r{i}": scale * size[arm] * (1 + 0.01 * rng.normal()) for i in range(experiment.replicates)}
        | {"lowest": np.nan, "highest": np.nan, "rates": 1}
        for number in tasks for arm in experiment.arms for metric, scale in (("test loss", 0.6), ("test error", 0.2))
    ])  # fmt: skip


def write(root, *, rows=True):
    """Write the checkout, with rows or without; return its experiment. The shards have two tasks each: set SHARD."""
    for folder in ("data/claims/experiments", "data/results/one", "paper/figures"):
        (root / folder).mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "data/claims/experiments/one.toml").write_text(EXPERIMENT)
    (root / "data/claims/C30.toml").write_text(CLAIM)
    (root / "data/claims/C31.toml").write_text(SINGLE)
    (root / "data/claims/answers.toml").write_text(ANSWERS)
    tasks = population.population(numbers()).reset_index()
    tasks = tasks.assign(regime="saturated", centre=0.01, chance=1.2, loss=0.5, loss_twice=0.5)
    write_table(tasks, "screening", folder=root / "data/results", entry=population.ranges_sha256())
    experiment = experiments.read("one", root / "data/claims/experiments/one.toml")
    for i in range(0, 8 if rows else 0, 2):
        part = rows_by_hand(experiment, tasks["number"].tolist()[i : i + 2])
        shards.write_shard(part, f"{i // 2:02d}", root / "data/results/one", experiment.sha256)
    return experiment
