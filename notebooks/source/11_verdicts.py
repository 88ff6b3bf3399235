# %% [markdown]
# # What is left of the article's claims?
#
# Lookahead around AdamW is usually better than Adam at a constant learning rate, and by enough to matter. A moving
# average of AdamW's weights gains more. So does a rate that falls to zero, in long runs. The article's usual settings
# are good ones once the rate is tuned for them. Between five and ten the sync period changes little. Lookahead does not
# end in the better of two basins more often by enough to matter.
#
# This page has all statements of the article with their verdicts. It also shows what an earlier trial of the same
# claims said, and why the two differ. Nothing is trained here.

# %%
import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, explained, registry, wording
from lookahead_nb.figures import verdicts

figures.use_style()

# %% [markdown]
# ## What to expect
#
# Every sentence of the article was split into statements, each with the article's own modality. A plain sentence, or
# one with "usually", must hold in the mean and on most tasks. A sentence with "may" or "can" needs a share of tasks on
# which the benefit matters. An advice is judged by what following it costs. A forecast is measured and gets no verdict.
# `data/claims/predictions.toml` holds what we expected before the results. No code reads it.
#
# A difference matters from a hundredth of the gap between chance-level loss and the best known loss, from a twentieth
# of the steps, or from a fiftieth of the runs. "May" and "can" hold if it matters on more than a twentieth of the
# tasks.
#
# Each statement has two lines here: its verdict, and what was found. Sizes come with a confidence interval. It covers
# the truth nineteen times in twenty, or more often where a claim has several deciding contrasts. For "may" and "can"
# the line gives bounds of the share of tasks on which the difference matters.

# %%
statements = registry.read()
found = registry.evidence(statements)
judged = registry.judge_all(statements, found)
print("\n".join(wording.lines(statements.values(), judged)))

# %% [markdown]
# ## All statements on one page
#
# Benefits on different scales can share an axis if each is measured in its own margin. Right of zero is what the
# statement says. Inside the grey band a difference is too small to matter.

# %%
advice = [one.id for one in statements.values() if one.modality == "advice"]
judged["cost"] = judged["id"].isin(advice)
tables.write_table(judged, "statements", entry=registry.evidence_sha256(statements))
caption = "The deciding benefit of every statement in units of its margin, and the share of tasks."
alt = "Two columns with a row for each statement: its benefit with an interval, and a share of tasks."
figures.save(verdicts.forest(judged), "verdicts", caption, alt)

# %% [markdown]
# **The deciding benefit of every statement in units of its margin, and the share of tasks.** Left: means over tasks
# with confidence intervals. For an advice a cost counts as a negative benefit. Right: the share of tasks with a benefit
# above zero, with its interval. For "may" and "can": the share of tasks on which a benefit is shown to matter, with
# bounds of the true share. Long lines there mean that single tasks cannot be told apart from their noise.
#
# ## Two trials
#
# The claims were tested twice. The first trial had a few tasks that were chosen by hand, and tuned all arms once on the
# same six seeds. So the luck of tuning and the choice of tasks lay outside its intervals. The second trial has tasks
# drawn from a declared population, and every replicate tunes for itself.

# %%
answers = wording.read(statements)
both = wording.both_trials(statements, judged, answers).set_index("claim")
with pd.option_context("display.max_colwidth", None):
    display(both)  # noqa: F821 (of IPython)

# %% [markdown]
# ## In short, and what to do

# %%
short = {name: (wording.filled(answer.found, judged), answer.advice) for name, answer in answers.items()}
todo = pd.DataFrame(short, index=["we found", "do this"]).T
with pd.option_context("display.max_colwidth", None):
    display(todo)  # noqa: F821 (of IPython)

# %% [markdown]
# ## Do experiments agree with each other?
#
# Some comparisons occur in several experiments, with other seeds and partly the same tasks. On the tasks that they
# share their means must agree within the noise of the replicates. Cochran's test compares them.

# %%
names = ["trial", "settings", "short_runs", "optimizers", "adaptive"]
shared = {name: found[name].rows for name in names}
pairs = [("lookahead", "adamw"), ("lookahead", "adam"), ("lookahead_adam", "adam"), ("adamw", "adam")]
alike = pd.DataFrame([explained.agreements(shared, *arms) for arms in pairs])
assert (alike["p"] > 0.01).all()
alike.round(4)

# %% [markdown]
# Verdicts on real data sets rest on few sets. Here are the ones that change when one set is left out.

# %%
decisive = judged[(judged["contrast"] == "primary") & (judged["class"] == "all")]
changes = decisive[decisive["without"].fillna("") != ""].set_index("id")
changes[["verdict", "without"]]

# %% [markdown]
# The sentences at the top as assertions:

# %%
verdict = decisive.set_index("id")["verdict"]
size = judged[judged["class"] == "all"].set_index(["id", "contrast"])["value"]
assert verdict["C08a"] == "holds, and matters"
assert min(size["C08a", "ema_10"], size["C08a", "linear"]) > size["C08a", "against_adamw"]
assert (verdict[["C04", "C07"]] == "follow it").all()
assert not verdict[["C05a", "C06a", "C06b", "C17a", "C17b"]].isin(["holds, and matters"]).any()
assert set(verdict.index) == {one.id for one in statements.values() if not one.untestable}
assert len(experiments.read("trial").arms) > 30

# %% [markdown]
# ## What this page does not say
#
# - The tasks are small: up to fifty thousand rows, two hidden layers and two thousand steps. What holds at all of
#   these lengths may end beyond them.
# - "Cannot tell" is no "no". For "may" and "some cases" the rule excludes a share of tasks only if nearly every single
#   task is shown to lie within the margin. That takes more replicates than there are.
# - The margins are a judgement. The figure shows what would change with another one.
#
# ## Provenance
#
# The statements are `data/claims/C*.toml`, the experiments `data/claims/experiments`, their rows
# `data/results/NAME/*.csv` with a manifest each. What the first trial said, and the advice, lie in
# `data/claims/answers.toml`. The table of this page is `data/results/statements.csv`, the figure
# `paper/figures/verdicts`. `lookahead-nb claims` prints the lines above, and with the name of a statement everything
# about it.
