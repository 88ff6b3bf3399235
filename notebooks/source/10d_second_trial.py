# %% [markdown]
# # What is Lookahead worth on tasks that nobody chose?
#
# ANSWER
#
# [10b_population](10b_population.ipynb) declares the tasks and [10c_procedure](10c_procedure.ipynb) tests the rules on
# comparisons whose truth is known. The statements in `data/claims/C*.toml` and the experiments behind them were
# registered before any of their runs. Nothing large is trained here: the rows are committed, and some tasks are trained
# again and compared.

# %%
import numpy as np
import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, explained, inference, registry, trial
from lookahead_nb.figures import statements as drawn

figures.use_style()

# %% [markdown]
# ## What to expect
#
# In the pilots a regime decided everything. Where twice the steps would still help, whatever averages or lowers the
# rate at the end of a run gained. Where training was finished, nothing mattered. So expect a gain of Lookahead's slow
# weights on step-limited tasks, none from its fast weights, and little that a schedule or an average does not give too.
#
# Every arm has its own grid of learning rates, shifted at random. Each replicate draws fresh rows, trains the whole
# grid and picks its rate by its own validation loss, as a user would. So the luck of tuning is inside every interval.

# %%
statements = registry.read()
names = sorted({statement.experiment for statement in statements.values()} - {""})
register = {name: experiments.read(name) for name in names}
rows = {name: experiments.results(experiment) for name, experiment in register.items()}
screened = experiments.screening_table()
tasks = {name: experiment.chosen(screened) for name, experiment in register.items()}
for name, experiment in register.items():
    quick = experiments.to_recompute(experiment, "notebook")
    assert not experiments.differing(experiment, quick, progress=False)
    print(f"{name}: {len(tasks[name])} tasks, {len(experiment.arms)} arms; task {quick[0]} trained again")

# %% [markdown]
# ## The verdicts so far
#
# A verdict follows from the wording of the sentence and one contrast. For a plain sentence and for "usually" both the
# mean and the share of tasks decide; for "may" and "can" the share of tasks with a benefit that matters; for an advice
# what following it costs. Sizes are percentages of the gap between guessing and the best known loss, where one
# percent matters, and on step-limited tasks multiples of AdamW's steps, where a twentieth matters.

# %%
judged = registry.judge_all(statements)
tables.write_table(judged, "statements")
decisive = judged[(judged["contrast"] == "primary") & (judged["class"] == "all")].set_index("id")
decisive.insert(0, "statement", [statements[name].says for name in decisive.index])
with pd.option_context("display.max_colwidth", 90, "display.width", 200):
    print(decisive[["statement", "tasks", "verdict"]].to_string())
decisive[["scale", "value", "low", "high", "share", "share_low", "share_high", "better", "worse"]].round(3)

# %% [markdown]
# ## What each arm is worth
#
# An arm is worth m times the steps if AdamW at a constant rate, tuned for that length, gains as much from m times as
# many. AdamW was trained up to twice the steps, so larger gains lie on the right edge.

# %%
caption = "CAPTION1"
alt = "Sixteen arms, each with its worth in steps of AdamW on short and on long step-limited tasks, with intervals."
figures.save(drawn.worth(judged), "statements_worth", caption, alt)

# %% [markdown]
# **CAPTION1** TEXT1

# %%
pairs = {"Lookahead": "against_adamw", "EMA over T/10": "ema_10", "linear decay": "linear", "both linear": "both_linear"}
chance = tasks["trial"].set_index("number")["chance"]
found = []
for name, contrast in pairs.items():
    chosen = statements["C08a"].reported[contrast]
    benefit = 100 * trial.shares_of_gap(rows["trial"], chance, chosen.arm, chosen.controls)
    frame = tasks["trial"].set_index("number")[["class"]].assign(comparison=name, benefit=benefit.mean(axis=1))
    found.append(frame.reset_index())
means = judged[(judged["id"] == "C08a") & judged["contrast"].isin(pairs.values())].assign(number=-1)

# %%
