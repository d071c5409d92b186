"""What encryption at rest costs on a local root: the same work on a plain and on an encrypted one, as ratios.

python benchmarks/encryption.py [--rows 40000] [--dimension 384]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
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
    from numpy.typing import NDArray

    from quiver.assemble import OpenRoot

NAMES = {"vectorBucketName": "bench", "indexName": "index"}
BATCH = 500
QUERIES = 300


async def measure(settings: Settings, vectors: NDArray[np.float32]) -> dict[str, float]:
    """Seconds of each kind of work; of queries the median, in seconds."""
    runtime = SystemRuntime()
    times: dict[str, float] = {}
    root = await open_service(settings, runtime, background=False)
    await root.call("CreateVectorBucket", {"vectorBucketName": "bench"})
    dimension = vectors.shape[1]
    create = {"dataType": "float32", "dimension": dimension, "distanceMetric": "cosine"}
    await root.call("CreateIndex", NAMES | create)
    index = await root.administration.index("bench", "index")
    times["put a batch"] = statistics.median(
        [await put(root, vectors, at) for at in range(0, len(vectors), BATCH)]
    )
    began = time.perf_counter()
    await root.engine.compact(index.index_id, index.spec)
    times["compact"] = time.perf_counter() - began
    await root.close()
    root = await open_service(settings, runtime, background=False)
    asked = np.random.default_rng(2).permutation(len(vectors))[:QUERIES]
    times["first query of a process"] = await query(root, vectors[asked[0]])
    for one in asked:
        await query(root, vectors[one])
    times["warm query"] = statistics.median([await query(root, vectors[one]) for one in asked])
    await root.close()
    runtime.close()
    return times


async def put(root: OpenRoot, vectors: NDArray[np.float32], at: int) -> float:
    rows = [
        {"key": f"k{at + n}", "data": {"float32": vector}, "metadata": {"n": at + n}}
        for n, vector in enumerate(vectors[at : at + BATCH])
    ]
    began = time.perf_counter()
    await root.call("PutVectors", NAMES | {"vectors": rows})
    return time.perf_counter() - began


async def query(root: OpenRoot, vector: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    await root.call("QueryVectors", NAMES | {"topK": 10, "queryVector": {"float32": vector}})
    return time.perf_counter() - began


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
