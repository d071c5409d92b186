"""Strict JSON: the quick reading never differs from the exact one, and float lists become float32."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import simdjson
from hypothesis import example, given
from hypothesis import strategies as st

from quiver.model.errors import SerializationError
from quiver.model.strict_json import EXACT, float32_array, parse_strict

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
)
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c:", '"', "\\"]), st.one_of(SCALARS, st.lists(SCALARS), st.just({"a": 1}))
    ),
    max_size=4,
)


@given(members=MEMBERS)
@example(members=[("a", 1), ("a", 2)])
@example(members=[("a", {"a": 1}), ("a", 1)])
@example(members=[("a", 2**63), ("b", 2**64)])
def test_an_object_is_read_as_written_or_refused(members: list[tuple[str, Any]]) -> None:
    text = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in members) + "}"
    try:
        expected = EXACT.decode(text)
    except ValueError:
        with pytest.raises(SerializationError):
            parse_strict(text.encode())
    else:
        assert repr(parse_strict(text.encode())) == repr(expected)


@pytest.mark.parametrize(
    "text", [b'{"a":1,"a":1}', b'{"a":NaN}', b'{"a":18446744073709551616}', b"{", b"", b'"\xff"']
)
def test_what_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(SerializationError):
        parse_strict(text)


def test_a_list_of_numbers_becomes_float32_and_anything_else_does_not() -> None:
    parser = simdjson.Parser()
    read = float32_array(b"[1, 2.5, -1e39]", parser)
    assert (read.dtype, read.tolist()) == (np.float32, [1.0, 2.5, -np.inf])
    for text in (b"[[1]]", b'["1"]', b"[1,null]", b"{}", b"1", b"[true]"):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            float32_array(text, parser)
