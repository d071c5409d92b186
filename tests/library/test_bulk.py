"""Bulk loading and export through the library, over the real engine."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import quiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT = 12_000
"""More than goes through the log."""
DIMENSION = 8


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Any]:
    with quiver.connect(str(tmp_path / "data")) as connection:
        connection.create_bucket("demo")
        yield connection


@pytest.fixture
def index(db: Any) -> Any:
    return db.bucket("demo").create_index("words", dimension=DIMENSION, metric="euclidean")


def matrix(count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((count, DIMENSION)).astype(np.float32)


KEYS = [f"k{i}" for i in range(COUNT)]


def test_what_was_loaded_is_found_beside_what_was_put(index: Any) -> None:
    vectors = matrix()
    index.put(["k3", "other"], np.zeros((2, DIMENSION)), [{"old": True}, {"old": True}])
    assert index.put_many((KEYS, vectors, [{"n": i} for i in range(COUNT)])) == COUNT
    assert sorted(index) == sorted([*KEYS, "other"])
    found = index.get(["k3", "other", "k11999"])
    assert found.metadata == [{"n": 3}, {"old": True}, {"n": 11_999}]
    np.testing.assert_array_equal(found.vectors[[0, 2]], vectors[[3, 11_999]])
    assert index.query(vectors[77], k=1, filter={"n": 77}).keys == ["k77"]
    index.put(["k77"], np.ones((1, DIMENSION)))
    index.delete(["k78"])
    assert index.get(["k77", "k78"]).metadata == [{}]


def test_a_bad_row_far_down_leaves_the_index_as_it_was(index: Any) -> None:
    index.put(["a"], np.ones((1, DIMENSION)))
    vectors = matrix()
    vectors[11_111, 3] = np.nan
    with pytest.raises(quiver.errors.ValidationError) as caught:
        index.put_many((KEYS, vectors))
    text = "Invalid record for key 'k11111': vector contains NaNs or Infs"
    assert caught.value.message == f"vectors[11111]: {text}"
    assert caught.value.fields == (quiver.errors.FieldError("vectors[11111]", text),)
    assert list(index) == ["a"]


def test_an_export_can_be_loaded_again(db: Any, index: Any, tmp_path: Path) -> None:
    path = tmp_path / "words.parquet"
    vectors, metadata = matrix(), [{"n": i, "s": "é" * (i % 3)} for i in range(COUNT)]
    index.put_many((KEYS, vectors, metadata))
    index.delete(["k0"])
    stages: list[Any] = []
    assert index.export(path, progress=lambda *report: stages.append(report)) == COUNT - 1
    assert stages[-1] == ("write", COUNT - 1, 0)
    assert pq.read_metadata(path).num_rows == COUNT - 1
    copy = db.bucket("demo").create_index("copy", dimension=DIMENSION, metric="euclidean")
    assert copy.put_many(path) == COUNT - 1
    found = copy.get(KEYS[1:])
    np.testing.assert_array_equal(found.vectors, vectors[1:])
    assert found.metadata == metadata[1:]
    lines = tmp_path / "words.jsonl"
    rows = pq.read_table(path).to_pylist()
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows[:50]))
    assert copy.put_many(str(lines)) == 50


def test_columns_are_chosen_by_name(index: Any) -> None:
    import pyarrow as pa

    vectors = pa.array(matrix(3).tolist(), pa.list_(pa.float64()))
    table = pa.table({"name": ["a", "b", "c"], "embedding": vectors, "x": [1, None, 3], "y": ["p", "q", "r"]})
    assert index.put_many(table, key="name", vector="embedding", metadata=["x"]) == 3
    assert index.get(["a", "b"]).metadata == [{"x": 1}, {}]
    with pytest.raises(quiver.errors.ValidationError, match="there is no column 'key' or 'id'"):
        index.put_many(table)


def test_batches_are_read_as_of_one_moment(index: Any) -> None:
    vectors = matrix()
    index.put_many((KEYS, vectors, [{"n": i} for i in range(COUNT)]))
    seen: dict[str, int] = {}
    for number, rows in enumerate(index.batches(1000)):
        assert len(rows) <= 1000
        numbers = [document["n"] for document in rows.metadata]
        np.testing.assert_array_equal(rows.vectors, vectors[numbers])
        seen.update(zip(rows.keys, numbers, strict=True))
        if number == 0:
            index.delete(KEYS[:6000])
    assert seen == {key: i for i, key in enumerate(KEYS)}


def test_the_same_methods_are_coroutines(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with await quiver.async_connect("memory:") as db:
            index = await (await db.create_bucket("demo")).create_index("words", dimension=DIMENSION)
            assert await index.put_many((KEYS, matrix())) == COUNT
            assert sum([len(rows) async for rows in index.batches()]) == COUNT
            assert await index.export(tmp_path / "out.parquet", compression="none") == COUNT

    asyncio.run(scenario())


def test_errors_of_files_are_those_of_python(index: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        index.put_many(tmp_path / "none.parquet")
    with pytest.raises(FileNotFoundError):
        index.export(tmp_path / "none" / "out.parquet")
    with pytest.raises(TypeError, match="rows come from"):
        index.put_many(7)
