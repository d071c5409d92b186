"""What of a row's metadata is text."""

from __future__ import annotations

import pytest

from quiver.text.analysis import analyzer
from quiver.text.documents import field_terms


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Two words", ["two", "words"]),
        (["One", "and two"], ["one", "and", "two"]),
        (["one", 2, True, "three"], ["one", "three"]),
        ([], []),
        ("", []),
        (5, []),
        (True, []),
        (["..."], []),
    ],
)
def test_strings_and_the_strings_of_lists_are_text(value, expected):
    assert field_terms({"key": value, "other": "not this"}, "key", analyzer("standard")) == expected


def test_a_row_without_the_key_has_no_terms():
    assert field_terms({"other": "text"}, "key", analyzer("standard")) == []


def test_neighbouring_strings_of_a_list_are_not_one_run_of_characters():
    assert field_terms({"key": ["東", "京"]}, "key", analyzer("ja")) == ["東", "京"]
