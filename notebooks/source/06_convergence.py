# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # How fast does Lookahead converge, and how far?
#
# **Without momentum a longer cycle is a little quieter and slower. With momentum the weights oscillate, and what a sync
# does depends on the phase.**
#
# The article "Adam meets Lookahead" (Chinese-language) says that there is little theory of Lookahead. The paper that
# introduced Lookahead (Zhang et al. 2019) has theory for quadratics. This notebook extends it in three steps: to
# momentum and every inner state, to the computations behind the paper's Figures 2 and 3, and to an identity that holds
# on any loss. The next one, [06b_noise_floor](06b_noise_floor.ipynb), leaves the quadratic.
#
# The theory agrees with runs of the library's own optimizers. We did not have the text of the paper, only its abstract
# and some of its pictures. What we say of its Figures 2 and 3 is from memory and could not be checked. The figures here
# are our own computations *after* them and reproduce no point of theirs. All numbers are computed while the notebook
# runs.

# %%
from functools import partial

import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures, theory
from lookahead_nb import provenance as tables
from lookahead_nb.figures import convergence
from lookahead_nb.models.landscapes import Quadratic, Rosenbrock
from lookahead_nb.theory import predictions

figures.use_style()

# %% [markdown]
# ## One mode: what to expect
#
# Near a minimum a loss is quadratic, and Adam with a fixed preconditioner is gradient descent with momentum. One weight
# of curvature $a$ then moves by
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\,(a \cdot \text{fast} + \text{noise}), \qquad
# \text{fast} \leftarrow \text{fast} - \text{lr} \cdot m.$$
#
# A sync is linear too, so a whole cycle is one small matrix. Its largest eigenvalue says how fast the mean decays. A
# discrete Lyapunov equation gives the variance of the weight at every phase of the cycle. Without momentum there is a
# closed form. As a multiple of the variance of the inner optimizer, that of the slow weight is
#
# $$R = \frac{s\,(1 + q)}{2 - s\,(1 - q)}, \qquad q = (1 - \text{lr} \cdot a)^k,$$
#
# with $s$ for slow_step_size and $k$ for sync_period (Proposition 2 of the paper, simplified). While lr times curvature
# is below one, $R$ falls with $k$ and stays between $s/(2-s)$ and $s$. With momentum neither should hold. The weight
# oscillates, and the effect of a sync depends on the phase of the oscillation. Expect humps.
#
# Settings of the simulation, which runs through `sweep` like any other:
#
# - one weight of curvature one; 5000 independent copies with noise of unit variance, and one copy without noise
# - gradient descent at lr 0.1 and 0.5; momentum 0.9 at lr 0.01 and 0.1, which in Adam's terms are lr 0.1 and 1
# - sync periods from 1 to 30; slow_step_size 0.2, 0.5 and 0.8; with momentum all three inner states
# - 600 steps: the variance is that over the copies in the second half of them, the rate a slope of the logarithm

# %%
around = partial(lnb.grid, sync_period=[1, 2, 3, 5, 7, 10, 14, 20, 30], slow_step_size=[0.2, 0.5, 0.8])
opts = around(lnb.Lookahead(lnb.SGD(0.1)), lr=[0.1, 0.5])
opts += around(lnb.Lookahead(lnb.SGD(0.1, momentum=0.9)), lr=[0.01, 0.1], inner_state=["keep", "reset", "interpolate"])
bowls = Quadratic([1.0], noise=1.0, start=0.0, replicas=5000), Quadratic([1.0])
how = {"seeds": 1, "steps": 600, "eval_every": 1, "dtype": "float64", "progress": False}
clouds, falls = (lnb.sweep(bowl, None, opts, **how) for bowl in bowls)
modes = predictions.with_theory(opts, clouds, falls)
swings = lnb.SGD(0.5), lnb.SGD(0.1, momentum=0.9)
phases = predictions.by_phase([lnb.Lookahead(rule, sync_period=20) for rule in swings], clouds)

# %% [markdown]
# First the oscillating mode, at lr 1 in Adam's terms, with the state kept. The table shows the variance of the slow
# weight as a multiple of the inner optimizer's, and the factor of the mean per inner step. `inner_rate` is this factor
# without Lookahead.

# %%
settled = modes[modes.predicted_rate**600 < 0.01]
swing = settled[(settled.beta1 == 0.9) & (settled.lr > 0.9) & (settled.inner_state == "keep")]
hump = swing.filter(like="_variance").div(swing.inner_variance, axis=0).join(swing.filter(like="_rate"))
hump = hump.set_index([swing.slow_step_size, swing.sync_period]).drop(columns="inner_variance")
hump.loc[0.5].round(4)

# %% [markdown]
# One oscillation takes about twenty steps. Up to half of it the longer cycle is quieter, and faster than the inner
# optimizer, at best by far. A cycle as long as the oscillation is slower than the inner optimizer, and not nearly as
# quiet.
#
# In the figure, lines are predictions and markers are simulated. The upper panels have the same axes. On the left the
# variance should fall a little and level off. On the right it should rise again. Panel (c) shows the speed; lower is
# faster. Look for markers below the line of the inner optimizer, which cannot exist without momentum. Panel (d) follows
# the variance through one cycle: the fast weight starts at the small variance of the slow one and spreads again.

# %%
caption = "Without momentum a longer cycle is a little quieter; with momentum it is a matter of the swing."
alt = "Variance falls with sync_period without momentum, and has a dip and a hump with it; markers lie on all lines."
figures.save(convergence.cycle(modes, phases), "convergence_cycle", caption, alt)

# %% [markdown]
# **Without momentum a longer cycle is a little quieter; with momentum it is a matter of the swing.** Variance of the
# slow weight as a multiple of the inner optimizer's, against sync_period, (a) for gradient descent and (b) for Adam
# with a fixed preconditioner, which keeps its state. (c) The factor by which the mean shrinks per inner step, for the
# three inner states. (d) Variance of fast weights (before the pull-back) and slow weights through a cycle of twenty
# steps. Lines: exact. Markers: simulated over the copies; their errors are smaller than the markers.
#
# ## The paper's Figure 2: equal risk
#
# A smaller step is quieter and slower, and so is Lookahead. The fair question is which of them is ahead at the same
# steady-state risk. As we remember it, Figure 2 of the paper asks this on a noisy quadratic with many modes. Its
# spectrum and noise could not be checked.
#
# Settings, which are ours:
#
# - curvatures 1/i for i from 1 to 100, gradient noise of a variance equal to the curvature, all weights start at one
# - no momentum; gradient descent at lr from 0.005 to 0.2, and Lookahead at the lr that gives the same risk
#
# In a sharp mode that settles within a cycle, Lookahead saves more variance than a smaller step would. It can spend
# this on a larger lr for the flat modes. So it should be ahead, more so for long cycles and small steps.

# %%
a, steps, inside = 1 / np.arange(1, 101), np.arange(0, 1001, 50), {1: 1.0, 5: 0.5, 10: 0.5, 50: 0.5}
wanted = {"sync_periods": [5, 10, 20, 50], "slow_step_sizes": [0.8, 0.5, 0.2]}
ratios = predictions.at_matched_risk(1000, np.geomspace(0.005, 0.2, 41), a, np.sqrt(a), **wanted)
lost = partial(theory.sgd_matched_loss, steps, np.full(21, 0.05), a, np.sqrt(a))
over_time = pd.DataFrame({k: lost(k, size) for k, size in inside.items()}, index=steps)
ratios.min().unstack().round(3)

# %% [markdown]
# The table shows the loss after a thousand steps as a fraction of gradient descent's at equal risk, at the risk where
# this is smallest. Short cycles, as in use, gain a little; long ones gain more. Lookahead is ahead at every risk that
# we tried, with one exception. The longest cycle with the smallest step falls behind at the largest risks. (A decaying
# lr is another question: there both risks go to zero.)
#
# ## The paper's Figure 3: momentum and the condition number
#
# As we remember it, Figure 3 removes the noise and puts Lookahead around classical momentum, with the best lr for every
# method. It finds Lookahead far faster while all modes are underdamped, and slower otherwise. Momentum alone then
# shrinks by the square root of its coefficient per step, whatever the condition number. Lookahead can do better by
# interrupting the oscillation, but one cycle length has to suit all modes. So the gain should depend on how many
# different eigenvalues there are. The figure, as we remember it, does not say. Settings:
#
# - momentum 0.99, sync_period 20, slow_step_size 0.5; condition numbers from 10 to 100000
# - two spectra: the two extreme eigenvalues alone, and 50 of them, evenly spaced in the logarithm

# %%
gaps = predictions.gaps_around_momentum(np.geomspace(10, 1e5, 9), [2, 50], 0.99, sync_period=20, slow_step_size=0.5)
gap = gaps.set_index(["modes", "condition", "rule"]).gap.unstack()
gap.unstack("modes").map("{:.1e}".format)

# %%
caption = "At equal risk Lookahead is ahead; around momentum its large gains need few eigenvalues."
alt = "Loss ratios below 1; with 2 eigenvalues Lookahead lies ten times above momentum, with 50 it hugs it, then falls."
figures.save(convergence.published(over_time, ratios[0.5].reset_index(), gaps), "convergence_published", caption, alt)

# %% [markdown]
# **At equal risk Lookahead is ahead; around momentum its large gains need few eigenvalues.** (a) Expected loss against
# steps, at the lr that give all the same steady-state risk. (b) Loss after a thousand steps over that of gradient
# descent at the same risk, against that risk, at slow_step_size one half. (c, d) One minus the rate, higher is faster,
# against the condition number, each optimizer at its best lr: classical momentum alone, and inside Lookahead that
# keeps, interpolates or resets its state.
#
# Nothing here is simulated. These are our own computations after Figures 2 and 3 of Zhang et al. 2019, whose settings
# could not be checked.
#
# ## An identity that needs no quadratic
#
# Let $y = (1 - s) \cdot \text{slow} + s \cdot \text{fast}$. An inner step $\text{fast} \leftarrow \text{fast} -
# \text{lr} \cdot u$ moves $y$ by $-s \cdot \text{lr} \cdot u$. A sync leaves $y$ where it is: slow arrives at exactly
# this point, and fast is set to it. So on any loss Lookahead is the inner optimizer at lr times slow_step_size, run on
# $y$, with its gradients taken at fast, somewhat ahead of $y$. With a sync at every step fast and $y$ coincide, and
# nothing of Lookahead is left.
#
# To see this, we record the gradients that Lookahead meets and feed them to AdamW alone at the lower rate, in
# Rosenbrock's valley. Settings:
#
# - inner optimizer AdamW at lr 0.2 without decay, slow_step_size 0.5, 200 steps from Rosenbrock's own start
# - sync periods 1, 5, 10 and 20; the left and middle panels show 10

# %%
valley, rule = Rosenbrock(), lnb.AdamW(0.2, weight_decay=0.0)
follow = partial(predictions.averaged_path, valley, start=np.array([-1.2, 1.0]), steps=200)
paths = pd.concat({k: follow(lnb.Lookahead(rule, sync_period=k)) for k in (1, 5, 10, 20)}, names=["sync_period"])

# %%
caption = "Slow and fast weights together move like AdamW at the lower rate, led by gradients from further ahead."
alt = "Fast weights jump at syncs, their average with slow runs smooth through rings of AdamW; at period 1 no distance."
figures.save(convergence.identity(paths.reset_index()), "convergence_identity", caption, alt)

# %% [markdown]
# **Slow and fast weights together move like AdamW at the lower rate, led by gradients from further ahead.** (a) A run
# in Rosenbrock's valley: fast weights before the pull-back, slow weights, and their average with weight slow_step_size.
# (b) The first forty steps in one coordinate. Circles: AdamW alone at lr times slow_step_size, fed with the gradients
# that Lookahead met. (c) Distance of the average from AdamW at that lr with gradients of its own. It is rounding at
# sync_period one, and a different path at every other.
#
# The next cell writes all tables and checks the statements of the conclusion.

# %%
frames = {"cycle": modes, "phases": phases, "over_time": over_time, "matched_risk": ratios[0.5].reset_index()}
frames |= {"gaps": gaps, "identity": paths.reset_index()}
written = [tables.write_table(frame, f"convergence_{name}") for name, frame in frames.items()]
gain, moved = gap.keep / gap["momentum alone"], paths.filter(like="averaged")
assert (settled.measured_variance / settled.predicted_variance - 1).abs().max() < 0.02
assert (modes.measured_rate - modes.predicted_rate).abs().max() < 0.01
assert hump.measured_variance[0.5, 20] > 2 * hump.measured_variance[0.5, 10]
assert hump.measured_rate[0.5, 7] < 0.9 * hump.inner_rate[0.5, 7] < 0.9 * hump.measured_rate[0.5, 20]
assert (ratios.drop(columns=[(0.2, 50)]) < 1).all(axis=None)
assert gain[2].loc[:400].min() > 4.5 * gain[50].max()
assert np.abs(moved - paths.filter(like="replayed").to_numpy()).max(axis=None) < 1e-14

# %% [markdown]
# ## What the numbers support
#
# - **The cycle is exact.** Simulated variance and rate match the prediction for more than two hundred settings, with
#   momentum and every inner state, to within the noise of the simulation. A dozen settings do not count, because six
#   hundred steps are too few to forget their start.
# - **"Larger k is more stable but slower" holds without momentum.** There the gain in variance is small and bounded.
#   With Adam's momentum, in a mode that oscillates, variance and speed have dips and humps in sync_period. Lookahead
#   can be quieter and faster than its inner optimizer, and a longer cycle can be worse in both.
# - **At equal risk Lookahead is ahead on the noisy quadratic**, nearly everywhere, by little at short cycles. Here the
#   smaller slow_step_size is better, the opposite of what one sees at equal lr.
# - **The large acceleration of classical momentum needs few eigenvalues.** With two of them the gain is about tenfold,
#   up to condition numbers of a few hundred. With fifty it is twofold at best, and gone at large condition numbers. An
#   earlier, coarser search of ours gave the same numbers or slightly smaller ones.
# - **Averaging and a lower rate are no analogies.** On any loss, slow and fast weights together are the inner optimizer
#   at lr times slow_step_size, up to rounding. Only the place of the gradients is Lookahead's own.
#
# ## What they do not
#
# We did not have the paper's own curves, so we cannot say whether it is right in its settings. In ours, the conclusion
# that we remember from its Figure 3 depends on a spectrum that it may not have stated. Equal risk was compared without
# momentum and at a constant lr only. The valley is one run, shown for the identity. Adam with a fixed preconditioner is
# not Adam in its first steps. The next notebook asks how far this carries to a real loss with real minibatches.
#
# ## Provenance
#
# No data sets. The tables are `convergence_cycle`, `convergence_phases`, `convergence_over_time`,
# `convergence_matched_risk`, `convergence_gaps` and `convergence_identity` in `data/results`, each with its manifest.
# The figures are `convergence_cycle`, `convergence_published` and `convergence_identity` in `paper/figures`. `make
# reproduce` recomputes all of them. Before: [02_retention](02_retention.ipynb), what retention does to speed and noise
# in training. Next: [06b_noise_floor](06b_noise_floor.ipynb).
