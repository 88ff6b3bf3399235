# %% [markdown]
# # What does the sync period do?
#
# **Little, if the learning rate is tuned.** At a rate tuned for each, a period of ten needs about a tenth more steps to
# a training loss than five, and twenty about a third more. Whether a longer period is quieter depends on the learning
# rate: at low rates it is a little quieter, at high rates often much louder. On average over random quadratics ten is
# as noisy as five.
#
# The article "Adam meets Lookahead" (in Chinese) covers this in its FAQ 8.2. A larger period is more stable, it says,
# and may need longer to converge; usually it is chosen between five and ten. The statements C05 and C07 were registered
# before their runs. The rest of FAQ 8.2, on exploration and local optima (C06), is in
# [09_local_optima](09_local_optima.ipynb).

# %%
import numpy as np
import pandas as pd

from lookahead_nb import figures, theory
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, landscape_tasks, registry, wording
from lookahead_nb.figures import statements as drawn
from lookahead_nb.figures import sync_period

figures.use_style()

# %% [markdown]
# ## What to expect
#
# With a sync after every step, Lookahead is AdamW at the learning rate times `slow_step_size`. A longer period leaves
# the pace of a slow direction unchanged: a sync halves what has been gained since the last one, whenever it comes.
#
# Noise is more interesting, because momentum makes the weights oscillate. One step of Adam with `beta1` $= b$ turns the
# phase of a direction by an angle $w$. With $x$ the learning rate times the curvature,
#
# $$\cos w = \frac{1 + b - (1 - b)\,x}{2\sqrt{b}}.$$
#
# A sync damps an oscillation best if it comes half an oscillation after the last one, so if $k w = \pi$. Every period
# should therefore be quietest at one product of rate and curvature, and a longer period at a lower one. Where a long
# period damps badly, it should be louder than a short one. `theory.Cycle` solves this exactly.

# %%
x, beta1 = np.geomspace(1e-3, 20, 300), 0.9
settings = {"lr": x, "beta1": beta1, "noise": 1.0, "slow_step_size": 0.5}
cycles = {k: theory.Cycle(**settings, sync_period=k) for k in sync_period.LOOKS}
exact = pd.DataFrame({k: cycle.covariance()[:, theory.SLOW, theory.SLOW] for k, cycle in cycles.items()}, x)
exact = exact.div(exact[1], axis=0).rename_axis(index="x", columns="sync_period")
angle = np.arccos(np.clip((1 + beta1 - (1 - beta1) * x) / (2 * np.sqrt(beta1)), -1, 1))
half = pd.Series({k: x[np.argmin(abs(k * angle - np.pi))] for k in (5, 10, 20, 50)})
curves = exact.unstack().rename("variance").reset_index()
tables.write_table(curves, "sync_period_cycle")
pd.DataFrame({"quietest at": exact[half.index].idxmin(), "half an oscillation at": half}).round(2)

# %% [markdown]
# Half an oscillation predicts the quietest rates to within a third. Period five is quietest at a product near four, ten
# near one, twenty and fifty far below.
#
# ## The test
#
# Noise is computed exactly for three hundred random quadratics with many curvatures, at an unchanged learning rate.
# Their rates reach from far below the inverse of the largest curvature, "low", to far above it, "high". Steps are
# counted to a training loss on a hundred generated networks and linear models. The usual range is judged by what it
# costs to search only there, instead of over all periods from one to twenty, with equally many trials. A task of each
# experiment is trained again here and compared with the committed rows.

# %%
statements = registry.read()
own = {name: statements[name] for name in ("C05a", "C05b", "C07")}
found = registry.evidence(own)
quick = {name: experiments.to_recompute(each.experiment, "sync period") for name, each in found.items()}
assert not any(experiments.differing(found[name].experiment, quick[name], progress=False) for name in found)
judged = registry.judge_all(own, found)
print(*(f"trained again: {name}, task {numbers[0]}" for name, numbers in quick.items()), sep="\n")
print(*wording.lines(own.values(), judged), sep="\n")

# %% [markdown]
# The verdict on noise is "cannot tell", though four fifths of the quadratics are quieter with the longer period. The
# others are so much louder that the mean may have either sign. The next figure puts the quadratics where they belong,
# at their learning rate.

# %%
at = {number: landscape_tasks.drawn("quadratics", number).lr for number in found["quadratics"].tasks["number"]}
contrasts = {10: own["C05a"].primary, 50: own["C05a"].reported["period_50"]}
noise = {k: np.exp(-registry.benefits(each, found["quadratics"]).mean(axis=1)) for k, each in contrasts.items()}
wide = pd.DataFrame(noise).assign(x=pd.Series(at)).set_index("x", append=True).rename_axis(columns="sync_period")
tasks = wide.stack().rename("noise").reset_index()
tables.write_table(tasks, "sync_period_rates")
caption = "A longer period is quieter at low learning rates and louder at high ones."
alt = "Left: variance has a dip for each period. Right: dots of quadratics below one at low rates, above at high ones."
figures.save(sync_period.by_rate(curves, tasks), "sync_period_rates", caption, alt)

# %% [markdown]
# **A longer period is quieter at low learning rates and louder at high ones.** (a) Variance of the slow weights in one
# direction, exact. A period of one is AdamW at half the rate. (b) The three hundred quadratics: noise floor of their
# slow weights at a period of ten or fifty. In units of the preconditioner, AdamW alone is stable up to a product of
# thirty-eight.
#
# The dip of period five at high rates is what makes longer periods look loud there. Beyond it the picture turns again.
#
# ## Every task

# %%
rows = {
    "10 against 5, one rate": ("C05b", "primary"), "10 against 5, each tuned": ("C05b", "tuned_for_each"),
    "20 against 5, each tuned": ("C05b", "period_20_tuned_for_each"), "noise: 10 against 5": ("C05a", "primary"),
    "noise: 50 against 5": ("C05a", "period_50"), "noise of fast weights: 10 against 5": ("C05a", "fast_weights"),
    "settling: 10 against 5": ("C05a", "price"), "5 to 10 against all, tuned": ("C07", "primary"),
    "5 to 10 against all, lr 0.001": ("C07", "default_rate"),
}  # fmt: skip
points = registry.every_task(rows, own, found, judged)
tables.write_table(points, "sync_period_tasks")
caption = "Longer periods need more steps, make fast weights noisier, and slow ones quieter or louder."
alt = "Nine rows with a dot for every task: steps, noise of slow and fast weights, settling, and the usual range."
figures.save(drawn.all_tasks(points), "sync_period_tasks", caption, alt)

# %% [markdown]
# **Longer periods need more steps, make fast weights noisier, and slow ones quieter or louder.** A dot is a task.
# Thick: the interval of the mean. Thin: where a further task falls. Grey: differences that do not matter. Right of the
# line, the first one named needs more steps, is quieter, settles sooner, or has a lower test loss. "Each tuned": every
# period has its own best learning rate.
#
# The statements of this page, as assertions:

# %%
table = judged.set_index(["id", "contrast", "class"])
ratio, verdict = np.exp(table["value"]), table["verdict"]
assert np.allclose(exact[half.index].idxmin(), half, rtol=0.35)
assert 1.07 < ratio["C05b", "tuned_for_each", "all"] < 1.13
assert 1.3 < ratio["C05b", "period_20_tuned_for_each", "all"] < 1.4
assert verdict["C05a", "primary", "all"] == "cannot tell"
assert ratio["C05a", "primary", "low rate"] > 1 > ratio["C05a", "primary", "high rate"]
assert ratio["C05a", "period_50", "low rate"] > 1 > ratio["C05a", "period_50", "high rate"]
assert (verdict["C07", :, "all"] == "follow it").all()

# %% [markdown]
# ## What to do
#
# - **Take a period of five and tune the learning rate.** Searching only five and ten costs nothing. With equally many
#   trials it is even slightly better than searching from one to twenty.
# - **Do not use the period to make training stable.** Lower the learning rate, or let it decay. The fast weights, which
#   the gradients see, get noisier with every longer period.
# - **Avoid long periods in short runs.** They need more steps, even at a learning rate of their own.
#
# ## What this does not show
#
# - Noise is that of quadratics with a fixed preconditioner and a constant rate. In training, curvatures change and many
#   directions mix, so that the dips blur.
# - All periods have a retention of one half here.
# - A mean over random quadratics depends on how their rates are drawn. The range of rates was declared before the
#   test. Another range would move the mean, as the figure shows.
#
# ## Provenance
#
# Statements: `data/claims/C05.toml` and `C07.toml`. Experiments: `quadratics`, `convergence` and `settings` in
# `data/claims/experiments`, with their rows in `data/results`. Tables of this page:
# `data/results/sync_period_cycle.csv`, `sync_period_rates.csv` and `sync_period_tasks.csv`. Figures:
# `paper/figures/sync_period_rates` and `sync_period_tasks`. Before: [02_retention](02_retention.ipynb).
