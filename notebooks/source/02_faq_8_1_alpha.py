# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Is Lookahead slower but more stable with a larger retention?
#
# The article "Adam meets Lookahead" (Chinese-language) answers in its FAQ 8.1 how to choose its coefficient: a larger
# one is more stable but slower and takes more time to converge, and it is usually chosen between a half and nine
# tenths. **We find: slower, at an unchanged learning rate; more stable, even at equal speed; and the usual range does
# no harm once the learning rate is tuned for it and the budget is not short, but is no better than what lies
# outside.**
#
# Its coefficient is a *retention*, the share of the old slow weights that a sync keeps; the libraries pass
# `slow_step_size`, which is one minus that. All figures here carry both. The other half of FAQ 8.1, exploration and
# local optima, has a notebook of its own.
#
# Status: three claims, C01, C02 and C04 of `data/claims.toml`, each written down with its tasks, arms, margins and
# the rule for its verdict before it had results.

# %%
from functools import partial

import lookahead_nb as lnb
from lookahead_nb import claims, figures
from lookahead_nb.figures import faq_8_1_alpha

figures.use_style()

# %% [markdown]
# ## What to expect
#
# **Speed.** A sync keeps the share `slow_step_size` of what the inner rule has won since the last one. Where the
# weights drift slowly compared with the length of a cycle, the slow weights should therefore advance at
# `slow_step_size` times the pace of AdamW alone, and need
#
# $$\text{steps} \approx \frac{\text{steps of AdamW}}{\text{slow\_step\_size}}$$
#
# to get to the same place. There are directions in which this fails: where the momentum of the inner rule carries a
# weight past the minimum and back, a sync brakes the swing, and in the exact solution a larger retention may even
# shorten the way. And it is a statement at one learning rate. Whoever tunes the rate for each retention takes back
# with it what the retention costs.
#
# **Stability.** At a constant rate the noise of the minibatches keeps the weights from settling: the loss comes down
# to a noise floor and fluctuates there. Slow weights that move less average more, so the excess of that floor over
# the lowest possible loss, which is the variance of the slow weights weighted by curvature, should fall with
# retention.
#
# **Neither is news by itself.** With a sync after every step, Lookahead around AdamW *is* AdamW at the learning rate
# times `slow_step_size`, and a lower rate is slower and quieter too. So each arm stands beside two controls: AdamW
# alone at that lower rate, and the same Lookahead without its pull-back, whose slow weights merely average an
# undisturbed AdamW. A benefit of Lookahead is what is left over both.
#
# **The usual range.** Slower and quieter at once means that at an unchanged rate a small retention wins short budgets
# and a large one long budgets. At a tuned rate little should depend on it.
#
# Settings: sync_period five everywhere; thirty seeds for each task, the same ones for all arms, each with its own
# split of the data, initial weights and batch order. The rest stands in the register, `lookahead-nb claims C01` shows
# it.
#
# ## The trials
#
# What comes with the package is trained here and now. What must be downloaded is trained only on request (`FULL=1`)
# and is otherwise taken from the committed results; the lines below say which was which.

# %%
register = claims.read()
found = {name: claims.evidence(register[name]) for name in ("C01", "C02", "C04")}
judged = {name: claims.judge(register[name], each.runs).set_index("effect") for name, each in found.items()}
total = {name: each[each["task"] == "all"].drop(columns=["task", "p"]) for name, each in judged.items()}
print(*(f"{name}: {each}" for name, each in found.items()), sep="\n")

# %% [markdown]
# ## Slower?
#
# Speed is the step at which the training loss first falls below a threshold well above the noise floor. A run that
# does not get there counts with its last step, so that the mean is one restricted to the horizon. Sizes in the table
# are ratios of paired runs, geometric means over seeds and tasks, with an interval at 95 in 100; the outcome says
# whether the effect is there by more than the margin in the register.

# %%
total["C01"].round(3)

# %% [markdown]
# The first two rows compare at an unchanged learning rate, on six small networks (images, a table, a text,
# recordings, a checkerboard) and two convex problems; the third asks whether AdamW at the lower rate would have been
# as slow. Then both arms get the learning rate that is best for them after a hundred steps (three hundred on the
# teacher set). The last rows are no measurements: they come from the exact solution on quadratics, the momentum of
# the inner rule included.
#
# The figure shows (a) the runs of one task as they cross the threshold, (b) and (c) the mean steps against retention
# at an unchanged and at a tuned rate, each task as a thin line, and (d) the quadratics. Look first at how closely the
# hollow squares sit on the orange points.

# %%
caption = "At an unchanged rate Lookahead gets slower with retention, exactly as AdamW does at the lower rate."
alt = "Four panels: crossing times and steps rise with retention at an unchanged rate, hardly at a tuned one below 0.9."
figures.save(faq_8_1_alpha.speed(found["C01"].runs), "faq_8_1_alpha_speed", caption, alt)

# %% [markdown]
# **At an unchanged rate Lookahead gets slower with retention, exactly as AdamW does at the lower rate.** (a) Share of
# the thirty runs on digits that are still above the threshold (Kaplan and Meier), colours as in (b); numbers are
# retentions, averaging has the largest. (b) Steps to the threshold as multiples of those of AdamW at the same
# learning rate, geometric means over eight tasks (bold, with intervals) and of each (thin). (c) The same where each
# arm has its own tuned learning rate, over six tasks. (d) Steps in which the slowest direction of a quadratic shrinks
# by the factor e, exact, as multiples of the inner rule's.
#
# On the teacher set Lookahead at the largest retention is even a little slower than AdamW at the lower rate; on all
# others the two cannot be told apart by more than a few hundredths. Averaging costs hardly any steps at all.
#
# The statements about C01 as assertions:

# %%
size, task = total["C01"]["size"], judged["C01"][judged["C01"]["task"] != "all"]
assert task.loc["slower", "size"].between(4, 5.5).all()  # the guide: 5
assert task.loc["as slow as the lower rate", "size"].between(0.9, 1.1).all()
assert (task.loc["slower at a tuned rate", "high"] < 1.1).all()
assert size["slower at a tuned rate, upper end"] > 1.25 > 1 > size["slower at equal risk"]
assert task.loc["slower where directions ring", "size"].max() < 0.8
assert claims.verdict(register["C01"], judged["C01"].reset_index()) == "conditional"

# %% [markdown]
# ## More stable?
#
# Stability is measured where a run has stopped falling: the mean excess of the training loss over the lowest possible
# one in the second half of the steps. Logistic regression on classes that overlap has one minimum and a floor above
# it; a search of its own finds that lowest loss for each split. The row "settled" checks that the arm with the
# largest retention drifts no more than AdamW does, in units of the fluctuation.

# %%
total["C02"].round(3)

# %% [markdown]
# The first rows are the claim itself, at an unchanged learning rate. Then the largest retention is set against AdamW
# at the lower rate, which is as fast; against averaging without the pull-back at the same rate, with the best of
# eight retentions; and against both at once, an average over AdamW at the lower rate. The last rows are exact.
#
# In the figure (a) and (b) are trained; in (c) the lines are solved and the markers simulated. Panel (d) is what is
# left for Lookahead at equal speed: its excess over that of its inner rule at the lower rate.

# %%
caption = "At the noise floor Lookahead gets quieter with retention, and quieter than AdamW at the lower rate."
alt = "Excess falls with retention in all panels, most for Lookahead; an average at a tenth of the rate lies lower."
figures.save(faq_8_1_alpha.stability(found["C02"].runs), "faq_8_1_alpha_stability", caption, alt)

# %% [markdown]
# **At the noise floor Lookahead gets quieter with retention, and quieter than AdamW at the lower rate.** Excess of
# the training loss in the second half of the steps as multiples of that of AdamW, geometric means over thirty paired
# seeds with t intervals, (a) on blobs, (b) on the teacher set; the star is an average over AdamW at a tenth of the
# rate. (c) Expected excess of the slow weights on two noisy quadratics, one rather flat, one so steep that all its
# directions ring: lines exact, markers simulated. (d) Excess of Lookahead over that of its inner rule at the learning
# rate times `slow_step_size`.
#
# How much quieter it is at equal speed depends on how steep the loss is for the learning rate. On the flat quadratic
# and on blobs the lower rate does nearly all of it; on the ringing quadratic and on the teacher set it does not.
#
# One measure that suggests itself is of no use: how far apart the seeds end. While the loss still falls, a larger
# retention *widens* that spread, because its runs are caught earlier, on a steeper stretch. Here is the standard
# deviation of the training loss over thirty seeds on digits; retention "NaN" is AdamW alone.

# %%
inner, load = lnb.AdamW(0.001), partial(lnb.datasets.load, "digits")
opts = [inner, *lnb.grid(lnb.Lookahead(inner, sync_period=5), retention=[0.2, 0.5, 0.7, 0.8, 0.9])]
rows = lnb.sweep(lnb.MLP((64, 32, 10)), load, opts, seeds=30, steps=600, eval_every=200, progress=False)
last = rows.drop_duplicates(["run", "step"], keep="last")  # the slow weights, where there are any
spread = last.groupby(["step", "retention"], dropna=False)["train_loss"].std().unstack("step")
assert (spread[600].to_numpy()[[-1, 0, 1, 2, 3]] < spread[600].to_numpy()[:5]).all()
spread.round(4)

# %% [markdown]
# The statements about C02 as assertions:

# %%
size, task = total["C02"]["size"], judged["C02"][judged["C02"]["task"] != "all"]
assert task.loc["quieter", "high"].max() < 0.1
assert task.loc["quieter from the start", "high"].max() < 0.35
assert task.loc["quieter than the lower rate", "high"].max() < 1 / 1.1
assert task.loc["quieter than averaging", "high"].max() < 0.7
assert task.loc["quieter than averaging at the lower rate", "low"].min() > 2
solved = found["C02"].runs.dropna(subset="slow_risk").groupby(["task", "arm"])[["floor", "slow_risk"]].mean()
assert (solved["floor"] / solved["slow_risk"] - 1).abs().max() < 0.03
assert claims.verdict(register["C02"], judged["C02"].reset_index()) == "supported"

# %% [markdown]
# ## Between a half and nine tenths?
#
# The claim is about a choice, so it is judged by what the choice is for: the test loss. Differences are in shares of
# the way from the loss of chance to the best loss, and half a per cent is the margin. Budgets are short, ten to
# twenty syncs (sixty on the teacher set), or long. Every tuned arm tries as many settings as every other, chosen on
# validation losses of other seeds.

# %%
total["C04"].round(4)

# %% [markdown]
# The first two rows ask whether the middle of the range is better than a small retention and than AdamW alone, over
# all budgets; the next two whether it is worse after a long one. Then the two ends of the range are compared, and at
# last, with the article's own learning rate left as it is, the lower end of the range with a smaller retention.

# %%
caption = "At a tuned rate retention hardly matters, but for its upper end after a short budget."
alt = "Losses against retention: flat at tuned rates but at 0.9 after few steps; at a fixed rate the best moves right."
figures.save(faq_8_1_alpha.budget(found["C04"].runs), "faq_8_1_alpha_budget", caption, alt)

# %% [markdown]
# **At a tuned rate retention hardly matters, but for its upper end after a short budget.** Test loss over that of
# tuned AdamW in per cent of the way from chance to the best loss, each arm at its own tuned learning rate, after (a)
# short and (b) long budgets; means over thirty paired seeds with t intervals, the margin in grey. (c), (d) Test loss
# on digits at a learning rate that stays, the article's and ten times that; the marker is the best retention, which
# moves to the right with rate and budget.
#
# The statements about C04 as assertions, and beside them the mean test losses of the tuned arms; the last column is
# what averaging would have given instead, at its own tuned rate and with the better of two retentions:

# %%
size, task = total["C04"]["size"], judged["C04"][judged["C04"]["task"] != "all"]
assert size["worse at the upper end, short"] > 0.01 > 0.005 > size["worse at the upper end, long"]
assert max(size["worse than below, long"], size["worse than AdamW, long"]) < 0
assert (task.loc["worse at the article's rate", "low"] > 0).all()
assert claims.verdict(register["C04"], judged["C04"].reset_index()) == "conditional"
tuned = found["C04"].runs[found["C04"].runs["family"].isin(["tuned adamw", "tuned lookahead", "tuned averaging"])]
losses = tuned.groupby(["task", "arm"], sort=False)["test_loss"].mean().unstack("arm")
noisy = losses.loc[tuned.loc[tuned["entry"].isin(["teacher", "fashion"]), "task"].unique()]
assert (noisy["tuned averaging"] < noisy["tuned lookahead retention=0.7"]).all()
losses.round(4)

# %% [markdown]
# ## What holds
#
# - **C01, slower: conditional.** At an unchanged learning rate it holds on every task and as strongly as the guide
#   says, and AdamW at the lower rate is as slow. In directions that ring the exact solution turns it around. Where
#   the learning rate is tuned for each retention, a medium one costs no time; the largest does, because after a
#   hundred steps too much of the starting point is left in its slow weights at any rate.
# - **C02, more stable: supported.** At an unchanged rate the excess loss at the noise floor falls with retention by
#   more than an order of magnitude. Unlike the slowness, this is not all the lower rate's doing: at equal speed
#   Lookahead is the quieter one, slightly where the loss is flat for the rate and several times where it is steep, as
#   the exact solution has it.
# - **But the pull-back is not needed for it.** An average over AdamW at the lower rate, which is as fast, is quieter
#   than Lookahead on both tasks. Averaging at the *unchanged* rate is not: it cannot undo what too large a rate
#   costs.
# - **C04, between a half and nine tenths: conditional.** At the article's own learning rate the lower end of the
#   range loses to a smaller retention at every budget tried, and the rest of the range loses more. At a tuned rate
#   and a budget that is not short the range does no harm. After a short one its upper end does.
# - **Better than what lies outside the range it is not, as far as we can tell.** The middle is ahead of AdamW alone
#   by about one per cent of the way from chance, most of it on the teacher set, on Fashion-MNIST and on speech; that
#   does not stand the correction over the effects of all claims. Against a small retention it is undecided. On the
#   first two of these sets averaging gains more.
#
# ## What was not tested
#
# One sync period and one inner rule with its default moments, at constant learning rates. Stability is that of the
# training loss on two convex problems and of two quadratics; networks that fit all their training rows have no noise
# floor to be stable at. The thresholds of C01 are ours. Tuned rates are those of the best validation loss at the end,
# not of the fastest crossing. Whether a smaller retention explores faster and gets stuck more easily is a claim of
# its own, C03.
#
# ## Provenance
#
# Data: `gaussian_blobs`, `checkerboard` and `logistic_teacher`, made by this library; `digits` and `breast_cancer` of
# scikit-learn; Fashion-MNIST, SMS spam and spoken digits, downloaded; origins and licences in `data/README.md`.
# Tables: `data/results/C01.csv`, `C02.csv` and `C04.csv`, one row per task, arm and seed, and what was tried to tune
# them. Figures: `paper/figures/faq_8_1_alpha_speed`, `faq_8_1_alpha_stability`, `faq_8_1_alpha_budget`. `make
# reproduce` recomputes all of them from nothing, but for the downloaded tasks. Before:
# [01_update_rules](01_update_rules.ipynb), why a sync at every step is AdamW at a lower rate. The floor of a logistic
# regression, predicted: [06b_noise_floor](06b_noise_floor.ipynb).
