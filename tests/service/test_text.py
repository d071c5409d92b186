"""Text is what UTF-8 can encode."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.model.errors import SerializationError
from quiver.service.text import utf8_length


@given(text=st.text())
def test_length_is_that_of_the_utf8_bytes(text: str):
    assert utf8_length(text, "key") == len(text.encode())


@given(before=st.text(), half=st.characters(categories=["Cs"]), after=st.text())
def test_lone_surrogates_are_refused_by_path(before: str, half: str, after: str):
    with pytest.raises(SerializationError, match=r"^Value at 'key' is not valid Unicode text$"):
        utf8_length(before + half + after, "key")
