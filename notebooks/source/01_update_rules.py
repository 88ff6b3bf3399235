# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # How do AdamW and Lookahead move the weights?
#
# The article "Adam meets Lookahead" (Chinese-language) states two update rules: AdamW in its section 4.2, and in 2.1
# and 4.1 Lookahead, which wraps around it. This notebook works both by hand on small numbers and holds the library to
# the result. Then it draws the two places at which a reader of the article can go wrong: which way its coefficient is
# meant, and whether the fast weights are moved at all. It ends with the special cases in which Lookahead becomes
# something known.
#
# Nothing is measured here that depends on a data set, so nothing here says which optimizer is better. All numbers are
# computed while the notebook runs.

# %%
from decimal import Decimal
from functools import partial

import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.figures import update_rules
from lookahead_nb.models.landscapes import Quadratic, trace

figures.use_style()

# %% [markdown]
# ## One step of AdamW, one sync of Lookahead
#
# AdamW keeps moving averages of the gradient $g$ and of its square,
#
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2,$$
#
# divides out that both began at zero, $\hat m = m / (1 - \beta_1^t)$ and $\hat v = v / (1 - \beta_2^t)$, and moves
#
# $$\text{fast} \leftarrow \text{fast} - \text{lr} \cdot \text{decay} \cdot \text{fast}
# - \text{lr}\, \frac{\hat m}{\sqrt{\hat v} + \varepsilon}.$$
#
# The weight decay stands outside of the fraction: it is not scaled by the gradient's history, which is what the W in
# the name is about. A sync of Lookahead then moves the slow weight part of the way to the fast one:
#
# $$\text{slow} \leftarrow (1 - \text{slow\_step\_size}) \cdot \text{slow}
# + \text{slow\_step\_size} \cdot \text{fast}.$$
#
# Settings of the worked example, chosen so that every root and quotient comes out even:
#
# - one weight, at 1; its gradient 0.5; both averages at zero, as at the first step
# - lr 0.1, decay 0.01, $\beta_1$ 0.9, $\beta_2$ 0.999, and $\varepsilon$ 0.125, far larger than anybody would use
# - slow_step_size 0.25, which is retention 0.75; a sync after this one step, so sync_period 1
#
# What to expect: at the first step $\hat m = g$ and $\hat v = g^2$, for the correction gives back the gradient itself
# and its square. The step is therefore almost of the size of lr, whatever the scale of the gradient; only
# $\varepsilon$ takes something off. In decimal arithmetic, without any rounding:

# %%
theta, g, lr, wd, eps, beta1, beta2, step = map(Decimal, ["1", "0.5", "0.1", "0.01", "0.125", "0.9", "0.999", "0.25"])
m, v = (1 - beta1) * g, (1 - beta2) * g**2
m_hat, v_hat = m / (1 - beta1), v / (1 - beta2)
fast = theta - lr * wd * theta - lr * m_hat / (v_hat.sqrt() + eps)
slow = (1 - step) * theta + step * fast
print(f"m = {m}, v = {v}, m_hat = {m_hat}, v_hat = {v_hat}, fast = {fast}, slow = {slow}")

# %% [markdown]
# The same through the library, in double precision: AdamW alone has to arrive at `fast`, Lookahead around it at
# `slow`, and after the sync its parameters are the slow weights, bit for bit. The tolerance is a few units in the
# last place of a double, because a decimal such as `0.1` is no binary fraction.

# %%
adamw = lnb.AdamW(0.1, weight_decay=0.01, eps=0.125)
opt = lnb.Lookahead(adamw, sync_period=1, slow_step_size=0.25)
alone, pulled, gradient = np.array([1.0]), np.array([1.0]), np.array([0.5])
state = opt.init(pulled)
adamw.step(alone, gradient, adamw.init(alone))
opt.step(pulled, gradient, state)
np.testing.assert_allclose([alone[0], pulled[0]], [float(fast), float(slow)], rtol=1e-15)
assert pulled[0] == state.slow[0]

# %% [markdown]
# ## Two conventions, and two readings
#
# The article writes its coefficient in front of the old slow weights: it is a *retention*, and a large one means that
# they move little. The paper that introduced Lookahead (Zhang et al. 2019) and the libraries put theirs in front of
# the fast weights: it is a *step*, and a large one means that they move a lot. The same number therefore does
# opposite things, except at one value. To see it, let a single step bring the fast weight from one to zero and sync
# once.
#
# The second trap is in the formula itself. It only says how the slow weights move. That the fast weights are then set
# back to them stands in the words around it. Taken literally, the formula never touches the fast weights, and the
# slow weights are a plain moving average of an undisturbed run of AdamW. The library keeps both: `pull_back=True` is
# Lookahead, and `pull_back=False` is the average, which is worth having as a control. The second experiment follows
# one weight down a bowl in both readings.

# %%
bowl, start, numbers = Quadratic([1.0]), np.ones(1), update_rules.NUMBERS
once = partial(lnb.Lookahead, lnb.SGD(1.0), sync_period=1)
kept = [trace(bowl, once(retention=x), start, 1)[1][1, 0] for x in numbers]
moved = [trace(bowl, once(slow_step_size=x), start, 1)[1][1, 0] for x in numbers]
synced = pd.DataFrame({"retention": kept, "slow_step_size": moved}, index=numbers)
synced.T.round(3)

# %%
rule = lnb.AdamW(0.1, weight_decay=0.0)
around = partial(lnb.Lookahead, rule, sync_period=5, slow_step_size=0.5)
pair = [np.hstack(trace(bowl, around(pull_back=pulls), start, 20)) for pulls in (True, False)]
paths = pd.concat([pd.DataFrame(path, columns=["fast", "slow"]) for path in pair], keys=[True, False])
paths = paths.rename_axis(["pull_back", "step"]).reset_index()
table = tables.write_table(paths, "update_rules_pull_back")
paths[paths.step % 5 == 0].set_index(["pull_back", "step"]).unstack("pull_back").round(3)

# %% [markdown]
# In the table, compare fast and slow at the steps with a sync; `fast` is shown before the pull. With the pull-back
# the next stretch starts from the slow weight, so whatever the inner rule has won beyond it is given up. Without it
# the fast weight goes its own way, and the slow weight only follows. The figure shows both, beside the two
# conventions.

# %%
caption = "The two conventions agree only in the middle, and only the pull-back moves the fast weights."
alt = "Left: two lines crossing at 0.5. Middle: sawtooth of fast weights pulled to slow steps. Right: fast runs free."
figures.save(update_rules.readings(paths), "update_rules_readings", caption, alt)

# %% [markdown]
# **The two conventions agree only in the middle, and only the pull-back moves the fast weights.** (a) The slow weight
# after one sync from one towards zero, for the same number read as retention and read as slow_step_size. (b) One
# weight of AdamW inside Lookahead on a bowl with its minimum at zero, with the pull-back: at each sync the fast
# weight jumps to the slow one. (c) The same without it, the formula read literally: the fast weight is AdamW alone.

# %%
assert (paths.fast[~paths.pull_back] == trace(bowl, rule, start, 20)[0][:, 0]).all()
assert list(synced.index[np.isclose(synced.retention, synced.slow_step_size)]) == [0.5]

# %% [markdown]
# ## A path on a surface
#
# In two dimensions the pulls become visible as jumps. The surface is an elongated bowl without noise. Settings:
#
# - inner rule AdamW with lr 0.3 and no decay, 30 steps
# - Lookahead around it with its defaults, sync_period 5 and slow_step_size 0.5
#
# The rate is large on purpose. AdamW carries momentum, so it should shoot past the minimum and come back in a spiral.
# Lookahead interrupts the swing every few steps, takes the fast weights half of the way back, and keeps the moving
# averages, so the next stretch begins at another place with the old direction. A picture such as this one shows how
# the rule works, and it proves nothing about training: another start or another rate gives another picture.

# %%
valley, corner, swing = update_rules.VALLEY, np.array([-2.0, 0.8]), lnb.AdamW(0.3, weight_decay=0.0)
traces = np.hstack([trace(valley, swing, corner, 30)[0], *trace(valley, lnb.Lookahead(swing), corner, 30)])
columns = [f"{kind}_{axis}" for kind in ("adamw", "fast", "slow") for axis in "xy"]
traces = pd.DataFrame(traces, columns=columns).rename_axis("step").reset_index()
table = tables.write_table(traces, "update_rules_surface")

# %%
caption = "Each sync takes the fast weights half of the way back to where the slow weights were."
alt = "Contours of an elongated bowl. Left: AdamW overshoots and spirals in. Right: Lookahead in short arcs with jumps."
figures.save(update_rules.surface(traces), "update_rules_surface", caption, alt)

# %% [markdown]
# **Each sync takes the fast weights half of the way back to where the slow weights were.** (a) AdamW alone and (b)
# Lookahead around it on the same elongated bowl, from the same start, for the same number of steps; grey lines join
# points of equal loss, the cross marks the minimum. In (b) dots are the fast weights step by step, squares the slow
# weights, and arrows the jumps of the pull-back.
#
# ## Where Lookahead becomes something known
#
# Four special cases pin the rule down, and each of them is a test of the library as much as a statement about it.
#
# - With slow_step_size 1 nothing is retained: Lookahead is its inner rule, the same bits.
# - With slow_step_size 0 everything is retained: every sync restores the start, the same bits.
# - With sync_period 1 every step is followed by a sync. The gradients are then always taken at the slow weights, and
#   Lookahead is AdamW at lr times slow_step_size, weight decay included. This is exact in exact arithmetic; in double
#   precision the two differ by rounding, which a short training run leaves far below any visible digit.
# - Without the pull-back the fast weights are those of AdamW alone; the figure above has already been held to that.
#
# The third case is why a comparison of Lookahead with AdamW at the same rate says so little. It names the control
# that every claim needs: AdamW at lr times slow_step_size. The cases are checked on a network in training, not on a
# toy.

# %%
model, data = lnb.MLP((64, 32, 10)), lnb.datasets.load("digits")
train = partial(lnb.train, model, data, steps=100, dtype="float64")
inner, slower = lnb.AdamW(0.01, weight_decay=0.1), lnb.AdamW(0.005, weight_decay=0.1)
same = train(inner).params == train(lnb.Lookahead(inner, slow_step_size=1)).params
back = train(lnb.Lookahead(inner, slow_step_size=0)).slow == model.init(0, "float64")
apart = abs(train(slower).params - train(lnb.Lookahead(inner, sync_period=1, slow_step_size=0.5)).params).max()
checks = {"inner rule": same.all(), "start restored": back.all(), "lower rate": apart < 1e-10}
print(*(f"{name}: {bool(held)}" for name, held in checks.items()), sep=", ")
assert all(checks.values())

# %% [markdown]
# ## Conclusion
#
# - The two rules, worked in decimals, are what the library computes, up to the rounding of a double.
# - Retention and slow_step_size are two names for one choice, and swapping them is an error except in the middle.
# - The pull-back is what makes Lookahead more than an average. Both readings are kept, so that they can be compared.
# - The limits of slow_step_size and a sync at every step lead back to AdamW, at the same or at a lower rate.
#
# What is not shown here: what the pull-back is good for. That takes noise, data and seeds, and controls beside them.
#
# ## Provenance
#
# No data but `digits` of scikit-learn for the last check. Tables: `data/results/update_rules_pull_back.csv` and
# `data/results/update_rules_surface.csv`, each with its manifest. Figures: `paper/figures/update_rules_readings` and
# `paper/figures/update_rules_surface`. `make reproduce` recomputes all of them from nothing. Sources: Loshchilov &
# Hutter 2019, Algorithm 2 (AdamW); Zhang, Lucas, Hinton & Ba 2019, Algorithm 1 (Lookahead). Next:
# [02_retention](02_retention.ipynb), what a larger retention does to speed and stability.
