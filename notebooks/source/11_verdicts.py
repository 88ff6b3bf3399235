# %% [markdown]
# # What is left of the article's claims?
#
# The article "Adam meets Lookahead" makes some twenty claims. Each was written down with its arms, tasks, margins and
# the rule for its verdict before it had results, and was put on trial in a notebook of its own. Here all verdicts stand
# on one page. Nothing is trained: this notebook reads the tables that the others have left, those of this run where
# there are any, and else the committed ones.

# %%
from lookahead_nb import claims, figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import report
from lookahead_nb.figures import verdicts

figures.use_style()

# %% [markdown]
# ## What to expect
#
# The theory of the quadratic says what Lookahead does at an unchanged learning rate: it advances more slowly, and its
# slow weights are quieter. It also says that a lower learning rate does nearly the same. So the claims about one arm
# alone should come out as the article has them, wherever the control is left out, and the claims that Lookahead is
# *better* should shrink or vanish once it is compared with the lower rate, with plain averaging, and with an inner rule
# whose rate was tuned just as long. Claims about escaping from local optima have no theory here that speaks for them.
#
# ## How a verdict comes about
#
# An effect compares one arm with another in one metric, run by run with the same seed, and is judged against a margin
# below which nobody would care. It comes out as yes or no where it lies significantly beyond that margin, and stays
# open otherwise. As there are many effects, their p-values are corrected together by the method of Holm: an effect
# that would be significant alone may be open here. The verdict then follows from the rule of the claim. *Supported*
# needs all that the claim lists; *conditional* needs a shorter list, with a condition that was written down beforehand;
# *refuted* means that something came out contrary to the list; the rest is *inconclusive*, which is no weaker word for
# refuted. The line of a claim shows the effect on which its verdict turns, with an interval at 95 in 100.

# %%
register = claims.read()
effects = claims.judge_all(register, recomputed=True, by_task=[])
print("\n".join(report.lines(register, effects)))

# %% [markdown]
# The table behind these lines holds every effect of every claim, also those on which no verdict turns. Sizes are
# ratios, differences in the units of the metric, or shares of the distance between the loss of chance and that of the
# best arm, as the column for the scale says.

# %%
table = report.effects_of(register, effects)
path = tables.write_table(table, "verdicts")
table.set_index(["claim", "effect"])[["verdict", "scale", "margin", "size", "low", "high", "outcome"]].round(3)

# %% [markdown]
# ## All effects on one page
#
# Effects on such different scales can be drawn on one axis if each is measured in its own margin. At one, an effect is
# just as large as matters. To the right lies what the effect was registered to look for, to the left its contrary;
# where equality was looked for, neither side is better and the grey band lies in the middle. A marker inside its grey
# band came out as yes, one outside as no, and one whose line crosses the edge of the band may be open. Colour and shape
# belong to the verdict on the whole claim, so that an effect may well lie in its band while its claim is refuted: the
# rule may list its contrary, or another effect may have decided. The axis is linear between minus one and one, and
# logarithmic beyond. What does not fit on it is drawn at the edge with an arrow.

# %%
caption = "Every effect of every claim, in units of the margin that was registered for it."
alt = "Forest plot, one row per effect with its interval, grouped by claim; colour and marker show the verdict."
figures.save(verdicts.forest(table), "verdicts", caption, alt)

# %% [markdown]
# **Every effect of every claim, in units of the margin that was registered for it.** Positive values point to what was
# expected. Grey: where an effect comes out as yes. Lines are intervals at 95 in 100, over the seeds, or over the tasks
# where the claim says so; exact results have none. Ratios are measured in logarithms.
#
# The statements of this page, as assertions:

# %%
found = {key: claims.verdict(claim, effects) for key, claim in register.items()}
assert set(found.values()) <= {*claims.VERDICTS}
assert set(table["claim"]) == {key for key in found if found[key] not in ("not testable here", "no results yet")}
assert (table["outcome"] == "open").equals(table["p"] > claims.LEVEL)
supported = {key for key, verdict in found.items() if verdict == "supported"}
better = {"C08", "C11", "C17", "C19"}  # Lookahead beats Adam, generalises better, escapes, does better on text
assert supported == {"C02", "C15"}
assert {found[key] for key in better} == {"inconclusive", "refuted"}

# %% [markdown]
# ## What is left
#
# Two claims came out as they stand, and both say what Lookahead *is*: its slow weights are quieter with a larger
# retention, and it can be put around any rule. Where the article gives advice on retention and k, a condition had to be
# added, and it is nearly always the same: the statement holds at an unchanged learning rate, and fades or turns round
# once the rate is tuned. A larger k is not the calmer and slower choice that the article sees in it, and a smaller one
# does not explore faster.
#
# None of the claims that Lookahead is *better* came out: not that it usually beats Adam, not that it generalises
# better, not that it escapes from local optima, not that it is faster on text. Where it does win against AdamW, plain
# averaging of AdamW's weights tends to win as much. This is no proof that Lookahead is useless: where the rate is tuned
# for it, it does no harm around any rule, and at a constant rate it is quieter than AdamW at the lower rate that makes
# both equally fast.

# %% [markdown]
# ## What this page does not say
#
# - A verdict speaks of the registered tasks, which are small networks and linear models on small data, and of their
#   seeds. Where a claim takes the tasks as a sample, they are a sample of tasks of this kind.
# - The margins are a judgement. Whoever cares for smaller effects may read off from the page what would change: an
#   effect whose interval lies on the other side of a line at another margin.
# - What a claim found at one learning rate says nothing about another one, unless the claim tuned it.
# - Effects of single tasks are not here. `lookahead-nb claims`, with the number of a claim, lists them; with `--fresh`
#   it tries the claim again on seeds that nobody has used.
#
# ## Provenance
#
# The register is `data/claims.toml`; the runs are the tables named after the claims in `data/results`, each with its
# manifest, which holds the hash of the entry it belongs to. The table of this page is `data/results/verdicts.csv`, the
# figure `paper/figures/verdicts`. The notebook of each claim is named in its line.
