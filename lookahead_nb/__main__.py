"""The command line: ``lookahead-nb``, or ``python -m lookahead_nb``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numba

from lookahead_nb import configuration
from lookahead_nb.checks import whole_number
from lookahead_nb.progress import Progress, duration
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


def main(arguments=None):
    """Run the command line and return the exit code: 0, 1 for what went wrong, 2 for bad input, 130 when stopped."""
    parser = argparse.ArgumentParser(prog="lookahead-nb", description="A laboratory for the Lookahead optimizer.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_sweep(commands)
    options = parser.parse_args(arguments)
    try:
        with _stoppable():
            return options.run(options)
    except LostWorkerError as error:
        return _complain(error, 1)
    except (TypeError, ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        return _complain(error, 2)
    except KeyboardInterrupt:
        return _complain("stopped", 130)


def _complain(what, code):
    print(f"lookahead-nb: {what}", file=sys.stderr)
    return code


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
            signal.signal(number, handler)


# -------------------------------------------------------------------------------------------------------------- sweep


def add_sweep(commands):
    """Add the command ``sweep`` to those of a parser."""
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
    command.set_defaults(run=run_sweep)


def run_sweep(options):
    """Run the command ``sweep`` and return the exit code."""
    if options.workers is not None:
        whole_number("--workers", options.workers, 1)
    if options.export and options.export.suffix not in (".csv", ".parquet"):
        raise ValueError(f"--export must be a file that ends in .csv or .parquet, not {options.export.name!r}")
    wanted = configuration.read(options.config, store=options.store)
    with _noted():
        if options.dry_run:
            print("\n".join(_estimate(wanted.plan(), options)))
            return 0
        if wanted.store is None:
            raise ValueError("store must be given, in the file or by --store, or the results would be lost")
        progress = Progress()
        try:
            with _executor(options) as executor, progress:
                found = wanted.run(executor=executor, progress=progress, frame=False)
            if options.export:
                found.export(options.export)
        except KeyboardInterrupt:
            kept = f"{progress.done} of {progress.total} runs are stored in {wanted.store}"
            return _complain(f"stopped: {kept}, and the same command goes on from there", 130)
    print(f"{progress.total} runs are stored in {wanted.store}")
    return 0


def _executor(options):
    if options.dask is not None:
        return dask_executor(options.dask)
    return nullcontext() if options.workers is None else WorkerPool(options.workers)


def _estimate(plan, options):
    found = configuration.estimate(plan)
    cores = options.workers or numba.get_num_threads()
    where = f"{options.workers} workers" if options.workers else f"the {cores} threads of this process"
    times = f"about {duration(found.seconds(1))} on one core"
    if not options.dask:
        times = f"about {duration(found.seconds(cores))} on {where}"
    memory = f"{found.frame_bytes / 1e6:,.1f} MB for a frame of all {found.rows:,} rows"
    return (
        f"runs    {found.runs:,}, in {found.units:,} units",
        f"work    {found.operations:.2g} floating-point operations, evaluations included",
        f"memory  {memory}; the sweep itself holds a few units at a time",
        f"time    {times}, by the {found.rate:.1e} operations/s of a trial just now ({found.trial_steps} steps of a unit)",
    )


@contextmanager
def _noted():
    """Print warnings as one line each."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_, **__: _complain(message, 0)
        yield


if __name__ == "__main__":
    sys.exit(main())
