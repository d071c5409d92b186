"""Isolation: every operation by every principal on everything that is not his, by every way of naming it.

The requests are made from the table of operations, so none can be forgotten. Whatever is asked for exists, does
not exist, or belongs to another account or region: the answer is the same 403, and in the end nothing has changed.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode

import boto3
import numpy as np
import pyarrow as pa
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from api.raw import Answer, Raw
from cli.running import RunningServer
from quiver.server.loading import ARROW, PATH
from quiver.service.extensions import SERVED
from quiver.service.permissions import LOAD, RULES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME = "arn:aws:s3vectors:us-east-1:000000000000"
ELSEWHERE = ("arn:aws:s3vectors:us-east-1:111122223333", "arn:aws:s3vectors:eu-west-1:000000000000")
INDEX = "words"
OWN = "red"
"""Whose bucket every other tries to get at."""
STRANGERS = ("blue", "nobody", "guest")
ACCOUNT_LEVEL = ("ListVectorBuckets",)

PRINCIPALS = """
[policies]
own = '''{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3vectors:*", "quiver:*"],
  "Resource": ["arn:aws:s3vectors:*:*:bucket/${aws:username}-*"]}]}'''
all = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'
red = '''{"Statement": {"Effect": "Allow", "Action": "s3vectors:*",
  "Resource": "arn:aws:s3vectors:us-east-1:000000000000:bucket/red-*"}}'''

local = '''{"Statement": {"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*", "Condition": {
  "IpAddress": {"aws:SourceIp": "127.0.0.0/8"}, "Bool": {"aws:SecureTransport": "false"}}}}'''

[[principals]]
name = "operator"
root = true
keys = [{id = "operator", secret = "secret-of-the-operator"}]

[[principals]]
name = "courier"
policies = ["local"]
keys = [{id = "courier", secret = "secret-of-the-courier", token = "token-of-the-courier"}]
"""
USERS = {
    "red": 'policies = ["own"]',
    "blue": 'policies = ["own"]',
    "twin": 'policies = ["red"]',
    "nobody": "",
    "guest": 'policies = ["all"]\naccount = "111122223333"',
}


class Named(NamedTuple):
    """A bucket and an index of it, and how a request names them."""

    bucket: str
    arn: str | None = None

    def of_bucket(self) -> dict[str, Any]:
        return {"vectorBucketArn": self.bucket_arn()} if self.arn else {"vectorBucketName": self.bucket}

    def of_index(self) -> dict[str, Any]:
        named = {"vectorBucketName": self.bucket, "indexName": INDEX}
        return {"indexArn": f"{self.bucket_arn()}/index/{INDEX}"} if self.arn else named

    def bucket_arn(self) -> str:
        return f"{self.arn or HOME}:bucket/{self.bucket}"


def body_of(operation: str, named: Named) -> dict[str, Any]:
    """A valid request of any operation."""
    bucket, index = named.of_bucket(), named.of_index()
    vector = {"float32": [1, 2]}
    members = SERVED[operation].input.members
    more: dict[str, dict[str, Any]] = {
        "CreateVectorBucket": {"vectorBucketName": named.bucket, "tags": {"a": "b"}},
        "CreateIndex": {"indexName": INDEX, "dataType": "float32", "dimension": 2, "distanceMetric": "cosine"},
        "PutVectorBucketPolicy": {"policy": '{"Statement": []}'},
        "PutVectorBucketDefaultIndexMode": {"defaultIndexMode": "ENHANCED"},
        "UpdateIndexMode": {"indexMode": "ENHANCED"},
        "UpdateMetadataConfiguration": {"add": {"textSearchConfigurations": [{"metadataKey": "t"}]}},
        "PutVectors": {"vectors": [{"key": "intruder", "data": vector}]},
        "GetVectors": {"keys": ["k1"], "returnData": True, "returnMetadata": True},
        "ListVectors": {"returnData": True},
        "DeleteVectors": {"keys": ["k1"]},
        "QueryVectors": {"topK": 3, "queryVector": vector},
        "TagResource": {"tags": {"intruder": "x"}},
        "UntagResource": {"tagKeys": ["a"]},
        "ListVectorsByFilter": {"filter": {"of": "red"}},
        "DeleteVectorsByFilter": {"filter": {"of": {"$exists": True}}},
        "UpdateMetadata": {"updates": [{"key": "k1", "metadata": {"of": "intruder"}}]},
        "PutVectorsIfAbsent": {"vectors": [{"key": "intruder", "data": vector}]},
        "QueryVectorsWithData": {"topK": 3, "queryVector": vector},
        "BatchQueryVectors": {"queries": [{"topK": 3, "queryVector": vector}]},
    }
    own = index if "indexArn" in members else bucket if "vectorBucketArn" in members else {}
    if "resourceArn" in members:
        own = {"resourceArn": named.bucket_arn()}
    return own | more.get(operation, {})


def rows() -> bytes:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(2, np.float32)), 2)
    table = pa.table({"key": ["intruder"], "vector": vectors})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def send(raw: Raw, who: str, operation: str, body: dict[str, Any]) -> Answer:
    """A signed request of an operation, or of a bulk load."""
    signer = {"key": who, "secret": f"secret-of-the-{who}"}
    if operation == LOAD:
        data = rows()
        headers = {"Content-Type": ARROW.name, "X-Amz-Content-SHA256": hashlib.sha256(data).hexdigest()}
        target = f"{PATH.decode()}?{urlencode(body)}"
        return raw.send("POST", target, data, raw.signed("POST", target, data, headers, **signer))
    found = SERVED[operation]
    if not found.uri:
        return raw.post(found.path.removeprefix("/"), body, **signer)
    members = dict(body)
    target = "/tags/" + quote(members.pop("resourceArn"), safe="")
    if found.query:
        target += "?" + urlencode([("tagKeys", key) for key in members.pop("tagKeys")])
    data = json.dumps(members).encode() if found.has_body else b""
    return raw.send(found.method, target, data, raw.signed(found.method, target, data, **signer))


def request(raw: Raw, who: str, operation: str, named: Named) -> Answer:
    body = named.of_index() if operation == LOAD else body_of(operation, named)
    return send(raw, who, operation, body)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("isolation")


@pytest.fixture(scope="module")
def raw(log: Path) -> Iterator[Raw]:
    """A server with an owner, two tenants with a bucket each, one who may nothing, and one of another account."""
    file = log / "principals.toml"
    users = (
        f'[[principals]]\nname = "{name}"\n{more}\nkeys = [{{id = "{name}", secret = "secret-of-the-{name}"}}]\n'
        for name, more in USERS.items()
    )
    file.write_text(PRINCIPALS + "".join(users))
    file.chmod(0o600)
    with RunningServer("memory:", QUIVER_CREDENTIALS_FILE=str(file)) as server, Raw(server.port) as raw:
        for tenant in ("red", "blue"):
            fill(raw, tenant)
        yield raw


def fill(raw: Raw, tenant: str) -> None:
    """A tenant makes what is his, and so shows that he may do all of it."""
    named = Named(f"{tenant}-data")
    vectors = [{"key": f"k{n}", "data": {"float32": [1, n]}, "metadata": {"of": tenant}} for n in range(120)]
    for operation in ("CreateVectorBucket", "CreateIndex"):
        assert request(raw, tenant, operation, named).status == 200
    assert send(raw, tenant, "PutVectors", named.of_index() | {"vectors": vectors}).status == 200


def everything(raw: Raw) -> list[Any]:
    """All that is stored, as its owner sees it."""
    found: list[Any] = [send(raw, "operator", "ListVectorBuckets", {}).json]
    for bucket in [each["vectorBucketName"] for each in found[0]["vectorBuckets"]]:
        named = Named(bucket)
        for operation in ("GetVectorBucket", "GetVectorBucketPolicy", "ListIndexes", "ListTagsForResource"):
            found.append(request(raw, "operator", operation, named).json)
        full = named.of_index() | {"returnData": True, "returnMetadata": True}
        listed = send(raw, "operator", "ListVectors", full).json["vectors"]
        found.append(sorted(listed, key=lambda vector: vector["key"]))
    return found


@pytest.mark.parametrize("operation", [*SERVED, LOAD])
def test_what_is_not_yours_is_the_same_403_whether_it_exists_or_not(raw: Raw, operation: str) -> None:
    before = everything(raw)
    for who in STRANGERS:
        answers = set()
        for bucket in ("red-data", "red-gone"):
            for named in (Named(bucket), Named(bucket, HOME)):
                answer = request(raw, who, operation, named)
                assert (answer.status, answer.code) == (403, "AccessDeniedException"), (who, named, answer)
                answers.add(answer.body.replace(bucket.encode(), b"BUCKET"))
        assert len(answers) == 1, answers
    assert everything(raw) == before


@pytest.mark.parametrize("operation", [name for name in [*SERVED, LOAD] if name not in ACCOUNT_LEVEL])
def test_names_of_other_accounts_and_regions_are_nobodys(raw: Raw, operation: str) -> None:
    if operation == "CreateVectorBucket":
        return  # which has no ARN in its request
    for who in (*USERS, "operator"):
        for home in ELSEWHERE:
            for bucket in ("red-data", "blue-data", "red-gone"):
                answer = request(raw, who, operation, Named(bucket, home))
                assert (answer.status, answer.code) == (403, "AccessDeniedException")
                assert answer.json == {"message": "Access denied"}


def test_nobody_lists_buckets_but_who_may(raw: Raw) -> None:
    assert {who: send(raw, who, "ListVectorBuckets", {}).status for who in (*USERS, "operator")} == {
        **dict.fromkeys(USERS, 403),
        "operator": 200,
    }


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("ListVectors", {"maxResults": 5}),
        ("QueryVectors", {"topK": 110, "queryVector": {"float32": [1, 2]}}),
        ("ListIndexes", {"maxResults": 1}),
    ],
)
def test_page_tokens_of_others_open_nothing(raw: Raw, operation: str, more: dict[str, Any]) -> None:
    def page(who: str, bucket: str, **token: str) -> Answer:
        named = Named(bucket)
        return send(
            raw,
            who,
            operation,
            (named.of_bucket() if operation == "ListIndexes" else named.of_index()) | more | token,
        )

    extra = Named("red-data").of_bucket() | {"indexName": "words2", "dataType": "float32", "dimension": 2}
    send(raw, "red", "CreateIndex", extra | {"distanceMetric": "cosine"})
    token = page("red", "red-data").json["nextToken"]
    assert page("red", "red-data", nextToken=token).status == 200
    for who in STRANGERS:
        assert page(who, "red-data", nextToken=token).code == "AccessDeniedException"
    for who, bucket in (("blue", "blue-data"), ("twin", "red-data"), ("operator", "red-data")):
        assert page(who, bucket).status == 200
        refused = page(who, bucket, nextToken=token)
        assert (refused.code, refused.json["message"]) == ("ValidationException", "Invalid page token")


def test_a_bucket_policy_lets_in_whom_it_names_and_as_far_as_it_says(raw: Raw) -> None:
    named = Named("red-data")
    names = ["arn:aws:iam::000000000000:user/nobody", "arn:aws:iam::111122223333:user/guest"]
    statement = {"Effect": "Allow", "Principal": {"AWS": names}, "Action": "s3vectors:GetIndex", "Resource": "*"}
    policy = {"policy": json.dumps({"Statement": statement})}
    assert send(raw, OWN, "PutVectorBucketPolicy", named.of_bucket() | policy).status == 200
    for who in ("nobody", "guest"):
        allowed = {name for name in SERVED if request(raw, who, name, named).status != 403}
        assert allowed == {"GetIndex"}
    assert request(raw, "blue", "GetIndex", named).status == 403
    assert request(raw, OWN, "DeleteVectorBucketPolicy", named).status == 200
    assert request(raw, "nobody", "GetIndex", named).status == 403


def test_a_session_token_goes_with_its_key_and_conditions_see_the_connection(raw: Raw) -> None:
    def list_buckets(token: str | None) -> str:
        keys = {"aws_access_key_id": "courier", "aws_secret_access_key": "secret-of-the-courier"}
        config = Config(retries={"total_max_attempts": 1}, proxies={})
        url = f"http://127.0.0.1:{raw.port}"
        client = boto3.client(
            "s3vectors", "us-east-1", endpoint_url=url, aws_session_token=token, config=config, **keys
        )
        try:
            client.list_vector_buckets()
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "OK"

    assert list_buckets("token-of-the-courier") == "OK"
    assert list_buckets("token-of-the-Courier") == list_buckets(None) == "UnrecognizedClientException"


def test_the_matrix_covers_every_operation_and_route_there_is() -> None:
    assert set(RULES) == {*SERVED, LOAD}


def test_each_tenant_may_do_to_his_own_what_others_may_not(raw: Raw) -> None:
    """The requests of the matrix are good ones: where they are allowed, they do what they say."""
    own = {name: request(raw, OWN, name, Named("red-own")).status for name in SERVED}
    refused = {name: status for name, status in own.items() if status == 403}
    assert refused == {"ListVectorBuckets": 403}
    order = ["CreateVectorBucket", "CreateIndex", LOAD, "QueryVectors", "DeleteIndex", "DeleteVectorBucket"]
    named = Named("red-new")
    answers = {operation: request(raw, OWN, operation, named).status for operation in order}
    assert answers == dict.fromkeys(order, 200)
