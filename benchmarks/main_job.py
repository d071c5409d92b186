"""Benchmark of a whole job through boto3: 20,000 documents in batches of 500, then 200 queries, all checked.

Run: python -m benchmarks.main_job. The documents are package descriptions with sentence embeddings (data_folder in
common.py says where they have to lie). Each query is asked without a filter and with four filters. Answers are
compared with brute force in float64, ties by key: the keys have to be equal, in order, and distances equal within
1e-6. Times include everything that boto3 does.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np

from benchmarks.common import (
    BUCKET,
    KEYS,
    Server,
    data_folder,
    debian,
    describe_machine,
    peak_memory,
    percentiles,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INDEX, BATCH, K = "debian", 500, 10
TOLERANCE = 1e-6

Document = dict[str, Any]
FILTERS: dict[str, tuple[Document | None, Callable[[Document], bool]]] = {
    "none": (None, lambda _: True),
    "section = libs": ({"section": "libs"}, lambda d: d["section"] == "libs"),
    "size < 100,000": ({"size": {"$lt": 100_000}}, lambda d: d["size"] < 100_000),
    "a tag, or optional and large": (
        {
            "$or": [
                {"tags": {"$eq": "role::program"}},
                {"$and": [{"priority": "optional"}, {"size": {"$gte": 10**7}}]},
            ]
        },
        lambda d: "role::program" in d.get("tags", ()) or (d["priority"] == "optional" and d["size"] >= 10**7),
    ),
    "no multi_arch, not doc": (
        {"$and": [{"multi_arch": {"$exists": False}}, {"section": {"$ne": "doc"}}]},
        lambda d: "multi_arch" not in d and d["section"] != "doc",
    ),
}


def read_documents(folder: Path) -> list[Document]:
    """Metadata of each document; members that S3 Vectors does not take (null, empty lists) are left out."""
    with gzip.open(folder / "docs.jsonl.gz", "rt") as lines:
        read = [json.loads(line) for line in lines]
    return [{name: v for name, v in one.items() if name != "id" and v not in (None, [])} for one in read]


def put_all(client: Any, rows: np.ndarray, documents: list[Document]) -> list[float]:
    """Put every document; seconds of each batch."""
    times = []
    for start in range(0, len(rows), BATCH):
        vectors = [
            {"key": f"doc-{row}", "data": {"float32": rows[row].tolist()}, "metadata": documents[row]}
            for row in range(start, min(start + BATCH, len(rows)))
        ]
        began = time.perf_counter()
        client.put_vectors(vectorBucketName=BUCKET, indexName=INDEX, vectors=vectors)
        times.append(time.perf_counter() - began)
    return times


def brute_force(rows: np.ndarray, query: np.ndarray, allowed: np.ndarray) -> list[tuple[float, str]]:
    """The nearest of the allowed rows in float64, rounded to float32 once, ties by key."""
    chosen = np.flatnonzero(allowed)
    block, wide = rows[chosen].astype(np.float64), query.astype(np.float64)
    distances = 1 - block @ wide / (np.linalg.norm(block, axis=1) * np.linalg.norm(wide))
    best = np.argsort(distances)[: 3 * K]
    ranked = sorted((float(np.float32(distances[one])), f"doc-{chosen[one]}") for one in best)
    return ranked[:K]


def ask_all(client: Any, rows: np.ndarray, queries: np.ndarray, documents: list[Document], name: str) -> None:
    """Ask every query with one filter and print a line; a wrong answer ends the run."""
    condition, allows = FILTERS[name]
    allowed = np.array([allows(document) for document in documents])
    more = {} if condition is None else {"filter": condition}
    times, worst = [], 0.0
    for number, query in enumerate(queries):
        wanted = {"vectorBucketName": BUCKET, "indexName": INDEX, "queryVector": {"float32": query.tolist()}}
        began = time.perf_counter()
        found = client.query_vectors(**wanted, topK=K, returnDistance=True, returnMetadata=True, **more)["vectors"]
        times.append(time.perf_counter() - began)
        expected = brute_force(rows, query, allowed)
        if [one["key"] for one in found] != [key for _, key in expected]:
            raise SystemExit(f"query {number}, filter {name}: {found} instead of {expected}")
        gaps = [abs(one["distance"] - distance) for one, (distance, _) in zip(found, expected, strict=True)]
        worst = max(worst, *gaps)
        if worst > TOLERANCE or any(one["metadata"] != documents[int(one["key"][4:])] for one in found):
            raise SystemExit(f"query {number}, filter {name}: distances off by {worst}, or other metadata")
    show(
        {
            "filter": name,
            "rows let through": int(allowed.sum()),
            "queries": len(queries),
            "equal to brute force": len(queries),
            "greatest difference of distance": float(f"{worst:.1e}"),
            "p50 / p99 ms": percentiles(times),
        }
    )


def count(client: Any) -> int:
    """Keys that ListVectors shows."""
    pages = client.get_paginator("list_vectors").paginate(vectorBucketName=BUCKET, indexName=INDEX)
    return len({vector["key"] for page in pages for vector in page["vectors"]})


def main() -> None:
    """Run the job against a server of its own."""
    folder = data_folder("debian")
    if folder is None:
        sys.exit("main_job: the documents are not there; set QUIVER_BENCH_DATA")
    print(describe_machine())
    rows, queries, documents = debian(folder), debian(folder, "queries"), read_documents(folder)
    with Server() as server:
        client = boto3.client(
            "s3vectors",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=KEYS.access_key,
            aws_secret_access_key=KEYS.secret_key,
        )
        client.create_vector_bucket(vectorBucketName=BUCKET)
        shape = {"dataType": "float32", "dimension": rows.shape[1], "distanceMetric": "cosine"}
        hidden = {"nonFilterableMetadataKeys": ["description"]}
        client.create_index(vectorBucketName=BUCKET, indexName=INDEX, metadataConfiguration=hidden, **shape)
        times = put_all(client, rows, documents)
        show(
            {
                "documents put": len(rows),
                "listed": count(client),
                "seconds": round(sum(times), 1),
                "documents/s": round(len(rows) / sum(times)),
                "median ms a batch": round(statistics.median(times) * 1e3, 1),
            }
        )
        for name in FILTERS:
            ask_all(client, rows, queries, documents, name)
        show({"peak RSS, MiB": round(peak_memory(server.pids()))})


if __name__ == "__main__":
    main()
