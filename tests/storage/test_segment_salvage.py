"""Tests of reading rows without their index: all of them, or a reason why not."""

from __future__ import annotations

import numpy as np
import pytest

from format.test_rows_parquet import write
from quiver.format import paths, rows_parquet
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.storage.segment_salvage import salvage_rows
from storage.segments import PARTITIONED, ROWS_KEY, SEGMENT, built, flat_spec, index_bytes, sample
from storage.tape import OWNER, ROOT

BATCH = sample(100, 5)
SPEC = flat_spec(5)
NOTHING = b""


def salvage(rows: bytes | memoryview, index: bytes = NOTHING, spec: IndexSpec = SPEC):
    return salvage_rows(ROOT, OWNER, SEGMENT, memoryview(rows), memoryview(index), spec)


@pytest.mark.parametrize("group_bytes", [64 << 20, 4 * 5 * 7])
def test_every_row_is_read_in_the_order_of_the_file(monkeypatch, group_bytes):
    monkeypatch.setattr(rows_parquet, "GROUP_BYTES", group_bytes)
    for options in (None, PARTITIONED):
        segment = built(BATCH, IndexSpec(5, DistanceMetric.COSINE, (), "kmeans", "rabitq"), options)
        found = salvage(segment.rows_file)
        rows = np.arange(100)
        assert found.rows == 100
        assert (found.take_vectors(rows) == BATCH.vectors[segment.order]).all()
        assert [found.key(row) for row in rows] == [BATCH.keys[row] for row in segment.order]
        assert found.metadata_of(rows) == [BATCH.metadata[row] for row in segment.order]


def changed(**values: object) -> bytes:
    batch = {"keys": BATCH.keys, "vectors": BATCH.vectors, "metadata": BATCH.metadata, **values}
    with np.errstate(invalid="ignore"):
        return bytes(written(VectorBatch(**batch)))


def written(batch: VectorBatch) -> memoryview:
    """rows.parquet as a writer that checks nothing makes it."""
    return write(list(batch.keys), batch.vectors, list(batch.metadata)).data


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"keys": [*BATCH.keys[:-1], "key-3"]}, "twice"),
        (
            {"vectors": np.where(np.arange(500).reshape(100, 5) == 77, np.nan, BATCH.vectors).astype("<f4")},
            "finite",
        ),
        (
            {"vectors": np.where(np.arange(500).reshape(100, 5) == 77, np.inf, BATCH.vectors).astype("<f4")},
            "finite",
        ),
        ({"metadata": [*BATCH.metadata[:-1], b"{"]}, "JSON"),
        ({"metadata": [b"[]", *BATCH.metadata[1:]]}, "JSON object"),
    ],
    ids=["keys", "not a number", "infinite", "metadata", "no object"],
)
def test_values_that_no_segment_holds_are_refused(values, problem):
    assert salvage(changed()).rows == 100
    with pytest.raises(CorruptObjectError, match=f"{ROWS_KEY}: .*{problem}"):
        salvage(changed(**values))


def test_no_rows_another_dimension_and_no_parquet_are_refused():
    empty = changed(keys=[], vectors=np.zeros((0, 5), np.float32), metadata=[])
    for rows, spec in ((empty, SPEC), (changed(), flat_spec(4)), (b"PAR1", SPEC), (b"", SPEC)):
        with pytest.raises(CorruptObjectError, match=paths.ROWS):
            salvage(rows, spec=spec)


def test_checksums_that_are_left_of_the_index_are_used():
    segment = built(BATCH, SPEC)
    rows, index = bytearray(segment.rows_file), bytearray(index_bytes(segment))
    rows[segment.footer.runs[0].offset] ^= 1  # another number, as good as the one before
    assert salvage(bytes(rows)).rows == 100
    index[70] ^= 1  # in a section that is not about rows.parquet
    with pytest.raises(CorruptObjectError, match="block 0"):
        salvage(bytes(rows), bytes(index))
    assert salvage(segment.rows_file, bytes(index)).rows == 100
    for useless in (index[:-1], index[:200], b"x" * 1000, index_bytes(segment, sections={"blocks": b""})):
        assert salvage(segment.rows_file, bytes(useless)).rows == 100
