"""Who is allowed what: tables for each rule, and policies at random against a naive reading of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.service.policy.document import Kind, read_policy
from quiver.service.policy.evaluation import Request, is_allowed
from quiver.service.policy.principals import Principal, root_of
from service.policy import naive

HOME, OTHER = "111111111111", "222222222222"
INDEX = f"arn:aws:s3vectors:eu-central-1:{HOME}:bucket/alpha/index/one"
ALL: dict[str, Any] = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DENY = ALL | {"Effect": "Deny"}
EVERYBODY = {"Principal": "*"}


def user(account: str, *statements: dict[str, Any], name: str = "ann") -> Principal:
    arn = f"arn:aws:iam::{account}:user/{name}"
    policies = tuple(read_policy(text(statement), Kind.IDENTITY) for statement in statements)
    return Principal(arn, account, name, policies=policies)


def text(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allowed(
    principal: Principal, bucket: str | None = None, action: str = "s3vectors:GetIndex", resource: str = INDEX
) -> bool:
    context = {"aws:username": (principal.name,)} if principal.name else {}
    return is_allowed(Request(principal, action, resource, lambda: context), bucket, HOME)


ANN = {"AWS": f"arn:aws:iam::{HOME}:user/ann"}
FOREIGN = {"AWS": f"arn:aws:iam::{OTHER}:user/ann"}


@pytest.mark.parametrize(
    ("principal", "bucket", "expected"),
    [
        (user(HOME), None, False),
        (user(HOME, ALL), None, True),
        (user(HOME, ALL, DENY), None, False),
        (user(HOME, DENY, ALL), None, False),
        (user(HOME), text(ALL | EVERYBODY), True),
        (user(HOME), text(ALL | {"Principal": ANN}), True),
        (user(HOME), text(ALL | {"Principal": {"AWS": f"arn:aws:iam::{HOME}:user/bob"}}), False),
        (user(HOME), text(ALL | {"Principal": {"AWS": HOME}}), False),
        (user(HOME, ALL), text(ALL | {"Principal": {"AWS": OTHER}}), True),
        (user(HOME, ALL), text(DENY | EVERYBODY), False),
        (user(HOME, ALL), text(DENY | {"Principal": {"AWS": HOME}}), False),
        (user(HOME, ALL), text(DENY | {"Principal": {"AWS": OTHER}}), True),
        (user(HOME, ALL), text(DENY | {"NotPrincipal": ANN}), True),
        (user(HOME, ALL, name="bob"), text(DENY | {"NotPrincipal": ANN}), False),
        (user(HOME, ALL, name="bob"), text(DENY | {"NotPrincipal": {"AWS": HOME}}), True),
        (user(HOME), text(ALL | {"Principal": {"Service": "bedrock.amazonaws.com"}}), False),
        (user(HOME, DENY), text(ALL | EVERYBODY), False),
        (user(OTHER, ALL), None, False),
        (user(OTHER), text(ALL | EVERYBODY), False),
        (user(OTHER, ALL), text(ALL | EVERYBODY), True),
        (user(OTHER, ALL), text(ALL | {"Principal": FOREIGN}), True),
        (user(OTHER, ALL), text(ALL | {"Principal": {"AWS": OTHER}}), True),
        (user(OTHER, ALL), text(ALL | {"Principal": {"AWS": HOME}}), False),
        (user(OTHER, ALL), text(ALL | EVERYBODY, DENY | {"Principal": FOREIGN}), False),
        (user(HOME, ALL), "not a policy", False),
        (user(HOME, ALL), "{}", False),
        (root_of(HOME), None, True),
        (root_of(HOME), text(), True),
        (root_of(HOME), text(DENY | EVERYBODY), False),
        (root_of(HOME), text(DENY | {"Principal": {"AWS": HOME}}), False),
        (root_of(HOME), text(DENY | {"Principal": ANN}), True),
        (root_of(HOME), "not a policy", True),
    ],
)
def test_identity_and_bucket_policies_together(principal: Principal, bucket: str | None, expected: bool) -> None:
    assert allowed(principal, bucket) is expected


@pytest.mark.parametrize("verb", ["Get", "Put", "Delete"])
def test_the_owner_can_always_undo_a_policy_and_others_cannot(verb: str) -> None:
    bucket = text(DENY | EVERYBODY)
    assert allowed(root_of(HOME), bucket, f"s3vectors:{verb}VectorBucketPolicy")
    assert not allowed(user(HOME, ALL), bucket, f"s3vectors:{verb}VectorBucketPolicy")
    assert not allowed(root_of(HOME), bucket, "s3vectors:DeleteVectorBucket")


ARN = f"arn:aws:s3vectors:*:{HOME}:bucket"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"Action": "s3vectors:getindex"}, True),
        ({"Action": ["s3vectors:PutVectors", "s3vectors:Get*"]}, True),
        ({"Action": "s3vectors:PutVectors"}, False),
        ({"Action": "s3:*"}, False),
        ({"Resource": f"{ARN}/alpha/*"}, True),
        ({"Resource": f"{ARN}/alpha"}, False),
        ({"Resource": f"{ARN}/ALPHA/*"}, False),
        ({"Resource": [f"{ARN}/beta/*", f"{ARN}/al???/index/one"]}, True),
        ({"Resource": f"{ARN}/*"}, True),
        ({"Resource": "arn:*:*:*:*:*"}, True),
        ({"Resource": f"arn:aws:s3vectors:{HOME}:*:*"}, False),
        ({"Resource": "arn:aws:s3vectors:::${aws:username}"}, False),
        ({"Condition": {"StringEquals": {"aws:username": "ann"}}}, True),
        ({"Condition": {"StringEquals": {"aws:username": "ann"}, "Bool": {"aws:SecureTransport": "true"}}}, False),
    ],
)
def test_what_a_statement_is_about(more: dict[str, Any], expected: bool) -> None:
    assert allowed(user(HOME, ALL | more)) is expected
    assert allowed(user(HOME, ALL, DENY | more)) is not expected


def test_negated_elements() -> None:
    no_writes = {"Effect": "Allow", "NotAction": ["s3vectors:Put*", "s3vectors:Delete*"], "Resource": "*"}
    assert allowed(user(HOME, no_writes))
    assert not allowed(user(HOME, no_writes), action="s3vectors:PutVectors")
    elsewhere = {"Effect": "Allow", "Action": "*", "NotResource": f"{ARN}/alpha/*"}
    assert not allowed(user(HOME, elsewhere))
    assert allowed(user(HOME, elsewhere), resource=INDEX.replace("alpha", "beta"))


def test_all_but_what_a_missing_variable_names_allows_nothing_and_denies_everything() -> None:
    names = {"NotResource": "arn:aws:s3vectors:::bucket/${aws:missing}", "Action": "*"}
    assert not allowed(user(HOME, {"Effect": "Allow", **names}))
    assert not allowed(user(HOME, ALL, {"Effect": "Deny", **names}))


def test_variables_name_the_caller() -> None:
    own = ALL | {"Resource": f"{ARN}/${{aws:username}}/*"}
    assert allowed(user(HOME, own, name="alpha"))
    assert not allowed(user(HOME, own))


def test_the_account_is_matched_by_a_star_only() -> None:
    assert allowed(user(HOME, ALL), action="s3vectors:ListVectorBuckets", resource="*")
    assert not allowed(user(HOME, ALL | {"Resource": "arn:*:*:*:*:*"}), resource="*")


# ---- at random

ACTIONS = ("s3vectors:GetIndex", "s3vectors:PutVectors", "s3vectors:GetVectorBucketPolicy")
NAMES = ("ann", "bob")
WHO = [
    {"arn": f"arn:aws:iam::{account}:user/{name}", "account": account, "name": name, "root": False}
    for account in (HOME, OTHER)
    for name in NAMES
] + [{"arn": f"arn:aws:iam::{HOME}:root", "account": HOME, "name": "", "root": True}]

patterns = st.sampled_from(
    ["*", "s3vectors:*", "s3vectors:Get*", "s3vectors:getindex", "s3vectors:P?tVectors", "s3:*"]
)
resources = st.sampled_from(["*", f"{ARN}/*", f"{ARN}/alpha/*", f"{ARN}/?eta/index/*", INDEX, "arn:aws:s3:::x"])
who = st.sampled_from(["*", HOME, OTHER, *(each["arn"] for each in WHO)])
principals = st.one_of(
    st.just("*"), st.builds(lambda names: {"AWS": names}, st.lists(who, min_size=1, max_size=3))
)
keys = st.sampled_from(["aws:TagKeys", "aws:username", "AWS:RequestTag/Team", "aws:missing"])
words = st.sampled_from(["ann", "a*", "red", "RED", "team", "*"])
strings = ("StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringLike", "StringNotLike")
operators = st.builds(
    lambda quantifier, base, suffix: f"{quantifier}{base}{suffix}",
    st.sampled_from(["", "ForAllValues:", "ForAnyValue:"]),
    st.sampled_from(strings),
    st.sampled_from(["", "IfExists"]),
)
conditions = st.one_of(
    st.dictionaries(
        operators, st.dictionaries(keys, st.lists(words, max_size=2), min_size=1, max_size=2), max_size=2
    ),
    st.builds(lambda key, value: {"Null": {key: value}}, keys, st.sampled_from(["true", "false"])),
)


@st.composite
def statements(draw: Any, *, bucket: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"]))}
    made[draw(st.sampled_from(["Action", "Action", "NotAction"]))] = draw(
        st.lists(patterns, min_size=1, max_size=2)
    )
    made[draw(st.sampled_from(["Resource", "Resource", "NotResource"]))] = draw(
        st.lists(resources, min_size=1, max_size=2)
    )
    if draw(st.booleans()):
        made["Condition"] = draw(conditions)
    if bucket:
        denies = made["Effect"] == "Deny"
        made["NotPrincipal" if denies and draw(st.booleans()) else "Principal"] = draw(principals)
    return made


def policies(*, bucket: bool) -> st.SearchStrategy[dict[str, Any]]:
    listed = st.lists(statements(bucket=bucket), max_size=3)
    return st.builds(lambda found: {"Version": "2012-10-17", "Statement": found}, listed)


@given(
    st.sampled_from(WHO),
    st.lists(policies(bucket=False), max_size=2),
    st.one_of(st.none(), policies(bucket=True)),
    st.sampled_from(ACTIONS),
    st.sampled_from([INDEX, INDEX.replace("alpha", "beta"), "*"]),
    st.fixed_dictionaries(
        {},
        optional={
            "aws:username": st.tuples(st.sampled_from(NAMES)),
            "aws:requesttag/team": st.tuples(st.sampled_from(["red", "Red"])),
            "aws:tagkeys": st.sampled_from([("team",), ("team", "red"), ("ann", "team")]),
        },
    ),
)
@settings(max_examples=400, deadline=None)
def test_policies_at_random_agree_with_a_naive_reading(
    asks: dict[str, Any], own: list[Any], bucket: Any, action: str, resource: str, context: dict[str, Any]
) -> None:
    read = tuple(read_policy(json.dumps(policy), Kind.IDENTITY) for policy in own)
    principal = Principal(asks["arn"], asks["account"], asks["name"], asks["root"], read)
    stored = None if bucket is None else json.dumps(bucket)
    expected = naive.allowed(asks, own, bucket, HOME, action, resource, context)
    for _ in range(2):  # the second time from what is remembered
        assert is_allowed(Request(principal, action, resource, lambda: context), stored, HOME) is expected
