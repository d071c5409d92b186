"""Authorization in the service: policies of callers and buckets, conditions, staleness, what a denial tells."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import AccessDeniedError, ConflictError, NotFoundError
from quiver.service.caller import Caller
from quiver.service.policy.document import Kind, read_policy
from quiver.service.policy.principals import Principal, root_of
from quiver.service.reading import AS_SET
from service.deployment import ARN, HOME, NAMES, Deployment, on_node
from service.test_service import LIFE

if TYPE_CHECKING:
    from service.deployment import Node

BUCKET = {"vectorBucketName": "bucket"}
ROOT = Caller(root_of(HOME.account))
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def caller(*statements: dict[str, Any], name: str = "ann", account: str = HOME.account, **more: Any) -> Caller:
    policy = read_policy(json.dumps({"Version": "2012-10-17", "Statement": statements}), Kind.IDENTITY)
    arn = f"arn:aws:iam::{account}:user/{name}"
    return Caller(Principal(arn, account, name, policies=(policy,)), **more)


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    return ALL | {"Action": [f"s3vectors:{action}" for action in actions]} | more


async def call(node: Node, who: Caller | None, operation: str, **params: Any) -> dict[str, Any]:
    return (await node.service.call(operation, params, AS_SET, who)).body


async def denied(node: Node, who: Caller, operation: str, **params: Any) -> str:
    with pytest.raises(AccessDeniedError) as refusal:
        await call(node, who, operation, **params)
    return refusal.value.message


async def put_policy(node: Node, *statements: dict[str, Any]) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    await call(node, ROOT, "PutVectorBucketPolicy", **BUCKET, policy=policy)


@pytest.mark.parametrize("who", [None, ROOT, caller(ALL)])
def test_who_may_do_everything_can_lead_a_whole_life(who: Caller | None) -> None:
    async def scenario(node: Node) -> None:
        for operation, params in LIFE:
            await call(node, who, operation, **params)

    on_node(scenario)


def test_who_may_do_nothing_learns_nothing() -> None:
    """Whatever exists, and before and after every step of a life, the answer is the same."""

    async def scenario(node: Node) -> None:
        nobody, answers = caller(), {}
        for step, _ in [(None, None), *LIFE[:-2]]:
            if step is not None:
                await call(node, None, step, **dict(LIFE)[step])
            for operation, params in LIFE:
                answer = await denied(node, nobody, operation, **params)
                assert answers.setdefault(operation, answer) == answer
        for operation, answer in answers.items():
            assert answer.startswith(f"User: {nobody.principal.arn} is not authorized to perform: ")
            assert f"s3vectors:{operation} on resource: " in answer

    on_node(scenario)


def test_who_may_is_told_what_is_missing() -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(NotFoundError):
            await call(node, caller(allow("GetIndex")), "GetIndex", **NAMES)
        await node.create_index()
        with pytest.raises(ConflictError):
            await call(node, caller(allow("CreateIndex")), "CreateIndex", **dict(LIFE)["CreateIndex"])

    on_node(scenario)


def test_a_request_that_reads_more_needs_to_be_allowed_more() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        who = caller(allow("QueryVectors", "ListVectors", "CreateVectorBucket"))
        query = NAMES | {"topK": 1, "queryVector": {"float32": [1, 2]}}
        await call(node, who, "QueryVectors", **query)
        await call(node, who, "ListVectors", **NAMES)
        for more in ({"filter": {"a": 1}}, {"returnMetadata": True}):
            assert "s3vectors:GetVectors on" in await denied(node, who, "QueryVectors", **query, **more)
        for more in ({"returnData": True}, {"returnMetadata": True}):
            assert "s3vectors:GetVectors on" in await denied(node, who, "ListVectors", **NAMES, **more)
        await call(node, who, "CreateVectorBucket", vectorBucketName="plain")
        tagged = await denied(node, who, "CreateVectorBucket", vectorBucketName="tagged", tags={"a": "b"})
        assert tagged.endswith(f"s3vectors:TagResource on resource: {ARN}:bucket/tagged")

    on_node(scenario)


def test_a_bucket_policy_allows_and_denies_and_its_owner_undoes_it() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        nobody = caller()
        await put_policy(node, allow("GetIndex", Principal={"AWS": nobody.principal.arn}))
        await call(node, nobody, "GetIndex", **NAMES)
        await denied(node, caller(name="bob"), "GetIndex", **NAMES)
        await put_policy(node, ALL | {"Effect": "Deny", "Principal": "*"})
        for who in (ROOT, caller(ALL)):
            for operation in ("GetIndex", "DeleteIndex", "QueryVectors", "ListVectors", "PutVectors"):
                await denied(node, who, operation, **dict(LIFE)[operation])
            await denied(node, who, "DeleteVectorBucket", **BUCKET)
        await denied(node, caller(ALL), "DeleteVectorBucketPolicy", **BUCKET)
        await call(node, None, "GetIndex", **NAMES)
        assert "Deny" in (await call(node, ROOT, "GetVectorBucketPolicy", **BUCKET))["policy"]
        await call(node, ROOT, "DeleteVectorBucketPolicy", **BUCKET)
        await call(node, caller(ALL), "GetIndex", **NAMES)

    on_node(scenario)


def test_another_account_needs_both_sides_and_has_no_buckets_of_its_own() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        guest = caller(ALL, account="210987654321")
        await denied(node, guest, "GetIndex", **NAMES)
        await denied(node, guest, "ListVectorBuckets")
        await denied(node, guest, "CreateVectorBucket", vectorBucketName="theirs")
        await put_policy(node, allow("GetIndex", Principal={"AWS": "210987654321"}))
        await call(node, guest, "GetIndex", **NAMES)
        await denied(node, caller(account="210987654321"), "GetIndex", **NAMES)
        await denied(node, guest, "ListVectors", **NAMES)

    on_node(scenario)


def when(operator: str, key: str, value: Any) -> dict[str, Any]:
    return ALL | {"Condition": {operator: {key: value}}}


CREATE = dict(LIFE)["CreateIndex"]
TAGS = {"Team": "red", "cost": "7"}


@pytest.mark.parametrize(
    ("condition", "operation", "params"),
    [
        (when("StringEquals", "aws:username", "ann"), "GetIndex", NAMES),
        (when("StringEquals", "aws:PrincipalArn", "arn:aws:iam::123456789012:user/ann"), "GetIndex", NAMES),
        (when("StringEquals", "aws:PrincipalAccount", HOME.account), "ListVectorBuckets", {}),
        (when("StringEquals", "aws:PrincipalType", "User"), "ListVectorBuckets", {}),
        (when("StringEquals", "aws:ResourceAccount", HOME.account), "GetIndex", NAMES),
        (when("StringEquals", "aws:RequestedRegion", HOME.region), "GetIndex", NAMES),
        (when("IpAddress", "aws:SourceIp", "10.0.0.0/8"), "GetIndex", NAMES),
        (when("Bool", "aws:SecureTransport", "true"), "GetIndex", NAMES),
        (when("DateGreaterThan", "aws:CurrentTime", "2020-01-01"), "GetIndex", NAMES),
        (when("NumericGreaterThan", "aws:EpochTime", "1600000000"), "GetIndex", NAMES),
        (when("StringEquals", "aws:ResourceTag/level", "index"), "GetIndex", NAMES),
        (when("StringEquals", "aws:ResourceTag/level", "bucket"), "GetVectorBucket", BUCKET),
        (when("StringEquals", "s3vectors:VectorBucketTag/level", "bucket"), "GetIndex", NAMES),
        (when("StringEquals", "s3vectors:VectorBucketTag/level", "bucket"), "ListVectors", NAMES),
        (when("StringEquals", "s3vectors:sseType", "AES256"), "CreateIndex", CREATE | {"indexName": "other"}),
        (when("StringEquals", "aws:RequestTag/team", "red"), "CreateIndex", CREATE | {"indexName": "other"}),
        (when("ForAllValues:StringEquals", "aws:TagKeys", ["Team", "cost"]), "TagResource", {"tags": TAGS}),
        (when("StringEquals", "aws:RequestTag/Team", "red"), "TagResource", {"tags": TAGS}),
        (when("ForAnyValue:StringEquals", "aws:TagKeys", "Team"), "UntagResource", {"tagKeys": ["a", "Team"]}),
    ],
)
def test_conditions_on_a_request(condition: dict[str, Any], operation: str, params: dict[str, Any]) -> None:
    """It is allowed where they hold, and denied where the same is denied."""
    if operation == "CreateIndex":
        params = params | {"encryptionConfiguration": {"sseType": "AES256"}, "tags": TAGS}
    if operation in ("TagResource", "UntagResource"):
        params = params | {"resourceArn": f"{ARN}:bucket/bucket"}
    place = {"source_ip": "10.1.2.3", "secure": True}

    async def scenario(node: Node) -> None:
        await node.create_index(tags={"level": "index"})
        await call(node, None, "TagResource", resourceArn=f"{ARN}:bucket/bucket", tags={"level": "bucket"})
        await denied(node, caller(ALL, condition | {"Effect": "Deny"}, **place), operation, **params)
        await call(node, caller(condition, **place), operation, **params)

    on_node(scenario)


@pytest.mark.parametrize(
    ("condition", "operation", "params"),
    [
        (when("StringEquals", "aws:ResourceTag/level", "index"), "CreateIndex", CREATE | {"indexName": "other"}),
        (when("StringEquals", "s3vectors:VectorBucketTag/level", "bucket"), "GetVectorBucket", BUCKET),
        (when("Null", "s3vectors:sseType", "false"), "CreateIndex", CREATE | {"indexName": "other"}),
        (when("Null", "aws:SourceIp", "false"), "GetIndex", NAMES),
        (when("Null", "aws:TagKeys", "false"), "GetIndex", NAMES),
        (when("Bool", "aws:SecureTransport", "true"), "GetIndex", NAMES),
    ],
)
def test_conditions_on_what_a_request_does_not_have(
    condition: dict[str, Any], operation: str, params: dict[str, Any]
) -> None:
    async def scenario(node: Node) -> None:
        await node.create_index(tags={"level": "index"})
        await call(node, None, "TagResource", resourceArn=f"{ARN}:bucket/bucket", tags={"level": "bucket"})
        await denied(node, caller(condition), operation, **params)

    on_node(scenario)


def test_tags_that_differ_in_case_only_are_one_key_with_several_values() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index(tags={"team": "red", "Team": "blue"})
        assert await call(node, caller(when("StringEquals", "aws:ResourceTag/TEAM", "blue")), "GetIndex", **NAMES)
        await denied(node, caller(when("StringNotEquals", "aws:ResourceTag/TEAM", "blue")), "GetIndex", **NAMES)

    on_node(scenario)


def test_a_page_token_of_another_is_no_token() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        await node.put(("a", [1, 2]), ("b", [3, 4]))
        ann, bob = caller(ALL), caller(ALL, name="bob")
        body = await call(node, ann, "ListVectors", **NAMES, maxResults=1)
        page = NAMES | {"maxResults": 1, "nextToken": body["nextToken"]}
        for other in (bob, ROOT, None):
            with pytest.raises(Exception, match="Invalid page token"):
                await call(node, other, "ListVectors", **page)
        assert len((await call(node, ann, "ListVectors", **page))["vectors"]) == 1

    on_node(scenario)


def test_a_load_is_judged_before_its_body_comes() -> None:
    async def scenario(node: Node) -> None:
        await node.create_index()
        load = node.service.bulk.check_loading
        for who in (caller(), caller(allow("PutVectors")), caller(ALL | {"Action": "quiver:*"})):
            with pytest.raises(AccessDeniedError, match="is not authorized to perform"):
                await load(dict(NAMES), who)
        await load(dict(NAMES), caller(ALL | {"Action": ["quiver:LoadVectors", "s3vectors:PutVectors"]}))
        await load(dict(NAMES), None)

    on_node(scenario)


# ---- how soon a policy counts elsewhere


class Steps:
    """Two nodes; the clock that policies are refreshed by is moved by hand."""

    def __init__(self) -> None:
        self.deployment = Deployment()
        self.now = 1000.0
        self.deployment.runtime.monotonic = lambda: self.now  # type: ignore[method-assign]

    async def open(self) -> tuple[Node, Node]:
        here, there = await self.deployment.node(), await self.deployment.node()
        await here.create_index()
        return here, there

    def asked(self) -> int:
        """Requests to the catalog's log since the last call."""
        return self.deployment.store.requests.pop("catalog", 0)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_policy_counts_on_other_nodes_within_two_seconds() -> None:
    async def run() -> None:
        steps = Steps()
        here, there = await steps.open()
        ann = caller(ALL)
        query = NAMES | {"topK": 1, "queryVector": {"float32": [1, 2]}}
        await call(there, ann, "QueryVectors", **query)
        await put_policy(here, ALL | {"Effect": "Deny", "Principal": "*"})
        await denied(here, ann, "QueryVectors", **query)
        steps.now += 0.9
        steps.asked()
        await call(there, ann, "QueryVectors", **query)
        assert steps.asked() == 0
        steps.now += 0.2
        await call(there, ann, "QueryVectors", **query)
        await settle()
        assert steps.asked() > 0
        await denied(there, ann, "QueryVectors", **query)
        await call(here, ROOT, "DeleteVectorBucketPolicy", **BUCKET)
        steps.now += 2.1
        await call(there, ann, "QueryVectors", **query)

    asyncio.run(run())


def test_the_owner_never_waits_for_policies_and_is_subject_to_them_within_half_a_minute() -> None:
    async def run() -> None:
        steps = Steps()
        here, there = await steps.open()
        query = NAMES | {"topK": 1, "queryVector": {"float32": [1, 2]}}
        await call(there, ROOT, "QueryVectors", **query)
        await put_policy(here, ALL | {"Effect": "Deny", "Principal": "*"})
        steps.asked()
        steps.now += 29
        await call(there, ROOT, "QueryVectors", **query)
        assert steps.asked() == 0
        steps.now += 2
        await call(there, ROOT, "QueryVectors", **query)
        await settle()
        assert steps.asked() > 0
        await denied(there, ROOT, "QueryVectors", **query)

    asyncio.run(run())


def test_a_first_request_reads_the_catalog_once() -> None:
    async def run() -> None:
        counts = []
        query = NAMES | {"topK": 1, "queryVector": {"float32": [1, 2]}}
        for who in (None, ROOT, caller(ALL)):
            steps = Steps()
            _, there = await steps.open()
            steps.asked()
            await call(there, who, "QueryVectors", **query)
            counts.append(steps.asked())
        assert counts[0] == counts[1] == counts[2] > 0

    asyncio.run(run())
