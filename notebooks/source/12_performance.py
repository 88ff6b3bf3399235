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
# The article "Adam meets Lookahead" is put on trial here with many thousand small runs, so it matters what a step and a
# run cost. This notebook shows the benchmarks beside other libraries and beside the limits of the machine. Nothing is
# trained and nothing is measured while it runs: it reads the tables in `data/timings`, which `make bench` has written.

# %%
import pandas as pd

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.figures import performance

figures.use_style()

# %% [markdown]
# ## What to expect
#
# A step of AdamW on a float32 buffer reads four arrays (weights, gradient and two moments) and writes three of them.
# That is 28 bytes for each weight, if every array is touched once. The arithmetic of a weight is 15 operations: each
# addition, product, quotient and root is counted as one, and a fused multiply-add as two. A sync of Lookahead adds 8
# bytes and 3 operations, but only once in a cycle. So a step does about half an operation for each byte that it moves.
# A CPU can do several in the time it takes to fetch a byte from memory.
#
# - On a **large buffer** memory should decide. Whoever touches every array once should be about as fast as any other,
#   and whoever goes over the arrays several times slower by as many times.
# - On a **small buffer**, which lies in the caches, it should be a matter of overhead: how long it takes to begin.
# - A **sweep** is made of matrix products, whose operands are used many times over. There arithmetic should decide. The
#   matrices are small, and between them come losses, updates and syncs, so that no sweep can be as fast as one large
#   product is.
# - A library that trains **one run after another** pays its overhead in every step of every run. One that trains all
#   runs at once should not, but has to hold something for all of them at once.
#
# ## How it was measured
#
# All rivals do the same work from the same weights, and each benchmark first checks that their weights or losses agree.
# Then they take turns, round by round, so that a busy machine disturbs neighbours alike. A ratio is taken within each
# round, and what counts is the median over the rounds. Only such ratios are comparable from machine to machine: the
# seconds belong to the machine that is named below. The tables hold the quartiles of the times of each rival, but not
# those of the ratios. The ranges in this notebook are therefore wider than quartiles. They reach from the lower
# quartile of the rival over our upper one to its upper quartile over our lower one.

# %%
folder = tables.committed("data/timings")
names = sorted({"flat_step", "scaling", "sweep"} | {path.stem for path in folder.glob("*.csv")})
times = {name: tables.read_table(folder / f"{name}.csv") for name in names}
made_on = {name: tables.made_on(folder / f"{name}.csv") for name in times}
on_gpu = [name for name in times if name.startswith("cuda-")]
print(*(f"{name}: {machine}" for name, machine in made_on.items()), sep="\n")
print(f"Measured on a GPU: {', '.join(on_gpu)}." if on_gpu else "No GPU has been measured: there is no table of one.")

# %% [markdown]
# The last line depends on the tables that are there. Once there are some of a GPU, the figures of the step and of the
# sweeps have a second row of panels with them.
#
# ## One step
#
# The first table says how many times as long one step of AdamW inside Lookahead takes for others, for three sizes of
# the buffer. PyTorch is the quickest of its forms, fused or not, on one thread or on all, with a Lookahead made of its
# own operations on lists of tensors. Next to it stands optax with its own Lookahead, compiled into one function that
# may overwrite its buffers. The third column is ours with `check_finite=True`, which looks for a gradient that is not
# finite before it changes anything. The last one is the price of the sync: our Lookahead over our AdamW.

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
# A roofline shows whether that is fast. Its horizontal axis is the arithmetic per byte, which belongs to the task. Its
# vertical axis is the speed. The rising line is what memory allows, and the level one what arithmetic allows; nothing
# should lie above either.
#
# What is measured in it: all times; the speed of memory, as that of a bare pass over the same arrays that does three
# additions where AdamW does all its arithmetic, in the same rounds and for the same size; and the speed of arithmetic,
# as that of NumPy's product of two large matrices, measured with the sweeps. What is counted: operations and bytes.
# They are those that a step needs at the least. A rival that moves more is not credited for it, which is why all of
# them have the same place on the horizontal axis. Operations are counted from the equations as written, so they say how
# much arithmetic is wanted and not how many instructions ran. Look for markers that touch the line.

# %%
caption = "Our step is as fast as memory allows where the buffer is large, and nobody can be much faster."
alt = "Three rooflines: our marker lies below the line for ten thousand weights, and on it for a million and more."
drawn = performance.roofline(times["flat_step"], times["sweep"], times.get("cuda-flat_step"))
figures.save(drawn, "performance_roofline", caption, alt)

# %% [markdown]
# **Our step is as fast as memory allows where the buffer is large, and nobody can be much faster.** One step of AdamW
# inside Lookahead on a float32 buffer, by its size: achieved speed against the operations per byte, both counted from
# the least that a step needs. Grey: what the speed of memory (cross: the bare pass, as measured) and of NumPy's matrix
# product allow. Per cent: our speed over what the line allows. For the smallest buffer the pass runs in the caches, and
# much of its time is a call of a parallel loop, so that the line is no speed of memory there.
#
# The bare pass is steeper on small buffers, since they lie in the caches. Ours keeps close to it from a million weights
# on. At ten thousand, a step ends after a few millionths of a second, and it is overhead that is left. The next figure
# shows the same times as ratios, with AdamW alone beside it.

# %%
caption = "On small buffers others take several times as long; on the largest PyTorch draws nearly level."
alt = "Ratios to our time: PyTorch falls with size towards one; optax falls for AdamW, and stays high for Lookahead."
figures.save(performance.steps(times["flat_step"], times.get("cuda-flat_step")), "performance_steps", caption, alt)

# %% [markdown]
# **On small buffers others take several times as long; on the largest PyTorch draws nearly level.** How many times as
# long as ours a step takes, by the size of the buffer, for AdamW alone and for AdamW inside Lookahead: medians of the
# ratios of single rounds. Bars: from the lower quartile over our upper one to the upper one over our lower one; where
# none is seen, it is shorter than the marker. The bare pass is a limit, not a rival.
#
# PyTorch's fused AdamW comes down to our time on the largest buffer, as expected of one pass. Its Lookahead needs
# passes of its own at a sync, and these are rare. The Lookahead of optax stays several times as slow at every size,
# which the bytes of a sync cannot explain. The tables do not tell why.
#
# ## Sweeps
#
# Now whole sweeps of small networks. JAX trains all runs in one compiled call, `vmap` over `lax.scan`, and the time for
# compiling it is left out. PyTorch trains one run after another; a run is timed and scaled. The limit is the time that
# NumPy needs for the same number of multiplications and additions, with nothing in between and in one large matrix that
# suits it best. The table says how many times as long each takes as ours.

# %%
whole = {who: performance.ratios(times["sweep"], "problem", library=who) for who in ("JAX", "torch", "sgemm")}
pd.concat(whole, axis=1).round(2)

# %%
caption = "A sweep takes less than three times as long as NumPy's products alone, and beats both rivals."
alt = "Five sweeps: in each our marker lies right of JAX and PyTorch, and left of the tick of NumPy's products."
figures.save(performance.sweeps(times["sweep"], times.get("cuda-sweep")), "performance_sweeps", caption, alt)

# %% [markdown]
# **A sweep takes less than three times as long as NumPy's products alone, and beats both rivals.** (a) Runs per second,
# on a logarithmic axis. (b) Multiplications and additions of all matrix products per second, on a linear one; losses,
# updates and syncs take time and are not counted. Lines: quartiles over the rounds, mostly shorter than the markers.
# Grey ticks: NumPy doing as many multiplications and additions in large products.
#
# The distance to the grey ticks is the price of everything that is not a large product: small matrices, the update, the
# loss, evaluation, and a fixed order of every sum, by which a run has the same bits in any sweep. It is largest for
# logistic regression, where there is least to multiply. The larger the network, the closer PyTorch and JAX come,
# because there the overhead of a step is a smaller part of it.
#
# ## More runs, and the first one
#
# What does a run cost in a sweep of any size, and how much memory does the sweep add to the process? Each number comes
# from a process of its own that trains the sweep a second time, and is the median of three of them. Runs are short
# here. Before that table stand two starts: the seconds from the start of the interpreter to the first result of a small
# sweep, once with an empty cache of compiled code and once with a full one. They have no rival, and none of this has
# quartiles.

# %%
scaling = times["scaling"].set_index(["what", "runs", "library"])
each = {"milliseconds per run": 1e3 * scaling.seconds / scaling.index.get_level_values("runs")}
each |= {"MiB added": scaling.added_bytes / 2**20}
by_size = pd.DataFrame(each).loc["sweep"].unstack("library")
print(times["scaling"].query("what != 'sweep'")[["what", "runs", "seconds"]].round(2).to_string(index=False))
by_size.round(2)

# %%
caption = "The more runs, the less each costs here, and a sweep of thousands adds little memory."
alt = "Time per run falls for ours and rises for JAX with the number of runs; memory grows for both, ours far below."
figures.save(performance.scaling(times["scaling"]), "performance_scaling", caption, alt)

# %% [markdown]
# **The more runs, the less each costs here, and a sweep of thousands adds little memory.** (a) Time per run against the
# number of runs in the sweep, from one call to the frame of results. (b) Memory that the sweep added to the peak of its
# process, which already held what every sweep needs. Ours trains sixteen runs side by side and then the next sixteen,
# so that what grows with the sweep is its results; JAX holds the state of all runs at once.
#
# The statements of this page, as assertions:

# %%
ratio = {who: found["ratio"] for who, found in (step | whole).items() if who != "torch"}
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
# ## What the numbers support
#
# - **A large step is bound by memory.** Ours takes as long as a bare pass over the same arrays from a million weights
#   on, and there is no more to win but by moving fewer bytes.
# - **A small step is a matter of overhead**, and that is where the ratios to others are largest. A sync costs about as
#   much as its bytes.
# - **A sweep is faster than both rivals in every case that was tried**, and takes up to a few times as long as its
#   products would take NumPy.
# - **Thousands of runs cost hardly more memory than one block of them.**
#
# ## What they do not
#
# - One machine was measured, and a shared one with few cores. On others the limits lie elsewhere, and on many cores the
#   sizes at which a rival begins to use them too.
# - The limits are those that a simple program reached, NumPy's and ours. They are no data sheet, and so a marker may
#   lie a little above a line.
# - PyTorch and JAX are made for large networks, where their overhead does not count. The sweeps here are those of this
#   laboratory. Nothing is said about large models.
# - The time in which JAX compiles is left out of the sweeps, and so is ours, but the starts hold ours.
#
# ## Provenance
#
# The tables are those of `data/timings`, each with its manifest, which names the machine and the versions of everybody;
# `make bench` measures them anew and never gives the same seconds twice. That is why `make reproduce` only draws them
# again. The programs that measure are in `tests/benchmarks`. The figures are `performance_roofline`,
# `performance_steps`, `performance_sweeps` and `performance_scaling` in `paper/figures`; `lookahead-nb figures --where`
# with one of these names tells its tables and commands. Before: [11_verdicts](11_verdicts.ipynb), all claims on one
# page.
