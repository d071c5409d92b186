"""Condition operators, one by one: what fits, what a missing key means, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from quiver.service.policy.conditions import OPERATORS, read_conditions
from quiver.service.policy.errors import PolicyError

CONTEXT = {
    "aws:username": ("ann",),
    "aws:tagkeys": ("team", "Cost"),
    "aws:epochtime": ("1800000000",),
    "aws:currenttime": ("2027-01-15T08:00:00+00:00",),
    "aws:securetransport": ("false",),
    "aws:sourceip": ("10.1.2.3",),
    "aws:principalarn": ("arn:aws:iam::000000000000:user/ann",),
    "aws:requesttag/team": ("red",),
}


def holds(operator: str, key: str, values: Any, *, variables: bool = True) -> bool:
    conditions = read_conditions({operator: {key: values}}, "Condition", variables=variables)
    return all(condition.holds(CONTEXT) for condition in conditions)


@pytest.mark.parametrize(
    ("operator", "key", "values", "expected"),
    [
        ("StringEquals", "aws:username", "ann", True),
        ("StringEquals", "AWS:UserName", ["bob", "ann"], True),
        ("StringEquals", "aws:username", "Ann", False),
        ("StringEquals", "aws:username", "a*", False),
        ("StringEquals", "aws:username", [], False),
        ("StringNotEquals", "aws:username", "ann", False),
        ("StringNotEquals", "aws:username", ["bob", "ann"], False),
        ("StringNotEquals", "aws:username", ["bob", "eve"], True),
        ("StringEqualsIgnoreCase", "aws:username", "ANN", True),
        ("StringNotEqualsIgnoreCase", "aws:username", "ANN", False),
        ("StringLike", "aws:username", "a?n", True),
        ("StringNotLike", "aws:username", "b*", True),
        ("StringEquals", "aws:RequestTag/Team", "red", True),
        ("StringLike", "aws:PrincipalArn", "arn:aws:iam::*:user/${aws:username}", True),
        ("StringLike", "aws:PrincipalArn", "*${aws:missing}*", False),
        ("StringNotLike", "aws:PrincipalArn", "*${aws:missing}*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/*", True),
        ("ArnEquals", "aws:PrincipalArn", "arn:aws:iam::*:user/*", True),
        ("ArnLike", "aws:PrincipalArn", "arn:*/ann", False),
        ("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:role/*", True),
        ("ArnNotEquals", "aws:PrincipalArn", "arn:aws:iam::*:user/ann", False),
        ("NumericEquals", "aws:EpochTime", 1800000000, True),
        ("NumericEquals", "aws:EpochTime", "1.8e9", True),
        ("NumericNotEquals", "aws:EpochTime", "1", True),
        ("NumericLessThan", "aws:EpochTime", "1800000000", False),
        ("NumericLessThanEquals", "aws:EpochTime", "1800000000", True),
        ("NumericGreaterThan", "aws:EpochTime", "1799999999.5", True),
        ("NumericGreaterThanEquals", "aws:EpochTime", "1800000001", False),
        ("NumericEquals", "aws:username", "1", False),
        ("NumericNotEquals", "aws:username", "1", True),
        ("DateEquals", "aws:CurrentTime", "2027-01-15T08:00:00Z", True),
        ("DateEquals", "aws:EpochTime", "2027-01-15T08:00:00Z", True),
        ("DateNotEquals", "aws:CurrentTime", "2027-01-15T09:00:00+01:00", False),
        ("DateLessThan", "aws:CurrentTime", "2027-01-16", True),
        ("DateLessThanEquals", "aws:CurrentTime", "1800000000", True),
        ("DateGreaterThan", "aws:CurrentTime", "2027-01-15T08:00:00", False),
        ("DateGreaterThanEquals", "aws:CurrentTime", "2027-01-15T08:00:00", True),
        ("Bool", "aws:SecureTransport", "false", True),
        ("Bool", "aws:SecureTransport", False, True),
        ("Bool", "aws:SecureTransport", "True", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", True),
        ("IpAddress", "aws:SourceIp", ["192.168.0.0/16", "10.1.2.3"], True),
        ("IpAddress", "aws:SourceIp", "::/0", False),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", False),
        ("NotIpAddress", "aws:SourceIp", "2001:db8::/32", True),
        ("Null", "aws:username", "false", True),
        ("Null", "aws:username", True, False),
        ("Null", "aws:missing", "true", True),
    ],
)
def test_operators(operator: str, key: str, values: Any, expected: bool) -> None:
    assert holds(operator, key, values) is expected


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_key_fulfils_negations_and_if_exists_only(operator: str) -> None:
    value = {"Date": "2027-01-01", "Bool": "true", "Ip": "10.0.0.1", "NotI": "10.0.0.1"}.get(operator[:4], "1")
    value = {"D": "2027-01-01", "I": "10.0.0.1"}.get(operator[0], value)
    assert holds(operator, "aws:missing", value) is ("Not" in operator)
    assert holds(f"{operator}IfExists", "aws:missing", value)
    assert holds(f"ForAllValues:{operator}", "aws:missing", value)
    assert not holds(f"ForAnyValue:{operator}", "aws:missing", value)


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("ForAllValues:StringEquals", ["team", "Cost", "more"], True),
        ("ForAllValues:StringEquals", ["team"], False),
        ("ForAllValues:StringNotEquals", ["other"], True),
        ("ForAllValues:StringNotEquals", ["team"], False),
        ("ForAnyValue:StringEquals", ["team"], True),
        ("ForAnyValue:StringEquals", ["other"], False),
        ("ForAnyValue:StringNotEquals", ["team"], True),
        ("ForAnyValue:StringNotEquals", ["team", "Cost"], False),
        ("ForAllValues:StringLikeIfExists", ["t*", "C*"], True),
        ("StringEquals", ["team"], True),
        ("StringNotEquals", ["team"], False),
    ],
)
def test_keys_with_several_values(operator: str, values: list[str], expected: bool) -> None:
    assert holds(operator, "aws:TagKeys", values) is expected


def test_without_the_newer_version_variables_are_text() -> None:
    assert not holds("StringEquals", "aws:username", "${aws:username}", variables=False)
    assert holds("StringEquals", "aws:username", "${aws:username}")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ([], "Condition must be an object"),
        ({"StringEquals": {}}, "Condition.StringEquals must be an object of condition keys"),
        ({"StringEquals": "x"}, "Condition.StringEquals must be an object of condition keys"),
        ({"stringequals": {"aws:x": "y"}}, "Condition.stringequals.aws:x: not a condition operator"),
        ({"Matches": {"aws:x": "y"}}, "Condition.Matches.aws:x: not a condition operator"),
        ({"ForSome:StringEquals": {"aws:x": "y"}}, "not a condition operator"),
        ({"NullIfExists": {"aws:x": "true"}}, "Null takes one value"),
        ({"Null": {"aws:x": ["true", "false"]}}, "Null takes one value"),
        ({"Null": {"aws:x": "yes"}}, "must be true or false"),
        ({"Bool": {"aws:x": "1"}}, "must be true or false"),
        ({"StringEquals": {"x": "y"}}, "not a condition key"),
        ({"StringEquals": {"aws:x": None}}, "values are strings, numbers or booleans"),
        ({"StringEquals": {"aws:x": [["y"]]}}, "values are strings, numbers or booleans"),
        ({"StringLike": {"aws:x": "${aws:y"}}, "a policy variable has the form"),
        ({"NumericEquals": {"aws:x": "ten"}}, "not a number"),
        ({"NumericEquals": {"aws:x": "NaN"}}, "not a number"),
        ({"NumericEquals": {"aws:x": "Infinity"}}, "not a number"),
        ({"DateEquals": {"aws:x": "soon"}}, "not a date"),
        ({"DateLessThan": {"aws:x": "9999999999999"}}, "not a date"),
        ({"IpAddress": {"aws:x": "10.0.0.0/33"}}, "not an IP address"),
    ],
)
def test_what_is_not_understood_is_refused(block: Any, message: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        read_conditions(block, "Condition", variables=True)
    assert message in str(refusal.value)
