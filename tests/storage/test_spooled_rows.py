"""Tests of rows on their way into a segment: the last of each key, wherever they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.format.keys import utf8_hashes
from quiver.model.types import VectorBatch
from quiver.storage import spooled_rows
from quiver.storage.spool import Spool
from quiver.storage.spooled_rows import SpooledRows

KEYS = st.lists(st.sampled_from(["a", "b", "c", "", "\u00e9", "ab", "nul\x00"]) | st.text(max_size=3), max_size=12)
BATCHES = st.lists(KEYS, max_size=6)
Row = tuple[str, list[float], bytes]


def spooled(batches: list[list[str]], memory_bytes: int = 1 << 20) -> tuple[SpooledRows, list[Row]]:
    """Batches with these keys, and their rows in order; every row is different."""
    taken, rows = SpooledRows(Spool(memory_bytes=memory_bytes), 3), []
    for keys in batches:
        first = len(rows)
        vectors = np.arange(first, first + len(keys), dtype=np.float32)[:, None] * [1, -1, 0.5]
        metadata = [b'{"n":%d}' % number if number % 3 else b"{}" for number in range(first, first + len(keys))]
        taken.append(VectorBatch(keys, vectors.astype(np.float32), metadata))
        rows += zip(keys, vectors.tolist(), metadata, strict=True)
    return taken, rows


def last_of_each(rows: list[Row]) -> list[Row]:
    """In the order of the rows that are kept."""
    last = {row[0]: number for number, row in enumerate(rows)}
    return [rows[number] for number in sorted(last.values())]


def read(taken: SpooledRows, order: np.ndarray | None = None) -> list[Row]:
    source = taken.source()
    chosen = np.arange(source.rows) if order is None else order
    keys, metadata = source.texts(chosen)
    return list(zip(map(bytes.decode, keys), source.vectors(chosen).tolist(), metadata, strict=True))


@pytest.mark.parametrize("memory_bytes", [0, 1 << 62], ids=["in a file", "in memory"])
@given(batches=BATCHES)
def test_the_last_row_of_each_key_wins_within_and_across_batches(memory_bytes, batches):
    taken, rows = spooled(batches, memory_bytes)
    assert taken.rows == len(rows)
    assert taken.nbytes == sum(len(key.encode()) + 12 + len(text) for key, _, text in rows)
    assert read(taken) == last_of_each(rows)


@given(batches=BATCHES, modulus=st.sampled_from([1, 2, 3]))
def test_keys_whose_hashes_collide_are_told_apart(batches, modulus):
    taken, rows = spooled([])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            spooled_rows,
            "utf8_hashes",
            lambda keys: np.array([sum(key) % modulus for key in keys], np.uint64),
        )
        taken, rows = spooled(batches)
        assert read(taken) == last_of_each(rows)


@given(batches=BATCHES, seed=st.integers(0, 99))
def test_rows_are_read_in_any_order_and_more_than_once(batches, seed):
    taken, rows = spooled(batches)
    wanted = last_of_each(rows)
    order = np.random.default_rng(seed).integers(0, max(1, len(wanted)), 20 if wanted else 0)
    assert read(taken, order) == [wanted[number] for number in order.tolist()]


@given(batches=BATCHES, seed=st.integers(0, 9))
def test_hashes_are_those_of_the_keys(batches, seed):
    source = spooled(batches)[0].source()
    chosen = np.random.default_rng(seed).integers(0, source.rows, 20 if source.rows else 0)
    keys = source.texts(chosen)[0]
    assert source.hashes(chosen, keys).tolist() == utf8_hashes(keys).tolist()


def test_without_rows_there_is_an_empty_source():
    for batches in ([], [[]], [[], []]):
        taken, _ = spooled(batches)
        source = taken.source()
        assert (source.rows, source.dimension, list(source.parts())) == (0, 3, [])
        assert source.vectors(np.zeros(0, np.int64)).shape == (0, 3)


def test_the_parts_of_a_source_are_its_rows_in_order(monkeypatch):
    monkeypatch.setattr("quiver.storage.row_source.GROUP_BYTES", 4 * 3 * 4)
    taken, rows = spooled([["a", "b", "a"], ["c", "d", "e", "f", "b"], ["g"]])
    wanted = [row[1] for row in last_of_each(rows)]
    parts = list(taken.source().parts())
    assert [first for first, _ in parts] == [0, 4]
    assert np.concatenate([part for _, part in parts]).tolist() == wanted


def test_vectors_are_kept_whatever_their_layout_in_memory():
    vectors = np.arange(24, dtype=np.float32).reshape(4, 6)
    taken = SpooledRows(Spool(), 3)
    taken.append(VectorBatch(["a", "b", "c", "d"], vectors[:, ::2], [b"{}"] * 4))
    assert (taken.source().vectors(np.arange(4)) == vectors[:, ::2]).all()


def test_rows_taken_here_and_there_leave_no_pages_of_a_file_mapped(tmp_path):
    rows, dimension = 8192, 512
    spooled = SpooledRows(Spool(str(tmp_path), 0), dimension)
    vectors = np.arange(rows * dimension, dtype=np.float32).reshape(rows, dimension)
    spooled.append(VectorBatch(list(map(str, range(rows))), vectors, [b""] * rows))
    source = spooled.source()
    before = _mapped_kib()
    order = np.random.default_rng(7).permutation(rows)
    for part in np.array_split(order, 16):
        assert np.array_equal(source.vectors(part), vectors[part])
    assert _mapped_kib() - before < vectors.nbytes / 1024 / 4


def _mapped_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile"))
