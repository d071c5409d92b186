"""Words of texts, by example and against a regular expression."""

# ruff: noqa: RUF001

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.text import _kernels
from quiver.text.words import words, words_and_pairs
from text import reference

PIECES = st.sampled_from(
    [
        "don't",
        "3.14",
        "1,000",
        "x_y",
        "東京",
        "タワー",
        "らーめん",
        "한국어",
        "é",
        "e\u0301",
        "ﬁ",
        "हिन्दी",
        "’",
        "'",
        ".",
        ",",
        "_",
        " ",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)
ASCII = st.text(st.sampled_from("aZ09'., _-x"), max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The QUICK, brown fox", ["the", "quick", "brown", "fox"]),
        (
            "don't 'quote' dogs' o'clock rock'n'roll '90s",
            ["don't", "quote", "dogs", "o'clock", "rock'n'roll", "90s"],
        ),
        (
            "pi is 3.14, or 1,000.50; v1.2.3 and a.1",
            ["pi", "is", "3.14", "or", "1,000.50", "v1.2.3", "and", "a", "1"],
        ),
        ("www.example.com/a_b-c?x=1", ["www", "example", "com", "a", "b", "c", "x", "1"]),
        ("L’HOMME ﬁnds ΣΊΣΥΦΟΣ in der Straße", ["l'homme", "finds", "σίσυφοσ", "in", "der", "strasse"]),
        ("cafe\u0301 café cafe", ["café", "café", "cafe"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("co\u00adop\u200derate \ufeffstart\ufe0f", ["cooperate", "start"]),
        ("ｆｕｌｌ　ｗｉｄｔｈ １２", ["full", "width", "12"]),
        ("東京タワー ひと 한국어", ["東", "京", "タワー", "ひ", "と", "한국어"]),
        ("\u0301 _ -- … 🙂", []),
    ],
)
def test_words_of_examples(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("猫 と 犬", ["猫", "と", "犬"]),
        ("iPhone15を買う", ["iphone15", "を買", "買う"]),
        ("ｱｲｳ", ["アイ", "イウ"]),
        ("한국어 문서", ["한국", "국어", "문서"]),
        ("中\u200d文。中文", ["中文", "中文"]),
        ("plain words, 3.14", ["plain", "words", "3.14"]),
    ],
)
def test_neighbouring_characters_are_pairs(text, expected):
    assert words_and_pairs(text) == expected


def test_of_a_long_word_the_first_64_characters_remain():
    assert words("x" * 65 + " y") == ["x" * 64, "y"]
    assert words("é" * 300) == ["é" * 64]
    assert len(words_and_pairs("字" * 300)) == 299


@settings(max_examples=300, deadline=None)
@given(TEXTS.filter(lambda text: not re.search(reference.LAYOUT, text)))
def test_words_are_those_of_the_regular_expression(text):
    assert words(text) == reference.words(text)
    assert words_and_pairs(text) == reference.words(text, pairs=True)


@settings(max_examples=200, deadline=None)
@given(ASCII)
def test_words_of_ascii_are_those_of_the_regular_expression(text):
    assert words(text) == reference.words(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_words_of_words_are_the_same_words(text):
    found = words(text)
    assert all(1 <= len(word) <= 64 for word in found)
    assert [again for word in found for again in words(word)] == found


def test_only_strings_are_split():
    with pytest.raises(TypeError):
        _kernels.split_words(b"bytes", b"", False)
    with pytest.raises(TypeError):
        _kernels.split_words("text", None, False)
