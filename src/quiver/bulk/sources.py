"""From whatever a caller has to a source of rows: arrays, Arrow data, files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quiver.bulk.documents import plain
from quiver.model.errors import ValidationError
from quiver.model.mapped import is_shared, release
from quiver.service.bulk_rows import RowBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from quiver.bulk.columns import Columns
    from quiver.service.bulk_rows import Source

JSON_LINES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
ARROW = (".arrow", ".arrows", ".feather")
NUMPY = ".npy"


class ArraySource:
    """Rows from memory.

    Args:
        keys: n keys.
        vectors: shape (n, dimension).
        metadata: n dictionaries, or None for none.

    Raises: ValidationError: the three do not have the same number of rows.
    """

    def __init__(
        self, keys: Sequence[str], vectors: ArrayLike, metadata: Sequence[Mapping[str, Any] | None] | None = None
    ) -> None:
        self._keys = keys.tolist() if isinstance(keys, np.ndarray) else keys
        self._matrix: NDArray[Any] = vectors if isinstance(vectors, np.memmap) else np.asarray(vectors)
        self._metadata = metadata
        self.rows = len(keys)
        if self._matrix.ndim != 2 or len(self._matrix) != self.rows:
            raise ValidationError(
                f"vectors must have the shape ({self.rows}, dimension), not {self._matrix.shape}"
            )
        if self._matrix.dtype.kind not in "iuf":
            raise ValidationError(f"vectors must be numbers, not {self._matrix.dtype}")
        if metadata is not None and len(metadata) != self.rows:
            raise ValidationError(f"there are {self.rows} keys but {len(metadata)} metadata")

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """See Source."""
        for part in _parts(self._matrix, rows):
            metadata = None if self._metadata is None else [plain(document) for document in self._metadata[part]]
            yield RowBatch(self._keys[part], np.asarray(self._matrix[part]), metadata, part.start)


class NumberedSource:
    """The rows of a .npy file, without metadata; the key of each is its number, from 0 on.

    Raises: ValidationError: no matrix of numbers; OSError.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._matrix: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, EOFError) as error:
            raise ValidationError(f"{path}: not a NumPy file that can be read") from error
        if self._matrix.ndim != 2 or self._matrix.dtype.kind not in "iuf":
            raise ValidationError(
                f"{path}: not numbers of shape (rows, dimension) but {self._matrix.dtype} of {self._matrix.shape}"
            )
        self._origin = str(path)
        self.rows = len(self._matrix)

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """See Source."""
        for part in _parts(self._matrix, rows):
            keys = list(map(str, range(self.rows)[part]))
            yield RowBatch(keys, np.asarray(self._matrix[part]), None, part.start, self._origin)


def _parts(matrix: NDArray[Any], rows: int) -> Iterator[slice]:
    """Parts of so many rows. What a mapped matrix has of those that were taken in is let go of."""
    width = matrix.itemsize * matrix.shape[1]
    for start in range(0, len(matrix), rows):
        yield slice(start, start + rows)
        if is_shared(matrix):  # not yet the last part, which may be on its way
            release(matrix, max(0, start - rows) * width, start * width)


class Concatenated:
    """Several sources, one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self.rows = sum(source.rows for source in sources) if all(source.rows for source in sources) else 0

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """See Source."""
        for source in self._sources:
            yield from source.batches(rows)


def open_source(value: Any, columns: Columns) -> Source:
    """The rows of a tuple (keys, vectors) or (keys, vectors, metadata), of Arrow data, or of files by their paths.

    Raises:
        ValidationError: rows or columns do not fit together, or a file is not what its name says.
        TypeError: a value that cannot hold rows.
        OSError: a file cannot be opened.
    """
    if isinstance(value, (str, os.PathLike)):
        return open_file(Path(value), columns)
    if isinstance(value, list) and all(isinstance(each, (str, os.PathLike)) for each in value):
        return Concatenated([open_file(Path(each), columns) for each in value])
    if isinstance(value, tuple) and len(value) in (2, 3):
        return ArraySource(*value)
    if hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__"):
        from quiver.bulk.arrow import open_arrow  # noqa: PLC0415 - Arrow is slow to load

        return open_arrow(value, columns)
    raise TypeError(
        f"rows come from a path, from Arrow data, or from a tuple (keys, vectors, metadata), not {type(value)}"
    )


def open_file(path: Path, columns: Columns) -> Source:
    """The rows of a Parquet, JSON Lines, Arrow or NumPy file, or of every Parquet file in a directory.

    Raises: as `open_source`.
    """
    from quiver.bulk.arrow_file import ArrowFileSource  # noqa: PLC0415 - as above
    from quiver.bulk.json_lines import JsonLinesSource  # noqa: PLC0415
    from quiver.bulk.parquet import ParquetSource, parquet_files  # noqa: PLC0415

    if path.is_dir():
        return Concatenated([ParquetSource(each, columns) for each in parquet_files(path)])
    if path.name.endswith(".parquet"):
        return ParquetSource(path, columns)
    if path.name.endswith(JSON_LINES):
        return JsonLinesSource(path, columns)
    if path.name.endswith(ARROW):
        return ArrowFileSource(path, columns)
    if path.name.endswith(NUMPY):
        return NumberedSource(path)
    raise ValidationError(f"{path}: the name must end in .parquet, {', '.join((*JSON_LINES, *ARROW))} or {NUMPY}")
