"""Arrow IPC files and streams: read in order whatever their layout, refused when damaged."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import polars
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather

from bulk.reading import refusal, rows
from bulk.test_parquet import expected, table
from quiver.bulk.arrow_file import ArrowFileSource
from quiver.bulk.columns import Columns
from quiver.model.errors import ValidationError

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, *, stream: bool, size: int | None = None) -> Path:
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(str(path), table().schema) as writer:
        writer.write_table(table(), max_chunksize=size)
    return path


@pytest.mark.parametrize("stream", [False, True])
def test_a_file_is_read_in_order_whatever_its_layout(tmp_path: Path, stream: bool) -> None:
    for size in (None, 2):
        source = ArrowFileSource(write(tmp_path / "a.arrow", stream=stream, size=size), Columns())
        assert source.rows == (0 if stream else 5)
        for step in (1, 2, 100):
            assert rows(source, step) == expected()


def test_files_of_other_writers_are_read(tmp_path: Path) -> None:
    feather.write_feather(table(), str(tmp_path / "a.feather"), compression="zstd")
    polars.from_arrow(table()).write_ipc(tmp_path / "b.feather")
    for name in ("a.feather", "b.feather"):
        assert rows(ArrowFileSource(tmp_path / name, Columns())) == expected()


def test_what_is_no_arrow_file_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    for body in (b"", b"ARROW1", b"PAR1" * 40):
        path.write_bytes(body)
        assert "a.arrow: not an Arrow file" in refusal(lambda: ArrowFileSource(path, Columns()))
    with pytest.raises(FileNotFoundError):
        ArrowFileSource(tmp_path / "none.arrow", Columns())


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.arrow", stream=False)
    path.write_bytes(path.read_bytes().replace(b"vector", b"\xf6ector"))
    assert "a.arrow: not an Arrow file" in refusal(lambda: ArrowFileSource(path, Columns()))


@given(data=st.data(), stream=st.booleans())
def test_a_damaged_file_is_refused_or_read(tmp_path_factory, data, stream) -> None:
    path = write(tmp_path_factory.mktemp("damaged") / "a.arrow", stream=stream)
    body = bytearray(path.read_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(body[: data.draw(st.integers(len(body) // 2, len(body)))])
    with contextlib.suppress(ValidationError):
        assert len(rows(ArrowFileSource(path, Columns()))) <= 5
