"""Request bodies: what strict reading accepts, and what both ways of reading PutVectors agree on."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.model.errors import SerializationError
from quiver.model.strict_json import EXACT
from quiver.server.limits import ServerLimits
from quiver.server.wire import parse_json, read_fast, read_params

LIMITS = ServerLimits()


def refused(body: bytes, operation: str = "QueryVectors") -> str:
    assert read_fast(operation, body) is None
    with pytest.raises(SerializationError) as caught:
        read_params(operation, body, LIMITS)
    return caught.value.message


def put(floats: str = "[1]", metadata: str = "{}", key: str = '"k"') -> bytes:
    record = f'{{"key":{key},"data":{{"float32":{floats}}},"metadata":{metadata}}}'
    return f'{{"vectorBucketName":"b","indexName":"i","vectors":[{record}]}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b'{"a":1',
        b'{"a":1}x',
        b'{"a":1}{}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\x01"}',
        b'{"a":"x\ny"}',
        b'{"a":1,}',
        b'{"a":[1,]}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":1.}',
        b'{"a":0x10}',
        b'{"a":1/*c*/}',
        b"{'a':1}",
        b"{a:1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":-1e400}',
        b'{"a":' + b"9" * 400 + b".0}",
        b'{"a":18446744073709551616}',
        b'{"a":-9223372036854775809}',
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":' + b"1" * 500_000 + b"}",
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'{"a":{"\\udfff":1}}',
        b'{"\\ud83d":1}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":' + b"[" * 34 + b"]" * 34 + b"}",
        b'{"a":' * 35 + b"1" + b"}" * 35,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":[' + b"[]," * 70_000 + b"[]]}",
        b"[]",
        b"null",
        b'"text"',
        b"1",
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize("operation", ["QueryVectors", "PutVectors"])
def test_unacceptable_json(body, operation):
    message = refused(body, operation)
    assert message.startswith("The request body")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a" : [1, -0.0, 1e5]}\n', {"a": [1, -0.0, 1e5]}),
        (b'{"a":18446744073709551615,"b":-9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
        (b'{"a":9007199254740993}', {"a": 9007199254740993}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),
        ('{"ключ":"\x7f é 漢"}'.encode(), {"ключ": "\x7f é 漢"}),
        (b'{"a":"\\u0000"}', {"a": "\0"}),
        (b'{"a":1e-999}', {"a": 0.0}),
        (b'{"a":' + b"[" * 33 + b"]" * 33 + b"}", None),
        (b'{"a":"' + b"[{" * 100_000 + b'"}', {"a": "[{" * 100_000}),
        (b'{"a":"\\"[[[["}', {"a": '"[[[['}),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_acceptable_json(body, value):
    parsed = parse_json(body, LIMITS)
    assert value is None or parsed == value


def test_types_survive_strict_reading():
    params = read_params("PutVectors", put('[1,true,null,"x",[2]]', '{"t":true,"i":1,"f":1.0}'), LIMITS)
    record = params["vectors"][0]
    assert [type(v) for v in record["data"]["float32"]] == [int, bool, type(None), str, list]
    assert [type(v) for v in record["metadata"].values()] == [bool, int, float]


@pytest.mark.parametrize("operation", ["PutVectors", "PutVectorsIfAbsent", "QueryVectors", "QueryVectorsWithData"])
def test_non_finite_strings_become_floats_in_vectors_only(operation):
    values = '["NaN","Infinity","-Infinity","nan"]'
    body = (
        put(values, '{"s":"NaN"}')
        if operation.startswith("Put")
        else f'{{"queryVector":{{"float32":{values}}},"filter":{{"s":"NaN"}}}}'.encode()
    )
    assert read_fast(operation, body) is None
    params = read_params(operation, body, LIMITS)
    holder = params["vectors"][0]["data"] if operation.startswith("Put") else params["queryVector"]
    nan, inf, minus_inf, other = holder["float32"]
    assert math.isnan(nan)
    assert (inf, minus_inf, other) == (math.inf, -math.inf, "nan")
    assert "NaN" in json.dumps(
        params["vectors"][0]["metadata"] if operation.startswith("Put") else params["filter"]
    )


def test_non_finite_strings_become_floats_in_each_vector_of_a_batch():
    queries = [{"queryVector": {"float32": ["NaN", 1]}, "filter": {"s": "NaN"}}, {"queryVector": 5}, 7]
    params = read_params("BatchQueryVectors", json.dumps({"queries": queries}).encode(), LIMITS)
    assert math.isnan(params["queries"][0]["queryVector"]["float32"][0])
    assert params["queries"][0]["filter"] == {"s": "NaN"}
    assert params["queries"][1:] == queries[1:]


def test_a_put_of_what_is_absent_is_read_fast_unless_it_has_more_members():
    body = b'{"vectors":[{"key":"a","data":{"float32":[1,2]}}],"indexName":"i"%s}'
    assert read_fast("PutVectorsIfAbsent", body % b"")["vectors"][0]["data"]["float32"].tolist() == [1, 2]
    assert read_fast("PutVectorsIfAbsent", body % b',"allOrNothing":true') is None


@pytest.mark.parametrize(
    "floats",
    [
        "[[1]]",
        "[1,[2]]",
        '["1"]',
        '["NaN"]',
        "[true]",
        "[null]",
        "[{}]",
        "{}",
        "null",
        "1",
        "[1e400]",
        "[18446744073709551616]",
        "[123456789012345678901234567890]",
        '"[1]"',
    ],
)
def test_arrays_that_need_a_second_look_are_not_read_fast(floats):
    assert read_fast("PutVectors", put(floats)) is None


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a":1,"a":2}',
        '{"a":NaN}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        '{"\\ud800":1}',
        '{"a":123456789012345678901234567890}',
        '{"a":' * 40 + "1" + "}" * 40,
        '{"a":' + "[" * 5000 + "]" * 5000 + "}",
    ],
    ids=lambda text: text[:20],
)
def test_unacceptable_metadata_is_refused_on_both_ways(metadata):
    refused(put(metadata=metadata), "PutVectors")


def test_the_fast_way_reads_numbers_as_float32():
    params = read_fast("PutVectors", put(" [1, -2.5 ,1e39,5e-324,3.4028235e38, -0.0]".strip()))
    array = params["vectors"][0]["data"]["float32"]
    assert array.dtype == np.float32
    assert array.tolist() == [1, -2.5, math.inf, 0, 3.4028234663852886e38, 0]
    assert math.copysign(1, array[5]) == -1


def test_the_fast_way_keeps_absent_members_absent():
    params = read_fast("PutVectors", b'{"vectors":[{},{"key":"a"},{"data":{"float32":[]}}]}')
    assert params["vectors"][:2] == [{}, {"key": "a"}]
    assert params["vectors"][2]["data"]["float32"].shape == (0,)
    assert set(params) == {"vectors"}


def test_a_null_or_mistyped_member_is_left_to_the_strict_way():
    for body in (
        b'{"vectors":null}',
        b'{"vectors":[{"key":1}]}',
        b'{"vectors":[{"data":null}]}',
        b'{"vectors":{}}',
    ):
        assert read_fast("PutVectors", body) is None
        assert read_params("PutVectors", body, LIMITS) == json.loads(body)


def test_unknown_members_are_kept_by_the_strict_way_and_read_strictly():
    body = b'{"vectors":[{"key":"a","extra":[[1]]}],"other":{"x":null}}'
    assert read_fast("PutVectors", body) is None
    assert read_params("PutVectors", body, LIMITS) == json.loads(body)
    refused(b'{"vectors":[],"other":' + b"[" * 40 + b"]" * 40 + b"}", "PutVectors")
    refused(b'{"vectors":[],"other":"\\ud800"}', "PutVectors")


def test_the_last_structural_member_counts_on_the_fast_way():
    body = b'{"vectors":[],"vectors":[{"key":"a","key":"b"}]}'
    assert read_fast("PutVectors", body) == {"vectors": [{"key": "b"}]}


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
)
text = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.one_of(text, st.booleans(), st.integers(-(2**63), 2**64 - 1), st.none(), numbers)
records = st.fixed_dictionaries(
    {"key": text, "data": st.fixed_dictionaries({"float32": st.lists(numbers, min_size=1, max_size=6)})},
    optional={"metadata": st.dictionaries(text, st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=4)},
)


@given(st.lists(records, max_size=4), st.booleans(), st.sampled_from([None, 1]))
@settings(deadline=None, max_examples=300)
def test_both_ways_agree(vectors, ascii_only, indent):
    given_params = {"vectorBucketName": "b", "indexName": "i", "vectors": vectors}
    body = json.dumps(given_params, ensure_ascii=ascii_only, indent=indent).encode()
    fast, strict = read_fast("PutVectors", body), read_params("PutVectors", body, LIMITS)
    assert strict == given_params
    assert fast is not None
    for quick, exact in zip(fast["vectors"], strict["vectors"], strict=True):
        components = np.array([float(v) for v in exact["data"].pop("float32")], np.float64)
        with np.errstate(over="ignore"):
            expected = components.astype(np.float32)
        assert quick["data"].pop("float32").tobytes() == expected.tobytes()
    assert fast == strict


json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=12
)


@given(json_values, st.booleans())
@settings(deadline=None, max_examples=300)
def test_quick_and_exact_reading_agree(value, ascii_only):
    body = json.dumps({"a": value}, ensure_ascii=ascii_only).encode()
    quick, exact = parse_json(body, LIMITS), EXACT.decode(body.decode())
    assert repr(quick) == repr(exact)


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_read_or_refused(noise):
    for body in (noise, b'{"vectors":[{"metadata":' + noise + b"}]}"):
        for operation in ("PutVectors", "QueryVectors"):
            try:
                read_fast(operation, body)
                read_params(operation, body, LIMITS)
            except SerializationError:
                pass


def test_every_float32_survives_the_way_boto3_writes_it():
    rng = np.random.default_rng(7)
    bits = rng.integers(0, 2**32, 4000, dtype=np.uint32)
    values = [v for (v,) in struct.iter_unpack("<f", bits.tobytes()) if math.isfinite(v)]
    array = read_fast("PutVectors", put(json.dumps(values)))["vectors"][0]["data"]["float32"]
    assert array.tolist() == values
