# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Is Lookahead more than an average?
#
# **ANSWER**

# %%
import os

import numpy as np
import pandas as pd

from lookahead_nb import figures, theory
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, one_family
from lookahead_nb.figures import one_family as drawn
from lookahead_nb.theory import frontier

figures.use_style()

# %% [markdown]
# ## What to expect
#
# Lookahead, exponential averages, averages without pull-back, outer momentum (SNOO, and DiLoCo with one worker), primal
# averaging and momentum are all linear on a quadratic. So each of them has an exact speed and an exact stationary noise
# on each mode, and `lookahead_nb.theory` computes both. A fair comparison asks for the lowest noise *at a given speed*.
#
# Without momentum the answer can be proved. Take the pull-back away from Lookahead, and multiply the learning rate by
# slow_step_size. On every mode with learning rate times curvature up to one, what is left is at least as fast and has
# no more noise. The proof takes half a page, and is in the docstring of `theory.frontier`. With momentum we expected
# the same with one exception, and committed the expectation (`data/claims/T3.toml`) ahead of the computation: the
# pull-back should pay only where the fastest mode overshoots.
#
# Settings of the figure:
#
# - eigenvalues like one over their number, condition number 100, noise like the Hessian, beta1 0.9
# - right: one mode, Lookahead with sync period 5 and slow_step_size 0.5 against the average at half the rate

# %%
spectrum = {"exponent": 1.0, "condition": 100.0, "noise_exponent": 1.0}
curves = pd.DataFrame(frontier.compared({0.9: frontier.solved_families(0.9, few=True)}, **spectrum))
beta1, x = np.linspace(0, 0.98, 50)[:, None], np.geomspace(0.01, 20, 70)
wedge = pd.DataFrame(theory.pull_back_gain(x, beta1, 5, 0.5), pd.Index(beta1[:, 0], name="beta1"), pd.Index(x, name="x"))
wedge = wedge.stack().rename("gain").reset_index()
wedge["border"] = 1 / theory.damping(1.0, wedge["beta1"])
