"""Tables of rows: what is packed comes back, half a table counts for nothing, other entries and numbers are named."""

import numpy as np
import pandas as pd
import pytest

from lookahead_nb.claims import shards
from lookahead_nb.claims.shards import OutdatedError

pytestmark = pytest.mark.no_kernel


@pytest.fixture
def rows():
    """Two tasks, of which the second has more rates, and two arms in no order."""
    table = pd.DataFrame([
        {"number": n, "arm": arm, "multiple": m, "metric": metric, "tuning": tuning, "r0": n + m, "r1": 0.5,
         "lowest": np.nan if tuning == "own of 24" else 0.25, "highest": 0.0, "rates": rates}
        for n, rates in ((9, 24), (3, 36)) for arm in ("b", "a")
        for m, kind in ((1.0, "test loss, own"), (1.0, "test loss, own of 24"), (1.0, "test error, own"),
                        (2.0, "test loss, own"))
        for metric, tuning in [kind.split(", ")]
        if (arm, m) != ("a", 2.0)
    ])  # fmt: skip
    table.loc[table["tuning"] == "own of 24", "highest"] = np.nan
    return table


def test_packed_rows_are_unpacked(rows):
    table = shards.packed(rows)
    assert len(table) == 6
    pd.testing.assert_frame_equal(shards.unpacked(table), rows)
    pd.testing.assert_frame_equal(shards.packed(shards.unpacked(table)), table)


def test_what_is_written_is_read(rows, tmp_path):
    paths = [
        shards.write_shard(part, name, tmp_path, "abc")
        for name, part in (("00", rows[rows["number"] == 9]), ("01", rows[rows["number"] == 3]))
    ]
    pd.testing.assert_frame_equal(shards.read_shards(paths), rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00.csv", "00.json", "01.csv", "01.json"]
    shards.refuse_outdated(paths[0], "abc", "the experiment 'one'")
    with pytest.raises(OutdatedError, match=r"00.csv must belong to the experiment 'one' as registered \(hash abd\)"):
        shards.refuse_outdated(paths[0], "abd", "the experiment 'one'")
    paths[0].with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"00.json is missing next to 00.csv"):
        shards.refuse_outdated(paths[0], "abc", "the experiment 'one'")


@pytest.mark.parametrize("at", ["write_table", "replace"])
def test_an_interruption_leaves_no_table(rows, tmp_path, monkeypatch, at):
    def stop(*_, **__):
        raise KeyboardInterrupt

    if at == "write_table":
        monkeypatch.setattr(shards.provenance, "write_table", stop)
    else:
        replace, moved = shards.Path.replace, []
        monkeypatch.setattr(
            shards.Path, "replace", lambda path, to: stop() if moved else (moved.append(path), replace(path, to))[1]
        )
    with pytest.raises(KeyboardInterrupt):
        shards.write_shard(rows, "00", tmp_path, "abc")
    assert not [*tmp_path.rglob("*.csv")]
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def changed(rows, factor, tuning="own"):
    one = (rows["number"] == 3) & (rows["tuning"] == tuning) & (rows["metric"] == "test loss")
    return rows.assign(r1=rows["r1"].where(~one, rows["r1"] * factor))


def test_other_numbers_are_named_by_their_task(rows):
    assert shards.different_tasks(rows, rows.copy(), [3, 9], exact=True) == []
    assert shards.different_tasks(rows, changed(rows, 1 + 1e-9), [9, 3], exact=True) == [3]
    assert shards.different_tasks(rows, changed(rows, 1 + 1e-9), [9], exact=True) == []
    assert shards.different_tasks(rows, changed(rows, 1 + 1e-9), [9, 3], exact=False) == []
    assert shards.different_tasks(rows, changed(rows, 1 + 1e-5), [9, 3], exact=False) == [3]
    assert shards.different_tasks(rows, changed(rows, 1 + 1e-9, "own of 24"), [3], exact=True) == []
    assert shards.different_tasks(rows, rows.assign(rates=30), [9, 3], exact=False) == [9, 3]
