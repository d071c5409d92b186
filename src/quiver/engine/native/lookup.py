"""Rows by key: the tail knows the newest version, or the segments' key hashes find it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.engine.engine import Lookup, Row
from quiver.format.keys import key_hashes
from quiver.storage.cache.view import Missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quiver.engine.native.candidates import Source
    from quiver.engine.native.snapshot import Snapshot
    from quiver.engine.native.tail import Place


def make_row(source: Source, number: int, *, vectors: bool, metadata: bool) -> Row:
    """Row `number` of a source, with what is asked for. Raises MissingBytesError with all that it lacks."""
    missing, vector, document = Missing(), None, None
    with missing:
        vector = source.take_vectors(np.array([number]))[0] if vectors else None
    with missing:
        key = source.keys_of([number])[0]
    with missing:
        document = source.metadata_of([number])[0] if metadata else None
    missing.raise_any()
    return Row(key, vector, document)


def make_rows(places: Iterable[tuple[Source, int]], *, vectors: bool, metadata: bool) -> list[Row]:
    """Rows of sources, by number. Raises MissingBytesError with all that is missing for any of them."""
    rows, missing = [], Missing()
    for source, number in places:
        with missing:
            rows.append(make_row(source, number, vectors=vectors, metadata=metadata))
    missing.raise_any()
    return rows


def look_up(
    snapshot: Snapshot, in_tail: dict[str, Place | None], keys: Iterable[str], *, vectors: bool, metadata: bool
) -> Lookup:
    """The rows with these distinct keys; `in_tail` is what the tail knew about them at the snapshot's commit."""
    rows = [
        make_row(place.block, place.row, vectors=vectors, metadata=metadata)
        for place in in_tail.values()
        if place is not None
    ]
    unknown = [key for key in keys if key not in in_tail]
    rows += _in_segments(snapshot, unknown, vectors=vectors, metadata=metadata)
    return Lookup(rows, snapshot.commit)


def _in_segments(snapshot: Snapshot, keys: Sequence[str], *, vectors: bool, metadata: bool) -> list[Row]:
    hashes = key_hashes(keys)
    rows, missing = [], Missing()
    for opened in snapshot.segments:
        with missing:
            reader, dead = opened
            numbers, candidates = reader.candidates(hashes)
            opened.require_live(candidates, vectors=vectors, metadata=metadata)
            found = reader.match(keys, numbers, candidates)
            rows += make_rows(
                [(reader, row) for row in found[found >= 0].tolist() if row not in dead],
                vectors=vectors,
                metadata=metadata,
            )
    missing.raise_any()
    return rows
