# %% [markdown]
# # Does Lookahead get out of local optima?
#
# **No better than AdamW.** At the same learning rate Lookahead leaves a basin about eight times more slowly than
# AdamW. With the learning rate tuned for each, it ends in the worse basin less often, but by less than one run in a
# hundred. An average of AdamW's weights reaches the same low loss.
#
# The article "Adam meets Lookahead" (in Chinese) says in 2.1 and 3.2 that the slow weights keep from local optima
# (C17). Its FAQ, in 8.1 and 8.2, adds that a smaller retention and a smaller sync period explore faster, but may get
# caught more easily (C03 and C06). Its section 1.2 says that Adam itself is caught in some cases (C21c). All of these
# were registered before their runs.

# %%
import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, landscape_tasks, registry, wording
from lookahead_nb.figures import local_optima
from lookahead_nb.figures import statements as drawn
from lookahead_nb.training import weights_at

figures.use_style()

# %% [markdown]
# ## What to expect
#
# The simplest local optimum is the shallower one of two basins with a ridge between them. Noise in the gradient kicks
# the weights over the ridge now and then. The larger the learning rate, the larger the kicks: the rate acts as a
# temperature. A hot run leaves both basins often. A cold run stays where it starts.
#
# - A sync keeps the share `slow_step_size` of a move. So expect Lookahead to be colder than AdamW, about as cold as
#   AdamW at the learning rate times `slow_step_size`.
# - A **smaller retention** is hotter and should explore faster.
# - A **longer sync period** leaves the fast weights more steps at the full temperature. So expect more escapes with a
#   longer period, against what the article says.
#
# Here are two runs of each optimizer in a well of the test below. All start in the shallower minimum, with the same
# noise.

# %%
well = landscape_tasks.drawn("wells", 10_069)
inner, model = lnb.AdamW(well.lr, weight_decay=0), well.model("shallow", replicas=2)
opts = {"AdamW": inner, "half the rate": lnb.AdamW(well.lr / 2, weight_decay=0)}
opts |= {f"retention {r}": lnb.Lookahead(inner, sync_period=5, retention=r) for r in (0.5, 0.9)}
at = [*range(20, well.steps + 1, 20)]
fast, slow = np.moveaxis(weights_at(model, [*opts.values()], at, seed=1), 2, 0)
places = dict(zip(opts, np.where(np.isnan(slow), fast, slow), strict=True))
paths = pd.concat({arm: pd.DataFrame(each, at, ["first", "second"]) for arm, each in places.items()})
tables.write_table(paths := paths.rename_axis(["arm", "step"]).reset_index(), "local_optima_paths")
position = np.linspace(-1.6, 1.6, 161)
profile = pd.DataFrame({"position": position, "height": model.heights(position[:, None])})
tables.write_table(profile, "local_optima_profile").stem

# %%
caption = "AdamW crosses often, Lookahead as seldom as AdamW at half the rate, and a large retention never."
alt = "A tilted double well and four panels of paths: AdamW in both basins, retention 0.9 only in the upper one."
figures.save(local_optima.paths(paths, profile), "local_optima_paths", caption, alt)

# %% [markdown]
# **AdamW crosses often, Lookahead as seldom as AdamW at half the rate, and a large retention never.** (a) The well;
# the lower minimum is the deeper one. (b) to (e) Positions every twenty steps, of Lookahead the slow weights. Grey:
# the minima and the ridge.
#
# ## The test
#
# A hundred random wells are read in three ways. *Distance* is how far the slow weights travel, *escape rate* how often
# they leave the shallower basin. *Worse basin* is the share of runs from around the ridge that end in the shallower
# one. Losses are read on a hundred small networks that learn parity and often get stuck, and on generated networks
# for C21c. A task of each experiment is trained again here and compared with the committed rows.

# %%
statements = registry.read()
own = {name: statements[name] for name in ("C03a", "C03b", "C06a", "C06b", "C17a", "C17b", "C21c")}
found = registry.evidence(own)
quick = {name: experiments.to_recompute(each.experiment, "09") for name, each in found.items()}
assert not any(experiments.differing(found[name].experiment, quick[name], progress=False) for name in found)
judged = registry.judge_all(own, found)
print(*(f"trained again: {name}, task {numbers[0]}" for name, numbers in quick.items()), sep="\n")
print(*wording.lines(own.values(), judged), sep="\n")

# %% [markdown]
# "Cannot tell" has several reasons here. For C03b, C06b and C21c the claimed side is rare: a few tasks may show it,
# and a hundred tasks cannot exclude that more than one in twenty does. For C17b the noise of a single network is too
# large.
#
# ## Every task

# %%
rows = {
    "distance: retention 0.5 against 0.9": ("C03a", "primary"), "distance: period 5 against 10": ("C06a", "primary"),
    "escapes: period 5 against 10": ("C06a", "escape_rate"),
    "escapes: against AdamW": ("C17a", "same_rate_escape_rate"),
    "escapes: against half the rate": ("C17a", "lower_rate_escape_rate"),
    "worse basin: 0.9 against 0.5": ("C03b", "primary"), "worse basin: period 10 against 5": ("C06b", "primary"),
    "worse basin: against AdamW, tuned": ("C17a", "primary"), "worse basin: average, tuned": ("C17a", "averaging"),
    "networks: against AdamW, tuned": ("C17b", "primary"), "networks: momentum against Adam": ("C21c", "primary"),
}  # fmt: skip

# %%
tables.write_table(points := registry.every_task(rows, own, found, judged), "local_optima_tasks")
caption = "Lookahead moves as AdamW does at half the rate, and at tuned rates ends where AdamW ends."
alt = "Eleven rows with a dot for every task: distance and escapes, shares of runs in the worse basin, training loss."
figures.save(drawn.all_tasks(points), "local_optima_tasks", caption, alt)

# %% [markdown]
# **Lookahead moves as AdamW does at half the rate, and at tuned rates ends where AdamW ends.** A dot is a task.
# Thick: the interval of the mean. Thin: where a further task falls. Grey: differences that do not matter. Right of
# the line, the first one named travels further, escapes more often, ends in the worse basin less often, or has a
# lower training loss. Where only one is named, the other is Lookahead with a retention of one half and a period of
# five. The average is compared with AdamW.
#
# ## Where runs get caught
#
# A smaller retention ends in the worse basin *less* often, on most wells. The table shows why: from the shallower
# minimum, nearly all runs with a retention of nine tenths are still there at the end. So are those of AdamW at a
# tenth of the rate. Means over the hundred wells, at an unchanged learning rate:

# %%
wells = found["wells"].rows.groupby(["metric", "arm"]).mean(numeric_only=True).filter(regex=r"^r\d+$").mean(axis=1)
arms = ["adamw", "averaging_05", "adamw_at_half_the_rate", "retention_05", "period_10", "period_50"]
shares = wells.unstack("metric").loc[[*arms, "adamw_at_a_tenth_of_the_rate", "retention_09"]]
shares[["still there", "worse basin", "distance"]].round(2)

# %% [markdown]
# The statements of this page, as assertions:

# %%
table = judged[judged["class"] == "all"].set_index(["id", "contrast"])
value, ratio = table["value"], np.exp(table["value"])
assert 7 < 1 / ratio["C17a", "same_rate_escape_rate"] < 9
assert 0 < value["C17a", "primary"] < 0.01
assert abs(ratio["C17a", "averaging_excess_loss"] / ratio["C17a", "excess_loss"] - 1) < 0.02
assert value["C03b", "primary"] < -0.1
assert 4 < ratio["C03a", "primary"] < 4.4
assert abs(value["C06a", "primary"]) < 0.02 < -value["C06a", "escape_rate"]
assert shares["still there"][["retention_09", "adamw_at_a_tenth_of_the_rate"]].min() > 0.8
assert 0.85 < table["worse"]["C21c", "primary"] / table["tasks"]["C21c", "primary"] < 0.95

# %% [markdown]
# ## What to do
#
# - **To explore more, raise the learning rate.** A smaller retention does the same thing: the slow weights travel
#   four times as far with a retention of one half as with nine tenths. AdamW at half the rate travels slightly
#   further still.
# - **Do not use the sync period to explore.** From five to ten, the distance hardly changes. Escapes get more
#   frequent with the longer period, not with the shorter one.
# - **To end low after exploring, average the weights at a high rate.** Averaging and Lookahead, both tuned, reach the
#   same loss, a little below that of AdamW. Nothing has to be pulled back for it.
# - **Do not leave Adam for momentum because of local optima.** On generated networks Adam has the lower training loss
#   on about nine tasks of ten.
#
# ## What this does not show
#
# - The wells have one dimension, and noise that is the same everywhere. The networks have a few units.
# - Where many networks get stuck, twelve replicates with four runs each are too few: single tasks cannot be judged,
#   and C17b stays open.
# - A lower training loss can also come from faster training, not from a better optimum. C21c does not separate the
#   two.
#
# ## Provenance
#
# Statements: `data/claims/C03.toml`, `C06.toml`, `C17.toml` and `C21.toml`. Experiments: `wells`, `networks` and
# `adam_and_sgd` in `data/claims/experiments`, with their rows in `data/results`. Tables of this page:
# `data/results/local_optima_paths.csv`, `local_optima_profile.csv` and `local_optima_tasks.csv`. Figures:
# `paper/figures/local_optima_paths` and `local_optima_tasks`. Before: [03_sync_period](03_sync_period.ipynb), what
# else the period does. After: [11_verdicts](11_verdicts.ipynb), all statements on one page.
