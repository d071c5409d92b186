"""Seeded requests to all operations: valid ones, with types, sizes, text, filters and tokens gone wrong."""

from __future__ import annotations

import copy
import json
import random
from typing import Any, NamedTuple
from urllib.parse import quote

from api.workbench import bucket_arn
from fuzz.mutations import change_value, damage_text
from quiver.service.operations import OPERATIONS

OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$startsWith", "$not", "eq", ""]
FIELDS = ["n", "s", "tags", "b", "", "a.b", "hidden", "$eq", "\u00e9", "absent"]
MAX_BODY = 256 * 1024
"""Longer bodies are cut: how large ones are refused is tested elsewhere, with less traffic."""
RARE = ("DeleteIndex", "DeleteVectorBucket")
"""Operations that take away what the others work on."""


class Request(NamedTuple):
    """One request and what was done to it."""

    operation: str
    method: str
    target: str
    body: bytes
    done: str


TEXT_FIELDS = {"textSearchConfigurations": [{"metadataKey": "s"}, {"metadataKey": "tags", "language": "en"}]}


class Mutator:
    """Makes the request of a seed.

    Args:
        bucket, index: names the requests are about.
        tokens: page tokens seen in answers; the caller adds to them.
    """

    def __init__(self, bucket: str, index: str, tokens: list[str]) -> None:
        self._bucket, self._index, self.tokens = bucket, index, tokens

    def request(self, seed: int) -> Request:
        """The same for the same seed and tokens. About one in six is left valid."""
        chance = random.Random(seed)
        names = [name for name in OPERATIONS if name not in RARE or chance.random() < 0.15]
        operation = OPERATIONS[chance.choice(names)]
        members = self._valid(operation.name, chance)
        done = [change_value(members, chance) for _ in range(chance.choice([0, 1, 1, 1, 2, 3]))]
        target = operation.path
        if operation.uri:
            arn = members.pop("resourceArn", "")
            target = "/tags/" + quote(str(arn)[:1500], safe="", errors="replace")
        if operation.query:
            keys = members.pop("tagKeys", [])
            texts = [str(key)[:600] for key in (keys if isinstance(keys, list) else [keys])][:12]
            target += "?" + "&".join(f"tagKeys={quote(text, safe='', errors='replace')}" for text in texts)
        body = json.dumps(members, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
        if chance.random() < 0.1:
            body = damage_text(body, chance)
            done.append("bytes")
        return Request(operation.name, operation.method, target, body[:MAX_BODY], ", ".join(done))

    def _valid(self, operation: str, chance: random.Random) -> dict[str, Any]:
        bucket: dict[str, Any] = {"vectorBucketName": self._bucket}
        if chance.random() < 0.2:
            bucket = {"vectorBucketArn": bucket_arn(self._bucket)}
        index: dict[str, Any] = {"vectorBucketName": self._bucket, "indexName": self._index}
        arn = f"{bucket_arn(self._bucket)}/index/{self._index}"
        if chance.random() < 0.2:
            index = {"indexArn": arn}
        page = {"nextToken": chance.choice(self.tokens)} if self.tokens and chance.random() < 0.2 else {}
        metric = chance.choice(["cosine", "euclidean"])
        make: dict[str, dict[str, Any]] = {
            "CreateVectorBucket": {"vectorBucketName": self._bucket, "tags": {"a": "b"}},
            "ListVectorBuckets": {"maxResults": 3, "prefix": self._bucket[:4]} | page,
            "PutVectorBucketPolicy": bucket | {"policy": '{"Statement":[]}'},
            "PutVectorBucketDefaultIndexMode": bucket | {"defaultIndexMode": "ENHANCED"},
            "CreateIndex": bucket
            | {"indexName": self._index, "dataType": "float32", "dimension": 2, "distanceMetric": metric}
            | {
                "metadataConfiguration": {"nonFilterableMetadataKeys": ["hidden"]} | TEXT_FIELDS,
                "tags": {"k": "v"},
            },
            "ListIndexes": bucket | {"maxResults": 2, "prefix": self._index[:2]} | page,
            "UpdateIndexMode": index | {"indexMode": "ENHANCED"},
            "UpdateMetadataConfiguration": index
            | {chance.choice(["add", "delete"]): {"textSearchConfigurations": [{"metadataKey": "hidden"}]}},
            "PutVectors": index | {"vectors": [_record(chance) for _ in range(chance.randrange(1, 6))]},
            "GetVectors": index | {"keys": ["k1", "k2"], "returnData": True, "returnMetadata": True},
            "DeleteVectors": index | {"keys": [f"k{chance.randrange(40)}"]},
            "ListVectors": index
            | {"maxResults": 3, "segmentCount": 2, "segmentIndex": 1, "returnData": True}
            | page,
            "QueryVectors": index
            | {"topK": chance.choice([1, 5, 200])}
            | _question(chance)
            | {"returnDistance": True, "returnMetadata": True, "filter": random_filter(chance)}
            | page,
            "TagResource": {"resourceArn": arn, "tags": {"a": "b"}},
            "UntagResource": {"resourceArn": arn, "tagKeys": ["a", "b c"]},
            "ListTagsForResource": {"resourceArn": arn},
        }
        of_index = operation in ("GetIndex", "DeleteIndex")
        return copy.deepcopy(make.get(operation, index if of_index else bucket))


def _question(chance: random.Random) -> dict[str, Any]:
    """A vector, texts, or both; now and then of a field that may not be there."""
    texts = [{"metadataKey": chance.choice(["s", "s", "hidden"]), "text": chance.choice(["a", "\u00e9 h", "?"])}]
    vector = {"queryVector": {"float32": [1, chance.randrange(9)]}}
    return chance.choice([vector, {"queryTexts": texts}, vector | {"queryTexts": texts, "returnScores": True}])


def random_filter(chance: random.Random, depth: int = 0) -> Any:
    """A filter document, right more often than not."""
    shape = chance.random()
    if shape < 0.3 and depth < 4:
        parts = [random_filter(chance, depth + 1) for _ in range(chance.randrange(0, 4))]
        return {chance.choice(["$and", "$or"]): parts}
    field, operator = chance.choice(FIELDS), chance.choice(OPERATORS)
    operand: Any = chance.choice([1, 1.0, -5, "a", "", True, 2**53, [1, "a"], ["x", True], [], None, {}])
    if shape < 0.5:
        return {field: operand}
    return {field: {operator: operand} | ({"$lt": 3} if shape > 0.9 else {})}


def _record(chance: random.Random) -> dict[str, Any]:
    metadata = {
        "n": chance.choice([1, 2.5, -3, 2**53]),
        "s": chance.choice(["a", "\u00e9", ""]),
        "tags": ["x", "y"],
    }
    return {
        "key": f"k{chance.randrange(40)}",
        "data": {"float32": [chance.uniform(-5, 5), 1]},
        "metadata": metadata | {"b": chance.random() < 0.5, "hidden": "h"},
    }
