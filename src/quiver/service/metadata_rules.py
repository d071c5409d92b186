"""What metadata a vector may carry, and how its size is counted.

A document is an object of strings, numbers, booleans and non-empty arrays of only strings or only numbers. It has
at most 50 keys and 40,960 bytes, at most 2,048 of them in filterable keys.

Its size is that of the BSON document with the same content (bsonspec.org): 5 bytes, and per member 2 bytes, the
key, and the value: a string 5 bytes and its UTF-8, a boolean 1, an integer 4 (8 beyond 32 bits), any other number
8, an array the size of the document {"0": first, "1": second, ...}. The service does not say how it counts; this
rule agrees with every boundary measured on it.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import orjson

from quiver.model.errors import FieldError, SerializationError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

MAX_KEYS = 50
MAX_BYTES = 40_960
MAX_FILTERABLE_BYTES = 2_048

_VALUE = "Metadata values must be strings, numbers, booleans, or arrays"
_NUMBER = "Metadata numbers must be finite and integers must fit in 64 bits"
_ELEMENT = "Metadata array values must be strings or numbers"
_EMPTY_ARRAY = "Empty arrays are not allowed in metadata"
_KEY_COUNT = f"Metadata object must have at most {MAX_KEYS} keys"
_SIZE = f"Metadata object must have at most {MAX_BYTES} bytes"
_FILTERABLE_SIZE = "Filterable metadata must have at most {} bytes"
_OBJECT = "Metadata must be a JSON object"
_KEY = "Metadata keys must be strings"

_EMPTY_DOCUMENT = 5


class _MetadataFault(Exception):
    """A broken rule; the record is named by who knows it."""


def encode_all(
    keys: Sequence[str],
    documents: Iterable[Any],
    non_filterable: Collection[str] = (),
    first: int = 0,
    *,
    filterable_bytes: int = MAX_FILTERABLE_BYTES,
    path: str = "vectors[{}].metadata",
) -> list[bytes]:
    """Check the metadata of a batch, record by record.

    Args:
        keys: of the records, for messages.
        documents: metadata of each record as parsed JSON; None for none.
        non_filterable: metadata keys that do not count as filterable.
        first: number of the first record, for paths.
        filterable_bytes: of the filterable part of a document, at most.
        path: template of a document's path.

    Returns:
        Each document as compact JSON in UTF-8, `b"{}"` for none.

    Raises:
        ValidationError: a record breaks a rule; the first such record is named.
        SerializationError: text with half of a surrogate pair.
    """
    encoded = []
    for row, document in enumerate(documents):
        try:
            encoded.append(_encode(document, non_filterable, filterable_bytes))
        except _MetadataFault as fault:
            message = f"Invalid record for key '{keys[row]}': {fault}"
            raise ValidationError(message, FieldError(path.format(first + row), message)) from None
        except UnicodeEncodeError:
            raise SerializationError(f"{path.format(first + row)} is not valid Unicode text") from None
    return encoded


def document_size(document: dict[str, Any], non_filterable: Collection[str] = ()) -> tuple[int, int]:
    """Bytes of a document by the rule above: all of it, and its filterable part."""
    total = filterable = _EMPTY_DOCUMENT
    for key, value in document.items():
        size_of = _SIZES.get(type(value))
        if size_of is None or not isinstance(key, str):
            raise _MetadataFault(_VALUE if size_of is None else _KEY)
        size = 2 + _utf8(key) + size_of(value)
        total += size
        if key not in non_filterable:
            filterable += size
    return total, filterable


def _encode(document: Any, non_filterable: Collection[str], filterable_bytes: int) -> bytes:
    if document is None:
        return b"{}"
    if not isinstance(document, dict):
        raise _MetadataFault(_OBJECT)
    if len(document) > MAX_KEYS:
        raise _MetadataFault(_KEY_COUNT)
    total, filterable = document_size(document, non_filterable)
    if filterable > filterable_bytes:
        raise _MetadataFault(_FILTERABLE_SIZE.format(filterable_bytes))
    if total > MAX_BYTES:
        raise _MetadataFault(_SIZE)
    return orjson.dumps(document)


def _utf8(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _string_size(value: str) -> int:
    return 5 + _utf8(value)


def _float_size(value: float) -> int:
    if not isfinite(value):
        raise _MetadataFault(_NUMBER)
    return 8


def _integer_size(value: int) -> int:
    if -(1 << 31) <= value < 1 << 31:
        return 4
    if -(1 << 63) <= value < 1 << 63:
        return 8
    raise _MetadataFault(_NUMBER)


def _array_size(value: list[Any]) -> int:
    if not value:
        raise _MetadataFault(_EMPTY_ARRAY)
    kinds = set(map(type, value))
    if kinds == {str}:
        content = sum(map(_string_size, value))
    elif kinds <= {int, float}:
        content = sum(map(_float_size if kinds == {float} else _number_size, value))
    else:
        raise _MetadataFault(_ELEMENT)
    return _EMPTY_DOCUMENT + content + _index_names_size(len(value))


def _number_size(value: float) -> int:
    return _integer_size(value) if isinstance(value, int) else _float_size(value)


def _index_names_size(length: int) -> int:
    """Bytes of type, name and NUL of the elements 0 to length - 1."""
    size, power = 3 * length, 10
    while power < length:
        size += length - power
        power *= 10
    return size


def _boolean_size(_: bool) -> int:
    return 1


_SIZES: dict[type, Callable[[Any], int]] = {
    str: _string_size,
    int: _integer_size,
    float: _float_size,
    bool: _boolean_size,
    list: _array_size,
}
"""Bytes of a value, by its exact type: a boolean is not an integer here."""
