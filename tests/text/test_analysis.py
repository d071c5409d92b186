"""Terms of texts in every language."""

# ruff: noqa: RUF001

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.text.analysis import LANGUAGES, analyzer
from quiver.text.stop_words import STOP_WORDS

SAMPLES = {
    "en": "The universities' running dogs don't easily generalise relational happiness in libraries",
    "fr": "L'homme et les chevaux qu'il aimait courent rapidement aujourd'hui dans les bibliothèques en été",
    "es": "Los niños corrían rápidamente por las bibliotecas de las ciudades más hermosas",
    "pt": "As crianças corriam rapidamente pelas bibliotecas das cidades mais formosas",
    "it": "Dell'amico gli studenti dell'università correvano velocemente nelle biblioteche",
    "de": "Die Häuser der größeren Städte und ihre Büchereien waren schön",
    "nl": "De kinderen lopen snel naar de bibliotheken van de mooiste steden",
}


def test_there_are_the_languages_of_the_contract():
    assert set(LANGUAGES) == {"standard", "en", "fr", "es", "pt", "it", "de", "nl", "zh", "ja", "ko"}
    with pytest.raises(ValueError, match="unknown language: xx"):
        analyzer("xx")


def test_standard_keeps_every_word_as_it_is():
    assert analyzer("standard").terms("The dogs are RUNNING") == ["the", "dogs", "are", "running"]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "The dogs' universities were running, don't", ["dog", "universiti", "run", "don't"]),
        ("fr", "L’homme qu'il vit d'aujourd'hui en été", ["homm", "vit", "aujourd'hui", "été"]),
        ("it", "dell'amico c'è l'università", ["amic", "univers"]),
        ("de", "Die Häuser im Haus", ["haus", "haus"]),
        ("es", "los niños y la niña", ["niñ", "niñ"]),
        ("pt", "as crianças e a criança", ["crianc", "crianc"]),
        ("nl", "de katten en de kat", ["kat", "kat"]),
        ("zh", "我爱北京。Hello", ["我爱", "爱北", "北京", "hello"]),
        ("ja", "東京タワーへ", ["東京", "京タ", "タワ", "ワー", "ーへ"]),
        ("ko", "한국어를 검색", ["한국", "국어", "어를", "검색"]),
    ],
)
def test_terms_of_examples(language, text, expected):
    assert analyzer(language).terms(text) == expected


def test_stems_do_not_change_unnoticed():
    """What is stored was made with these; another stemmer needs another ANALYSIS_VERSION."""
    terms = [analyzer(language).terms(text) for language, text in SAMPLES.items()]
    assert hashlib.sha256(repr(terms).encode()).hexdigest()[:16] == "fadb1c1ac15b230c"


def test_stop_words_have_no_terms():
    for language, stop_words in STOP_WORDS.items():
        assert analyzer(language).terms(" ".join(sorted(stop_words))) == []


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LANGUAGES), st.text(max_size=200))
def test_terms_are_short_and_encodable_and_the_same_every_time(language, text):
    terms = analyzer(language).terms(text)
    assert all(1 <= len(term.encode()) <= 256 for term in terms)
    assert analyzer(language).terms(text) == terms


def test_threads_may_share_an_analyzer():
    texts = [" ".join(f"{word}{number}ing" for word in ("run", "walk", "universal")) for number in range(400)]
    alone = [analyzer("en").terms(text) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        for terms in threads.map(lambda _: [analyzer("en").terms(text) for text in texts], range(8)):
            assert terms == alone


def test_the_stems_at_hand_do_not_grow_without_bound(monkeypatch):
    monkeypatch.setattr("quiver.text.analysis._MOST_STEMS", 50)
    english = analyzer.__wrapped__("en")
    for number in range(300):
        assert english.terms(f"running word{number}") == ["run", f"word{number}"]
    assert len(english._stems) <= 50
