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
# **It runs and learns the digits. At the example's learning rate Lookahead falls at about half the speed of AdamW, and
# catches up near the end.**
#
# The article "Adam meets Lookahead" (Chinese-language) closes with a worked example (sections 4.3 and 5): image
# classification with Lookahead around AdamW. Its code cannot run as printed. An import is missing, and the last release
# of TensorFlow Addons refuses the optimizer. This notebook runs the same example on the small images of handwritten
# digits that come with scikit-learn.
#
# This is a first look at one task, one network and one setting. It is no verdict on the article; other notebooks test
# its claims. Every number here is computed while the notebook runs, on the CPU, from fixed seeds.

# %%
from functools import partial

import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.figures import quick_start

figures.use_style()

# %% [markdown]
# ## The example, and what we expect
#
# Lookahead keeps two copies of the weights. The inner optimizer, here AdamW, moves the *fast* weights. After every
# `sync_period` steps a sync moves the *slow* weights part of the way to the fast ones:
#
# $$\text{slow} \leftarrow \text{retention} \cdot \text{slow} + \text{slow\_step\_size} \cdot \text{fast},
# \qquad \text{retention} = 1 - \text{slow\_step\_size}.$$
#
# Then the fast weights restart from the slow ones. This is the pull-back. The model is evaluated with the slow weights.
#
# The article names its coefficient by a Greek letter and means the retention. Its code passes `slow_step_size`. The
# example uses the one value at which both agree, so the confusion does no harm here. Elsewhere it does, so this project
# never uses the letter alone.
#
# Settings of the article's example:
#
# - inner optimizer AdamW, learning rate 0.001, weight decay 0.01
# - Lookahead, sync_period 5, retention 0.5, which is slow_step_size 0.5
#
# The article does not say the rest. We chose:
#
# - digits: images of 8 x 8 pixels in 10 classes, split 3 : 1 : 1 into training, validation and test
# - a network 64-32-10 with ReLU, batches of 64, 2000 steps, 10 seeds
#
# What to expect: every pull-back undoes half of the progress since the last one. While the loss falls steadily, this
# should cost about half of the speed. It may help later, near the end, where noise dominates.

# %%
model = lnb.MLP((64, 32, 10), activation="relu")
inner = lnb.AdamW(lr=0.001, weight_decay=0.01)
opt = lnb.Lookahead(inner, sync_period=5, slow_step_size=0.5)
assert opt == lnb.Lookahead(inner, sync_period=5, retention=0.5)

# %% [markdown]
# ## One run
#
# `train` accepts a model, data, an optimizer and a seed. It returns the history as a tidy frame, with one row for each
# evaluated step and kind of weights. It also returns the trained weights and the optimizer's state.
#
# At a sync, `fast` is evaluated before the pull-back and `slow` after it. Otherwise both would be equal there by
# construction. The fast weights come first.

# %%
data = lnb.datasets.load("digits", split_seed=0)
run = lnb.train(model, data, opt, steps=2000, batch_size=64, seed=0)
run.history[["step", "phase", "weights", "train_loss", "test_loss", "test_accuracy"]].tail(4).round(4)

# %% [markdown]
# To use the slow weights outside `train`, for a prediction or a file, borrow them. Inside the block the parameters hold
# the slow weights. After it they hold exactly the fast ones again, even if something fails inside.

# %%
with opt.slow_weights(run.params, run.state):
    right = model.predict(run.params, data.X_test) == data.y_test
print(f"test accuracy of the slow weights after the last step: {right.mean():.4f}")

# %% [markdown]
# ## The article's code, with scikit-learn
#
# The article's sample builds a model, compiles it with AdamW inside Lookahead, fits it and predicts. The next cell
# takes the same four steps with this package's estimator. It works in pipelines and searches like any other estimator
# of scikit-learn. Its epochs are passes over the training rows, and it predicts with the slow weights.

# %%
estimator = lnb.adapters.sklearn.MLPClassifier((32,), optimizer=opt, max_iter=100, batch_size=64, random_state=0)
estimator.fit(data.X_train, data.y_train)
accuracy = estimator.score(data.X_test, data.y_test)
print(f"first predictions: {estimator.predict(data.X_test[:5])}, test accuracy: {accuracy:.4f}")

# %% [markdown]
# A seed of the estimator is a seed of `train`: the same number of steps gives bit-for-bit identical weights.

# %%
steps = estimator.n_iter_ * (len(data.y_train) // 64)
same = lnb.train(model, data, opt, steps=steps, batch_size=64, seed=0)
assert (estimator.predict_proba(data.X_test) == model.predict_proba(same.slow, data.X_test)).all()

# %% [markdown]
# ## Ten paired seeds
#
# One run shows one accident, so the example is repeated with ten seeds, and so is AdamW alone. A seed fixes the initial
# weights and the order of the batches. It also draws its own split into training, validation and test rows, because a
# single split says something about that split only. Both optimizers get the same seeds. The two runs of a comparison
# differ in nothing but the optimizer.

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
# The paired differences of the test loss follow, with the smallest and the largest of the ten seeds. A difference above
# zero means that the slow weights are worse.

# %%
loss = curves.pivot(index="step", columns=["kind", "seed"], values="test_loss")
gaps = pd.concat({f"slow - {kind}": loss["slow"] - loss[kind] for kind in ("AdamW", "fast")}, names=["difference"])
gaps.agg(["mean", "min", "max"], axis=1).unstack("difference").loc[[100, 200, 500, 1000, 2000]].round(4)

# %% [markdown]
# ## The whole course
#
# In the figure, watch the distance between the blue line and the other two, and how it closes. The loss is drawn on a
# logarithmic axis: steady progress is a straight line, and half the speed is half the slope. The fast and slow weights
# are so close that their lines mostly cover each other.

# %%
caption = "At the learning rate of the example Lookahead falls more slowly than AdamW alone."
alt = "Two log-scale line plots, validation and test loss over 2000 steps: AdamW lies below Lookahead, then they close."
figures.save(quick_start.losses(curves), "quick_start_losses", caption, alt)

# %% [markdown]
# **At the learning rate of the example Lookahead falls more slowly than AdamW alone.** Loss on (a) the validation part
# and (b) the test part against the step. Lines show AdamW alone, and the fast and slow weights of Lookahead. They are
# means over ten seeds, each with its own split, initial weights and batch order. Bands reach from the smallest to the
# largest seed.
#
# The next cell checks the statements of the conclusion against these numbers.

# %%
behind = loss["slow"] - loss["AdamW"]
assert (behind.loc[50:1000] > 0).all(axis=None)
assert behind.mean(axis=1).loc[500:].is_monotonic_decreasing
assert (gaps.loc["slow - fast"].loc[100:500] > 0).all(axis=None)
assert loss.loc[2000].groupby("kind").mean().max() < 0.2

# %% [markdown]
# ## What we see
#
# - The example runs, and all three kinds of weights learn the task.
# - At the same learning rate Lookahead is behind AdamW in every seed, throughout the first half of the run. The
#   distance shrinks from there on. This matches the expectation: a sync gives half of the progress back.
# - Early on, the slow weights are worse than the fast ones in every seed. The loss is still falling, and they hold
#   older information. Later the difference is small compared with the spread over seeds.
#
# This does not show that Lookahead is worse, or that more steps would make it better. Halving the learning rate of
# AdamW should slow it down in the same way. A difference from AdamW at the same rate says little about Lookahead. It
# takes a comparison with AdamW at `lr * slow_step_size`, or at a tuned rate for each. The notebook
# [02_retention](02_retention.ipynb) adds this control, and an average without pull-back.
#
# ## Provenance
#
# Data: `digits` of scikit-learn (Alpaydin & Kaynak 1998, CC BY 4.0). The table of the figure is
# `data/results/quick_start.csv`, with one row for each run, step and kind of weights. Its manifest holds hashes,
# versions and machine. The figure is `paper/figures/quick_start_losses`. `make reproduce` recomputes all of them. Next:
# [01_update_rules](01_update_rules.ipynb) works both rules by hand.
