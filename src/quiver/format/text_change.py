"""The body of a log entry that changes which metadata keys are text fields: msgpack {add: [[key, language] ...],
delete: [key ...]}. Deletions come first, so that one entry may give a key another language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from quiver.format.msgpack import unpack
from quiver.model.types import TextField

if TYPE_CHECKING:
    from collections.abc import Sequence


class TextChange(msgspec.Struct, frozen=True):
    """Text fields to add, and keys of those to delete before that."""

    add: list[TextField]
    delete: list[str]


def encode(add: Sequence[TextField], delete: Sequence[str]) -> bytes:
    """The body of an entry."""
    return msgspec.msgpack.encode(TextChange(list(add), list(delete)))


def decode(body: bytes | memoryview) -> TextChange:
    """Raises CorruptObjectError."""
    return unpack(memoryview(body), TextChange, "change of text fields")
