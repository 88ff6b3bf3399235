# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # What does the article's worked example do when it runs?
#
# A Chinese-language article, "Adam meets Lookahead", presents Lookahead around AdamW and closes with a worked example
# (its sections 4.3 and 5): image classification, and a code sample that cannot run as printed, because an import is
# missing and the last release of TensorFlow Addons refuses the optimizer it is given. This notebook is the same
# example, running, on the small images of handwritten digits that come with scikit-learn.
#
# Status: a first look at one task, one network and one setting. It is no verdict on the article: its claims are
# registered and tested elsewhere. Every number in this notebook is computed while it runs, on the CPU, from fixed
# seeds.

# %%
from functools import partial

import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.figures import quick_start

figures.use_style()

# %% [markdown]
# ## The example, and what we expect of it
#
# Lookahead keeps two copies of the weights. The *fast* weights are moved by the inner rule, here AdamW. After every
# `sync_period` steps the *slow* weights follow them part of the way,
#
# $$\text{slow} \leftarrow \text{retention} \cdot \text{slow} + \text{slow\_step\_size} \cdot \text{fast},
# \qquad \text{retention} = 1 - \text{slow\_step\_size},$$
#
# and the fast weights are pulled back to them. The model is evaluated with the slow weights. The article calls its
# coefficient by a Greek letter and means the retention; its code sample passes `slow_step_size`. The value of the
# example is the only one at which the two agree, so here the confusion does no harm. Elsewhere it does, and this
# project therefore never uses the letter by itself.
#
# Settings of the article's example:
#
# - inner rule AdamW, learning rate 0.001, weight decay 0.01
# - Lookahead, sync_period 5, retention 0.5, which is slow_step_size 0.5
#
# The rest is ours, since the article says nothing about it:
#
# - digits: images of 8 x 8 pixels in 10 classes, split 3 : 1 : 1 into training, validation and test
# - a network 64-32-10 with ReLU, batches of 64, 2000 steps, 10 seeds
#
# What to expect: every pull takes back half of what the fast weights have won since the last one. As long as the loss
# is falling steadily, that should cost about half of the speed, whatever it may bring later, near the end of training
# when noise dominates.

# %%
model = lnb.MLP((64, 32, 10), activation="relu")
inner = lnb.AdamW(lr=0.001, weight_decay=0.01)
opt = lnb.Lookahead(inner, sync_period=5, slow_step_size=0.5)
assert opt == lnb.Lookahead(inner, sync_period=5, retention=0.5)

# %% [markdown]
# ## One run
#
# `train` takes a model, data, an optimizer and a seed. It returns the history as a tidy frame, with one row for each
# evaluated step and kind of weights, and the trained weights with the optimizer's state. At a step with a sync,
# `fast` is evaluated before the pull and `slow` after it, so that the two do not coincide merely because they have
# just been set equal. The fast weights come first.

# %%
data = lnb.datasets.load("digits", split_seed=0)
run = lnb.train(model, data, opt, steps=2000, batch_size=64, seed=0)
run.history[["step", "phase", "weights", "train_loss", "test_loss", "test_accuracy"]].tail(4).round(4)

# %% [markdown]
# To use the slow weights outside of `train`, for a prediction or a file on disk, borrow them: inside the block the
# parameters hold the slow weights, and after it exactly the fast ones again, also if something fails in between.

# %%
with opt.slow_weights(run.params, run.state):
    right = model.predict(run.params, data.X_test) == data.y_test
print(f"test accuracy of the slow weights after the last step: {right.mean():.4f}")

# %% [markdown]
# ## The article's code, with scikit-learn
#
# The article's sample builds a model, compiles it with AdamW inside Lookahead, fits it and predicts. The same four
# steps with the estimator of this package, which works in pipelines and searches like any other of scikit-learn. Its
# epochs are passes over the training rows. It predicts with the slow weights.

# %%
estimator = lnb.adapters.sklearn.MLPClassifier((32,), optimizer=opt, max_iter=100, batch_size=64, random_state=0)
estimator.fit(data.X_train, data.y_train)
accuracy = estimator.score(data.X_test, data.y_test)
print(f"first predictions: {estimator.predict(data.X_test[:5])}, test accuracy: {accuracy:.4f}")

# %% [markdown]
# A seed of the estimator is a seed of `train`: as many steps give the same weights, bit for bit.

# %%
steps = estimator.n_iter_ * (len(data.y_train) // 64)
same = lnb.train(model, data, opt, steps=steps, batch_size=64, seed=0)
assert (estimator.predict_proba(data.X_test) == model.predict_proba(same.slow, data.X_test)).all()

# %% [markdown]
# ## Ten paired seeds
#
# One run shows one accident. So the example is repeated with several seeds, and beside it AdamW alone. A seed fixes
# the initial weights and the order of the batches, and it draws a split of its own into training, validation and test
# rows, because a single split would say something about that split only. Both optimizers get the same seeds, so every
# comparison below is between two runs that differ in nothing but the optimizer.

# %%
split = partial(lnb.datasets.load, "digits")
histories = [
    lnb.train(model, split, arm, steps=2000, batch_size=64, seed=seed).history
    for arm in (inner, opt)
    for seed in range(10)
]
curves = pd.concat(histories, ignore_index=True)
curves["kind"] = curves.weights.where(curves.optimizer != "AdamW", "AdamW")
kept = ["run", "seed", "kind", "step", "train_loss", "validation_loss", "test_loss", "test_accuracy"]
table = tables.write_table(curves[kept], "quick_start")

# %% [markdown]
# The means over the seeds, early, halfway and at the end:

# %%
means = curves.groupby(["step", "kind"])[["train_loss", "validation_loss", "test_loss", "test_accuracy"]].mean()
means.loc[[100, 200, 500, 1000, 2000]].round(4)

# %% [markdown]
# And the paired differences of the test loss, with the smallest and the largest one among the seeds. A difference
# above zero means that the slow weights are worse.

# %%
loss = curves.pivot(index="step", columns=["kind", "seed"], values="test_loss")
gaps = pd.concat({f"slow - {kind}": loss["slow"] - loss[kind] for kind in ("AdamW", "fast")}, names=["difference"])
gaps.agg(["mean", "min", "max"], axis=1).unstack("difference").loc[[100, 200, 500, 1000, 2000]].round(4)

# %% [markdown]
# ## The whole course
#
# In the figure, look at the distance between the blue line and the other two, and at how it closes. The loss is drawn
# on a logarithmic axis, so a steady rate of progress is a straight line and half the rate is half the slope. The fast
# and the slow weights lie so close together that their lines cover each other over most of the course.

# %%
caption = "At the learning rate of the example Lookahead falls more slowly than AdamW alone."
alt = "Two log-scale line plots, validation and test loss over 2000 steps: AdamW lies below Lookahead, then they close."
figures.save(quick_start.losses(curves), "quick_start_losses", caption, alt)

# %% [markdown]
# **At the learning rate of the example Lookahead falls more slowly than AdamW alone.** Loss on (a) the validation
# part and (b) the test part against the step, for AdamW alone and for the fast and slow weights of Lookahead around
# it. Lines are means over ten seeds, each with its own split, initial weights and batch order; bands reach from the
# smallest to the largest seed. The slow weights are those on which Lookahead is evaluated.
#
# The statements of the conclusion, as assertions on the numbers above:

# %%
behind = loss["slow"] - loss["AdamW"]
assert (behind.loc[50:1000] > 0).all(axis=None)
assert behind.mean(axis=1).loc[500:].is_monotonic_decreasing
assert (gaps.loc["slow - fast"].loc[100:500] > 0).all(axis=None)
assert loss.loc[2000].groupby("kind").mean().max() < 0.2

# %% [markdown]
# ## What is seen
#
# - The example runs, and all three kinds of weights learn the task.
# - At the same learning rate Lookahead is behind AdamW for every one of the seeds in the first half of the run, and
#   the distance shrinks from there on. This is what the expectation said: half of each stretch is taken back.
# - The slow weights trail the fast ones early on, in every seed, because the loss is still falling and they hold
#   older information. Later the difference becomes small against the spread over the seeds.
#
# What does not follow: that Lookahead is worse, or that it would be better with more steps. Halving the learning rate
# of AdamW alone should slow it down in the same way. Unless Lookahead is compared with AdamW at `lr * slow_step_size`
# as well, a difference to AdamW at the same rate says little about Lookahead itself. The notebook
# [02_retention](02_retention.ipynb) adds that control, and a second one that averages without pulling back.
#
# ## Provenance
#
# Data: `digits` of scikit-learn (Alpaydin & Kaynak 1998, CC BY 4.0). The table behind the figure is
# `data/results/quick_start.csv`, one row per run, step and kind of weights; its manifest beside it holds hashes,
# versions and machine. The figure is `paper/figures/quick_start_losses`. `make reproduce` recomputes all of them from
# nothing. Next: [01_update_rules](01_update_rules.ipynb), the two rules worked by hand.
