# %% [markdown]
# # What does the retention do?
#
# **A larger retention makes training slower and, at a constant learning rate, quieter.** A retention of nine tenths
# needs at least about twice as many steps as one half to reach a training loss. Its noise floor is nearly six times
# lower, but it takes nearly five times as long to settle there. Most of this is a lower learning rate under another
# name.
#
# The article "Adam meets Lookahead" (in Chinese) gives this advice in its FAQ 8.1. Its coefficient is the *retention*:
# the share of the old slow weights that a sync keeps. Libraries use `slow_step_size`, which is one minus the retention.
# The statements C01, C02 and C04 were registered before their runs. The rest of FAQ 8.1, on exploration and local
# optima, is in [09_local_optima](09_local_optima.ipynb).

# %%
import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures, theory
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, registry, wording
from lookahead_nb.figures import retention
from lookahead_nb.figures import statements as drawn

figures.use_style()

# %% [markdown]
# ## What to expect
#
# A sync keeps the share `slow_step_size` of what the inner optimizer has gained since the last sync. While the weights
# drift slowly compared with a cycle, the slow weights therefore advance at that share of AdamW's pace:
#
# $$\text{steps} \approx \frac{\text{steps of AdamW}}{\text{slow\_step\_size}}.$$
#
# Slow weights that move less also average more minibatches. So expect less noise with a larger retention. AdamW at the
# learning rate times `slow_step_size` is slower and quieter too. This *matched lower rate* is the control that matters:
# a benefit of Lookahead is what remains beyond it.
#
# A quadratic shows all of this without a simulation. `theory.Cycle` solves Lookahead on a noisy quadratic exactly, with
# the momentum of Adam and a fixed preconditioner. The numbers below are the losses after the last step, the noise
# floors.

# %%
curvature = 1 / np.arange(1, 11)
inner, tenth, half = (lnb.Adam(lr) for lr in (0.3, 0.03, 0.15))
opts = {"AdamW": inner, "half the rate": half, "a tenth of the rate": tenth}
opts |= {f"retention {r}": lnb.Lookahead(inner, sync_period=5, retention=r) for r in (0.5, 0.9)}
at = 5 * np.unique(np.geomspace(1, 600, 60).astype(int))
cycles = {arm: theory.Cycle.of(opts[arm], curvature=curvature, noise=np.sqrt(curvature)) for arm in retention.LOOKS}
runs = {arm: (cycle.transient(3000), arm.startswith("retention")) for arm, cycle in cycles.items()}
moments = {arm: (run.slow_mean, run.slow_variance) if slow else run[::2] for arm, (run, slow) in runs.items()}
loss = {arm: theory.expected_loss(curvature, mean[at], variance[at]) for arm, (mean, variance) in moments.items()}
losses = pd.DataFrame(loss, pd.Index(at, name="step")).melt(ignore_index=False, var_name="arm", value_name="loss")
tables.write_table(losses := losses.reset_index(), "retention_over_time")
losses.groupby("arm", sort=False)["loss"].last().round(3)

# %%
caption = "A larger retention falls later and ends lower, and so does AdamW at the matched lower rate."
alt = "Loss against steps: retention 0.5 lies on AdamW at half the rate, retention 0.9 on AdamW at a tenth of it."
figures.save(retention.over_time(losses), "retention_over_time", caption, alt)

# %% [markdown]
# **A larger retention falls later and ends lower, and so does AdamW at the matched lower rate.** Expected loss of the
# slow weights after a sync, and of AdamW. Exact, for ten curvatures that fall as one over their number. The noise has
# the covariance of the Hessian.
#
# ## The test
#
# Steps are counted until the training loss that retention one half reaches at half of its budget. A run that does not
# get there counts with all its steps, so about twice as many is the most that can be shown. This is measured on a
# hundred generated networks and linear models. Noise is computed exactly for three hundred random quadratics. The
# usual range is judged by what it costs to search only there, instead of over all retentions, with equally many trials.
# A task of each experiment is trained again here and compared with the committed rows.

# %%
statements = registry.read()
own = {name: statements[name] for name in ("C01", "C02", "C04")}
found = registry.evidence(own)
quick = {name: experiments.to_recompute(each.experiment, "02") for name, each in found.items()}
assert not any(experiments.differing(found[name].experiment, quick[name], progress=False) for name in found)
judged = registry.judge_all(own, found)
print(*(f"trained again: {name}, task {numbers[0]}" for name, numbers in quick.items()), sep="\n")
print(*wording.lines(own.values(), judged), sep="\n")

# %% [markdown]
# All three sentences of the article hold. The next figure shows every task, and the comparisons that explain the
# verdicts. On the right of the line is the first one named: it needs more steps, is quieter, or has a lower test loss.

# %%
rows = {
    "0.9 against 0.5, one rate": ("C01", "primary"), "0.9 against 0.5, each tuned": ("C01", "tuned_for_each"),
    "0.7 against 0.5, each tuned": ("C01", "to_0_7_tuned_for_each"), "noise: 0.9 against 0.5": ("C02", "primary"),
    "settling: 0.9 against 0.5": ("C02", "price"), "noise: 0.9 against a tenth of the rate": ("C02", "lower_rate"),
    "noise: 0.5 against half the rate": ("C02", "lower_rate_05"), "noise: 0.9 against an average": ("C02", "averaging"),
    "0.5 to 0.9 against all, tuned": ("C04", "primary"), "0.5 to 0.9 against all, lr 0.001": ("C04", "default_rate"),
}  # fmt: skip
points = registry.every_task(rows, own, found, judged)
tables.write_table(points, "retention_tasks")
caption = "A large retention is slower everywhere and quieter, mostly as a lower rate would be."
alt = "Ten rows with a dot for every task: steps, noise and settling, and the cost of the usual range of retentions."
figures.save(drawn.all_tasks(points), "retention_tasks", caption, alt)

# %% [markdown]
# **A large retention is slower everywhere and quieter, mostly as a lower rate would be.** A dot is a task. Thick: the
# interval of the mean. Thin: where a further task falls. Grey: differences that do not matter. Steps to a training loss
# on top, the noise floor of quadratics and the time to settle there in the middle, test loss below. "Each tuned": every
# retention has its own best learning rate. An average has the weights of AdamW at the full rate, without a pull-back.
#
# ## How much of it is the lower rate?
#
# The table holds geometric means over the quadratics, as multiples of retention one half. *Slow loss* is the noise
# floor, *settling steps* the time to get there.

# %%
exact = found["quadratics"].rows.pivot(index=["metric", "number"], columns="arm", values="r0")
means = np.exp(np.log(exact.div(exact["retention_05"], axis=0)).groupby("metric").mean()).T
arms = ["retention_05", "adam_at_half_the_rate", "averaging_05"]
arms += ["retention_09", "adam_at_a_tenth_of_the_rate", "averaging_09", "adam"]
means.loc[arms, ["slow loss", "settling steps"]].round(2)

# %% [markdown]
# AdamW at half the rate has the pace of retention one half, and a third more noise. AdamW at a tenth of the rate is
# half again as noisy as retention nine tenths, and settles sooner. Going from half to a tenth of the rate makes AdamW
# five times quieter, nearly as much as the retention does. What remains is larger at high rates, where momentum
# oscillates and a sync damps it.
#
# An average without the pull-back costs no pace. With a `slow_step_size` of one tenth it is half as noisy as retention
# one half, and settles as soon.
#
# The statements of this page, as assertions:

# %%
size = judged[judged["class"] == "all"].set_index(["id", "contrast"])["value"]
ratio = np.exp(size.loc[["C01", "C02"]])
verdict = judged[judged["class"] == "all"].set_index(["id", "contrast"])["verdict"]
bounds = {
    ("C01", "primary"): (1.9, 2.1), ("C01", "tuned_for_each"): (1.7, 2), ("C01", "to_0_7_tuned_for_each"): (1, 1.1),
    ("C02", "primary"): (5.6, 5.9), ("C02", "price"): (1 / 4.8, 1 / 4.6),
}  # fmt: skip
assert all(low < ratio[key] < high for key, (low, high) in bounds.items())
assert size["C02", "lower_rate"] < size["C02", "primary"] / 4
assert means.loc["averaging_09", ["slow loss", "settling steps"]].lt([0.55, 1]).all()
assert [*verdict["C04"][["primary", "default_rate"]]] == ["follow it", "it costs"]

# %% [markdown]
# ## What to do
#
# - **Take a retention of one half, and tune the learning rate for it.** A good first guess is the rate of AdamW divided
#   by `slow_step_size`. A retention of seven tenths is less than a tenth slower once its rate is tuned.
# - **The usual range of one half to nine tenths is fine at a tuned rate.** With equally many trials it is even slightly
#   better to search only there. At the article's rate of `0.001` it costs a lot: nearly a fifth of the gap between
#   chance-level loss and the best loss. That rate is too low for these tasks, and a large retention lowers it further.
# - **For a quieter end, let the learning rate decay, or average the weights.** A larger retention works too, but it
#   slows the whole run down.
#
# ## What this does not show
#
# - Steps are read for generated tasks of at most two thousand steps. The noise floor is that of quadratics with a fixed
#   preconditioner and a constant rate.
# - Steps are counted to one loss on each task, which retention one half reaches in the middle of its run. To another
#   loss the ratio may differ.
# - The mean over quadratics hides a spread: at high rates an average without the pull-back is as often quieter than
#   retention nine tenths as it is louder.
#
# ## Provenance
#
# Statements: `data/claims/C01.toml`, `C02.toml` and `C04.toml`. Experiments: `convergence`, `quadratics` and `settings`
# in `data/claims/experiments`, with their rows in `data/results`. Tables of this page:
# `data/results/retention_over_time.csv` and `retention_tasks.csv`. Figures: `paper/figures/retention_over_time` and
# `retention_tasks`. Next: [03_sync_period](03_sync_period.ipynb).
