"""Which terms a row has in a text field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.text.analysis import Analyzer


def field_terms(metadata: Mapping[str, Any], key: str, analyzer: Analyzer) -> list[str]:
    """The terms of a row's value of `key`: of a string, or of the strings in a list, one after the other.

    Anything else has none, so that a row whose value is a number or absent does not have the field.
    """
    value = metadata.get(key)
    if isinstance(value, str):
        return analyzer.terms(value)
    if not isinstance(value, list):
        return []
    return [term for text in value if isinstance(text, str) for term in analyzer.terms(text)]
