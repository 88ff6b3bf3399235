# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Do a and k need careful tuning?
#
# The article "Adam meets Lookahead" (Chinese-language) closes with an outlook: its coefficient a and the number k have
# to be tuned with care. Its a is a *retention*, the share of the old slow weights that a sync keeps; the libraries pass
# `slow_step_size`, one minus that. Its k is `sync_period`.
#
# **Verdict.** *Conditional.* An arbitrary pair is a bad choice, and more so where the task is hard. But the usual a and
# k, a half and five, need no tuning: as many trials spent on the learning rate alone find as much as trials of all
# three, or more.
#
# The claim was registered with its tasks, margins and rule before its results existed (`data/claims.toml`, C14). The
# maps of the second half show where the response is flat; they are descriptions, not trials.

# %%
import os
from functools import partial

import numpy as np
import pandas as pd

from lookahead_nb import claims, figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import measure as trials
from lookahead_nb.claims.arms import with_parameters
from lookahead_nb.figures import response_surface

figures.use_style()

# %% [markdown]
# ## What to expect
#
# Between two syncs nothing of Lookahead can be seen, and a sync keeps the share slow_step_size of what was won. Take
# $y = (1 - s)\,\text{slow} + s\,\text{fast}$ with $s$ the slow_step_size: an inner step moves it by $s$ times what it
# moves the fast weights, and a sync does not move it at all. As long as fast and slow stay close together within a
# cycle, Lookahead is therefore its inner rule at the rate
#
# $$\text{lr} \times (1 - a),$$
#
# and k does nothing. Then a is a second learning rate. At a fixed lr a wrong a must cost what a wrong rate costs; with
# lr tuned again the valley of good settings should run along curves of one product, and be flat along them. What can be
# gained by tuning a and k beyond lr is what happens where fast and slow come apart: at high rates, on directions that
# settle or swing within a cycle.
#
# **How to measure care.** A practitioner tries n settings at random and keeps the one with the lowest validation loss.
# Each seed of the trial is such a practitioner, with a split, starting weights and 64 random settings of its own; the
# test loss of what it keeps is averaged over all ways to draw n of the 64. The ways to spend the trials are
#
# - lr alone, with the usual a and k of a half and five; lr, a and k together; lr alone, with one arbitrary a and k
# - a and k alone, at the one lr that suits the usual pair best on tuning seeds
# - and two controls: AdamW, its lr; averaging without the pull-back, its lr, step and period
#
# Drawn evenly in logarithms: lr over three and a half decades, slow_step_size from a tenth to one, sync_period from one
# to fifty. Three effects are judged, each against a hundredth of what training achieves from chance: an arbitrary pair
# against the usual one at the latter's rate; all three against lr alone, with sixteen trials each; an arbitrary pair
# against the usual one with sixteen trials of lr each. The claim is supported if arbitrary pairs lose and tuning pays,
# conditional if arbitrary pairs lose both times.

# %%
claim = claims.read()["C14"]
found = claims.evidence(claim)
print(found)
effects = claims.judge(claim, found.runs)
effects.drop(columns=["p", "seeds"]).round(4)

# %% [markdown]
# The figure has a panel for each task. Zero is the usual a and k at the one lr that is best for them on other seeds;
# the grey band is the margin around it. Compare the filled circles (lr alone) with the hollow squares (lr, a and k) at
# the same number of trials. The crosses are no fair competitor of either, since their lr was found beforehand, by
# trials that are not counted; they show what a and k can add to a good rate.

# %%
caption = "At the same number of trials, tuning a and k beside the learning rate does not pay."
alt = "Four panels of test loss against trials: lr alone falls as fast as lr, a and k together, or faster."
figures.save(response_surface.best_of(found.runs), "response_surface_best_of", caption, alt)

# %% [markdown]
# **At the same number of trials, tuning a and k beside the learning rate does not pay.** Test loss of the setting with
# the lowest validation loss among n random ones, above that of the usual a and k at one good lr, in hundredths of what
# training achieves on the task; a scale that is linear within the grey margin and logarithmic beyond it. Means over 36
# seeds, each with settings of its own; bars are t intervals.
#
# ## The surface itself
#
# All combinations of retention, period and learning rate on a grid, twelve seeds each, and AdamW at the same rates. Of
# each retention and period the test loss is shown at two rates: the best one of AdamW, so that only a and k change; and
# the one at which its own validation loss is lowest. Everything is counted from AdamW at its best rate, in hundredths
# of what AdamW wins from chance. The table holds the share of all pairs of a and k that lose less than one hundredth.

# %%
axes = {"retention": np.arange(1, 10) / 10, "sync_period": [1, 2, 5, 10, 20, 50], "lr": np.geomspace(1e-3, 4, 19)}
keep = {"store": tables.build_folder("store")}
surface = trials.response_surface([*claim.problems.values()], range(12), **axes, **keep)
tables.write_table(surface, "response_surface")
surface = with_parameters(surface, claim.problems)
pairs = response_surface.pairs(surface)
views = {"best lr of AdamW": pairs[pairs.at_control], "best lr of each": pairs[pairs.best]}
flat = {name: (view.gap < 1).groupby(view.task, sort=False).mean() for name, view in views.items()}
flat = pd.DataFrame(flat)
flat.round(2)

# %%
caption = "On easy tasks only lr times slow_step_size counts; on hard ones short periods are better than AdamW."
alt = "Heat maps of retention and period: red towards large retention at one rate, pale or blue at rates of their own."
figures.save(response_surface.maps(surface), "response_surface_maps", caption, alt)

# %% [markdown]
# **On easy tasks only lr times slow_step_size counts; on hard ones short periods are better than AdamW.** Test loss
# over retention and sync period, above that of AdamW at its best rate, in hundredths of what AdamW wins from chance:
# upper row at that rate, lower row at the best rate of each pair. Blue is better than AdamW, red worse; the colours end
# at ten. A dot marks a loss of less than one hundredth. Means over twelve seeds; rates are chosen by validation loss,
# from nineteen.
#
# The next figure cuts the other way, through retention and learning rate at one period. The line is the expectation:
# the rates with one product of lr and one minus a, through the best rate of AdamW.

# %%
caption = "The valley of good learning rates follows one product of rate and slow_step_size."
alt = "Heat maps of retention and learning rate: a band without loss rises with retention along the drawn curve."
figures.save(response_surface.ridge(surface), "response_surface_ridge", caption, alt)

# %% [markdown]
# **The valley of good learning rates follows one product of rate and slow_step_size.** Test loss over retention and
# learning rate at sync period five, colours and dots as before. The line is drawn through the best rate of AdamW, not
# fitted.
#
# ## Finer, and on larger data
#
# Two more maps take too long to be made while one waits; `FULL=1` makes them, otherwise the committed tables are drawn:
# *teacher* on a grid of thirteen periods and nineteen retentions, and Fashion-MNIST on a coarse one.

# %%
full, finer = os.environ.get("FULL") == "1", {"retention": np.arange(1, 20) / 20, "lr": np.geomspace(3e-2, 10, 17)}
finer |= {"sync_period": [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50]}
coarse = {"retention": [0.1, 0.3, 0.5, 0.7, 0.9], "sync_period": axes["sync_period"], "lr": np.geomspace(1e-3, 0.3, 11)}
teacher = claim.problems["teacher steps=300 eval_every=300"]
fine = partial(trials.response_surface, [teacher], range(12), **finer, **keep)
fashion = claims.read()["C07"].problems["fashion steps=500 eval_every=500"]
large = partial(trials.response_surface, [fashion], range(3), **coarse, **keep)
makers = {"response_surface_teacher": fine, "response_surface_fashion": large}
known = claim.problems | {fashion.name: fashion}
more = [with_parameters(tables.made_or_kept(name, make, here=full), known) for name, make in makers.items()]
pairs = pd.concat([response_surface.pairs(table) for table in more])
pairs[pairs.best].groupby("task", sort=False).gap.describe()[["count", "min", "50%", "max"]].round(2)

# %%
caption = "On a finer map the valley at short periods is broad, and on Fashion-MNIST the surface is nearly flat."
alt = "Two heat maps of retention and period at the best rate of each pair: a blue band at 2 to 6, a nearly even map."
figures.save(response_surface.finer(*more), "response_surface_finer", caption, alt)

# %% [markdown]
# **On a finer map the valley at short periods is broad, and on Fashion-MNIST the surface is nearly flat.** As the lower
# row of the maps above: twelve seeds and 17 rates for teacher, three seeds and 11 rates for Fashion-MNIST.
#
# The statements of the conclusion, as assertions:

# %%
size = effects[effects.task == "all"].set_index("effect")["size"]
assert claims.verdict(claim, effects) == "conditional"
assert size["arbitrary ones lose"] > size["arbitrary ones lose at a tuned rate"] > 0.01
assert size["tuning them pays"] > -0.01
assert (effects[effects.effect == "tuning them pays"].outcome == "no").all()
assert (flat["best lr of each"] > flat["best lr of AdamW"]).all()
assert (flat["best lr of each"].iloc[:2] > 0.9).all()
assert (flat["best lr of each"].iloc[2:] < 0.9).all()

# %% [markdown]
# ## What holds, and for which range
#
# - **Arbitrary pairs lose, everywhere.** At the rate that suits the usual pair, a pair drawn at random costs more than
#   the margin on each of the four tasks, and a quarter of the range or more on checkerboard.
# - **Most of that is the learning rate.** With lr tuned again an arbitrary pair costs nothing that matters on digits
#   and blobs. The maps of these two say the same: at one rate the colours follow retention and hardly the period; at a
#   rate of their own nearly all pairs lose less than a hundredth, and the valley follows the drawn curve.
# - **Not on hard tasks.** On teacher and checkerboard, whose good rates are high, the valley ends: long periods with a
#   large retention cannot be rescued by any rate, and short periods are better than AdamW. There a careless pair hurts
#   even at a tuned rate.
# - **Tuning does not pay, on any task.** At the same number of trials a search over all three is no better than one
#   over lr at the usual pair by more than the margin, and on teacher and checkerboard it is worse, since many of its
#   trials go to pairs that are bad at every rate. After sixty-four trials the two are close. The crosses show what is
#   left for a and k once lr is good: gains on the two hard tasks, for trials on top of those that found the rate. Part
#   of every gain over the line at zero is luck, which a choice among many runs of one seed exploits; both searches have
#   it.
# - **The controls.** AdamW with lr tuned needs no a and no k and comes within the margin of Lookahead on digits and
#   blobs, not on the hard tasks. Averaging without the pull-back, its three settings drawn, is better than Lookahead on
#   teacher, within the margin of it on digits and blobs, and behind it on checkerboard.
#
# So: care, yes; tuning, no. The usual pair is a good one wherever any pair matters, and elsewhere all are.
#
# ## What was not tested
#
# Short trainings of small models at a constant rate; one inner rule; validation by a single part of the data. A search
# that is cleverer than chance would waste fewer trials on all three. The space decides how bad "arbitrary" is: with
# periods up to twenty instead of fifty the losses in a pilot were smaller, and the outcomes the same. In the maps
# checkerboard is noisy: its row at period one is AdamW at other rates, and its spread there is what chance does.
#
# ## Provenance
#
# `data/results/C14.csv`, one row per task, arm and seed, and `C14_tuning.csv`; `response_surface.csv`,
# `response_surface_teacher.csv` and `response_surface_fashion.csv`, one row per point; each with its manifest. Figures:
# `paper/figures/response_surface_best_of`, `response_surface_maps`, `response_surface_ridge`, `response_surface_finer`.
# Data: `gaussian_blobs`, `logistic_teacher` and `checkerboard`, made by this library; `digits` (Alpaydin & Kaynak
# 1998), CC BY 4.0; Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), MIT, trained with `FULL=1` only. Before:
# [03_sync_period](03_sync_period.ipynb), the period alone.
