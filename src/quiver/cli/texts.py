"""Options of the command that name texts: `KEY[:LANGUAGE]` to configure, `KEY=WORDS` to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from quiver.service.operations import LANGUAGES
from quiver.service.text_search import STANDARD_LANGUAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

_KNOWN = (STANDARD_LANGUAGE, *LANGUAGES)


def read_languages(options: Sequence[str]) -> dict[str, str]:
    """Languages by metadata key. A key with a colon in it has to be followed by its language.

    Raises: typer.BadParameter: the language is unknown, or a key comes twice.
    """
    found: dict[str, str] = {}
    for option in options:
        key, colon, language = option.rpartition(":")
        key, language = (key, language) if colon else (option, STANDARD_LANGUAGE)
        if language not in _KNOWN:
            raise typer.BadParameter(f"{language!r} is none of {', '.join(_KNOWN)}", param_hint="--text")
        _add(found, key, language)
    return found


def read_texts(options: Sequence[str]) -> dict[str, str]:
    """Words by metadata key. Raises: typer.BadParameter: there is no "=", or a key comes twice."""
    found: dict[str, str] = {}
    for option in options:
        key, equals, words = option.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option!r} is not KEY=WORDS", param_hint="--text")
        _add(found, key, words)
    return found


def _add(found: dict[str, str], key: str, value: str) -> None:
    if key in found:
        raise typer.BadParameter(f"{key!r} comes twice", param_hint="--text")
    found[key] = value
