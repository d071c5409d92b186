"""The objects that stay in clear in an encrypted root: data keys, each wrapped by a master key.

    key/<data key id>/<master key id>     a data key of the root
    <folder of an index>key               the data key of an index with a KMS key of its own

Both are JSON, so that an operator can see under which key what is. What they say is proven by unwrapping.
"""

from __future__ import annotations

import re

import msgspec

from quiver.model.errors import CorruptObjectError, UnsupportedFormatError

_VERSION = 1
_HEX = re.compile(r"[0-9a-f]{32}")


class WrappedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data key that only a master key opens.

    Attributes:
        id: of the data key, 32 hexadecimal digits.
        master: the master key's name: an id of the key file, or the ARN of a KMS key.
        wrapped: what the key provider made.
        context: what it is bound to.
    """

    version: int
    id: str
    master: str
    wrapped: bytes
    context: dict[str, str]


def new_wrapped(key_id: str, master: str, wrapped: bytes, context: dict[str, str]) -> WrappedKey:
    """A record of the present version."""
    return WrappedKey(_VERSION, key_id, master, wrapped, context)


def encode(key: WrappedKey) -> bytes:
    """The object."""
    return msgspec.json.format(msgspec.json.encode(key), indent=1) + b"\n"


def decode(name: str, data: bytes) -> WrappedKey:
    """Raises CorruptObjectError, UnsupportedFormatError."""
    try:
        key = msgspec.json.decode(data, type=WrappedKey)
    except (ValueError, RecursionError) as error:  # text that is not UTF-8 is no error of msgspec's own
        raise CorruptObjectError(f"{name}: no wrapped key") from error
    if key.version != _VERSION:
        raise UnsupportedFormatError(f"{name}: version {key.version}; this Quiver reads {_VERSION}")
    if not _HEX.fullmatch(key.id):
        raise CorruptObjectError(f"{name}: malformed id")
    return key
