"""Every paginator of boto3: whole listings, page sizes, and going on later from a token."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore import xform_name

from api.model import FILE
from api.workbench import Workbench, record

PAGINATORS = json.loads((FILE.parent / "paginators-1.json").read_text())["pagination"]
COUNT = 250


@pytest.fixture(scope="module")
def listings(local_client: Any) -> dict[str, tuple[dict[str, Any], str, str, list[str]]]:
    """By paginator: arguments, the member that is listed, what names an entry, and all these names."""
    bench = Workbench(local_client)
    keys = [f"k{n:03}" for n in range(COUNT)]
    names = bench.filled(*(record(key, [n, 0]) for n, key in enumerate(keys)))
    indexes = [names["indexName"], *(bench.index()["indexName"] for _ in range(6))]
    buckets = [f"{bench.bucket}-{n}" for n in range(7)]
    for bucket in buckets:
        local_client.create_vector_bucket(vectorBucketName=bucket)
    query = names | {"topK": 240, "queryVector": {"float32": [0, 0]}}
    return {
        "ListVectorBuckets": (
            {"prefix": f"{bench.bucket}-"},
            "vectorBuckets",
            "vectorBucketName",
            sorted(buckets),
        ),
        "ListIndexes": (bench.in_bucket, "indexes", "indexName", sorted(indexes)),
        "ListVectors": (names, "vectors", "key", keys),
        "QueryVectors": (query, "vectors", "key", keys[:240]),
    }


def test_there_are_four(listings: dict[str, Any], local_client: Any) -> None:
    assert set(PAGINATORS) == set(listings)


@pytest.mark.parametrize("operation", sorted(PAGINATORS))
def test_all_pages_together(operation: str, listings: dict[str, Any], local_client: Any) -> None:
    arguments, member, name, expected = listings[operation]
    pages = local_client.get_paginator(xform_name(operation)).paginate(
        **arguments, PaginationConfig=_size(operation, 3)
    )
    found = [entry[name] for page in pages for entry in page[member]]
    assert (found if operation != "ListVectors" else sorted(found)) == expected


@pytest.mark.parametrize("operation", sorted(PAGINATORS))
def test_going_on_from_a_token(operation: str, listings: dict[str, Any], local_client: Any) -> None:
    arguments, member, name, expected = listings[operation]
    paginator, found, token = local_client.get_paginator(xform_name(operation)), [], None
    for _ in range(len(expected)):
        # The cut lies within a page, so boto3 asks for that page again and leaves out what it had.
        config = _size(operation, 4) | {"MaxItems": 5 if len(expected) < 10 else 70, "StartingToken": token}
        part = paginator.paginate(**arguments, PaginationConfig=config).build_full_result()
        found += [entry[name] for entry in part[member]]
        token = part.get("nextToken") or part.get("NextToken")
        if token is None:
            break
    assert sorted(found) == sorted(expected)


def _size(operation: str, size: int) -> dict[str, Any]:
    """A page size for the paginators that have one."""
    return (
        {"PageSize": size * (1 if operation != "ListVectors" else 16)}
        if "limit_key" in PAGINATORS[operation]
        else {}
    )
