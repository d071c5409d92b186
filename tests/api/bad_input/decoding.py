"""Bodies that are not acceptable JSON, or JSON of the wrong types."""

from __future__ import annotations

from api.bad_input.catalogue import DUPLICATES, JSON, KINDS, MANY_ARRAYS, NESTING, NUMBERS, ROOTS, SURROGATES
from api.bad_input.requests import MIB, OK, QUERY, body, call, mistyped, put, unreadable

ARRAYS = "The request body has too many arrays and objects"

BAD_JSON = {
    JSON: [
        b"", b"{", b'{"maxResults":1}x', b'\xef\xbb\xbf{"maxResults":1}', '{"maxResults":1}'.encode("utf-16"),
        b'{"prefix":"\xff"}', b'{"prefix":"\xc0\xaf"}', b'{"prefix":"a\nb"}', b'{"maxResults":1,}',
        b'{"maxResults":01}', b'{"maxResults":1/*c*/}', b"{'maxResults':1}",
    ],
    DUPLICATES: [b'{"maxResults":1,"maxResults":2}', b'{"x":{"y":1,"y":1}}'],
    SURROGATES: [b'{"prefix":"\\ud800"}'],
    NUMBERS: [
        b'{"maxResults":NaN}', b'{"x":-Infinity}', b'{"maxResults":1e999}', b'{"maxResults":18446744073709551616}',
        b'{"maxResults":' + b"9" * 5000 + b"}",
    ],
}  # fmt: skip

DECODING = [
    *(body(line, "ListVectorBuckets", text, unreadable()) for line, texts in BAD_JSON.items() for text in texts),
    *(
        put(line, unreadable(), metadata=text)
        for line, text in (
            (DUPLICATES, '{"n":1,"n":2}'),
            (NUMBERS, '{"n":NaN}'),
            (NUMBERS, '{"n":1e999}'),
            (NUMBERS, '{"n":18446744073709551616}'),
            (NUMBERS, '{"n":' + "9" * 5000 + "}"),
            (JSON, '{"n":01}'),
            (SURROGATES, '{"n":"\\ud800"}'),
            (SURROGATES, '{"n":"\udcff"}'),
        )
    ),
    *(
        put(line, unreadable(), vector=text)
        for line, text in (
            (NUMBERS, "[1,NaN]"),
            (NUMBERS, "[1,Infinity]"),
            (NUMBERS, "[1,1e999]"),
            (JSON, "[1,0x1]"),
            (JSON, "[1,+1]"),
            (JSON, "[1,.5]"),
            (JSON, "[1,]"),
        )
    ),
    put(
        NESTING, unreadable("The request body is nested too deeply"), metadata='{"n":' + "[" * 40 + "]" * 40 + "}"
    ),
    *(
        body(NESTING, "ListVectorBuckets", text, unreadable("The request body is nested too deeply"), label)
        for label, text in (
            ("35 levels", b'{"x":' + b"[" * 35 + b"]" * 35 + b"}"),
            ("2,000 levels", b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}"),
        )
    ),
    body(MANY_ARRAYS, "ListVectorBuckets", b"[" * 200_000, unreadable(ARRAYS), "200,000 brackets"),
    body(
        MANY_ARRAYS,
        "ListVectorBuckets",
        b'{"x":[' + b"[]," * 200_000 + b"[]]}",
        unreadable(ARRAYS),
        "200,000 in a request",
    ),
    put(
        MANY_ARRAYS,
        unreadable(ARRAYS),
        metadata='{"n":[' + "[]," * (8 * MIB // 3) + "[]]}",
        label="8 MiB in metadata",
    ),
    *(
        body(ROOTS, "ListVectorBuckets", text, unreadable("The request body must be a JSON object"))
        for text in (b"[]", b"null", b"1", b'"text"')
    ),
    call(ROOTS, "GetVectors", {"keys": ["a"], "more": {"a": [None, 1e300]}}, OK, "unknown members"),
    *(
        call(KINDS, operation, change, mistyped(path, kind))
        for operation, change, path, kind in (
            ("GetVectors", {"keys": "a"}, "/keys", "a list"),
            ("GetVectors", {"keys": [1]}, "/keys/0", "a string"),
            ("GetVectors", {"keys": [None]}, "/keys/0", "a value, not null"),
            ("GetVectors", {"keys": {"0": "a"}}, "/keys", "a list"),
            ("GetVectors", {"keys": ["a"], "returnData": "true"}, "/returnData", "true or false"),
            ("GetVectors", {"keys": ["a"], "returnData": 1}, "/returnData", "true or false"),
            ("GetVectors", {"keys": ["a"], "indexName": 5}, "/indexName", "a string"),
            ("ListVectors", {"maxResults": "10"}, "/maxResults", "an integer"),
            ("ListVectors", {"maxResults": True}, "/maxResults", "an integer"),
            ("ListVectors", {"maxResults": 1.5}, "/maxResults", "an integer"),
            ("ListVectors", {"nextToken": 1}, "/nextToken", "a string"),
            ("PutVectors", {"vectors": {}}, "/vectors", "a list"),
            ("PutVectors", {"vectors": ["a"]}, "/vectors/0", "an object"),
            ("PutVectors", {"vectors": [{"key": 1, "data": {"float32": [1, 2]}}]}, "/vectors/0/key", "a string"),
            ("PutVectors", {"vectors": [{"key": "a", "data": [1, 2]}]}, "/vectors/0/data", "an object"),
            (
                "PutVectors",
                {"vectors": [{"key": "a", "data": {}}]},
                "/vectors/0/data",
                "an object with exactly one of: float32",
            ),
            (
                "PutVectors",
                {"vectors": [{"key": "a", "data": {"float64": [1, 2]}}]},
                "/vectors/0/data",
                "an object with exactly one of: float32",
            ),
            (
                "PutVectors",
                {"vectors": [{"key": "a", "data": {"float32": "x"}}]},
                "/vectors/0/data/float32",
                "a list of numbers",
            ),
            ("QueryVectors", {"topK": 1, "queryVector": [1, 2]}, "/queryVector", "an object"),
            ("QueryVectors", QUERY | {"queryTexts": {"body": "x"}}, "/queryTexts", "a list"),
            ("QueryVectors", QUERY | {"queryTexts": ["x"]}, "/queryTexts/0", "an object"),
            ("QueryVectors", QUERY | {"returnScores": 1}, "/returnScores", "true or false"),
        )
    ),
]
