"""Writes a golden root in today's format: `python tests/format/golden/write.py tests/format/golden/v1`.

Run it once, when a format version is released, and never again: the point of a golden root is that it is old.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import orjson

from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.objectstore.memory import MemoryStore

INDEX_ID = "90" * 16
SPEC = IndexSpec(4, DistanceMetric.EUCLIDEAN, ("note",))


def batch(step: int, keys: list[str]) -> VectorBatch:
    """Small integers, so that anyone can check an answer by hand."""
    vectors = np.array([[step, number, -number, 0.5] for number in range(len(keys))], np.float32)
    metadata = [
        {"step": step, "odd": number % 2 == 1, "tags": ["all", key], "note": "x"}
        for number, key in enumerate(keys)
    ]
    return VectorBatch(keys, vectors, [orjson.dumps(document) for document in metadata])


async def write(root: Path) -> None:
    """One collected generation, two segments with tombstones, and a tail of three entries."""
    runtime = SystemRuntime(threads=1)
    store = MemoryStore(runtime)
    engine = NativeEngine(store, runtime, NativeSettings(background=False, garbage_age=0))
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
