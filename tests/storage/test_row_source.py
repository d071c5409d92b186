"""Tests of row sources: rows of a batch, and chosen rows of several segments, in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.format import rows_parquet
from quiver.storage.row_source import BatchSource, RowSource, SegmentsSource
from storage.segments import flat_spec, opened, sample


def rows_of(source: RowSource, chosen: np.ndarray) -> list[tuple[bytes, list[float], bytes]]:
    keys, metadata = source.texts(chosen)
    return list(zip(keys, source.vectors(chosen).tolist(), metadata, strict=True))


@pytest.fixture(scope="module")
def readers():
    batches = [sample(rows, 3, prefix=f"segm\u00e9nt-{rows}-") for rows in (1, 7, 40)]
    return [opened(batch, flat_spec(3)) for batch in batches], [
        rows_of(BatchSource(b), np.arange(len(b.keys))) for b in batches
    ]


def test_a_batch_is_read_in_any_order():
    batch = sample(20, 3)
    source = BatchSource(batch)
    order = np.array([3, 19, 3, 0])
    assert (source.rows, source.dimension) == (20, 3)
    assert (source.vectors(order) == batch.vectors[order]).all()
    assert source.texts(order) == (
        [batch.keys[row].encode() for row in order],
        [batch.metadata[row] for row in order],
    )
    assert source.texts(np.zeros(0, np.int64)) == ([], [])


@settings(max_examples=50)
@given(data=st.data())
def test_chosen_rows_of_segments_stand_one_after_the_other(readers, data):
    opened_segments, stored = readers
    chosen = [sorted(data.draw(st.sets(st.integers(0, len(rows) - 1), max_size=len(rows)))) for rows in stored]
    source = SegmentsSource(opened_segments, [np.array(rows, np.int64) for rows in chosen], 3)
    wanted = [stored[number][row] for number, rows in enumerate(chosen) for row in rows]
    assert source.rows == len(wanted)
    assert rows_of(source, np.arange(source.rows)) == wanted
    if wanted:
        order = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=30))
        assert rows_of(source, np.array(order, np.int64)) == [wanted[row] for row in order]


def test_no_segments_and_segments_of_which_nothing_is_chosen_have_no_rows(readers):
    none = np.zeros(0, np.int64)
    for source in (SegmentsSource([], [], 3), SegmentsSource(readers[0], [none] * 3, 3)):
        assert source.rows == 0
        assert list(source.parts()) == []
        assert source.vectors(none).shape == (0, 3)


def test_parts_are_as_small_as_a_row_group(monkeypatch):
    monkeypatch.setattr("quiver.storage.row_source.GROUP_BYTES", 4 * 3 * 8)
    batch = sample(20, 3)
    parts = list(BatchSource(batch).parts())
    assert [(first, len(part)) for first, part in parts] == [(0, 8), (8, 8), (16, 4)]
    assert (np.concatenate([part for _, part in parts]) == batch.vectors).all()
    assert rows_parquet.rows_per_group(3) > 8
