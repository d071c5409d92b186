"""Analyzers: from a text to the terms that it is found by, one analyzer for each language.

All of them are pure functions of the text. A change that gives a text other terms raises ANALYSIS_VERSION.

* standard: the words of words.py; no stemming, no stop words.
* en fr es pt it de nl: the Snowball stems of words that are no stop words; articles before an apostrophe are cut.
* zh ja ko: neighbouring Chinese, Japanese and Korean characters as overlapping pairs, one without a neighbour
  alone; all else as in standard. So a query of one such character finds only where it stands alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import Stemmer

from quiver.text.stop_words import ELISIONS, STOP_WORDS
from quiver.text.words import words, words_and_pairs

ANALYSIS_VERSION = 1

_SNOWBALL = {
    "en": "english",
    "fr": "french",
    "es": "spanish",
    "pt": "portuguese",
    "it": "italian",
    "de": "german",
    "nl": "dutch",
}
_CJK = ("zh", "ja", "ko")

LANGUAGES = ("standard", *_SNOWBALL, *_CJK)

_MOST_STEMS = 1 << 17  # of the words met last: some 20 MB


class Analyzer(ABC):
    """Terms of texts in one language; safe to share between threads."""

    @abstractmethod
    def terms(self, text: str) -> list[str]:
        """The terms in the order of the text, repeated as there; each has 1 to 256 bytes of UTF-8."""


@cache
def analyzer(language: str) -> Analyzer:
    """The analyzer of a language of LANGUAGES; ValueError for another."""
    if language in _SNOWBALL:
        return _Stemming(language)
    if language in _CJK:
        return _Pairs()
    if language == "standard":
        return _Standard()
    raise ValueError(f"unknown language: {language}")


class _Standard(Analyzer):
    def terms(self, text: str) -> list[str]:
        return words(text)


class _Stemming(Analyzer):
    def __init__(self, language: str) -> None:
        self._stems = _Stems(language)

    def terms(self, text: str) -> list[str]:
        return list(filter(None, map(self._stems.__getitem__, words(text))))


class _Stems(dict[str, str]):
    """The stem of a word, "" for a stop word; those of frequent words are at hand.

    The stemmer is used by one thread at a time, because it keeps the GIL and has no cache of its own.
    """

    def __init__(self, language: str) -> None:
        super().__init__()
        self._stemmer = Stemmer.Stemmer(_SNOWBALL[language], 0)
        self._stop_words = STOP_WORDS[language]
        self._elisions = ELISIONS.get(language, frozenset())

    def __missing__(self, word: str) -> str:
        stem = self._stem(word)
        if len(self) >= _MOST_STEMS:
            self.clear()
        self[word] = stem
        return stem

    def _stem(self, word: str) -> str:
        article, apostrophe, rest = word.partition("'")
        if apostrophe and article in self._elisions:
            word = rest
        return "" if word in self._stop_words else str(self._stemmer.stemWord(word))


class _Pairs(Analyzer):
    def terms(self, text: str) -> list[str]:
        return words_and_pairs(text)
