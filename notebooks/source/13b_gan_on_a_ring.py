# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Does Lookahead help a GAN?
#
# **In these small GANs it does: around Adam, the points of the generator end nearer to the data, by a factor of about
# one and two fifths. Against an average of Adam's weights no gain is shown.** In games with a known equilibrium it
# helps descent by a factor of thirty, and Adam not at all.
#
# The article "Adam meets Lookahead" (in Chinese) expects in section 7.1 that Lookahead will be applied in GANs (C22).
# That is a forecast, so it gets no verdict. But what Lookahead does there can be measured. This page does so in games
# whose equilibrium is known, and in a small GAN.

# %%
import pandas as pd

import lookahead_nb as lnb
from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import benchmarks, experiments, registry, wording
from lookahead_nb.figures import games as drawn
from lookahead_nb.figures import statements as of_tasks
from lookahead_nb.training.play import Arm, play_arms

figures.use_style()

# %% [markdown]
# ## What to expect
#
# A GAN has two networks. The generator makes points of noise, and the critic tells them from real ones. Here real
# points are normal around eight places on a circle, so that good points can be counted. Both losses are those of
# Goodfellow et al. (2014). The critic classifies real and made points. The generator wants its own to be taken for
# real, in the form of the loss that does not saturate. All gradients are written by hand.
#
# In [13_games](13_games.ipynb) both players turn around the equilibrium, and Lookahead pulls them in. A GAN does more
# than turn. Its critic has much to learn at first, and Adam rescales each step. So expect less of Lookahead here.
# The weights still turn and are noisy, so an average should gain.
#
# Settings of the first figure:
#
# - two hidden layers of 32 units in both networks, minibatches of 64, 1500 gradients of both players
# - Adam with lr 0.005 and beta1 0.5; Lookahead around it with its defaults; an average over a tenth of the steps

# %%
game, adam = lnb.games.RingGame(terms=2**20), lnb.Adam(0.005, beta1=0.5)
opts = {"average": lnb.EMA(adam, window=150), "Lookahead": lnb.Lookahead(adam)}
how = {"steps": 1500, "batch_size": 64, "eval_every": 50, "dtype": "float32"}
played = {arm: lnb.play(game, opt, **how) for arm, opt in opts.items()}
weights = {"Adam": played["average"].params} | {a: opt.slow_from(*played[a][1:]) for a, opt in opts.items()}
rows = {"Adam": played["average"].history.query("weights == 'fast'")}
rows |= {arm: one.history.query("weights == 'slow'") for arm, one in played.items()}
distances = pd.concat(rows, names=["arm"]).reset_index("arm").rename(columns={"first": "distance", "distance": "sum"})
made = {"data": game.real(400)} | {arm: game.samples(params, 400)[0] for arm, params in weights.items()}
points = pd.concat({arm: pd.DataFrame(xy, columns=["x", "y"]) for arm, xy in made.items()}, names=["arm", "point"])
quality = {arm: {name: value[0] for name, value in game.quality(p)._asdict().items()} for arm, p in weights.items()}
(quality := pd.DataFrame(quality).T.round(3))

# %%
caption = "All three generators find the eight places; how well changes from step to step."
alt = "Three panels of points around eight places on a circle, and three falling lines of Wasserstein distances."
figures.save(drawn.ring(points.reset_index(), distances), "gan_ring", caption, alt)

# %% [markdown]
# **All three generators find the eight places; how well changes from step to step.** (a) to (c) Points of three
# generators, over real points in grey. (d) The Wasserstein distance to fresh real points over the gradients taken. The
# average and Lookahead are read at their slow weights. Two samples of the data are apart as well, so the lines cannot
# reach zero.
#
# This is one run at one rate, which shows what is measured and decides nothing.
#
# ## The experiment
#
# Forty random games are played, and twelve random GANs. Games are bilinear with and without noise, matching pennies,
# and a Wasserstein game in one dimension. GANs differ in width, activation, noise, batch size and length. All arms get
# the same number of gradients, so that extragradient has half the steps.
#
# Every arm tunes its rate on other starts than those reported, by what a player can see. That is the length of the full
# gradient, what a better reply could gain, or the Wasserstein distance of what a generator makes. Grids reach far down,
# so that a lower rate is among the choices of each arm. All was registered before it was run. A task is played again
# here and compared with the committed rows.

# %%
own = {name: one for name, one in registry.read().items() if name.startswith("C22")}
found = registry.evidence(own)
assert not experiments.differing(of := found["games"].experiment, experiments.to_recompute(of, "13b"), progress=False)
judged = registry.judge_all(own, found)
print(*wording.lines(own.values(), judged), sep="\n")

# %% [markdown]
# ## Every task

# %%
compared = {
    "games: against descent": ("C22a", "primary"), "games: against the average": ("C22a", "average"),
    "games: against extragradient": ("C22a", "extragradient"), "games: period 20 against 5": ("C22a", "long_cycles"),
    "games: around Adam": ("C22a", "around_adam"), "GAN: against Adam": ("C22b", "primary"),
    "GAN: against an average": ("C22b", "average"), "GAN: average against Adam": ("C22b", "average_against_adam"),
    "GAN: extragradient against Adam": ("C22b", "extragradient_against_adam"),
    "GAN: bad samples": ("C22b", "bad_samples"), "GAN: missed modes": ("C22b", "missed_modes"),
}  # fmt: skip

# %%
tasks = registry.every_task(compared, own, found, judged)
caption = "Lookahead ends nearer than descent in every game, and nearer than Adam in most GANs."
alt = "Eleven rows with a dot for every task: factors of distances in games and GANs, and shares of samples and modes."
figures.save(of_tasks.all_tasks(tasks), "gan_tasks", caption, alt)

# %% [markdown]
# **Lookahead ends nearer than descent in every game, and nearer than Adam in most GANs.** A dot is a task. Thick: the
# interval of the mean. Thin: where a further task falls. Grey: differences that do not matter. Right of the line the
# first one named is nearer to the equilibrium or to the data. Where one is named, it is what Lookahead is compared
# with.
#
# In games extragradient does as well as Lookahead at equal gradients, and optimistic steps nearly so. The average of
# descent gains, and is left behind. Around Adam Lookahead changes nothing. Adam ends no nearer than it started, and an
# average of its weights is the better remedy.
#
# In GANs it is the other way round. Lookahead gains around Adam, and extragradient does not. Its gain over an average
# is not shown. The registered prediction was that Lookahead would make no difference here, so it was wrong. It also
# covers more modes and makes fewer bad points.
#
# ## A published experiment with noise
#
# Chavdarova et al. (2021) also played bilinear games with minibatches. Their generator has no seed there, so that only
# means can be compared. Their notebook prints no numbers, so a few were read in its last figure. All five games are
# played here side by side, with minibatches of our own. Settings:
#
# - minibatches of 64, 16 and 1; lr 0.005, 0.01 and 0.05; sync periods 450, 1500 and 2450; slow step 0.3

# %%
theirs = {64: (0.005, 450), 16: (0.01, 1500), 1: (0.05, 2450)}
arms = {b: lnb.Lookahead(lnb.SGD(lr), sync_period=k, slow_step_size=0.3) for b, (lr, k) in theirs.items()}
how = {"gradients": 20_000, "eval_every": 25, "batch_size": 1}
noisy = {b: play_arms(benchmarks.StochasticMinmax(b), {"Lookahead": Arm(opt)}, **how) for b, opt in arms.items()}
noisy = pd.concat(noisy, names=["batch"]).reset_index("batch").rename(columns={"step": "passes"})
noisy = noisy.merge(drawn.of_figure(tables.published("games")), how="left").round(3)
(numbers := noisy[["batch", "passes", "distance", "value"]].dropna())

# %%
caption = "The curves of the published figure, in the mean."
alt = "Three panels of saw-toothed lines that fall from twenty, with circles on them."
figures.save(drawn.noisy(noisy), "games_noisy", caption, alt)

# %% [markdown]
# **The curves of the published figure, in the mean.** Mean distance of the fast weights from the equilibrium, as that
# notebook measures it. Circles were read in its figure. Teeth are cycles: descent goes out, and each sync pulls in.
#
# The numbers agree to a few tenths, which is the spread between draws of minibatches and the error of reading. With
# noise a long cycle ends at a distance from the equilibrium, the sooner the smaller the batch.
#
# The tables, and the sentences of the text as assertions:

# %%
frames = {"gan_points": points.reset_index(), "gan_distances": distances, "gan_tasks": tasks, "games_noisy": noisy}
written = [tables.write_table(frame, name) for name, frame in frames.items()]
size = judged[judged["class"] == "all"].set_index(["id", "contrast"])
assert abs(numbers["distance"] - numbers["value"]).max() < 0.6
assert size["low"].unstack("id").loc["primary"].min() > 0
assert size.loc["C22a", "share"]["primary"] == 1
assert abs(size.loc["C22a", "value"]["around_adam"]) < 0.05
assert size.loc["C22b", "low"][["bad_samples", "missed_modes", "optimistic_against_adam"]].min() > 0
assert size.loc["C22b", "low"]["average"] < 0 < size.loc["C22b", "high"]["extragradient_against_adam"]

# %% [markdown]
# ## What to do
#
# - In a game played by gradient descent, put Lookahead around both players together, or take extragradient steps.
# - In a GAN with Adam, Lookahead is worth a try: it costs no gradients. Optimistic steps gained as much here.
# - Choose the rate by what the generator makes, not by the losses, which do not fall on the way.
#
# ## What this does not show
#
# Twelve GANs with a few hundred steps are few, and far from images. Each rate was chosen on a single run, as one would
# do with a large GAN. So luck is part of every number: two trainings of Adam differ by up to a factor of two on a task.
# Distances in games count down to a thousandth of that at the start, so the factor of thirty depends on this floor.
# The settings of Lookahead and of Adam were not tuned beyond the rate.
#
# ## Provenance
#
# No data sets. The rows are `data/results/games` and `data/results/ring`, the tables `gan_points`, `gan_distances`,
# `gan_tasks` and `games_noisy` in `data/results`, each with its manifest. The numbers that were read are in
# `data/published/games.csv`. `make reproduce` recomputes all except the rows, of which it plays some again. Related:
# [13_games](13_games.ipynb), the theory of games.
