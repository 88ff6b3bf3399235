"""The write-up holds no number of its own, says what the data say or is not built, and is the same bytes every time."""

import hashlib
import importlib.util
import json
import re
import shutil
import sys
import zlib
from pathlib import Path

import pandas as pd
import pytest

from lookahead_nb.claims import modality, registry, wording

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [ROOT / "paper" / f"{name}.typ" for name in ("lookahead", "results", "appendix")]
MOST_PAGES = 10  # of the text with its references; the appendices come on top
STATEMENTS = "data/results/statements.csv"
EXPERIMENT, CLAIM = "data/claims/experiments/trial.toml", "data/claims/C08.toml"

of_texts = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)


# ------------------------------------------------------------------------------------------------------------- source

NOT_PROSE = re.compile(
    r"^\s*//.*$|^ *#let .*$"  # comments and definitions
    r"|`[^`]*`|\$[^$]*\$|[(,:=]\s*\"[^\W\d][^\"\n]*\""  # code, formulas, names of contrasts
    r"|=> [^)\n]*\)|\d+(?:\.\d+)?pt",  # what a number is compared with, lengths
    re.M,
)
DECIMAL = re.compile(r"\d+\.\d+|\d[ ~]?%|×\d")
LEVEL = re.compile(r"95~%\s+confidence interval")


def numbers_in(text):
    return DECIMAL.findall(NOT_PROSE.sub(" ", LEVEL.sub("", text)))


@of_texts
def test_text_states_no_number_that_the_data_should_give(path):
    assert numbers_in(path.read_text(encoding="utf-8")) == []


def test_text_check_finds_numbers():
    assert numbers_in('it is 4.84 times, 3 % or 3~%, "0.5", ×2') == ["4.84", "3 %", "3~%", "0.5", "×2"]
    assert numbers_in('#effect("C05", "slower, 0.5") `lr=0.1` $0.5$\n// 0.3\n#let x = 0.4\n0.6pt') == []
    assert numbers_in('#effect("C05", "slower") 1.5 #where(x, x => x < 0.8) 2.5') == ["1.5", "2.5"]


@of_texts
def test_the_greek_letter_never_stands_alone(path):
    assert re.findall(r"(?i)alpha|α", path.read_text(encoding="utf-8")) == []


@of_texts
def test_no_semicolon_follows_a_number_since_the_compiler_would_drop_it(path):
    assert re.findall(r"[^\n]*\);\s", path.read_text(encoding="utf-8")) == []


def test_claims_are_registered_and_every_source_stays_in_the_checkout():
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "paper").glob("*.typ")}
    statements = registry.read()
    named = {*re.findall(r'"(C\d\d[a-z]?)"', "".join(sources.values()))}
    assert named - {"C15"} <= {*statements}  # the letters of C15 are added to it
    assert {*re.findall(r"\bC\d\d\b", "".join(sources.values()))} <= {wording.claim_of(name) for name in statements}
    assert [name for name, text in sources.items() if re.search(r"@preview|://", text)] == []


def test_every_reference_is_cited_and_every_citation_has_one():
    entries = re.findall(r"^@\w+\{(\w+),", (ROOT / "paper/references.bib").read_text(encoding="utf-8"), re.M)
    text = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    cited = {name for name in re.findall(r"@(\w+)", text) if re.search(r"[a-z](19|20)\d\d", name)}
    assert len(entries) == len({*entries})
    assert cited == {*entries}


# -------------------------------------------------------------------------------------------------------------- build


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("build", ROOT / "paper/build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("paper", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pdf.tmp", "lookahead.pdf"))
    return folder


@pytest.fixture
def checkout(copied):
    """A checkout with an older write-up, in which the verdicts, an experiment and the look may be changed."""
    paths = (STATEMENTS, "data/results/statements.json", "paper/look.typ", EXPERIMENT, CLAIM)
    kept = {path: (copied / path).read_bytes() for path in paths}
    (copied / "paper/lookahead.pdf").write_bytes(b"of before")
    yield copied
    for path, content in kept.items():
        (copied / path).write_bytes(content)


@pytest.fixture
def refused(build, checkout, capsys):
    """Build, which has to fail without touching what was there; return the exit code and the complaint."""

    def call():
        before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}
        code = build.main(["--root", str(checkout)])
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*")} == before
        assert (checkout / "paper/lookahead.pdf").read_bytes() == b"of before"
        return code, err

    return call


def change(checkout, edit):
    """Let edit change the frame of the verdicts, and update its manifest."""
    path = checkout / STATEMENTS
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    path.write_text(edit(frame.set_index(["id", "contrast", "class"])).reset_index()[[*frame]].to_csv(index=False))
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(manifest))


def with_values(statement, contrast, kind="all", **values):
    def edit(frame):
        for column, value in values.items():
            frame.loc[(statement, contrast, kind), column] = value
        return frame

    return edit


def test_missing_compiler_is_one_sentence(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    code, complaint = refused()
    assert code == 2
    assert complaint.startswith('typst is missing: run "make paper"')


def test_a_table_that_is_not_that_of_its_manifest_is_not_set(refused, checkout):
    (checkout / STATEMENTS).write_text((checkout / STATEMENTS).read_text().replace("0", "1", 1))
    said = f"{STATEMENTS} must have the sha256 of its manifest statements.json; one was changed.\n"
    assert refused() == (1, said)


def test_a_missing_table_is_one_sentence(refused, checkout):
    (checkout / STATEMENTS).unlink()
    assert refused() == (1, f"{STATEMENTS} is missing next to its manifest statements.json.\n")


def test_an_experiment_that_was_changed_after_its_results_is_not_set(refused, checkout):
    entry = checkout / EXPERIMENT
    text = entry.read_text(encoding="utf-8")
    entry.write_text(text.replace("replicates = 4", "replicates = 5", 1), encoding="utf-8")
    table = "data/results/trial/00.csv"
    said = f"{table} must belong to its experiment as registered; the entry was changed after its results.\n"
    assert refused() == (1, said)


def test_a_statement_that_was_changed_after_its_verdict_is_not_set(refused, checkout):
    claim = checkout / CLAIM
    text = claim.read_text(encoding="utf-8")
    claim.write_text(text.replace('controls = ["adam"]', 'controls = ["adamw"]', 1), encoding="utf-8")
    said = f"{STATEMENTS} must follow from the registered statements and their rows; judge again.\n"
    assert refused() == (1, said)


def test_an_experiment_that_cannot_be_read_is_one_sentence(refused, checkout):
    (checkout / EXPERIMENT).write_text("replicates = ")
    code, complaint = refused()
    assert code == 1
    assert "trial.toml" in complaint


class TestCompiled:
    """What needs the compiler."""

    @pytest.fixture(autouse=True)
    def typst(self):
        return pytest.importorskip("typst", reason="needs the extra [reproduce]")

    def test_the_same_bytes_twice_without_a_date_or_a_path(self, build, checkout, capsys):
        documents = []
        for _ in range(2):
            assert build.main(["--root", str(checkout)]) == 0
            documents.append((checkout / "paper/lookahead.pdf").read_bytes())
        assert re.fullmatch(r"(wrote paper/lookahead\.pdf, \d\.\d MB\n){2}", capsys.readouterr().out)
        assert documents[0] == documents[1]
        streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", documents[0], re.S)
        inside = documents[0] + b"".join(zlib.decompressobj().decompress(each) for each in streams if each[:1] == b"x")
        assert b"What is left of Lookahead" in inside
        assert [each for each in (str(checkout), str(ROOT), "CreationDate") if each.encode() in inside] == []

    def test_the_text_has_ten_pages_at_most_and_the_appendices_show_every_statement(self, typst, checkout):
        ask = {"field": "value", "one": True, "root": checkout}
        assert json.loads(typst.query(checkout / "paper/lookahead.typ", "<last-page>", **ask)) <= MOST_PAGES

    @pytest.mark.parametrize(
        ("edit", "sentence"),
        [
            (
                with_values("C14", "primary", verdict="holds"),
                'the text takes C14, contrast "primary", class "all" to be "the opposite holds", the data say "holds"',
            ),
            (
                with_values("C08a", "both_linear", low="-0.001"),
                'the text takes C08a, contrast "both_linear", class "all" to lie "above", the data say "across"',
            ),
            (
                with_values("C08a", "both_linear", high="0.02"),
                'the text presumes whether C08a, contrast "both_linear", class "all" matters, the data differ',
            ),
            (
                with_values("C08a", "fast_weights", "step-limited", steps_high="1.1"),
                'the text takes C08a, contrast "fast_weights", class "step-limited" to be worth below, '
                "the data say across",
            ),
            (
                with_values("C08a", "against_adamw", share="0.6"),
                "the text presumes something of 0.6 that does not hold",
            ),
            (
                lambda frame: frame.drop(("C15b", "primary", "all")),
                'statements.csv must have one row of C15b, contrast "primary", class "all"',
            ),
        ],
        ids=["verdict", "side", "margin", "steps", "number", "row"],
    )
    def test_a_result_that_the_text_does_not_bear_out_stops_the_build(self, refused, checkout, edit, sentence):
        change(checkout, edit)
        code, complaint = refused()
        assert code == 1
        assert re.match(r"paper/(results|lookahead)\.typ:\d+: assertion failed: ", complaint)
        assert complaint.endswith(f"{sentence}.\n")

    def test_a_missing_font_is_one_sentence(self, refused, checkout):
        look = checkout / "paper/look.typ"
        look.write_text(look.read_text(encoding="utf-8").replace("Libertinus Serif", "Nobody's Sans"), encoding="utf-8")
        code, complaint = refused()
        assert code == 1
        assert re.match(r"paper/look\.typ:\d+: unknown font family: nobody's sans\.\n", complaint)

    def test_findings_are_those_of_the_command_line(self, typst, checkout):
        source = checkout / "paper/probe.typ"
        source.write_text(
            '#import "data.typ": *\n'
            "#metadata(statements.map(each => (each.id, verdict-of(each), finding(each)))) <statements>\n"
            "#metadata(judged.map(row => size-of(row))) <sizes>\n"
        )
        ask = {"field": "value", "one": True, "root": checkout}
        told = json.loads(typst.query(source, "<statements>", **ask))
        sizes = json.loads(typst.query(source, "<sizes>", **ask))
        source.unlink()
        frame = pd.read_csv(checkout / STATEMENTS)
        units = {"gap": " of the gap", "error": " of the rows", "runs": " of the runs", "steps": " steps", "ratio": ""}
        units |= {"samples": " of the samples", "modes": " of the modes", "return": " of the highest return"}

        def plain(text):
            return text.translate(str.maketrans("\u2212\u00a0", "- "))

        def without_unit(text, scale):
            return text.replace(f"{units[scale]} [", " [", 1)

        expected = [without_unit(wording.size(row), row["scale"]) for _, row in frame.iterrows()]
        assert [plain(size) for size in sizes] == expected
        known = registry.read()
        assert [name for name, *_ in told] == [*known]
        for name, verdict, found in told:
            statement = known[name]
            assert verdict == wording.verdict_of(statement, frame)
            row = wording.row_of(frame, name)
            words = wording.finding(statement, frame).replace("where more steps would help, worth", "worth")
            if row is not None:
                words = without_unit(words, row["scale"])
            assert plain(found).replace("costs ", "cost ") == words

    def test_rules_by_wording_are_those_that_judge(self, typst, checkout):
        source = checkout / "paper/probe.typ"
        source.write_text('#import "data.typ": *\n#metadata(rules-by-modality) <rules>\n')
        rules = json.loads(typst.query(source, "<rules>", field="value", one=True, root=checkout))
        source.unlink()
        assert rules == modality.MODALITIES
