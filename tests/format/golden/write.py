"""Writes a golden root in today's format: `python tests/format/golden/write.py tests/format/golden/v4`.

Run it once, when a format version is released, and never again: the point of a golden root is that it is old.
A root is named after the newest version of the segment index.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec, TextField, VectorBatch
from quiver.objectstore.memory import MemoryStore

if TYPE_CHECKING:
    from quiver.objectstore.store import ObjectStore

INDEX_ID, TEXTS_ID = "90" * 16, "b0" * 16
SPEC = IndexSpec(4, DistanceMetric.EUCLIDEAN, ("note",))
PAIRS = [("kmeans", "rabitq"), ("kdtree", "lsh"), ("kmeans", "sq8"), ("single", "pq"), ("kdtree", "flat")]
STRUCTURES = {
    f"{0xA0 + number:02x}" * 16: IndexSpec(8, DistanceMetric.EUCLIDEAN, (), *pair, 0.95)
    for number, pair in enumerate(PAIRS)
}


def batch(step: int, keys: list[str]) -> VectorBatch:
    """Small integers, so that anyone can check an answer by hand."""
    vectors = np.array([[step, number, -number, 0.5] for number in range(len(keys))], np.float32)
    metadata = [
        {"step": step, "odd": number % 2 == 1, "tags": ["all", key], "note": "x"}
        for number, key in enumerate(keys)
    ]
    return VectorBatch(keys, vectors, [orjson.dumps(document) for document in metadata])


def grid() -> VectorBatch:
    """64 rows of 8 small integers: the digits of the row number in base 2 and, one more, in base 8."""
    vectors = np.array(
        [[number >> bit & 1 for bit in range(6)] + [1 + number // 8, number % 8] for number in range(64)]
    )
    metadata = [orjson.dumps({"n": number}) for number in range(64)]
    return VectorBatch([f"g{number}" for number in range(64)], vectors.astype(np.float32), metadata)


async def write_structures(store: ObjectStore, runtime: SystemRuntime) -> None:
    """For each structure an index with one segment, and one row of it deleted."""
    settings = NativeSettings(background=False, garbage_age=0, exact_floats=0)
    engine = NativeEngine(store, runtime, settings)
    for index_id, spec in STRUCTURES.items():
        index = await engine.open(index_id, spec)
        await index.put(grid())
        await index.maintenance.flush()
        await index.delete(["g9"])
        await index.maintenance.flush()
        await index.maintenance.collect()


async def write_texts(store: ObjectStore, runtime: SystemRuntime) -> None:
    """An index with two text fields, of which one came later and one went: a segment, a tombstone and a tail."""
    engine = NativeEngine(store, runtime, NativeSettings(background=False, garbage_age=0))
    index = await engine.open(TEXTS_ID, SPEC)
    await index.configure_texts([TextField("note", "en"), TextField("gone")])
    await index.put(batch(1, ["a", "b", "c"]))
    await index.maintenance.flush()
    await index.delete(["a"])
    await index.maintenance.flush()
    await index.configure_texts([TextField("tags")], ["gone"])
    await index.put(batch(2, ["b", "d"]))


async def write(root: Path) -> None:
    """One collected generation, two segments with tombstones, and a tail of three entries; then the others."""
    runtime = SystemRuntime(threads=1)
    store = MemoryStore(runtime)
    engine = NativeEngine(store, runtime, NativeSettings(background=False, garbage_age=0))
    await write_structures(store, runtime)
    await write_texts(store, runtime)
    index = await engine.open(INDEX_ID, SPEC)
    await index.put(batch(1, ["a", "b", "c", "\u00e9", "nul\x00"]))
    await index.maintenance.flush()
    await index.put(batch(2, ["b", "d", "e"]))
    await index.delete(["c"])
    await index.maintenance.flush()
    await index.maintenance.collect()
    await index.put(batch(3, ["e", "f"]))
    await index.delete(["a", "unknown"])
    await index.put(batch(4, ["a/b"]))
    for info in await store.list(""):
        path = root / info.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(await store.get(info.key))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
