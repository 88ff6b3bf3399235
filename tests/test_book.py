"""The book needs no network and no JavaScript, every link leads somewhere, and a phone shows it."""

import html
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytest.importorskip("typst")
pytest.importorskip("pdoc")
pytest.importorskip("latex2mathml")
pytest.importorskip("nbconvert")

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = 400  # CSS pixels
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


def script():
    spec = spec_from_file_location("book", ROOT / "paper/book.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


book_script = script()


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder of the whole book."""
    place = tmp_path_factory.mktemp("build")
    command = [sys.executable, ROOT / "paper/book.py"]
    ran = subprocess.run(command, env=os.environ | {"LOOKAHEAD_NB_BUILD": str(place)}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"wrote {place / 'book' / 'index.html'}\n"
    return place / "book"


class Elements(HTMLParser):
    """Every start tag of a page with its attributes, in order."""

    def __init__(self, path):
        super().__init__()
        self.found = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def pages(book):
    """The pages that the book writes itself."""
    return [path for path in sorted(book.glob("*.html")) if path.name != "explorer.html"]


def test_the_book_has_a_page_for_each_notebook_and_for_all_else(book):
    notebooks = {f"{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    guide = {f"{path.stem}.html" for path in (ROOT / "paper/book").glob("*.md")}
    assert notebooks | guide | {"index.html", "write_up.html", "verdicts.html"} == {path.name for path in pages(book)}
    ours, theirs = ((folder / "explorer.html").read_text(encoding="utf-8") for folder in (book, ROOT / "paper"))
    assert ours.replace("index.html", "../README.md").replace("11_", "../notebooks/11_").replace(
        "11_verdicts.html", "11_verdicts.ipynb") == theirs  # fmt: skip
    found = Elements(book / "explorer.html").found
    ids, targets = {attrs.get("id") for _, attrs in found}, [attrs["href"] for tag, attrs in found if tag == "a"]
    assert targets
    assert all(target[1:] in ids if target.startswith("#") else (book / target).is_file() for target in targets)
    assert (book / "api/index.html").is_file()


def test_no_link_is_broken_and_nothing_is_loaded_from_elsewhere(book):
    ids = {path: {attrs["id"] for _, attrs in Elements(path).found if attrs.get("id")} for path in pages(book)}
    for path in pages(book):
        for tag, attrs in Elements(path).found:
            target = attrs.get("href") or attrs.get("src")
            if not target or target.startswith("data:"):
                continue
            if re.match(r"[a-z]+:", target):
                assert tag == "a", f"{path.name} loads {target}"
                continue
            name, _, place = target.partition("#")
            file = path.parent / name if name else path
            assert file.is_file(), f"{path.name} links to {target}"
            if place and file in ids:
                assert place in ids[file], f"{path.name} links to {target}"
    assert "http" not in re.sub(r"/\*.*?\*/", "", (book / "book.css").read_text(encoding="utf-8"), flags=re.DOTALL)


def test_headings_are_in_order_and_pictures_have_a_text(book):
    for path in pages(book):
        levels = [int(tag[1]) for tag, _ in Elements(path).found if tag in HEADINGS]
        assert levels[0] == 1, path.name
        assert levels.count(1) == 1, path.name
        for before, after in itertools.pairwise(levels):
            assert after <= before + 1, f"{path.name} goes from h{before} to h{after}"
        for tag, attrs in Elements(path).found:
            assert tag != "img" or len(attrs.get("alt", "")) > 20, f"{path.name}: {attrs.get('src', '')[:60]}"
        ids = [attrs["id"] for _, attrs in Elements(path).found if attrs.get("id")]
        assert len(ids) == len({*ids}), f"{path.name} has an id twice: {sorted(ids)}"


def test_formulas_are_mathml_and_none_is_left_in_latex(book):
    formulas = 0
    for path in pages(book):
        text = path.read_text(encoding="utf-8")
        formulas += text.count("<math")
        words = re.sub(r"<(pre|math|style)\b.*?</\1>", "", text, flags=re.DOTALL)
        assert not re.search(r"\$[^$<]*\\[a-z]+", words), path.name
        assert "\\frac" not in words, path.name
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "notebooks/source").glob("*.py")]
    assert formulas > sum(text.count("$$") for text in sources) // 2 > 5


def test_every_text_of_a_notebook_and_every_statement_can_be_read(book):
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", (book / f"{path.stem}.html").read_text("utf-8"))).split())
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for line in "".join(cell["source"]).splitlines():
                if cell["cell_type"] == "markdown" and re.fullmatch(r"[A-Za-z ,.]{40,}", line):
                    assert " ".join(line.split()) in text, (path.name, line)
    listed = (book / "verdicts.html").read_text(encoding="utf-8")
    for path in (ROOT / "data/claims").glob("C*.toml"):
        for name in re.findall(r"^\[(C\d+[a-z]?)\]", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"<td>{name}</td>" in listed, name


def test_the_write_up_has_its_abstract_and_a_caption_for_every_figure_and_table(book):
    text = (book / "write_up.html").read_text(encoding="utf-8")
    assert "<strong>Abstract.</strong>" in text
    assert text.count("<figure") == text.count("<figcaption") > 20


def test_the_search_knows_every_page(book):
    text = (book / "search.js").read_text(encoding="utf-8")
    entries = json.loads(text.split("const SECTIONS = ", 1)[1].split(";\n", 1)[0])
    assert {entry["link"].partition("#")[0] for entry in entries} == {path.name for path in pages(book)}
    assert not any("<" in entry["heading"] for entry in entries)


def test_links_into_the_checkout_lead_to_pages_or_are_text():
    here = [
        book_script.Page("02_retention", "", "", "", {}),
        book_script.Page("w", "", "", "", {"lookahead.pdf": b""}),
    ]
    body = (
        '<a href="notebooks/02_retention.ipynb#x">a</a> <a href="data/x.csv">b <em>c</em></a> '
        '<a href="paper/lookahead.pdf">d</a> <a href="https://example.org">e</a> <a href="#f">f</a> '
        '<a href="../../README.md">g</a> <a href="../../data/README.md">h</a>'
    )
    assert book_script.with_links(body, here) == (
        '<a href="02_retention.html#x">a</a> b <em>c</em> '
        '<a href="lookahead.pdf">d</a> <a href="https://example.org">e</a> <a href="#f">f</a> '
        '<a href="index.html">g</a> h'
    )


def test_a_notebook_without_a_question_is_refused():
    with pytest.raises(ValueError, match=r"notebooks/x\.ipynb must begin with a heading and a paragraph"):
        book_script.chapter("x", {"cells": [{"cell_type": "markdown", "source": ["words"]}]})


FRAMES = """<!DOCTYPE html><meta charset="utf-8"><body><script>
const names = NAMES, told = {};
let left = names.length;
for (const name of names) {
  const frame = document.createElement("iframe");
  frame.style.cssText = "width: WIDTHpx; height: 800px; border: 0";
  frame.onload = () => {
    const page = frame.contentDocument;
    const field = page.querySelector("#search input");
    field.value = "momentum sync";
    field.dispatchEvent(new Event("input"));
    told[name] = {
      width: page.documentElement.scrollWidth,
      hits: page.querySelectorAll("#search li a").length,
      loaded: frame.contentWindow.performance.getEntriesByType("resource").map((each) => each.name),
    };
    if (!--left) document.body.textContent = JSON.stringify(told);
  };
  frame.src = name;
  document.body.append(frame);
}
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium on the PATH")
def test_a_phone_shows_every_page_in_its_width_and_nothing_is_requested(book):
    names = [path.name for path in pages(book)]
    frames = book / "frames.html"
    frames.write_text(FRAMES.replace("NAMES", json.dumps(names)).replace("WIDTH", str(PHONE)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    command = [CHROMIUM, *options, "--virtual-time-budget=60000", frames.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    frames.unlink()
    told = json.loads(html.unescape(re.search(r"<body>(\{.*\})", ran.stdout, re.DOTALL)[1].split("</body>")[0]))
    assert {*told} == {*names}
    for name, each in told.items():
        assert each["width"] <= PHONE, f"{name} is {each['width']} pixels wide"
        assert all(loaded.startswith("file:") for loaded in each["loaded"]), name
        assert each["hits"], name
