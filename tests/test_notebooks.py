"""Notebooks keep to their budgets, are what their sources give, and state only what they computed; their runner stops.

Running them all is `make reproduce`.
"""

import ast
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from lookahead_nb import figures
from lookahead_nb import provenance as tables
from lookahead_nb.claims import experiments, registry
from lookahead_nb.figures import catalogue
from lookahead_nb.figures.catalogue import FIGURES as FIGURE
from tests.support import small_trial

pytestmark = pytest.mark.no_kernel

ROOT = Path(__file__).resolve().parent.parent
RUNNER = ROOT / "notebooks/reproduce.py"
SOURCES = sorted((ROOT / "notebooks/source").glob("*.py"))
NOTEBOOKS = [ROOT / "notebooks" / f"{path.stem}.ipynb" for path in SOURCES]
TABLES = [path for kind in ("results", "timings") for path in sorted((ROOT / "data" / kind).glob("*.csv"))]
FIGURES = sorted((ROOT / "paper/figures").glob("*.json"))

of_sources = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
of_notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def load_runner():
    spec = importlib.util.spec_from_file_location("reproduce", RUNNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reproduce():
    return load_runner()


def cells(reproduce, path, kind):
    return [cell.source for cell in reproduce.prepared(path).cells if cell.cell_type == kind]


def code_lines(source):
    return [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]


# --------------------------------------------------------------------------------------------------------- sources


@of_sources
def test_code_keeps_to_its_budget(reproduce, path):
    lines = [len(code_lines(source)) for source in cells(reproduce, path, "code")]
    words = sum(len(source.split()) for source in cells(reproduce, path, "markdown"))
    assert len(lines) <= 12
    assert max(lines) <= 12
    assert sum(lines) <= 60
    assert words >= 10 * sum(lines)


@of_sources
def test_code_defines_nothing_and_loops_over_nothing(reproduce, path):
    forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.Global)
    source = "\n".join(cells(reproduce, path, "code"))
    assert [type(node).__name__ for node in ast.walk(ast.parse(source)) if isinstance(node, forbidden)] == []
    assert "rcParams" not in source


@of_sources
def test_prose_has_one_title_and_headings_in_order(reproduce, path):
    first, *_ = cells(reproduce, path, "markdown")
    levels = [len(mark) for mark in re.findall(r"^(#+) ", "\n".join(cells(reproduce, path, "markdown")), re.M)]
    assert first.startswith("# ")
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


@of_sources
def test_the_parts_come_in_order(reproduce, path):
    kinds = [cell.cell_type for cell in reproduce.prepared(path).cells]
    code, prose = cells(reproduce, path, "code"), "\n".join(cells(reproduce, path, "markdown"))
    assert kinds[:3] == ["markdown", "code", "markdown"]  # title, imports, expectation
    assert code[0].rstrip().endswith("figures.use_style()")
    assert re.search(r"expect", cells(reproduce, path, "markdown")[1], re.I)
    assert any("assert " in source for source in code)
    assert re.findall(r"^## (.*)", prose, re.M)[-1] == "Provenance"


@of_sources
def test_every_figure_is_followed_by_its_caption(reproduce, path):
    notebook = reproduce.prepared(path).cells
    drawn = [i for i, cell in enumerate(notebook) if cell.cell_type == "code" and "figures.save(" in cell.source]
    for i in drawn:
        caption = re.search(r'^caption = "(.*)"$', notebook[i].source, re.M)[1]
        assert notebook[i + 1].cell_type == "markdown"
        assert notebook[i + 1].source.startswith(f"**{caption}**")
    assert drawn


NOT_NUMBERS = re.compile(r"sections?(?: \d\.\d)+|\d\.\d and(?: in)? \d\.\d|in its \d\.\d|FAQ \d\.\d|CC BY 4\.0")
DECIMAL = re.compile(r"\d+\.\d+|\d ?%")


def prose(cell):
    """The words of a cell, without code, formulas, numbers of sections, and lists headed by a line with "Settings"."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|`[^`]*`", " ", cell, flags=re.S)
    text = re.sub(r"^[^\n]*Settings[^\n]*\n+(?:- [^\n]*\n?(?:  [^\n]*\n?)*)+", "", text, flags=re.M)
    return NOT_NUMBERS.sub("", " ".join(text.split()))


@of_sources
def test_prose_states_no_number_that_a_cell_should_print(reproduce, path):
    assert [found for cell in cells(reproduce, path, "markdown") for found in DECIMAL.findall(prose(cell))] == []


@of_sources
def test_settings_in_prose_are_those_of_the_code(reproduce, path):
    code = "\n".join(cells(reproduce, path, "code"))
    used = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", code)} | {0.5, 0.75, 0.9, 0.999}  # and defaults
    lists = re.findall(r"(?:^|\n)(- [^\n]*(?:\n  [^\n]*)*)", "\n".join(cells(reproduce, path, "markdown")))
    stated = {number for item in lists for number in re.findall(r"\d+\.\d+", NOT_NUMBERS.sub("", item))}
    assert {number for number in stated if float(number) not in used} == set()


def test_prose_check_finds_numbers():
    assert DECIMAL.findall(prose("the loss is 0.123, 5 % less (section 4.3, $x = 0.5$, `lr=0.1`)")) == ["0.123", "5 %"]
    assert DECIMAL.findall(prose("Settings:\n\n- lr 0.1,\n  decay 0.2\n- k 0.3\n\nand 0.4")) == ["0.4"]


@of_sources
def test_the_greek_letter_never_stands_alone(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?i)alpha|α", text) == []


# ------------------------------------------------------------------------------------------------------- notebooks


def outputs(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize(("path", "source"), [*zip(NOTEBOOKS, SOURCES, strict=True)], ids=[p.stem for p in SOURCES])
def test_notebook_is_what_its_source_gives(reproduce, path, source):
    built, expected = nbformat.read(path, as_version=4), reproduce.prepared(source)
    assert built.metadata == expected.metadata
    assert [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in built.cells] == [
        (cell.id, cell.cell_type, cell.source, cell.metadata) for cell in expected.cells
    ]


def test_no_notebook_is_without_source():
    assert sorted((ROOT / "notebooks").glob("*.ipynb")) == NOTEBOOKS


@of_notebooks
def test_notebook_ran_from_top_to_bottom_without_complaint(path):
    notebook = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert {output.output_type for output in outputs(notebook)} <= {"stream", "execute_result", "display_data"}
    assert {output.name for output in outputs(notebook) if output.output_type == "stream"} <= {"stdout"}


TOPS = "|".join(["work", "root", "home", "tmp", "Users", "opt", "var"])
TELLTALE = re.compile(
    rf"(?<![\w<])/(?:{TOPS})/|\b20\d\d-\d\d-\d\d|\d:\d\d:\d\d|\d ?(?:ms|µs|s|seconds|it/s)\b|0x[0-9a-f]{{6}}"
)


@of_notebooks
def test_outputs_hold_no_paths_dates_timings_or_addresses(path):
    notebook = nbformat.read(path, as_version=4)
    texts = [output.get("text", "") for output in outputs(notebook)]
    texts += [
        text for output in outputs(notebook) for kind, text in output.get("data", {}).items() if "svg" not in kind
    ]
    assert [found for text in texts for found in TELLTALE.findall(text)] == []
    assert "execution" not in json.dumps([cell.metadata for cell in notebook.cells])


@of_notebooks
def test_notebook_is_light_and_shows_its_figures_from_their_files(path):
    notebook = nbformat.read(path, as_version=4)
    shown = [output.data["image/svg+xml"] for output in outputs(notebook) if "image/svg+xml" in output.get("data", {})]
    committed = {figure.with_suffix(".svg").read_text(encoding="utf-8") for figure in FIGURES}
    assert path.stat().st_size <= 500_000
    assert set(shown) <= committed
    assert shown


# ----------------------------------------------------------------------------------------------- tables and figures


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_committed_table_is_the_one_of_its_manifest(path):
    frame, manifest = tables.read_table(path), json.loads(path.with_suffix(".json").read_text())
    assert manifest["rows"] == len(frame)
    assert path.stat().st_size < 2_000_000  # a claim with 16 arms, 9 tasks and 80 seeds


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_committed_figure_is_the_one_of_its_manifest(path):
    manifest = json.loads(path.read_text(encoding="utf-8"))
    found = {name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in manifest["sha256"]}
    assert found == manifest["sha256"]
    assert set(found) == {f"{path.stem}.svg", f"{path.stem}.pdf"}
    assert min(len(manifest["caption"]), len(manifest["alt"])) > 40


def test_every_figure_is_in_the_catalogue_under_the_notebook_that_saves_it():
    saved = {path.stem: re.findall(r'figures\.save\(.*"(\w+)", caption, alt\)', path.read_text()) for path in SOURCES}
    entries = {path.stem: [name for name, each in FIGURE.items() if each.notebook == path.stem] for path in SOURCES}
    assert entries == saved
    assert {path.stem for path in FIGURES} == FIGURE.keys()


def test_figures_from_committed_tables_have_the_committed_bytes(tmp_path):
    """Or, where other versions draw, the same bytes in two processes; these share the work."""
    drawn_with = {path.stem: json.loads(path.read_text(encoding="utf-8"))["drawn_with"] for path in FIGURES}
    mine = [name for name, versions in drawn_with.items() if versions == figures.drawn_with()]
    others = [name for name in drawn_with if name not in mine]
    draw = "import pathlib, sys; from lookahead_nb.figures.catalogue import draw; folder = pathlib.Path(sys.argv[1])"
    processes = []
    for seed, names in (("1", [*mine[::2], *others]), ("2", [*mine[1::2], *others])):
        (tmp_path / seed).mkdir()
        command = [sys.executable, "-c", f"{draw}; [draw(n, folder=folder) for n in sys.argv[2:]]", tmp_path / seed]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        processes.append(subprocess.Popen([*command, *names], cwd=ROOT, env=environment))
    assert [process.wait() for process in processes] == [0, 0]
    found = [{path.name: path.read_bytes() for path in (tmp_path / seed).iterdir()} for seed in "12"]
    assert {name.rpartition(".")[0] for name in found[0] | found[1]} == {*drawn_with}
    for name in drawn_with:
        for file in (f"{name}.svg", f"{name}.pdf"):
            drawn = [each[file] for each in found if file in each]
            assert {*drawn} == {drawn[0] if name in others else (ROOT / "paper/figures" / file).read_bytes()}, file


def test_the_last_digits_of_a_layout_do_not_change_a_figure(tmp_path):
    """They depend on the CPU. Clip paths and markers of two figures have different names."""
    import matplotlib.pyplot as plt

    drawings = {}
    for name, shift in (("a", 0.0), ("a", 1e-13), ("b", 0.0)):
        fig = plt.figure()
        fig.add_axes((0.1 + shift, 0.1, 0.8, 0.8)).plot([0, 1, 2], marker="o", ms=4 + shift)
        folder = tmp_path / f"{name}{shift}"
        folder.mkdir()
        drawings[name, shift] = figures.save(fig, name, "A finding.", "A line.", folder=folder).svg
    assert drawings["a", 0.0] == drawings["a", 1e-13]
    names = [{*re.findall(r'id="([pm][^"]*-\d+)"', drawings[name, 0.0])} for name in "ab"]
    assert len(names[0]) == len(names[1]) >= 2
    assert not names[0] & names[1]
    for name in names[0]:
        assert f"#{name}" in drawings["a", 0.0]


@pytest.mark.parametrize(("caption", "alt"), [("", "what is seen"), ("A finding.", " ")])
def test_figure_without_words_is_refused(tmp_path, caption, alt):
    import matplotlib.pyplot as plt

    fig = plt.figure()
    with pytest.raises(ValueError, match="must say something about the figure 'nameless'"):
        figures.save(fig, "nameless", caption, alt, folder=tmp_path)
    plt.close(fig)
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------------------- runner

GOOD = """# %% [markdown]
# # Good
# %%
import pandas as pd
from lookahead_nb import provenance as tables
path = tables.write_table(pd.DataFrame({"name": ["a", "b"], "value": [0.1, 2.0]}), "tiny")
print("value 2.5")
"""
BAD = "# %%\nx = 1\n# %%\nx / 0\n# %%\ny = 2\n"


def test_runner_names_a_package_that_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(SystemExit) as end:
        load_runner()
    assert end.value.code == 2
    assert re.fullmatch(
        r'typst is missing: run "make reproduce" or pip install .* in a checkout\.\n', capsys.readouterr().out
    )


@pytest.fixture
def start(tmp_path):
    """Write percent scripts and start the runner on them."""

    def call(**sources):
        (tmp_path / "source").mkdir()
        for name, text in sources.items():
            (tmp_path / "source" / f"{name}.py").write_text(text)
        environment = os.environ | {"LOOKAHEAD_NB_BUILD": str(tmp_path / "build"), "WRITE": ""}
        command = [sys.executable, RUNNER, "--source", tmp_path / "source"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, **pipes)

    return call


def test_runner_stops_at_the_first_error_and_names_notebook_and_cell(start, tmp_path):
    # One notebook ends, then the next one fails, the third is ended while it runs, and the last one never begins.
    waits = "# %%\nimport pathlib, time\nwhile not pathlib.Path({!r}).exists():\n    time.sleep(0.05)\n"
    bad = waits.format(str(tmp_path / "begun")) + BAD
    slow = f"# %%\nimport pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)\n"
    process = start(a_good=GOOD, b_bad=bad, c_slow=slow, d_never=GOOD)
    told, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"^a_good: 1 cells", told, re.M)
    assert "FAILED b_bad, code cell 3: ZeroDivisionError: division by zero\n    x / 0\n" in told
    assert complaint == ""
    built = sorted(path.stem for path in (tmp_path / "build/notebooks").iterdir())
    assert built == ["a_good", "b_bad", "c_slow"]
    assert [path.name for path in sorted((tmp_path / "build/results").iterdir())] == ["tiny.csv", "tiny.json"]


def test_runner_refuses_words_on_stderr(start):
    process = start(loud='# %%\nimport sys\nprint("careful", file=sys.stderr)\n')
    assert "FAILED loud, code cell 1: wrote to stderr: careful" in process.communicate(timeout=60)[0]
    assert process.returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_runner_stops_cleanly_on_ctrl_c(start, tmp_path):
    process = start(
        slow=f"# %%\nimport pathlib, time\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)\n"
    )
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("Stopped. No committed file was touched.\n", "")
    assert process.returncode == 130


def test_runner_refuses_to_run_without_asserts():
    ended = subprocess.run(
        [sys.executable, RUNNER, "--verify"],
        env=os.environ | {"PYTHONOPTIMIZE": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "notebooks check results with assert, which PYTHONOPTIMIZE removes: unset it and try again\n"
    )


def test_runner_refuses_names_it_does_not_know(reproduce, capsys):
    with pytest.raises(SystemExit) as stop:
        reproduce.main(["99"])
    assert stop.value.code == 2
    assert "NAME must begin one of 00_quick_start" in capsys.readouterr().err


@pytest.fixture
def tiny(reproduce, tmp_path, monkeypatch):
    """A recomputed and a committed set of results in folders of their own, as the runner sees them."""
    committed = {kind: tmp_path / "committed" / kind for kind in reproduce.COMMITTED}
    for folder in [*committed.values(), *(tmp_path / "build" / kind for kind in committed)]:
        folder.mkdir(parents=True)
    monkeypatch.setattr(reproduce, "COMMITTED", committed)
    monkeypatch.setattr(reproduce, "ROOT", tmp_path)
    monkeypatch.setenv("LOOKAHEAD_NB_BUILD", str(tmp_path / "build"))
    return tmp_path / "build", committed


def table(value, folder, **changes):
    frame = pd.DataFrame({"name": ["a", "b"], "value": [value, np.nan]} | changes)
    return tables.write_table(frame, "tiny", folder=folder)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"value": 0.3}, "identical"),
        ({"value": np.nextafter(0.3, 1)}, "differs: largest relative difference 2e-16, in value"),
        ({"value": 0.6}, "differs: largest relative difference 5e-01, in value"),
        ({"value": np.nan}, "differs: largest relative difference inf, in value"),
        ({"value": 0.3, "name": ["a", "c"]}, "differs: more than numbers, in name"),
        ({"value": 0.3, "more": 1}, "differs: 2 x 3, not 2 x 2, or other columns"),
    ],
)
def test_tables_are_compared(reproduce, tiny, changed, verdict):
    build, committed = tiny
    table(0.3, committed["results"])
    table(folder=build / "results", **changed)
    assert reproduce.compare("results", build, everything=True) == [("table tiny", verdict)]


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (np.nextafter(0.3, 1), "within 1e-09: largest relative difference 2e-16, in value"),
        (0.3 * (1 + 9e-10), "within 1e-09: largest relative difference 9e-10, in value"),
        (0.3 * (1 + 2e-9), "differs: largest relative difference 2e-09, in value"),
        (-0.3, "differs: largest relative difference 2e+00, in value"),
        (np.inf, "differs: largest relative difference inf, in value"),
        (np.nan, "differs: largest relative difference inf, in value"),
    ],
)
def test_a_tolerance_is_for_the_columns_that_are_listed(reproduce, tiny, monkeypatch, value, verdict):
    build, committed = tiny
    monkeypatch.setitem(reproduce.INEXACT, "tiny", ("value",))
    table(0.3, committed["results"], trained=0.5)
    table(value, build / "results", trained=0.5)
    assert reproduce.compare("results", build, everything=True) == [("table tiny", verdict)]
    table(value, build / "results", trained=np.nextafter(0.5, 1))
    ((_, told),) = reproduce.compare("results", build, everything=True)
    assert told.startswith("differs: ")
    assert "trained" in told


def test_every_column_with_a_tolerance_is_one_of_its_table(reproduce):
    for name, columns in reproduce.INEXACT.items():
        assert {*columns} <= {*tables.read_table(ROOT / f"data/results/{name}.csv").columns}


def test_the_same_numbers_written_in_another_way_are_reported(reproduce, tiny):
    build, committed = tiny
    table(0.3, committed["results"])
    path = table(0.3, build / "results")
    path.write_text(path.read_text().replace("0.3", "0.30"))
    manifest = path.with_suffix(".json")
    told = json.loads(manifest.read_text()) | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(told))
    expected = [("table tiny", "differs: the same numbers are written in another way")]
    assert reproduce.compare("results", build, everything=True) == expected


def test_new_and_missing_files_are_reported(reproduce, tiny):
    build, committed = tiny
    table(0.3, build / "results")
    assert reproduce.compare("results", build, everything=True) == [("table tiny", "new")]
    shutil.rmtree(build / "results")
    (build / "results").mkdir()
    table(0.3, committed["results"])
    assert reproduce.compare("results", build, everything=True) == [("table tiny", "not recomputed")]
    assert reproduce.compare("results", build, everything=False) == []


def test_another_class_of_cpu_is_reported(reproduce, tiny):
    build, committed = tiny
    table(0.3, committed["results"])
    table(0.3000003, build / "results")
    manifest = committed["results"] / "tiny.json"
    manifest.write_text(re.sub(r'"cpu_class": "[^"]*"', '"cpu_class": "6502"', manifest.read_text()))
    ((_, verdict),) = reproduce.compare("results", build, everything=True)
    assert re.search(r"in value; CPU class: committed 6502, here \S+$", verdict)


def test_figures_are_compared_with_what_drew_them(reproduce, tiny):
    build, committed = tiny
    for folder in (build / "figures", committed["figures"]):
        for end in (".svg", ".pdf"):
            (folder / f"f{end}").write_text("lines")
        (folder / "f.json").write_text(json.dumps({"caption": "Flat.", "drawn_with": {"matplotlib": "3.11"}}))
    assert reproduce.compare("figures", build, everything=True) == [("figure f", "identical")]
    (committed["figures"] / "f.svg").write_text("other lines")
    assert reproduce.compare("figures", build, everything=True) == [("figure f", "differs: .svg")]
    manifest = committed["figures"] / "f.json"
    manifest.write_text(json.dumps({"caption": "Flat.", "drawn_with": {"matplotlib": "3.10"}}))
    expected = "drawn otherwise: .svg, .json; drawn with: committed matplotlib 3.10, here matplotlib 3.11"
    assert reproduce.compare("figures", build, everything=True) == [("figure f", expected)]
    manifest.write_text(json.dumps({"caption": "Steep.", "drawn_with": {"matplotlib": "3.11"}}))
    assert reproduce.compare("figures", build, everything=True) == [("figure f", "differs: other words")]


@pytest.mark.parametrize(
    ("source", "text", "verdict"),
    [
        ("1", "loss 0.500 of 30", "identical"),
        ("1", "loss   0.501 of 30", "the same but for the last printed digit"),
        ("1", "loss 5.00e-01 of 30", "the same but for the last printed digit"),
        ("1", "loss 0.502 of 30", "differs: 1 of 2 numbers, the first is 0.502, not 0.500"),
        ("1", "loss 0.501 of 31", "differs: 1 of 2 numbers, the first is 31, not 30"),
        ("1", "gain 0.5", "differs: other text was printed"),
        ("2", "loss 0.500 of 30", "differs: other cells"),
    ],
)
def test_notebooks_are_compared(reproduce, tiny, source, text, verdict):
    build, committed = tiny
    for folder, cell, words in ((committed["notebooks"], "1", "loss 0.500 of 30"), (build / "notebooks", source, text)):
        stream = nbformat.v4.new_output("stream", name="stdout", text=words)
        code = nbformat.v4.new_code_cell(cell, id="cell-000", outputs=[stream])
        nbformat.write(nbformat.v4.new_notebook(cells=[code]), folder / "n.ipynb")
    assert reproduce.compare("notebooks", build, everything=True) == [("notebook n", verdict)]


def test_write_replaces_what_is_committed_and_a_changed_table_fails(reproduce, tiny, tmp_path, monkeypatch, capsys):
    _, committed = tiny
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.py").write_text("# %% [markdown]\n# # Nothing\n")
    small_trial.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper/book").mkdir(parents=True)
    for page in ("README.md", "paper/book/article.md"):
        (tmp_path / page).write_text("<!-- claims all -->\n<!-- /claims -->\n")
    table(0.3, committed["results"])
    (committed["results"] / "tiny.csv").write_text("name,value\na,0.4\nb,\n")
    monkeypatch.setattr(reproduce, "run_all", lambda _console, _sources, build: table(0.3, build / "results"))
    assert reproduce.main(["--source", str(source)]) == 1
    told = capsys.readouterr().out
    assert "the committed one is broken, see below" in told
    assert "BROKEN committed/results/tiny.csv: tiny.csv must have the sha256 of its manifest" in told
    assert "0.4" in (committed["results"] / "tiny.csv").read_text()
    monkeypatch.setenv("WRITE", "1")
    assert reproduce.main(["--source", str(source)]) == 0
    assert "wrote 2 files to committed/results" in capsys.readouterr().out
    assert tables.read_table(committed["results"] / "tiny.csv")["value"][0] == 0.3
    assert "| C30a | Lookahead is better. | no results yet |  |" in (tmp_path / "README.md").read_text()


# ----------------------------------------------------------------------------------------------------------- jupyter


def test_a_notebook_opened_and_saved_by_make_lab_is_the_file_it_was(tmp_path, monkeypatch):
    """As JupyterLab does it: read a notebook, note the language of the kernel that has started, save it."""
    from ipykernel.ipkernel import IPythonKernel
    from jupyter_server.services.contents.largefilemanager import LargeFileManager
    from traitlets.config import Config

    recipe = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (hook,) = re.findall(r"--ContentsManager.pre_save_hook=(\S+)", recipe)
    settings = Config({"ContentsManager": {"pre_save_hook": hook}})
    monkeypatch.syspath_prepend(ROOT)  # the working directory of make lab
    manager = LargeFileManager(root_dir=str(tmp_path), config=settings)
    for path in NOTEBOOKS[:3]:
        copy = shutil.copy(path, tmp_path)
        model = manager.get(path.name)
        model["content"]["metadata"]["language_info"] |= IPythonKernel.language_info
        assert "version" in model["content"]["metadata"]["language_info"]
        manager.save(model, path.name)
        assert Path(copy).read_bytes() == path.read_bytes()


# ------------------------------------------------------------------------------------------------------- no checkout

OUTSIDE = {
    "12_performance": lambda: exec((ROOT / "notebooks/source/12_performance.py").read_text(encoding="utf-8"), {}),
    "statements": registry.read,
    "an experiment": lambda: experiments.read("trial"),
    "rows": lambda: experiments.results(experiments.read("trial", ROOT / "data/claims/experiments/trial.toml")),
    "verdicts": lambda: registry.committed(registry.read(ROOT / "data/claims")),
    "a table": lambda: tables.made_or_kept("quick_start", lambda: None, here=False),
    "literature": lambda: tables.published("zhang_2019"),
    **{f"draw {name}": lambda name=name: catalogue.draw(name) for name in FIGURE},
    **{f"where {name}": lambda name=name: [*catalogue.where(name)] for name in FIGURE},
}


@pytest.mark.parametrize("what", OUTSIDE)
@pytest.mark.parametrize("place", ["elsewhere", "another project"])
def test_what_needs_a_checkout_says_so(what, place, tmp_path, monkeypatch):
    if place == "another project":
        (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        OUTSIDE[what]()
    assert re.fullmatch(
        rf"(data|paper)/\S+ is missing: run this in a checkout of the project, which holds it, not in {tmp_path}",
        str(caught.value),
    )
    assert [path.name for path in tmp_path.iterdir()] in ([], ["pyproject.toml"])
