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
# **Yes. AdamW is rarely called different from itself, and AdamW with more steps is found to be worth about as many.
# Simulated populations get the verdict of their true benefits unless these lie near a limit.**
#
# The second trial judges claims by fixed rules; predictions play no part. A *replicate* is one training sample of a
# task, on which every optimizer is tuned by its own validation loss. The *benefit* of an optimizer on a task is the
# fall of the logarithm of the test loss. The *direction* is the share of tasks on which the benefit is positive. Both
# have confidence intervals, and a margin says which benefit matters. Here the rules are applied to comparisons whose
# answer is known.

# %%
import os
from functools import partial

import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import inference, proof, trial, trial_arms
from lookahead_nb.figures import procedure

figures.use_style()

# %% [markdown]
# ## What to expect
#
# A rule at the usual level of confidence should call an optimizer different from itself in at most one population out
# of twenty. An interval should contain the truth in nineteen cases out of twenty. A benefit well beyond the margin
# should be found nearly always. Near a limit the verdict must be uncertain, whatever the rules.
#
# ## Simulated tasks
#
# True benefits have a mean and a spread over tasks. They are normal or skewed; skewed ones are exponential, so that
# most tasks lie below the mean, and the mean and the direction may point to different sides. Such populations should be
# called mixed. Settings:
#
# - 200 populations for each truth, of 200 tasks with 4 replicates
# - a replicate adds noise of 1 %; the margin is 1 %

# %%
simulated = tables.read_table(tables.write_table(proof.simulated_verdicts(), "procedure_simulated"))
caption = "Most populations get the verdict of their true mean; wide spreads and means near a limit weaken it."
alt = "Stacked bars: dark blue at the largest mean, blue at the margin, grey or light blue below; skew adds mixed ones."
figures.save(procedure.verdicts(simulated), "procedure_verdicts", caption, alt)

# %% [markdown]
# **Most populations get the verdict of their true mean; wide spreads and means near a limit weaken it.** Each bar
# splits the populations of one truth by their verdict. A mean on the margin itself can show neither that it matters nor
# that it is too small. With skewed benefits a mean of zero is called mixed: better on average, worse on most tasks.
#
# ## AdamW against itself, and with more steps
#
# The pool holds the step-limited tasks among the pilots of [10b_population](10b_population.ipynb). All arms are AdamW:
# twice with the steps of the task, each with its own grid of learning rates, and with more steps. All tuning is inside
# the replicate and so part of the comparison. The pool takes a while; two tasks are trained here and must equal the
# committed rows, and `FULL=1` trains all.

# %%
screened = tables.read_table(tables.committed("data/results/population_screening.csv"))
pool = screened[screened["regime"] == "step-limited"].reset_index(drop=True)
truths, read = {"adamw_again": 1.0, "adamw_105": 1.05, "adamw_110": 1.1}, trial_arms.read()
arms = {name: read[name] for name in ("adamw", *truths)}
how = {"metrics": ["test loss"], "tunings": ["own"], "progress": False}
train = partial(trial.measure, arms=arms, seeds=[201, 202, 203, 204], **how)
rows = tables.made_or_kept("procedure_pool", partial(train, pool), here=os.environ.get("FULL") == "1")
here = train(pool.nsmallest(2, "steps"))
kept = rows[rows["number"].isin(here["number"])].reset_index(drop=True)
pd.testing.assert_frame_equal(here, kept, check_exact=True)
print(f"{len(pool)} tasks, {trial_arms.runs_per_task(arms, 4) * len(pool):,} runs; trained here: {len(here)} rows")

# %% [markdown]
# **An arm against itself.** The two trainings of AdamW differ by chance alone, and the interval of their mean
# difference contains zero. Then populations are drawn from the pool with replacement, with the two names swapped at
# random on each task, and judged under each wording that a claim may have. The margin is what five per cent more steps
# gain on average on this pool; the margin of the simulation is another scale.

# %%
curve = trial.curve(rows)
margin = float((curve[1.0] - curve[1.05]).mean())
same = trial.benefits(rows, "adamw_again", "adamw")
mean = inference.mean_benefit(same)
print(f"margin {margin:.4f}; AdamW again: {mean.value:.4f} [{mean.low:.4f}, {mean.high:.4f}]")
false = {name: proof.false_verdicts(same, name, margin) for name in ("usually", "may", "advice")}
shares = pd.DataFrame(false, ["called different", "low", "high"]).T
shares.round(3)

# %% [markdown]
# **More steps.** An arm is worth m times the steps if AdamW, trained m times as long and tuned for that length, gains
# as much. Two arms have more steps, so their true worth is known; they are compared with the mean of the two AdamW
# trainings, and `adamw_again` with the other one. `covered` is the share of small populations of tasks whose interval
# contains the value of the whole pool.

# %%
worth = tables.read_table(tables.write_table(proof.planted_arms(rows, truths), "procedure_worth"))
caption = "AdamW with more steps is found to be worth about as many: each interval contains the truth."
alt = "Three intervals on a scale of steps, for AdamW again and with 5 and 10 % more steps; bars mark the true values."
figures.save(procedure.worth(worth), "procedure_worth", caption, alt)

# %% [markdown]
# **AdamW with more steps is found to be worth about as many: each interval contains the truth.** Intervals over all
# tasks of the pool.

# %%
worth.round(3)

# %%
clear = simulated[simulated["spread"] == 0.002].set_index(["effect", "verdict"])["share"]
assert clear.loc[(0.0, "no difference that matters")].min() > 0.9
assert clear.loc[(0.03, "holds, and matters")].min() > 0.99
assert mean.low < 0 < mean.high
assert shares["called different"].max() < 0.05
assert worth["truth"].between(worth["low"], worth["high"]).all()
assert (worth["covered_low"] < 0.98).all()
assert (worth["covered_high"] > 0.9).all()

# %% [markdown]
# ## What this does not show
#
# The pool consists of pilot tasks, which registered results never use. A procedure that is right on AdamW against
# itself may still be wrong where an arm changes how noisy its runs are; the simulations are the only check of that. How
# often "may" holds where it is true is simulated in `tests/test_modality.py`, not here. Worth was validated for few
# more steps only, the range that matters for verdicts. The populations behind `covered` are small parts of one pool,
# so their intervals are slightly too wide.
#
# ## Provenance
#
# The tables are `data/results/procedure_simulated.csv`, `procedure_pool.csv` (a row for each task, arm and length) and
# `procedure_worth.csv`; the figures are `paper/figures/procedure_verdicts` and `procedure_worth`. Before:
# [10b_population](10b_population.ipynb), the tasks. Next: [11_verdicts](11_verdicts.ipynb).
