"""Which metadata a filter tree matches."""

from __future__ import annotations

import pytest

from quiver.model.filter import And, Exists, In, Or, Range, RangeOperator, StartsWith, matches

GT, GTE, LT, LTE = RangeOperator


def equal(value, negated=False):
    return In("f", (value,), negated)


@pytest.mark.parametrize(
    ("value", "stored", "expected"),
    [
        ("x", "x", True),
        ("x", "X", False),
        ("", "", True),
        ("1", 1, False),
        (1, "1", False),
        (1, 1.0, True),
        (1.0, 1, True),
        (0.0, -0.0, True),
        (2**53 + 1, float(2**53), False),
        (2**53, float(2**53), True),
        (2**53 + 1, 2**53 + 1, True),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        (False, 0, False),
        (0, False, False),
        (True, "true", False),
        ("b", ["a", "b"], True),
        ("c", ["a", "b"], False),
        (2, [1, 2.0], True),
        ("\u00e9", "e\u0301", False),
    ],
)
def test_equality_is_exact_typed_and_met_by_any_element_and_ne_is_its_complement(value, stored, expected):
    assert matches(equal(value), {"f": stored}) is expected
    assert matches(equal(value, negated=True), {"f": stored}) is not expected


def test_in_is_met_by_any_value_and_nin_is_its_complement():
    values = ("a", 1, False)
    for stored, expected in (
        ("a", True),
        (1.0, True),
        (False, True),
        (["z", "a"], True),
        (True, False),
        ("b", False),
    ):
        assert matches(In("f", values), {"f": stored}) is expected
        assert matches(In("f", values, negated=True), {"f": stored}) is not expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (equal("x"), False),
        (equal("x", negated=True), True),
        (In("f", ("x", 1)), False),
        (In("f", ("x", 1), negated=True), True),
        (Range("f", LT, 5), False),
        (StartsWith("f", ""), False),
        (Exists("f"), False),
        (Exists("f", expected=False), True),
    ],
)
def test_an_absent_field_meets_only_the_negations(condition, expected):
    assert matches(condition, {"other": "x"}) is expected


@pytest.mark.parametrize(
    ("operator", "bound", "stored", "expected"),
    [
        (GT, 5, 5, False),
        (GT, 5, 5.5, True),
        (GTE, 5, 5.0, True),
        (LT, 5, 5, False),
        (LT, 5, 4, True),
        (LTE, 5, 5, True),
        (GT, float(2**53), 2**53 + 1, True),
        (LTE, float(2**53), 2**53 + 1, False),
        (GT, 0, True, False),
        (GTE, 0, "1", False),
        (GT, 8, [1, 9], True),
        (GT, 9, [1, 9], False),
    ],
)
def test_ranges_compare_numbers_only_exactly_and_any_element(operator, bound, stored, expected):
    assert matches(Range("f", operator, bound), {"f": stored}) is expected


def test_each_range_operator_judges_an_array_by_itself():
    between = And((Range("f", GTE, 5), Range("f", LTE, 1)))
    assert matches(between, {"f": [0, 9]})
    assert not matches(between, {"f": 3})


@pytest.mark.parametrize(
    ("prefix", "stored", "expected"),
    [("ab", "abc", True), ("ab", "a", False), ("", "", True), ("", 1, False), ("b", ["a", "bc"], True)],
)
def test_starts_with_looks_at_strings(prefix, stored, expected):
    assert matches(StartsWith("f", prefix), {"f": stored}) is expected


@pytest.mark.parametrize("stored", ["", 0, False, [1], "x"])
def test_exists_is_met_by_any_value(stored):
    assert matches(Exists("f"), {"f": stored})
    assert not matches(Exists("f", expected=False), {"f": stored})


def test_and_needs_all_parts_and_or_any():
    one, two = In("a", (1,)), In("b", (2,))
    assert matches(And((one, two)), {"a": 1, "b": 2})
    assert not matches(And((one, two)), {"a": 1, "b": 3})
    assert matches(Or((one, two)), {"a": 0, "b": 2})
    assert not matches(Or((one, two)), {"a": 0, "b": 3})


@pytest.mark.parametrize("field", ["", "$x", "a.b", "_", "\u96ea"])
def test_any_key_is_an_ordinary_key(field):
    assert matches(In(field, ("v",)), {field: "v"})
    assert not matches(In(field, ("v",)), {"a": "v"})


def test_filters_that_differ_only_in_true_and_one_are_different():
    assert In("f", (1,)) != In("f", (True,))
    assert And((In("f", (0,)),)) != And((In("f", (False,)),))
    assert len({In("f", (1,)), In("f", (True,)), In("f", (1,))}) == 2
