"""Analyzers: from a text to the terms that it is found by, one analyzer for each language.

All of them are pure functions of the text. A change that gives a text other terms raises ANALYSIS_VERSION.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from functools import cache

ANALYSIS_VERSION = 1

LANGUAGES = ("standard", "en", "fr", "es", "pt", "it", "de", "nl", "zh", "ja", "ko")


class Analyzer(ABC):
    """Terms of texts in one language; safe to share between threads."""

    @abstractmethod
    def terms(self, text: str) -> list[str]:
        """The terms in the order of the text, with repetitions; none is empty or longer than 64 characters."""


@cache
def analyzer(language: str) -> Analyzer:
    """The analyzer of a language of LANGUAGES; ValueError for another."""
    if language not in LANGUAGES:
        raise ValueError(f"unknown language: {language}")
    return _Standard()


class _Standard(Analyzer):
    def terms(self, text: str) -> list[str]:
        return [word[:64] for word in re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())]
