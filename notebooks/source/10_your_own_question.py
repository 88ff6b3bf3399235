# %% [markdown]
# # Is Lookahead worth it on your own table?
#
# The verdicts of the other notebooks are about their tasks. `lnb.ask` puts the same question to a table of yours. It
# compares Lookahead around AdamW with AdamW, with averages and with a decaying learning rate. All are tuned alike. It
# answers in about a minute, with intervals and one paragraph of advice. **On the table that stands in for yours here,
# AdamW differs from itself too much for advice on optimizers. Only the gain of Schedule-Free AdamW is far larger.**

# %%
import os

import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.figures import your_own_question

figures.use_style()

# %% [markdown]
# ## What to expect
#
# On most tables tuned optimizers end close together, and a few hundred rows cannot tell them apart. Where AdamW still
# improves at the end of its run, averages and a decay of the learning rate should help, and so should the slow weights
# of Lookahead. Lookahead is such an average, so it should not add much to a decay.
#
# ## Your table
#
# Set `path` to a CSV file with a line of column names, and `label` to the name of the column to predict. Or set the
# environment variables `LOOKAHEAD_NB_TABLE` and `LOOKAHEAD_NB_LABEL` ahead of the start. Text columns are taken as
# categories and missing values are filled in, by rules that are fitted on the training rows alone. Columns of dates or
# names are refused. Without a table of yours, points on a checkerboard are written to a CSV file as if they were yours.

# %%
board = lnb.datasets.load("checkerboard")
points = pd.DataFrame(np.concatenate([board.X_train, board.X_validation, board.X_test]), columns=["x", "y"])
colours = np.concatenate([board.y_train, board.y_validation, board.y_test])
example = tables.build_folder("own") / "checkerboard.csv"
points.assign(colour=np.where(colours, "black", "white")).to_csv(example, index=False)
path, label = os.environ.get("LOOKAHEAD_NB_TABLE", example), os.environ.get("LOOKAHEAD_NB_LABEL", "colour")
X, y = lnb.datasets.read_rows(path, label, mixed=True)
X.head(3).round(3)

# %% [markdown]
# ## The question
#
# Train for as many steps as you would yourself, since the answer depends on it. By default they are about thirty passes
# over the training rows. Rows, steps and replicates are capped so that a minute suffices; the caps are printed here.

# %%
answer = lnb.ask(X, y, progress=False)
print("\n".join(answer.caps))

# %% [markdown]
# A replicate is a split of the table into training, validation and test part. It trains every optimizer at all learning
# rates of its grid and picks the rate with the lowest validation loss, of equal losses the lower rate. A large table is
# cut into disjoint parts instead.
#
# ## The answer

# %%
table = tables.write_table(answer.comparisons, "your_own_question")
caption = "Schedule-Free AdamW gains more on this table than AdamW differs from itself."
alt = "A row for each arm with the interval of its benefit over AdamW; one lies beyond that of AdamW again."
figures.save(your_own_question.against_adamw(answer.comparisons, margin=1.0), "your_own_question", caption, alt)

# %% [markdown]
# **Schedule-Free AdamW gains more on this table than AdamW differs from itself.** The benefit is by how much the test
# loss is lower than that of AdamW, in per cent of the gap between chance-level loss and best known loss. Inside the
# grey band a difference is too small to matter. Splits of one table overlap, so the intervals are wider than Student's,
# by the bound of Nadeau and Bengio. *AdamW again* is a check: its true benefit is zero. Where it matters, or its
# interval spans ten margins, the advice recommends a learning rate only. With another table the figure shows yours.

# %%
print(answer.advice)
by_arm = answer.comparisons.set_index(["arm", "control"])
assert by_arm.loc[("AdamW again", "AdamW"), "low"] < 0 < by_arm.loc[("AdamW again", "AdamW"), "high"]
assert path != example or "too small to compare optimizers" in answer.advice
again = by_arm.loc[("AdamW again", "AdamW"), "high"]
assert path != example or by_arm.loc[("Schedule-Free AdamW", "AdamW"), "low"] > again
assert path != example or by_arm.loc[("Schedule-Free AdamW", "Lookahead"), "low"] > 0
by_arm.loc[["Lookahead", "Schedule-Free AdamW", "Lookahead with linear decay"]].round(2)

# %% [markdown]
# These are the learning rates with the lowest mean validation loss over all replicates, with their settings. The lowest
# and the highest rate are those that single replicates chose:

# %%
answer.arms.set_index("arm").round(4)

# %% [markdown]
# `answer.report("report.html")` writes all of this to one page. The command
# `lookahead-nb ask mine.csv --label outcome --html report.html` does the same.
#
# ## What the answer holds for
#
# - It holds for this table, this model, this number of steps and this batch size. Optimizers that tie in a long run may
#   differ in a short one.
# - *Cannot tell* is no answer. The advice says about how many rows it would take; more replicates help little, since
#   they share the rows of one table.
# - The learning rates are those of constant schedules or of a linear decay. Other schedules, models and optimizers go
#   into `lnb.sweep`.
#
# ## Provenance
#
# Without a table of yours the data is the checkerboard of this package, made from its random stream and written to
# `build/own`. The table behind the figure is `data/results/your_own_question.csv`, the figure
# `paper/figures/your_own_question`; with a table of yours both stay in `build`. Next: [11_verdicts](11_verdicts.ipynb),
# the verdicts on the claims of the article.
