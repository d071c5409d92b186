"""Options of the command that name texts: `KEY[:LANGUAGE]` to configure, `KEY=WORDS` to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from quiver.service.operations import LANGUAGES
from quiver.service.text_search import STANDARD_LANGUAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT = "--text"
_KNOWN = (STANDARD_LANGUAGE, *LANGUAGES)


def read_languages(options: Sequence[str], hint: str = _TEXT) -> dict[str, str]:
    """Languages by metadata key, from options called `hint`. After a key with a colon in it there has to be one.

    Raises: typer.BadParameter: the language is unknown, or a key comes twice.
    """
    found: dict[str, str] = {}
    for option in options:
        key, colon, language = option.rpartition(":")
        key, language = (key, language) if colon else (option, STANDARD_LANGUAGE)
        if language not in _KNOWN:
            raise typer.BadParameter(f"{language!r} is none of {', '.join(_KNOWN)}", param_hint=hint)
        _add(found, key, language, hint)
    return found


def read_texts(options: Sequence[str]) -> dict[str, str]:
    """Words by metadata key. Raises: typer.BadParameter: there is no "=", or a key comes twice."""
    found: dict[str, str] = {}
    for option in options:
        key, equals, words = option.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option!r} is not KEY=WORDS", param_hint=_TEXT)
        _add(found, key, words, _TEXT)
    return found


def _add(found: dict[str, str], key: str, value: str, hint: str) -> None:
    if key in found:
        raise typer.BadParameter(f"{key!r} comes twice", param_hint=hint)
    found[key] = value
