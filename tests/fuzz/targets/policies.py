"""Policies of principals and of buckets: refused or judged, and nothing is allowed that no statement allows."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from quiver.service.operations import OPERATIONS
from quiver.service.policy.document import Kind, check_names, read_policy
from quiver.service.policy.errors import PolicyError
from quiver.service.policy.evaluation import Request, Verdict, judge
from quiver.service.policy.principals import Principal, root_of

HOME = "111111111111"
ACTIONS = [f"s3vectors:{name}" for name in OPERATIONS]
RESOURCES = ["*", f"arn:aws:s3vectors:eu-central-1:{HOME}:bucket/alpha/index/one"]
CONTEXT = {
    "aws:username": ("ann",),
    "aws:requesttag/team": ("red", "blue"),
    "aws:sourceip": ("10.0.0.7",),
    "aws:currenttime": ("2026-11-21T10:00:00Z",),
    "aws:securetransport": ("false",),
    "s3vectors:ssetype": ("aws:kms",),
}
WHO = [Principal(f"arn:aws:iam::{HOME}:user/ann", HOME, "ann"), root_of("222222222222")]


def _policy(**statement: Any) -> bytes:
    whole = {"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"} | statement
    return json.dumps({"Version": "2012-10-17", "Id": "i", "Statement": [whole]}).encode()


SEEDS = [
    b"i" + _policy(),
    b"i"
    + _policy(
        Action=["s3vectors:Get*", "s3vectors:?ist*"], Resource="arn:aws:s3vectors:*:*:bucket/${aws:username}*"
    ),
    b"i"
    + _policy(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "Bool": {"aws:SecureTransport": False}}),
    b"i" + _policy(Condition={"DateLessThan": {"aws:CurrentTime": "2027-01-01"}, "Null": {"aws:TagKeys": "true"}}),
    b"b" + _policy(Principal={"AWS": [HOME, f"arn:aws:iam::{HOME}:user/ann"]}, Sid="one"),
    b"b"
    + _policy(Effect="Deny", NotPrincipal="*", Condition={"StringLikeIfExists": {"s3vectors:sseType": "aws:*"}}),
    b"b"
    + _policy(Principal="*", Condition={"ForAllValues:StringEquals": {"aws:RequestTag/team": ["red", "blue"]}}),
    b"i"
    + _policy(Condition={"NumericLessThan": {"aws:RequestTag/team": "1e3"}, "ArnLike": {"aws:PrincipalArn": "*"}}),
]


def run(data: bytes) -> None:
    """After `b` the policy of a bucket, else that of a principal."""
    kind = Kind.BUCKET if data[:1] == b"b" else Kind.IDENTITY
    text = data[1:].decode("utf-8", "surrogateescape")
    try:
        policy = read_policy(text, kind)
    except PolicyError as error:
        error.args[0].encode("utf-8", "surrogateescape")
        return
    with suppress(PolicyError):
        check_names(policy, ACTIONS, kind)
    verdicts = {
        judge(policy, Request(who, action, resource, lambda: CONTEXT))
        for who in WHO
        for action in ACTIONS[:6]
        for resource in RESOURCES
    }
    if all(statement.denies for statement in policy.statements):
        assert verdicts <= {Verdict.NOTHING, Verdict.DENIED}
    if not any(statement.denies for statement in policy.statements):
        assert Verdict.DENIED not in verdicts
