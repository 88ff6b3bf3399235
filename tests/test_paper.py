"""The write-up holds no number of its own, says what the data say or is not built, and is the same bytes every time."""

import hashlib
import importlib.util
import json
import re
import shutil
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from lookahead_nb import claims
from lookahead_nb.claims import report

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [ROOT / "paper/lookahead.typ", ROOT / "paper/results.typ"]
VERDICTS = "data/results/verdicts.csv"

of_texts = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)


# ------------------------------------------------------------------------------------------------------------- source

NOT_PROSE = re.compile(
    r"^\s*//.*$|^ *#let .*$"  # comments and definitions
    r"|`[^`]*`|\$[^$]*\$|[(,:=]\s*\"[^\W\d][^\"\n]*\""  # code, formulas, names of effects
    r"|=> [^)\n]*\)|\d+(?:\.\d+)?pt|FAQ \d\.\d",  # what a number is held against, lengths, sections of the article
    re.M,
)
DECIMAL = re.compile(r"\d+\.\d+|\d[ ~]?%|×\d")


def numbers_in(text):
    return DECIMAL.findall(NOT_PROSE.sub(" ", text))


@of_texts
def test_text_states_no_number_that_the_data_should_give(path):
    assert numbers_in(path.read_text(encoding="utf-8")) == []


def test_text_check_finds_numbers():
    assert numbers_in('it is 4.84 times, 3 % or 3~%, "0.5", ×2') == ["4.84", "3 %", "3~%", "0.5", "×2"]
    assert numbers_in('#yes("C05", "slower, 0.5") `lr=0.1` $0.5$ (FAQ 8.1)\n// 0.3\n#let x = 0.4\n0.6pt') == []
    assert numbers_in('#yes("C05", "slower") 1.5 #where(x, x => x < 0.8) 2.5') == ["1.5", "2.5"]


@of_texts
def test_the_greek_letter_never_stands_alone(path):
    assert re.findall(r"(?i)alpha|α", path.read_text(encoding="utf-8").replace("faq_8_1_alpha", "")) == []


def test_every_claim_has_its_text_and_every_source_stays_in_the_house():
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "paper").glob("*.typ")}
    assert sorted(re.findall(r'#claim\("(C\d\d)"', sources["results.typ"])) == sorted(
        claims.read(ROOT / "data/claims.toml")
    )
    assert [name for name, text in sources.items() if re.search(r"@preview|://", text)] == []


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
    """A checkout with a write-up of before, in which the verdicts and the look may be changed."""
    paths = (VERDICTS, "data/results/verdicts.json", "paper/look.typ", "data/claims.toml")
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
    """Let edit change the frame of the verdicts, and its manifest go with it."""
    path = checkout / VERDICTS
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    path.write_text(edit(frame.set_index(["claim", "effect"])).reset_index()[[*frame]].to_csv(index=False))
    manifest = json.loads(path.with_suffix(".json").read_text())
    manifest["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(manifest))


def with_values(claim, effect, **values):
    def edit(frame):
        for column, value in values.items():
            frame.loc[(claim, effect), column] = value
        return frame

    return edit


def test_missing_compiler_is_one_sentence(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    code, complaint = refused()
    assert code == 2
    assert complaint.startswith('typst is missing: run "make paper"')


def test_a_table_that_is_not_that_of_its_manifest_is_not_set(refused, checkout):
    (checkout / VERDICTS).write_text((checkout / VERDICTS).read_text().replace("0", "1", 1))
    said = f"{VERDICTS} must have the sha256 of its manifest verdicts.json; one was changed.\n"
    assert refused() == (1, said)


def test_a_missing_table_is_one_sentence(refused, checkout):
    (checkout / VERDICTS).unlink()
    assert refused() == (1, f"{VERDICTS} is missing beside its manifest verdicts.json.\n")


def test_a_claim_that_was_changed_after_its_results_is_not_set(refused, checkout):
    register = checkout / "data/claims.toml"
    text = register.read_text(encoding="utf-8")
    register.write_text(text.replace("seeds = 40", "seeds = 41", 1), encoding="utf-8")
    code, complaint = refused()
    assert code == 1
    said = r"data/results/C\d\d(_tuning)?\.csv must belong to a registered claim; the claim was changed .*\n"
    assert re.fullmatch(said, complaint)


def test_a_missing_register_is_one_sentence(refused, checkout):
    (checkout / "data/claims.toml").unlink()
    code, complaint = refused()
    assert code == 1
    assert complaint.endswith("data/claims.toml cannot be read: No such file or directory\n")


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
        assert b"Lookahead, on trial" in inside
        assert [each for each in (str(checkout), str(ROOT), "CreationDate") if each.encode() in inside] == []
        assert 8 <= len(re.findall(rb"/Type ?/Page\b", inside)) <= 12

    @pytest.mark.parametrize(
        ("edit", "sentence"),
        [
            (
                with_values("C14", "tuning them pays", outcome="yes"),
                'the text takes the effect "tuning them pays" of C14 to be no, the data say yes',
            ),
            (
                with_values("C17", "ends lower than tuned averaging", low="-0.001"),
                'the text takes the effect "ends lower than tuned averaging" of C17 to lie "above", '
                "the data say across",
            ),
            (
                lambda frame: frame.drop(("C07", "1 like 5")),
                'verdicts.csv must have one effect "1 like 5" of C07',
            ),
            (
                lambda frame: frame.assign(verdict=frame["verdict"].replace("refuted", "supported")),
                "the text takes C05 to be refuted, the data say supported",
            ),
        ],
        ids=["outcome", "side", "effect", "verdict"],
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

    def test_claims_without_results_are_told_as_such(self, build, checkout):
        change(checkout, lambda frame: frame.drop(["C01", "C20"]))
        assert build.main(["--root", str(checkout)]) == 0

    def test_numbers_are_those_of_the_command_line(self, typst, checkout):
        source = checkout / "paper/probe.typ"
        source.write_text(
            '#import "data.typ": *\n'
            "#metadata(effects.map(row => (row.claim, row.effect, interval-of(row), criterion-of(row)))) <told>\n"
        )
        told = json.loads(typst.query(source, "<told>", field="value", one=True, root=checkout))
        source.unlink()
        frame = pd.read_csv(checkout / VERDICTS)
        assert len(told) == len(frame)
        plain = str.maketrans("\u2212\u00a0", "- ")
        for (claim, effect, interval, _), row in zip(told, frame.itertuples(), strict=True):
            assert (claim, effect) == (row.claim, row.effect)
            size = dict(zip(("size", "low", "high"), (row.size, row.low, row.high), strict=True))
            expected = report.interval(SimpleNamespace(scale=row.scale), size)
            assert interval.translate(plain) == (expected if row.low != row.high else expected.partition(" [")[0])
        criteria = {criterion.translate(plain) for *_, criterion in told}
        assert {"> ×1.25", "< ×0.909", "within ×1.1", "within ±1 %", "< -0.05", "< -0.2 %"} <= criteria
