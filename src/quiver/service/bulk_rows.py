"""Rows in bulk, as they are read somewhere and before anything about them is trusted; and how they are judged.

The rules and the texts are those of PutVectors; paths count rows from 0 through the whole source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from quiver.model.errors import FieldError, SerializationError, ValidationError
from quiver.model.types import VectorBatch
from quiver.service.metadata_rules import MAX_FILTERABLE_BYTES, encode_all
from quiver.service.vector_rules import MAX_KEY_BYTES, check_keys, take_matrix, without_overwritten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from quiver.model.types import IndexSpec


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Rows that were read.

    Attributes:
        keys: n of them; one that is missing is None.
        vectors: numbers of shape (n, components), or n arrays that differ in length.
        metadata: n values as parsed JSON, None for none; or None when no row has any.
        first: number of the first row in its source.
        origin: what a person calls the source, such as a file's name; may be empty.
    """

    keys: Sequence[str | None]
    vectors: NDArray[Any] | Sequence[NDArray[Any]]
    metadata: Sequence[Any] | None = None
    first: int = 0
    origin: str = ""


class Source(Protocol):
    """Rows that are read in order, part by part. `rows` is how many there are, 0 when that is not known."""

    @property
    def rows(self) -> int: ...

    def batches(self, rows: int, /) -> Iterator[RowBatch]:
        """All rows, about `rows` at a time; called once. Takes time. Raises ValidationError: not readable."""
        ...


def check_rows(batch: RowBatch, spec: IndexSpec, filterable_bytes: int = MAX_FILTERABLE_BYTES) -> VectorBatch:
    """Judge every row, then keep those that no later one of the batch overwrites.

    The vectors may be those of the batch, where they are: whoever keeps them copies them.

    Args:
        batch: the rows.
        spec: of the index.
        filterable_bytes: of the filterable part of a row's metadata, at most.

    Raises: ValidationError, SerializationError: the first row at fault, by the name of its source.
    """
    try:
        keys = _check_all_keys(batch.keys, batch.first)
        matrix = take_matrix(keys, batch.vectors, spec.dimension, spec.metric, batch.first)
        documents = [None] * len(keys) if batch.metadata is None else batch.metadata
        metadata = encode_all(keys, documents, spec.non_filterable, batch.first, filterable_bytes=filterable_bytes)
    except ValidationError as error:
        raise _located(error, batch.origin) from None
    except SerializationError as error:
        raise SerializationError(_named(batch.origin, error.message)) from None
    return without_overwritten(VectorBatch(keys, matrix, metadata))


def _check_all_keys(keys: Sequence[str | None], first: int) -> list[str]:
    sound = [key for key in keys if isinstance(key, str) and 1 <= len(key) <= MAX_KEY_BYTES]
    if len(sound) < len(keys):
        row, fault = next((row, fault) for row, key in enumerate(keys) if (fault := _key_fault(key)))
        raise ValidationError.at(f"vectors[{first + row}].key", fault)
    check_keys("vectors[{}].key", sound, first)
    return sound


def _key_fault(key: str | None) -> str:
    if key is None:
        return "Member must not be null"
    if not isinstance(key, str):
        return "Member must be text"
    sound = 1 <= len(key) <= MAX_KEY_BYTES
    return "" if sound else f"Member must have length between 1 and {MAX_KEY_BYTES}, inclusive"


def _located(error: ValidationError, origin: str) -> ValidationError:
    """The same error, its message with the place that its only field names."""
    (field,) = error.fields
    message = _named(origin, f"{field.path}: {error.message}")
    return ValidationError(message, FieldError(field.path, error.message))


def _named(origin: str, message: str) -> str:
    return f"{origin}: {message}" if origin else message
