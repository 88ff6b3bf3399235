"""Recompute notebooks, tables and figures from nothing into build/, and compare them with the committed ones.

Each notebook of ``notebooks/source`` runs from top to bottom in a fresh kernel of this interpreter, two at a time. The
first error, or the first word on stderr, stops everything. No committed file is touched, unless WRITE=1 is set: then
the results replace them, and the README gets the tables of the verdicts. LOOKAHEAD_NB_BUILD names another folder than
``build``.

Exit code: 0; 1 if a notebook failed or a committed table is not the one of its manifest (other numbers than the
committed ones are only reported); 2 for a call that makes no sense, and under PYTHONOPTIMIZE; 130 after Ctrl-C.
With --verify also 1 if anything committed is not what its sources give. Every number must then be the same bits,
except those of ``INEXACT``, which follow the class of the CPU in their last digits.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from decimal import Decimal

ROOT = pathlib.Path(__file__).resolve().parent.parent
COMMITTED = {"notebooks": ROOT / "notebooks", "results": ROOT / "data/results", "figures": ROOT / "paper/figures"}
WORDS = {"notebooks": "notebook", "results": "table", "figures": "figure"}
ENDINGS = {"notebooks": [".ipynb"], "results": [".csv", ".json"], "figures": [".svg", ".pdf", ".json"]}
AT_ONCE = 2  # notebooks: while one computes on one core, imports or draws, the other trains
LAST = ("11_verdicts",)  # it reads the tables that the others recompute
TOLERANCE = 1e-9  # relative; classes of CPU were seen to differ by up to 5e-12, and a wrong formula differs by more
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")

if sys.flags.optimize:
    print("notebooks check results with assert, which PYTHONOPTIMIZE removes: unset it and try again", file=sys.stderr)
    sys.exit(2)

try:
    import jupytext
    import nbformat
    import numpy as np
    import pandas as pd
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from traitlets.config import Config

    from lookahead_nb import figures
    from lookahead_nb import provenance as tables
    from lookahead_nb.claims import experiments, registry, wording
    from lookahead_nb.figures import catalogue

    for module in ("ipykernel", "seaborn", "sklearn", "typst"):
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
except ModuleNotFoundError as error:
    print(f'{error.name} is missing: run "make reproduce" or pip install ".[reproduce]" in a checkout.')
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)

# The columns that are compared with TOLERANCE. On each class of CPU LAPACK, BLAS, and NumPy's exp, log and power run
# other code, which rounds the last digits differently. Every other column, all of training, must be the same bits.
OF_STATEMENTS = (
    "value", "low", "high", "share", "share_low", "share_high", "next_low", "next_high", "steps", "steps_low",
    "steps_high",
)  # fmt: skip
OF_TASKS = ("benefit", "low", "high", "next_low", "next_high")  # of a figure with a dot for every task
OF_FAMILY = ("inner", "Lookahead", "average", "outer momentum", "primal averaging")
INEXACT = {
    "against_adam_tasks": OF_TASKS,
    "agents_tasks": OF_TASKS,
    "comparing_false": ("share", "false", "false_low", "false_high", "kept"),
    "comparing_itself": ("share", "low", "high", "large"),
    "comparing_luck": ("mean", "lower", "middle", "upper"),
    "comparing_sources": ("variance",),
    "convergence_cycle": ("predicted_variance", "inner_variance", "predicted_rate", "measured_rate", "inner_rate"),
    "convergence_gaps": ("condition", "gap"),
    "convergence_matched_risk": ("risk", "5", "10", "20", "50"),
    "convergence_over_time": ("1", "5", "10", "50"),
    "convergence_phases": ("predicted",),
    "games_distances": ("first", "second", "distance"),
    "games_least": ("retention",),
    "games_paths": ("x", "y"),
    "games_noisy": ("first", "second", "distance"),
    "games_rates": ("retention", "rate", "small", "extragradient"),
    "gan_distances": ("distance", "second", "sum"),
    "gan_tasks": OF_TASKS,
    "inner_optimizers_adam": OF_TASKS,
    "inner_optimizers_path": ("alone", "Lookahead"),
    "inner_optimizers_ratios": ("ratio",),
    "inner_optimizers_tasks": OF_TASKS,
    "local_optima_profile": ("position", "height"),
    "local_optima_tasks": OF_TASKS,
    "noise_floor_epoch": ("predicted", "measured"),
    "one_family_frontier": ("speed", *(f"{name}{end}" for name in OF_FAMILY for end in ("", " damping")), "free"),
    "one_family_grid": ("speed", "lookahead", "damping", "outer", "primal"),
    "one_family_predictions": ("predicted",),
    "one_family_screening": ("chance", "best", "gain"),
    "one_family_wedge": ("beta1", "x", "gain", "border"),
    "one_family_worths": ("predicted", "measured", "low", "high"),
    "noise_floor_floors": ("predicted", "measured", "error", "ratio", "independent"),
    "population_screening": ("chance", "best", "gain"),
    "retention_over_time": ("loss",),
    "retention_tasks": OF_TASKS,
    "settings_surface": ("benefit",),  # with the loss of guessing
    "settings_tasks": OF_TASKS,
    "slow_weights_phase": OF_TASKS,
    "slow_weights_tasks": OF_TASKS,
    "statements": OF_STATEMENTS,
    "statements_worth": OF_STATEMENTS,
    "statements_factors": ("value", "low", "high"),
    "statements_ranges": ("value", "low", "high", "more", "more_low", "more_high"),
    "statements_tasks": OF_TASKS,
    "sync_period_cycle": ("x", "variance"),
    "sync_period_rates": ("x", "noise"),
    "sync_period_tasks": OF_TASKS,
    "your_own_question": ("benefit", "low", "high"),
    "when_it_helps_best": ("x", "predicted", "best", "error", "spread"),
    "when_it_helps_curves": ("excess",),
    "when_it_helps_gains": ("lookahead", "average", "at"),
    "when_it_helps_means": ("value", "low", "high"),
}


class FailedNotebookError(Exception):
    """A notebook that did not run through; the message names notebook, cell and error."""


class Kernel(AsyncKernelManager):
    """A kernel of this very interpreter, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        """What to start."""
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], **KERNELSPEC)


def main(arguments=None):
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="notebooks to run, by the start of the name; default: all"
    )
    parser.add_argument(
        "--source", type=pathlib.Path, default=ROOT / "notebooks/source", help="folder of percent scripts"
    )
    parser.add_argument("--verify", action="store_true", help="fail on any difference; not with NAME or WRITE=1")
    options = parser.parse_args(arguments)
    if options.verify and (options.names or os.environ.get("WRITE") == "1"):
        parser.error("--verify takes all notebooks and replaces nothing: leave NAME and WRITE away")
    sources = chosen(parser, options.source, options.names)
    build = pathlib.Path(os.environ.get("LOOKAHEAD_NB_BUILD") or ROOT / "build").resolve()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    for kind in COMMITTED:
        shutil.rmtree(build / kind, ignore_errors=True)
        (build / kind).mkdir(parents=True)
    try:
        run_all(console, sources, build)
        rows = [row for kind in COMMITTED for row in compare(kind, build, everything=not options.names)]
    except FailedNotebookError as failure:
        console.print(f"[bold red]FAILED[/] {escape(str(failure))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped. No committed file was touched.")
        return 130
    table = Table("", "against the committed one", box=None, padding=(0, 2, 0, 0))
    for name, verdict in rows:
        table.add_row(escape(name), escape(verdict))
    console.print(table)
    if os.environ.get("WRITE") == "1":
        write(console, build)
    kept = [path for folder in (COMMITTED["results"], ROOT / "data/timings") for path in sorted(folder.rglob("*.csv"))]
    broken = [sentence for path in kept if (sentence := flaw(path))]
    for sentence in broken:
        console.print(f"[bold red]BROKEN[/] {escape(sentence)}", soft_wrap=True)
    wrong = [*disagreements(rows, build)] if options.verify and not broken else []
    for sentence in wrong:
        console.print(f"[bold red]DISAGREES[/] {escape(sentence)}", soft_wrap=True)
    if options.verify and not (broken or wrong):
        console.print("Verified: what is committed is what its sources give.")
    return 1 if broken or wrong else 0


def chosen(parser, folder, names):
    """Return the percent scripts of the names, in the order in which they run."""
    found = sorted(folder.glob("*.py"))
    if not found:
        parser.error(f"--source must be a folder of percent scripts, not {folder.name}")
    for name in names:
        if not any(path.stem.startswith(name) for path in found):
            parser.error(f"NAME must begin one of {', '.join(path.stem for path in found)}, not be {name!r}")
    return [path for path in found if not names or path.stem.startswith(tuple(names))]


# ---------------------------------------------------------------------------------------------------------- running


def run_all(console, sources, build):
    """Run the notebooks, with a bar for each on a terminal and a line for each elsewhere."""
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cells"), TimeElapsedColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    last = [source for source in sources if source.stem in LAST]
    with bars:
        for some in ([source for source in sources if source not in last], last):
            _run_some(console, some, build, bars)


def _run_some(console, sources, build, bars):
    """Run notebooks ``AT_ONCE`` at a time; where one fails, or after Ctrl-C, end the kernels of the others."""
    started, stop, pool = [], threading.Event(), ThreadPoolExecutor(AT_ONCE)

    def begin(task):
        started.append(task)
        if stop.is_set():
            task.cancel()

    def run_one(source):
        if stop.is_set():
            return
        notebook = prepared(source)
        count = sum(cell.cell_type == "code" for cell in notebook.cells)
        bar, start = bars.add_task(source.stem, total=count), time.perf_counter()
        try:
            asyncio.run(run(source.stem, notebook, build, lambda: bars.advance(bar), begin))
        except BaseException:
            stop.set()  # ahead of the next notebook, which this thread would begin
            raise
        if not console.is_terminal:
            console.print(f"{source.stem}: {count} cells in {time.perf_counter() - start:.0f} s")
            sys.stdout.flush()

    try:
        for future in as_completed([pool.submit(run_one, source) for source in sources]):
            future.result()
    finally:
        stop.set()
        for task in started:
            with contextlib.suppress(RuntimeError):  # its loop is closed: the notebook has ended
                task.get_loop().call_soon_threadsafe(task.cancel)
        pool.shutdown(cancel_futures=True)


def prepared(source):
    """Return a percent script as a notebook without outputs, the same bytes whenever it is built."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = metadata()
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:03d}", nbformat.from_dict({})
    return notebook


def metadata():
    """Return what every notebook says about itself, which leaves out the versions that the kernel reports."""
    return nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})


async def run(name, notebook, build, advance, begin):
    """Run a notebook in a fresh kernel and save it, also as far as it got; errors: FailedNotebookError.

    begin gets the task of this call; cancelling it takes the kernel down.
    """
    at, task = -1, asyncio.current_task()
    begin(task)

    def count(cell, **_):
        nonlocal at
        at += cell.cell_type == "code"

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as words:
        environment = os.environ | {
            "LOOKAHEAD_NB_BUILD": str(build),
            "IPYTHONDIR": folder,
            "MPLBACKEND": "agg",
            "PYTHONHASHSEED": "0",
        }
        files = {"connection_file": f"{folder}/kernel.json"} | ({"transport": "ipc"} if os.name == "posix" else {})
        client = NotebookClient(
            notebook,
            kernel_manager_class=Kernel,
            config=Config({"ConnectionFileMixin": files}),  # files instead of network ports
            timeout=None,
            record_timing=False,
            resources={"metadata": {"path": str(ROOT / "notebooks")}},
            on_cell_start=count,
            on_cell_executed=lambda **_: advance(),
        )
        try:
            await client.async_execute(env=environment, stderr=words)
        except CellExecutionError as error:
            summary = f"{error.ename}: {error.evalue}".strip().rstrip(":")
            raise FailedNotebookError(failure(name, notebook, at, summary)) from None
        except DeadKernelError:
            if task.cancelling():  # which nbclient takes for a dead kernel
                raise asyncio.CancelledError from None
            words.seek(0)
            last = "".join(words.readlines()[-10:]).strip()
            raise FailedNotebookError(failure(name, notebook, at, f"the kernel died {last}".strip())) from None
        finally:
            notebook.metadata = metadata()
            for cell in notebook.cells:
                cell.metadata.clear()
            text = nbformat.writes(notebook).rstrip("\n") + "\n"
            (build / "notebooks" / f"{name}.ipynb").write_text(text, encoding="utf-8", newline="\n")
    for at, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise FailedNotebookError(failure(name, notebook, at, f"wrote to stderr: {output.text.strip()}"))


def failure(name, notebook, at, error):
    """Return the sentence about a failed code cell, the number at from 0, and the cell itself."""
    cell = [cell for cell in notebook.cells if cell.cell_type == "code"][max(at, 0)]
    source = "\n".join(f"    {line}" for line in cell.source.splitlines())
    return f"{name}, code cell {max(at, 0) + 1}: {error}\n{source}"


# -------------------------------------------------------------------------------------------------------- comparing


def compare(kind, build, *, everything):
    """Return (name, verdict) for each recomputed file of a kind, and for committed ones that were not recomputed."""
    main = ENDINGS[kind][0]
    done, kept = ({path.stem for path in folder.glob(f"*{main}")} for folder in (build / kind, COMMITTED[kind]))
    rows = [(name, "new") for name in done - kept]
    rows += [(name, VERDICTS[kind](build / kind / name, COMMITTED[kind] / name)) for name in done & kept]
    rows += [(name, "not recomputed") for name in kept - done if everything]
    return [(f"{WORDS[kind]} {name}", verdict) for name, verdict in sorted(rows)]


def flaw(path):
    """Return a sentence if a committed table is not the one of its manifest, else None."""
    try:
        tables.read_table(path)
    except (OSError, ValueError, KeyError) as error:
        return f"{path.relative_to(ROOT)}: {error if isinstance(error, ValueError) else 'its manifest is missing'}"


def compare_tables(here, there):
    """Return how a table differs from the committed one."""
    here, there = here.with_suffix(".csv"), there.with_suffix(".csv")
    if flaw(there):
        return "the committed one is broken, see below"
    if here.read_bytes() == there.read_bytes():
        return "identical"
    new, old = tables.read_table(here), tables.read_table(there)
    if list(new.columns) != list(old.columns) or len(new) != len(old):
        return f"differs: {len(new)} x {len(new.columns)}, not {len(old)} x {len(old.columns)}, or other columns"
    numbers = [column for column in new if pd.api.types.is_numeric_dtype(new[column])]
    other = [column for column in new if column not in numbers and not new[column].equals(old[column])]
    if other:
        return f"differs: more than numbers, in {', '.join(other)}"
    changed = [column for column in numbers if new[column].to_numpy().tobytes() != old[column].to_numpy().tobytes()]
    if not changed:
        return "differs: the same numbers are written in another way"
    apart = {column: distance(new[column].to_numpy(float), old[column].to_numpy(float)) for column in changed}
    free = INEXACT.get(there.stem, ())
    wrong = {column: size for column, size in apart.items() if not (column in free and size <= TOLERANCE)}
    classes = [json.loads(path.with_suffix(".json").read_text())["machine"]["cpu_class"] for path in (here, there)]
    remark = difference_text(wrong or apart) + elsewhere("CPU class", *classes)
    return f"differs: {remark}" if wrong else f"{WITHIN}: {remark}"


def distance(new, old):
    """Return the largest relative difference of two arrays of the same shape, inf where only one has a number."""
    larger = np.fmax(np.abs(new), np.abs(old))
    with np.errstate(invalid="ignore"):
        apart = np.where(new == old, 0, np.abs(new - old) / np.where(larger > 0, larger, 1))  # inf is like itself alone
    unlike = (np.isnan(new) != np.isnan(old)) | (np.isinf(new) != np.isinf(old))
    return float(np.nanmax(np.where(unlike, np.inf, apart), initial=0))


def difference_text(apart):
    """Return the largest relative difference of columns in words. apart : dict from columns to theirs."""
    return f"largest relative difference {max(apart.values()):.0e}, in {', '.join(apart)}"


def compare_figures(here, there):
    """Return how a figure differs from the committed one."""
    differing = [
        end for end in ENDINGS["figures"]
        if not there.with_suffix(end).is_file()
        or here.with_suffix(end).read_bytes() != there.with_suffix(end).read_bytes()
    ]  # fmt: skip
    if not differing:
        return "identical"
    if ".json" not in differing or not there.with_suffix(".json").is_file():
        return f"differs: {', '.join(differing)}"
    new, old = (json.loads(path.with_suffix(".json").read_text()) for path in (here, there))
    if any(new.get(words) != old.get(words) for words in ("caption", "alt")):
        return "differs: other words"
    versions = (" ".join(f"{name} {version}" for name, version in each["drawn_with"].items()) for each in (new, old))
    return f"{REDRAWN}: {', '.join(differing)}" + elsewhere("drawn with", *versions)


def compare_notebooks(here, there):
    """Return how a notebook differs from the committed one: its cells, or the text it printed."""
    new, old = (nbformat.read(path.with_suffix(".ipynb"), as_version=4).cells for path in (here, there))
    if [(cell.cell_type, cell.source) for cell in new] != [(cell.cell_type, cell.source) for cell in old]:
        return "differs: other cells"
    new, old = ("\n".join(printed(cells)) for cells in (new, old))
    if new == old:
        return "identical"
    if NUMBER.sub("#", " ".join(new.split())) != NUMBER.sub("#", " ".join(old.split())):
        return "differs: other text was printed"
    pairs = [*zip(NUMBER.findall(new), NUMBER.findall(old), strict=True)]
    wrong = [f"{is_}, not {was}" for is_, was in pairs if not alike(is_, was)]
    return f"differs: {len(wrong)} of {len(pairs)} numbers, the first is {wrong[0]}" if wrong else ROUNDED


def alike(new, old):
    """Say whether two printed numbers are the same within TOLERANCE and a unit of their last digit, a count exactly."""
    if not all(set(number) & {".", "e"} for number in (new, old)):
        return new == old
    new, old = Decimal(new), Decimal(old)
    unit = Decimal(10) ** max(number.as_tuple().exponent for number in (new, old))
    return abs(new - old) <= unit + Decimal(TOLERANCE) * max(abs(new), abs(old))


WITHIN = f"within {TOLERANCE:.0e}"  # how the verdicts begin that another class of CPU may give
ROUNDED = "the same but for the last printed digit"
REDRAWN = "drawn otherwise"
VERDICTS = {"notebooks": compare_notebooks, "results": compare_tables, "figures": compare_figures}


def printed(cells):
    """Return the texts that cells printed and showed."""
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]


def elsewhere(what, here, there):
    """Return the remark that something was made under other circumstances, where it was."""
    return "" if here == there else f"; {what}: committed {there}, here {here}"


# -------------------------------------------------------------------------------------------------------- verifying


def disagreements(rows, build):
    """Return a sentence for everything committed that is not what its sources give. rows : of ``compare``, of all."""
    try:
        kept = verdicts()
    except ValueError as error:
        return [f"data/claims: {error}"]
    sentences = differences(rows)
    for page, root in wording.pages().items():
        text = (ROOT / page).read_text(encoding="utf-8")
        if wording.with_tables(text, *kept, root) != text:
            sentences.append(f"{page}: its tables are not those of the committed results")
    return [*sentences, *figures_that_differ(build), *write_up_that_differs(), *experiments_that_differ()]


def verdicts():
    """Return the statements, the verdicts that follow from the committed rows, and the answers."""
    statements = registry.read(ROOT / "data/claims")
    found = registry.evidence(statements, COMMITTED["results"])
    return statements, registry.judge_all(statements, found), wording.read(statements, ROOT / wording.FILE)


def differences(rows):
    """Return a sentence for every recomputed file that differs by more than the class of the CPU explains.

    A table may differ within the tolerance of its columns. Where one did, what was made of it may follow: the figures,
    which :func:`figures_that_differ` draws from the committed tables instead, and the last digits that notebooks print.

    rows : of ``compare``.
    """
    moved = {name.removeprefix("table ") for name, verdict in rows if verdict.startswith(WITHIN)}
    drawn_from = {name: {*entry.tables} for name, entry in catalogue.FIGURES.items()}

    def explained(name, verdict):
        stem = name.partition(" ")[2]
        if verdict.startswith(REDRAWN):
            return not moved.isdisjoint(drawn_from.get(stem, ()))
        return verdict.startswith(WITHIN) or (verdict == ROUNDED and not moved.isdisjoint(tables_of(stem)))

    return [
        f"{name}: {'is made and not committed' if verdict == 'new' else verdict}"
        for name, verdict in rows
        if verdict not in ("identical", "not recomputed") and not explained(name, verdict)
    ]


def tables_of(notebook):
    """Return the names of the tables that a notebook makes, as its figures have them, a set."""
    entries = [entry for entry in catalogue.FIGURES.values() if entry.notebook == notebook]
    return {name for entry in entries for name in entry.tables}


def figures_that_differ(build):
    """Return a sentence for every committed figure that is not the one drawn of the committed tables."""
    (build / "redrawn").mkdir(exist_ok=True)
    for manifest in sorted(COMMITTED["figures"].glob("*.json")):
        name, told = manifest.stem, json.loads(manifest.read_text(encoding="utf-8"))
        for file, sha256 in told["sha256"].items():
            path = COMMITTED["figures"] / file
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                yield f"paper/figures/{file}: is not the one of its manifest"
        try:
            as_drawn = catalogue.draw(name, folder=build / "redrawn") or told["drawn_with"] != figures.drawn_with()
        except ValueError as error:
            yield f"paper/figures/{name}: {error}"
            continue
        if not as_drawn:
            yield f"paper/figures/{name}: is not what the committed tables give"


def write_up_that_differs():
    """Return a sentence if the committed write-up is not the one that its text and the committed data give."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "paper/build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    try:
        same = build.compiled(ROOT) == (ROOT / "paper/lookahead.pdf").read_bytes()
    except ValueError as error:
        return [str(error)]
    return [] if same else ["paper/lookahead.pdf: is not what its text and the committed data give"]


def experiments_that_differ():
    """Return a sentence for every task whose rows are not those of its runs: one per experiment, by the commit."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    for path in sorted((ROOT / experiments.FOLDER).glob("*.toml")):
        experiment = experiments.read(path.stem)
        numbers = experiments.to_recompute(experiment, git.stdout.strip())
        if not numbers:
            print(f"not recomputed: no data set of {experiment.name} is available locally")
            continue
        try:
            yield from experiments.differing(experiment, numbers, progress=False)
        except FileNotFoundError as error:
            print(f"not recomputed: {error}")
            continue
        print(f"recomputed task {', '.join(map(str, numbers))} of {len(experiment.arms)} arms in {experiment.name}")


# ---------------------------------------------------------------------------------------------------------- writing


def write(console, build):
    """Replace the committed files by the recomputed ones."""
    for kind, folder in COMMITTED.items():
        folder.mkdir(parents=True, exist_ok=True)
        paths = [path for path in sorted((build / kind).iterdir()) if path.suffix in ENDINGS[kind]]
        for path in paths:
            shutil.copyfile(path, folder / path.name)
        console.print(f"wrote {len(paths)} files to {folder.relative_to(ROOT)}")
    for page, root in wording.pages().items():
        text = wording.with_tables((ROOT / page).read_text(encoding="utf-8"), *verdicts(), root)
        (ROOT / page).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
