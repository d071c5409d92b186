"""Seeded mutations of valid requests: bodies, paths, queries and headers, before or after signing."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from fuzz.mutations import change_value, damage_text
from quiver.service.operations import OPERATIONS
from server.fakes import signed_headers

ARN = "arn%3Aaws%3As3vectors%3Aus-east-1%3A000000000000%3Abucket%2Fb-1%2Findex%2Fi-1"
INDEX = {"vectorBucketName": "b-1", "indexName": "i-1"}
VALID: dict[str, dict[str, Any]] = {
    "CreateVectorBucket": {"vectorBucketName": "b-1", "tags": {"a": "b"}},
    "CreateIndex": INDEX | {"dataType": "float32", "dimension": 2, "distanceMetric": "cosine"},
    "PutVectors": INDEX
    | {
        "vectors": [
            {"key": "a", "data": {"float32": [0.5, -1e-3]}, "metadata": {"n": 1, "t": ["x", "y"], "b": True}},
            {"key": "\u00e9", "data": {"float32": [1, 2]}},
        ]
    },
    "GetVectors": INDEX | {"keys": ["a"], "returnData": True},
    "DeleteVectors": INDEX | {"keys": ["a", "b"]},
    "ListVectors": INDEX | {"maxResults": 10, "segmentCount": 2, "segmentIndex": 1},
    "QueryVectors": INDEX
    | {"topK": 3, "queryVector": {"float32": [1, 0.5]}, "filter": {"$and": [{"n": {"$gt": 0}}, {"t": "x"}]}}
    | {"queryTexts": [{"metadataKey": "t", "text": "x"}]},
    "UpdateMetadataConfiguration": INDEX | {"add": {"textSearchConfigurations": [{"metadataKey": "t"}]}},
    "TagResource": {"tags": {"a": "b"}},
    "PutVectorBucketPolicy": {"vectorBucketName": "b-1", "policy": "{}"},
}
ODD_HEADERS = [
    ("Authorization", "AWS4-HMAC-SHA256"), ("X-Amz-Date", "20260101T000000Z"), ("X-Amz-Meta", "x"),
    ("Host", "evil/x"),
    ("Content-Type", "text/xml"), ("Content-Encoding", "gzip"), ("Content-Length", "7"), ("Content-Length", "x"),
    ("Transfer-Encoding", "chunked"), ("X-Amz-Security-Token", "t"), ("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"),
    ("Expect", "100-continue"), ("X-Latin", "\xff\xe9"), ("Authorization", "\xff"),
]  # fmt: skip
ODD_TARGETS = [
    "",
    "?",
    "?X-Amz-Signature=1",
    "?tagKeys=%ff",
    "?tagKeys=%",
    "/",
    "/..",
    "%2f",
    "%00",
    "\xff",
    "?a=b&a",
]


@dataclass
class Fuzzed:
    """A request, and what was done to it."""

    operation: str
    method: str
    target: str
    body: bytes
    headers: list[tuple[str, str]]
    done: list[str] = field(default_factory=list)


def fuzzed(seed: int) -> Fuzzed:
    """The request of one seed. About one in ten is left valid."""
    chance = random.Random(seed)
    operation = chance.choice(list(OPERATIONS.values()))
    value: Any = json.loads(json.dumps(VALID.get(operation.name, INDEX)))
    done: list[str] = []
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        done.append(f"value {change_value(value, chance)}")
    body = json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    if chance.random() < 0.3:
        body = damage_text(body, chance)
        done.append("bytes")
    target = operation.path.replace("{resourceArn}", ARN)
    if operation.query:
        target += "?tagKeys=a&tagKeys=b"
    if chance.random() < 0.15:
        target += chance.choice(ODD_TARGETS)
        done.append("target")
    method = chance.choice(["GET", "HEAD", "TRACE", "POST"]) if chance.random() < 0.05 else operation.method
    signed = signed_headers(method, target, body, {"Content-Type": "application/json"})
    headers = list(signed.items())
    if chance.random() < 0.25:
        done.append(f"header {_change_headers(headers, chance)}")
    return Fuzzed(operation.name, method, target, body, headers, done)


def _change_headers(headers: list[tuple[str, str]], chance: random.Random) -> str:
    odd = chance.choice(ODD_HEADERS)
    index = chance.randrange(len(headers))
    match chance.randrange(4):
        case 0:
            headers.append(odd)
            return f"add {odd[0]}"
        case 1:
            name, _ = headers.pop(index)
            return f"remove {name}"
        case 2:
            headers.append(headers[index])
            return f"repeat {headers[index][0]}"
        case _:
            name, text = headers[index]
            at = chance.randrange(len(text))
            headers[index] = (name, text[:at] + chr(chance.randrange(32, 256)) + text[at + 1 :])
            return f"change {name}"
