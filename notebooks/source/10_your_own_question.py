# %% [markdown]
# # Does Lookahead help on your own rows?
#
# The verdicts of the other notebooks speak of their tasks. This one asks the same of a table of yours: whether
# Lookahead around AdamW is worth its trouble on it, and with which retention and sync_period. It answers with both
# controls, on seeds that were not used for tuning, with intervals, and with one line of advice. It takes a few seconds.

# %%
import os

from lookahead_nb import datasets, figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import questions
from lookahead_nb.claims.tasks import Problem
from lookahead_nb.figures import your_own_question

figures.use_style()

# %% [markdown]
# ## What to expect
#
# At its own tuned learning rate plain AdamW is hard to beat on a small table. Lookahead slows AdamW down by about its
# slow_step_size, so the best rate for it should be about one over slow_step_size times that of AdamW, and what is left
# at that rate should be small against the spread over splits. Averaging without the pull-back keeps the rate of AdamW
# and takes noise away, which can help where the run ends on a noise floor. If neither helps, the honest advice is to
# keep AdamW and to spend the effort on its rate.
#
# ## Your table
#
# Set `path` to a CSV file with one line of column names, numbers in all columns but one, and `label` to the name of
# that one, whose labels may be words; or set the environment variables `LOOKAHEAD_NB_TABLE` and `LOOKAHEAD_NB_LABEL`
# before you start. Without them the breast cancer data that comes with scikit-learn stands in, written to a CSV file as
# if it were yours. Three parts are split off anew for every seed, and the columns are scaled by their training part.

# %%
path, label = os.environ.get("LOOKAHEAD_NB_TABLE"), os.environ.get("LOOKAHEAD_NB_LABEL")
path, label = (path, label) if path else questions.example(tables.build_folder("own"))
X, y = datasets.read_rows(path, label)
problem = Problem.of("own table", X, y, hidden=[16], steps=300, batch_size=32)
print(len(X), "rows,", X.shape[1], "columns,", problem.model.n_classes, "classes; a", problem.model)

# %% [markdown]
# `hidden` holds the widths of a network; an empty list asks for logistic regression. Give it as many `steps` as you
# would train yourself: with fewer, slower arms look worse, and with more, differences of speed vanish.
#
# ## The question
#
# A difference in test loss below the `margin` is taken for no difference. It is a share of the distance between the
# loss of guessing by the frequencies of the classes and the best mean loss of any arm. For AdamW, for Lookahead with
# every pair of retention and sync_period, and for each pair without the pull-back, the learning rate is chosen on the
# same grid, by the validation loss on a few tuning seeds. Each Lookahead also gets its other control: AdamW at the rate
# of that Lookahead times its slow_step_size, which is what a sync at every step would be.

# %%
retention, sync_period, margin = [0.2, 0.5, 0.8], [5, 20], 0.02
answer = questions.ask(problem, retention=retention, sync_period=sync_period, margin=margin, progress=False)
chosen = answer.tuning[answer.tuning["chosen"]].set_index("arm")
chosen[["lr", "loss"]].rename(columns={"loss": "validation loss"}).round(4)

# %% [markdown]
# These are the rates that were chosen. If one of a decisive arm lay on the edge of the grid, the advice below would say
# so first, since a better rate might lie beyond it.
#
# ## What came out
#
# In the figure, zero is AdamW at its own tuned rate. Look first at whether anything leaves the grey band, the margin.
# Where Lookahead does, look whether the hollow squares go with it: then the lower rate does it. Where the triangles go
# with it, the average does it.

# %%
table = tables.write_table(answer.arms, "your_own_question")
caption = "Lookahead and both of its controls against tuned AdamW, by the test loss on your table."
alt = "One panel per sync_period: differences in test loss to tuned AdamW over retention, with the margin as a band."
figures.save(your_own_question.against_adamw(answer.arms, margin), "your_own_question", caption, alt)

# %% [markdown]
# **Lookahead and both of its controls against tuned AdamW, by the test loss on your table.** Means over paired seeds,
# each with its own split, initial weights and batch order; lines are Student's intervals at 95 in 100, not corrected
# for their number; below zero is better than AdamW. Points are moved a little sideways so that none hides another. The
# band is the margin. Axes: retention below, slow_step_size above.
#
# The advice rests on four comparisons only: the Lookahead with the lowest validation loss against AdamW, against AdamW
# at the lower rate, and against the best average; and that average against AdamW. Their p-values are corrected together
# by the method of Holm. *Same* means significantly within the margin, *better* and *worse* significantly beyond it.

# %%
answer.decisive.set_index("comparison")[["size", "low", "high", "outcome"]].round(4)

# %%
print(answer.advice)
assert answer.runs.groupby("arm")["seed"].apply(tuple).nunique() == 1  # paired
assert set(answer.decisive["outcome"]) <= {"better", "worse", "same", "open"}
assert answer.advice.startswith("Use Lookahead") <= (answer.decisive["outcome"][:3] == "better").all()

# %% [markdown]
# ## What the answer holds for
#
# - It holds for this table, this model and this number of steps, and for the test loss at the last one. All seeds share
#   the rows of one table; the intervals speak of other splits of it, not of other tables.
# - It compares Lookahead at its best among the pairs tried with AdamW at its best. Lookahead had more trials, one grid
#   of rates for each pair, which speaks in its favour.
# - *Open* is no answer. More seeds shorten the intervals with the square root of their number; a larger margin asks for
#   less. Choose either before you look again.
# - For other inner rules, schedules and sizes write a TOML file for `lookahead-nb sweep`, or an entry of a register as
#   in `data/claims.toml`, which `lookahead_nb.claims` will judge.
#
# ## Provenance
#
# Without a table of yours the data is `breast_cancer` of scikit-learn (Wolberg, Mangasarian and Street 1995, CC BY
# 4.0), written to `build/own`. The table behind the figure is `data/results/your_own_question.csv`, the figure
# `paper/figures/your_own_question`; with a table of yours both stay in `build`. Next: [11_verdicts](11_verdicts.ipynb),
# what came out for the claims of the article.
