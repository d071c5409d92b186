"""Page tokens nobody issued, parts of listings, and states that do not suit."""

from __future__ import annotations

from api.bad_input.catalogue import EXISTS, IN_USE, SEGMENTS, TOKENS
from api.bad_input.requests import MIB, QUERY, Expected, call, constraint, invalid

PAGED = {
    "ListVectorBuckets": ({}, "", 512),
    "ListIndexes": ({}, "bucket", 512),
    "ListVectors": ({}, "index", 2048),
    "QueryVectors": (QUERY | {"topK": 200}, "index", 4096),
}

PAGES = [
    *(
        call(
            TOKENS,
            operation,
            params | {"nextToken": token},
            invalid("Invalid page token", "nextToken"),
            f"{operation} {token!r:.20}",
            on,
        )
        for operation, (params, on, _) in PAGED.items()
        for token in ("x", "AAAA", "====", "../..", "\u00e9", "A" * 500, "gASVCg==", "-" * 32, "\x00" * 20)
    ),
    *(
        call(
            TOKENS,
            operation,
            params | {"nextToken": "A" * length},
            constraint("/nextToken", f"have length between 1 and {most}, inclusive", length),
            f"{operation} {length}",
            on,
        )
        for operation, (params, on, most) in PAGED.items()
        for length in (0, most + 1, MIB)
    ),
    *(
        call(
            SEGMENTS,
            "ListVectors",
            params,
            invalid("Must specify either both segmentCount and segmentIndex or neither"),
        )
        for params in ({"segmentCount": 2}, {"segmentIndex": 0})
    ),
    call(
        SEGMENTS,
        "ListVectors",
        {"segmentCount": 2, "segmentIndex": 2},
        invalid("segmentIndex must be less than segmentCount", "segmentIndex"),
    ),
    call(
        SEGMENTS,
        "ListVectors",
        {"segmentCount": 17, "segmentIndex": 0},
        constraint("/segmentCount", "be between 1 and 16, inclusive"),
    ),
    call(
        SEGMENTS,
        "ListVectors",
        {"segmentCount": 16, "segmentIndex": 16},
        constraint("/segmentIndex", "be between 0 and 15, inclusive"),
    ),
]

STATE = [
    call(
        EXISTS,
        "CreateVectorBucket",
        {},
        Expected(409, "ConflictException", "A vector bucket with the specified name already exists"),
        "a bucket",
        on="bucket",
    ),
    call(
        EXISTS,
        "CreateIndex",
        {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"},
        Expected(409, "ConflictException", "An index with the specified name already exists"),
        "an index",
    ),
    call(
        IN_USE,
        "DeleteVectorBucket",
        {},
        Expected(409, "ConflictException", "The specified vector bucket is not empty"),
        "a bucket in use",
        on="bucket",
    ),
    call(
        IN_USE,
        "DeleteIndex",
        {"indexName": "unknown"},
        Expected(404, "NotFoundException", "The specified index could not be found"),
    ),
    call(
        IN_USE,
        "QueryVectors",
        QUERY | {"vectorBucketName": "unknown"},
        Expected(404, "NotFoundException", "The specified index could not be found"),
        "an unknown bucket",
    ),
    call(
        IN_USE,
        "ListIndexes",
        {"vectorBucketName": "unknown"},
        Expected(404, "NotFoundException", "The specified vector bucket could not be found"),
        on="",
    ),
]
