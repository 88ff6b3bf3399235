# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # What does comparing two optimizers cost?
#
# ANSWER.
#
# A paper that compares two optimizers tunes both, trains each from a few seeds and reports the difference of the means.
# Its error bar comes from these seeds. But the learning rate was chosen on seeds too, on one split of one data set.
# Others would have chosen another rate and found another difference. How much of a reported difference is this luck?

# %%
import numpy as np
import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import comparing, components
from lookahead_nb.figures import comparing as drawn

figures.use_style()

# %% [markdown]
# ## What to expect
#
# EXPECT
#
# ## The runs

# %%
rows, screened = comparing.results(), comparing.screening_table()
quick = screened[screened["number"].isin(rows["number"])].nsmallest(1, "steps")
here = comparing.measure(quick, cells=[(0, 0)], progress=False)
kept = rows.merge(here[comparing.KEYS], on=comparing.KEYS)
pd.testing.assert_frame_equal(here, kept, check_exact=True)
tasks = rows["number"].nunique()
print(f"{tasks} tasks, {tasks * comparing.REGISTERED.runs:,} runs; trained again: {len(here)} rows")
comparing.at_ends(rows).round(3)
