"""Build the write-up, paper/lookahead.pdf, from its text and from what that reads in data/ and paper/figures/.

Every table and figure is first compared with the hash in its manifest. The text states of every number what it
presumes, so a PDF that is built says what the data say. The same files give the same bytes.

Exit code: 0; 1 if a file is broken, an experiment was changed after its results, a font is missing, or the text
presumes what the data do not say, with one sentence about it; 2 if the compiler is missing or an argument is wrong. In
these cases nothing is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main(arguments=None):
    """Run the command line and return the exit code. arguments : list of str, those of the process if None."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the checkout to build; default: this one")
    root = parser.parse_args(arguments).root.resolve()
    try:
        broken = next(flaws(root), None)
        if broken:
            return say(broken, 1)
        document = compiled(root)
    except ModuleNotFoundError as error:
        advice = 'run "make paper", which installs it, or pip install ".[reproduce]" in a checkout'
        return say(f"{error.name} is missing: {advice}.", 2)
    except (OSError, ValueError) as error:
        return say(error, 1)
    path = root / "paper/lookahead.pdf"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_bytes(document)
    unfinished.replace(path)
    print(f"wrote paper/{path.name}, {len(document) / 1e6:.1f} MB")
    return 0


def say(what, code):
    """Say on stderr what is wrong, and return the exit code."""
    print(what, file=sys.stderr)
    return code


def flaws(root):
    """Yield a sentence for every table and figure that is not the one of its manifest, or not of a registered entry.

    errors : OSError, ValueError for a statement or an experiment that cannot be read.
    """
    from lookahead_nb.claims import experiments, registry

    entries = sorted((root / "data/claims/experiments").glob("*.toml"))
    registered = {f"data/results/{path.stem}": experiments.read(path.stem, path).sha256 for path in entries}
    for folder in ("data/results", *registered, "data/timings", "paper/figures"):
        for manifest in sorted((root / folder).glob("*.json")):
            told = json.loads(manifest.read_text(encoding="utf-8"))
            hashes = told["sha256"] if "table" not in told else {told["table"]: told["sha256"]}
            for name, sha256 in hashes.items():
                path = manifest.parent / name
                if not path.is_file():
                    yield f"{folder}/{name} is missing next to its manifest {manifest.name}."
                elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
                    yield f"{folder}/{name} must have the sha256 of its manifest {manifest.name}; one was changed."
            if folder in registered and told["entry"] != registered[folder]:
                table = f"{folder}/{told['table']}"
                yield f"{table} must belong to its experiment as registered; the entry was changed after its results."
    told = json.loads((root / "data/results/statements.json").read_text(encoding="utf-8"))
    if told["entry"] != registry.evidence_sha256(registry.read(root / "data/claims"), root / "data/results"):
        yield "data/results/statements.csv must follow from the registered statements and their rows; judge again."


def compiled(root, form="pdf"):
    """Return the PDF as bytes, set in the fonts that the compiler brings along, without the network or a date.

    form : "pdf" or "html".
    errors : ModuleNotFoundError without the compiler; ValueError, one sentence, for what it complains about.
    """
    import typst

    fonts = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True)
    source = root / "paper/lookahead.typ"
    try:
        how = {"root": root, "font_paths": fonts, "format": form, "sys_inputs": {"form": form}}
        document, warnings = typst.compile_with_warnings(source, **how)
    except typst.TypstError as error:
        raise ValueError(sentence(error)) from None
    for warning in warnings:  # a font that is missing is one
        if form == "html" and "html export" in warning.message.lower():  # new in the compiler, and of no pages
            continue
        raise ValueError(sentence(warning))
    return document


def sentence(complaint):
    """Return a complaint of the compiler in one line, with the place in the text that led to it."""
    places = re.findall(r"([\w.-]+\.(?:typ|bib):\d+):\d+", complaint.diagnostic)
    in_text = [place for place in places if not place.startswith(("data.typ", "look.typ"))]
    where = next(iter(in_text or places), "lookahead.typ")
    return f"paper/{where}: {complaint.message}."


if __name__ == "__main__":
    sys.exit(main())
