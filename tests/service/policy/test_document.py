"""Policy documents: what is read, what is refused and with which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quiver.service.policy.document import MAX_POLICY_BYTES, Kind, check_names, read_policy
from quiver.service.policy.errors import PolicyError

STATEMENT = {"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"}
BUCKET_STATEMENT = STATEMENT | {"Principal": "*"}
KNOWN = ("s3vectors:GetIndex", "s3vectors:GetVectors")


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in STATEMENT.items() if key != name}


def document(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)} | more)


@pytest.mark.parametrize(
    "text",
    [
        document(STATEMENT),
        document(),
        document(STATEMENT, Id="x", Version="2008-10-17"),
        json.dumps({"Statement": STATEMENT}),
        document(STATEMENT | {"Sid": "a"}, STATEMENT | {"Sid": "b"}),
        document(without("Action") | {"NotAction": ["s3:Get*", "*"]}),
        document(without("Resource") | {"NotResource": ["arn:aws:s3vectors:*:*:bucket/${aws:username}"]}),
        document(STATEMENT | {"Resource": "arn:aws:s3vectors:aws-region:111122223333:bucket/a/*"}),
        document(STATEMENT | {"Condition": {}}),
        document(STATEMENT | {"Resource": "arn:aws:s3vectors:::${"}, Version="2008-10-17"),
    ],
)
def test_identity_policies(text: str) -> None:
    assert (
        len(read_policy(text, Kind.IDENTITY).statements) == len(json.dumps(json.loads(text)).split("Effect")) - 1
    )


@pytest.mark.parametrize(
    "principal",
    [
        "*",
        {"AWS": "*"},
        {"AWS": "123456789012"},
        {"AWS": ["arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/path/ann"]},
        {"AWS": "arn:aws-cn:sts::123456789012:assumed-role/role/session"},
        {"Service": "bedrock.amazonaws.com"},
        {"AWS": "*", "Federated": ["accounts.example"], "CanonicalUser": "79a59df900b949e5"},
    ],
)
def test_principals_of_bucket_policies(principal: Any) -> None:
    for name, effect in (("Principal", "Allow"), ("NotPrincipal", "Deny")):
        read_policy(document(STATEMENT | {name: principal, "Effect": effect}), Kind.BUCKET)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Policy must be a JSON object"),
        ("[]", "Policy must be a JSON object"),
        ('{"Statement":[],"Statement":[]}', "Policy must be a JSON object"),
        ("[" * 5000, "Policy must be a JSON object"),
        ('{"Statement":[],"Id":"\ud800"}', "Policy must be a JSON object"),
        ('{"Statement":[' + " " * MAX_POLICY_BYTES + "]}", "Policy exceeds the maximum size of 20480 bytes"),
        ("{}", "Missing required field Statement"),
        (document(Version="2012-10-18"), "Version must be 2008-10-17 or 2012-10-17"),
        (document(Version=None), "Version must be 2008-10-17 or 2012-10-17"),
        (document(Id=1), "Id must be a string"),
        (document(Comment="x"), "Policy has an unknown member 'Comment'"),
        (document("x"), "Statement[0] must be an object"),
        (document(STATEMENT, [STATEMENT]), "Statement[1] must be an object"),
        (document(STATEMENT | {"sid": "x"}), "Statement[0] has an unknown member 'sid'"),
        (document(STATEMENT | {"Sid": 1}), "Sid must be a string"),
        (document(STATEMENT | {"Sid": "a"}, STATEMENT | {"Sid": "a"}), "Sid must be different in each statement"),
        (document(without("Effect")), "Statement[0].Effect must be Allow or Deny"),
        (document(STATEMENT | {"Effect": "allow"}), "Statement[0].Effect must be Allow or Deny"),
        (document(without("Action")), "Statement[0] must have either Action or NotAction"),
        (document(STATEMENT | {"NotAction": "*"}), "Statement[0] must have either Action or NotAction"),
        (document(without("Resource")), "Statement[0] must have either Resource or NotResource"),
        (document(STATEMENT | {"Action": []}), "Statement[0].Action must be a string or a list of strings"),
        (document(STATEMENT | {"Action": 1}), "Statement[0].Action must be a string or a list of strings"),
        (document(STATEMENT | {"Action": "GetIndex"}), "Statement[0].Action: 'GetIndex' is not an action"),
        (document(STATEMENT | {"Action": "s3*:Get"}), "Statement[0].Action: 's3*:Get' is not an action"),
        (
            document(STATEMENT | {"Resource": "bucket/a"}),
            "Statement[0].Resource: 'bucket/a' is neither * nor an ARN of six parts",
        ),
        (
            document(STATEMENT | {"Resource": ["*", "arn:aws:s3vectors:*"]}),
            "Statement[0].Resource: 'arn:aws:s3vectors:*' is neither * nor an ARN of six parts",
        ),
        (
            document(STATEMENT | {"Resource": "arn:aws:s3vectors:::${aws"}),
            "Statement[0].Resource: a policy variable has the form ${key} or ${key, 'default'}",
        ),
        (document(STATEMENT | {"Condition": []}), "Statement[0].Condition must be an object"),
        (document(BUCKET_STATEMENT), "Statement[0] has an unknown member 'Principal'"),
    ],
)
def test_documents_that_are_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        read_policy(text, Kind.IDENTITY)
    assert str(refusal.value) == message


NOBODY = "is neither *, an account, nor the ARN of a user or role"
SHAPE = 'must be "*" or an object with AWS, Service, Federated or CanonicalUser'


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "Statement[0] must have either Principal or NotPrincipal"),
        ({"Principal": "*", "NotPrincipal": "*"}, "Statement[0] must have either Principal or NotPrincipal"),
        ({"NotPrincipal": "*"}, "Statement[0]: NotPrincipal goes with the effect Deny only"),
        ({"Principal": "ann"}, f"Statement[0].Principal {SHAPE}"),
        ({"Principal": {}}, f"Statement[0].Principal {SHAPE}"),
        ({"Principal": {"Aws": "*"}}, f"Statement[0].Principal {SHAPE}"),
        ({"Principal": {"AWS": []}}, "Statement[0].Principal must name principals by strings"),
        ({"Principal": {"AWS": [1]}}, "Statement[0].Principal must name principals by strings"),
        ({"Principal": {"AWS": "ann"}}, f"Statement[0].Principal: 'ann' {NOBODY}"),
        ({"Principal": {"AWS": "12345"}}, f"Statement[0].Principal: '12345' {NOBODY}"),
        (
            {"Principal": {"AWS": "arn:aws:iam::123456789012:user/*"}},
            f"Statement[0].Principal: 'arn:aws:iam::123456789012:user/*' {NOBODY}",
        ),
    ],
)
def test_bucket_policies_that_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        read_policy(document(STATEMENT | more), Kind.BUCKET)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("actions", "key", "refused_for"),
    [
        ("s3vectors:GetIndex", "aws:username", set()),
        ("S3VECTORS:get*", "s3vectors:sseType", set()),
        ("*", "s3vectors:VectorBucketTag/team", set()),
        ("s3vectors:GetIndx", "aws:username", {Kind.BUCKET, Kind.IDENTITY}),
        ("quiver:Fly", "aws:username", {Kind.BUCKET, Kind.IDENTITY}),
        ("s3:GetObject", "aws:username", {Kind.BUCKET}),
        ("*", "s3vectors:sse", {Kind.BUCKET, Kind.IDENTITY}),
        ("*", "s3:prefix", {Kind.BUCKET}),
        ("*", "aws:SourceVpc", set()),
    ],
)
def test_names_that_could_only_be_mistakes_are_refused(actions: str, key: str, refused_for: set[Kind]) -> None:
    statement = {"Action": actions, "Condition": {"StringEquals": {key: "x"}}}
    for kind, base in ((Kind.IDENTITY, STATEMENT), (Kind.BUCKET, BUCKET_STATEMENT)):
        policy = read_policy(document(base | statement), kind)
        if kind in refused_for:
            with pytest.raises(PolicyError, match=r"is no action of this service|is not known to this service"):
                check_names(policy, KNOWN, kind)
        else:
            check_names(policy, KNOWN, kind)
