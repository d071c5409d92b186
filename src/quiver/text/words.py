"""Words of a text in any script, in one spelling.

The spelling is that of NFKC with case folded; characters that are there for layout only (soft hyphens, joiners,
direction and variation marks) are left out, and a curly apostrophe is a straight one. Accents stay: "cafe" is not
"café".

A word is a run of letters, digits and marks that begins with a letter or a digit. Two runs are one word when an
apostrophe stands between them and a letter comes after it (don't, l'homme), or a point or a comma between ASCII
digits (3.14, 1,000). So host names, file names and snake_case fall into their parts, each of which can be searched
for. Of a longer word the first 64 characters remain, in documents and in queries alike.

Han and Hiragana, which have no spaces between words, are a word for each character in `words`. In
`words_and_pairs` they, Katakana and Hangul are overlapping pairs of neighbours, or a character without neighbours.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from quiver.text._kernels import split_words

_MARKS_END = 0x1F000  # all but a few hundred that select variants, which are left out, are below


def words(text: str) -> list[str]:
    """The words in the order of the text."""
    return _split(text, pairs=False)


def words_and_pairs(text: str) -> list[str]:
    """The same, with pairs of neighbouring Chinese, Japanese and Korean characters."""
    return _split(text, pairs=True)


def _split(text: str, *, pairs: bool) -> list[str]:
    if text.isascii():
        return split_words(text, b"", pairs)
    folded = unicodedata.normalize("NFKC", text).casefold()
    return split_words(unicodedata.normalize("NFKC", folded), _marks(), pairs)  # folding may take characters apart


@cache
def _marks() -> bytes:
    """A bit for each character, set for combining marks."""
    marks = bytearray(_MARKS_END // 8)
    for code in range(0x300, _MARKS_END):
        if unicodedata.category(chr(code)).startswith("M"):
            marks[code // 8] |= 1 << code % 8
    return bytes(marks)
