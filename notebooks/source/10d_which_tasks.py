# %% [markdown]
# # Which tasks does Lookahead help, and what is it worth?
#
# Where more steps would still help, the slow weights of Lookahead are worth about a quarter more steps of AdamW at a
# constant rate. A moving average of AdamW's weights over a tenth of the run is worth about two thirds more. Schedule-
# Free is worth about twice as many, or more. If the rates of both fall linearly to zero, little of Lookahead's gain
# is left; with the best of four schedules for each, about half. It helps most on badly conditioned tasks, and hardly
# where training is finished.
#
# [10b_population](10b_population.ipynb) declares the tasks, and [10c_procedure](10c_procedure.ipynb) tests the rules on
# comparisons whose truth is known. The arms and tasks of this experiment, `data/claims/experiments/trial.toml`, were
# registered before its runs. Nothing large is trained here: the rows are committed, and a task of the experiment is
# trained again with all arms and compared bit for bit.

# %%
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
own = {name: statements[name] for name in ("C08a", "C11a")}
found = registry.evidence(own)
trial = found["trial"]
quick = experiments.to_recompute(trial.experiment, "notebook")
assert not experiments.differing(trial.experiment, quick, progress=False)
judged = registry.judge_all(own, found)
print(f"{len(trial.tasks)} tasks, {len(trial.experiment.arms)} arms; task {quick[0]} was trained again")
trial.tasks["class"].value_counts()

# %% [markdown]
# ## What each arm is worth in steps
#
# An arm is worth m times the steps if AdamW at a constant rate, tuned for that length, gains as much from m times as
# many steps. AdamW was trained up to twice the steps, so larger gains lie on the right edge.

# %%
caption = "Averages and falling rates are worth more steps than Lookahead, its fast weights fewer than none."
alt = "Sixteen arms, each with its worth in steps of AdamW on short and on long step-limited tasks, with intervals."
tables.write_table(judged[judged["id"] == "C08a"], "statements_worth")
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
points = registry.every_task(pairs, own, found, judged)
tables.write_table(points, "statements_tasks")
caption = "Lookahead helps on most tasks, an average helps more, and little is left if both rates fall linearly."
alt = "Four panels with a dot for every task in four classes, their means, and the range of a further task."
figures.save(drawn.every_task(points), "statements_tasks", caption, alt)

# %% [markdown]
# **Lookahead helps on most tasks, an average helps more, and little is left if both rates fall linearly.** Each arm
# against AdamW at a constant rate; in the last panel both have a linear decay. A dot is a task,
# the mean of its replicates. Thick: the interval of the mean. Thin: where a further task falls. The scale is linear in
# the middle and logarithmic beyond.
#
# ## Which tasks does it help?

# %%
benefits = registry.benefits(own["C11a"].primary, trial)
parts = explained.by_factor(100 * benefits, trial.tasks)
tables.write_table(parts, "statements_factors")
caption = "Lookahead helps most on badly conditioned tasks, and where twice the steps would help most."
alt = "Eight panels: the mean benefit of Lookahead over quarters of the range of a factor of the tasks."
figures.save(drawn.factors(parts), "statements_factors", caption, alt)
model = explained.explained(benefits, trial.tasks)
print(f"predicted on other tasks: {model.r2:.2f} of the variance; noise of replicates: {model.noise:.2f}")

# %% [markdown]
# **Lookahead helps most on badly conditioned tasks, and where twice the steps would help most.** Lookahead against
# AdamW, all classes together. The printed line says how much of the variance
# between tasks a linear rule with all factors predicts on tasks that it was not fitted to.
#
# ## A wrong learning rate

# %%
octaves = registry.ranges(trial)
tables.write_table(octaves, "statements_ranges")
caption = "Lookahead widens the range of good learning rates a little, averages and a linear decay more."
alt = "Eight arms with the mean width of the range of learning rates within one, two and five percent of the best loss."
figures.save(drawn.ranges(octaves), "statements_ranges", caption, alt)

# %% [markdown]
# **Lookahead widens the range of good learning rates a little, averages and a linear decay more.** The range of
# rates around the best one whose test loss stays within one, two and five percent of it, in octaves, the mean over all
# tasks.
#
# ## What this does not show
#
# - The tasks are small: up to fifty thousand rows, two hidden layers and two thousand steps. A pattern that holds at
#   all of these lengths may end beyond them.
# - Grids of the training loss are widened only where it decides. For other statements some training losses lie at the
#   end of their grid.
#
# ## Provenance
#
# The experiment is `data/claims/experiments/trial.toml`, its rows `data/results/trial/*.csv` with a manifest each, the
# screening of the tasks `data/results/screening.csv`. The tables of this page are `data/results/statements_*.csv`, the
# figures `paper/figures/statements_*`. Next: [11_verdicts](11_verdicts.ipynb), all statements on one page.
