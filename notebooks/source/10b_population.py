# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Which tasks does "usually" cover?
#
# **Generated classification tasks of many sizes. On a third of them AdamW gains from training twice as long; most
# others gain little from it, and a few stay near chance.**
#
# The article says that AdamW with Lookahead *usually* performs better than Adam. "Usually" needs a population of tasks.
# Here it is declared. Each task is generated from its index, with its own features, classes, rows, network, batch size
# and steps. Every seed gets a new sample of rows.

# %%
import os
from functools import partial

import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import population as tasks
from lookahead_nb.claims import screening
from lookahead_nb.figures import population

figures.use_style()

# %% [markdown]
# ## What to expect
#
# A short run ends before its network has learned what it can, so its loss should fall with more steps. A long run on
# few rows should gain nothing, or overfit. Where many labels are wrong, little can be learned at all. The population
# should hold tasks of all these kinds at every length, because an optimizer may help one kind and not another.
#
# ## What a task is made of
#
# The index of a task draws its factors from the ranges in `claims.population.RANGES`. `conditioning` is the exponent at
# which the variances of the features fall. `sharpness` is the size of the log-odds between two classes. `skew` is the
# frequency of the first class over that of the last. An empty `hidden` is logistic regression. The table shows some
# pilot tasks; registered results use numbers from ten thousand on.

# %%
pilots = range(1000, 2200)
factors = tasks.population(pilots)
factors.head(8).round(2)

# %% [markdown]
# A teacher gives each row its class probabilities, and the label is drawn from them. So even the best classifier makes
# errors, and more of them where labels are wrong on purpose. In the figure each point is a row, projected onto the
# directions that separate the first classes.

# %%
first = factors.drop_duplicates(["teacher", "classes"]).sort_values(["teacher", "classes"])
kinds = first[["teacher", "classes"]].to_dict("index")
shown = [tasks.generated(i).in_plane(0, 150).assign(number=i, **kind) for i, kind in kinds.items()]
points = tables.read_table(tables.write_table(pd.concat(shown, ignore_index=True), "population_rows"))
caption = "Tasks have clusters or a divided cloud, with 2 to 10 classes that overlap more or less."
alt = "Twelve scatter plots: clusters lie apart, linear and tanh teachers divide one cloud; ten classes overlap most."
figures.save(population.rows(points), "population_rows", caption, alt)

# %% [markdown]
# **Tasks have clusters or a divided cloud, with 2 to 10 classes that overlap more or less.** Rows of the test part of
# one replicate of the first pilot task of each kind; colours are labels, some of them wrong.
#
# ## Which tasks gain from more steps?
#
# Screening trains AdamW alone on seeds that nothing else uses, for the T steps of the task and for twice as many. Each
# seed picks its learning rate by its own validation loss. The first rule that matches names the regime of a task.
# Settings:
#
# - 12 learning rates and 4 seeds for each task
# - hopeless: the test loss stays above 95 % of that of guessing, at both lengths
# - step-limited: twice the steps lower the test loss by more than 2 %
# - overfitting: they raise it by more than 1 %
# - saturated: all other tasks
#
# A saturated task is not a solved one: on many of them a better model could learn more, but training longer does not
# help this one. The pilot tasks take some minutes. So one task of each regime is screened here and compared with the
# committed rows; `FULL=1` screens all.

# %%
seeds, some, full = [101, 102, 103, 104], [1279, 2044, 1073, 2163], os.environ.get("FULL") == "1"
screen_all = partial(screening.screen, pilots, seeds, progress=False)
screened = tables.made_or_kept("population_screening", screen_all, here=full)
here = screening.screen(some, seeds, progress=False)
kept = screened.set_index("number", drop=False).loc[some].reset_index(drop=True)
pd.testing.assert_frame_equal(here, kept, rtol=1e-9)
here[["number", "steps", "chance", "best", "loss", "loss_twice", "gain", "regime", "centre"]].round(4)

# %% [markdown]
# `chance` is the loss of guessing by class frequencies, `best` that of the true probabilities. `gain` is the fall of
# the logarithm of the loss from T to twice the steps. `centre` is the learning rate that the seeds chose on average;
# the grids of the trial lie around it.

# %%
caption = "Short tasks gain most from more steps, and so do those with many rows, ill conditioning and correct labels."
alt = "The largest gains are near 20 % up to 240 steps and 13 % beyond; most tasks gain nothing; bars show regimes."
figures.save(population.regimes(screened), "population_regimes", caption, alt)

# %% [markdown]
# **Short tasks gain most from more steps, and so do those with many rows, ill conditioning and correct labels.** (a)
# What doubling the steps of AdamW gains, each length at its own tuned rate; a marker is a task, and lines are the
# limits of the regimes, which do not apply to hopeless tasks. (b) The share of each regime by quarters of a factor.

# %%
share = screened["regime"].value_counts(normalize=True)
long = screened[screened["steps"] >= screening.SHORT_BELOW]
assert 0.3 < share["step-limited"] < 0.4
assert 0.5 < share["saturated"] < 0.65
assert share["hopeless"] < 0.1
assert 0.15 < (long["regime"] == "step-limited").mean() < 0.25
assert screened[["lowest", "highest"]].mean().max() < 0.02
share.round(3)

# %% [markdown]
# ## Your own optimizer on these tasks
#
# A task goes into `sweep` as it is, and every seed trains on its own rows. Here Lookahead and AdamW, each at the rate
# with the best mean validation loss, on some short tasks. `claims.trial.measure` does the same for many arms, with the
# rate chosen inside each replicate.

# %%
short = screened.query("regime == 'step-limited' and steps < 100")["number"].tolist()[:6]
rates = [3e-3, 1e-2, 3e-2, 1e-1, 3e-1]
arms = lnb.grid(lnb.AdamW(), lr=rates) + lnb.grid(lnb.Lookahead(lnb.AdamW()), lr=rates)
rows = lnb.sweep([tasks.generated(i).task for i in short], None, arms, seeds=4, progress=False)
last = rows.groupby(["task", "optimizer", "lr", "seed"])[["validation_loss", "test_loss"]].last()
means = last.groupby(["task", "optimizer", "lr"]).mean()
best = means.groupby(["task", "optimizer"])["validation_loss"].idxmin()
means.loc[best, "test_loss"].droplevel("lr").unstack("optimizer").round(3)

# %% [markdown]
# ## What this does not show
#
# The population is a defined one, not a sample of the tasks that people have. Its networks have at most two small
# hidden layers, its rows are Gaussian, and no run is long. Few of its tasks overfit. Results are therefore checked on
# real data sets too, and where the two disagree, both are reported.
#
# ## Provenance
#
# Rows, labels and shifts of the grids come from the package's random stream, so they are the same on every machine. The
# tables are `data/results/population_rows.csv` and `population_screening.csv`, with their manifests; the figures are
# `paper/figures/population_rows` and `population_regimes`. How the ranges were chosen is in `data/pilots/`. Next:
# [10c_procedure](10c_procedure.ipynb), the rules that judge.
