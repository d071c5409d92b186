"""What encryption at rest costs on a local root: the same work on a plain and on an encrypted one, as ratios.

Run: python -m benchmarks encryption [--rows 40000] [--dimension 384]
Of each kind of work the shortest time counts, and the processor time of the process on average: both stay what
they are when the machine is busy with other things.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quiver.assemble import open_service
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.encryption.key_file import KeyFile, key_id_of, write_key_file
from quiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from numpy.typing import NDArray

    from quiver.assemble import OpenRoot

NAMES = {"vectorBucketName": "bench", "indexName": "index"}
BATCH = 500
QUERIES = 300
OPENINGS = 5


async def measure(settings: Settings, vectors: NDArray[np.float32]) -> dict[str, float]:
    """Seconds of each kind of work, the shortest, and of the processor, on average."""
    runtime = SystemRuntime()
    times: dict[str, float] = {}

    async def note(name: str, works: Iterable[Awaitable[object]]) -> None:
        walls, began, count = [], time.process_time(), 0
        for work in works:
            start = time.perf_counter()
            await work
            walls.append(time.perf_counter() - start)
            count += 1
        times[name] = min(*walls, times.get(name, math.inf))
        times[f"{name}, processor"] = (time.process_time() - began) / count

    root = await open_service(settings, runtime, background=False)
    await root.call("CreateVectorBucket", {"vectorBucketName": "bench"})
    dimension = vectors.shape[1]
    create = {"dataType": "float32", "dimension": dimension, "distanceMetric": "cosine"}
    await root.call("CreateIndex", NAMES | create)
    index = await root.administration.index("bench", "index")
    await note("put a batch", (put(root, vectors, at) for at in range(0, len(vectors), BATCH)))
    await note("compact", [root.engine.compact(index.index_id, index.spec)])
    asked = vectors[np.random.default_rng(2).permutation(len(vectors))[:QUERIES]]
    await root.close()
    for _ in range(OPENINGS):
        root = await open_service(settings, runtime, background=False)
        await note("first query of a process", [query(root, asked[0])])
        await root.close()
    root = await open_service(settings, runtime, background=False)
    for _ in range(2):
        await note("warm query", (query(root, one) for one in asked))
    await root.close()
    runtime.close()
    return times


async def put(root: OpenRoot, vectors: NDArray[np.float32], at: int) -> None:
    rows = [
        {"key": f"k{at + n}", "data": {"float32": vector}, "metadata": {"n": at + n}}
        for n, vector in enumerate(vectors[at : at + BATCH])
    ]
    await root.call("PutVectors", NAMES | {"vectors": rows})


async def query(root: OpenRoot, vector: NDArray[np.float32]) -> None:
    await root.call("QueryVectors", NAMES | {"topK": 10, "queryVector": {"float32": vector}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--dimension", type=int, default=384)
    given = parser.parse_args()
    vectors = np.random.default_rng(1).normal(size=(given.rows, given.dimension)).astype(np.float32)
    runtime = SystemRuntime(threads=1)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        key = key_id_of(runtime.new_id())
        keys = KeyFile(key, {key: bytes.fromhex(runtime.new_id() * 2)})
        write_key_file(Path(folder, "keys"), keys, "draft", replace=False)
        for name, file in (("plain", ""), ("encrypted", str(Path(folder, "keys")))):
            settings = Settings(root=str(Path(folder, name)), encryption_key_file=file)
            found[name] = asyncio.run(measure(settings, vectors))
    runtime.close()
    found["ratio"] = {name: found["encrypted"][name] / found["plain"][name] for name in found["plain"]}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
