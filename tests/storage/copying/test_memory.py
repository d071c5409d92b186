"""Copying takes memory for pieces of objects, not for objects."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from asynchronous import asynchronous
from quiver.engine.native.state import IndexCheckpoint, SegmentRef, encode_checkpoint
from quiver.format import paths, segment_index
from quiver.format.checkpoint import Checkpoint
from quiver.format.segment_index import BLOCK_BYTES, Footer
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.local import LocalStore
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.copying.transfer import CopySettings
from quiver.storage.store_format import open_store_format
from storage.copying.living import copied

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
ROWS_BYTES = 160 * MIB
INDEX_ID = "a" * 32
ROOT = paths.index_root(INDEX_ID)


async def write_large_segment(store: LocalStore, segment: str) -> None:
    """Rows of noise under an index whose checksums fit them; nothing else about it is a segment."""
    noise = np.random.default_rng(int(segment[-1], 16)).bytes(BLOCK_BYTES)
    rows = noise * (ROWS_BYTES // BLOCK_BYTES)
    await store.put_new(paths.segment_key(ROOT, segment, paths.ROWS), [rows])
    key = paths.segment_key(ROOT, segment, paths.SEGMENT_INDEX)
    digests = segment_index.block_digests(memoryview(rows))
    footer = Footer(2, key, INDEX_ID, 1, 1, "cosine", "single", "flat", 0, 0, len(rows), BLOCK_BYTES, [], {})
    await store.put_new(key, segment_index.encode(footer, {"blocks": digests}))


def anonymous_bytes() -> int:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) << 10


@contextlib.contextmanager
def highest() -> Iterator[list[int]]:
    """How much this process's own memory grows within; mapped files apart."""
    before, found, done = anonymous_bytes(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            found[0] = max(found[0], anonymous_bytes() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


@pytest.mark.slow
@asynchronous
async def test_memory_stays_bounded_however_large_objects_are(runtime, tmp_path):
    source, target = LocalStore(tmp_path / "source", runtime), LocalStore(tmp_path / "target", runtime)
    await open_store_format(source, runtime)
    segments = [paths.segment_id(1, 0, f"{number:032x}") for number in (1, 2)]
    for segment in segments:
        await write_large_segment(source, segment)
    state = IndexCheckpoint(
        IndexSpec(1, DistanceMetric.COSINE), [SegmentRef(segment, 1, ROWS_BYTES) for segment in segments]
    )
    checkpoint = Checkpoint(1, 0, False, {}, 0, encode_checkpoint(state))
    assert await CheckpointStore(source, runtime, ROOT, INDEX_ID).create(checkpoint, runtime.new_id())
    with highest() as grown:
        report = await copied(source, target, runtime, settings=CopySettings(piece_bytes=4 * MIB))
    assert report.nbytes > 2 * ROWS_BYTES
    assert grown[0] < 64 * MIB
    for store in (source, target):
        await store.close()
