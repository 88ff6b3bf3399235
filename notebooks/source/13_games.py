# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Does Lookahead help in games of two players?
#
# **Yes: it converges where no learning rate alone does.** In a bilinear game descent leaves the equilibrium at every
# rate. Lookahead with its defaults approaches it: below, a fortieth of the distance is left when descent has gone more
# than a hundred times as far out. Extragradient and optimistic steps converge too, and sometimes faster.
#
# The article "Adam meets Lookahead" (in Chinese) expects in section 7.1 that Lookahead will be applied in GANs (C22).
# That is a forecast, so it gets no verdict here. The question is what Lookahead does in the games that a GAN is made
# of. A GAN has two players, a generator and a critic, and each descends a loss of its own. What they look for is no
# minimum but an equilibrium, where neither of them can gain by a move of its own.

# %%
import numpy as np
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures, games, theory
from lookahead_nb import provenance as tables
from lookahead_nb.claims import benchmarks
from lookahead_nb.figures import games as drawn
from lookahead_nb.training.play import Arm, distances_left, play_arms

figures.use_style()

# %% [markdown]
# ## What to expect
#
# The simplest game is $\min_x \max_y\, c\,x y$ with a strength $c$. Player 1 descends in $x$ while player 2 ascends in
# $y$. Write $z = x + i y$ and $g = \text{lr} \cdot c$. A step of both players multiplies $z$ by $1 + i g$. So the
# players turn around the equilibrium at zero, and each step takes them a little farther out. A lower rate only makes
# the spiral slower.
#
# Lookahead with sync period $k$ and slow step $s$ multiplies $z$ by $1 - s + s (1 + i g)^k$ in each cycle. The
# pull-back is a chord of the circle, and a chord lies inside. For small $g$ the logarithm of the rate per step is
#
# $$-\tfrac{1}{2} g^2 s\,((1 - s)\,k - 1) + O(g^4 k^3).$$
#
# So expect Lookahead to converge exactly if **retention times sync period is above one**. The article says that a
# larger retention and a larger sync period are more stable (8.1 and 8.2). In games that should be true, with all of its
# usual settings on the safe side. Settings of the first figure:
#
# - strength 1, start at one and zero, lr 0.3; the lower rate is half of it, also for the average
# - Lookahead with its defaults, sync period 5 and retention 0.5; 120 gradients of both players for everybody

# %%
sgd, slower, pulled = lnb.SGD(0.3), lnb.SGD(0.15), lnb.Lookahead(lnb.SGD(0.3))
arms = {"descent": Arm(sgd), "lower rate": Arm(slower), "average": Arm(slower, weights="average")}
arms |= {"Lookahead": Arm(pulled), "extragradient": Arm(sgd, "extragradient"), "optimistic": Arm(sgd, "optimistic")}
arms |= {"alternating Lookahead": Arm(pulled, "alternating")}
distances = play_arms(games.BilinearGame([[1.0]], start=[1.0, 0.0]), arms, gradients=120)
paths = {a: lnb.landscapes.trace(lnb.landscapes.Bilinear(), arms[a].opt, [1.0, 0.0], 25)[0] for a in drawn.SPIRALS}
paths = pd.concat({a: pd.DataFrame(path, columns=["x", "y"]) for a, path in paths.items()}, names=["arm", "step"])
(ends := np.hypot(distances["first"], distances["second"]).groupby(distances.arm, sort=False).last()).round(3)

# %%
caption = "Descent spirals out at every rate; Lookahead spirals in."
alt = "Spirals around a cross: two outwards, Lookahead inwards. Distances rise for descent and fall for Lookahead."
figures.save(drawn.rotation(paths.reset_index(), distances), "games_rotation", caption, alt)

# %% [markdown]
# **Descent spirals out at every rate; Lookahead spirals in.** (a) Both players around the equilibrium, the cross. Lines
# are fast weights, markers their ends. (b) The distance from the equilibrium over the gradients taken. Extragradient
# needs two for each step. The average is that of all weights of descent so far, at the lower rate.
#
# The controls are the known remedies. An average of the path comes nearer like one over the number of steps, but only
# until the path itself has grown too far. Extragradient takes the gradient from one step ahead. Optimistic descent adds
# the last change of the gradient. With alternating steps player 2 answers the new weights of player 1. Alone they
# circle for ever. Inside Lookahead they converge fastest of all here.
#
# ## The rule and its limits
#
# The formula holds for small steps, and the exact rate is known as well. The left panel asks how large the retention
# must be, the right one how fast Lookahead then is. Settings:
#
# - left: lr times strength 0.01, 0.1 and 0.3; sync periods from 1 to 60
# - right: lr times strength 0.1; sync periods 2, 5, 10 and 31

# %%
k, r = np.arange(1, 61), np.linspace(0, 1, 101)
least = pd.DataFrame({"sync_period": k} | {g: theory.least_game_retention(g, 1.0, k) for g in (0.01, 0.1, 0.3)})
least = least.melt("sync_period", var_name="g", value_name="retention").astype({"g": float})
exact = {n: np.log(theory.game_rate(0.1, 1.0, n, 1 - r)) for n in (2, 5, 10, 31)}
small = {n: theory.small_game_rate(0.1, 1.0, n, 1 - r) for n in exact}
rates = [pd.DataFrame({"sync_period": n, "retention": r, "rate": exact[n], "small": small[n]}) for n in exact]
rates = pd.concat(rates).assign(extragradient=np.log(theory.game_rate(0.1, 1.0, moves="extragradient")) / 2)
print("fastest: sync_period {}, slow_step_size {:.3f}, rate {:.3f}".format(*theory.best_game_sync(0.1, [1.0])))

# %%
caption = "Retention times sync period above one is enough for small steps; long cycles need more."
alt = "The least retention falls like one over the period, then rises; rates dip below zero at middle retentions."
figures.save(drawn.rule(least, rates), "games_rule", caption, alt)

# %% [markdown]
# **Retention times sync period above one is enough for small steps; long cycles need more.** (a) Lookahead converges
# above a line. Circles are the rule. (b) The logarithm of the rate per gradient against the retention. Below zero
# Lookahead converges. Circles are the formula for small steps, and the dashed line is extragradient.
#
# Two things limit the rule. A long cycle grows more on its way than a chord can undo. And a cycle of a whole turn comes
# back to where it began, so that nothing converges. The fastest cycle ends half a turn away, on the other side of the
# equilibrium. A slow step of nearly one half then lands next to it. That needs a single strength, and a known one. In
# a game with many strengths the directions turn at different speeds.
#
# ## Other games, every arm at its best rate
#
# One strength is a special case. The next games have twenty strengths from a fifth to one, noise, or losses that are
# not bilinear. Those are matching pennies and rock, paper, scissors between softmax policies, and a generator of normal
# numbers against a quadratic critic. Their distances are what both policies could gain by a best reply, and the
# Wasserstein distance plus the size of the critic. Settings:
#
# - eight rates from 0.03, each twice the last, and the best of them for each arm in each game
# - 40 starts, 200 gradients; Lookahead at its defaults; minibatches of 10 out of a hundred terms where there is noise

# %%
arms |= {"Lookahead": Arm(pulled, weights="slow"), "alternating Lookahead": Arm(pulled, "alternating", "slow")}
arms |= {"alternating average": Arm(sgd, "alternating", "average")}
arms, tried = {arm: arms[arm] for arm in drawn.ARMS if arm != "lower rate"}, games.examples(replicas=40)
how = {"lr": 0.03 * 2.0 ** np.arange(8), "gradients": 200}
left = {n: distances_left(g, arms, batch_size=10 if n == "noise" else None, **how) for n, g in tried.items()}
left = pd.concat(left, names=["game"]).groupby(["game", "arm"], sort=False).left.min().clip(lower=1e-8)
left = left.map("{:.2e}".format).astype(float)
(table := left.unstack("game"))

# %%
caption = "Every remedy helps in every game; alternating steps inside Lookahead help most, except under noise."
alt = "Dots for seven arms in five games: descent at 1, averages near a tenth, alternating Lookahead far to the left."
figures.save(drawn.left(left.reset_index()), "games_left", caption, alt)

# %% [markdown]
# **Every remedy helps in every game; alternating steps inside Lookahead help most, except under noise.** Each dot is an
# arm at its best rate: the distance after all gradients as a share of that at the start. Dots at the left edge have
# less than a hundred-millionth left. At the line nothing is gained.
#
# Descent gains next to nothing in any of these games, at any rate. Which of Lookahead and extragradient is ahead
# depends on the game. With twenty strengths Lookahead is hardly ahead of an average: the weakest directions are slow.
# Under noise the average of alternating steps ends closest.
#
# ## A published experiment
#
# Chavdarova et al. (2021) introduced Lookahead for games. Their full-batch experiment has five bilinear games of a
# hundred weights for each player. All strengths are one there, so that it is the circle of the first figure in many
# planes. Their notebook draws the curves from a fixed seed and prints no number. Settings:
#
# - lr 0.3, sync period 6, slow step 0.5; one pass for each gradient, and three for each step of extragradient

# %%
theirs = {a: arms[a] for a in ("descent", "extragradient")} | {"Lookahead": Arm(lnb.Lookahead(sgd, sync_period=6))}
played = [play_arms(game, theirs, gradients=480, eval_every=10) for game in benchmarks.minmax_games()]
curves = pd.concat(played)
curves["passes"] = curves.step * np.where(curves.arm == "extragradient", 3, 1)
curves = curves[curves.passes <= 480].groupby(["arm", "passes"], sort=False).distance.mean().map("{:.3e}".format)
curves = curves.astype(float).reset_index().merge(drawn.of_benchmark(tables.published("games")), how="left")
(numbers := curves.dropna().query("passes > 0"))

# %%
caption = "The curves of the published notebook, to the digits of its numbers."
alt = "Three lines over passes: descent rises, extragradient falls slowly, Lookahead fast; circles lie on the lines."
figures.save(drawn.published(curves), "games_published", caption, alt)

# %% [markdown]
# **The curves of the published notebook, to the digits of its numbers.** Mean distance from the equilibrium over the
# passes, as they count them. Circles are what an independent script makes of their definition and seed, and agree with
# their picture as far as one can read it. Lines are played with this library.
#
# Extragradient looks slow here partly because of the count. It needs two gradients, and is charged three passes.
#
# The tables, and the sentences of the text as assertions:

# %%
frames = {"paths": paths.reset_index(), "distances": distances, "least": least, "rates": rates}
frames |= {"left": left.reset_index(), "published": curves}
written = [tables.write_table(frame, f"games_{name}") for name, frame in frames.items()]
assert ends["alternating Lookahead"] == ends.min() < ends["Lookahead"] < 1 / 40 < 100 < ends["descent"]
assert table.loc["descent"].min() > 0.9 > 0.6 > table.drop(index="descent").max(axis=None)
assert (table.loc["alternating Lookahead"] == table.min()).to_dict() == {game: game != "noise" for game in table}
assert table["noise"].idxmin() == "alternating average"
assert numbers.value.tolist() == numbers.distance.tolist()

# %% [markdown]
# ## What to do
#
# - In a game, keep the defaults of Lookahead. Retention times sync period is then well above one.
# - Sync both players in the same step. `lnb.play` and a single Lookahead around both sets of weights do so.
# - Let the players take turns, if you can. It costs nothing, and inside Lookahead it helped in every game here.
# - Where gradients are noisy, read an average of the weights as well.
#
# ## What this does not show
#
# None of these games is a GAN. They have no networks, few weights and exact or nearly exact gradients. Near an
# equilibrium a GAN may also have directions in which a player has a minimum of its own, where plain descent converges.
# The inner optimizer is gradient descent throughout, not Adam. Rates were tuned on the same starts that are reported,
# which favors no arm in games without noise. Lookahead had its defaults, so a tuned one would do better.
#
# ## Provenance
#
# No data sets. The tables are `games_paths`, `games_distances`, `games_least`, `games_rates`, `games_left` and
# `games_published` in `data/results`, each with its manifest. The published numbers are in `data/published/games.csv`.
# The derivation is in `lookahead_nb.theory.games`. `make reproduce` recomputes all of it. Related:
# [06_convergence](06_convergence.ipynb), the same cycle where there is a minimum.
