"""The command line: ``lookahead-nb``, which is ``python -m lookahead_nb``.

Exit status: 0 for success; 1 for problems that the command found; 2 for bad input, with one line that names it; 130
after Ctrl-C or SIGTERM. The first of these signals ends the command in good order, the second at once.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import numba

from lookahead_nb import __version__, provenance
from lookahead_nb.checks import DeviceError, NoDeviceError, new_page, user_path, whole_number
from lookahead_nb.datasets import read_rows
from lookahead_nb.settings_file import choice
from lookahead_nb.training import sweep_file as configuration
from lookahead_nb.training.plan import Plan
from lookahead_nb.training.progress import Progress, duration
from lookahead_nb.training.request import Request
from lookahead_nb.training.store import MANIFEST, DamageError, Store
from lookahead_nb.training.workers import LostWorkerError, WorkerPool, dask_executor

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
Without ID, print one line for each claim of the register, data/claims.toml: its verdict, the deciding effect with its
confidence interval, and the notebook. Verdicts come from the results committed in data/results, after Holm's correction
over all effects. With ID, explain one claim. Run the command in a checkout of the project. --fresh trains the tasks
that need no download; with FULL=1 it also trains those whose data is available locally. It writes no file."""


ASK_HELP = """\
Find out whether Lookahead is worth it on your table, with which settings, against AdamW, averages and schedules, in
about a minute. Print one paragraph of advice; the rows, steps and replicates that are used come first, on stderr. The
file has a line of column names and then rows, separated by commas. Text columns are categories and missing values are
filled in, which needs the extra "sklearn": pip install ".[sklearn]" in a checkout. Columns of dates or names are
refused."""


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
    with _noted():
        X, y = read_rows(options.file, options.label, mixed=True)
        from lookahead_nb.claims.ask import ask  # loaded only for this command: it needs pandas

        answer = ask(X, y, **given)
        print(answer.advice)
        if options.html is not None:
            print(f"lookahead-nb: the report is in {answer.report(options.html)}", file=sys.stderr)
    return 0


# ------------------------------------------------------------------------------------------------------------- claims


def _add_claims(commands: Any) -> None:
    command = commands.add_parser(
        "claims", help="print the verdicts on the claims of the article", description=CLAIMS_HELP
    )
    command.add_argument("id", nargs="?", metavar="ID", help="the claim to explain, such as C05")
    command.add_argument(
        "--fresh",
        nargs="?",
        type=int,
        const=1,
        metavar="N",
        help="test the claim again, on the N-th set of unused seeds",
    )
    command.set_defaults(run=_claims)


def _claims(options: argparse.Namespace) -> int:
    provenance.committed("data/claims.toml")  # ahead of imports that take a second
    from lookahead_nb import claims  # loaded only for this command: they need pandas
    from lookahead_nb.claims import report

    register = claims.read()
    if options.id is not None:
        options.id = choice("ID", _claim_id(options.id), register)
    if options.fresh is not None:
        print("\n".join(_fresh(register, options)))
        return 0
    by_task = [options.id] if options.id else []
    try:
        effects = claims.committed(register, by_task=by_task)
    except FileNotFoundError:
        effects = claims.judge_all(register, by_task=by_task)
    except claims.OutdatedError as error:
        _say(f"{error}: all claims are judged again, which takes longer", 0)
        effects = claims.judge_all(register, by_task=by_task)
    if options.id is None:
        print("\n".join(report.lines(register, effects)))
        return 0
    from lookahead_nb.figures import catalogue  # it needs matplotlib

    claim = register[options.id]
    print("\n".join(report.explained(claim, effects, catalogue.captions(claim.notebook))))
    return 0


def _claim_id(text: str) -> str:
    """Return the ID of a claim that is written in short, such as c5 or 5 for C05."""
    number = text.upper().removeprefix("C")
    return f"C{number:0>2}" if number.isdecimal() and number.isascii() else text


def _fresh(register: dict[str, Any], options: argparse.Namespace) -> Iterator[str]:
    from lookahead_nb import claims
    from lookahead_nb.claims import measure as trials
    from lookahead_nb.claims import report

    attempt = whole_number("--fresh", options.fresh, 1)
    claim = register[choice("ID", options.id, register)]
    if claim.untestable:
        raise ValueError(f"{claim.id} has no trial: {claim.untestable}")
    tasks = claims.available_tasks(claim)
    absent = [name for name in claim.tasks if name not in tasks]
    if not tasks:
        raise ValueError(_missing_data(claim))
    try:  # ahead of any training, since they may belong to another entry
        committed = claims.results(claim)
    except OSError:
        committed = None
    measured = trials.measure(claim, tasks=tasks, attempt=attempt, progress=True)
    claim = claims.on_tasks(claim, tasks)
    registered = None if committed is None else claims.judge(claim, committed)
    yield f"{claim.id}, attempt {attempt}: trained on {', '.join(tasks)}; left out: {', '.join(absent) or 'none'}"
    yield from report.compared(claim, claims.judge(claim, measured.runs), registered)


def _missing_data(claim: Any) -> str:
    """Say why no task of a claim can be trained."""
    if os.environ.get("FULL") != "1":
        return f"{claim.id} needs data that must be downloaded: set FULL=1"
    names = sorted({problem.fields["data"] for problem in claim.problems.values() if not problem.is_available})
    load = "; ".join(f"lnb.datasets.load({name!r})" for name in names)
    advice = f'python -c "import lookahead_nb as lnb; {load}" downloads it, or set LOOKAHEAD_NB_DATA to its folder'
    return f"{claim.id} needs data that is not available locally, {', '.join(names)}: {advice}"


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
    command.add_argument(
        "name", nargs="?", metavar="NAME", help="one figure, such as faq_8_1_alpha_speed; default: all"
    )
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
