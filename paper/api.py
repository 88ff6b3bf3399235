"""Write the reference of the library into build/api/, from its docstrings: pages that open without a network.

A docstring describes a name in running text, as "lr : float at least 0; eps : float above 0. errors : ValueError." On a
page each of these gets a line of its own. LOOKAHEAD_NB_BUILD names another folder than ``build``.

Exit code: 0; 2 if pdoc is missing or the call makes no sense.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import sys
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
MACHINERY = {"__init__", "__main__", "buffers", "jit", "on_device"}  # like cpu/, gpu/ and figures/ not for users

# Where the description of one or more names begins: at the start of a line or a sentence, or behind a semicolon.
ENTRY = re.compile(r"(?:^ *|(?<=[.;])(?: |\n *))(\w+(?:,\s+\w+)*)\s+:\s+", re.MULTILINE)
SOURCE = re.compile(r"(?<=\.)\s+(?=Source: )")  # begins a paragraph
SPECIAL = re.compile(r"(`+.*?`+)|([*_<>#])", re.DOTALL)  # what Markdown would take for its own; not in code


def main(arguments=None):
    """Run the command line and return the exit code. arguments : list of str, those of the process if None."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    try:
        import pdoc

        import lookahead_nb
    except ModuleNotFoundError:
        print(
            'pdoc is missing: run "make api", which installs it, or pip install "lookahead-nb[docs]".', file=sys.stderr
        )
        return 2
    folder = pathlib.Path(os.environ.get("LOOKAHEAD_NB_BUILD") or ROOT / "build").resolve() / "api"
    to_markdown = pdoc.docstrings.convert
    pdoc.docstrings.convert = lambda text, *how: to_markdown(laid_out(text), *how)
    pdoc.render.configure(docformat="restructuredtext", show_source=False, footer_text="lookahead_nb")
    modules = [name for name in public_modules() if name.rpartition(".")[2] not in lookahead_nb.__all__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The constructor of a named tuple does not know the module in which its annotations have a meaning.
        warnings.filterwarnings("ignore", "Error parsing type annotation ForwardRef")
        pdoc.pdoc("lookahead_nb", *modules, output_directory=folder)  # with it come the modules in its __all__
    print(f"wrote {folder / 'index.html'}")
    return 0


def public_modules():
    """Return the names of the modules that a user may import from."""
    rooms = sorted(path.stem for path in (ROOT / "lookahead_nb").glob("*.py"))
    return [f"lookahead_nb.{room}" for room in rooms if room not in MACHINERY]


def described(text):
    """Return what a docstring says of each name that it describes, as a dict."""
    said = {}
    for _, *entries in map(ENTRY.split, paragraphs(text)):  # names, words, names, words, ...
        for names, words in zip(entries[::2], entries[1::2], strict=True):
            said |= {name: words.strip(" ;\n") for name in re.split(r",\s+", names)}
    return said


def laid_out(text):
    """Return a docstring as Markdown, with an item for each entry; what is set in by four spaces stays as it is."""
    return "\n\n".join(p if p.startswith("    ") else itemised(p) for p in paragraphs(text))


def paragraphs(text):
    """Return the paragraphs of a docstring, a source as one of its own."""
    return SOURCE.sub("\n\n", text).split("\n\n")


def itemised(paragraph):
    """Return a paragraph as Markdown."""
    parts = (SPECIAL.sub(lambda found: found[1] or "\\" + found[2], part) for part in ENTRY.split(paragraph))
    first, *entries = parts
    items = (f"- **{names}** : {words.strip(' ;')}" for names, words in zip(entries[::2], entries[1::2], strict=True))
    return "\n\n".join(filter(None, [first, "\n".join(items)]))


if __name__ == "__main__":
    sys.exit(main())
