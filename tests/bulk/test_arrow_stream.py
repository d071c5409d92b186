"""Arrow streams from strangers: what is refused before it is decoded, and that noise never gets further."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bulk.reading import refusal, rows
from quiver.bulk import arrow_stream
from quiver.bulk.arrow_stream import open_arrow_stream
from quiver.bulk.columns import Columns
from quiver.model.errors import ValidationError

BROKEN = "The request body is not a whole Arrow IPC stream"


def table(**more: Any) -> pa.Table:
    vectors = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2))
    return pa.table({"key": ["a", "b"], "vector": vectors, **more})


def stream(data: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, data.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(data, max_chunksize=1)
    return sink.getvalue()


def read(data: bytes) -> Any:
    return rows(open_arrow_stream(data, Columns()))


def test_a_stream_is_read() -> None:
    data = table(n=[1, None], s=["x", "y"], tags=[["p"], None], nothing=pa.nulls(2), m=[{"q": 1}, None])
    assert [row[:2] for row in read(stream(data))] == [("a", [1, 2]), ("b", [3, 4])]
    text = stream(table(metadata=['{"n":1}', None]))
    assert [document for _, _, document in read(text)] == [{"n": 1}, None]
    entries = pa.array([[("n", 1)], []], pa.map_(pa.string(), pa.int64()))
    assert [document for _, _, document in read(stream(table(metadata=entries)))] == [{"n": 1}, {}]
    assert read(stream(table().slice(2))) == []


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_buffers_are_refused_undecoded(codec: str) -> None:
    bomb = pa.table({"key": ["a"], "vector": pa.array([[0.0] * 10**7], pa.list_(pa.float32(), 10**7))})
    data = stream(bomb, compression=codec)
    assert len(data) < 10**6
    assert refusal(lambda: open_arrow_stream(data, Columns())) == "Arrow buffers must not be compressed"


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"x", b"y"]),
        pa.array(["x", "y"], pa.string_view()),
        pa.array([[1], [2]], pa.list_view(pa.int64())),
        pa.array([[True], [False]]),
        pa.array([[[1]], [[2]]]),
        pa.array([{"a": {"b": 1}}, None]),
        pa.array([[None], [None]]),
        pa.array([1, 2], pa.timestamp("s")),
        pa.RunEndEncodedArray.from_arrays([2], ["x"]),
        pa.UnionArray.from_sparse(pa.array([0, 0], pa.int8()), [pa.array([1, 2])]),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16] * 2, pa.binary(16))),
    ],
)
def test_types_that_have_no_place_here_are_refused(column: pa.Array) -> None:
    message = refusal(lambda: read(stream(table(x=column))))
    assert message.startswith("The column 'x' has the type ")
    assert message.endswith(", which is not accepted here")


def test_dictionaries_are_refused() -> None:
    data = stream(table(x=pa.array(["x", "y"]).dictionary_encode()))
    assert refusal(lambda: read(data)) == "An Arrow stream may not hold a dictionary message here"


def test_large_messages_and_wide_schemas_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_stream, "MAX_MESSAGE", 2000)
    assert len(read(stream(table()))) == 2
    wide = stream(table(x=["x" * 2000, ""]))
    assert refusal(lambda: read(wide)) == "A record batch may have at most 2000 bytes"
    monkeypatch.setattr(arrow_stream, "MAX_COLUMNS", 2)
    assert refusal(lambda: read(stream(table(x=[1, 2])))) == "An Arrow stream may have at most 2 columns"


def test_big_endian_data_are_refused() -> None:
    """The schema's table leaves the byte order out; some one byte of its message puts it where a 1 is."""
    good = stream(table())
    messages: set[str] = set()
    for place in range(200):
        for value in range(4, 28, 2):
            data = bytearray(good)
            data[place] = value
            try:
                read(bytes(data))
            except ValidationError as error:
                messages.add(error.message)
    assert "Arrow data must be little-endian" in messages


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 100, -30, -20])
def test_a_stream_that_is_cut_short_is_refused(cut: int) -> None:
    assert refusal(lambda: read(stream(table())[:cut])) == BROKEN


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"PAR1", b"ARROW1\x00\x00", b"\xff" * 64])
def test_anything_else_is_refused(data: bytes) -> None:
    assert refusal(lambda: read(data)) == BROKEN


def test_a_batch_that_contradicts_itself_is_refused_when_it_is_read() -> None:
    data = bytearray(stream(table(s=["longer text", "x"])))
    at = data.index(b"longer text")
    data[at] = 0xFF
    source = open_arrow_stream(bytes(data), Columns())
    assert refusal(lambda: rows(source)) == "A record batch of the Arrow stream is not valid"


def test_noise_ends_in_a_refusal_or_in_rows() -> None:
    good = stream(table(n=[1, 2], s=["x", None], tags=[["p", "q"], ["r"]], m=[{"q": 1.5}, None]))
    chance = random.Random(7)
    refused = 0
    for _ in range(3_000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 4, 127, 255, chance.randrange(256)])
        try:
            for batch in open_arrow_stream(bytes(data), Columns()).batches(100):
                assert len(batch.keys) == len(batch.vectors)
                assert all(isinstance(vector, np.ndarray) for vector in batch.vectors)
        except ValidationError:
            refused += 1
    assert 1_000 < refused < 3_000
