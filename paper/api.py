"""Write the API reference of the library into build/api/, from its numpydoc docstrings: pages that need no network.

LOOKAHEAD_NB_BUILD names another folder than ``build``.

Exit code: 0; 2 if pdoc is missing or the call makes no sense.
"""

from __future__ import annotations

import argparse
import html
import os
import pathlib
import re
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
    folder = pathlib.Path(os.environ.get("LOOKAHEAD_NB_BUILD") or ROOT / "build").resolve() / "api"
    try:
        write(folder)
    except ModuleNotFoundError as error:
        if error.name != "pdoc":
            raise
        print(
            'pdoc is missing: run "make api", which installs it, or pip install ".[docs]" in a checkout.',
            file=sys.stderr,
        )
        return 2
    print(f"wrote {folder / 'index.html'}")
    return 0


def write(folder: pathlib.Path) -> None:
    """Write the reference into a folder."""
    import pdoc

    pdoc.render.configure(docformat="numpy", show_source=False, footer_text="lookahead_nb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Names that are imported for annotations alone, and constructors of named tuples, have no meaning at run time.
        warnings.filterwarnings("ignore", "Error parsing type annotation")
        # A package with __all__ brings the modules in it, and only these; so each is named.
        warnings.filterwarnings("ignore", "The module specification")
        pdoc.pdoc(*public_modules(), output_directory=folder)
    cut_dead_links(folder)


LINK = re.compile(r'<a href="(?P<page>[^"#:]*)#(?P<place>[^"]+)">(?P<text>.*?)</a>', re.DOTALL)


def cut_dead_links(folder: pathlib.Path) -> None:
    """Keep only the text of links to places that no page has: pdoc links to private bases, which it does not show."""
    pages = {path.resolve(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.html"))}
    places = {
        path: {html.unescape(place) for place in re.findall(r'\bid="([^"]+)"', text)} for path, text in pages.items()
    }
    for path, text in pages.items():

        def replaced(link: re.Match[str], path: pathlib.Path = path) -> str:
            file = (path.parent / link["page"]).resolve() if link["page"] else path
            return link[0] if html.unescape(link["place"]) in places.get(file, ()) else link["text"]

        path.write_text(LINK.sub(replaced, text), encoding="utf-8")


def modules() -> list[str]:
    """Return the names of all modules."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def is_public(module: str) -> bool:
    """Return whether a module is for users."""
    is_kernel = module.startswith("lookahead_nb.kernels.") and not module.startswith(KERNELS_FOR_USERS)
    return module != "lookahead_nb.__main__" and not is_kernel


def public_modules() -> list[str]:
    """Return the names of the modules that a user may import from."""
    return [name for name in modules() if is_public(name)]


if __name__ == "__main__":
    sys.exit(main())
