"""Tables on disk: they come back bit for bit, manifests say what made them, and a changed table is refused."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import pytest

import lookahead_nb as lnb
from lookahead_nb import provenance as tables
from lookahead_nb import train
from lookahead_nb.kernels.philox import STREAM_ID
from lookahead_nb.provenance import PACKAGES, build_folder, machine, made_or_kept, read_table, write_table

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def history():
    rng = np.random.default_rng(0)
    data = lnb.datasets.from_arrays(rng.normal(0, 1, (15, 2)), np.arange(15) % 2)
    opt = lnb.Lookahead(lnb.AdamW(0.1), sync_period=2)
    return train(lnb.MLP((2, 2)), data, opt, steps=3, batch_size=4, eval_every=1).history


def manifest_of(path):
    return json.loads(path.with_suffix(".json").read_text())


# ------------------------------------------------------------------------------------------------ there and back


def test_a_history_comes_back_bit_for_bit(history, tmp_path):
    path = write_table(history, "history", folder=tmp_path)
    assert path == tmp_path / "history.csv"
    pd.testing.assert_frame_equal(read_table(path), history, check_exact=True)


def test_every_float_comes_back_bit_for_bit(tmp_path):
    info = np.finfo(float)
    corners = [0.0, -0.0, 1 / 3, 0.1, -1e300, info.max, -info.max, info.tiny, info.smallest_subnormal, np.inf, -np.inf]
    any_bits = np.random.default_rng(1).integers(0, 2**64, 2000, np.uint64, endpoint=False).view(float)
    frame = pd.DataFrame({"x": [*corners, *any_bits[np.isfinite(any_bits)], 1.0, 2.0**53, 123456789012345678.0]})
    back = read_table(write_table(frame, "floats", folder=tmp_path))["x"].to_numpy()
    assert back.tobytes() == frame["x"].to_numpy().tobytes()


def test_whole_numbers_words_truth_and_missing_values_come_back(tmp_path):
    frame = pd.DataFrame({
        "seed": [0, 2**63 - 1],
        "optimizer": ["Lookahead(AdamW)", "a, b\n\"c\""],
        "pull_back": [True, False],
        "phase": [1.0, np.nan],
        "nothing": [np.nan, np.nan],
    })  # fmt: skip
    pd.testing.assert_frame_equal(read_table(write_table(frame, "mixed", folder=tmp_path)), frame, check_exact=True)


TEXTS = [
    *(
        "",
        " ",
        "  ",
        "NA",
        "nan",
        "NaN",
        "None",
        "null",
        "N/A",
        "True",
        "False",
        "inf",
        "-1",
        "1.0",
        "1e5",
        "007",
        "1_000",
    ),
    *(
        " lead",
        "trail ",
        "\ttab\t",
        "a,b",
        'say "so"',
        '"',
        '""',
        "'",
        "line\nbreak",
        "\n",
        "\r",
        "a\rb",
        "a\r\nb",
        "#",
    ),
    *("\\", "\\n", "\\\\", "C:\\new", "é", "日本", "😀", "\u2028", "\ufeff", "\x00", "\x1a", "=1+1", "٣"),
]


@pytest.mark.parametrize("dtype", ["str", object, "category"])
def test_every_text_and_its_absence_come_back(tmp_path, dtype):
    column = pd.Series([*TEXTS, np.nan], dtype=dtype)
    for frame in (pd.DataFrame({"x": column}), pd.DataFrame({"x": column, "y": column[::-1].to_numpy(), "z": 0.5})):
        frame = frame.astype({"y": dtype}) if "y" in frame else frame
        back = read_table(write_table(frame, "texts", folder=tmp_path))
        assert back["x"].tolist()[:-1] == TEXTS
        assert back["x"].isna().tolist() == [False] * len(TEXTS) + [True]
        assert (back.dtypes == frame.dtypes).all()
        if "y" in frame:
            assert back["y"].tolist()[1:] == TEXTS[::-1]
            assert back["y"].isna().sum() == 1


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_alone(tmp_path, text):
    assert read_table(write_table(pd.DataFrame({"x": [text]}), "text", folder=tmp_path))["x"].tolist() == [text]


def test_a_column_may_hold_numbers_truth_values_and_texts(tmp_path):
    mixed = [True, "True", False, 1, "1", 0.1, "0.1", 2.0, 1e-8, 10**30, np.float64(0.5), np.int64(7), np.inf, "x", ""]
    back = read_table(write_table(pd.DataFrame({"x": mixed}), "mixed", folder=tmp_path))["x"].tolist()
    assert [(type(value), value) for value in back] == [
        (type(value), value) for value in (v.item() if isinstance(v, np.generic) else v for v in mixed)
    ]


def test_what_a_table_cannot_hold_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"column 'x' must hold numbers, truth values, texts or nothing, got \[1, 2\]"):
        write_table(pd.DataFrame({"x": [[1, 2], "a"]}), "lists", folder=tmp_path)
    with pytest.raises(ValueError, match="frame must have each column once, got 'x' twice"):
        write_table(pd.DataFrame([[1, 2]], columns=["x", "x"]), "twice", folder=tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("run", ["0000000000000012", "1234567890123456", "12345678901234e5", "1e99999999999999"])
def test_a_run_whose_id_looks_like_a_number_keeps_its_id(tmp_path, run):
    frame = pd.DataFrame({"run": [run], "train_loss": [1.0]})
    assert read_table(write_table(frame, "run", folder=tmp_path))["run"].tolist() == [run]


def test_writing_twice_gives_the_same_bytes(history, tmp_path):
    once = write_table(history, "once", folder=tmp_path).read_bytes()
    read_back = read_table(tmp_path / "once.csv")
    assert write_table(history, "twice", folder=tmp_path).read_bytes() == once
    assert write_table(read_back, "again", folder=tmp_path).read_bytes() == once
    assert b"\r" not in once


def test_the_frame_is_not_changed(history, tmp_path):
    before = history.copy(deep=True)
    write_table(history, "history", folder=tmp_path)
    pd.testing.assert_frame_equal(history, before, check_exact=True)


def test_a_table_without_rows_comes_back_with_its_columns(tmp_path):
    back = read_table(write_table(pd.DataFrame({"a": [], "b": []}), "empty", folder=tmp_path))
    assert back.columns.tolist() == ["a", "b"]
    assert len(back) == 0


# ------------------------------------------------------------------------------------------------ the manifest (R5)


def test_manifest_says_what_the_table_holds_and_what_made_it(history, tmp_path):
    path = write_table(history, "history", folder=tmp_path)
    manifest = manifest_of(path)
    assert manifest.keys() == {"table", "sha256", "rows", "columns", "configurations", "machine"}
    assert manifest["table"] == "history.csv"
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["rows"] == len(history) == 8
    assert list(manifest["columns"]) == history.columns.tolist()
    assert manifest["machine"] == machine()


def test_machine_names_the_class_of_cpu_that_is_compiled_for(monkeypatch):
    monkeypatch.setattr(numba.config, "CPU_NAME", "haswell")
    assert machine()["cpu_class"] == "haswell"


def test_machine_names_cpu_class_threads_versions_and_stream():
    found = machine()
    assert found.keys() == {"cpu", "cpu_class", "gpu", "threads", "versions", "stream"}
    assert found["cpu"]
    assert found["cpu_class"]
    assert found["gpu"] is None
    assert found["threads"] == numba.get_num_threads()
    assert found["stream"] == STREAM_ID
    assert found["versions"] == {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    assert {"lookahead-nb", "numpy", "numba", "llvmlite"} <= found["versions"].keys()


@pytest.mark.parametrize(
    ("gpu", "peers", "told"),
    [
        (None, None, "{cpu} ({cpu_class}), {threads} threads, numba {numba}, numpy {numpy}, stream {stream}"),
        ("H100", None, "H100, in a machine with {cpu} ({cpu_class}), "),
        (
            {"name": "H100", "driver": "580"},
            {"torch": "2.13", "jax": "0.10"},
            "H100, driver 580, in a machine with {cpu} ",
        ),
        (None, {"torch": "2.13", "jax": "0.10"}, ", stream {stream}, beside torch 2.13, jax 0.10"),
    ],
)
def test_what_a_table_was_made_on_is_told_in_words(tmp_path, gpu, peers, told):
    path = write_table(pd.DataFrame({"x": [1]}), "x", folder=tmp_path)
    manifest = manifest_of(path)
    manifest["machine"] |= {"gpu": gpu} | ({"peers": {"versions": peers}} if peers else {})
    path.with_suffix(".json").write_text(json.dumps(manifest))
    facts = manifest["machine"]
    words = tables.made_on(path)
    assert told.format(**facts, **facts["versions"]) in words
    assert ("beside" in words, "in a machine" in words) == (bool(peers), bool(gpu))


def test_configurations_are_hashed_by_their_runs_whatever_the_order(history, tmp_path):
    other = history.assign(run="0123456789abcdef")
    tables = {
        "one": history,
        "backwards": history[::-1],
        "twice": pd.concat([history, history]),
        "both": pd.concat([history, other]),
        "both backwards": pd.concat([other, history]),
        "other": other,
    }
    hashes = {name: manifest_of(write_table(t, name, folder=tmp_path))["configurations"] for name, t in tables.items()}
    assert hashes["one"] == hashes["backwards"] == hashes["twice"]
    assert hashes["both"] == hashes["both backwards"]
    assert len({hashes[name] for name in ("one", "both", "other")}) == 3
    assert all(len(found) == 64 for found in hashes.values())


def test_a_table_without_runs_is_known_by_its_name(tmp_path):
    frame = pd.DataFrame({"x": [1.0]})
    hashes = [manifest_of(write_table(frame, name, folder=tmp_path))["configurations"] for name in ("a", "b")]
    assert hashes[0] != hashes[1]


# ------------------------------------------------------------------------------------------------ damage


def damaged(text):
    yield "a digit", text.replace(b"1", b"2", 1)
    yield "a row less", text[: text.rstrip(b"\n").rfind(b"\n") + 1]
    yield "cut short", text[:-1]
    yield "other line ends", text.replace(b"\n", b"\r\n")
    yield "a mark in front", b"\xef\xbb\xbf" + text
    yield "empty", b""


def test_a_changed_table_is_refused(history, tmp_path):
    path = write_table(history, "history", folder=tmp_path)
    text = path.read_bytes()
    for what, changed in damaged(text):
        assert changed != text, what
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"history\.csv must have the sha256 of its manifest history\.json"):
            read_table(path)
    path.write_bytes(text)
    read_table(path)


def test_another_manifest_is_refused(history, tmp_path):
    path = write_table(history, "history", folder=tmp_path)
    other = write_table(history.iloc[:2], "other", folder=tmp_path)
    path.with_suffix(".json").write_text(other.with_suffix(".json").read_text())
    with pytest.raises(ValueError, match="sha256"):
        read_table(path)


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_missing_file_is_an_oserror(history, tmp_path, suffix):
    path = write_table(history, "history", folder=tmp_path)
    path.with_suffix(suffix).unlink()
    with pytest.raises(OSError, match=rf"history\{suffix} is missing: a table .* must lie in one folder$"):
        read_table(path)


# ------------------------------------------------------------------------------------------------ where files go


def test_build_folder_lies_in_the_checkout_around_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("LOOKAHEAD_NB_BUILD", raising=False)
    inside = tmp_path / "notebooks" / "deep"
    inside.mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(inside)
    assert build_folder("results") == tmp_path / "build" / "results"
    assert (tmp_path / "build" / "results").is_dir()


def test_build_folder_lies_in_the_working_directory_outside_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.delenv("LOOKAHEAD_NB_BUILD", raising=False)
    monkeypatch.chdir(tmp_path)
    assert build_folder("figures") == tmp_path / "build" / "figures"


def test_build_folder_may_be_named(history, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKAHEAD_NB_BUILD", str(tmp_path / "here"))
    assert build_folder("figures") == tmp_path / "here" / "figures"
    assert write_table(history, "history") == tmp_path / "here" / "results" / "history.csv"
    assert build_folder("figures") == Path(tmp_path / "here" / "figures")


def test_a_table_is_made_here_or_kept_as_it_was_committed(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data/results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOOKAHEAD_NB_BUILD", raising=False)
    old, new = (pd.DataFrame({"x": [float(x)]}) for x in (1, 2))
    with pytest.raises(OSError, match="map"):
        made_or_kept("map", lambda: new, here=False)
    write_table(old, "map", folder=tmp_path / "data/results")
    assert made_or_kept("map", lambda: new, here=False).equals(old)
    assert made_or_kept("map", lambda: new, here=True).equals(new)
    assert read_table(tmp_path / "build/results/map.csv").equals(new)
    assert read_table(tmp_path / "data/results/map.csv").equals(old)


PUBLISHED = sorted((ROOT / "data/published").glob("*.csv"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_numbers_say_whose_they_are_and_how_they_are_known(path, monkeypatch):
    monkeypatch.chdir(ROOT / "tests")
    frame = tables.published(path.stem)
    assert [*frame][:8] == ["source", "table", "setting", "optimizer", "metric", "value", "error", "known"]
    assert {*frame.columns[8:]} <= {"warning", "lr", "seed", "step", "epoch"}
    assert np.isfinite(frame["value"]).all()
    assert (frame["error"].isna() | (frame["error"] >= 0)).all()
    assert {*frame["known"]} <= {"read", "remembered", "recomputed"}
    assert (frame[["source", "setting", "optimizer", "metric"]] != "").all(axis=None)
    assert not frame.duplicated(["source", "table", "setting", "optimizer", "metric"]).any()


def test_published_numbers_in_doubt_have_a_warning(monkeypatch):
    monkeypatch.chdir(ROOT)
    frame = tables.published("independent")
    warned = frame[frame["warning"] != ""]
    assert {*warned["source"]} == {"Schmidt et al. 2021, raw results"}
    assert warned["optimizer"].str.startswith("Lookahead").all()
    assert len(warned) == 2


def test_the_papers_own_tables_can_be_told_apart(monkeypatch):
    monkeypatch.chdir(ROOT)
    paper = tables.published("lookahead_paper").set_index(["table", "setting", "optimizer", "metric"])
    row = paper.loc["1", "CIFAR-100, ResNet-18, 200 epochs", "Lookahead(SGD)", "validation accuracy in %"]
    assert (row["value"], row["error"], row["known"]) == (78.34, 0.05, "read")
    assert {*paper[paper["known"] == "remembered"].index.get_level_values("table")} == {"3", "4"}
