"""The rules every store applies to keys and byte ranges before it touches anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_KEY_LENGTH = 512
SEGMENT = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
"""One name between slashes."""
AFTER_ANY_KEY = "\x7f"
"""Sorts after every character a key can have."""

_KEY = re.compile(rf"{SEGMENT.pattern}(?:/{SEGMENT.pattern})*")
_PREFIX = re.compile(r"[a-z0-9._/-]*")


def is_key(key: str) -> bool:
    """Whether an object can have this key."""
    return len(key) <= MAX_KEY_LENGTH and _KEY.fullmatch(key) is not None


def check_key(key: str) -> str:
    """The key itself, when it is well formed.

    A segment starts with a letter, digit, `_` or `-`, so that neither `.`, `..`, nor a hidden file of a
    local root can be named. Raises: ValueError; a malformed key is a mistake of the caller, never of a user.
    """
    if not is_key(key):
        raise ValueError(f"malformed object key: {key[:MAX_KEY_LENGTH]!r}")
    return key


def check_keys(keys: Iterable[str]) -> list[str]:
    """`check_key` for each, before the first is used."""
    return [check_key(key) for key in keys]


def check_prefix(prefix: str) -> str:
    """The prefix itself, when well formed: any beginning of a key, also the empty one. Raises: ValueError."""
    well_formed = _PREFIX.fullmatch(prefix) and not prefix.startswith((".", "/"))
    if not well_formed or "//" in prefix or "/." in prefix:
        raise ValueError(f"malformed key prefix: {prefix[:MAX_KEY_LENGTH]!r}")
    return prefix


def check_range(start: int, length: int | None) -> None:
    """Raises: ValueError, when the range is negative."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"negative range: start {start}, length {length}")


def range_end(start: int, length: int | None, size: int) -> int:
    """Where a read of `length` bytes from `start` ends in an object of `size` bytes."""
    return size if length is None else min(size, start + length)
