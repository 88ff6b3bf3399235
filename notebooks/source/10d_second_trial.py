# %% [markdown]
# # What is Lookahead worth on tasks that nobody chose?
#
# Where more steps would still help, the slow weights of Lookahead are worth about a quarter more steps of AdamW at a
# constant rate. A moving average of AdamW's weights over a tenth of the run is worth about two thirds more.
# Schedule-Free is worth at least twice as many. Once the rate falls to zero at the end of the run, little of
# Lookahead's gain is left.
#
# [10b_population](10b_population.ipynb) declares the tasks, and [10c_procedure](10c_procedure.ipynb) tests the rules on
# comparisons whose truth is known. The statements in `data/claims/C*.toml` and the experiments behind them were
# registered before their runs. Nothing large is trained here: the rows are committed, and a task of each experiment on
# generated tasks is trained again and compared.

# %%
import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, explained, registry
from lookahead_nb.figures import statements as drawn

figures.use_style()

# %% [markdown]
# ## What to expect
#
# In the pilots one thing decided: whether more steps would still help. Where they would, everything that averages
# weights or lowers the rate at the end of a run gained. Where training was finished, nothing mattered. So expect a gain
# from Lookahead's slow weights on step-limited tasks, none from its fast weights, and little that an average or a
# schedule does not give too.
#
# Every arm has its own grid of learning rates, shifted at random. Each replicate draws fresh rows, trains on the whole
# grid and picks its rate by its own validation loss, as a user would. So the luck of tuning is inside every interval.

# %%
statements = registry.read()
found = registry.evidence(statements)
here = {name: each.experiment for name, each in found.items() if not each.experiment.sets}
quick = {name: experiments.to_recompute(experiment, "notebook") for name, experiment in here.items()}
same = [experiments.differing(experiment, quick[name], progress=False) for name, experiment in here.items()]
assert not any(same)
table = {name: (len(each.tasks), len(each.experiment.arms)) for name, each in found.items()}
overview = pd.DataFrame(table, index=["tasks", "arms"]).T
overview.assign(trained_again=pd.Series({name: str(numbers[0]) for name, numbers in quick.items()})).fillna("")

# %% [markdown]
# ## The verdicts so far
#
# In addition to the generated tasks there are generated landscapes and real data sets. A verdict
# follows from the wording of the sentence and from one contrast. For a plain sentence and for "usually" both
# the mean and the share of tasks decide. For "may" and "can" it is the share of tasks with a benefit that matters, for
# an advice what following it costs. Sizes are shares of the gap between guessing and the best known loss; a hundredth
# of the gap matters. Steps are compared in logarithms; a twentieth more steps matters.

# %%
judged = registry.judge_all(statements, found)
tables.write_table(judged, "statements")
decisive = judged[(judged["contrast"] == "primary") & (judged["class"] == "all")].set_index("id")
words = {name: statements[name].says for name in decisive.index}
with pd.option_context("display.max_colwidth", 95, "display.width", 200):
    print(decisive.assign(statement=words)[["verdict", "statement"]].to_string(justify="left"))

# %% [markdown]
# The estimates behind them. `better` and `worse` count the tasks on which the difference is shown, with the correction
# of Benjamini and Hochberg. For "may" and "can", `share_low` and `share_high` bound the share of tasks beyond the
# margin.

# %%
columns = ["tasks", "scale", "value", "low", "high", "share", "share_low", "share_high", "better", "worse"]
decisive[columns].round(3)

# %% [markdown]
# ## What each arm is worth in steps
#
# An arm is worth m times the steps if AdamW at a constant rate, tuned for that length, gains as much from m times as
# many steps. AdamW was trained up to twice the steps, so larger gains lie on the right edge.

# %%
caption = "Averages and falling rates are worth more steps than Lookahead, its fast weights fewer than none."
alt = "Sixteen arms, each with its worth in steps of AdamW on short and on long step-limited tasks, with intervals."
figures.save(drawn.worth(judged), "statements_worth", caption, alt)

# %% [markdown]
# **Averages and falling rates are worth more steps than Lookahead, its fast weights fewer than none.** Step-limited
# tasks with fewer and with more than three hundred steps. Grey: less than what matters. T is
# the number of steps. All arms but the last three have a constant rate.
#
# ## Every task

# %%
pairs = {
    "Lookahead": ("C08a", "against_adamw"),
    "EMA over T/10": ("C08a", "ema_10"),
    "linear decay": ("C08a", "linear"),
    "both linear": ("C08a", "both_linear"),
}
points = registry.every_task(pairs, statements, found, judged)
tables.write_table(points, "statements_tasks")
caption = "Lookahead helps on most tasks, an average helps more, and little is left when both rates fall."
alt = "Four panels with a dot for every task in four classes, their means, and the range of a further task."
figures.save(drawn.every_task(points), "statements_tasks", caption, alt)

# %% [markdown]
# **Lookahead helps on most tasks, an average helps more, and little is left when both rates fall.** Each arm against
# AdamW at a constant rate; in the last panel both have a linear decay. A dot is a task,
# the mean of its replicates. Thick: the interval of the mean. Thin: where a further task falls. The scale is linear in
# the middle and logarithmic beyond.
#
# ## Which tasks does it help?

# %%
contrast = statements["C11a"].primary
benefits = registry.benefits(contrast, found["trial"])
parts = explained.by_factor(100 * benefits, found["trial"].tasks)
tables.write_table(parts, "statements_factors")
caption = "Lookahead helps most on badly conditioned tasks, and where twice the steps would help most."
alt = "Eight panels: the mean benefit of Lookahead over quarters of the range of a factor of the tasks."
figures.save(drawn.factors(parts), "statements_factors", caption, alt)
model = explained.explained(benefits, found["trial"].tasks)
print(f"predicted on other tasks: {model.r2:.2f} of the variance; noise of replicates: {model.noise:.2f}")

# %% [markdown]
# **Lookahead helps most on badly conditioned tasks, and where twice the steps would help most.** Lookahead against
# AdamW, all classes together. The printed line says how much of the variance
# between tasks a linear rule with all factors predicts on tasks that it was not fitted to.
#
# ## A wrong learning rate

# %%
octaves = registry.ranges(found["trial"])
tables.write_table(octaves, "statements_ranges")
caption = "Lookahead widens the range of good learning rates a little, averages and a linear decay more."
alt = "Eight arms with the mean width of the range of learning rates within one, two and five percent of the best loss."
figures.save(drawn.ranges(octaves), "statements_ranges", caption, alt)

# %% [markdown]
# **Lookahead widens the range of good learning rates a little, averages and a linear decay more.** The range of
# rates around the best one whose test loss stays within one, two and five percent of it, in octaves, the mean over all
# tasks.
#
# ## Does a comparison give the same everywhere?
#
# Some comparisons occur in several experiments, with other seeds and partly the same tasks. On the tasks that they
# share, their means must agree within the noise of the replicates.

# %%
rows = {name: found[name].rows for name, experiment in here.items() if experiment.population == "generated"}
pairs = [("lookahead", "adamw"), ("lookahead", "adam"), ("lookahead_adam", "adam")]
alike = pd.DataFrame([explained.agreements(rows, *arms) for arms in pairs])
assert (alike["p"] > 0.01).all()
alike.round(4)

# %% [markdown]
# ## What this does not show
#
# - The tasks are small: up to fifty thousand rows, two hidden layers and two thousand steps. A pattern that holds at
#   all of these lengths may end beyond them.
# - Grids of the training loss are widened only where it decides. For other statements some training losses lie at the
#   end of their grid.
# - Three statements are registered and not measured yet: on small data, weight decay and an adaptive retention. The
#   other notebooks still show the first trial, on tasks that were chosen by hand and with the luck of tuning outside
#   their intervals. Where the two differ, this page has the better evidence.
# - "Cannot tell" is frequent for "may" and "can". It does not mean that both sides are alike: the table shows on how
#   many tasks a difference is shown.
#
# ## Provenance
#
# The statements are `data/claims/C*.toml`, the experiments `data/claims/experiments`, their rows
# `data/results/NAME/*.csv` with a manifest each, the screening of the tasks `data/results/screening.csv`. The tables of
# this page are `data/results/statements*.csv`, the figures `paper/figures/statements_*`.
