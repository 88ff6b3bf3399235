# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Can the noise floor of Lookahead be computed instead of measured?
#
# **Yes. On logistic regression a linear theory predicts the size of the noise to within a tenth, with no fitted
# number.**
#
# At a constant lr the noise of the minibatches keeps the weights from settling. They stay in a cloud around the
# minimum. The article "Adam meets Lookahead" (Chinese-language) says in its FAQ 8.1 that a larger retention makes
# training more stable. This is a statement about the size of the cloud. [02_retention](02_retention.ipynb) measures it.
# This notebook computes it: the covariance of the slow weights of AdamW inside Lookahead, on a real loss with real
# minibatches, for every slow_step_size, sync_period and beta1.
#
# We predict first and then compare with runs. The linear cycle goes back to Zhang et al. 2019, section 3. The rest is
# derived in `lookahead_nb/theory/near_minimum.py`, and we know of no published result to compare with.

# %%
import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.figures import noise_floor
from lookahead_nb.theory import near_minimum, predictions

figures.use_style()

# %% [markdown]
# ## What to expect
#
# Near the minimum the gradient of a minibatch is $H\,(\theta - \theta^*)$ plus noise, and everything is linear: an
# inner step of Adam with a fixed preconditioner, AdamW's decay, and a sync. [06_convergence](06_convergence.ipynb) has
# solved this cycle for a quadratic, one mode at a time. Three things are new.
#
# **The modes are coupled.** The Hessian $H$, the covariance $C$ of the gradients of single rows, and Adam's
# preconditioner share no axes. So all weights form one vector in one large linear cycle. $H$ and $C$ are computed at
# the minimum of the training loss, found by Newton's method.
#
# **Adam's second moment depends on the noise.** It becomes the mean square of the minibatch gradients. This depends on
# the spread of the weights, and the spread depends on it in turn. We solve for both by iteration.
#
# **Minibatches are drawn without replacement.** Within an epoch they cancel one another. For batches of $B$ out of $N$
# rows, the noise of a step, and of two steps of one epoch, has the covariances
#
# $$\frac{N - B}{B\,(N - 1)}\, C \qquad \text{and} \qquad -\frac{1}{N - 1}\, C.$$
#
# The noise of a whole epoch nearly adds up to zero. The theory includes this exactly. So the floor should depend on the
# step of the epoch, and lie below that of independent batches. The effect is largest for weights that move slowly
# compared with an epoch, such as slow weights with a large retention.
#
# The theory ignores how $H$ and $C$ change over the cloud, and how the second moment fluctuates. The first grows with
# lr, so at some lr the prediction must fail. Below it we aimed at an error of at most a tenth.
#
# Settings:
#
# - the synthetic set logistic_teacher: 20 features, two classes; logistic regression with l2 0.1, so that the minimum
#   is well conditioned and a run soon forgets its start
# - AdamW with its defaults, weight decay 0.01 included, except lr 0.01; in half of the arms beta1 0 instead of 0.9
# - slow_step_size 0.2, 0.5, 0.8 with sync periods 5, 20, 50; slow_step_size 1.0, which is AdamW alone
# - lr 0.02, 0.04, 0.08, 0.16 at the defaults of Lookahead
# - batches of 30, so that an epoch has 100 steps; float64
# - 128 independent runs of each arm, with the same seeds for all arms, on one split of the data

# %%
data, model = lnb.datasets.load("logistic_teacher"), lnb.LogisticRegression(20, l2=0.1)
minimum = near_minimum.Minimum.of(model, data)
base = lnb.Lookahead(lnb.AdamW(0.01))
arms = lnb.grid(base, beta1=[0.0, 0.9], slow_step_size=[0.2, 0.5, 0.8], sync_period=[5, 20, 50])
arms += lnb.grid(base, beta1=[0.0, 0.9], slow_step_size=[1.0]) + lnb.grid(base, lr=[0.02, 0.04, 0.08, 0.16])
cycles = {opt: minimum.cycle(opt, 30) for opt in arms}
forgotten = max(cycle.rate for cycle in cycles.values()) ** 5000
print(f"{len(minimum.params)} weights, epochs of {cycles[base].epoch} steps, start left after 5000: {forgotten:.0e}")

# %% [markdown]
# After five thousand steps the slowest arm has forgotten its start, by the rate of its own cycle. So, nearly, has the
# second moment, whose memory is a thousand steps. From there on each run is evaluated ten times. Two evaluations are
# two epochs and ten steps apart, which covers ten steps of the epoch evenly. The weights are those with which a run of
# `train` of that many steps would end.

# %%
at = range(5010, 7000, 210)
runs = {opt: near_minimum.weights_along(model, data, opt, at, seeds=128, batch_size=30) for opt in arms}
floors = predictions.floors(minimum, runs, at, 30)
shown = lnb.Lookahead(lnb.AdamW(0.01), sync_period=20)
epoch = predictions.through_epoch(cycles[shown], runs[shown], at)
index = ["lr", "beta1", "slow_step_size", "sync_period"]
floors.pivot(index=index, columns="measure", values="ratio").round(2)

# %% [markdown]
# The table shows measured over predicted. The total variance is the trace of the covariance of the slow weights over
# the runs. The excess loss is half the trace of its product with $H$. The directions are the five widest axes of the
# predicted covariance; the widest axes of a sample would be too wide, because they are selected for it. All are means
# over the ten steps of the epoch. A second table shows the range of the predictions, as a measure of what there is to
# explain.

# %%
small, far = floors[floors.lr == 0.01], floors[floors.lr == 0.16]
small.groupby("measure")[["predicted", "independent"]].agg(["min", "max"]).map("{:.1e}".format)

# %% [markdown]
# The second column of that table is the prediction for minibatches that are drawn independently. In the figure those
# predictions are the grey circles. Look at how close the others are to the diagonal, and at the ratios in panel (b). In
# panel (c) the variance of the fast weights is a sawtooth and that of the slow weights a staircase. In panel (d), see
# where the ratio leaves the band.

# %%
caption = "The noise floor of real runs is where the theory puts it, for every setting and at every step of the epoch."
alt = "Predicted and measured agree along the diagonal, grey rings fall far off it; ratios near 1 up to lr 0.08."
figures.save(noise_floor.prediction(floors, epoch), "noise_floor_prediction", caption, alt)

# %% [markdown]
# **The noise floor of real runs is where the theory puts it, for every setting and at every step of the epoch.** (a)
# Measured against predicted size of the cloud of slow weights, all settings at the smallest lr. Grey circles: the same
# total variances and excess losses against their prediction for independent batches. (b) Measured over predicted, with
# two standard errors over 128 runs; the band is a tenth. (c) Total variance through an epoch, for sync_period 20 and
# slow_step_size one half; lines predicted, markers measured. (d) As (b), against lr, at Lookahead's defaults.
#
# The next cell checks the statements of the conclusion.

# %%
written = [tables.write_table(frame, f"noise_floor_{name}") for name, frame in (("floors", floors), ("epoch", epoch))]
total = small[small.measure == "variance"]
assert forgotten < 1e-4
assert (small.ratio - 1).abs().max() < 0.1
assert (total.ratio - 1).abs().max() < 0.05
assert (floors[floors.lr == 0.08].ratio - 1).abs().max() < 0.1
assert far.ratio.iloc[:2].min() > 1.1
assert (total.independent / total.predicted).between(1.5, 7).all()
assert (epoch.measured / epoch.predicted).dropna().sub(1).abs().max() < 0.15

# %% [markdown]
# ## What the numbers support
#
# - **The floor can be computed.** At the smallest lr everything that we compared is within a tenth of its prediction:
#   total variance, excess loss and the five widest directions, for twenty settings. The total variances are within a
#   twentieth. Part of the rest is the noise of 128 runs. It has a sign: most measured variances are slightly larger
#   than predicted.
# - **Retention, sync period and momentum need no explanation of their own.** Their effect on the floor of this problem
#   is in one linear cycle with the right noise.
# - **The order of the rows matters more than any of them.** For independent minibatches the theory predicts up to
#   several times the variance, and everywhere at least half as much again. A theory or a measurement that ignores the
#   step of the epoch is off by such factors.
# - **It ends with the quadratic.** At eight times the smallest lr the prediction is still within the band. At sixteen
#   times both sizes are outside it. The cloud then reaches to where the loss is no longer a parabola.
#
# ## What they do not
#
# This is one data set, one split, one batch size and one model, with a penalty that makes the minimum well conditioned.
# A convex loss has a single minimum; a network would move along a valley. The theory takes the second moment as
# constant. That is nearly true at the default beta2, and we tried no smaller one. Inner states other than "keep" also
# reset or mix AdamW's second moment, which no linear cycle describes, so they are missing. All of this is about the
# training loss, not about generalization.
#
# ## Provenance
#
# Data: `logistic_teacher`, made by this library. The tables are `data/results/noise_floor_floors.csv`, with one row for
# each setting and measure, and `data/results/noise_floor_epoch.csv`, each with its manifest. The figure is
# `paper/figures/noise_floor_prediction`. `make reproduce` recomputes all of them. Before:
# [06_convergence](06_convergence.ipynb), the same cycle on a quadratic.
