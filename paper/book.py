"""Write notebooks, write-up, verdicts, explorer and API reference into build/book/: pages that need no network.

All text reads without JavaScript; only the search and the explorer use it. Formulas are MathML, figures are SVG.
LOOKAHEAD_NB_BUILD names another folder than ``build``.

Exit code: 0; 1 if the write-up or the verdicts cannot be read; 2 if a package is missing or the call makes no sense.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASSETS = ROOT / "paper/book"
EXTRA = ("A single page to play with", "The same numbers as the package, in one file: drag retention and sync period.")
INTRODUCTION = (
    "Each claim of the article is split into statements that can be tested. The tables show the second trial, "
    "on generated tasks and real data sets; the first trial had a few tasks, chosen by hand. Percentages are "
    "of the gap between the loss of guessing and the best loss known for a task. Brackets hold 95 % confidence "
    "intervals, wider where a claim has several statements. A statement with &ldquo;usually&rdquo; must hold "
    "on average and on most tasks. One with &ldquo;may&rdquo; or &ldquo;can&rdquo; must matter on more than 5 "
    "% of the tasks. &ldquo;Cannot tell&rdquo; means that the evidence decides neither way."
)
GUIDE = ("article", "using", "speed", "reproducing")
FIGURE = "Figure: "  # a figure's text in a notebook begins with it


class Page(NamedTuple):
    """A page of the book.

    Attributes
    ----------
    name : str
        Of its file, without the ending.
    title : str
        Plain text.
    body : str
        HTML that begins with its only h1.
    summary : str
        A sentence for the contents, plain text.
    files : dict of str to bytes
        What the page shows, by path.
    """

    name: str
    title: str
    body: str
    summary: str
    files: dict[str, bytes]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code; without arguments, those of the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    folder = pathlib.Path(os.environ.get("LOOKAHEAD_NB_BUILD") or ROOT / "build").resolve() / "book"
    try:
        pages = [*guide(), *chapters(), write_up(), verdicts()]
        pages.insert(0, front(pages))
        write(pages, folder)
        script("api").write(folder / "api")
    except ModuleNotFoundError as error:
        advice = 'run "make book", which installs it, or pip install ".[reproduce,docs]" in a checkout'
        print(f"{error.name} is missing: {advice}.", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"wrote {folder / 'index.html'}")
    return 0


def script(name: str) -> Any:
    """Return a script that lies beside this one, as a module."""
    spec = spec_from_file_location(name, pathlib.Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ----------------------------------------------------------------------------------------------------------- markdown


def rendered(markdown: str) -> str:
    """Return Markdown as HTML, with formulas as MathML."""
    from latex2mathml.converter import convert
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def heading(self, text: str, level: int, **_: Any) -> str:
            return f'<h{level} id="{anchor(text)}">{text}</h{level}>\n'

        def block_math(self, body: str) -> str:
            return f'<div class="wide" tabindex="0">{convert(body, display="block")}</div>\n'

        multiline_math = block_math

        def inline_math(self, body: str) -> str:
            return str(convert(body))

        def table(self, text: str) -> str:
            return f'<div class="wide" tabindex="0"><table>\n{text}</table></div>\n'

    return str(MarkdownWithMath(renderer=Renderer(escape=False)).render(markdown))


def anchor(heading: str) -> str:
    """Return the id of a heading."""
    words = re.sub(r"<math.*?</math>|<[^>]*>|&[a-z0-9#]+;", "", heading.lower())
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-") or "section"


def plain(text: str) -> str:
    """Return the text of HTML."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))).strip()


def guide() -> Iterator[Page]:
    """Yield the pages that are written as Markdown next to the style sheet."""
    for name in GUIDE:
        body = rendered((ASSETS / f"{name}.md").read_text(encoding="utf-8"))
        yield page_of(name, f"paper/book/{name}.md", body, {})


def page_of(name: str, source: str, body: str, files: dict[str, bytes]) -> Page:
    """Return a page whose title is its heading, and whose summary is its first paragraph."""
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", body, re.DOTALL)
    answer = re.search(r"<p>(.*?)</p>", body, re.DOTALL)
    if heading is None or answer is None:
        raise ValueError(f"{source} must begin with a heading and a paragraph")
    return Page(name, plain(heading[1]), body, plain(answer[1]), files)


# ------------------------------------------------------------------------------------------------------------ notebooks


def chapters() -> Iterator[Page]:
    """Yield a page for each executed notebook."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        yield chapter(path.stem, json.loads(path.read_text(encoding="utf-8")))


def chapter(name: str, notebook: dict[str, Any]) -> Page:
    """Return the page of an executed notebook.

    Parameters
    ----------
    name : str
        Of the notebook's file, without the ending.
    notebook : dict
        In the format of Jupyter.
    """
    parts: list[str] = []
    files: dict[str, bytes] = {}
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(rendered(source))
        elif source.strip():
            parts.append(coloured(source))
        for output in cell.get("outputs", ()):
            parts.append(shown(output, f"{name}-{len(files) + 1}.svg", files))
    return page_of(name, f"notebooks/{name}.ipynb", "".join(parts), files)


def coloured(code: str) -> str:
    """Return Python code as HTML."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    block = str(highlight(code, PythonLexer(), HtmlFormatter(cssclass="wide code")))
    return block.replace("<div ", '<div tabindex="0" ', 1)


def shown(output: dict[str, Any], name: str, files: dict[str, bytes]) -> str:
    """Return an output of a cell as HTML; a figure is added to the files."""
    data = output.get("data", {})
    text = "".join(output.get("text", "") or data.get("text/plain", ""))
    if "image/svg+xml" in data:
        files[f"figures/{name}"] = "".join(data["image/svg+xml"]).encode()
        alt = html.escape(text.removeprefix(FIGURE), quote=True)
        return f'<p class="figure"><img src="figures/{name}" alt="{alt}"></p>\n'
    if "text/html" in data:
        frame = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
        frame = frame.replace(' border="1"', "")
        return f'<div class="wide" tabindex="0">{frame}</div>\n'
    return f'<pre class="wide output" tabindex="0">{html.escape(text)}</pre>\n'


# -------------------------------------------------------------------------------------------------- write-up, verdicts


def write_up() -> Page:
    """Return the page of the write-up, which says what the data say or is refused."""
    build = script("build")
    broken = next(build.flaws(ROOT), None)
    if broken:
        raise ValueError(broken)
    document = build.compiled(ROOT, "html").decode()
    title = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    body = re.search(r"<body>(.*)</body>", document, re.DOTALL)
    assert title is not None
    assert body is not None
    style = "".join(re.findall(r"<style>.*?</style>", document, re.DOTALL))
    text = re.sub(r"<table", '<div class="wide" tabindex="0"><table', body[1]).replace("</table>", "</table></div>")
    whole = f'<h1>{title[1]}</h1>\n<p>The same text <a href="lookahead.pdf">as a PDF</a>.</p>\n{style}{text}'
    files = {"lookahead.pdf": (ROOT / "paper/lookahead.pdf").read_bytes()}
    return Page("write_up", f"The write-up: {plain(title[1])}", whole, "Method, results and limits in one text.", files)


def verdicts() -> Page:
    """Return the page of all statements: what was said, tested, found and advised."""
    from lookahead_nb.claims import registry, wording

    statements = registry.read(ROOT / "data/claims")
    judged = registry.committed(statements, ROOT / "data/results")
    answers = wording.read(statements, ROOT / "data/claims/answers.toml")
    parts = ["<h1>All statements and their verdicts</h1>\n", f"<p>{INTRODUCTION}</p>\n"]
    for claim in dict.fromkeys(map(wording.claim_of, statements)):
        own = [each for each in statements.values() if wording.claim_of(each.id) == claim]
        answer = answers[claim]
        parts.append(f'<h2 id="{claim}">{claim}: {html.escape(own[0].article)}</h2>\n')
        rows = [
            (one.id, one.says, wording.verdict_of(one, judged), wording.finding(one, judged) or one.untestable)
            for one in own
        ]
        parts.append(table(("", "statement", "verdict", "what was found"), rows))
        said = {
            "In short": wording.filled(answer.found, judged),
            "Advice": answer.advice,
            "First trial": answer.first,
            "Why they differ": answer.why,
        }
        parts += [f"<p><strong>{label}.</strong> {html.escape(words)}</p>\n" for label, words in said.items()]
        parts.append(f'<p>Notebook: <a href="{own[0].notebook}.html">{own[0].notebook}</a></p>\n')
    summary = "What was tested and found, claim by claim."
    return Page("verdicts", "All statements and their verdicts", "".join(parts), summary, {})


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table as HTML."""
    first = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    others = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    body = f"<thead><tr>{first}</tr></thead>\n<tbody>{others}</tbody>"
    return f'<div class="wide text" tabindex="0"><table>{body}</table></div>\n'


def front(pages: list[Page]) -> Page:
    """Return the front page: the README, then the contents."""
    body = rendered((ROOT / "README.md").read_text(encoding="utf-8"))
    links = [(f"{page.name}.html", page.title, page.summary) for page in pages]
    links += [("explorer.html", *EXTRA), ("api/index.html", "API reference", "Every public name of the package.")]
    items = "".join(
        f'<li><a href="{link}">{html.escape(title)}</a>. {html.escape(words)}</li>\n' for link, title, words in links
    )
    names = set(re.findall(r'src="paper/(figures/[^"]+)"', body))
    files = {name: (ROOT / "paper" / name).read_bytes() for name in names}
    body = body.replace('src="paper/figures/', 'src="figures/')
    body += f'<h2 id="contents-of-the-book">Contents of the book</h2>\n<ol>{items}</ol>\n'
    return Page("index", "lookahead_nb", body, "", files)


# -------------------------------------------------------------------------------------------------------------- writing

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="book.css">
<script src="search.js" defer></script>
</head>
<body>
<a class="skip" href="#text">Skip to the text</a>
<header><a href="index.html">lookahead_nb</a> <a class="to-contents" href="#contents">Contents</a>
<div id="search" role="search"></div></header>
<main id="text">
{body}
<nav class="turn" aria-label="Previous and next">{turn}</nav>
</main>
<nav id="contents" aria-label="Contents"><ol>
{contents}
</ol></nav>
</body>
</html>
"""


def write(pages: list[Page], folder: pathlib.Path) -> None:
    """Write the pages, their figures, the explorer and the search index into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    links = {f"{page.name}.html": page.title for page in pages}
    links |= {"explorer.html": EXTRA[0], "api/index.html": "API reference"}
    for at, page in enumerate(pages):
        contents = "\n".join(
            f'<li><a href="{link}"{current(link == f"{page.name}.html")}>{html.escape(title)}</a></li>'
            for link, title in links.items()
        )
        turn = ""
        if at:
            turn += f'<a rel="prev" href="{pages[at - 1].name}.html">← {html.escape(pages[at - 1].title)}</a>'
        if at + 1 < len(pages):
            turn += f'<a rel="next" href="{pages[at + 1].name}.html">{html.escape(pages[at + 1].title)} →</a>'
        body = with_links(page.body, pages)
        text = TEMPLATE.format(title=html.escape(page.title), body=body, turn=turn, contents=contents)
        (folder / f"{page.name}.html").write_text(text, encoding="utf-8")
        for name, content in page.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    explorer = with_links((ROOT / "paper/explorer.html").read_text(encoding="utf-8"), pages)
    (folder / "explorer.html").write_text(explorer, encoding="utf-8")
    (folder / "book.css").write_text(style(), encoding="utf-8")
    index = json.dumps([entry for page in pages for entry in sections(page)], ensure_ascii=False)
    code = (ASSETS / "search.js").read_text(encoding="utf-8")
    (folder / "search.js").write_text(f"const SECTIONS = {index};\n{code}", encoding="utf-8")


def current(is_current: bool) -> str:
    """Return the attribute of a link to the page that is shown."""
    return ' aria-current="page"' if is_current else ""


def style() -> str:
    """Return the style sheet, with the colours of code for light and for dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=name).get_style_defs(".code") for name in ("friendly", "github-dark"))
    own = (ASSETS / "book.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def with_links(body: str, pages: list[Page]) -> str:
    """Let links into the checkout lead to pages of the book; what the book does not hold is no link."""
    names = {page.name for page in pages}
    files = {name for page in pages for name in page.files}

    def replaced(match: re.Match[str]) -> str:
        target, _, place = match[2].partition("#")
        if re.match(r"[a-z]+:", target) or not target:
            return match[0]
        file = pathlib.PurePosixPath(target).name
        stem = re.sub(r"\.(ipynb|html|md)$", "", file)
        if file == "README.md" and pathlib.PurePosixPath(target).parent.name in ("", ".."):
            link = "index.html"
        elif stem in names:
            link = f"{stem}.html"
        elif file in files | {"explorer.html"}:
            link = file
        elif target.startswith("api/"):
            link = target
        else:
            return match[4]
        return f'{match[1]}"{link}{"#" + place if place else ""}"{match[3]}{match[4]}</a>'

    return re.sub(r'(<a\b[^>]*?href=)"([^"]*)"([^>]*>)(.*?)</a>', replaced, body, flags=re.DOTALL)


class _Text(HTMLParser):
    """Collects the text of a page by its headings; formulas and code are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[str]] = [["", "", ""]]  # anchor, heading, text
        self._skipped, self._in_heading = 0, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("math", "pre", "style"):
            self._skipped += 1
        if tag in ("h1", "h2", "h3"):
            self.found.append([dict(attrs).get("id") or "", "", ""])
            self._in_heading = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("math", "pre", "style"):
            self._skipped -= 1
        if tag in ("h1", "h2", "h3"):
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.found[-1][1 if self._in_heading else 2] += data


def sections(page: Page) -> Iterator[dict[str, str]]:
    """Yield what the search finds of a page: a link, the titles, and the text of each section."""
    reader = _Text()
    reader.feed(page.body)
    for place, heading, text in reader.found:
        words = re.sub(r"\s+", " ", text).strip()
        if heading or words:
            link = f"{page.name}.html" + (f"#{place}" if place else "")
            yield {"link": link, "page": page.title, "heading": heading.strip(), "text": words}


if __name__ == "__main__":
    sys.exit(main())
