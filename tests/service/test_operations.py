"""The operation table agrees with botocore's service model, fact by fact."""

from __future__ import annotations

from typing import Any

import pytest

from api.model import MODEL
from quiver.service.operations import LANGUAGES, OPERATIONS, Operation
from quiver.service.shapes import (
    Boolean,
    Document,
    FloatList,
    Integer,
    ListOf,
    MapOf,
    Shape,
    String,
    Structure,
    Union,
)
from quiver.service.text_search import STANDARD_LANGUAGE
from quiver.text import analysis

TAGS_REASON = "the user guide allows 50 tags per resource; the model has no bound"
DEVIATIONS = {
    # fact: (ours, the model's, why)
    "QueryVectors/topK": (
        ("integer", 1, 10_000),
        ("integer", 1, None),
        "the user guide allows topK up to 10,000; the model has no upper bound",
    ),
    "CreateVectorBucket/tags": (("map", 50), ("map", None), TAGS_REASON),
    "CreateIndex/tags": (("map", 50), ("map", None), TAGS_REASON),
    "TagResource/tags": (("map", 50), ("map", None), TAGS_REASON),
}

Facts = dict[str, tuple[Any, ...]]


def our_facts(path: str, shape: Shape) -> Facts:  # noqa: PLR0911 - one case per shape
    """What our table says about a value, flattened to one entry per path."""
    match shape:
        case String():
            pattern = shape.pattern.text if shape.pattern else None
            return {path: ("string", shape.min, shape.max, pattern, shape.enum)}
        case Integer():
            return {path: ("integer", shape.min, shape.max)}
        case Boolean():
            return {path: ("boolean",)}
        case Document():
            return {path: ("document",)}
        case FloatList():
            return {path: ("list", None, None), f"{path}/[]": ("float",)}
        case ListOf():
            return {path: ("list", shape.min, shape.max)} | our_facts(f"{path}/[]", shape.member)
        case MapOf():
            inside = our_facts(f"{path}/key", shape.key) | our_facts(f"{path}/value", shape.value)
            return {path: ("map", shape.max)} | inside
        case Union():
            facts: Facts = {path: ("union", frozenset(shape.members))}
        case Structure():
            facts = {path: ("structure", frozenset(shape.members), frozenset(shape.required))}
    for name, member in shape.members.items():
        facts |= our_facts(f"{path}/{name}", member)
    return facts


def model_facts(path: str, name: str) -> Facts:  # noqa: PLR0911 - one case per shape
    """What the model says about a value, in the same form."""
    shape = MODEL["shapes"][name]
    match shape["type"]:
        case "string":
            enum = tuple(shape.get("enum", ()))
            return {path: ("string", shape.get("min"), shape.get("max"), shape.get("pattern"), enum)}
        case "integer":
            return {path: ("integer", shape.get("min"), shape.get("max"))}
        case "boolean" | "float":
            return {path: (shape["type"],)}
        case "list":
            inside = model_facts(f"{path}/[]", shape["member"]["shape"])
            return {path: ("list", shape.get("min"), shape.get("max"))} | inside
        case "map":
            inside = model_facts(f"{path}/key", shape["key"]["shape"])
            inside |= model_facts(f"{path}/value", shape["value"]["shape"])
            return {path: ("map", shape.get("max"))} | inside
    if shape.get("document"):
        return {path: ("document",)}
    members = frozenset(shape["members"])
    required = frozenset(shape.get("required", ()))
    if shape.get("union"):
        facts: Facts = {path: ("union", members)}
    else:
        facts = {path: ("structure", members, required)}
    for member, reference in shape["members"].items():
        facts |= model_facts(f"{path}/{member}", reference["shape"])
    return facts


def test_every_language_of_the_model_has_an_analyzer():
    assert (STANDARD_LANGUAGE, *LANGUAGES) == analysis.LANGUAGES


def test_operations_are_those_of_the_model():
    assert set(OPERATIONS) == set(MODEL["operations"])
    assert len(OPERATIONS) == 22
    assert all(operation.name == name for name, operation in OPERATIONS.items())


@pytest.mark.parametrize("name", sorted(MODEL["operations"]))
def test_route_is_that_of_the_model(name: str):
    http = MODEL["operations"][name]["http"]
    ours = OPERATIONS[name]
    assert (ours.method, ours.path, 200) == (http["method"], http["requestUri"], http["responseCode"])


@pytest.mark.parametrize("name", sorted(MODEL["operations"]))
def test_members_travel_where_the_model_says(name: str):
    members = MODEL["shapes"][MODEL["operations"][name]["input"]["shape"]]["members"]
    places: dict[str, set[str]] = {"uri": set(), "querystring": set(), "body": set()}
    for member, reference in members.items():
        assert reference.get("locationName", member) == member
        places[reference.get("location", "body")].add(member)
    ours = OPERATIONS[name]
    assert set(ours.uri) == places["uri"]
    assert set(ours.query) == places["querystring"]
    assert ours.has_body == bool(places["body"])


def test_every_constraint_is_that_of_the_model_except_the_listed_ones():
    ours: Facts = {}
    theirs: Facts = {}
    for name, operation in OPERATIONS.items():
        ours |= our_facts(name, operation.input)
        theirs |= model_facts(name, MODEL["operations"][name]["input"]["shape"])
    differences = {
        path: (ours.get(path), theirs.get(path))
        for path in ours.keys() | theirs.keys()
        if ours.get(path) != theirs.get(path)
    }
    assert differences == {path: (mine, model) for path, (mine, model, _) in DEVIATIONS.items()}
    assert len(ours) == 150


def test_braces_of_every_route_name_its_uri_members():
    def named(operation: Operation) -> set[str]:
        return {part[1:-1] for part in operation.path.split("/") if part.startswith("{")}

    assert all(named(operation) == set(operation.uri) for operation in OPERATIONS.values())
