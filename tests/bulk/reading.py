"""What the tests of readers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from quiver.model.errors import ValidationError

if TYPE_CHECKING:
    from quiver.service.bulk_rows import Source


def rows(source: Source, size: int = 100) -> list[tuple[Any, list[float], Any]]:
    """Every row as (key, vector, metadata), after a look at the shape of the batches."""
    found: list[tuple[Any, list[float], Any]] = []
    for batch in source.batches(size):
        assert batch.first == len(found)
        assert 0 < len(batch.keys) == len(batch.vectors) <= size
        metadata = [None] * len(batch.keys) if batch.metadata is None else batch.metadata
        found += [(k, list(map(float, v)), m) for k, v, m in zip(batch.keys, batch.vectors, metadata, strict=True)]
    return found


def refusal(read: Any) -> str:
    """The message with which reading ends."""
    with pytest.raises(ValidationError) as caught:
        read()
    return caught.value.message
