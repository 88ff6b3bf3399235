# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # How fast is it, and how fast could it be?
#
# **In every benchmark here our step and our sweeps are faster than PyTorch, optax and JAX. On large buffers and large
# networks the lead is small.** This notebook compares them with other libraries and with the limits of the machine. It
# trains and measures nothing. It reads the tables in `data/timings`, which `make bench` has written.

# %%
import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.figures import performance

figures.use_style()

# %% [markdown]
# ## What to expect
#
# A step of AdamW on a float32 buffer reads four arrays: weights, gradient and two moments. It writes three of them.
# That is 28 bytes per weight if every array is touched once. The arithmetic is 15 operations per weight, with a fused
# multiply-add counted as two. A sync of Lookahead adds 8 bytes and 3 operations, but only once in k steps. So a step
# does about half an operation per byte. A CPU can do several in the time it takes to fetch a byte from memory.
#
# - **Large buffers** should be limited by memory. A library that touches every array once should be as fast as any
#   other.
# - **Small buffers** fit into the caches. There the overhead of a call should dominate.
# - **Sweeps** are made of matrix products, which use each operand many times. Arithmetic should limit them. The
#   matrices are small, and losses, updates and syncs come between them, so a sweep should be slower than one large
#   product.
# - A library that trains **one run after another** pays its overhead in every step of every run.
#
# ## How it was measured
#
# All libraries do identical work from the same initial weights, and every benchmark first checks that their weights or
# losses agree. Then they alternate, round by round, so that a busy machine slows all of them. Ratios are taken within a
# round, and the median over rounds counts. Only ratios can be compared between machines. The tables hold the quartiles
# of the times. The ranges in this notebook divide the rival's lower quartile by our upper one, and its upper by our
# lower one, so they are wider than the quartiles of the ratios.

# %%
folder = tables.committed("data/timings")
names = sorted({"flat_step", "scaling", "sweep"} | {path.stem for path in folder.glob("*.csv")})
times = {name: tables.read_table(folder / f"{name}.csv") for name in names}
made_on = {name: tables.made_on(folder / f"{name}.csv") for name in times}
on_gpu = [name for name in times if name.startswith("cuda-")]
print(*(f"{name}: {machine}" for name, machine in made_on.items()), sep="\n")
print(f"Measured on a GPU: {', '.join(on_gpu)}." if on_gpu else "No GPU has been measured: there is no table of one.")

# %% [markdown]
# ## One step
#
# The table shows how many times as long as ours one step of AdamW inside Lookahead takes, for three buffer sizes.
# "torch" is the fastest of PyTorch's forms, fused or foreach, on one thread or on all, with a Lookahead in
# `torch._foreach`. "optax" is its own Lookahead, compiled into one function with donated buffers. "ours checking" is
# our step with `check_finite=True`, which looks for a gradient that is not finite before it changes anything. "sync" is
# the time of our Lookahead over that of our AdamW.

# %%
flat = times["flat_step"]
rivals = {
    "torch": {"library": "torch"},
    "optax": {"library": "optax"},
    "ours checking": {"library": "ours", "variant": "checking"},
    "sync": {"library": "ours", "variant": "", "against": "AdamW"},
}
step = {who: performance.ratios(flat, "n", optimizer="Lookahead", **rival) for who, rival in rivals.items()}
pd.concat(step, axis=1).round(2)

# %% [markdown]
# A roofline plot shows how close that is to the limit. Its horizontal axis is the arithmetic per byte, its vertical
# axis the speed. The rising line is what memory allows, the level one what arithmetic allows.
#
# The speed of memory is that of a bare pass over the same arrays, which does three additions per weight and was
# measured in the same rounds. The speed of arithmetic is that of NumPy's product of two large matrices. Operations and
# bytes are counted, not measured: they are the fewest that a step needs. That is why all libraries have the same place
# on the horizontal axis. Look for markers on the line.

# %%
caption = "On a large buffer our step is as fast as memory allows."
alt = "Three rooflines: our marker lies below the line for ten thousand weights, and on it for a million and more."
drawn = performance.roofline(times["flat_step"], times["sweep"], times.get("cuda-flat_step"))
figures.save(drawn, "performance_roofline", caption, alt)

# %% [markdown]
# **On a large buffer our step is as fast as memory allows.** One step of AdamW inside Lookahead on a float32 buffer of
# three sizes: speed against operations per byte. Grey: the limits set by memory (cross: the bare pass) and by NumPy's
# matrix product. Per cent: our speed as a share of the limit.
#
# At ten thousand weights a step takes a few microseconds, and most of the distance to the limit is overhead. The bare
# pass runs in the caches there, so the grey line is steeper. The next figure shows the same times as ratios, and those
# of AdamW alone.

# %%
caption = "On small buffers others take several times as long; on the largest PyTorch is almost as fast."
alt = "Ratios to our time: PyTorch falls with size towards one; optax falls for AdamW, and stays high for Lookahead."
figures.save(performance.steps(times["flat_step"], times.get("cuda-flat_step")), "performance_steps", caption, alt)

# %% [markdown]
# **On small buffers others take several times as long; on the largest PyTorch is almost as fast.** Time of a step over
# ours, by buffer size: medians of the ratios of single rounds. Bars show the range described above; where there is no
# bar, it is shorter than the marker. The bare pass is a limit and not a rival.
#
# PyTorch's fused AdamW needs one pass, so it reaches our time on the largest buffer, as expected. Its Lookahead needs
# further passes at a sync, but syncs are rare. The Lookahead of optax is several times slower at every size. The bytes
# of a sync do not explain that, and the tables do not show why.
#
# ## Sweeps
#
# Whole sweeps of small networks. JAX trains all runs in one compiled call, `vmap` over `lax.scan`. PyTorch trains one
# run after another; one run is timed and scaled. The limit is NumPy doing as many operations in large matrix products.
# The table divides each time by ours.

# %%
whole = {who: performance.ratios(times["sweep"], "problem", library=who) for who in ("JAX", "torch", "sgemm")}
pd.concat(whole, axis=1).round(2)

# %%
caption = "Sweeps take less than three times as long as NumPy's products alone, ahead of JAX and PyTorch."
alt = "Sweeps: in each our marker lies right of JAX and PyTorch, and left of the tick of NumPy's products."
figures.save(performance.sweeps(times["sweep"], times.get("cuda-sweep")), "performance_sweeps", caption, alt)

# %% [markdown]
# **Sweeps take less than three times as long as NumPy's products alone, ahead of JAX and PyTorch.** (a) Runs per
# second, logarithmic. (b) Multiplications and additions of all matrix products per second. Losses, updates and syncs
# take time and are not counted. Lines: quartiles over the rounds, mostly shorter than the markers. Grey ticks: as many
# operations in NumPy's large products.
#
# The distance to the grey ticks has three causes: small matrices, everything between the products, and a fixed order of
# every sum, which gives a run the same bits in any sweep. The distance is largest for logistic regression, which has
# the fewest operations per weight. On larger networks PyTorch and JAX come closer, because their overhead per step
# becomes a smaller part.
#
# ## Cost of more runs, and of the first one
#
# What does a run cost in sweeps of different sizes, and how much memory does a sweep add? Each number is the median of
# three processes, each of which trains the sweep a second time. Runs are short here. The first two lines are cold and
# warm starts: seconds from the start of Python to the first result of a small sweep, with an empty and with a full
# cache of compiled code.

# %%
scaling = times["scaling"].set_index(["what", "runs", "library"])
each = {"milliseconds per run": 1e3 * scaling.seconds / scaling.index.get_level_values("runs")}
each |= {"MiB added": scaling.added_bytes / 2**20}
by_size = pd.DataFrame(each).loc["sweep"].unstack("library")
print(times["scaling"].query("what != 'sweep'")[["what", "runs", "seconds"]].round(2).to_string(index=False))
by_size.round(2)

# %%
caption = "Larger sweeps cost less per run with ours and more with JAX, and add little memory with ours."
alt = "Time per run falls for ours and rises for JAX with the number of runs; memory grows for both, ours far below."
figures.save(performance.scaling(times["scaling"]), "performance_scaling", caption, alt)

# %% [markdown]
# **Larger sweeps cost less per run with ours and more with JAX, and add little memory with ours.** (a) Time per run
# against the number of runs, from the call to the frame of results. (b) Memory that the sweep added to the peak of its
# process. Ours trains sixteen runs side by side, then the next sixteen, so only its results grow with the sweep. JAX
# holds the state of all runs at once.
#
# The next cell checks the statements of this page.

# %%
ratio = {who: table["ratio"] for who, table in (step | whole).items() if who != "torch"}
share = performance.ratios(flat, "n", library="memory", against="AdamW")["ratio"]
assert made_on["flat_step"] == made_on["sweep"]  # whose limits one figure combines
assert step["torch"]["ratio"].iloc[0] > 4 > 1.25 > step["torch"]["ratio"].iloc[-1]
assert share.iloc[1:].between(0.85, 1.1).all()
assert ratio["optax"].min() > 3
assert ratio["sync"].max() < 1.15
assert min(ratio["JAX"].min(), whole["torch"]["ratio"].min()) > 1 > ratio["sgemm"].max() > ratio["sgemm"].min() > 0.4
assert by_size["MiB added"].eval("JAX / ours").min() > 100
assert (by_size["milliseconds per run"].diff().dropna() * [1, -1] > 0).all(axis=None)  # JAX up, ours down

# %% [markdown]
# ## What this shows
#
# - **A large step is limited by memory.** From a million weights on it takes as long as a bare pass over its arrays.
#   Only moving fewer bytes could make it faster.
# - **A small step is limited by overhead**, and there the lead over others is largest. A sync costs about what its
#   bytes cost.
# - **Sweeps are faster than both rivals in every case**, and take up to two and a half times as long as NumPy's
#   products alone, for logistic regression.
# - **Thousands of runs need little more memory than one block of sixteen.**
#
# ## What it does not show
#
# - One machine was measured, a shared one with two cores. Other machines have other limits.
# - The limits are what simple programs reached, and not data sheets. A marker may lie slightly above a line.
# - PyTorch and JAX are made for large networks, where their overhead does not matter. Nothing here is about those.
# - Compile times are left out of the sweeps, JAX's and ours. The cold start includes ours.
#
# ## Provenance
#
# The tables are in `data/timings`, each with a manifest that names the machine and all versions. `make bench` measures
# them again, and never gets the same seconds twice. That is why `make reproduce` only draws them. The programs that
# measure are in `tests/benchmarks`. The figures are `performance_roofline`, `performance_steps`, `performance_sweeps`
# and `performance_scaling` in `paper/figures`; `lookahead-nb figures --where` with one of these names prints its tables
# and commands. Before: [11_verdicts](11_verdicts.ipynb), all claims on one page.
