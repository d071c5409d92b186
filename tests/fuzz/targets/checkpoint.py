"""Checkpoints: the session table, and the states of an index and of the catalog inside."""

from __future__ import annotations

import msgspec
import numpy as np

from quiver.engine.native.state import (
    IndexCheckpoint,
    IndexState,
    Pin,
    Reservation,
    SegmentRef,
    encode_checkpoint,
    references_of,
)
from quiver.format.checkpoint import Checkpoint, Session, decode, encode
from quiver.format.postings import encode_bitmap
from quiver.model.errors import DataError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service.catalog_state import CatalogState

SPEC = IndexSpec(7, DistanceMetric.COSINE, ("a", "\u00e9"))
DEAD = encode_bitmap(np.array([0, 3, 9], np.uint32))
SEGMENTS = [SegmentRef("1-1-f", 10, 1 << 40, DEAD), SegmentRef("2-9-e", 3, 5, b"", "a" * 32, 1000, 100)]
INDEX = IndexCheckpoint(
    SPEC,
    SEGMENTS,
    [Reservation("3-1-a", 7.5)],
    pins=[Pin("f" * 32, "name", 7.5, 9, SEGMENTS, "b" * 32)],
    origin="a" * 32,
)
SESSIONS = {"w" * 32: Session(4, 8, [None, ["NotFoundException", "x"]])}


def _seeds() -> list[bytes]:
    state = encode_checkpoint(INDEX)
    catalog = CatalogState().encode()
    whole = [encode(Checkpoint(2, 9, False, SESSIONS, 3, body)) for body in (state, catalog, b"")]
    return [b"p" + each for each in whole] + [b"i" + state, b"c" + catalog]


SEEDS = _seeds()


def run(data: bytes) -> None:
    """After `p` a payload; after `i` or `c` the state of an index or of the catalog, in a sound payload."""
    kind, body = data[:1], data[1:]
    if kind in (b"i", b"c"):
        body = encode(Checkpoint(2, 9, False, SESSIONS, 3, body))
    try:
        checkpoint = decode("key", memoryview(body))
    except DataError:
        return
    for read in (_index, _catalog):
        try:
            read(checkpoint)
        except DataError:
            continue


def _index(checkpoint: Checkpoint) -> None:
    references_of(checkpoint)
    state = IndexState(SPEC)
    state.restore(checkpoint)
    for segment in state.segments:
        dead = segment.dead()
        assert not dead or dead.max() < segment.rows


def _catalog(checkpoint: Checkpoint) -> None:
    state = CatalogState.decode(checkpoint.state)
    assert msgspec.msgpack.decode(state.encode()) is not None
    state.list_buckets("", "", 500)
