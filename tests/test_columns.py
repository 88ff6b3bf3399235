"""Columns of frames as columns of arrow: every kind of value comes back, with its dtype and bits."""

import io

import numpy as np
import pandas as pd
import pytest

from lookahead_nb.training.columns import bits, column, encoded, frame_of, merged, write_csv, write_parquet

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAN = float("nan")


def there_and_back(frame):
    table, header = encoded(frame)
    return frame_of(table, header["dtypes"], merged([header]))


def test_every_kind_of_column_comes_back_bit_for_bit():
    info = np.finfo(float)
    corners = [0.0, -0.0, 0.1, info.max, -info.max, info.tiny, info.smallest_subnormal, np.inf, -np.inf, NAN]
    words = np.random.default_rng(1).integers(0, 2**64, 990, np.uint64, endpoint=False).view(float)  # odd NaNs too
    size = 1000
    several = [1, 1.0, True, False, 0, 0.0, -0.0, "1", "", "adaptive", "Zoë", 2**70, np.inf, NAN, np.float32(0.1), NAN]
    frame = pd.DataFrame({
        "float64": [*corners, *words],
        "float32": np.random.default_rng(2).integers(0, 2**32, size, np.uint32).view(np.float32),
        "int64": np.random.default_rng(3).integers(-(2**63), 2**63 - 1, size, endpoint=True),
        "uint64": np.full(size, 2**64 - 1, np.uint64),
        "int8": np.arange(size).astype(np.int8),
        "bool": np.arange(size) % 3 == 0,
        "nothing": NAN,
        "text": np.where(np.arange(size) % 2, 'a, "b"\n', ""),
        "text or nothing": pd.Series(["keep", NAN] * (size // 2), dtype="str"),
        "word or nothing": pd.Series(["keep", NAN] * (size // 2), dtype=object),
        "true or nothing": pd.Series([True, NAN] * (size // 2), dtype=object),
        "only true": pd.Series([True] * size, dtype=object),
        "only nothing": pd.Series([NAN] * size, dtype=object),
        "several": pd.Series([*several, *["x"] * (size - len(several))], dtype=object),
    })  # fmt: skip
    plain = pd.Series([v.item() if isinstance(v, np.generic) else v for v in frame["several"]], dtype=object)
    expected = frame.assign(several=plain, **{"word or nothing": frame["text or nothing"]})
    found = there_and_back(frame)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    for name in expected.select_dtypes("float"):
        assert found[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name
    for name in expected.columns[expected.dtypes.astype(str) == "object"]:
        assert list(map(type, found[name])) == list(map(type, expected[name])), name
    assert str(found["several"][6]) == "-0.0"


def test_columns_that_were_left_out_stay_out_and_others_are_nan():
    table, header = encoded(pd.DataFrame({"x": [1.0], "y": ["a"]}))
    found = frame_of(table.select(["y"]), header["dtypes"], {"x": "float64", "y": "str", "z": "float64"})
    assert found.columns.tolist() == ["y", "z"]
    assert found["y"].tolist() == ["a"]
    assert found["z"].isna().all()


@pytest.mark.parametrize("bad", [[object()], [[1, 2]], [b"x"], pd.to_datetime(["2020-01-01"]), [1 + 2j]])
def test_other_values_are_refused_by_the_name_of_the_column(bad):
    with pytest.raises(TypeError, match="column 'x' must hold numbers, truth values"):
        column("x", pd.Series(bad))


@pytest.mark.parametrize(
    ("parts", "dtype"),
    [
        ([[1.0], [NAN]], "float64"),
        ([[1], [NAN]], "float64"),
        ([[1], [2]], "int64"),
        ([["a"], [NAN]], "str"),
        ([[NAN], [NAN]], "float64"),
        ([[True], [NAN]], "object"),
        ([[0.5], ["a"]], "object"),
        ([["a"], None], "str"),
        ([[1], None], "float64"),
        ([[True], [False]], "bool"),
    ],
)
def test_merged_columns_have_the_dtype_that_pandas_gives_to_all_rows(parts, dtype):
    """None is a part without the column."""
    frames = [pd.DataFrame({"w": [0], **({} if part is None else {"x": part})}) for part in parts]
    headers = [encoded(frame)[1] for frame in frames]
    assert merged(headers) == merged(headers[::-1]) == {"w": "int64", "x": dtype}


def test_merged_columns_stand_where_the_first_table_puts_them():
    headers = [encoded(pd.DataFrame({name: [1.0] for name in names}))[1] for names in ("ad", "abd", "cd")]
    assert list(merged(headers)) == ["c", "a", "b", "d"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([0.0], [-0.0], False),
        ([NAN], [NAN], True),
        ([NAN], [-NAN], False),
        ([1.0, NAN], [1.0, NAN], True),
        (["a", NAN], ["a", NAN], True),
        (["a"], ["b"], False),
        (pd.Series([0.0, "a"], dtype=object), pd.Series([-0.0, "a"], dtype=object), False),
        (pd.Series([1, "a"], dtype=object), pd.Series([True, "a"], dtype=object), False),
    ],
)
def test_equal_bits_are_told_from_equal_values(one, other, same):
    assert (bits("x", pd.Series(one)) == bits("x", pd.Series(other))) is same


def test_files_have_the_values_of_all_frames_and_types_for_columns_of_objects():
    columns = {"whole": [5, NAN], "number": [5, 0.5], "word": ["a", NAN], "truth": [NAN, True], "mixed": [0.5, "b"]}
    first = pd.DataFrame({name: pd.Series(of, dtype=object) for name, of in columns.items()})
    frames = [first, pd.DataFrame({name: pd.Series([NAN, NAN], dtype=object) for name in columns})]
    headers = [encoded(frame)[1] for frame in frames]
    dtypes, kinds = (
        merged(headers),
        {name: {kind for header in headers for kind in header["kinds"][name]} for name in columns},
    )
    file = io.BytesIO()
    write_parquet(file, frames, dtypes, kinds)
    table = parquet.read_table(pa.BufferReader(file.getvalue()))
    assert [str(kind) for kind in table.schema.types] == ["int64", "double", "string", "bool", "string"]
    expected = {"whole": [5, None], "number": [5, 0.5], "word": ["a", None], "truth": [None, True]}
    expected |= {"mixed": ["0.5", "b"]}
    assert table.to_pydict() == {name: [*of, None, None] for name, of in expected.items()}
    file = io.BytesIO()
    write_csv(file, frames, dtypes, kinds)
    assert file.getvalue().decode() == "whole,number,word,truth,mixed\n5,5,a,,0.5\n,0.5,,True,b\n" + 2 * ",,,,\n"
