"""Write the API reference of the library into build/api/, from its numpydoc docstrings: pages that need no network.

LOOKAHEAD_NB_BUILD names another folder than ``build``.

Exit code: 0; 2 if pdoc is missing or the call makes no sense.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lookahead_nb"
# Compiled code is not for users, except the random stream and the equations.
KERNELS_FOR_USERS = ("lookahead_nb.kernels.philox", "lookahead_nb.kernels.formulas")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code; without arguments, those of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    try:
        import pdoc
    except ModuleNotFoundError:
        print(
            'pdoc is missing: run "make api", which installs it, or pip install "lookahead-nb[docs]".', file=sys.stderr
        )
        return 2
    folder = pathlib.Path(os.environ.get("LOOKAHEAD_NB_BUILD") or ROOT / "build").resolve() / "api"
    pdoc.render.configure(docformat="numpy", show_source=False, footer_text="lookahead_nb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Names that are imported for annotations alone, and constructors of named tuples, have no meaning at run time.
        warnings.filterwarnings("ignore", "Error parsing type annotation")
        pdoc.pdoc(*public_modules(), output_directory=folder)
    print(f"wrote {folder / 'index.html'}")
    return 0


def public_modules() -> list[str]:
    """Return the names of the modules that a user may import from."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    return [
        name
        for name in names
        if name != "lookahead_nb.__main__" and (".kernels" not in name or name.startswith(KERNELS_FOR_USERS))
    ]


if __name__ == "__main__":
    sys.exit(main())
