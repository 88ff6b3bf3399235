"""The command line: ``lookahead-nb``, which is ``python -m lookahead_nb``.

Exit status: 0 all is well; 1 the command found what is wrong; 2 bad input, with one line that says which; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys

from lookahead_nb.store import DamageError, Store


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments=None):
    """Run a command and return its exit status. arguments : list of str, those of the process if None."""
    parser = _Parser(prog="lookahead-nb", description="A laboratory for AdamW and Lookahead.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_store(commands)
    given = parser.parse_args(arguments)
    try:
        return given.run(given)
    except KeyboardInterrupt:
        print("lookahead-nb: stopped", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        print(f"lookahead-nb: {error}", file=sys.stderr)
        return 2


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


if __name__ == "__main__":
    sys.exit(main())
