"""The main job on real documents: put in batches through boto3, queried, compared with exact brute force.

Reads the Debian package descriptions in `../shared/data` beside the repository, or in `QUIVER_TEST_DATA`.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from api.workbench import Workbench, connect, record
from cluster.processes import Server
from quiver.model.filter import matches
from quiver.model.filter_parser import parse_filter

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(os.environ.get("QUIVER_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "debian"
ROWS, BATCH, QUERIES, K = 4000, 500, 30, 10
FILTERS: list[Any] = [
    None,
    {"section": "libs"},
    {"$and": [{"size": {"$gte": 100_000, "$lt": 1_000_000}}, {"tags": "role::program"}]},
    {
        "$or": [
            {"tags": {"$in": ["role::documentation", "suite::gnu"]}},
            {"maintainer": {"$startsWith": "Debian P"}},
        ]
    },
    {"homepage_host": {"$exists": False}},
    {"package": {"$ne": "bsfilter"}},
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.exists(), reason=f"no test data in {DATA}; set QUIVER_TEST_DATA"),
]


def unit_rows(name: str, rows: int) -> np.ndarray:
    matrix = np.load(DATA / name, allow_pickle=False)[:rows].astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    """The metadata of the rows, without what S3 Vectors cannot hold."""
    with gzip.open(DATA / "docs.jsonl.gz", "rt") as lines:
        loaded = [json.loads(next(lines)) for _ in range(ROWS)]
    return [{k: v for k, v in row.items() if k != "id" and v is not None and v != []} for row in loaded]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server that flushes every 1,500 rows, so that segments and the tail both answer."""
    directory = tmp_path_factory.mktemp("main-job")
    with Server(directory / "root", workers=2, log=directory / "log", QUIVER_FLUSH_ROWS="1500") as server:
        yield connect(server.url, parameter_validation=True)
        assert server.stop() == 0
    assert list((directory / "root").rglob("rows.parquet")), "nothing was flushed"


@pytest.fixture(scope="module")
def index(client: Any, documents: list[dict[str, Any]]) -> dict[str, str]:
    bench = Workbench(client)
    hidden = {"nonFilterableMetadataKeys": ["description", "synopsis"]}
    names = bench.index(384, "cosine", metadataConfiguration=hidden)
    matrix = unit_rows("base.f16.npy", ROWS)
    for start in range(0, ROWS, BATCH):
        rows = range(start, start + BATCH)
        client.put_vectors(**names, vectors=[record(f"doc-{n}", matrix[n].tolist(), documents[n]) for n in rows])
    return names


@pytest.mark.parametrize("condition", FILTERS, ids=lambda condition: json.dumps(condition)[:40])
def test_answers_are_those_of_brute_force(
    client: Any, index: dict[str, str], documents: list[dict[str, Any]], condition: Any
) -> None:
    tree = None if condition is None else parse_filter(condition)
    chosen = np.array([n for n in range(ROWS) if tree is None or matches(tree, documents[n])])
    assert len(chosen) > K
    matrix = unit_rows("base.f16.npy", ROWS)[chosen].astype(np.float64)
    norms = np.linalg.norm(matrix, axis=1)
    more = {} if condition is None else {"filter": condition}
    for query in unit_rows("queries.f16.npy", QUERIES):
        exact = 1 - matrix @ query.astype(np.float64) / (norms * np.linalg.norm(query.astype(np.float64)))
        order = np.argsort(exact, kind="stable")[: K + 1]
        found = client.query_vectors(
            **index,
            **more,
            topK=K,
            queryVector={"float32": query.tolist()},
            returnDistance=True,
            returnMetadata=True,
        )["vectors"]
        distances = np.array([hit["distance"] for hit in found])
        assert np.abs(distances - exact[order[:K]]).max() < 1e-6
        expected = [f"doc-{chosen[n]}" for n in order[:K]]
        if np.diff(exact[order]).min() > 1e-9:  # no ties: the order is decided
            assert [hit["key"] for hit in found] == expected
        assert all(hit["metadata"] == documents[int(hit["key"][4:])] for hit in found)


def test_every_document_comes_back_whole(
    client: Any, index: dict[str, str], documents: list[dict[str, Any]]
) -> None:
    matrix = unit_rows("base.f16.npy", ROWS)
    pages = client.get_paginator("list_vectors").paginate(**index, returnData=True, returnMetadata=True)
    seen: set[str] = set()
    for page in pages:
        for vector in page["vectors"]:
            row = int(vector["key"][4:])
            assert np.array_equal(np.float32(vector["data"]["float32"]), matrix[row])
            assert vector["metadata"] == documents[row]
            seen.add(vector["key"])
    assert len(seen) == ROWS
