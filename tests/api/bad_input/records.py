"""Vectors and metadata outside the rules, and those at their edges."""

from __future__ import annotations

from typing import Any

from api.bad_input.catalogue import (
    COMPONENTS,
    EXACT,
    FINITE,
    METADATA_SIZE,
    METADATA_VALUES,
    MINUS_ZERO,
    OVERFLOW,
    TOP_K,
    ZEROS,
)
from api.bad_input.requests import (
    OK,
    QUERY,
    bad_record,
    call,
    constraint,
    invalid,
    members,
    mistyped,
    put,
)
from api.workbench import record

NOT_NUMBERS = ("[[1,2]]", "[1,[2]]", '[1,"2"]', "[1,null]", "[1,true]", "[1,{}]", '["NaN ",1]')
NOT_FINITE = ('[1,"NaN"]', '["-Infinity",1]', "[1,1e39]", "[1,-3.5e38]", "[1,1e300]")
QUERY_FAULT = invalid("Query vector contains invalid values or is invalid for this index", "vector")

VECTORS = [
    *(
        row
        for text in NOT_NUMBERS
        for row in (
            put(
                COMPONENTS,
                invalid(
                    "1 validation error detected. Value at 'vectors[0].data.float32' failed to satisfy "
                    "constraint: Member must be a list of numbers",
                    "vectors[0].data.float32",
                ),
                vector=text,
            ),
            members(
                COMPONENTS,
                "QueryVectors",
                f'"topK":1,"queryVector":{{"float32":{text}}}',
                invalid(
                    "1 validation error detected. Value at 'queryVector.float32' failed to satisfy constraint: "
                    "Member must be a list of numbers",
                    "queryVector.float32",
                ),
            ),
        )
    ),
    *(
        put(COMPONENTS, bad_record(f"vector must have length 2, but has length {length}"), vector=text)
        for text, length in (("[]", 0), ("[1]", 1), ("[1,2,3]", 3))
    ),
    *(
        members(COMPONENTS, "QueryVectors", f'"topK":1,"queryVector":{{"float32":{text}}}', QUERY_FAULT)
        for text in ("[]", "[1]", "[1,2,3]")
    ),
    *(put(FINITE, bad_record("vector contains NaNs or Infs"), vector=text) for text in NOT_FINITE),
    *(
        members(FINITE, "QueryVectors", f'"topK":1,"queryVector":{{"float32":{text}}}', QUERY_FAULT)
        for text in NOT_FINITE
    ),
    put(FINITE, OK, on="scratch", vector="[1,3.4028234663852886e38]"),
    *(
        put(
            ZEROS, bad_record("cosine distance does not support vectors with zero norm"), on="scratch", vector=text
        )
        for text in ("[0,0]", "[-0.0,5e-324]", "[1e-50,0]")
    ),
    members(ZEROS, "QueryVectors", '"topK":1,"queryVector":{"float32":[0,1e-50]}', QUERY_FAULT, on="scratch"),
    put(ZEROS, OK, on="scratch", vector="[-0.0,1.4e-45]"),
    put(OVERFLOW, OK, on="scratch", vector="[3e38,3e38]"),
    members(OVERFLOW, "QueryVectors", '"topK":9,"queryVector":{"float32":[3e38,-3e38]},"returnDistance":true', OK),
    put(MINUS_ZERO, OK, on="scratch", vector="[-0.0,1]"),
    *(
        call(TOP_K, "QueryVectors", QUERY | {"topK": k}, constraint("/topK", "be between 1 and 10000, inclusive"))
        for k in (0, -1, 10_001)
    ),
    *(
        call(TOP_K, "QueryVectors", QUERY | {"topK": k}, mistyped("/topK", "an integer"))
        for k in (1.5, "10", True)
    ),
    call(TOP_K, "QueryVectors", QUERY | {"topK": None}, constraint("/topK", "not be null")),
    call(TOP_K, "QueryVectors", QUERY | {"topK": 10_000}, OK),
]


def metadata(line: str, document: Any, text: str | None, label: str = "", on: str = "index") -> Any:
    """A PutVectors of one record with this metadata; without a text it is accepted, by the index to write to."""
    expected = OK if text is None else bad_record(text, "vectors[0].metadata")
    where = "scratch" if text is None else on
    return call(line, "PutVectors", {"vectors": [record("a", [1, 2], document)]}, expected, label, where)


VALUE = "Metadata values must be strings, numbers, booleans, or arrays"
ELEMENT = "Metadata array values must be strings or numbers"

METADATA = [
    metadata(
        METADATA_SIZE, {f"k{n}": 1 for n in range(51)}, "Metadata object must have at most 50 keys", "51 keys"
    ),
    metadata(METADATA_SIZE, {f"k{n}": 1 for n in range(50)}, None, "50 keys"),
    metadata(METADATA_SIZE, {"f": "x" * 2036}, "Filterable metadata must have at most 2048 bytes", "2,049 bytes"),
    metadata(METADATA_SIZE, {"f": "x" * 2035}, None, "2,048 bytes"),
    metadata(
        METADATA_SIZE, {"f": "\u00e9" * 1018}, "Filterable metadata must have at most 2048 bytes", "2,049 in UTF-8"
    ),
    metadata(
        METADATA_SIZE, {"text": "x" * 40_945}, "Metadata object must have at most 40960 bytes", "40,961", "scratch"
    ),
    metadata(METADATA_SIZE, {"text": "x" * 40_944}, None, "40,960 bytes"),
    *(metadata(METADATA_SIZE, {key: 1}, None) for key in ("", "k" * 1024, "$and", "a.b", "_x")),
    *(
        call(
            METADATA_SIZE,
            "CreateIndex",
            {
                "indexName": "never-made",
                "dataType": "float32",
                "dimension": 2,
                "distanceMetric": "cosine",
                "metadataConfiguration": {"nonFilterableMetadataKeys": keys},
            },
            constraint(
                f"/metadataConfiguration/nonFilterableMetadataKeys{path}",
                f"have length between {bounds}, inclusive",
                length,
            ),
            on="bucket",
            label=f"CreateIndex {len(keys)} of {len(keys[0])}",
        )
        for keys, path, bounds, length in (
            (["a"] * 11, "", "0 and 10", 11),
            (["a" * 64], "/0", "1 and 63", 64),
            ([""], "/0", "1 and 63", 0),
        )
    ),
    metadata(METADATA_VALUES, {"n": {"a": 1}}, VALUE),
    metadata(METADATA_VALUES, {"n": None}, VALUE),
    metadata(METADATA_VALUES, {"n": [1, "a"]}, ELEMENT),
    metadata(METADATA_VALUES, {"n": [True]}, ELEMENT),
    metadata(METADATA_VALUES, {"n": [None]}, ELEMENT),
    metadata(METADATA_VALUES, {"n": [{}]}, ELEMENT),
    metadata(METADATA_VALUES, {"n": [["a"]]}, ELEMENT),
    metadata(METADATA_VALUES, {"n": []}, "Empty arrays are not allowed in metadata"),
    metadata(METADATA_VALUES, [], "Metadata must be a JSON object"),
    metadata(METADATA_VALUES, {"n": ["", 0][:1], "m": 0, "s": ""}, None),
    metadata(EXACT, {"n": 2**63}, "Metadata numbers must be finite and integers must fit in 64 bits"),
    metadata(EXACT, {"n": 2**63 - 1}, None),
]
