"""The command line: ``lookahead-nb``, which is ``python -m lookahead_nb``.

Exit status: 0 for success; 1 for problems that the command found; 2 for bad input, with one line that names it; 130
after Ctrl-C or SIGTERM. The first of these signals ends the command in good order, the second at once.
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numba

from lookahead_nb import __version__, provenance
from lookahead_nb.checks import DeviceError, NoDeviceError, new_page, user_path, whole_number
from lookahead_nb.datasets import read_rows
from lookahead_nb.training import sweep_file as configuration
from lookahead_nb.training.plan import Plan
from lookahead_nb.training.progress import Progress, duration
from lookahead_nb.training.request import Request
from lookahead_nb.training.store import MANIFEST, DamageError, Store
from lookahead_nb.training.workers import LostWorkerError, WorkerPool, dask_executor

FRESH_TASKS = 4  # a minute or two on two cores

SWEEP_HELP = f"""\
Train all runs that a TOML file describes. Finished runs are written to the store. After Ctrl-C, a crash or a power
cut, run the same command again: it continues from there. Add seeds or optimizers to the file later, and only their
runs are trained. With keep_states, more steps continue the stored runs. Every run is bit-for-bit identical wherever it
is trained.

An example of a file with all tables (a missing key has the default of the Python function):

{configuration.EXAMPLE}
To train on a Dask cluster, start the scheduler, and then workers on every machine:

    dask scheduler --port 8786
    dask worker tcp://HOST:8786 --nworkers auto --nthreads 1

Then pass --dask tcp://HOST:8786. This needs the extra "cluster": pip install ".[cluster]" in a checkout.
"""


CLAIMS_HELP = """\
Without ID, print the verdict on every statement of the article, and what was found. Statements are registered in
data/claims, and verdicts follow from the rows committed in data/results. With ID, explain one statement, such as C08a,
or all of a claim, such as C08; --contrasts lists every comparison behind it, for each class of tasks. T1 and so on are
conjectures of our own, with the rule that was registered ahead of their runs. Run the command in a checkout of the
project.

--fresh measures a statement again: a few of its tasks are trained on seeds that nobody has used. It prints the
estimates next to those of the registered rows, and writes no file.
"""


EXPERIMENT_HELP = """\
Without NAME, list the registered experiments, data/claims/experiments, and how many of their tables there are. With
NAME, train what is missing, and write it to data/results/NAME. A table (a shard) holds the rows of a few tasks or of a
data set. After Ctrl-C or a crash, run the same command again: finished shards stay, and it continues with the next one.
Data sets that are not available locally are left out. Run the command in a checkout of the project.

To share the work between machines, run --shard 1/3, 2/3 and 3/3, and collect the files of data/results/NAME.
"""


ASK_HELP = """\
Find out whether Lookahead is worth it on your table, with which settings, against AdamW, averages and schedules, in
about a minute. Print one paragraph of advice; the rows, steps and replicates that are used come first, on stderr. The
file has a line of column names and then rows, separated by commas. Text columns are categories and missing values are
filled in, which needs the extra "sklearn": pip install ".[sklearn]" in a checkout. Columns of dates or names are
refused: leave them out by --drop."""


FIGURES_HELP = """\
Draw the figures of the notebooks again from the tables committed in data/. Report for each whether it is bit-for-bit
identical to the committed figure. Run the command in a checkout of the project. It does not change committed files."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End the process with one line and status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Parameters
    ----------
    arguments : list of str, optional
        Default: those of the process.

    Returns
    -------
    int
        0, 1, 2 or 130, as the module describes.
    """
    parser = _Parser(prog="lookahead-nb", description="A laboratory for AdamW and Lookahead.")
    parser.add_argument("--version", action="version", version=f"lookahead-nb {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_sweep(commands)
    _add_ask(commands)
    _add_claims(commands)
    _add_experiment(commands)
    _add_store(commands)
    _add_figures(commands)
    _add_devices(commands)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell, as in >&-
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 (until the process ends)
        elif isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII has no multiplication sign
    options = parser.parse_args(arguments)
    try:
        with _stoppable():
            status: int = options.run(options)
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # the reader, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _say("stopped", 130)
    except (LostWorkerError, DeviceError) as error:
        return _say(error, 1)
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError, NoDeviceError) as error:
        return _say(error, 2)


def _say(message: object, status: int) -> int:
    print(f"lookahead-nb: {message}", file=sys.stderr)
    return status


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end the block in good order, and the second one at once."""

    def at_once(*_: object) -> None:
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h")  # a bar has hidden the cursor
        os._exit(130)

    def in_order(*_: object) -> None:
        for number in handlers:
            signal.signal(number, at_once)
        raise KeyboardInterrupt

    handlers = {number: signal.signal(number, in_order) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is in_order:  # after a signal the process is about to end
                signal.signal(number, handler)


# -------------------------------------------------------------------------------------------------------------- sweep


def _add_sweep(commands: Any) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(
        "sweep", help="train all runs that a TOML file describes", description=SWEEP_HELP, formatter_class=raw
    )
    command.add_argument("config", type=Path, metavar="CONFIG.toml", help="the file that describes the sweep")
    place = command.add_mutually_exclusive_group()
    place.add_argument("--workers", type=int, metavar="N", help="train in N processes; default: threads of this one")
    place.add_argument("--dask", metavar="ADDRESS", help="train on the Dask cluster of the scheduler at this address")
    command.add_argument(
        "--dry-run", action="store_true", help="only print the estimated work, memory and time, and what is stored"
    )
    command.add_argument("--store", type=Path, metavar="FOLDER", help="the store, instead of that of the file")
    command.add_argument("--export", type=Path, metavar="FILE", help="also write all rows to one .csv or .parquet file")
    command.set_defaults(run=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    if options.workers is not None:
        whole_number("--workers", options.workers, 1)
    if options.export and options.export.suffix not in (".csv", ".parquet"):
        raise ValueError(f"--export must be a file that ends in .csv or .parquet, got {options.export.name!r}")
    config = configuration.read(options.config, store=options.store)
    with _noted():
        if options.dry_run:
            plan = config.plan()
            stored = _stored(plan, config.store, keeps_states=config.keep_states)
            print("\n".join([*_estimate(plan, options), *stored]))
            return 0
        if config.store is None:
            raise ValueError("store must be given, in the file or by --store, or the results would be lost")
        progress = Progress()
        try:
            with _executor(options) as executor, progress:
                results = config.run(executor=executor, progress=progress, frame=False)
            if options.export:
                results.export(options.export)
        except KeyboardInterrupt:
            store = Store.open(config.store) if config.store.is_dir() else None
            state = f"{len(store.done())} of {len(store.units)} units are stored" if store else "nothing is stored yet"
            return _say(f"stopped: {state} in {config.store}; run the same command again to continue", 130)
    print(f"{progress.total} runs are stored in {config.store}")
    return 0


def _executor(options: argparse.Namespace) -> AbstractContextManager[Any]:
    if options.dask is not None:
        return dask_executor(options.dask)
    return nullcontext() if options.workers is None else WorkerPool(options.workers)


def _stored(plan: Plan, path: Path | None, *, keeps_states: bool) -> Iterator[str]:
    """Yield a line about the runs that the store already holds, if there is one."""
    if path is not None and (path / MANIFEST).is_file():
        request = Request(plan, path, keeps_states=keeps_states)
        yield f"stored  {request.done:,} of the {plan.size:,} runs are in {path}; only the others are trained"
        if request.continued:
            yield f"        {request.continued:,} of them from the ends of shorter runs"


def _estimate(plan: Plan, options: argparse.Namespace) -> Iterator[str]:
    cost = configuration.estimate(plan)
    cores, place = numba.get_num_threads(), "threads of this process"
    if options.workers or options.dask:
        cores, place = (options.workers, "workers") if options.workers else (1, "core of the cluster")
    yield f"runs    {cost.runs:,}, in {cost.units:,} units"
    yield f"work    {cost.operations:.2g} floating-point operations, evaluations included"
    yield f"memory  {cost.frame_bytes / 1e6:,.1f} MB for one frame of all {cost.rows:,} rows"
    yield f"time    about {duration(cost.seconds(cores))} on {cores} {place}"
    yield f"        (at {cost.rate:.1e} operations/s per core, measured in a trial of {cost.trial_steps} steps)"


@contextmanager
def _noted() -> Iterator[None]:
    """Print warnings as one line each."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: print(f"lookahead-nb: {message}", file=sys.stderr)
        yield


# ---------------------------------------------------------------------------------------------------------------- ask


def _add_ask(commands: Any) -> None:
    command = commands.add_parser("ask", help="tell whether Lookahead is worth it on your table", description=ASK_HELP)
    command.add_argument("file", metavar="FILE", help="the table, .csv, or .npz with arrays X and y")
    command.add_argument("--label", metavar="COLUMN", help="the column of labels of a .csv file")
    command.add_argument("--drop", action="append", metavar="COLUMN", help="leave out a column; may be repeated")
    command.add_argument("--html", metavar="FILE", help="also write a report to this new .html file")
    command.add_argument("--hidden", type=int, nargs="*", metavar="N", help="widths of hidden layers; default: 32")
    command.add_argument(
        "--steps", type=int, metavar="N", help="of each run, a multiple of 20; default: about 30 passes"
    )
    command.add_argument("--batch-size", type=int, metavar="N", help="rows of a minibatch; default: 32")
    command.add_argument("--replicates", type=int, metavar="N", help="at least 4; default: 12, or 20 on a small table")
    command.add_argument("--seed", type=int, metavar="N", help="of everything random; default: 0")
    command.set_defaults(run=_ask)


def _ask(options: argparse.Namespace) -> int:
    names = ("hidden", "steps", "batch_size", "replicates", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.html is not None:
        new_page("--html", options.html)
    drop: list[Any] = options.drop or []
    if options.label in drop:
        raise ValueError(f"--drop must name other columns than that of the labels, got {options.label!r}")
    with _noted():
        X, y = read_rows(options.file, options.label, mixed=True)
        if options.label is None:  # an .npz file has no names
            drop = [int(column) if column.isdecimal() else column for column in drop]
        from lookahead_nb.claims.ask import ask  # loaded only for this command: it needs pandas

        answer = ask(X, y, drop=drop, **given)
        print(answer.advice)
        if options.html is not None:
            print(f"lookahead-nb: the report is in {answer.report(options.html)}", file=sys.stderr)
    return 0


# ------------------------------------------------------------------------------------------------------------- claims


def _add_claims(commands: Any) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(
        "claims", help="print the verdicts on the article's statements", description=CLAIMS_HELP, formatter_class=raw
    )
    command.add_argument("id", nargs="?", metavar="ID", help="a statement or claim, such as C08a or C08, or T1")
    command.add_argument("--contrasts", action="store_true", help="list every comparison too, for each class of tasks")
    command.add_argument(
        "--fresh",
        nargs="?",
        type=int,
        const=1,
        metavar="N",
        help="train tasks of the statement again, on the N-th set of unused seeds; default: 1",
    )
    command.add_argument(
        "--tasks", type=int, metavar="M", help=f"how many tasks --fresh trains, at least 2; default: {FRESH_TASKS}"
    )
    command.set_defaults(run=_claims)


def _claims(options: argparse.Namespace) -> int:
    provenance.committed("data/claims")  # ahead of imports that take seconds
    from lookahead_nb.claims import conjectures, registry, wording  # loaded only for this command: they need pandas

    if options.id is not None and re.fullmatch("[Tt][0-9]+", options.id):
        if options.contrasts or options.fresh is not None or options.tasks is not None:
            raise ValueError(f"ID must be a statement of the article with an option, got {options.id!r}")
        print("\n".join(conjectures.explained(_conjecture(options.id))))
        return 0
    statements = registry.read()
    chosen = statements if options.id is None else _statements(options.id, statements)
    if options.fresh is not None:
        if options.contrasts:
            raise ValueError("--contrasts cannot be combined with --fresh, which shows all of them: leave it out")
        for line in _fresh(options, chosen):
            print(line, flush=True)
        return 0
    if options.tasks is not None:
        raise ValueError("--tasks needs --fresh: add it, or leave --tasks out")
    judged = _judged(statements, chosen)
    if options.id is None:
        if options.contrasts:
            raise ValueError("--contrasts needs ID, a statement or a claim, such as C08")
        print("\n".join([*wording.lines(statements.values(), judged), "", *wording.LEGEND]))
        return 0
    from lookahead_nb.figures import catalogue  # it needs matplotlib

    first, *_ = chosen.values()
    answer = wording.read(statements)[wording.claim_of(first.id)]
    captions = catalogue.captions(first.notebook)
    lines = wording.explained([*chosen.values()], judged, answer, captions, contrasts=options.contrasts)
    print("\n".join([*lines, "", *(line.format(id=first.id) for line in wording.LEGEND_OF_ONE)]))
    return 0


def _conjecture(name: str) -> Any:
    from lookahead_nb.claims import conjectures

    known = conjectures.read()
    if (full := name.upper()) not in known:
        raise ValueError(f"ID must be a conjecture such as {', '.join(known) or 'none yet'}, got {name!r}")
    return known[full]


def _judged(statements: dict[str, Any], chosen: dict[str, Any]) -> Any:
    """Return the committed verdicts, or judge the chosen statements again."""
    from lookahead_nb.claims import registry, shards

    try:
        return registry.committed(statements)
    except (FileNotFoundError, shards.OutdatedError) as error:
        _say(f"{error}; the verdicts below are judged again from the rows, which takes longer", 0)
        return registry.judge_all(chosen, registry.evidence(chosen))


def _statements(name: str, statements: dict[str, Any]) -> dict[str, Any]:
    """Return the statement of this name, or all of the claim; C08a may be written in short, such as c8a or 8a."""
    short = re.fullmatch(r"[Cc]?([0-9]{1,2})([A-Za-z]?)", name)
    full = f"C{int(short[1]):02d}{short[2].lower()}" if short else name
    if found := {key: each for key, each in statements.items() if full in (key, key[:3])}:
        return found
    known = [*statements, *{key[:3] for key in statements}]
    near = difflib.get_close_matches(full, known, n=1, cutoff=0) or known[:1]
    raise ValueError(f"ID must be a statement or a claim, such as {near[0]}, got {name!r}")


def _fresh(options: argparse.Namespace, chosen: dict[str, Any]) -> Iterator[str]:
    from lookahead_nb.claims import fresh, registry, wording

    if options.id is None or len(chosen) > 1:
        given = "nothing" if options.id is None else repr(options.id)
        raise ValueError(f"ID must be one statement with --fresh, such as {next(iter(chosen))}, got {given}")
    (statement,) = chosen.values()
    plan = fresh.planned(statement, options.fresh, FRESH_TASKS if options.tasks is None else options.tasks)
    numbers = ", ".join(map(str, plan.tasks["number"]))
    yield f"{statement.id}: {statement.says}"
    yield f"Trains {plan.runs:,} runs on fresh seeds: tasks {numbers} of the experiment {plan.experiment.name}"
    if not plan.experiment.seeds(plan.attempt):
        yield "They are solved exactly, without random numbers: other seeds give the registered estimates again"
    estimates = {"fresh seeds": plan.judge(plan.measure(progress=True))}
    if found := registry.evidence(chosen):
        rows = found[statement.experiment]
        estimates["registered seeds"] = plan.judge(rows.rows)
        estimates["all tasks"] = registry.judge(statement, rows.rows, rows.tasks, rows.drawn)
    yield from wording.compared(plan.statement, estimates)


# --------------------------------------------------------------------------------------------------------- experiment


def _add_experiment(commands: Any) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(
        "experiment", help="list the experiments, or train one", description=EXPERIMENT_HELP, formatter_class=raw
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="the experiment to train, such as trial")
    command.add_argument("--shard", metavar="I/N", help="train only every N-th shard, from the I-th on")
    command.set_defaults(run=_experiment)


def _experiment(options: argparse.Namespace) -> int:
    provenance.committed("data/claims/experiments")  # ahead of imports that take seconds
    from lookahead_nb.claims import experiments

    names = experiments.registered()
    if options.name is None:
        if options.shard is not None:
            raise ValueError("--shard needs NAME, the experiment to train")
        print("\n".join(_experiment_lines([experiments.read(name) for name in names])))
        return 0
    if options.name not in names:
        near = difflib.get_close_matches(options.name, names, n=1, cutoff=0)
        raise ValueError(f"NAME must be an experiment, such as {near[0]}, got {options.name!r}")
    part, parts = _share(options.shard)
    experiment = experiments.read(options.name)
    paths = experiments.shard_paths(experiment)
    absent = [name for name, of in experiment.sets.items() if name in paths and not of.available]
    wanted = [i for i, name in enumerate(paths) if i % parts == part - 1 and name not in absent]
    there = [i for i, path in enumerate(paths.values()) if i in wanted and path.is_file()]
    try:
        experiments.run(experiment, there)  # trains nothing, and refuses what is outdated
        for line in _trained_shards(experiment, [i for i in wanted if i not in there]):
            print(line, flush=True)
    except KeyboardInterrupt:
        return _say(f"stopped: {_stored_shards(paths)}; run the same command again to continue", 130)
    print(_stored_shards(paths))
    if absent:
        print(f"left out, for their data is not available locally: {', '.join(absent)}")
    return 0


def _trained_shards(experiment: Any, numbers: list[int]) -> Iterator[str]:
    """Train shards, and yield a line ahead of each one."""
    from lookahead_nb.claims import experiments

    parts = [*experiment.shards(experiment.chosen(experiments.screening_table(experiment)))]
    runs = [experiment.runs(parts[number][1]) for number in numbers]
    start = time.monotonic()
    for i, number in enumerate(numbers):
        left = f", {duration((time.monotonic() - start) / sum(runs[:i]) * sum(runs[i:]))} left" if i else ""
        yield f"shard {parts[number][0]}: {runs[i]:,} of the {sum(runs[i:]):,} runs to be trained{left}"
        experiments.run(experiment, [number])


def _share(text: str | None) -> tuple[int, int]:
    """Return the part and the number of parts that --shard names."""
    if text is None:
        return 1, 1
    numbers = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise ValueError(f"--shard must be I/N with I from 1 to N, such as 1/3, got {text!r}")
    return int(numbers[1]), int(numbers[2])


def _stored_shards(paths: dict[str, Path]) -> str:
    folder = next(iter(paths.values())).parent.relative_to(provenance.checkout())
    return f"{sum(path.is_file() for path in paths.values())} of {len(paths)} shards are in {folder}"


def _experiment_lines(listed: list[Any]) -> list[str]:
    from lookahead_nb.claims import experiments

    table = [("", "tasks", "arms", "runs", "shards", "missing", "")]
    for experiment in listed:
        paths = experiments.shard_paths(experiment)
        tasks = experiment.chosen(experiments.screening_table(experiment))
        there = sum(path.is_file() for path in paths.values())
        numbers = (len(tasks), len(experiment.arms), experiment.runs(tasks), there, len(paths) - there)
        table.append((experiment.name, *(f"{number:,}" for number in numbers), experiment.about))
    wide = [max(len(row[i]) for row in table) for i in range(6)]
    return [
        "  ".join([row[0].ljust(wide[0]), *(row[i].rjust(wide[i]) for i in range(1, 6)), row[6]]).rstrip()
        for row in table
    ]


# -------------------------------------------------------------------------------------------------------------- store


def _add_store(commands: Any) -> None:
    description = "Verify, show or export the store of a sweep."
    parser = commands.add_parser("store", help="verify, show or export the results of a sweep", description=description)
    verbs = parser.add_subparsers(metavar="verify|show|export", required=True)

    verify = verbs.add_parser("verify", help="list damaged, foreign, half-written and missing parts")
    verify.add_argument("path", help="folder of the store")
    verify.add_argument(
        "--remove", action="store_true", help="delete damaged and half-written parts; stop running sweeps first"
    )
    verify.set_defaults(run=_verify)

    show = verbs.add_parser("show", help="show configuration, progress, size, machine")
    show.add_argument("path", help="folder of the store")
    show.set_defaults(run=_show)

    export = verbs.add_parser("export", help="write all rows to one file")
    export.add_argument("path", help="folder of the store")
    export.add_argument("file", help="file to write, ending in .parquet or .csv")
    export.add_argument("--partial", action="store_true", help="write the finished units even if others are missing")
    export.set_defaults(run=_export)


def _verify(options: argparse.Namespace) -> int:
    try:
        problems = Store.open(options.path).verify(remove=options.remove)
    except DamageError as error:  # of the manifest, which every other check needs
        problems = [str(error)]
    print("\n".join(problems or [f"{options.path}: all parts are complete and undamaged"]))
    return 1 if problems else 0


def _show(options: argparse.Namespace) -> int:
    for name, value in Store.open(options.path).show().items():
        print(f"{name}: {value}")
    return 0


def _export(options: argparse.Namespace) -> int:
    Store.open(options.path).export(options.file, partial=options.partial)
    return 0


# ------------------------------------------------------------------------------------------------------------ figures


def _add_figures(commands: Any) -> None:
    command = commands.add_parser(
        "figures", help="draw the committed figures again, or print the origin of one", description=FIGURES_HELP
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="one figure, such as retention_tasks; default: all")
    mode = command.add_mutually_exclusive_group()
    mode.add_argument("--where", action="store_true", help="only print notebook, tables, their hashes, and commands")
    mode.add_argument(
        "--folder", type=lambda text: user_path("FOLDER", text), help="folder for the figures; default: build/figures"
    )
    command.set_defaults(run=_figures)


def _figures(options: argparse.Namespace) -> int:
    provenance.committed("paper/figures")
    from lookahead_nb.figures import catalogue  # loaded only for this command: it needs matplotlib and pandas

    if options.where:
        if options.name is None:
            raise ValueError("NAME must be given with --where")
        print("\n".join(catalogue.where(options.name)))
        return 0
    if options.name is not None:
        catalogue.manifest_of(options.name)
    folder = options.folder or provenance.build_folder("figures")
    folder.mkdir(parents=True, exist_ok=True)
    for name in [options.name] if options.name else catalogue.committed():
        same = catalogue.draw(name, folder=folder)
        outcome = "as committed" if same else "differs from the committed figure"
        print(f"{folder / name}.svg and .pdf: {outcome}", flush=True)
    return 0


# ------------------------------------------------------------------------------------------------------------ devices


def _add_devices(commands: Any) -> None:
    description = "List the CPU and GPUs of this machine, and the missing parts for CUDA."
    command = commands.add_parser("devices", help="list the devices of this machine", description=description)
    command.set_defaults(run=_devices)


def _devices(options: argparse.Namespace) -> int:  # noqa: ARG001 (all commands have one signature)
    print("\n".join(provenance.device_lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
