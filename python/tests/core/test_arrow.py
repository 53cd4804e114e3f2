"""Arrow tables as values."""

import pytest

pa = pytest.importorskip("pyarrow")

from ray._core import serialization  # noqa: E402


def round_trip(value):
    blob = serialization.serialize(value).to_bytes()
    return blob, serialization.deserialize(blob)


def table(rows=1000):
    return pa.table({"n": list(range(rows)), "s": [str(i) for i in range(rows)]}).replace_schema_metadata({"a": "b"})


def test_tables_and_batches_come_back_equal():
    value = table()
    blob, found = round_trip(value)
    assert blob[0] == serialization.ARROW
    assert type(found) is pa.Table and found.equals(value, check_metadata=True)
    batch = value.to_batches()[0]
    blob, found = round_trip(batch)
    assert blob[0] == serialization.ARROW
    assert type(found) is pa.RecordBatch and found.equals(batch)


def test_a_slice_travels_alone():
    whole = len(serialization.serialize(table()).to_bytes())
    blob, found = round_trip(table().slice(10, 3))
    assert len(blob) < whole / 4
    assert found.column("n").to_pylist() == [10, 11, 12]


@pytest.mark.parametrize("rows", [0, 1])
def test_small_and_empty(rows):
    value = table(rows)
    assert round_trip(value)[1].equals(value)


def test_chunks_are_kept():
    value = pa.concat_tables([table(3), table(2)])
    assert round_trip(value)[1].equals(value)


def test_columns_are_views_of_the_blob():
    blob = bytearray(serialization.serialize(table()).to_bytes())
    found = serialization.deserialize(blob, memoryview(blob).toreadonly())
    buffer = found.column("n").chunk(0).buffers()[1]
    start = pa.py_buffer(blob).address
    assert start <= buffer.address < start + len(blob)


def test_other_arrow_values_and_tables_inside_values_are_pickled():
    blob, found = round_trip(pa.array([1, 2]))
    assert blob[0] == serialization.PICKLE and found.to_pylist() == [1, 2]
    blob, found = round_trip({"t": table(3)})
    assert blob[0] == serialization.PICKLE and found["t"].num_rows == 3
