"""The command line: ``lookahead-nb``, which is ``python -m lookahead_nb``.

Exit status: 0 all is well; 1 the command found what is wrong; 2 bad input, with one line that says which; 130 Ctrl-C
or SIGTERM, the first of which ends things in good order and the second at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numba

from lookahead_nb import __version__, configuration
from lookahead_nb.checks import DeviceError, NoDeviceError, choice, whole_number
from lookahead_nb.progress import Progress, duration
from lookahead_nb.store import DamageError, Store
from lookahead_nb.workers import LostWorkerError, WorkerPool, dask_executor

SWEEP_HELP = f"""\
Train all runs that a TOML file describes. What is finished lies in the store; run the same command again, after
Ctrl-C, a crash or a power cut, and it goes on from there. Every run has the same bits wherever it is trained.

A file, with all that it can say (a key that is left out has the default of Python):

{configuration.EXAMPLE}
A Dask cluster is started by two commands, the second one on every machine that is to help:

    dask scheduler --port 8786
    dask worker tcp://HOST:8786 --nworkers auto --nthreads 1

and used by --dask tcp://HOST:8786. It needs the extra "cluster": pip install "lookahead-nb[cluster]".
"""


CLAIMS_HELP = """\
Without ID: one line for each claim of the register, data/claims.toml, with its verdict, the effect that decides on it,
the interval of that, and the notebook. Verdicts are those of the results committed in data/results, after Holm's
correction over all effects. Run it in a checkout of the project. --fresh trains what needs no download, and the rest
too where FULL=1 is set and the data is at hand; it keeps nothing and touches no file."""


FIGURES_HELP = """\
Draw the figures of the notebooks again, from the tables committed in data/, and say of each whether its bytes are those
of the committed one. Run it in a checkout of the project. The committed files are left as they are."""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments=None):
    """Run a command and return its exit status. arguments : list of str, those of the process if None."""
    parser = _Parser(prog="lookahead-nb", description="A laboratory for AdamW and Lookahead.")
    parser.add_argument("--version", action="version", version=f"lookahead-nb {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_sweep(commands)
    _add_claims(commands)
    _add_store(commands)
    _add_figures(commands)
    _add_devices(commands)
    given = parser.parse_args(arguments)
    try:
        with _stoppable():
            status = given.run(given)
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # whoever reads, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _say("stopped", 130)
    except (LostWorkerError, DeviceError) as error:
        return _say(error, 1)
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError, NoDeviceError) as error:
        return _say(error, 2)


def _need(kept):
    """Refuse to go on outside of a checkout, where this path of it is not there."""
    from lookahead_nb import tables

    if not (tables.checkout() / kept).exists():
        raise OSError(f"this command must be run in a checkout of the project, which holds {kept}, not in {Path.cwd()}")


def _say(what, status):
    print(f"lookahead-nb: {what}", file=sys.stderr)
    return status


@contextmanager
def _stoppable():
    """Let the first Ctrl-C, or SIGTERM, end things in good order, and the second one at once."""

    def at_once(*_):
        if sys.stderr.isatty():
            os.write(2, b"\x1b[?25h")  # a bar has hidden the cursor
        os._exit(130)

    def in_order(*_):
        for number in before:
            signal.signal(number, at_once)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, in_order) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is in_order:  # once stopped, the process is on its way out
                signal.signal(number, handler)


# -------------------------------------------------------------------------------------------------------------- sweep


def _add_sweep(commands):
    raw = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(
        "sweep", help="train all runs that a TOML file describes", description=SWEEP_HELP, formatter_class=raw
    )
    command.add_argument("config", type=Path, metavar="CONFIG.toml", help="what to train")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="train in N processes; default: threads of this one")
    where.add_argument("--dask", metavar="ADDRESS", help="train on the Dask cluster of the scheduler at this address")
    command.add_argument("--dry-run", action="store_true", help="only say how much it is, and touch nothing")
    command.add_argument("--store", type=Path, metavar="FOLDER", help="the store, in place of that of the file")
    command.add_argument("--export", type=Path, metavar="FILE", help="also write all rows to one .csv or .parquet file")
    command.set_defaults(run=_sweep)


def _sweep(given):
    if given.workers is not None:
        whole_number("--workers", given.workers, 1)
    if given.export and given.export.suffix not in (".csv", ".parquet"):
        raise ValueError(f"--export must be a file that ends in .csv or .parquet, not {given.export.name!r}")
    wanted = configuration.read(given.config, store=given.store)
    with _noted():
        if given.dry_run:
            print("\n".join(_estimate(wanted.plan(), given)))
            return 0
        if wanted.store is None:
            raise ValueError("store must be given, in the file or by --store, or the results would be lost")
        progress = Progress()
        try:
            with _executor(given) as executor, progress:
                found = wanted.run(executor=executor, progress=progress, frame=False)
            if given.export:
                found.export(given.export)
        except KeyboardInterrupt:
            kept = Store.open(wanted.store) if wanted.store.is_dir() else None
            holds = (
                f"{len(kept.done())} of {len(kept.units)} units are stored in" if kept else "nothing is stored yet in"
            )
            return _say(f"stopped: {holds} {wanted.store}, and the same command goes on from there", 130)
    print(f"{progress.total} runs are stored in {wanted.store}")
    return 0


def _executor(given):
    if given.dask is not None:
        return dask_executor(given.dask)
    return nullcontext() if given.workers is None else WorkerPool(given.workers)


def _estimate(plan, given):
    found = configuration.estimate(plan)
    cores, where = numba.get_num_threads(), "threads of this process"
    if given.workers or given.dask:
        cores, where = (given.workers, "workers") if given.workers else (1, "core of the cluster")
    yield f"runs    {found.runs:,}, in {found.units:,} units"
    yield f"work    {found.operations:.2g} floating-point operations, evaluations included"
    yield f"memory  {found.frame_bytes / 1e6:,.1f} MB for one frame of all {found.rows:,} rows"
    yield f"time    about {duration(found.seconds(cores))} on {cores} {where}"
    yield f"        (at {found.rate:.1e} operations/s a core, as a few runs just took for {found.trial_steps} steps)"


@contextmanager
def _noted():
    """Print warnings as one line each."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: _say(message, 0)
        yield


# ------------------------------------------------------------------------------------------------------------- claims


def _add_claims(commands):
    command = commands.add_parser(
        "claims", help="the verdicts on the claims of the article, from the committed results", description=CLAIMS_HELP
    )
    command.add_argument("id", nargs="?", metavar="ID", help="explain one claim, as C05")
    command.add_argument(
        "--fresh",
        nargs="?",
        type=int,
        const=1,
        metavar="N",
        help="try the claim again, on the N-th set of unused seeds",
    )
    command.set_defaults(run=_claims)


def _claims(given):
    _need("data/claims.toml")
    from lookahead_nb import claims, report  # here, with the pandas that they need

    register = claims.read()
    if given.id is not None:
        choice("ID", given.id, register)
    if given.fresh is not None:
        print("\n".join(_fresh(register, given)))
        return 0
    by_task = [given.id] if given.id else []
    try:
        effects = claims.committed(register, by_task=by_task)
    except FileNotFoundError:
        effects = claims.judge_all(register, by_task=by_task)
    except claims.OutdatedError as error:
        _say(f"{error}: all claims are judged again, which takes longer", 0)
        effects = claims.judge_all(register, by_task=by_task)
    if given.id is None:
        print("\n".join(report.lines(register, effects)))
        return 0
    from lookahead_nb.figures import catalogue  # here, with the matplotlib that it needs

    claim = register[given.id]
    print("\n".join(report.explained(claim, effects, catalogue.captions(claim.notebook))))
    return 0


def _fresh(register, given):
    from lookahead_nb import claims, report, trials

    attempt = whole_number("--fresh", given.fresh, 1)
    claim = register[choice("ID", given.id, register)]
    if claim.untestable:
        raise ValueError(f"{claim.id} has no trial: {claim.untestable}")
    here = claims.tasks_at_hand(claim)
    absent = [name for name in claim.tasks if name not in here]
    if not here:
        raise ValueError(f"{claim.id} needs data that must be downloaded: set FULL=1")
    try:  # before anything is trained, for they may be those of another entry
        kept = claims.results(claim)
    except OSError:
        kept = None
    measured = trials.measure(claim, tasks=here, attempt=attempt, progress=True)
    claim = claims.on_tasks(claim, here)
    registered = None if kept is None else claims.judge(claim, kept)
    yield f"{claim.id}, attempt {attempt}: trained on {', '.join(here)}; left out: {', '.join(absent) or 'none'}"
    yield from report.compared(claim, claims.judge(claim, measured.runs), registered)


# -------------------------------------------------------------------------------------------------------------- store


def _add_store(commands):
    parser = commands.add_parser("store", help="look at the results of a sweep", description="The store of a sweep.")
    verbs = parser.add_subparsers(metavar="verify|show|export", required=True)

    verify = verbs.add_parser("verify", help="look for damaged, foreign, half-written and missing parts")
    verify.add_argument("path", help="folder of the store")
    verify.add_argument(
        "--remove", action="store_true", help="delete damaged and half-written parts (no sweep running)"
    )
    verify.set_defaults(run=_verify)

    show = verbs.add_parser("show", help="show configuration, progress, size, machine")
    show.add_argument("path", help="folder of the store")
    show.set_defaults(run=_show)

    export = verbs.add_parser("export", help="write all rows to one file")
    export.add_argument("path", help="folder of the store")
    export.add_argument("file", help="a name that ends in .parquet or .csv")
    export.add_argument("--partial", action="store_true", help="take the units that are there")
    export.set_defaults(run=_export)


def _verify(given):
    try:
        problems = Store.open(given.path).verify(remove=given.remove)
    except DamageError as error:  # of the manifest, without which nothing else can be judged
        problems = [str(error)]
    print("\n".join(problems or [f"{given.path}: all parts are there and whole"]))
    return 1 if problems else 0


def _show(given):
    for name, value in Store.open(given.path).show().items():
        print(f"{name}: {value}")
    return 0


def _export(given):
    Store.open(given.path).export(given.file, partial=given.partial)
    return 0


# ------------------------------------------------------------------------------------------------------------ figures


def _add_figures(commands):
    command = commands.add_parser(
        "figures", help="draw the committed figures again, or tell where one comes from", description=FIGURES_HELP
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="one figure, as faq_8_1_alpha_speed; default: all")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--where", action="store_true", help="only tell notebook, tables, their hashes, and commands")
    how.add_argument("--folder", type=Path, help="where to draw; default: build/figures")
    command.set_defaults(run=_figures)


def _figures(given):
    _need("paper/figures")
    from lookahead_nb import tables  # here, with the matplotlib and the pandas that they need
    from lookahead_nb.figures import catalogue

    if given.where:
        if given.name is None:
            raise ValueError("NAME must be given with --where")
        print("\n".join(catalogue.where(given.name)))
        return 0
    if given.name is not None:
        catalogue.told(given.name)
    folder = given.folder or tables.build_folder("figures")
    folder.mkdir(parents=True, exist_ok=True)
    for name in [given.name] if given.name else catalogue.committed():
        same = catalogue.draw(name, folder=folder)
        print(f"{folder / name}.svg and .pdf: {'as committed' if same else 'not the committed bytes'}", flush=True)
    return 0


# ------------------------------------------------------------------------------------------------------------ devices


def _add_devices(commands):
    description = "What this machine has to compute on, CPU and GPU, and what is missing for the rest."
    command = commands.add_parser(
        "devices", help="what there is to compute on, and what is missing", description=description
    )
    command.set_defaults(run=_devices)


def _devices(given):  # noqa: ARG001 (all commands take what was given)
    from lookahead_nb import devices

    print("\n".join(devices.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
