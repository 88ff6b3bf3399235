"""Verifying: nothing that is committed may differ from what its sources give, whatever is edited."""

import contextlib
import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from test_notebooks import load_runner

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments
from lookahead_nb.figures import catalogue
from tests.support import small_trial

pytestmark = pytest.mark.no_kernel

pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ("procedure_worth", "convergence_cycle", "performance_steps")  # of all, those whose tables are changed here


@pytest.fixture(scope="module")
def reproduce():
    return load_runner()


KINDS = {"notebooks": "notebooks", "results": "data/results", "figures": "paper/figures"}
TABLES = ("convergence_cycle", "convergence_phases", "procedure_worth", "quick_start")
PAGE = "<!-- claims faq -->\n<!-- /claims -->\n\n<!-- claims all -->\n<!-- /claims -->\n"


@pytest.fixture(scope="module")
def copied(reproduce, tmp_path_factory):
    """A small trial, its README, and some of what is committed: tables, times, figures and a notebook."""
    root = tmp_path_factory.mktemp("checkout")
    small_trial.write(root)
    for folder, stems in {
        "data/results": TABLES, "data/timings": ("flat_step",), "paper/figures": FIGURES,
        "notebooks": ("00_quick_start",),
    }.items():  # fmt: skip
        (root / folder).mkdir(parents=True, exist_ok=True)
        for path in (ROOT / folder).iterdir():
            if path.stem in stems and path.is_file():
                shutil.copyfile(path, root / folder / path.name)
    (root / "paper/book").mkdir(parents=True)
    for page in ("README.md", "paper/book/article.md"):
        (root / page).write_text(PAGE)
    with contextlib.chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "SHARD", 2)
        patch.setattr(reproduce, "ROOT", root)
        patch.setattr(reproduce, "COMMITTED", {"results": root / "data/results"})
        for page, way_back in reproduce.wording.pages().items():
            text = reproduce.wording.with_tables(PAGE, *reproduce.verdicts(), way_back)
            (root / page).write_text(text, encoding="utf-8", newline="\n")
    return root


@pytest.fixture(scope="module")
def drawn():
    """The catalogue's ``draw``, which remembers what it found for the same tables and the same committed figure."""
    draw, found = catalogue.draw, {}

    def remembered(name, *, folder):
        sources = [*catalogue.entry(name).paths(), tables.checkout() / f"paper/figures/{name}.json"]
        key = name, *(path.read_bytes() for path in sources)
        if key not in found:
            found[key] = draw(name, folder=folder)  # what it refuses it is asked again
        return found[key]

    return remembered


@pytest.fixture
def checked(reproduce, copied, drawn, tmp_path, monkeypatch):
    """What is committed, with a build that recomputed the same; returns its root and what disagrees."""
    root = tmp_path / "checkout"
    shutil.copytree(copied, root)
    committed, build = {kind: root / folder for kind, folder in KINDS.items()}, root / "build"
    for kind, folder in committed.items():
        shutil.copytree(folder, build / kind)
    monkeypatch.setattr(reproduce, "ROOT", root)
    monkeypatch.setattr(reproduce, "COMMITTED", committed)
    monkeypatch.setattr(catalogue, "draw", drawn)
    monkeypatch.setattr(reproduce, "write_up_that_differs", list)  # it needs all results, and has a test below
    monkeypatch.setattr(reproduce, "experiments_that_differ", list)  # likewise; the rows here are written by hand
    monkeypatch.setattr(experiments, "SHARD", 2)
    monkeypatch.setenv("LOOKAHEAD_NB_BUILD", str(build))
    monkeypatch.chdir(root)

    def disagreements():
        rows = [row for kind in committed for row in reproduce.compare(kind, build, everything=True)]
        return [*reproduce.disagreements(rows, build)]

    return root, disagreements


def edit(path, pattern, replacement):
    text = path.read_text(encoding="utf-8")
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed, encoding="utf-8", newline="\n")


def forge(folder, factor, column="measured_variance"):
    """Multiply a column of a table, with a manifest that agrees."""
    frame = tables.read_table(folder / "convergence_cycle.csv")
    frame[column] *= factor
    tables.write_table(frame, "convergence_cycle", folder=folder)


def test_what_is_committed_is_what_its_sources_give(checked):
    _, disagreements = checked
    assert disagreements() == []


def test_another_version_that_gives_the_same_is_no_difference(checked):
    root, disagreements = checked
    for manifest in (root / "build/results").glob("*.json"):
        edit(manifest, r'"lookahead-nb": "[^"]*"', '"lookahead-nb": "9.9.9"')
    assert disagreements() == []


def test_an_edited_number_is_found_though_its_manifest_agrees(checked):
    root, disagreements = checked
    forge(root / "data/results", 1.5)
    told = disagreements()
    assert any(sentence.startswith("table convergence_cycle: ") for sentence in told)
    assert "paper/figures/convergence_cycle: is not what the committed tables give" in told


def test_an_edited_time_is_found_though_its_manifest_agrees(checked):
    root, disagreements = checked
    folder = root / "data/timings"
    times = tables.read_table(folder / "flat_step.csv")
    times.loc[(times["library"] == "optax") & (times["optimizer"] == "Lookahead"), "times_ours"] *= 1.5
    tables.write_table(times, "flat_step", folder=folder)
    assert disagreements() == ["paper/figures/performance_steps: is not what the committed tables give"]


def test_a_table_of_times_that_is_not_the_one_of_its_manifest_is_found(reproduce, checked):
    root, disagreements = checked
    edit(root / "data/timings/flat_step.csv", r"(?m)^10000,", "10001,")
    (sentence,) = disagreements()
    assert sentence.startswith("paper/figures/performance_steps: flat_step.csv must have the sha256 of its manifest")
    assert reproduce.flaw(root / "data/timings/flat_step.csv").startswith(
        "data/timings/flat_step.csv: flat_step.csv must"
    )


def test_an_edited_number_is_found_in_the_readme(checked):
    root, disagreements = checked
    edit(root / "README.md", r"(\| C30a \|.* )\d+\.\d( % of the gap)", r"\g<1>99.9\g<2>")
    assert disagreements() == ["README.md: its tables are not those of the committed results"]


def test_an_edited_figure_is_found(checked):
    root, disagreements = checked
    drawing = root / "paper/figures/procedure_worth.svg"
    edit(drawing, "#0173b2", "#0173b3")
    assert disagreements() == [
        "figure procedure_worth: differs: .svg",
        "paper/figures/procedure_worth.svg: is not the one of its manifest",
    ]
    manifest = drawing.with_suffix(".json")
    told = json.loads(manifest.read_text())
    told["sha256"][drawing.name] = sha256(drawing.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(told, indent=1) + "\n")
    told = disagreements()
    assert told[0] == "figure procedure_worth: drawn otherwise: .svg, .json"
    if json.loads(drawing.with_suffix(".json").read_text())["drawn_with"] == figures.drawn_with():
        assert told[1:] == ["paper/figures/procedure_worth: is not what the committed tables give"]


def test_an_edited_experiment_is_found(checked):
    root, disagreements = checked
    edit(root / "data/claims/experiments/one.toml", "replicates = 2", "replicates = 3")
    (sentence,) = disagreements()
    assert sentence.startswith("data/claims: 00.csv must belong to the experiment 'one' as registered")


def test_an_edited_notebook_is_found(checked):
    root, disagreements = checked
    edit(root / "notebooks/00_quick_start.ipynb", r"(\\n1000 +\w+ +0\.)\d|(0\.0)\d", r"\g<2>7")
    (sentence,) = disagreements()
    assert sentence.startswith("notebook 00_quick_start: ")


def test_what_is_made_must_be_committed(checked):
    root, disagreements = checked
    (root / "data/results/quick_start.csv").unlink()
    assert "table quick_start: is made and not committed" in disagreements()


def as_if_committed_elsewhere(root):
    for manifest in (root / "data/results").glob("*.json"):
        edit(manifest, r'"cpu_class": "[^"]*"', '"cpu_class": "6502"')


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_number_of_training_is_the_same_bits_on_every_class_of_cpu(checked, elsewhere):
    root, disagreements = checked
    if elsewhere:
        as_if_committed_elsewhere(root)
    forge(root / "build/results", 1 + 2**-51)
    (sentence,) = disagreements()
    assert re.match(r"table convergence_cycle: differs: largest relative difference \de-16, in measured_var", sentence)


def test_a_number_without_training_is_the_same_within_the_tolerance(reproduce, checked):
    root, disagreements = checked
    forge(root / "build/results", 1 + reproduce.TOLERANCE / 2, "predicted_rate")
    assert disagreements() == []
    forge(root / "build/results", 1 + 2 * reproduce.TOLERANCE, "predicted_rate")
    (sentence,) = disagreements()
    assert sentence.startswith("table convergence_cycle: differs: largest relative difference ")


def draw_otherwise(root, name):
    """Change a recomputed figure, with a manifest that agrees."""
    drawing = root / f"build/figures/{name}.svg"
    drawing.write_text(drawing.read_text(encoding="utf-8") + " ", encoding="utf-8")
    manifest = drawing.with_suffix(".json")
    told = json.loads(manifest.read_text())
    told["sha256"][drawing.name] = sha256(drawing.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(told, indent=1) + "\n")


def test_a_figure_may_follow_from_its_own_tables_alone(reproduce, checked):
    root, disagreements = checked
    draw_otherwise(root, "convergence_cycle")
    expected = "figure convergence_cycle: drawn otherwise: .svg, .json"
    assert disagreements() == [expected]
    forge(root / "build/results", 1 + reproduce.TOLERANCE / 2, "predicted_rate")
    assert disagreements() == []
    draw_otherwise(root, "procedure_worth")
    assert disagreements() == ["figure procedure_worth: drawn otherwise: .svg, .json"]


@pytest.mark.parametrize(
    ("table", "notebook", "found"),
    [
        ("procedure_worth", "10c_procedure", 0),
        ("procedure_worth", "06_convergence", 1),
        ("convergence_gaps", "06_convergence", 0),
        ("statements", "11_verdicts", 0),
        ("statements", "00_quick_start", 1),
        ("", "06_convergence", 1),
    ],
)
def test_a_last_printed_digit_may_follow_from_the_tables_of_the_notebook_alone(reproduce, table, notebook, found):
    rows = [(f"table {table}", f"{reproduce.WITHIN}: ..."), (f"notebook {notebook}", reproduce.ROUNDED)]
    told = reproduce.differences(rows if table else rows[1:])
    assert told == [f"notebook {notebook}: {reproduce.ROUNDED}"] * found


def test_verifying_takes_all_and_replaces_nothing(reproduce, monkeypatch, capsys):
    for arguments, write in ((["--verify", "00"], "0"), (["--verify"], "1")):
        monkeypatch.setenv("WRITE", write)
        with pytest.raises(SystemExit) as stopped:
            reproduce.main(arguments)
        assert stopped.value.code == 2
        assert "--verify takes all notebooks and replaces nothing" in capsys.readouterr().err


def test_an_edited_write_up_is_found(reproduce, tmp_path, monkeypatch):
    pytest.importorskip("typst")
    assert reproduce.write_up_that_differs() == []
    for name in ("paper", "data"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    document = tmp_path / "paper/lookahead.pdf"
    document.write_bytes(document.read_bytes() + b"\n")
    assert reproduce.write_up_that_differs() == [
        "paper/lookahead.pdf: is not what its text and the committed data give"
    ]
    edit(tmp_path / "data/results/statements.csv", '"holds, and matters"', "mixed")
    (sentence,) = reproduce.write_up_that_differs()
    assert sentence.startswith("paper/")


def test_an_experiment_without_local_data_is_told_and_left_out(reproduce, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "to_recompute", lambda *_: [])
    monkeypatch.setattr(experiments, "differing", None)
    assert [*reproduce.experiments_that_differ()] == []
    told = capsys.readouterr().out.splitlines()
    assert "not recomputed: no data set of letters is available locally" in told
    assert len(told) == len([*(ROOT / "data/claims/experiments").glob("*.toml")])
