"""Patterns: wildcards, variables, ARNs, and that no pattern takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.service.policy.errors import PolicyError
from quiver.service.policy.patterns import Pattern
from service.policy.naive import arn_fits, glob_fits

TEXTS = st.text("ab:*?", max_size=12)


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "anything\nat all", True),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-b-b", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a**c", "ac", True),
        ("a.c", "abc", False),
        ("A", "a", False),
        ("[a]", "a", False),
    ],
)
def test_wildcards(pattern: str, value: str, fits: bool) -> None:
    assert Pattern(pattern).matches(value, {}) is fits


@given(TEXTS, st.text("ab:", max_size=12))
def test_wildcards_agree_with_a_naive_reading(pattern: str, value: str) -> None:
    assert Pattern(pattern).matches(value, {}) == glob_fits(pattern, value)


@given(st.text("ab:*?/", max_size=16), st.text("ab:/", max_size=16))
def test_parts_of_arns_agree_with_a_naive_reading(pattern: str, value: str) -> None:
    assert Pattern(pattern, arn=True).matches(value, {}) == arn_fits(pattern, value)


def test_wildcards_can_mean_themselves_and_case_can_mean_nothing() -> None:
    assert not Pattern("a*", wildcards=False).matches("ab", {})
    assert Pattern("a*", wildcards=False).matches("a*", {})
    assert Pattern("S3Vectors:get*", fold=True).matches("s3vectors:GetIndex", {})


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("home/${aws:username}/*", "home/ann/x", True),
        ("home/${AWS:UserName}/*", "home/ann/x", True),
        ("home/${aws:username}/*", "home/bob/x", False),
        ("${aws:starred}", "anything", False),
        ("${aws:starred}", "*", True),
        ("a${*}b", "a*b", True),
        ("a${*}b", "axb", False),
        ("${?}${$}", "?$", True),
        ("${aws:missing}", "", False),
        ("x*${aws:missing}*", "x", False),
        ("${aws:missing, 'nobody'}", "nobody", True),
        ("${aws:username, 'nobody'}", "ann", True),
        ("${aws:several}", "one", False),
        ("${aws:several, 'none'}", "none", False),
    ],
)
def test_variables(pattern: str, value: str, fits: bool) -> None:
    context = {"aws:username": ("ann",), "aws:starred": ("*",), "aws:several": ("one", "two")}
    assert Pattern(pattern, variables=True).matches(value, context) is fits


@pytest.mark.parametrize("text", ["${", "${}", "${aws}", "a${aws:x", "${aws:x,}", "${aws:x, none}", "${**}"])
def test_what_looks_like_a_variable_is_one_or_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match="variable"):
        Pattern(text, variables=True)
    assert Pattern(text, wildcards=False).matches(text, {})


def test_no_pattern_takes_long() -> None:
    started = time.process_time()
    assert not Pattern("*a" * 5000 + "b").matches("a" * 1000, {})
    assert not Pattern("arn:" + "*a?" * 3000, arn=True).matches("arn:" + "a" * 1000, {})
    assert time.process_time() - started < 5
