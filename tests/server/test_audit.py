"""The audit log: which requests leave a line, and what it says."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from quiver.server.audit import AUDITED, describe_change
from quiver.service.operations import OPERATIONS
from server.fakes import KEY, Client

ARN = "arn:aws:s3vectors:us-east-1:000000000000:bucket/b"


def lines(client: Client) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in client.log.getvalue().splitlines()]
    return [line for line in found if line["event"] == "audit"]


def test_every_change_but_those_of_vectors_is_audited() -> None:
    assert set(OPERATIONS) - AUDITED == {
        *("PutVectors", "DeleteVectors", "GetVectors", "ListVectors", "QueryVectors"),
        *("GetVectorBucket", "ListVectorBuckets", "GetVectorBucketPolicy", "GetIndex", "ListIndexes"),
        "ListTagsForResource",
    }


def test_a_line_says_who_did_what_to_what_with_which_result() -> None:
    client = Client()
    policy = '{"Statement": []}'
    result = client.post("PutVectorBucketPolicy", {"vectorBucketName": "missing", "policy": policy})
    (line,) = lines(client)
    assert line | {"timestamp": ""} == {
        "event": "audit",
        "level": "warning",
        "timestamp": "",
        "request_id": result.headers["x-amzn-requestid"],
        "operation": "PutVectorBucketPolicy",
        "key_id": KEY,
        "principal": "arn:aws:iam::000000000000:root",
        "source_ip": None,
        "status": 404,
        "code": "NotFoundException",
        "vectorBucketName": "missing",
        "policy_sha256": hashlib.sha256(policy.encode()).hexdigest(),
    }


def test_reads_writes_of_vectors_and_strangers_leave_none() -> None:
    client = Client()
    client.post("GetIndex", {"vectorBucketName": "b"})
    client.post("PutVectors", {"vectors": []})
    client.send("POST", "/DeleteVectorBucket", b"{}")
    assert lines(client) == []


def test_only_names_are_taken_from_a_request() -> None:
    assert describe_change("TagResource", {"resourceArn": ARN, "tags": {"a": "b"}}) == {"resourceArn": ARN}
    assert describe_change("CreateIndex", {"indexName": ["x"], "vectorBucketName": "b"}) == {
        "vectorBucketName": "b"
    }
    assert describe_change("GetIndex", {"indexName": "x"}) is None
