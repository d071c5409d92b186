"""Received text: every string has to be encodable as UTF-8."""

from __future__ import annotations

from quiver.model.errors import SerializationError


def utf8_length(text: str, path: str) -> int:
    """Bytes of `text` in UTF-8.

    Raises:
        SerializationError: half of a surrogate pair stands alone, which JSON escapes can express and UTF-8 cannot.
    """
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise SerializationError(f"Value at '{path}' is not valid Unicode text") from None
