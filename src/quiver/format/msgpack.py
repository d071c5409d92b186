"""MessagePack from untrusted bytes: whatever is wrong with them is a CorruptObjectError."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from quiver.model.errors import CorruptObjectError

T = TypeVar("T")


def unpack(buffer: bytes | memoryview, kind: type[T], what: str) -> T:
    """A record of type `kind`; `what` names the bytes in the error. Raises CorruptObjectError."""
    try:
        return msgspec.msgpack.decode(buffer, type=kind)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, as is a string not in UTF-8
        raise CorruptObjectError(f"{what}: {error}") from error
