"""The store of a sweep: parts come back bit for bit, damage is found and named, faults and crowds lose nothing.

Called as a script, this file writes some units of the example into a store: ``test_store.py FOLDER START UNIT...``,
beginning when the file START is there.
"""

import errno
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import time
import warnings
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lookahead_nb import provenance as tables
from lookahead_nb.__main__ import main
from lookahead_nb.kernels.philox import STREAM_ID
from lookahead_nb.provenance import machine
from lookahead_nb.training import store as store_module
from lookahead_nb.training.store import DAMAGED, HEADER, MANIFEST, ORDER, DamageError, Store

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

CONFIGURATION = {
    "model": {"sizes": [3, 2]},
    "training": {"steps": 20, "dtype": "float32"},
    "eval_steps": [0, 10, 20],
    "seeds": [0, 1, 2],
}
UNITS = [sha256(bytes([number])).hexdigest()[:32] for number in range(6)]
NAN = float("nan")


def rows(number, size=4):
    """The rows of a unit as a sweep makes them: two runs, whose rows stand far apart in the plan."""
    rng = np.random.default_rng(number)
    loss = rng.normal(0, 1, size)
    loss[0] = NAN
    return pd.DataFrame({
        "run": np.repeat([f"{number:016x}", f"{number + 99:016x}"], size // 2),
        "seed": number,
        "sync_period": [5.0, NAN] * (size // 2),
        "inner_state": pd.Series(["keep", NAN] * (size // 2), dtype="str"),
        "pull_back": pd.Series([True, NAN] * (size // 2), dtype=object),
        "slow_step_size": pd.Series([0.5, "adaptive"] * (size // 2), dtype=object),
        "step": np.arange(size) % 2,
        "train_loss": loss,
        "status": np.where(np.isnan(loss), "diverged", "ok"),
        "order": np.repeat([number, 50 - number], size // 2),
    })  # fmt: skip


def made(path, units=UNITS, wanted=UNITS):
    store = Store.open(path, CONFIGURATION, units)
    for unit in wanted:
        store.write(unit, rows(UNITS.index(unit)))
    return store


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished store, not to be changed."""
    return made(tmp_path_factory.mktemp("whole") / "store")


@pytest.fixture
def copied(whole, tmp_path):
    """A finished store of one's own."""
    shutil.copytree(whole.path, tmp_path / "copied")
    return Store.open(tmp_path / "copied")


def in_order(frames):
    """The rows of units as they stand in the sweep."""
    return pd.concat(frames).sort_values(ORDER, kind="stable", ignore_index=True).drop(columns=ORDER)


def part(store, number=0):
    return store.path / f"{UNITS[number]}.parquet"


def contents(folder):
    return {path.name: path.read_bytes() if path.is_file() else None for path in Path(folder).iterdir()}


def assert_same(frame, expected):
    """The same columns, dtypes and values, and the same bits of every float."""
    pd.testing.assert_frame_equal(frame, expected, check_exact=True)
    for name in expected.select_dtypes("float"):
        assert frame[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name
    for name in expected.columns[expected.dtypes.astype(str) == "object"]:
        assert list(map(type, frame[name])) == list(map(type, expected[name])), name


# ------------------------------------------------------------------------------------------------ there and back


def test_rows_come_back_bit_for_bit_in_the_order_of_the_plan(whole):
    expected = in_order([rows(number) for number in range(6)])
    assert_same(whole.frame(), expected)
    assert expected["seed"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert expected["step"].tolist() == [0, 1] * 12


def test_the_order_of_writing_does_not_show(whole, tmp_path):
    backwards = made(tmp_path / "backwards", wanted=UNITS[::-1])
    assert contents(backwards.path) == contents(whole.path)
    assert_same(backwards.frame(), whole.frame())


def test_rows_need_no_order_and_may_be_none(tmp_path):
    store = Store.open(tmp_path, CONFIGURATION, UNITS[:2])
    store.write(UNITS[0], pd.DataFrame({"x": [2.0, 1.0], "y": ["a", "b"]}))
    store.write(UNITS[1], pd.DataFrame({"x": [2.0], "y": ["a"]}).iloc[:0])
    assert_same(store.frame(), pd.DataFrame({"x": [2.0, 1.0], "y": ["a", "b"]}))


def test_chosen_columns_come_in_the_order_asked_for(whole):
    expected = whole.frame()[["train_loss", "pull_back", "run"]]
    assert_same(whole.frame(["train_loss", "pull_back", "run"]), expected)


@pytest.mark.parametrize("name", ["loss", "order"])
def test_an_unknown_column_is_named(whole, name):
    with pytest.raises(ValueError, match=f"columns must be among run, seed, .*, status, got '{name}'"):
        whole.frame(["run", name])


def test_units_with_other_columns_or_dtypes_are_refused(tmp_path):
    """Put together by pandas, True would become 1.0."""
    frames = [pd.DataFrame({"x": [1.0]}), pd.DataFrame({"x": [True]}), pd.DataFrame({"y": [1.0]})]
    store = Store.open(tmp_path, CONFIGURATION, UNITS[:3])
    store.write(UNITS[0], frames[0])
    for frame in frames[1:]:
        with pytest.raises(ValueError, match="frame must have the columns and dtypes of the other units"):
            store.write(UNITS[1], frame)
    Store.open(tmp_path).write(UNITS[1], frames[1])
    for read in (store.frame, lambda **how: store.export(tmp_path.parent / "all.csv", **how)):
        with pytest.raises(ValueError, match=f"{UNITS[1]}.parquet differs in its columns from {UNITS[0]}.parquet"):
            read(partial=True)


@pytest.mark.parametrize("bad", [[object()], [[1, 2]], [b"x"], pd.to_datetime(["2020-01-01"]), [1 + 2j]])
def test_what_no_setting_is_made_of_is_refused(tmp_path, bad):
    store = Store.open(tmp_path, CONFIGURATION, UNITS)
    with pytest.raises(TypeError, match="column 'x' must hold numbers, truth values"):
        store.write(UNITS[0], pd.DataFrame({"x": bad}))
    assert store.done() == set()
    store.write(UNITS[0], rows(0))


@pytest.mark.parametrize("columns", [[0, 1], ["a", "a"]])
def test_columns_must_have_different_names(tmp_path, columns):
    store = Store.open(tmp_path, CONFIGURATION, UNITS)
    with pytest.raises(TypeError, match="must be different names"):
        store.write(UNITS[0], pd.DataFrame([[1, 2]], columns=columns))


# ------------------------------------------------------------------------------------------------ versions of pandas


def table_and_header(path):
    return parquet.read_table(path), json.loads(parquet.read_metadata(path).metadata[HEADER.encode()])


def write_part(path, table, header):
    """Write a part with any columns, its checksum in order."""
    sink = pa.BufferOutputStream()
    with parquet.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({HEADER: json.dumps(header | {"seal": store_module._BLANK.decode()})})
    path.write_bytes(store_module._with_checksum(sink.getvalue().to_pybytes()))


def by_pandas_2(path):
    """Write a part again as it was written with pandas 2: text as objects, and those as words of JSON."""
    table, header = table_and_header(path)
    columns = {}
    for name in table.column_names:
        columns[name] = table[name]
        if header["dtypes"][name] == "str":
            words = [NAN if word is None else word for word in table[name].to_pylist()]
            header["dtypes"][name], header["kinds"][name] = "object", ["text"] * any(word == word for word in words)
            columns[name] = pa.array([json.dumps(word) for word in words], pa.string())
    write_part(path, pa.table(columns), header)


def plain_rows(number):
    """Rows of a unit without Lookahead, where no setting of its applies."""
    return rows(number).assign(inner_state=pd.Series([NAN] * 4, dtype="str"))


@pytest.mark.parametrize("by_2", [[0], [1], [0, 2, 4], [1, 3, 5], [*range(6)]])
def test_a_store_begun_with_one_pandas_goes_on_with_another(tmp_path, by_2):
    expected = [(plain_rows if number % 2 else rows)(number) for number in range(6)]
    store, pure = (Store.open(tmp_path / name, CONFIGURATION, UNITS) for name in ("mixed", "pure"))
    for unit, frame in zip(UNITS, expected, strict=True):
        store.write(unit, frame)
        pure.write(unit, frame)
    for number in by_2:
        by_pandas_2(part(store, number))
    before = contents(store.path)
    assert store.verify() == []
    assert_same(store.frame(), in_order(expected))
    assert_same(store.frame(["inner_state", "run"]), in_order(expected)[["inner_state", "run"]])
    for name in ("all.csv", "all.parquet"):
        store.export(tmp_path / name)
        pure.export(tmp_path / f"pure_{name}")
        assert (tmp_path / name).read_bytes() == (tmp_path / f"pure_{name}").read_bytes()
    for unit, frame in zip(UNITS, expected, strict=True):
        store.write(unit, frame)  # the same rows
    assert contents(store.path) == before
    with pytest.raises(ValueError, match="differs from the rows just computed"):
        store.write(UNITS[by_2[0]], expected[by_2[0]].assign(status="lost"))


def test_the_bytes_of_a_part_do_not_depend_on_how_pandas_keeps_text(whole, tmp_path):
    """Without ``infer_string`` pandas keeps text as objects, as version 2 does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the option will go
        with pd.option_context("future.infer_string", False):
            store = made(tmp_path / "store")
            frame = store.frame()
            expected = pd.DataFrame({"run": ["a"], "inner_state": ["keep"]})
    assert set(expected.dtypes) == {np.dtype(object)}
    assert contents(store.path) == contents(whole.path)
    assert frame["run"].dtype == frame["inner_state"].dtype == object
    assert frame["inner_state"].map(type).value_counts().to_dict() == {str: 12, float: 12}
    texts = dict.fromkeys(("run", "inner_state", "status"), "str")
    assert_same(frame.astype(texts).set_axis(list(frame), axis=1), whole.frame())


def test_verify_finds_what_export_cannot_read(copied, tmp_path):
    table, header = table_and_header(part(copied))
    words = table.column_names.index("pull_back")
    write_part(part(copied), table.set_column(words, "pull_back", pa.array(["no word of JSON"] * 4)), header)
    with pytest.raises(ValueError, match="Expecting value"):
        copied.export(tmp_path / "all.csv")
    (problem,) = copied.verify()
    assert problem.startswith(f"{part(copied).name}: unreadable here (JSONDecodeError: Expecting value")
    assert copied.verify(remove=True) == [f"{problem} (removed)"]
    Store.open(copied.path).write(UNITS[0], rows(0).drop(columns="status"))
    with pytest.raises(ValueError, match="differs in its columns from"):
        copied.export(tmp_path / "all.csv")
    assert all("differs in its columns from" in problem for problem in copied.verify())
    assert len(copied.verify(remove=True)) == len(copied.verify()) > 0


# ------------------------------------------------------------------------------------------------ done, or absent


def test_done_are_the_units_whose_part_is_there(tmp_path):
    store = made(tmp_path, wanted=UNITS[2:4])
    assert store.done() == Store.open(tmp_path).done() == set(UNITS[2:4])
    part(store, 2).unlink()
    assert store.done() == {UNITS[3]}


def test_a_unit_outside_of_the_plan_is_refused(tmp_path):
    store = made(tmp_path, wanted=[])
    with pytest.raises(ValueError, match=r"unit must be one of the 6 units of .*, got 'ff'"):
        store.write("ff", rows(0))


def test_writing_again_changes_nothing(copied):
    before, inode = contents(copied.path), part(copied).stat().st_ino
    copied.write(UNITS[0], rows(0))
    assert contents(copied.path) == before
    assert part(copied).stat().st_ino == inode


def test_other_rows_for_a_unit_that_is_there_are_refused(copied):
    before = contents(copied.path)
    with pytest.raises(ValueError, match="differs from the rows just computed"):
        copied.write(UNITS[0], rows(0).assign(train_loss=1.0))
    assert contents(copied.path) == before


def test_the_same_rows_of_another_machine_are_the_same(copied, monkeypatch):
    before = contents(copied.path)
    monkeypatch.setattr(store_module, "maker", lambda _gpu: {"cpu": "another"})
    copied.write(UNITS[0], rows(0))
    assert contents(copied.path) == before
    part(copied, 1).unlink()
    copied.write(UNITS[1], rows(1))
    assert copied.show()["written by.2.cpu"] == "another"


def test_a_store_that_another_version_made_goes_on(copied, monkeypatch):
    before = contents(copied.path)
    monkeypatch.setattr(tables, "_version", lambda _package: "9.9.9")
    monkeypatch.setattr(store_module, "maker", store_module.maker.__wrapped__)  # without what it has kept
    again = Store.open(copied.path, CONFIGURATION, UNITS)
    assert again.done() == set(UNITS)
    again.write(UNITS[0], rows(0))
    assert contents(again.path) == before
    part(again, 1).unlink()
    again.write(UNITS[1], rows(1))
    assert again.show()["written by.2.versions.lookahead-nb"] == "9.9.9"


def test_a_damaged_part_is_written_anew(copied):
    before = contents(copied.path)
    part(copied).write_bytes(b"x")
    copied.write(UNITS[0], rows(0))
    assert contents(copied.path) == before


def test_missing_units_are_not_passed_over_in_silence(tmp_path):
    store = made(tmp_path / "store", wanted=UNITS[:2])
    for read in (store.frame, lambda **how: store.export(tmp_path / "all.csv", **how)):
        with pytest.raises(ValueError, match="must hold all 6 units, but 4 are missing: run the sweep again"):
            read()
        read(partial=True)
    assert_same(store.frame(partial=True), in_order([rows(0), rows(1)]))
    assert len(pd.read_csv(tmp_path / "all.csv")) == 8
    assert len(made(tmp_path / "none", wanted=[]).frame(partial=True)) == 0


# ------------------------------------------------------------------------------------------------ one configuration


def test_a_store_is_opened_again_with_its_configuration_or_none(whole):
    same = json.loads(json.dumps(CONFIGURATION))
    for store in (Store.open(whole.path), Store.open(str(whole.path), same, UNITS)):
        assert store.configuration == CONFIGURATION
        assert store.units == tuple(UNITS)
        assert store.done() == set(UNITS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"training": {"steps": 30, "dtype": "float64"}},
            'training.dtype: here "float64", there "float32"; training.steps: here 30, there 20',
        ),
        ({"training": {"steps": 20.0, "dtype": "float32"}}, "training.steps: here 20.0, there 20"),
        ({"eval_steps": [0, 10]}, "eval_steps.2: here absent, there 20"),
        ({"eval_steps": [3, 4, 5], "new": {}}, "eval_steps.1: here 4, there 10; eval_steps.2: .* and 1 more"),
        ({"model": None}, "model: here null, there absent; model.sizes.0: here absent, there 3"),
    ],
)
def test_another_configuration_is_refused_by_its_differences(whole, change, said):
    before = contents(whole.path)
    with pytest.raises(
        ValueError,
        match="configuration must be that of the store .*, but differs in .*" + said + ".*: only seeds and configs may",
    ):
        Store.open(whole.path, CONFIGURATION | change, UNITS)
    assert contents(whole.path) == before


def test_a_store_keeps_its_units_and_says_whether_they_answer_a_request(whole):
    other = CONFIGURATION | {"seeds": [7, 8], "configs": {"lr": [0.1]}}
    for configuration, units in ((CONFIGURATION, UNITS), (CONFIGURATION, UNITS[:5]), (other, UNITS)):
        store = Store.open(whole.path, configuration, units)
        assert store.units == tuple(UNITS)
        assert store.configuration == CONFIGURATION
        assert store.answers(configuration, units) == (configuration == CONFIGURATION and units == UNITS)


@pytest.mark.parametrize(
    ("configuration", "units", "error", "said"),
    [
        ({"x": {1, 2}}, UNITS, TypeError, "configuration must hold only what JSON knows"),
        ({"x": NAN}, UNITS, ValueError, "configuration must hold only what JSON knows"),
        ([1], UNITS, TypeError, r"configuration must be a dict, got \[1\]"),
        ({}, None, TypeError, "units must be a list of names"),
        ({}, "abc", TypeError, "units must be a list of names"),
        ({}, ["../../../../etc/passwd"], ValueError, "units must be names of 16 to 64 hex digits"),
        ({}, ["a" * 65], ValueError, "units must be names of 16 to 64 hex digits"),
        ({}, [7], ValueError, "units must be names of 16 to 64 hex digits, got 7"),
        ({}, [UNITS[0], UNITS[0]], ValueError, f"units must all differ, got '{UNITS[0]}' twice"),
    ],
)
def test_what_cannot_be_a_plan_is_refused_before_a_folder_is_made(tmp_path, configuration, units, error, said):
    with pytest.raises(error, match=said):
        Store.open(tmp_path / "store", configuration, units)
    assert not (tmp_path / "store").exists()


def test_the_manifest_says_what_made_the_store(whole):
    manifest = json.loads((whole.path / MANIFEST).read_text())
    assert manifest.keys() == {"format", "configuration", "sha256", "units", "machine", "seal"}
    assert manifest["machine"] == whole.machine == machine()
    assert manifest["sha256"] == sha256(json.dumps(CONFIGURATION, sort_keys=True).encode()).hexdigest()


def test_every_part_says_what_it_is_and_what_made_it(whole):
    for number, unit in enumerate(UNITS):
        header = json.loads(parquet.read_metadata(part(whole, number)).metadata[HEADER.encode()])
        assert header["unit"] == unit
        assert header["configuration"] == whole.sha256
        assert header["machine"]["stream"] == STREAM_ID
        assert header["machine"]["cpu"] == machine()["cpu"]
        assert header["machine"]["versions"] == machine()["versions"]


def test_other_programs_read_a_part(whole):
    frame = pd.read_parquet(part(whole))
    assert frame["train_loss"].to_numpy().tobytes() == rows(0)["train_loss"].to_numpy().tobytes()


# ------------------------------------------------------------------------------------------------ folders and files


def test_a_folder_that_holds_other_things_is_refused(tmp_path):
    for name in ("notes.txt", "photo.png"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"must be a store or an empty folder, but it holds notes\.txt; photo\.png"):
        Store.open(tmp_path, CONFIGURATION, UNITS)
    assert sorted(contents(tmp_path)) == ["notes.txt", "photo.png"]


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").touch()
    for how in ((), (CONFIGURATION, UNITS)):
        with pytest.raises(ValueError, match="path must be a folder, got the file"):
            Store.open(tmp_path / "file", *how)
        with pytest.raises(OSError, match=r"the store .* cannot be opened \(.*\)$"):
            Store.open(tmp_path / "file" / "store", *how)


def test_nothing_is_made_where_a_store_is_only_to_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match=r"cannot be opened \(.* holds no manifest.json\)"):
            Store.open(path)
    assert not (tmp_path / "absent").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(copied):
    part(copied).unlink()
    copied.path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"could not keep unit .* \(Permission denied\)"):
            copied.write(UNITS[0], rows(0))
    finally:
        copied.path.chmod(0o700)


def test_names_with_spaces_and_letters_of_any_language_are_fine(tmp_path):
    assert_same(made(tmp_path / "größer als" / "ü ñ 日本").frame(), in_order([rows(n) for n in range(6)]))


def test_a_lost_manifest_is_made_again_around_the_parts(copied):
    before = contents(copied.path)
    (copied.path / MANIFEST).unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no manifest\.json"):
        Store.open(copied.path)
    assert copied.verify() == ["manifest.json: unreadable (No such file or directory)"]
    assert Store.open(copied.path, CONFIGURATION, UNITS).verify() == []
    assert contents(copied.path) == before


# ------------------------------------------------------------------------------------------------ damage


def flipped(path):
    """Flip a bit of one byte after the other on the disk, and yield its place while it is so."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(data):
            for value in (byte ^ 1 << at * 5 % 8, byte):
                file.seek(at)
                file.write(bytes([value]))
                if value != byte:
                    yield at


def assert_named(store, name, what):
    """The file is named with what is wrong, and no other; whoever reads the rows is stopped."""
    assert [problem.partition(": ")[0] for problem in store.verify()] == [name]
    assert what in store.verify()[0]
    for read in (store.frame, lambda: store.export(store.path.parent / "all.csv")):
        with pytest.raises(
            DamageError, match=rf'{name} is .*{what}.*: "lookahead-nb store verify .* --remove" drops it'
        ):
            read()
    assert not (store.path.parent / "all.csv").exists()


def test_a_truncated_part_is_found_at_every_length(copied):
    data = part(copied).read_bytes()
    for size in {*range(12), *range(0, len(data), 41), *range(len(data) - 12, len(data))}:
        part(copied).write_bytes(data[:size])
        assert copied.verify() in ([f"{part(copied).name}: {what}"] for what in ("truncated", DAMAGED)), size
    assert_named(copied, part(copied).name, "truncated")
    part(copied).write_bytes(data + b"\0")
    assert_named(copied, part(copied).name, "truncated")


def test_a_flipped_bit_is_found_at_every_byte(copied, monkeypatch):
    monkeypatch.setattr(copied, "_parts", {part(copied).name: UNITS[0]})  # the others need no look, again and again
    monkeypatch.setattr(copied, "units", (UNITS[0],))
    for path in set(copied.path.glob("*.parquet")) - {part(copied)}:
        path.unlink()
    missed = [at for at in flipped(part(copied)) if len(copied.verify()) != 1]
    assert missed == []
    assert copied.verify() == []


def test_a_damaged_part_is_named_and_stops_the_reader(copied):
    data = bytearray(part(copied).read_bytes())
    data[100] ^= 4
    part(copied).write_bytes(data)
    assert_named(copied, part(copied).name, "damaged")


@pytest.mark.parametrize("size", [0, 1, 4, 512])
def test_zeros_or_nothing_in_place_of_a_part_are_found(copied, size):
    part(copied).write_bytes(bytes(size))
    assert_named(copied, part(copied).name, "truncated")


def test_a_damaged_manifest_is_found_at_every_byte(copied):
    data = (copied.path / MANIFEST).read_bytes()
    for _ in flipped(copied.path / MANIFEST):
        with pytest.raises(DamageError, match=r"manifest.json is damaged.*: delete it and run the sweep again"):
            Store.open(copied.path)
    for size in (0, 1, len(data) // 2, len(data) - 1):
        (copied.path / MANIFEST).write_bytes(data[:size])
        assert copied.verify() == ["manifest.json: damaged, its sha256 is not the checksum that it holds"]


def test_parts_of_others_are_found(copied, tmp_path):
    other = Store.open(tmp_path / "other", CONFIGURATION | {"seeds": [7]}, UNITS)
    other.write(UNITS[0], rows(0))
    shutil.copy(part(other), part(copied))
    assert_named(copied, part(copied).name, "foreign, a part of another configuration")
    shutil.copy(part(copied, 1), part(copied))
    assert_named(copied, part(copied).name, f"foreign, the part of unit {UNITS[1]}")
    shutil.copy(other.path / MANIFEST, copied.path / MANIFEST)
    assert copied.verify()[1] == "manifest.json: foreign, that of another configuration"


def test_a_part_is_no_manifest_and_a_manifest_no_part(copied):
    manifest, bytes_of_part = (copied.path / MANIFEST).read_bytes(), part(copied).read_bytes()
    part(copied).write_bytes(manifest)
    assert_named(copied, part(copied).name, "truncated")
    (copied.path / MANIFEST).write_bytes(bytes_of_part)
    assert copied.verify()[1] == f"manifest.json: {DAMAGED}"
    with pytest.raises(DamageError, match=r"manifest\.json is damaged"):
        Store.open(copied.path)


def test_a_part_of_a_later_format_is_found(copied, monkeypatch):
    monkeypatch.setattr(store_module, "FORMAT", 2)
    part(copied).unlink()
    copied.write(UNITS[0], rows(0))
    later = Store.open(copied.path.parent / "later", CONFIGURATION, UNITS)
    monkeypatch.undo()
    assert_named(copied, part(copied).name, "of format 2, not 1")
    with pytest.raises(ValueError, match="must have format 1, got 2, which another version wrote"):
        Store.open(later.path)


def test_strangers_half_written_files_and_missing_units_are_listed(copied):
    (copied.path / "notes.txt").touch()
    (copied.path / f"{'ab' * 16}.parquet").touch()
    (copied.path / f"{UNITS[0]}.parquet.0123456789abcdef.tmp").write_bytes(b"PAR1")
    part(copied, 1).unlink()
    part(copied, 2).unlink()
    part(copied, 2).mkdir()
    assert copied.verify() == [
        f"{UNITS[0]}.parquet.0123456789abcdef.tmp: half-written, by a process that was stopped",
        f"{'ab' * 16}.parquet: foreign, no part of this sweep",
        f"{part(copied, 2).name}: unreadable (Is a directory)",
        "notes.txt: foreign, no part of this sweep",
        f"1 of 6 units are missing: {UNITS[1]}",
    ]


def test_half_written_files_do_not_disturb_the_reader(copied):
    (copied.path / f"{UNITS[0]}.parquet.0123456789abcdef.tmp").write_bytes(b"PAR1")
    assert_same(copied.frame(), in_order([rows(number) for number in range(6)]))
    assert copied.show()["done"] == 6


def test_damaged_parts_are_dropped_and_trained_again(copied):
    before = contents(copied.path)
    part(copied, 0).write_bytes(b"x")
    (copied.path / f"{UNITS[0]}.parquet.0123456789abcdef.tmp").touch()
    (copied.path / "notes.txt").touch()
    assert len([problem for problem in copied.verify(remove=True) if problem.endswith(" (removed)")]) == 2
    assert copied.done() == set(UNITS[1:])
    copied.write(UNITS[0], rows(0))
    assert copied.verify() == ["notes.txt: foreign, no part of this sweep"]
    assert contents(copied.path) == before | {"notes.txt": b""}


# ------------------------------------------------------------------------------------------------ faults of the system


class Faults:
    """Counts the calls to the file layer on one folder and lets the n-th one fail, or all from there on."""

    def __init__(self, monkeypatch, folder, fails_at, lasting, code):
        self.calls, self.folder, self.fails_at, self.lasting, self.code = [], folder, fails_at, lasting, code
        for name in ("fsync", "replace", "rename", "listdir", "mkdir", "open", "close", "unlink"):
            monkeypatch.setattr(os, name, self.wrapped(name, getattr(os, name)))
        self.opened = self.wrapped("open", Path.open)
        monkeypatch.setattr(Path, "open", lambda *arguments, **named: self.file(*arguments, **named))

    def file(self, path, *arguments, **named):
        file = self.opened(path, *arguments, **named)
        return File(self, file) if self.inside(path) else file

    def inside(self, path):
        return Path(path).is_relative_to(self.folder)

    def wrapped(self, name, call):
        def checked(*arguments, **named):
            if arguments and isinstance(arguments[0], (str, os.PathLike)) and not self.inside(arguments[0]):
                return call(*arguments, **named)
            self.calls.append(name)
            if len(self.calls) == self.fails_at or (self.lasting and len(self.calls) > self.fails_at):
                if name == "close":
                    call(*arguments)  # the file is closed even so
                raise OSError(self.code, os.strerror(self.code))
            return call(*arguments, **named)

        return checked


class File:
    def __init__(self, faults, file):
        self._file, self._flaky = file, {name: faults.wrapped(name, getattr(file, name)) for name in ("read", "write")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __getattr__(self, name):
        return self._flaky.get(name) or getattr(self._file, name)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_after_any_failing_call_the_sweep_goes_on_to_the_same_store(tmp_path, monkeypatch, lasting, code):
    units = UNITS[:2]
    undisturbed = made(tmp_path / "undisturbed", units, units)
    expected = undisturbed.frame()
    for fails_at in range(1, 1000):
        path = tmp_path / str(fails_at)
        with monkeypatch.context() as patch:
            faults = Faults(patch, tmp_path, fails_at, lasting, code)
            try:
                assert_same(made(path, units, units).frame(), expected)
            except OSError as error:
                text = str(error)
                assert str(path) in text
                assert os.strerror(code) in text
                assert "\n" not in text
                if "could not keep unit" in text:
                    assert "run the sweep again to continue from here" in text
        if not lasting and path.exists():
            strays = [name for name in contents(path) if name.endswith(".tmp")]
            assert not strays or len(faults.calls) > fails_at  # only where removing it is what failed
        assert_same(made(path, units, units).frame(), expected)
        Store.open(path).verify(remove=True)
        assert contents(path) == contents(undisturbed.path)
        if len(faults.calls) < fails_at:
            break
    assert 30 < fails_at < 200


def test_a_part_is_on_the_disk_before_it_has_its_name_and_its_name_before_write_returns(tmp_path, monkeypatch):
    store = made(tmp_path, wanted=[])
    calls = Faults(monkeypatch, tmp_path, 0, False, 0).calls
    store.write(UNITS[0], rows(0))
    assert calls == ["open", "write", "fsync", "replace", "open", "fsync", "close", "unlink"]


def script(*arguments, limit=None):
    resource = pytest.importorskip("resource")
    before = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    folder = str(Path(store_module.__file__).parent.parent.parent)
    environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}  # Python would leave cut files
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, preexec_fn=before, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_a_short_write_leaves_no_part_and_is_told_in_one_sentence(tmp_path):
    size = part(made(tmp_path / "whole")).stat().st_size
    limited = script(tmp_path / "limited", tmp_path, UNITS[0], limit=size - 100)  # the manifest is smaller than that
    out, _ = limited.communicate(timeout=60)
    path = tmp_path / "limited"
    assert out == (
        f"the store {path} could not keep unit {UNITS[0]} (File too large): "
        "nothing else is lost; run the sweep again to continue from here\n"
    )
    assert limited.returncode == 3
    assert list(contents(path)) == [MANIFEST]
    assert contents(made(path).path) == contents(tmp_path / "whole")


def test_processes_that_share_a_store_lose_and_double_nothing(tmp_path, whole):
    path, start = tmp_path / "shared", tmp_path / "start"
    crowd = [script(path, start, *units) for units in (UNITS, UNITS[::-1], UNITS[2:5])]
    time.sleep(0.2)
    start.touch()
    for process in crowd:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, "", "")
    assert contents(path) == contents(whole.path)
    assert_same(Store.open(path).frame(), whole.frame())


def test_of_two_configurations_the_first_keeps_the_folder(tmp_path, monkeypatch):
    """Between the look for a manifest and the making of it another process is quicker."""
    make = store_module._make

    def slower(path, manifest):
        monkeypatch.setattr(store_module, "_make", make)
        Store.open(path, CONFIGURATION | {"eval_steps": [7, 10, 20]}, UNITS)
        make(path, manifest)

    monkeypatch.setattr(store_module, "_make", slower)
    with pytest.raises(ValueError, match=r"differs in eval_steps\.0: here 0, there 7"):
        Store.open(tmp_path / "store", CONFIGURATION, UNITS)
    assert list(contents(tmp_path / "store")) == [MANIFEST]


FIRST, SECOND = b"the first manifest", b"the second one"


class Stop(BaseException):
    """The end of a process, after which it does nothing more."""


def at_each_call(monkeypatch, action):
    """Run an action ahead of every call of the file layer, with the number of the call."""
    number = 0

    def hooked(call):
        def ahead(*arguments, **named):
            nonlocal number
            number += 1
            action(number)
            return call(*arguments, **named)

        return ahead

    for name in ("fsync", "replace", "rename", "mkdir", "open", "close", "unlink", "rmdir", "stat"):
        monkeypatch.setattr(os, name, hooked(getattr(os, name)))


def test_a_manifest_stays_whenever_another_process_comes(tmp_path, monkeypatch):
    for when in range(1, 1000):
        path, between = tmp_path / f"{when}" / MANIFEST, []
        path.parent.mkdir()
        with monkeypatch.context() as patch:

            def other(number, path=path, when=when, patch=patch, between=between):
                if number == when:
                    patch.undo()
                    store_module._publish(path, SECOND)
                    between.append(path.read_bytes())

            at_each_call(patch, other)
            store_module._publish(path, FIRST)
        assert contents(path.parent) == {MANIFEST: between[0] if between else FIRST}
        if not between:
            break
    assert 15 < when < 200


def test_a_process_that_dies_while_it_makes_a_manifest_leaves_a_whole_one_or_none(tmp_path, monkeypatch):
    kept = set()
    for when in range(1, 1000):
        path = tmp_path / f"{when}" / MANIFEST
        path.parent.mkdir()

        def die(number, when=when):
            if number >= when:
                raise Stop

        try:
            with monkeypatch.context() as patch:
                at_each_call(patch, die)
                store_module._publish(path, FIRST)
        except Stop:
            left = path.read_bytes() if path.is_file() else None
            store_module._publish(path, SECOND)
            assert path.read_bytes() == (left or path.read_bytes())
            kept.add(path.read_bytes())
            store_module._publish(path, SECOND)
            assert not (path.parent / f"{MANIFEST}.{store_module._CLAIM}.tmp").exists() or left
        else:
            break
    assert kept == {FIRST, SECOND}


def without_fsync_of_folders(monkeypatch, code):
    fsync = os.fsync

    def of_files(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", of_files)


def test_a_file_system_without_links_and_without_fsync_of_folders_holds_a_store(tmp_path, monkeypatch, whole):
    def refused(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    monkeypatch.setattr(os, "symlink", refused)
    without_fsync_of_folders(monkeypatch, errno.EINVAL)
    store = made(tmp_path / "store")
    assert contents(store.path) == contents(whole.path)
    store.export(tmp_path / "all.csv")


def test_a_folder_that_fails_to_reach_the_disk_is_an_error(tmp_path, monkeypatch):
    store = made(tmp_path / "store", wanted=[])
    without_fsync_of_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="could not keep unit"):
        store.write(UNITS[0], rows(0))


def test_half_made_folders_are_removed_like_files(copied):
    folder = copied.path / f"{MANIFEST}.0123456789abcdef.tmp"
    folder.mkdir()
    (folder / MANIFEST).write_text("{")
    assert copied.verify(remove=True) == [f"{folder.name}: half-written, by a process that was stopped (removed)"]
    assert copied.verify() == []


# ------------------------------------------------------------------------------------------------ export and show


def test_export_as_csv_reads_back(whole, tmp_path):
    whole.export(tmp_path / "all.csv")
    expected = pd.concat([rows(number) for number in range(6)], ignore_index=True).drop(columns="order")
    assert (tmp_path / "all.csv").read_text() == expected.to_csv(index=False)


def test_export_as_parquet_reads_back(whole, tmp_path):
    whole.export(tmp_path / "all.parquet")
    frame = pd.read_parquet(tmp_path / "all.parquet")
    expected = pd.concat([rows(number) for number in range(6)], ignore_index=True).drop(columns="order")
    expected["slow_step_size"] = expected["slow_step_size"].astype(str)  # numbers and words in one column are words
    assert frame["train_loss"].to_numpy().tobytes() == expected["train_loss"].to_numpy().tobytes()
    assert frame.columns.tolist() == expected.columns.tolist()
    for name in expected:
        there = expected[name].notna()
        assert (frame[name].notna() == there).all()
        assert frame[name][there].tolist() == expected[name][there].tolist()
    assert str(parquet.read_schema(tmp_path / "all.parquet").field("pull_back").type) == "bool"


def test_export_twice_gives_the_same_bytes_and_replaces(whole, tmp_path):
    for name in ("a.csv", "b.csv", "a.csv", "a.parquet", "b.parquet", "a.parquet"):
        whole.export(tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert len(contents(tmp_path)) == 4


def test_export_to_a_wrong_place_is_refused(whole, tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .parquet or .csv, got 'all.xlsx'"):
        whole.export(tmp_path / "all.xlsx")
    with pytest.raises(ValueError, match="path must lie outside of the store"):
        whole.export(whole.path / "all.csv")
    with pytest.raises(OSError, match=r"all.csv cannot be written \(No such file or directory\)"):
        whole.export(tmp_path / "absent" / "all.csv")


def test_show_sums_up(whole):
    shown = whole.show()
    assert shown["store"] == str(whole.path)
    assert (shown["units"], shown["done"], shown["rows"]) == (6, 6, 24)
    assert shown["bytes"] == sum(map(len, contents(whole.path).values()))
    assert shown["sha256"] == whole.sha256
    assert shown["configuration.training.steps"] == 20
    assert shown["configuration.seeds"] == "3 values"
    assert shown["made by.threads"] == machine()["threads"]
    assert shown["written by.1.versions.numba"] == machine()["versions"]["numba"]
    assert shown["written by.1.stream"] == STREAM_ID


def test_show_names_a_part_it_cannot_read(copied):
    part(copied).write_bytes(b"x")
    with pytest.raises(DamageError, match=f"{part(copied).name} is damaged"):
        copied.show()


# ------------------------------------------------------------------------------------------------ the command line


def ran(capsys, *arguments):
    try:
        status = main([*map(str, arguments)])
    except SystemExit as stop:  # how argparse ends
        status = stop.code
    return status, *capsys.readouterr()


def test_command_verify(copied, capsys):
    assert ran(capsys, "store", "verify", copied.path) == (
        0,
        f"{copied.path}: all parts are complete and undamaged\n",
        "",
    )
    part(copied).write_bytes(b"x")
    assert ran(capsys, "store", "verify", copied.path) == (1, f"{part(copied).name}: truncated\n", "")
    told = f"{part(copied).name}: truncated (removed)\n"
    assert ran(capsys, "store", "verify", copied.path, "--remove") == (1, told, "")
    assert ran(capsys, "store", "verify", copied.path) == (1, f"1 of 6 units are missing: {UNITS[0]}\n", "")
    (copied.path / MANIFEST).write_bytes(b"x")
    status, out, err = ran(capsys, "store", "verify", copied.path)
    assert (status, err) == (1, "")
    assert "manifest.json is damaged" in out


def test_command_is_that_of_the_module(whole):
    command = [sys.executable, "-m", "lookahead_nb", "store", "verify", str(whole.path)]
    folder = str(Path(store_module.__file__).parent.parent.parent)
    environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}  # Python would leave cut files
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        0,
        f"{whole.path}: all parts are complete and undamaged\n",
        "",
    )


def test_command_show(whole, capsys):
    status, out, err = ran(capsys, "store", "show", whole.path)
    assert (status, err) == (0, "")
    assert f"store: {whole.path}\nunits: 6\ndone: 6\nrows: 24\n" in out


def test_command_export(whole, tmp_path, capsys):
    assert ran(capsys, "store", "export", whole.path, tmp_path / "all.csv") == (0, "", "")
    whole.export(tmp_path / "same.csv")
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "same.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["stor"], "invalid choice: 'stor'"),
        (["store"], "the following arguments are required: verify|show|export"),
        (["store", "verify"], "the following arguments are required: path"),
        (["store", "verify", "absent", "--all"], "unrecognized arguments: --all"),
        (["store", "verify", "absent"], "the store absent cannot be opened (absent holds no manifest.json)"),
        (["store", "show", "absent"], "the store absent cannot be opened (absent holds no manifest.json)"),
        (["store", "export", "{whole}", "all.xlsx"], "path must end in .parquet or .csv, got 'all.xlsx'"),
        (["store", "export", "{part}", "all.csv"], "path must be a folder, got the file"),
    ],
)
def test_command_with_bad_input_ends_in_one_line(whole, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = ran(capsys, *(a.format(whole=whole.path, part=part(whole)) for a in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("lookahead-nb")
    assert said in err
    assert err.count("\n") == 1
    assert contents(tmp_path) == {}


def test_command_ends_with_130_after_ctrl_c(whole, capsys, monkeypatch):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "verify", pressed)
    assert ran(capsys, "store", "verify", whole.path) == (130, "", "lookahead-nb: stopped\n")


def test_without_pyarrow_the_extra_is_named(whole, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    advice = (
        "the store of a sweep needs pyarrow: install the extra reproduce, "
        'as in: pip install ".[reproduce]" in a checkout'
    )
    with pytest.raises(ModuleNotFoundError) as caught:
        whole.frame()
    assert str(caught.value) == advice
    assert ran(capsys, "store", "show", whole.path) == (2, "", f"lookahead-nb: {advice}\n")


def test_nothing_in_the_store_is_a_pickle():
    source = pathlib.Path(store_module.__file__).read_text()
    assert "pickle" not in source


if __name__ == "__main__":
    folder, begin, *chosen = sys.argv[1:]
    while not Path(begin).exists():
        time.sleep(0.001)
    try:
        made(folder, wanted=chosen)
    except OSError as problem:
        sys.stdout.write(f"{problem}\n")
        sys.exit(3)
