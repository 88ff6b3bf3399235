# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Does it matter which optimizer Lookahead is put around?
#
# The article "Adam meets Lookahead" (Chinese-language) says in its outlook (section 7.1) that Lookahead can be combined
# with other inner optimizers, SGD, momentum and others, and that its coefficient can be tuned automatically. In its
# background (section 1.2) it says that Adam copes with sparse gradients and with objectives that are not stationary.
#
# **Verdicts.** Other inner optimizers: *supported*; around none of six rules does a tuned Lookahead end clearly above
# the tuned rule, and where it ends below, plain averaging does about as well. A coefficient that tunes itself:
# *conditional*; it does almost as well as the best fixed one, and so does a constant equal to its mean. Sparse and
# moving: *refuted*; on hashed words Adam is nowhere better than a tuned SGD by more than the margin, and on some it is
# clearly worse. A moving minimum it does follow more closely, as long as the curvatures differ.
#
# Three claims, C15, C16 and C20 of `data/claims.toml`, each written down with its tasks, arms, margins and the rule for
# its verdict before it had results. Two of them were written down more than once; the sections below say why.

# %%
from lookahead_nb import claims, figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import measure as trials
from lookahead_nb.figures import inner_rules

figures.use_style()

# %% [markdown]
# ## What to expect
#
# **Any rule.** With a sync after every step Lookahead is its inner rule at the learning rate times `slow_step_size`,
# for every rule of the form "weights minus rate times direction". What it does beyond that should be much alike for
# all: a little averaging, which costs nothing where the rate is tuned. So a tuned Lookahead should nowhere be clearly
# worse than its tuned inner rule, and what it gains should be no more than averaging without the pull-back gains.
#
# **A step that tunes itself.** At a sync one can ask for the slow step at which a quadratic model of the loss is lowest
# along the way that the fast weights have gone. `slow_step_size="adaptive"` does so in AdamW's own metric $A$, from the
# gradient $g$ that the last step has taken anyway:
#
# $$\text{step} = \frac{d^\top\left(A\,(\text{before} - \text{slow}) - g\right)}{d^\top A\, d},
# \qquad d = \text{fast} - \text{slow}$$
#
# clipped to at least a tenth and at most one. At a tuned rate the loss is flat in the step. The adaptive one should do
# as well as the best fixed one, and for the same reason no better than two arms that adapt nothing: a fixed step equal
# to its mean, and its own steps in random order.
#
# **Sparse and moving.** Adam divides every coordinate by the typical size of its own gradients. This should help where
# coordinates differ in scale: on counts of hashed words, most of whose columns are silent most of the time, and on a
# bowl whose curvatures differ a hundredfold. Where the scales have been evened out before, by weighting words with
# their inverse frequency, it should not. Nor should it make Adam follow a *moving* minimum better by itself; so the
# same drift is also tried on a round bowl, with one curvature.
#
# Every arm with a learning rate of its own was tuned on six seeds, by the same number of trials, and then run on other
# seeds, the same for all arms, each with a split of the data of its own.
#
# ## Around every rule
#
# SGD, momentum, Adagrad, RMSprop, Adam and AdamW each stand alone; inside Lookahead, with a `sync_period` of five and a
# `slow_step_size` of one half; at the rate of that Lookahead times `slow_step_size`; and inside an average without the
# pull-back whose step was tuned as well. The table judges each effect against its margin, a twentieth of the test
# loss: "no" under "worse around" means that Lookahead is decidedly *not* worse by as much.

# %%
register = claims.read()
rules = claims.evidence(register["C15"])
around = claims.judge(register["C15"], rules.runs)
print(rules)
around[around["task"] == "all"].set_index("effect")[["size", "low", "high", "outcome"]].round(3)

# %% [markdown]
# The figure sets the three companions of each rule beside it. A gain that matters would lie left of the grey band, and
# one of Lookahead's own would lie left of the triangles.

# %%
to_rule = inner_rules.to_rule(rules.runs)
caption = "Around every rule Lookahead ends where the rule itself ends, within a few hundredths."
alt = "Test loss over that of the inner rule, six rules: Lookahead, the lower rate and averaging all lie close to one."
figures.save(inner_rules.around_every_rule(rules.runs), "inner_rules", caption, alt)

# %% [markdown]
# **Around every rule Lookahead ends where the rule itself ends, within a few hundredths.** Geometric means over all
# tasks and sixty seeds of the test loss at the last step, as multiples of that of the inner rule alone at its own tuned
# rate; bars are intervals at 95 in 100 for these tasks, grey crosses single tasks, the grey band a twentieth to either
# side.
#
# Single tasks scatter more than the joint means, to either side. The largest loss is that around AdamW on the
# recordings, more than a twentieth and judged so by itself; the inner rule at the lower rate is worse there too, and
# averaging is not.
#
# A sync may also reset the inner state, or move it as far as it moves the weights. Around momentum and AdamW both were
# tried, tuned like the others. The table shows them as multiples of Lookahead with the inner state kept.

# %%
modes = [(rule, mode) for rule in ("momentum", "adamw") for mode in ("reset", "interpolate")]
kept = {f"lookahead {rule} {mode}": f"lookahead {rule}" for rule, mode in modes}
modes = inner_rules.ratios(rules.runs, kept)
modes.xs("all", level="task").round(3)

# %% [markdown]
# ## A step that tunes itself
#
# The steps first: what the rule chose on the bundled tasks at its tuned rate, on the six tuning seeds, and how often it
# met one of its bounds.

# %%
adaptive = claims.evidence(register["C16"])
print(adaptive)
bundled = adaptive.runs[adaptive.runs["task"].isin(register["C16"].bundled)]
steps = trials.steps_along(register["C16"], "adaptive", bundled).round(4)
tables.write_table(steps, "inner_rules_steps")
chosen = steps.assign(lowest=steps["slow_step_size"] <= 0.1, highest=steps["slow_step_size"] >= 1).groupby("task")
chosen.agg({"slow_step_size": ["mean", "median"], "lowest": "mean", "highest": "mean"}).round(3)

# %%
adapted = claims.judge(register["C16"], adaptive.runs)
to_fixed = inner_rules.ratios(adaptive.runs, "fixed")
caption = "A step that adapts ends like a constant step equal to its mean, and no lower than the best fixed one."
alt = "Left: adaptive steps near one on two sets, anywhere on a third. Right: five arms above the best fixed step."
figures.save(inner_rules.adapting(steps, adaptive.runs), "inner_rules_adaptive", caption, alt)
adapted[adapted["task"] == "all"].set_index("effect")[["size", "low", "high", "outcome"]].round(3)

# %% [markdown]
# **A step that adapts ends like a constant step equal to its mean, and no lower than the best fixed one.** (a) The
# slow steps in each twentieth of a run: median over six seeds and band from the fifth to the ninety-fifth percentile.
# (b) Test loss as a multiple of that of the best fixed step, which was tuned together with the rate: over all tasks
# (black, intervals at 95 in 100) and for single tasks (grey). Two hundred and fifty seeds.
#
# The claim was registered three times, with forty, a hundred and two hundred and fifty seeds, each time with other
# seeds. The first two results were the same verdict, with the adaptive step behind the best fixed one by as much as
# here; but with the correction for all effects of the register they left open whether that is below the margin. On the
# recordings alone it is above.
#
# ## Sparse and moving
#
# The tracking error is the mean loss over the second half of a run on a bowl whose minimum moves at a constant pace.

# %%
changing = claims.evidence(register["C20"])
followed = claims.judge(register["C20"], changing.runs)
print(changing)
followed[["effect", "task", "size", "low", "high", "outcome"]].round(3)

# %%
caption = "No rule beats SGD on all texts, and those that adapt follow an uneven bowl twice as closely."
alt = "Rules over Adam: SGD far lower on counts of short messages, higher on queries, twice as high on an uneven bowl."
figures.save(inner_rules.sparse_and_drifting(changing.runs), "inner_rules_changing", caption, alt)

# %% [markdown]
# **No rule beats SGD on all texts, and those that adapt follow an uneven bowl twice as closely.** Geometric means over
# forty seeds, as multiples of Adam, all at tuned rates: test loss on two texts (a) as plain counts and (b) weighted by
# inverse frequency; (c) tracking error on two bowls. Bars are intervals at 95 in 100.
#
# This claim was registered three times, each time with other seeds, and refuted each time. The first entry knew
# weighted words only; tuned SGD ended as low or lower. As this contradicts what most people expect, ourselves
# included, we looked for a mistake of ours. PyTorch gave the same on the same data; there, on plain counts of the
# queries, Adam won. So the second entry added counts. These were centred, which makes them dense, and Adam was lower
# by a twentieth, too close to the margin to tell. The third, on which the verdict rests, leaves the counts as they
# are. On the queries Adam wins again, by less than the margin; on the short messages, which no pilot had seen in this
# form, it loses by far more. The condition we had found afterwards did not stand.
#
# The statements of the conclusion, as assertions:

# %%
judged = {"C15": around, "C16": adapted, "C20": followed}
verdicts = {key: claims.verdict(register[key], each) for key, each in judged.items()}
assert verdicts == {"C15": "supported", "C16": "conditional", "C20": "refuted"}
size, single = followed.set_index(["effect", "task"])["size"], to_rule["ratio"]
assert size["counts sgd", "spam-counts"] > 1.05 > 1 > size["counts sgd", "banking-counts"]
assert size["drift momentum", "all"] < 0.5 < 0.95 < size["round sgd", "all"]
assert single.xs("all", level="task").between(0.95, 1.05).all()
assert single["lookahead adamw", "speech"] > 1.05
assert steps[steps["task"] != "checkerboard"]["slow_step_size"].median() > 0.9
assert abs(to_fixed["ratio"]["adaptive", "all"] - to_fixed["ratio"]["mean", "all"]) < 0.02

# %% [markdown]
# ## What holds, and for which range
#
# - **Other inner optimizers: yes.** Around all six rules a tuned Lookahead ends where the tuned rule ends. A gain that
#   matters and is Lookahead's own was found around none; around some of them averaging ends a little lower.
# - **What a sync does to the inner state** matters little as long as the rate is tuned for it. To reset it hurts AdamW.
# - **A coefficient that tunes itself: it can be had, and is not needed.** On two sets its steps are near one nearly all
#   the time, so that it hardly averages. On the checkerboard, at a large rate, they wander over the whole range; there
#   their order does matter a little, and yet a constant equal to their mean ends no higher. The best constant, at a
#   rate tuned together with it, ends lower, if on the checkerboard by no more than the noise.
# - **Adam copes with sparse gradients: not better than SGD.** This holds at rates that were tuned for each, and for the
#   loss on new data. Adam sets rare words as large weights as common ones, and quickly; on short messages this is
#   worse, which fits overfitting, but was not tested.
# - **Adam copes with objectives that move: yes, if they are uneven.** On a bowl with one curvature SGD follows as well,
#   so that it is the unevenness with which Adam copes, not the motion.
#
# ## What was not tested
#
# One pair of `sync_period` and `slow_step_size` around every rule, networks of one hidden layer and linear models, and
# a constant rate. RMSprop and Adagrad without their variants; no inner rule of second order. One kind of adaptive step,
# around AdamW only. Two texts, hashed to a thousand columns or fewer: embeddings, whose gradients are far sparser, and
# large vocabularies, where Adam is said to matter most, are beyond this laboratory. One kind of drift, at one pace.
#
# ## Provenance
#
# `data/results/C15.csv`, `C16.csv` and `C20.csv`, one row per task, arm and seed, and those with `_tuning`, one row per
# setting that was tried, each with a manifest that names the registered entry; `inner_rules_steps.csv`, the steps of
# the second figure. The figures are `paper/figures/inner_rules`, `inner_rules_adaptive` and `inner_rules_changing`.
# The adaptive step is worked out in `lookahead_nb.kernels.formulas`. Before:
# [07_slow_weights](07_slow_weights.ipynb). After: [09_local_optima](09_local_optima.ipynb), whether Lookahead escapes.
