"""Vectors to ask with, from a file: the user's own queries, of which only the vectors are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.bulk.columns import Columns
from quiver.bulk.sources import open_file
from quiver.model.errors import ValidationError
from quiver.service.bulk_rows import check_rows

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.model.types import Float32Matrix, IndexSpec

_ROWS = 1024


def read_queries(
    path: Path, spec: IndexSpec, *, column: str | None = None, sample: int | None = None, seed: int = 0
) -> Float32Matrix:
    """The vectors of a file in any form that can be imported; keys and metadata are neither needed nor read.

    Args:
        path: the file, or a directory of Parquet.
        spec: of the index that will be asked.
        column: of the vectors; None for "vector", else "data".
        sample: how many to choose at random; None for all, and all when there are no more.
        seed: makes the choice, together with the rows' numbers.

    Returns: shape (n, dimension), n at least 1, in the order of the file. No more than `sample` are held.
    Raises: ValidationError: no vectors, or one that cannot be asked with, also when it is not chosen; OSError.
    """
    rng = np.random.default_rng(seed)
    kept = np.empty((0, spec.dimension), np.float32)
    lots = np.empty(0)  # one for each that is kept: the smallest of all rows so far
    for batch in open_file(path, Columns(vector=column, metadata=(), numbered=True)).batches(_ROWS):
        vectors = check_rows(batch, spec).vectors
        kept, lots = np.concatenate([kept, vectors]), np.append(lots, rng.random(len(vectors)))
        if sample is not None and len(lots) > sample:
            chosen = np.sort(np.argpartition(lots, sample)[:sample])
            kept, lots = kept[chosen], lots[chosen]
    if not len(kept):
        raise ValidationError(f"{path}: there are no vectors")
    return kept
