# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Do retention and sync period need careful tuning?
#
# **No: with two dozen trials it is better to tune the learning rate alone, at a retention of one half and a sync period
# of five. What does hurt is a pair that is too slow for the run.**
#
# The article "Adam meets Lookahead" (Chinese-language) says in its section 7.2 that both need careful tuning. Its
# *retention* is the share of the old slow weights that a sync keeps. The libraries pass `slow_step_size`, one minus the
# retention.

# %%
import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, registry, screening, wording
from lookahead_nb.claims.population import generated
from lookahead_nb.figures import settings
from lookahead_nb.figures import statements as drawn

figures.use_style()

# %% [markdown]
# ## What to expect
#
# A sync moves the slow weights by slow_step_size times what the fast weights have moved. So over many cycles Lookahead
# goes about as fast as its inner optimizer at the rate lr times slow_step_size. The best rate should then be that of
# AdamW divided by slow_step_size. Tuning the rate tunes most of the retention too.
#
# The slow weights lag behind the fast ones by about sync_period / slow_step_size steps. A lag of a few steps averages
# over noise. A lag that is a large part of the run is lost time, which no rate can make up for.
#
# ## The evidence
#
# Each trial is a run at one setting. A practitioner with 24 trials can spend all of them on the rate, or spread them
# over rate, retention and period. The statement C14 compares the two. C04 and C07 ask what it costs to stay in the
# usual ranges, with as many trials on each side. The rows are committed; one task is trained again and must give the
# same bits.

# %%
statements = registry.read()
own = {name: statements[name] for name in ["C04", "C07", "C14"]}
found = registry.evidence(own)
experiment = found["settings"].experiment
assert not experiments.differing(experiment, experiments.to_recompute(experiment, "settings"), progress=False)
judged = registry.judge_all(own, found)
print("\n".join(wording.lines(own.values(), judged)))

# %% [markdown]
# Percentages are of the gap between guessing and the best known loss of a task; one percent is what matters. A negative
# cost is a gain. C04 and C07 have pages of their own, [02_retention](02_retention.ipynb) and
# [03_sync_period](03_sync_period.ipynb).

# %%
pairs = {
    "tuning all three settings\nagainst the rate alone, 24 trials": ("C14", "primary"),
    "the same, 384 against 24 trials": ("C14", "every_trial"),
    "usual retentions against all, 24 trials": ("C04", "primary"),
    "usual periods against all, 24 trials": ("C07", "primary"),
    "usual retentions against all,\nat the default rate": ("C04", "default_rate"),
    "usual periods against all,\nat the default rate": ("C07", "default_rate"),
}

# %%
points = registry.every_task(pairs, own, found, judged)
tables.write_table(points, "settings_tasks")
caption = "With 24 trials, tuning all three settings does not pay; only a retention at an untuned rate costs much."
alt = "Six rows of dots, one for each task; most means are near zero, that of the retention at the default rate is low."
figures.save(drawn.all_tasks(points), "settings_tasks", caption, alt)

# %% [markdown]
# **With 24 trials, tuning all three settings does not pay; only a retention at an untuned rate costs much.** A dot is a
# task, the mean of its replicates. Thick: the interval of the mean. Thin: where a further task falls. Grey: less than
# what matters. The default rate is one thousandth, at which the retention acts as a second, lower rate.
#
# With sixteen times as many trials there is something to gain. So the settings are not without effect. They are just a
# worse use of the next trial than another learning rate.
#
# ## The surface on a few tasks
#
# Now all of slow_step_size, period and rate on a grid, on eight pilot tasks of the same population. They are screened
# here with AdamW as in [10b_population](10b_population.ipynb). Runs have from 60 to 140 steps.

# %%
numbers, seeds = [89, 91, 93, 97, 178, 248, 293, 311], 3
tasks = screening.screen(numbers, [9101, 9102], progress=False)
tasks = tasks.set_index("G" + tasks["number"].astype(str))
lrs = [0.002 * 1.45**i for i in range(22)]
axes = {"lr": lrs, "slow_step_size": [0.1, 0.3, 0.5, 0.7, 0.9], "sync_period": [2, 5, 10, 20]}
arms = lnb.grid(lnb.AdamW(), lr=lrs) + lnb.grid(lnb.Lookahead(lnb.AdamW()), **axes)
rows = lnb.sweep([generated(n).task for n in numbers], None, arms, seeds=seeds, progress=False)
tasks[["steps", "rows", "classes", "hidden", "regime"]]

# %% [markdown]
# For each task and pair the rate with the best mean validation loss is kept. The benefit is counted from AdamW at its
# own best rate.

# %%
table = settings.at_best_rates(rows, tasks)
tables.write_table(table, "settings_surface")
means = table.groupby(["regime", "sync_period", "slow_step_size"])["benefit"].mean()
means.unstack().round(1)

# %%
caption = "Most pairs equal AdamW or gain, and those whose lag is a large part of the run lose at any rate."
alt = "Two maps of slow_step_size and period, and points that fall with the lag; small steps with long periods lose."
figures.save(settings.surface(table), "settings_surface", caption, alt)

# %% [markdown]
# **Most pairs equal AdamW or gain, and those whose lag is a large part of the run lose at any rate.** (a), (b) Benefit
# over AdamW, each pair at its own best rate, means over four tasks in percent of the gap. Blue is better than AdamW,
# red worse; the colours end at ten. (c) The same for every task and pair, against the lag.
#
# On step-limited tasks the usual pair of one half and five is among the best. On saturated tasks hardly any choice
# matters until the lag is large.

# %%
caption = "The best rate of Lookahead is AdamW's best rate divided by slow_step_size, to a factor of two."
alt = "Points fall along the line one over slow_step_size, nearly all between half and twice its value."
figures.save(settings.rates(table), "settings_rate", caption, alt)
factor = table["ratio"] * table["slow_step_size"]
by_lag = table.groupby(["regime", table["lag"] > 0.5])["benefit"].mean()
print(f"median {factor.median():.2f}; within a factor of 2: {(factor.between(0.5, 2)).mean():.0%}")

# %% [markdown]
# **The best rate of Lookahead is AdamW's best rate divided by slow_step_size, to a factor of two.** A point is a task
# and pair; points of one slow_step_size are shifted by the period. The dashed lines are half and twice the rate of the
# rule. Neighbouring rates of the grid differ by almost a half.
#
# So the rule "start at lr / slow_step_size" is good to a factor of two on most tasks and pairs. What is left is
# the last refinement of any tuned rate.

# %%
judged = judged[judged["class"] == "all"].set_index(["id", "contrast"])
value, low = judged["value"], judged["low"]
assert max(value["C14", "primary"], value["C04", "primary"], value["C07", "primary"]) < 0
assert low["C14", "every_trial"] > 0.01
assert low["C04", "default_rate"] > 0.1
assert abs(by_lag["saturated", False]) < 1
assert means["step-limited", 5, 0.5] > means["step-limited"].max() - 1
assert max(by_lag["saturated", True], by_lag["step-limited", True]) < -5
assert factor.between(0.5, 2).mean() > 0.9

# %% [markdown]
# ## What to do
#
# - Keep a retention of one half and a sync period of five. Spend all trials on the learning rate.
# - Start at the rate that suits AdamW, divided by slow_step_size: twice that rate for one half.
# - In short runs keep sync_period / slow_step_size below a fifth of the steps. A retention of nine tenths with a period
#   of ten has a lag of a hundred steps.
# - If hundreds of trials are to spare, let some of them vary the retention and the period too.
# - Never compare retentions at one rate. That compares rates.
#
# ## What this does not show
#
# - The surface comes from eight short tasks that were chosen to have rates in a common range. Its rates are chosen with
#   all replicates, so small differences between pairs are partly luck.
# - Trials are taken from even grids. A search that learns from its trials might use further settings better.
# - All runs have a constant rate.
#
# ## Provenance
#
# The statements are `data/claims/C04.toml`, `C07.toml` and `C14.toml`, the experiment is
# `data/claims/experiments/settings.toml`, with its rows in `data/results/settings/*.csv`. The tables of this page are
# `data/results/settings_tasks.csv` and `settings_surface.csv`, the figures `paper/figures/settings_*`.
