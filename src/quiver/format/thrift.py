"""Apache Thrift's compact protocol, as far as writing the headers and the footer of a Parquet file needs it.

Specification: thrift-compact-protocol.md of Apache Thrift. A structure is a dictionary of its fields by number.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, Union

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
_SHORT_LIST = 15  # from so many elements on, their number follows the list's first byte


class Long(NamedTuple):
    """A number of a field of 64 bits; a plain `int` stands for one of 32."""

    value: int


Value: TypeAlias = Union[int, Long, str, "list[Value]", "dict[int, Value]"]
"""What a field may hold. The elements of a list are all of one kind, and there is at least one, or they are
structures."""


def encode(fields: dict[int, Value]) -> bytes:
    """A structure; its fields are numbered in ascending order, in steps of at most 15."""
    out = bytearray()
    before = 0
    for number, value in fields.items():
        out.append((number - before) << 4 | _kind(value))
        out += _body(value)
        before = number
    out.append(0)
    return bytes(out)


def varint(number: int) -> bytes:
    """A number from 0 up, seven bits a byte, the lowest first (as LEB128)."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _kind(value: Value) -> int:
    match value:
        case int():
            return _I32
        case Long():
            return _I64
        case str():
            return _BINARY
        case list():
            return _LIST
        case dict():
            return _STRUCT


def _body(value: Value) -> bytes:
    match value:
        case int():
            return varint(value << 1)  # zigzag, of a number from 0 up
        case Long(number):
            return varint(number << 1)
        case str():
            text = value.encode()
            return varint(len(text)) + text
        case list():
            return _list(value)
        case dict():
            return encode(value)


def _list(values: list[Value]) -> bytes:
    kind = _kind(values[0]) if values else _STRUCT
    if len(values) < _SHORT_LIST:
        head = bytes([len(values) << 4 | kind])
    else:
        head = bytes([0xF0 | kind]) + varint(len(values))
    return head + b"".join(map(_body, values))
