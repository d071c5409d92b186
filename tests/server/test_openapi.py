"""The OpenAPI document says what the operation table says, and judges values as validation does."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from quiver.cli.main import app
from quiver.model.errors import QuiverError
from quiver.server.openapi import describe, schema_of
from quiver.service.extensions import SERVED
from quiver.service.operations import Operation
from quiver.service.shapes import Boolean, Document, FloatList, Integer, ListOf, MapOf, String, Structure, Union
from quiver.service.validation import validate

DOCUMENT = describe(SERVED.values())
TAG = String(1, 3)
SHAPE = Structure(
    {
        "text": String(2, 4),
        "mode": String(enum=("A", "B")),
        "count": Integer(1, 3),
        "flag": Boolean(),
        "vector": Union({"float32": FloatList()}),
        "keys": ListOf(String(1, 2), 1, 2),
        "tags": MapOf(TAG, TAG, 2, "too many"),
        "any": Document(),
        "inner": Structure({"name": String()}, ("name",)),
    },
    ("text",),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(["", "A", "ab", "abcde", 0, 1, 3, 4, 1.5, True, "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["float32", "name", "a", "long key"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def test_the_command_prints_the_document() -> None:
    result = CliRunner().invoke(app, ["openapi"])
    assert (result.exit_code, json.loads(result.output)) == (0, DOCUMENT)


def test_every_operation_is_there_once_with_its_route() -> None:
    routes = {
        described["operationId"]: (method.upper(), path)
        for path, methods in DOCUMENT["paths"].items()
        for method, described in methods.items()
    }
    assert routes == {name: (operation.method, operation.path) for name, operation in SERVED.items()}


@pytest.mark.parametrize("operation", SERVED.values(), ids=lambda operation: operation.name)
def test_members_travel_where_the_table_says(operation: Operation) -> None:
    described = DOCUMENT["paths"][operation.path][operation.method.lower()]
    places: dict[str, str] = {p["name"]: p["in"] for p in described.get("parameters", [])}
    required = {p["name"] for p in described.get("parameters", []) if p["required"]}
    if operation.has_body:
        schema = described["requestBody"]["content"]["application/json"]["schema"]
        places |= dict.fromkeys(schema["properties"], "body")
        required |= set(schema.get("required", ()))
    due = dict.fromkeys(operation.input.members, "body")
    due |= dict.fromkeys(operation.uri, "path") | dict.fromkeys(operation.query, "query")
    assert places == due
    assert required == set(operation.input.required)
    assert set(described["responses"]) >= {"200", "400", "403", "404", "429", "503"}


def test_references_lead_somewhere() -> None:
    responses = DOCUMENT["components"]["responses"]
    for methods in DOCUMENT["paths"].values():
        for described in methods.values():
            for code, response in described["responses"].items():
                assert code == "200" or response["$ref"] == f"#/components/responses/{code}"
                assert code == "200" or code in responses


@given(st.dictionaries(st.sampled_from([*SHAPE.members, "unknown"]), VALUES, max_size=5))
def test_a_schema_accepts_what_validation_accepts(params: dict[str, Any]) -> None:
    operation = Operation("Try", "POST", "/Try", SHAPE)
    try:
        validate(operation, params)
        accepted = True
    except QuiverError:
        accepted = False
    assert jsonschema.Draft202012Validator(schema_of(SHAPE)).is_valid(params) == accepted
