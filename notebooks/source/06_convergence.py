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
# The article "Adam meets Lookahead" (Chinese-language) says that the theory of Lookahead is thin. The paper that
# introduced Lookahead (Zhang et al. 2019) has theory, for quadratics. This notebook takes it further in steps: to
# momentum and every inner state; to the computations behind the paper's Figures 2 and 3; and to an identity that
# holds on any loss. The next one, [06b_noise_floor](06b_noise_floor.ipynb), leaves the quadratic.
#
# Status: the theory is held against runs of the library's own optimizers, and agrees with them. The text of the paper
# was not at hand, only its abstract and some of its pictures. What its Figures 2 and 3 show, and with which settings,
# is remembered and could not be checked; what is drawn here are our own computations *after* these figures, and no
# point of theirs is reproduced. All numbers are computed while the notebook runs.

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
# Near a minimum a loss is a quadratic, and Adam whose preconditioner stands still is gradient descent with momentum.
# One weight of curvature $a$ then moves by
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\,(a \cdot \text{fast} + \text{noise}), \qquad
# \text{fast} \leftarrow \text{fast} - \text{lr} \cdot m,$$
#
# and a sync is linear too. So a whole cycle is one small matrix. Its largest eigenvalue says how fast the mean is
# forgotten, and a discrete Lyapunov equation how widely the noise spreads the weight, at every phase of the cycle.
# Without momentum it all closes: as a multiple of the variance of the inner rule, that of the slow weight is
#
# $$R = \frac{s\,(1 + q)}{2 - s\,(1 - q)}, \qquad q = (1 - \text{lr} \cdot a)^k,$$
#
# with $s$ for slow_step_size and $k$ for sync_period (Proposition 2 of the paper, simplified). While lr times
# curvature is below one, this falls with $k$ and keeps between $s/(2-s)$ and $s$. With momentum neither should hold:
# the weight swings, and what a sync does depends on where in its swing it meets the weight. Expect humps.
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
# First the swinging mode at lr 1 in Adam's terms, with the state kept: variance of the slow weight as a multiple of
# that of the inner rule, and the factor of the mean per inner step, which is `inner_rate` without Lookahead.

# %%
settled = modes[modes.predicted_rate**600 < 0.01]
swing = settled[(settled.beta1 == 0.9) & (settled.lr > 0.9) & (settled.inner_state == "keep")]
hump = swing.filter(like="_variance").div(swing.inner_variance, axis=0).join(swing.filter(like="_rate"))
hump = hump.set_index([swing.slow_step_size, swing.sync_period]).drop(columns="inner_variance")
hump.loc[0.5].round(4)

# %% [markdown]
# A swing takes about twenty steps. Up to half a swing the longer cycle is the quieter one, and faster than the inner
# rule, at best by far. A cycle of a whole swing is slower than it, and not nearly as quiet.
#
# In the figure lines are predictions and markers are simulated. The upper panels have the same axes: to the left the
# variance should fall a little and level off, to the right it should come back. Panel (c) is the speed, where lower
# is faster; look for markers below the line of the inner rule, which without momentum there cannot be. Panel (d)
# follows the variance through one cycle: the fast weight leaves the narrow cloud of the slow one and widens again.

# %%
caption = "Without momentum a longer cycle is a little quieter; with momentum it is a matter of the swing."
alt = "Variance falls with sync_period without momentum, and has a dip and a hump with it; markers lie on all lines."
figures.save(convergence.cycle(modes, phases), "convergence_cycle", caption, alt)

# %% [markdown]
# **Without momentum a longer cycle is a little quieter; with momentum it is a matter of the swing.** Variance of the
# slow weight as a multiple of that of the inner rule, against sync_period, (a) for gradient descent and (b) for Adam
# with a frozen preconditioner, which keeps its state. (c) The factor by which the mean shrinks per inner step, for
# the three inner states. (d) Variance of fast (before the pull) and slow weights through a cycle of twenty steps.
# Lines: exact. Markers: simulated over the copies; their errors are smaller than the markers.
#
# ## The paper's Figure 2: equal risk
#
# A smaller step is quieter and slower, and so is Lookahead. The fair question is which of them is ahead at the same
# steady-state risk. As remembered, Figure 2 of the paper asks it on a noisy quadratic with many modes. Its spectrum
# and noise could not be checked. Settings of ours:
#
# - curvatures 1/i for i from 1 to 100, gradient noise of a variance equal to the curvature, all weights start at one
# - no momentum; gradient descent at lr from 0.005 to 0.2, and Lookahead at the lr that gives the same risk
#
# In a sharp mode that settles within a cycle, Lookahead saves variance beyond what a smaller step would, and can spend
# it on a larger lr for the flat modes. So it should be ahead, the more so for long cycles and small steps.

# %%
a, steps, inside = 1 / np.arange(1, 101), np.arange(0, 1001, 50), {1: 1.0, 5: 0.5, 10: 0.5, 50: 0.5}
wanted = {"sync_periods": [5, 10, 20, 50], "slow_step_sizes": [0.8, 0.5, 0.2]}
ratios = predictions.at_matched_risk(1000, np.geomspace(0.005, 0.2, 41), a, np.sqrt(a), **wanted)
lost = partial(theory.sgd_matched_loss, steps, np.full(21, 0.05), a, np.sqrt(a))
over_time = pd.DataFrame({k: lost(k, size) for k, size in inside.items()}, index=steps)
ratios.min().unstack().round(3)

# %% [markdown]
# The table holds the loss after a thousand steps as a fraction of that of gradient descent at equal risk, at the risk
# where it is smallest: by a little at the short cycles in use, and by more for long ones. Lookahead is ahead at every
# risk tried, but for the longest cycle with the smallest step, which falls behind at the largest risks. (An lr that
# decays is another question: then both risks go to zero.)
#
# ## The paper's Figure 3: momentum and the condition number
#
# As remembered, Figure 3 takes the noise away, puts Lookahead around classical momentum, gives every method the lr
# that is best for it, and finds Lookahead far faster while all modes are under-damped, and slower when they are not.
# Momentum alone then sheds the square root of its coefficient per step whatever the condition number. Lookahead can
# do better by interfering with the swing, but one cycle length has to suit all modes at once. So the gain should
# depend on how many different eigenvalues there are, of which the figure, as remembered, says nothing. Settings:
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
# **At equal risk Lookahead is ahead; around momentum its large gains need few eigenvalues.** (a) Expected loss
# against steps at the lr that give all the same steady-state risk. (b) Loss after a thousand steps over that of
# gradient descent with the same risk, against that risk, at slow_step_size one half. (c, d) One minus the rate,
# higher is faster, against the condition number, each rule at its best lr: classical momentum alone, and inside
# Lookahead that keeps, interpolates or resets its state. Nothing in this figure is simulated; our own computations
# after Figures 2 and 3 of Zhang et al. 2019, whose settings could not be checked.
#
# ## An identity that needs no quadratic
#
# Let $y = (1 - s) \cdot \text{slow} + s \cdot \text{fast}$. An inner step $\text{fast} \leftarrow \text{fast} -
# \text{lr} \cdot u$ moves it by $-s \cdot \text{lr} \cdot u$. A sync leaves it where it is, since slow arrives at
# exactly this point and fast is set to it. So on any loss Lookahead is the inner rule at lr times slow_step_size, run
# on $y$, with its gradients taken at fast, somewhat ahead of it. With a sync at every step fast and $y$ coincide, and
# nothing of Lookahead is left. To see it, the gradients that Lookahead met are recorded and fed to AdamW alone at the
# lower rate, in Rosenbrock's valley. Settings:
#
# - inner rule AdamW at lr 0.2 without decay, slow_step_size 0.5, 200 steps from Rosenbrock's own start
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
# in Rosenbrock's valley: fast weights before the pull, slow weights, and their average with weight slow_step_size.
# (b) The first forty steps in one coordinate; rings: AdamW alone at lr times slow_step_size, fed with the gradients
# that Lookahead met. (c) Distance of the average to AdamW at that lr with gradients of its own: rounding at
# sync_period one, and a different path for every other.
#
# All tables, and the statements of the conclusion as assertions:

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
# - **The cycle is exact.** For each of more than two hundred settings, with momentum and every inner state, the
#   simulated variance and rate are the predicted ones to within the noise of the simulation. A dozen settings are not
#   counted, because in six hundred steps they forget too little of their start.
# - **"Larger k is more stable but slower" is a statement about rules without momentum.** There the gain in variance is
#   bounded and small. With the momentum of Adam, in a mode that swings, both variance and speed have dips and humps in
#   sync_period, and Lookahead can be both quieter and faster than its inner rule, or a longer cycle worse in both.
# - **At equal risk Lookahead is ahead on the noisy quadratic**, nearly everywhere, by little at short cycles. In this
#   the smaller slow_step_size is the better one, opposite to what one sees at equal lr.
# - **The large acceleration of classical momentum is one of few eigenvalues.** With two of them the gain is about
#   tenfold up to condition numbers of a few hundred; with fifty it is twofold at best, and gone where the condition
#   number is large. The numbers are those of an earlier, coarser search of ours, or a little better.
# - **Averaging and a lower rate are not analogies.** On any loss, slow and fast weights together are the inner rule at
#   lr times slow_step_size, up to rounding; what is Lookahead's own is only where the gradients are taken.
#
# ## What they do not
#
# The paper's own curves were not available, so that nothing is said about whether it is right in its settings; only
# that, in ours, the conclusion remembered from its Figure 3 depends on a spectrum it may not have stated. Equal risk
# was asked without momentum and at a constant lr only. The valley is one run, shown for the identity. A frozen
# preconditioner is not Adam in its first steps. How far all of this carries to a real loss with real minibatches is
# the question of the next notebook.
#
# ## Provenance
#
# No data sets. The tables are `convergence_cycle`, `convergence_phases`, `convergence_over_time`,
# `convergence_matched_risk`, `convergence_gaps` and `convergence_identity` in `data/results`, each with its manifest;
# the figures are `convergence_cycle`, `convergence_published` and `convergence_identity` in `paper/figures`. `make
# reproduce` recomputes all of them from nothing. Before: [02_retention](02_retention.ipynb), what retention
# does to speed and noise in training. Next: [06b_noise_floor](06b_noise_floor.ipynb).
