# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Do slow weights, and weight decay, do better on new data?
#
# The article "Adam meets Lookahead" (Chinese-language) says three things about data that was not trained on. **The
# model is evaluated with the slow weights** (section 3 and section 4.3). **Lookahead improves generalisation** (section
# 1.3 and section 2.1). **The weight decay of AdamW prevents overfitting** (section 2.2).
#
# The verdicts, by rules that were registered before any of these results existed: the slow weights are the better ones
# only at the noise floor of a high learning rate (C13, *conditional*); whether Lookahead generalises better stays open
# (C11, *inconclusive*); and weight decay prevents overfitting only if it is a hundred times that of the article's
# example (C12, *conditional*).

# %%
import pandas as pd

from lookahead_nb import claims, figures
from lookahead_nb.figures import slow_weights

figures.use_style()

# %% [markdown]
# ## What to expect
#
# **Slow or fast.** At a sync the slow weights $\phi$ move to $\phi + s\,(\theta - \phi)$, where $\theta$ are the fast
# ones and $s$ is `slow_step_size`. While the loss still falls they are behind by the share $1 - s$ of what the cycle
# gained, so the fast weights should be the better ones. At a noise floor nothing is left to gain, and what counts is
# variance. With one curvature, no momentum, and $r$ for the factor by which a step shrinks an error, the variances $i$
# steps after a sync, relative to that of the inner rule alone, are
#
# $$\text{slow: } R, \qquad \text{fast: } 1 - (1 - R)\,r^{2i}.$$
#
# The gap grows along the cycle from nothing, and faster at a higher learning rate. At the sync itself, before the pull,
# it is largest. After the pull both are the same, and the question has no content.
#
# **Generalisation.** To generalise better is to have a lower test loss *where the training loss is the same*. A run
# that merely got further in the same steps has optimised better. Lookahead follows, with a little less noise, the path
# of the inner rule at the rate times `slow_step_size`, so we expect no gap at equal training loss.
#
# **Weight decay.** A step multiplies the weights by $1 - \eta\lambda$, so in $T$ steps decay takes at most the share
# $\eta\lambda T$ of them. In the article's example, at the length of these runs, that is about a hundredth. Decay that
# weak cannot do much, for good or ill. A hundred times stronger it should stop a network from learning wrong labels by
# heart; but so does a learning rate that validation chose.
#
# ## Settings
#
# - every seed has its own split, subset of rows, initial weights and batch order, the same ones for all arms
# - Lookahead with sync_period 5 and slow_step_size 0.5 around AdamW; the arms called averaging lack the pull-back
# - tuned arms of a claim had the same number of trials, chosen by the mean validation loss on six other seeds
# - a gap is a difference in test loss, as a share of what training gains on the task: the loss of chance less the
#   lowest mean loss of any arm; it is judged against a margin (two thousandths, and a hundredth for weight decay)
#
# Tasks that must be downloaded are trained only on request; else their committed results are read. The cell prints
# which.

# %%
register = {key: claim for key, claim in claims.read().items() if key in ("C11", "C12", "C13")}
found = {key: claims.evidence(claim) for key, claim in register.items()}
print(*(f"{key}: {each}" for key, each in found.items()), sep="\n")

# %%
effects = pd.concat([claims.judge(claim, found[key].runs).assign(claim=key) for key, claim in register.items()])
table = effects.set_index(["claim", "effect", "task"])[["size", "low", "high", "outcome"]]
print({key: claims.verdict(claim, effects) for key, claim in register.items()})

# %% [markdown]
# ## Slow or fast weights?
#
# Both kinds of weights of the *same* runs are evaluated. At a step with a sync the fast weights are taken before the
# pull and the slow ones after it, so the two differ. The evaluations are spaced by a number of steps that is no
# multiple of five; they fall on every phase of the cycle in turn, and those on a sync are kept apart from the others.
# Only the second half of a run counts. For the first steps of digits that is the steep part of the descent; for blobs,
# whose classes overlap, it is a noise floor. The learning rates of the last three tasks are close to those that
# validation chose for Lookahead. Positive sizes mean that the slow weights are worse.

# %%
table.loc["C13"].xs("all", level="task").round(4)

# %%
caption = "Slow weights are worse while the loss falls, better at a noise floor, and no different once a network fits."
alt = "Two panels, six tasks: first steps right of zero, blobs at the high rate and checkerboard left, others near it."
figures.save(slow_weights.by_phase(found["C13"].runs), "slow_weights_by_phase", caption, alt)

# %% [markdown]
# **Slow weights are worse while the loss falls, better at a noise floor, and no different once a network fits.** Test
# loss of the slow weights less that of the fast weights of the same runs, (a) for Lookahead, (b) without its pull-back;
# filled: at a sync, hollow: between syncs. Means over thirty seeds with t intervals, where they reach beyond the
# marker. Grey: the margin, within which the axis is linear; beyond it is logarithmic. Both panels have one axis.

# %%
c13 = table.loc["C13"].xs("all", level="task")["size"]
assert c13["transient, averaging"] > c13["transient"] > 0.002
assert c13["floor of a high rate"] < c13["floor of a high rate, between syncs"] < -0.002
assert c13["floor of a high rate, averaging"] < c13["floor of a high rate"] < c13["floor of a low rate"] < 0
assert abs(c13["fitted networks"]) < 0.002
assert claims.verdict(register["C13"], effects) == "conditional"

# %% [markdown]
# The prediction holds in each part. In the first steps the slow weights are worse, and without the pull-back, where
# they lag further behind, worse still. At the floor of the high rate they are better, between the syncs by less than at
# them, as the fast weights move away from the slow ones along the cycle. At a quarter of that rate the same gap lies
# within the margin. On digits and cancer, which the networks fit, it makes no difference that matters which weights are
# evaluated. The checkerboard, one label in ten wrong and its rate high, behaves like a floor, though its loss has not
# settled. So "evaluate the slow weights" is sound where the rate stays high, and costs something if one stops early.
# Where training ends on a sync with the pull done, there is nothing to choose.
#
# ## Does Lookahead generalise better?
#
# Every arm but one has a tuned rate; averaging has its step tuned too. The exception is AdamW at the rate of Lookahead
# times slow_step_size, the control that Lookahead has to beat. In the left panel all arms are compared where their
# training loss first falls below the same threshold; in the right one at the step that has the lowest validation loss.

# %%
table.loc["C11"].xs("all", level="task").round(4)

# %%
caption = "At equal training loss Lookahead is not told from AdamW; averaging alone gains as much at the chosen step."
alt = "Two panels, six tasks, four other arms each: gaps on both sides of zero, the widest on the checkerboard."
figures.save(slow_weights.generalisation(found["C11"].runs), "slow_weights_generalisation", caption, alt)

# %% [markdown]
# **At equal training loss Lookahead is not told from AdamW; averaging alone gains as much at the chosen step.**
# Test loss of Lookahead less that of the other arm (a) at equal training loss, (b) at the step of the lowest validation
# loss. Left of zero Lookahead is better. Thirty paired seeds, t intervals; the axes are as above.

# %%
c11 = table.loc["C11"]
equal, averaging = c11.loc["equal training loss"], c11.loc[("chosen step, against averaging", "all")]
assert ((equal["low"] < 0) & (equal["high"] > 0)).all()
closer = [register["C11"].problems[task].entry for task in equal.index[equal["outcome"] == "no"]]
assert sorted(closer) == ["cancer", "digits", "spam"]
assert averaging["low"] < 0 < averaging["high"]
assert c11.loc[("chosen step", "fashion eval_every=50 eval_rows=2000"), "high"] < -0.002
assert found["C11"].runs.query("reached == 0")["seed"].nunique() == 1
assert claims.verdict(register["C11"], effects) == "inconclusive"

# %% [markdown]
# At equal training loss the interval of every task holds zero. On digits, cancer and spam the gap is smaller than the
# margin; on speech and fashion it may be as large; on the checkerboard the runs scatter so much that nothing can be
# said, and through it nothing about the six together. The number of seeds was too small for that task. At the chosen
# step Lookahead is ahead of AdamW, tuned or at the lower rate, most on the checkerboard, and on fashion by more than
# the margin: where training ends far from a fit, and noise is what limits the loss. The joint effect is significant by
# itself; the page of all verdicts says whether it stands the correction for their number. Against averaging nothing is
# left that can be told from zero, and on fashion and spam averaging is ahead. One split of cancer never gets below the
# threshold, with any arm; its runs count as tied.
#
# ## Does weight decay prevent overfitting?
#
# The first three tasks are those of the other claims, at the article's rate. The others have few rows and long
# training, two of them wrong labels besides, and overfit for real. Left: decay as in the article, and a hundred times
# that, against none, all at the article's rate. Right: arms with tuned rates; decay and L2 also had their strength
# tuned, within the same number of trials.

# %%
table.loc["C12"].xs("all", level="task").round(4)

# %%
caption = "The article's decay does nothing that matters; a strong one prevents overfitting, and so does a tuned rate."
alt = "Two panels, six tasks: strong decay far left of zero where labels are wrong, right elsewhere; others near zero."
figures.save(slow_weights.decay(found["C12"].runs), "slow_weights_decay", caption, alt)

# %% [markdown]
# **The article's decay does nothing that matters; a strong one prevents overfitting, and so does a tuned rate.** Gaps
# in test loss at the last step, (a) at the article's rate, (b) with tuned rates. Left of zero decay is better. Forty
# paired seeds, t intervals; the axes are as above, with the margin of this claim.

# %%
c12 = table.loc["C12"]
losses = found["C12"].runs.groupby(["arm", "task"])["test_loss"].mean()
wrong = [task for task, problem in register["C12"].problems.items() if problem.parameters["flipped"]]
assert (c12.loc[["article's setting", "article's decay where there is overfitting"], "size"].abs() < 0.01).all()
assert (c12.loc["strong decay at the article's rate", "size"].loc[wrong] < -0.1).all()
assert (losses["none"] < losses["given weight_decay=1.0"])[wrong].all()
assert claims.verdict(register["C12"], effects) == "conditional"

# %% [markdown]
# At the article's rate its decay moves the test loss by less than the margin, on every task, whether there is
# overfitting or not. A hundred times that decay does prevent it where labels are wrong. With right labels it does not
# help, and on the common tasks, where there was nothing to prevent, it does harm. But AdamW *without* decay, its rate
# tuned, ends lower on the tasks with wrong labels than the strong decay at the article's rate does: the tuned rate is
# low, and stops early what decay would hold down. Tuned together, decay and rate gain less than the margin over the
# rate alone, and decoupled decay is no better than L2 in Adam.
#
# ## What holds, and what was not tested
#
# - Evaluate the slow weights while the learning rate is high and the loss has stopped falling. Before that, the fast
#   ones; once a network fits its data, either.
# - Whether Lookahead generalises better stays open here. Half of the tasks say no at equal training loss, one scatters
#   too much to say anything, and what is gained at the chosen step needs no pull-back.
# - The decay of the worked example is too weak to be seen in runs of this length. In far longer training the product of
#   rate, decay and steps grows, and the finding need not hold.
# - The margin for weight decay, a hundredth, was set after a pilot on other seeds and is five times that of the other
#   two claims. Judged by theirs, the article's decay would count as a small help where there is overfitting, and the
#   verdict would not be the same.
# - The tuned decay had a coarser grid of rates than the arm without decay had, as both had the same number of trials. A
#   finer grid might gain it something, most of all on the checkerboard, where the gap is not judged.
# - All networks are small, with one hidden layer or none, and all rates constant. A schedule that ends at zero takes
#   away the noise floor, and with it the case for the slow weights.
#
# ## Provenance
#
# Register: `data/claims.toml`. Runs and trials: `data/results/C11.csv`, `C12.csv`, `C13.csv` and their `_tuning`
# tables, each with its manifest. Figures: `paper/figures/slow_weights_by_phase`, `slow_weights_generalisation` and
# `slow_weights_decay`. Data: `gaussian_blobs` and `checkerboard`, made by this library; digits and breast cancer of
# scikit-learn; the downloaded sets as listed in `data/README.md`. Before: [02_retention](02_retention.ipynb),
# the same noise floor against retention.
