"""Tests of the body of an entry that changes text fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from format.hostile import RANDOM_BYTES, damaged, survives, truncations
from quiver.format.text_change import decode, encode
from quiver.model.errors import CorruptObjectError
from quiver.model.types import TextField

FIELDS = st.lists(st.builds(TextField, st.text(max_size=63), st.sampled_from(["standard", "en", "zh"])))


@given(FIELDS, st.lists(st.text(max_size=63)))
def test_what_goes_in_comes_out(add, delete):
    change = decode(encode(add, delete))
    assert (change.add, change.delete) == (add, delete)


@given(RANDOM_BYTES)
def test_random_bytes_raise_nothing_but_data_errors(data):
    survives(decode, data)


def test_damage_is_an_error_or_another_change():
    body = encode([TextField("title", "en"), TextField("body")], ["old"])
    for data in damaged(body, 300):
        survives(decode, data)
    for data in truncations(body):
        with pytest.raises(CorruptObjectError):
            decode(data)
