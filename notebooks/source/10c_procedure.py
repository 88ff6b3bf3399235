# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Can the rules that judge the claims be trusted?
#
# The second trial judges sentences by rules that no prediction enters: the mean benefit over tasks with its interval,
# the share of tasks on which the sentence is right, and a margin for what matters. Here the rules meet comparisons
# whose truth is known. **Simulated tasks get the verdict of their true benefits, AdamW against a second training of
# itself gets none, and AdamW with 5 % more steps is found to be worth 5 % more steps.**

# %%
import os

import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import inference, proof, trial, trial_arms
from lookahead_nb.figures import procedure

figures.use_style()

# %% [markdown]
# ## Simulated tasks
#
# A population has 200 tasks with 4 replicates each. True benefits have a mean and a spread over tasks, with equal tails
# or skewed; a replicate adds noise of 1 %, and the margin is 1 %. Each truth gets 200 populations.

# %%
simulated = tables.read_table(tables.write_table(proof.simulated_verdicts(), "procedure_simulated"))
caption = "Populations get the verdict of their true mean; where skew puts mean and direction at odds, they are mixed."
alt = "Stacked bars by true mean and spread: grey at 0, light blue at 0.2 %, blue at 1 %, dark blue at 3 %."
figures.save(procedure.verdicts(simulated), "procedure_verdicts", caption, alt)

# %% [markdown]
# **Populations get the verdict of their true mean; where skew puts mean and direction at odds, they are mixed.** A true
# mean of 1 % is the margin itself, so that neither "matters" nor "too small" can be shown.
#
# ## AdamW against itself, and with more steps
#
# The pool holds the step-limited tasks of the pilots. All arms are AdamW: twice, each with its own grid of learning
# rates, and with 5 and 10 % more steps. The tuning of each replicate is inside the comparison. The whole pool takes
# many minutes; two tasks are trained here and must equal the committed rows, and `FULL=1` trains all.

# %%
screened = tables.read_table(tables.committed("data/results/population_screening.csv"))
pool = screened[screened["regime"] == "step-limited"].reset_index(drop=True)
names = ["adamw", "adamw_again", "adamw_105", "adamw_110"]
arms = {name: arm for name, arm in trial_arms.read().items() if name in names}
seeds, full = [201, 202, 203, 204], os.environ.get("FULL") == "1"
here = trial.measure(pool if full else pool.nsmallest(2, "steps"), arms, seeds, progress=False)
here = here[(here["metric"] == "test loss") & (here["tuning"] == "own")].reset_index(drop=True)
rows = tables.made_or_kept("procedure_pool", lambda: here, here=full)
pd.testing.assert_frame_equal(here, rows[rows["number"].isin(here["number"])].reset_index(drop=True), check_exact=True)
runs = trial_arms.runs_per_task(arms, len(seeds)) * len(pool)
print(f"{len(pool)} tasks, {runs:,} runs; trained here: {len(here)} rows")

# %% [markdown]
# **An arm against itself.** On the pool the two trainings of AdamW differ by chance alone, and the interval of their
# mean difference contains 0. Then 200 populations are drawn from the pool with replacement, the two names swapped at
# random on each task, and judged. The margin is what 5 % more steps gain on average.

# %%
curve = trial.curve(rows)
margin = float((curve[1.0] - curve[1.05]).mean())
same = trial.benefits(rows, "adamw_again", "adamw")
mean = inference.mean_benefit(same)
false = {name: proof.false_verdicts(same, name, margin) for name in ("usually", "may", "advice")}
shares = pd.DataFrame(false, ["false verdicts", "low", "high"]).T
print(f"margin {margin:.4f}; AdamW again: {mean.value:.4f} [{mean.low:.4f}, {mean.high:.4f}]")
shares.round(3)

# %% [markdown]
# **More steps.** An arm is worth m times the steps if AdamW gains as much by training m times as long. The arms below
# are AdamW with 1.05 and 1.1 times the steps, trained and tuned as arms of their own, so the truth is known. `covered`
# is the share of 400 populations of 50 tasks whose interval contains the value of the whole pool.

# %%
found, planted = [], {}
for arm, truth in (("adamw_again", 1.0), ("adamw_105", 1.05), ("adamw_110", 1.1)):
    gains = trial.benefits(rows, arm, "adamw" if truth == 1 else ["adamw", "adamw_again"]).mean(axis=1)
    planted[arm] = proof.planted(gains, curve)
    estimate = inference.steps_worth(gains, curve)
    found.append({"arm": arm, "truth": truth} | estimate._asdict() | {"covered": planted[arm].coverage.value})
worth = tables.read_table(tables.write_table(pd.DataFrame(found), "procedure_worth"))
caption = "AdamW with 5 and 10 % more steps is found to be worth that many."
alt = "Three intervals on a scale of steps, at 1.00, 1.05 and 1.10; each contains the true value, marked by a bar."
figures.save(procedure.worth(worth), "procedure_worth", caption, alt)

# %% [markdown]
# **AdamW with 5 and 10 % more steps is found to be worth that many.** Intervals are at 95 %, over all tasks of the
# pool.

# %%
worth.round(3)

# %%
assert mean.low < 0 < mean.high
assert shares["low"].max() <= 0.05
assert (worth["low"] < worth["truth"]).all()
assert (worth["truth"] < worth["high"]).all()
assert all(each.coverage.high >= 0.9 and each.coverage.low <= 0.98 for each in planted.values())
for effect, verdict in ((0.0, "no difference that matters"), (0.03, "holds, and matters")):
    exact = simulated[(simulated["effect"] == effect) & (simulated["spread"] == 0.002)]
    assert exact.loc[exact["verdict"] == verdict, "share"].min() > 0.9

# %% [markdown]
# ## What this does not show
#
# The pool consists of pilot tasks, which registered results never use. A procedure that is right on AdamW against
# itself may still be wrong where an arm changes how noisy its runs are; the simulations with skewed benefits are the
# only check of that. "Worth" was tried for small multiples only, which is where verdicts are close.
#
# ## Provenance
#
# The tables are `data/results/procedure_simulated.csv`, `procedure_pool.csv` (a row for each task and arm) and
# `procedure_worth.csv`; the figures are `paper/figures/procedure_verdicts` and `procedure_worth`. Before:
# [10b_population](10b_population.ipynb), the tasks. Next: [11_verdicts](11_verdicts.ipynb).
