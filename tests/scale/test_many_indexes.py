"""Three hundred indexes under a memory budget for far fewer: every answer right, file descriptors bounded."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from scale.serving import SOURCE, Server

if TYPE_CHECKING:
    from collections.abc import Collection

INDEXES, ROWS, DIMENSION = 300, 100, 16
TEXT = "lorem ip " * 450  # of each row: with 400 KB a segment is large enough to be memory-mapped
BUDGET = str(16 << 20)  # half of it for tails: some 15 of these indexes
WARM = 40  # indexes after which buffers and caches have about their final size
GROWTH = 70 << 20  # bytes of memory that the other indexes may add; their rows together are 100 MB
FILES = 600  # file descriptors a process may have: a quarter of them for segments
BUCKET = "many"

pytestmark = [pytest.mark.slow, pytest.mark.soak]


def rows(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=(ROWS, DIMENSION)).astype(np.float32)


def fill(client, number: int) -> None:
    name = f"index-{number:03d}"
    shape = {"dataType": "float32", "dimension": DIMENSION, "distanceMetric": "euclidean"}
    hidden = {"nonFilterableMetadataKeys": ["text"]}
    client.create_index(vectorBucketName=BUCKET, indexName=name, metadataConfiguration=hidden, **shape)
    vectors = [
        {
            "key": f"key-{row}",
            "data": {"float32": vector.tolist()},
            "metadata": {"number": number, "row": row, "text": TEXT},
        }
        for row, vector in enumerate(rows(number))
    ]
    client.put_vectors(vectorBucketName=BUCKET, indexName=name, vectors=vectors)


def nearest(client, number: int, query: np.ndarray, **more) -> list[tuple[str, int]]:
    answer = client.query_vectors(
        vectorBucketName=BUCKET,
        indexName=f"index-{number:03d}",
        topK=5,
        queryVector={"float32": query.tolist()},
        returnMetadata=True,
        **more,
    )
    return [(vector["key"], vector["metadata"]["number"]) for vector in answer["vectors"]]


def expected(number: int, query: np.ndarray, allowed: Collection[int] = range(ROWS)) -> list[tuple[str, int]]:
    distances = np.linalg.norm(rows(number).astype(np.float64) - query, axis=1)
    order = [row for row in np.argsort(distances).tolist() if row in allowed]
    return [(f"key-{row}", number) for row in order[:5]]


def check_all(server: Server, seed: int) -> None:
    """Every index in an order of its own, so that each is opened after many others."""
    client, chance = server.client(), np.random.default_rng(seed)
    for number in chance.permutation(INDEXES).tolist():
        query = chance.normal(size=DIMENSION).astype(np.float32)
        assert nearest(client, number, query) == expected(number, query)
        filtered = nearest(client, number, query, filter={"row": {"$lt": 30}})
        assert filtered == expected(number, query, range(30))


def test_more_indexes_than_memory_holds(tmp_path):
    settings = {"QUIVER_MEMORY_BUDGET_BYTES": BUDGET}
    with Server(tmp_path, file_limit=FILES, **settings) as server:
        client = server.client()
        client.create_vector_bucket(vectorBucketName=BUCKET)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: fill(client, number), range(WARM)))
            warm = server.resident()
            list(pool.map(lambda number: fill(client, number), range(WARM, INDEXES)))
        listing = client.get_paginator("list_indexes")
        pages = listing.paginate(vectorBucketName=BUCKET, PaginationConfig={"PageSize": 70})
        names = [index["indexName"] for page in pages for index in page["indexes"]]
        assert names == [f"index-{number:03d}" for number in range(INDEXES)]
        check_all(server, seed=1)
        assert server.resident() - warm < GROWTH
    compact(tmp_path)
    with Server(tmp_path, file_limit=FILES, **settings) as server:
        check_all(server, seed=2)
        assert server.open_files() < INDEXES - 50
        client = server.client()
        client.delete_vectors(vectorBucketName=BUCKET, indexName="index-007", keys=["key-3"])
        client.delete_index(vectorBucketName=BUCKET, indexName="index-008")
        with pytest.raises(client.exceptions.NotFoundException):
            nearest(client, 8, rows(8)[0])
        assert nearest(client, 7, rows(7)[3]) == expected(7, rows(7)[3], [row for row in range(ROWS) if row != 3])


def compact(root) -> None:
    command = [sys.executable, "-m", "quiver.cli.main", "compact", str(root)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
