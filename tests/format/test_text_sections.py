"""Tests of the sections that lead to posting lists."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, damaged, survives
from quiver.format.segment_index import block_digests
from quiver.format.text_sections import BLOCK_BYTES, StoredField, TextFields, decode_fields, encode_fields
from quiver.model.errors import CorruptObjectError
from quiver.model.types import TextField

STORED = TextFields(
    3, [StoredField(TextField("title"), 0, 40, b"head"), StoredField(TextField("body", "de"), 40, 8, b"")]
)


def test_what_goes_in_comes_out():
    assert decode_fields("key", memoryview(encode_fields(STORED)), 48) == STORED


@pytest.mark.parametrize(
    "fields",
    [
        [StoredField(TextField("title"), 0, 49, b"")],
        [StoredField(TextField("title"), 49, 0, b"")],
        [StoredField(TextField("title"), -1, 2, b"")],
        [StoredField(TextField("title"), 2, -1, b"")],
        [StoredField(TextField("title"), 0, 2, b""), StoredField(TextField("title"), 2, 2, b"")],
    ],
)
def test_fields_that_cannot_be_are_refused(fields):
    with pytest.raises(CorruptObjectError):
        decode_fields("key", memoryview(encode_fields(TextFields(1, fields))), 48)


@given(RANDOM_BYTES)
def test_random_bytes_raise_nothing_but_data_errors(data):
    survives(lambda body: decode_fields("key", memoryview(body), 48), data)


def test_damage_raises_nothing_but_data_errors():
    for data in damaged(encode_fields(STORED), 300):
        survives(lambda body: decode_fields("key", memoryview(body), 48), data)


@given(
    st.integers(0, 3).map(lambda blocks: 64 + blocks * BLOCK_BYTES // 2),
    st.sampled_from(
        [0, 1, BLOCK_BYTES - 65, BLOCK_BYTES - 64, BLOCK_BYTES - 63, BLOCK_BYTES, 3 * BLOCK_BYTES + 7]
    ),
)
def test_there_is_a_digest_for_each_block_of_the_object_that_the_texts_are_in(offset, length):
    texts = np.random.default_rng(length).bytes(length)
    padded = bytes(offset) + texts
    first, last = offset // BLOCK_BYTES, (offset + max(length, 1) - 1) // BLOCK_BYTES
    expected = [
        xxhash.xxh3_64_intdigest(padded[max(number * BLOCK_BYTES, offset) : (number + 1) * BLOCK_BYTES])
        for number in range(first, last + 1)
    ]
    assert block_digests(memoryview(texts), offset).tolist() == expected
