"""The HTTP API as an OpenAPI 3.1 document, made from the operation table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.service.shapes import (
    Boolean,
    Document,
    FloatList,
    Integer,
    ListOf,
    MapOf,
    Number,
    String,
    Structure,
    Union,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quiver.service.operations import Operation
    from quiver.service.shapes import Shape

API_VERSION = "2025-07-15"
"""Of the S3 Vectors service model."""
ERRORS = {
    "400": "The request is not valid: ValidationException with its fields, or SerializationException.",
    "402": "A quota is reached: ServiceQuotaExceededException.",
    "403": "Who sent it is unknown, or may not do this.",
    "404": "A resource, or the operation, does not exist.",
    "405": "The path is known with other methods.",
    "408": "The request did not come, or could not be served, in time: RequestTimeoutException.",
    "409": "The resource exists already, or is in use: ConflictException.",
    "414": "Path and query are too long.",
    "415": "The body is not JSON.",
    "429": "Too much at once: TooManyRequestsException.",
    "431": "The headers are too large.",
    "500": "InternalServerException.",
    "503": "Not at the moment: ServiceUnavailableException.",
}
_ERROR = {
    "type": "object",
    "required": ["message"],
    "additionalProperties": False,
    "properties": {
        "message": {"type": "string"},
        "fieldList": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["path", "message"],
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_COMPONENT = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document. What an answer of 200 holds is not described: the service model of the AWS SDKs says that."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Quiver: the Amazon S3 Vectors API", "version": API_VERSION},
        "paths": paths,
        "security": [{"sigv4": []}],
        "components": {
            "securitySchemes": {
                "sigv4": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, service s3vectors.",
                }
            },
            "schemas": {"Error": _ERROR},
            "responses": {code: _error(text) for code, text in ERRORS.items()},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    responses = {code: {"$ref": f"#/components/responses/{code}"} for code in ERRORS}
    success = {"description": "Done.", "content": {"application/json": {"schema": {"type": "object"}}}}
    described: dict[str, Any] = {"operationId": operation.name, "responses": {"200": success} | responses}
    if parameters := [*_parameters(operation)]:
        described["parameters"] = parameters
    if operation.has_body:
        schema = _structure(_body(operation))
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return described


def _body(operation: Operation) -> Structure:
    elsewhere = {*operation.uri, *operation.query}
    members = {name: shape for name, shape in operation.input.members.items() if name not in elsewhere}
    return Structure(members, tuple(name for name in operation.input.required if name in members))


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for place, names in (("path", operation.uri), ("query", operation.query)):
        for name in names:
            required = place == "path" or name in operation.input.required
            schema = schema_of(operation.input.members[name])
            yield {"name": name, "in": place, "required": required, "schema": schema}


def _error(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "headers": {"x-amzn-errortype": {"description": "The error's code.", "schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def schema_of(shape: Shape) -> dict[str, Any]:  # noqa: PLR0911 - one case per shape
    """The JSON schema of a value."""
    match shape:
        case String():
            return _string(shape)
        case Integer():
            return {"type": "integer", "minimum": shape.min, "maximum": shape.max}
        case Number():
            return {"type": "number", "minimum": shape.min, "maximum": shape.max}
        case Boolean():
            return {"type": "boolean"}
        case FloatList():
            return {"type": "array", "items": _COMPONENT}
        case ListOf():
            bounds = {"minItems": shape.min, "maxItems": shape.max}
            return {"type": "array", "items": schema_of(shape.member), **_given(bounds)}
        case MapOf():
            return {
                "type": "object",
                "propertyNames": _string(shape.key),
                "additionalProperties": _string(shape.value),
                "maxProperties": shape.max,
            }
        case Structure():
            return _structure(shape)
        case Union():
            members = {name: schema_of(member) for name, member in shape.members.items()}
            return {"type": "object", "properties": members, "minProperties": 1, "maxProperties": 1}
        case Document():
            return {}


def _structure(shape: Structure) -> dict[str, Any]:
    """Members that it does not name are ignored, so they are allowed."""
    members = {name: schema_of(member) for name, member in shape.members.items()}
    return {"type": "object", "properties": members, **_given({"required": list(shape.required)})}


def _string(shape: String) -> dict[str, Any]:
    pattern = None if shape.pattern is None else f"^{shape.pattern.text}$"
    facts = {"minLength": shape.min, "maxLength": shape.max, "pattern": pattern, "enum": list(shape.enum)}
    return {"type": "string", **_given(facts)}


def _given(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact not in (None, [])}
