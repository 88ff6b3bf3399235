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
# **AdamW steps by about the learning rate, whatever the size of the gradient. Lookahead then takes part of every few
# steps back.**
#
# The article "Adam meets Lookahead" (Chinese-language) states two update rules: AdamW in section 4.2, and Lookahead
# around it in 2.1 and 4.1. This notebook works both by hand on small numbers and compares the library with the result.
# It draws the two points that readers of the article often get wrong: which way its coefficient is meant, and whether
# the fast weights move at a sync. It ends with the special cases in which Lookahead is something known.
#
# Nothing here depends on a data set, so nothing here says which optimizer is better. All numbers are computed while the
# notebook runs.

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
# $$m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2.$$
#
# It corrects for their start at zero, $\hat m = m / (1 - \beta_1^t)$ and $\hat v = v / (1 - \beta_2^t)$, and moves
#
# $$\text{fast} \leftarrow \text{fast} - \text{lr} \cdot \text{decay} \cdot \text{fast}
# - \text{lr}\, \frac{\hat m}{\sqrt{\hat v} + \varepsilon}.$$
#
# The weight decay is outside the fraction, so the gradient's history does not scale it. This is the W in the name. A
# sync of Lookahead moves the slow weight part of the way to the fast one:
#
# $$\text{slow} \leftarrow (1 - \text{slow\_step\_size}) \cdot \text{slow}
# + \text{slow\_step\_size} \cdot \text{fast}.$$
#
# Settings of the worked example, chosen so that every root and quotient is a round number:
#
# - one weight, at 1; its gradient 0.5; both averages at zero, as at the first step
# - lr 0.1, decay 0.01, $\beta_1$ 0.9, $\beta_2$ 0.999, and $\varepsilon$ 0.125, far larger than anybody would use
# - slow_step_size 0.25, which is retention 0.75; a sync after this one step, so sync_period 1
#
# What to expect: at the first step the correction gives back the gradient and its square, $\hat m = g$ and $\hat v =
# g^2$. So the step is almost as large as lr, whatever the scale of the gradient; only $\varepsilon$ reduces it. The
# next cell computes it in decimal arithmetic, without rounding.

# %%
theta, g, lr, wd, eps, beta1, beta2, step = map(Decimal, ["1", "0.5", "0.1", "0.01", "0.125", "0.9", "0.999", "0.25"])
m, v = (1 - beta1) * g, (1 - beta2) * g**2
m_hat, v_hat = m / (1 - beta1), v / (1 - beta2)
fast = theta - lr * wd * theta - lr * m_hat / (v_hat.sqrt() + eps)
slow = (1 - step) * theta + step * fast
print(f"m = {m}, v = {v}, m_hat = {m_hat}, v_hat = {v_hat}, fast = {fast}, slow = {slow}")

# %% [markdown]
# The library has to give the same in double precision: `fast` for AdamW alone, and `slow` for Lookahead. After the sync
# the parameters must be the slow weights, bit for bit. The tolerance is a few units in the last place, because a
# decimal such as `0.1` is no binary fraction.

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
# The article puts its coefficient in front of the old slow weights. It is a *retention*: a large one means that they
# move little. The paper that introduced Lookahead (Zhang et al. 2019) and the libraries put theirs in front of the fast
# weights. It is a *step*: a large one means that they move a lot. The same number does opposite things, except at one
# value. To see it, let one step bring the fast weight from one to zero, and sync once.
#
# The second trap is the formula itself. It says how the slow weights move. Only the text around it says that the fast
# weights are then set back to them. Taken literally, the formula never touches the fast weights, and the slow weights
# are a moving average of an undisturbed run of AdamW. The library has both readings: `pull_back=True` is Lookahead, and
# `pull_back=False` is the average, a useful control. The second experiment follows one weight down a bowl in both.

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
# In the table, compare fast and slow at the steps with a sync; `fast` is shown before the pull-back. With the pull-back
# the next cycle starts from the slow weight, so the progress of the inner optimizer beyond it is lost. Without it the
# fast weight continues undisturbed, and the slow weight follows. The figure shows both, next to the two conventions.

# %%
caption = "The two conventions agree only in the middle, and only the pull-back moves the fast weights."
alt = "Left: two lines crossing at 0.5. Middle: sawtooth of fast weights pulled to slow steps. Right: fast runs free."
figures.save(update_rules.readings(paths), "update_rules_readings", caption, alt)

# %% [markdown]
# **The two conventions agree only in the middle, and only the pull-back moves the fast weights.** (a) The slow weight
# after one sync from one towards zero, for the same number read as retention and as slow_step_size. (b) One weight of
# AdamW inside Lookahead, on a bowl with its minimum at zero. At each sync the fast weight jumps to the slow one. (c)
# The same without pull-back, the formula read literally: the fast weight is that of AdamW alone.

# %%
assert (paths.fast[~paths.pull_back] == trace(bowl, rule, start, 20)[0][:, 0]).all()
assert list(synced.index[np.isclose(synced.retention, synced.slow_step_size)]) == [0.5]

# %% [markdown]
# ## A path on a surface
#
# In two dimensions the pull-backs are visible as jumps. The surface is an elongated bowl without noise. Settings:
#
# - inner optimizer AdamW with lr 0.3 and no decay, 30 steps
# - Lookahead around it with its defaults, sync_period 5 and slow_step_size 0.5
#
# The rate is large on purpose. AdamW has momentum, so it should overshoot the minimum and return in a spiral. Lookahead
# interrupts the oscillation every few steps and takes the fast weights half of the way back. It keeps the moving
# averages, so the next cycle starts at another place in the old direction. This picture shows how the rule works. It
# proves nothing about training: another start or another rate gives another picture.

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
# Lookahead around it, on the same bowl, from the same start, for the same number of steps. Grey lines join points of
# equal loss; the cross is the minimum. In (b) dots are the fast weights at every step and squares are the slow weights.
# Arrows are the pull-backs.
#
# ## Where Lookahead becomes something known
#
# Four special cases check the rule, and the library with it.
#
# - With slow_step_size 1 nothing is retained: Lookahead is its inner optimizer, bit for bit.
# - With slow_step_size 0 everything is retained: every sync restores the start, bit for bit.
# - With sync_period 1 every step ends with a sync, so the gradients are taken at the slow weights. Lookahead is then
#   AdamW at lr times slow_step_size, weight decay included. This is exact in exact arithmetic. In double precision both
#   differ by rounding, far below any visible digit in a short run.
# - Without the pull-back the fast weights are those of AdamW alone. The figure above has already checked this.
#
# The third case explains why a comparison with AdamW at the same rate says so little. It names the control that every
# claim needs: AdamW at lr times slow_step_size. The next cell checks the cases on a network in training.

# %%
model, data = lnb.MLP((64, 32, 10)), lnb.datasets.load("digits")
train = partial(lnb.train, model, data, steps=100, dtype="float64")
inner, slower = lnb.AdamW(0.01, weight_decay=0.1), lnb.AdamW(0.005, weight_decay=0.1)
same = train(inner).params == train(lnb.Lookahead(inner, slow_step_size=1)).params
back = train(lnb.Lookahead(inner, slow_step_size=0)).slow == model.init(0, "float64")
apart = abs(train(slower).params - train(lnb.Lookahead(inner, sync_period=1, slow_step_size=0.5)).params).max()
checks = {"inner optimizer": same.all(), "start restored": back.all(), "lower rate": apart < 1e-10}
print(*(f"{name}: {bool(held)}" for name, held in checks.items()), sep=", ")
assert all(checks.values())

# %% [markdown]
# ## Conclusion
#
# - The library computes the two rules as worked in decimals, up to the rounding of a double.
# - Retention and slow_step_size are two names for one choice. Confusing them is an error, except in the middle.
# - The pull-back is what makes Lookahead more than an average. The library has both readings, so they can be compared.
# - The limits of slow_step_size, and a sync at every step, give AdamW again, at the same or at a lower rate.
#
# This notebook does not show what the pull-back is good for. That takes noise, data, seeds and controls.
#
# ## Provenance
#
# No data except `digits` of scikit-learn, for the last check. Tables: `data/results/update_rules_pull_back.csv` and
# `data/results/update_rules_surface.csv`, each with its manifest. Figures: `paper/figures/update_rules_readings` and
# `paper/figures/update_rules_surface`. `make reproduce` recomputes all of them. Sources: Loshchilov & Hutter 2019,
# Algorithm 2 (AdamW); Zhang, Lucas, Hinton & Ba 2019, Algorithm 1 (Lookahead). Next:
# [02_retention](02_retention.ipynb), what a larger retention does to speed and stability.
