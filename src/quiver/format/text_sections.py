"""The sections of a segment index that hold its text fields: what leads to their posting lists, and checksums.

    texts            the bodies of the text fields (text/postings.py), one after the other, each starting at a
                     multiple of 8. The first section of the object
    text_fields      msgpack {analysis, fields: [[[key, language], start, length, head] ...]}: the version of the
                     analysis, and for each field where its body is in `texts`, and its head
    text_blocks      u64 per 64 KiB block of the object that `texts` has bytes in: xxh3 of these. The blocks are
                     those that a cache fetches, so that no byte is fetched only to verify another

All three are absent when the segment has no text fields.
"""

from __future__ import annotations

import msgspec

from quiver.format.msgpack import unpack
from quiver.model.errors import CorruptObjectError
from quiver.model.types import TextField

TEXT_SECTIONS = ("texts", "text_fields", "text_blocks")
BLOCK_BYTES = 1 << 16
BODY_ALIGNMENT = 8


class StoredField(msgspec.Struct, frozen=True, array_like=True):
    """A text field of a segment: where its body is in `texts`, and its head."""

    field: TextField
    start: int
    length: int
    head: bytes


class TextFields(msgspec.Struct, frozen=True):
    """The text fields of a segment, and the version of the analysis that made their terms."""

    analysis: int
    fields: list[StoredField]


def encode_fields(fields: TextFields) -> bytes:
    """The section `text_fields`."""
    return msgspec.msgpack.encode(fields)


def decode_fields(key: str, section: memoryview, length: int) -> TextFields:
    """What `encode_fields` made; `length` is that of `texts`. Raises CorruptObjectError."""
    found = unpack(section, TextFields, f"{key}: unreadable text fields")
    for each in found.fields:
        if min(each.start, each.length) < 0 or each.start + each.length > length:
            raise CorruptObjectError(f"{key}: a text field is out of bounds")
    if len({each.field for each in found.fields}) < len(found.fields):
        raise CorruptObjectError(f"{key}: a text field comes twice")
    return found
