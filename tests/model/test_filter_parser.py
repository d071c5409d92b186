"""Which JSON documents are filters, and what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.model.errors import FieldError, ValidationError
from quiver.model.filter import And, Exists, In, Or, Range, RangeOperator, StartsWith, matches
from quiver.model.filter_parser import parse_filter

GT, GTE, LT, LTE = RangeOperator
NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("document", "tree"),
    [
        ({"a": "x"}, In("a", ("x",))),
        ({"a": 1}, In("a", (1,))),
        ({"a": 1.5}, In("a", (1.5,))),
        ({"a": True}, In("a", (True,))),
        ({"": "x"}, In("", ("x",))),
        ({"a.b": ""}, In("a.b", ("",))),
        ({"a": {"$eq": "x"}}, In("a", ("x",))),
        ({"a": {"$ne": False}}, In("a", (False,), negated=True)),
        ({"a": {"$in": ["x", 1, True]}}, In("a", ("x", 1, True))),
        ({"a": {"$nin": [1]}}, In("a", (1,), negated=True)),
        ({"a": {"$gt": 1}}, Range("a", GT, 1)),
        ({"a": {"$gte": 1.5}}, Range("a", GTE, 1.5)),
        ({"a": {"$lt": -1}}, Range("a", LT, -1)),
        ({"a": {"$lte": 2**63}}, Range("a", LTE, 2**63)),
        ({"n": {"$gte": 0, "$lte": 5}}, And((Range("n", GTE, 0), Range("n", LTE, 5)))),
        ({"a": {"$exists": True}}, Exists("a")),
        ({"a": {"$exists": False}}, Exists("a", expected=False)),
        ({"a": {"$startsWith": ""}}, StartsWith("a", "")),
        ({"$and": [{"a": 1}]}, And((In("a", (1,)),))),
        ({"$or": [{"a": 1}, {"$and": [{"b": 2}]}]}, Or((In("a", (1,)), And((In("b", (2,)),))))),
    ],
)
def test_the_language(document, tree):
    assert parse_filter(document) == tree


@pytest.mark.parametrize(
    "document",
    [
        {},
        None,
        "a",
        [],
        [{"a": 1}],
        {"a": 1, "b": 2},
        {"$and": [{"a": 1, "b": 2}]},
        {"$and": [{"a": 1}], "$or": [{"b": 2}]},
        {"$or": [{"a": 1}], "b": 2},
        {"a": {}},
        {"a": {"x": 1}},
        {"a": {"$eq": 1, "x": 2}},
        {"a": {"$and": [{"b": 1}]}},
        {"a": {"$or": [{"$eq": 1}]}},
        {"a": {"$not": {"$eq": 1}}},
        {"a": {"$regex": "x"}},
        {"a": {"$all": ["x"]}},
        {"a": {"$contains": "x"}},
        {"a": {"$EQ": 1}},
        {"$not": [{"a": 1}]},
        {"$nor": [{"a": 1}]},
        {"$eq": 1},
        {"$x": "a"},
        {"$and": []},
        {"$and": [{}]},
        {"$and": ["x"]},
        {"$and": {"a": 1}},
        {"$or": None},
        {"$or": [{"a": 1}, None]},
        {"a": {"$in": []}},
        {"a": {"$in": "a"}},
        {"a": {"$in": [None]}},
        {"a": {"$in": [["x"]]}},
        {"a": {"$in": [{"x": 1}]}},
        {"a": {"$nin": []}},
        {"a": {"$nin": 1}},
        {"a": None},
        {"a": []},
        {"a": ["x"]},
        {"a": {"$eq": None}},
        {"a": {"$eq": ["x"]}},
        {"a": {"$eq": {"x": 1}}},
        {"a": {"$ne": None}},
        {"a": {"$ne": ["x"]}},
        {"a": {"$ne": {}}},
        {"a": {"$gt": "1"}},
        {"a": {"$gte": True}},
        {"a": {"$lt": None}},
        {"a": {"$lte": [1]}},
        {"a": {"$gt": NAN}},
        {"a": {"$lt": INFINITY}},
        {"a": NAN},
        {"a": {"$ne": -INFINITY}},
        {"a": {"$in": [1, NAN]}},
        {"a": {"$exists": "true"}},
        {"a": {"$exists": 1}},
        {"a": {"$exists": None}},
        {"a": {"$startsWith": 1}},
        {"a": {"$startsWith": None}},
        {"a": {"$startsWith": ["x"]}},
        {"a": "\ud800"},
        {"\udfff": "a"},
        {"a": {"$startsWith": "x\ud800"}},
        {1: "a"},
    ],
)
def test_everything_else_is_an_invalid_filter(document):
    with pytest.raises(ValidationError) as refusal:
        parse_filter(document)
    assert refusal.value.message == "Invalid filter"
    assert refusal.value.fields == (FieldError("filter", "Invalid filter"),)


@pytest.mark.parametrize(
    "document",
    [
        {"hidden": "x"},
        {"hidden": {"$exists": True}},
        {"$and": [{"seen": 1}, {"$or": [{"hidden": {"$ne": "x"}}]}]},
    ],
)
def test_a_non_filterable_key_is_refused_wherever_it_stands(document):
    text = "Invalid use of non-filterable metadata in filter"
    with pytest.raises(ValidationError) as refusal:
        parse_filter(document, ("other", "hidden"))
    assert refusal.value.fields == (FieldError("filter", text),)
    assert refusal.value.message == text
    parse_filter(document, ("other",))


@pytest.mark.parametrize(
    ("full", "one_more"),
    [
        ({"a": {"$in": list(range(99))}}, {"b": 1}),
        ({"a": {"$nin": list(range(98))}}, {"b": {"$gte": 0, "$lt": 5}}),
        ({"$or": [{"a": {"$exists": True}}] * 99}, {"b": {"$startsWith": "x"}}),
        ({"$and": [{"$or": [{"a": {"$ne": 1}}] * 33}] * 3}, {"b": {"$in": [1]}}),
    ],
)
def test_one_hundred_constraints_are_the_most(full, one_more):
    parse_filter({"$and": [full, {"c": 1}]})
    with pytest.raises(ValidationError, match="Invalid filter: more than 100 constraints"):
        parse_filter({"$and": [full, one_more, {"c": 1}]})


@pytest.mark.parametrize(
    ("condition", "constraints"),
    [
        ({"a": 1}, 1),
        ({"a": {"$eq": "x"}}, 1),
        ({"a": {"$ne": True}}, 1),
        ({"a": {"$gt": 1}}, 1),
        ({"a": {"$gte": 1, "$lte": 5}}, 2),
        ({"a": {"$in": [1, 2, 3]}}, 3),
        ({"a": {"$in": [1, 1, 1]}}, 3),
        ({"a": {"$nin": ["x", "y"]}}, 2),
        ({"a": {"$exists": False}}, 1),
        ({"a": {"$startsWith": "x"}}, 1),
        ({"$and": [{"a": 1}]}, 1),
        ({"$or": [{"$and": [{"a": 1}, {"b": 2}]}, {"c": {"$in": [1, 2]}}]}, 4),
    ],
)
def test_what_a_condition_counts(condition, constraints):
    parse_filter({"$and": [condition, {"z": {"$in": list(range(100 - constraints))}}]})
    with pytest.raises(ValidationError) as refusal:
        parse_filter({"$and": [condition, {"z": {"$in": list(range(101 - constraints))}}]})
    message = "Invalid filter: more than 100 constraints"
    assert refusal.value.fields == (FieldError("filter", message),)
    assert refusal.value.message == message


def nested(levels):
    document = {"a": 1}
    for _ in range(levels - 1):
        document = {"$and": [document]}
    return document


def test_sixteen_levels_are_the_most():
    assert matches(parse_filter(nested(16)), {"a": 1})
    for levels in (17, 100_000):
        with pytest.raises(ValidationError, match="more than 16 levels"):
            parse_filter(nested(levels))


def test_a_thousand_and_twenty_four_nodes_are_the_most():
    branch = nested(15)  # 15 nodes
    wide = [branch] * 68  # 1,020 nodes, and one more for the $or around them
    assert isinstance(parse_filter({"$or": [*wide, nested(3)]}), Or)
    with pytest.raises(ValidationError, match="more than 1024 conditions"):
        parse_filter({"$or": [*wide, nested(4)]})


names = st.sampled_from(["a", "", "$and", "$or", "$eq", "$in", "$nin", "$gt", "$exists", "$startsWith", "$x"])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2), max_leaves=12
)


@given(documents)
def test_any_json_is_a_filter_that_can_be_judged_or_a_validation_error(document):
    try:
        condition = parse_filter(document)
    except ValidationError:
        return
    assert matches(condition, {}) in (True, False)
