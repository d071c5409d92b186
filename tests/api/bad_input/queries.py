"""Filters, texts and modes outside the rules, and those at their edges."""

from __future__ import annotations

from typing import Any

from api.bad_input.catalogue import FILTERS, MODES, TEXTS
from api.bad_input.requests import OK, QUERY, Expected, call, constraint, invalid


def nested(levels: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"n": 1}
    for _ in range(levels - 1):
        condition = {"$and": [condition]}
    return condition


def asking(line: str, condition: Any, message: str | None, label: str = "", on: str = "index") -> Any:
    """A QueryVectors with this filter; without a message it is accepted."""
    expected = OK if message is None else invalid(message, "filter")
    return call(
        line, "QueryVectors", QUERY | {"filter": condition}, expected, label or f"filter {condition!r:.40}", on
    )


def legs(**words: str) -> list[dict[str, str]]:
    return [{"metadataKey": key, "text": text} for key, text in words.items()]


def fields(*keys: str, **more: str) -> dict[str, Any]:
    return {"textSearchConfigurations": [{"metadataKey": key} | more for key in keys]}


ONE_WAY = invalid("Specify either add or delete, but not both")
SECOND = "queryTexts[1].metadataKey"
CONFIGURED = Expected(
    409, "ConflictException", "A text search configuration of the metadata key 'body' already exists"
)
KNOWN_MODES = "satisfy enum value set: [CLASSIC, ENHANCED]"
TOO_MANY = "Invalid filter: more than 100 constraints"

QUERIES = [
    *(
        asking(FILTERS, condition, "Invalid filter")
        for condition in (
            {},
            {"a": 1, "b": 2},
            {"a": {"$regex": "x"}},
            {"$and": []},
            {"a": {"$in": []}},
            [],
            "a",
            1,
        )
    ),
    asking(FILTERS, {"n": {"$in": list(range(10_000))}}, TOO_MANY, "10,000 values"),
    asking(FILTERS, {"n": {"$in": list(range(101))}}, TOO_MANY, "101 values"),
    asking(FILTERS, {"n": {"$in": list(range(100))}}, None, "100 values"),
    asking(FILTERS, nested(17), "Invalid filter: more than 16 levels", "17 levels"),
    asking(FILTERS, nested(16), None, "16 levels"),
    asking(FILTERS, {"text": "x"}, "Invalid use of non-filterable metadata in filter", on="scratch"),
    asking(FILTERS, {"n": {"$gt": "1"}}, "Invalid filter"),
    asking(FILTERS, {"n": {"$startsWith": 1}}, "Invalid filter"),
    asking(FILTERS, {"n": {"$startsWith": ""}}, None),
    *(
        call(TEXTS, "QueryVectors", {"topK": 1, "queryTexts": texts}, expected, on="texts")
        for texts, expected in (
            (None, invalid("At least one of queryVector and queryTexts must be specified", "queryVector")),
            ([], constraint("/queryTexts", "have length between 1 and 10, inclusive", 0)),
            (legs(body=""), constraint("/queryTexts/0/text", "have length between 1 and 1024, inclusive", 0)),
            (
                legs(body="a" * 1025),
                constraint("/queryTexts/0/text", "have length between 1 and 1024, inclusive", 1025),
            ),
            (legs(body="a") * 2, invalid("Each entry of queryTexts must have a distinct metadataKey", SECOND)),
            (legs(body="a", n="a"), invalid("The metadata key 'n' is not configured for text search", SECOND)),
            (legs(body="?!"), OK),
            (legs(body="a" * 1024), OK),
        )
    ),
    *(
        call(TEXTS, "UpdateMetadataConfiguration", change, expected, on="texts")
        for change, expected in (
            ({}, ONE_WAY),
            ({"add": fields("n"), "delete": fields("body")}, ONE_WAY),
            (
                {"delete": fields()},
                constraint("/delete/textSearchConfigurations", "have length between 1 and 10, inclusive", 0),
            ),
            (
                {"delete": fields("n")},
                invalid(
                    "The metadata key 'n' is not configured for text search",
                    "delete.textSearchConfigurations[0].metadataKey",
                ),
            ),
            (
                {"add": fields("n", "n")},
                invalid(
                    "Each text search configuration must have a distinct metadataKey",
                    "add.textSearchConfigurations[1].metadataKey",
                ),
            ),
            ({"add": fields("n", "body")}, CONFIGURED),
            ({"add": fields(*"abcdefghi")}, invalid("An index can have at most 10 text search configurations")),
            (
                {"add": fields("n" * 64)},
                constraint(
                    "/add/textSearchConfigurations/0/metadataKey", "have length between 1 and 63, inclusive", 64
                ),
            ),
            (
                {"add": fields("n", language="sv")},
                constraint(
                    "/add/textSearchConfigurations/0/language",
                    "satisfy enum value set: [en, fr, es, pt, it, de, nl, zh, ja, ko]",
                ),
            ),
        )
    ),
    *(
        call(MODES, operation, params, expected, on=on)
        for operation, on, params, expected in (
            (
                "QueryVectors",
                "index",
                QUERY | {"queryMode": "CLASSIC"},
                invalid("queryMode cannot be CLASSIC when indexMode is ENHANCED"),
            ),
            ("QueryVectors", "index", QUERY | {"queryMode": "ENHANCED"}, OK),
            ("QueryVectors", "index", QUERY | {"queryMode": "enhanced"}, constraint("/queryMode", KNOWN_MODES)),
            (
                "UpdateIndexMode",
                "index",
                {"indexMode": "CLASSIC"},
                invalid(
                    "indexMode cannot be set to CLASSIC because the vector bucket does not support CLASSIC mode"
                ),
            ),
            ("UpdateIndexMode", "index", {"indexMode": "ENHANCED"}, OK),
            ("UpdateIndexMode", "index", {"indexMode": ""}, constraint("/indexMode", KNOWN_MODES)),
            ("UpdateIndexMode", "index", {}, constraint("/indexMode", "not be null")),
            (
                "PutVectorBucketDefaultIndexMode",
                "bucket",
                {"defaultIndexMode": "CLASSIC"},
                invalid(
                    "defaultIndexMode cannot be set to CLASSIC because this vector bucket does not support "
                    "CLASSIC mode"
                ),
            ),
            ("PutVectorBucketDefaultIndexMode", "bucket", {"defaultIndexMode": "ENHANCED"}, OK),
            (
                "PutVectorBucketDefaultIndexMode",
                "bucket",
                {"defaultIndexMode": "FAST"},
                constraint("/defaultIndexMode", KNOWN_MODES),
            ),
        )
    ),
]
