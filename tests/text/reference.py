"""BM25 and words as their definitions say, slowly: what the fast ones are compared with."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from quiver.text.bm25 import distinct, score, weights


def ranking(documents, query):
    """(score, row) of every document that holds a term of the query, best first, equal scores by row.

    Args:
        documents: terms of each live row, by row.
        query: terms.
    """
    holding = {row: terms for row, terms in documents.items() if terms}
    if not holding:
        return []
    repeats = distinct(query)
    average = sum(len(terms) for terms in holding.values()) / len(holding)
    frequencies = [sum(term in terms for terms in holding.values()) for term in repeats]
    weighted = weights(len(holding), frequencies, repeats.values())
    found = [
        (score(weighted, [terms.count(term) for term in repeats], len(terms), average), row)
        for row, terms in holding.items()
        if not repeats.keys().isdisjoint(terms)
    ]
    return sorted(found, key=lambda hit: (-hit[0], hit[1]))


def best(hits, limit):
    """The first `limit` hits, and all that tie with the last of them."""
    return [hit for hit in hits if len(hits) <= limit or hit[0] >= hits[limit - 1][0]]


HAN_HIRAGANA = (
    "\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3041-\u3096\u309d-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001b001-\U0001b11f\U00020000-\U0003ffff"
)
CJK = HAN_HIRAGANA + "\u1100-\u11ff\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\ua960-\ua97c\uac00-\ud7fb"
LAYOUT = (
    "[\u00ad\u034f\u061c\u180b-\u180f\u200c-\u200f\u202a-\u202e"
    "\u2060-\u2069\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]"
)


def words(text, *, pairs=False):
    """Words by a regular expression over the text without its layout characters.

    Texts in which a layout character stands where no word goes on differ: they are not looked at here.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    text = re.sub(LAYOUT, "", text).replace("\u2019", "'").replace("_", " ")
    marks = "".join({char for char in text if unicodedata.category(char).startswith("M")})
    apart = CJK if pairs else HAN_HIRAGANA
    first, one = f"(?:(?![{apart}])\\w)", f"(?:(?![{apart}])\\w|[\u0300{marks}])"
    alone = f"(?:(?=\\w)[{apart}])" + ("+" if pairs else "")
    word = f"{first}{one}*(?:'(?!\\d){first}{one}*|[.,](?<=[0-9].)[0-9]{one}*)*"
    found = []
    for match in re.findall(f"{alone}|{word}", text):
        if pairs and len(match) > 1 and re.match(f"[{apart}]", match):
            found += map("".join, pairwise(match))
        else:
            found.append(match[:64])
    return found
