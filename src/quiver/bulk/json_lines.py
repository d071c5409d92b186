"""JSON Lines, plain or gzipped: one object per line, read in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np
import simdjson
from numpy.typing import NDArray

from quiver.bulk.documents import named
from quiver.model.errors import SerializationError, ValidationError
from quiver.model.strict_json import NON_FINITE, float32_array, parse_strict
from quiver.service.bulk_rows import RowBatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quiver.bulk.columns import Chosen, Columns

MAX_LINE = 4 << 20
"""Bytes of a line: more than ten times what the largest record takes."""
BATCH_BYTES = 32 << 20
"""Text that is read for one batch."""

_Members = dict[str, msgspec.Raw]
_members = msgspec.json.Decoder(_Members)
_Record = tuple[str | None, NDArray[Any], Any]
_WRONG = (msgspec.MsgspecError, SerializationError, ValueError, TypeError, RecursionError)


class _LineError(Exception):
    """What is wrong with a line; the line is named by who knows it."""


class JsonLinesSource:
    """Rows of one file. How many is not known before they are read.

    A line has a key (text or a whole number), a vector (a list of numbers, or {"float32": [...]}) and metadata (an
    object, or one as JSON text), or other members that become metadata fields. Members with null are left out, as
    are blank lines. Raises: OSError.
    """

    rows = 0

    def __init__(self, path: Path, columns: Columns) -> None:
        self._path = path
        self._columns = columns
        path.open("rb").close()

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """See Source."""
        first = 0
        with self._open() as file:
            records = self._records(file)
            while batch := self._batch(records, rows, first):
                yield batch
                first += len(batch.keys)

    def _open(self) -> IO[bytes] | gzip.GzipFile:
        return gzip.GzipFile(self._path, "rb") if self._path.suffix == ".gz" else self._path.open("rb")

    def _batch(self, records: Iterator[tuple[int, _Record]], rows: int, first: int) -> RowBatch | None:
        """The next rows, None at the end."""
        batch: list[_Record] = []
        size = 0
        for length, record in records:
            batch.append(record)
            size += length
            if len(batch) == rows or size >= BATCH_BYTES:
                break
        if not batch:
            return None
        keys, vectors, documents = zip(*batch, strict=True)
        return RowBatch(keys, vectors, documents, first, str(self._path))

    def _records(self, file: IO[bytes] | gzip.GzipFile) -> Iterator[tuple[int, _Record]]:
        """Every record with the bytes of its line."""
        reader = _RecordReader(self._columns)
        for row, (number, line) in enumerate(self._lines(file)):
            try:
                yield len(line), reader.read(line, row)
            except (_LineError, ValidationError) as error:
                raise ValidationError(named(f"{self._path}: line {number}", str(error))) from None

    def _lines(self, file: IO[bytes] | gzip.GzipFile) -> Iterator[tuple[int, bytes]]:
        """Lines that are not blank, with their numbers from 1."""
        number = 0
        while line := self._next_line(file, number + 1):
            number += 1
            if not line.isspace():
                yield number, line

    def _next_line(self, file: IO[bytes] | gzip.GzipFile, number: int) -> bytes:
        try:
            line = file.readline(MAX_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValidationError(
                named(str(self._path), "the compressed data are damaged or cut short")
            ) from error
        if len(line) > MAX_LINE:
            raise ValidationError(named(str(self._path), f"line {number} is longer than {MAX_LINE} bytes"))
        return line


class _RecordReader:
    """Reads lines; the first one decides which members hold what, as the columns of a table would."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._parser = simdjson.Parser()
        self._chosen: Chosen | None = None

    def read(self, line: bytes, row: int) -> _Record:
        """The record of a line, the `row`th from 0. Raises: _LineError; ValidationError: a member is missing."""
        try:
            members = _members.decode(line)
        except _WRONG:
            raise _LineError("not a JSON object") from None
        chosen = self._chosen = self._chosen or self._columns.choose(list(members))
        for name in (chosen.key, chosen.vector):
            if name is not None and name not in members:
                raise _LineError(f"there is no {name!r}")
        vector = _vector(bytes(members[chosen.vector]), chosen.vector, self._parser)
        key = str(row) if chosen.key is None else _key(members, chosen.key)
        return key, vector, self._document(members, chosen)

    def _document(self, members: _Members, chosen: Chosen) -> Any:
        if chosen.metadata is not None:
            document = _value(members, chosen.metadata)
            return _parsed(document.encode(), chosen.metadata) if isinstance(document, str) else document
        # Without a choice by the user, lines may differ in the members that become fields.
        every = self._columns.metadata is None
        others = (name for name in members if name not in (chosen.key, chosen.vector))
        values = ((name, _value(members, name)) for name in (others if every else chosen.fields))
        return {name: value for name, value in values if value is not None}


def _key(members: _Members, name: str) -> str | None:
    key = _value(members, name)
    if type(key) is int:
        return str(key)
    if key is not None and not isinstance(key, str):
        raise _LineError(f"{name} must be text or a whole number")
    return key


def _value(members: _Members, name: str) -> Any:
    return _parsed(bytes(members[name]), name) if name in members else None


def _parsed(text: bytes, name: str) -> Any:
    try:
        return parse_strict(text)
    except SerializationError:
        raise _LineError(f"{name} is not valid JSON") from None


def _vector(text: bytes, name: str, parser: simdjson.Parser) -> NDArray[Any]:
    """The components; what simdjson does not take is read slowly, so that the rules can say what is wrong."""
    if text.startswith(b"{"):
        try:
            text = bytes(_members.decode(text)["float32"])
        except (*_WRONG, KeyError):
            raise _LineError(f"{name} has no list of numbers called float32") from None
    try:
        return float32_array(text, parser)
    except (ValueError, TypeError, RuntimeError):
        values = _parsed(text, name)
    if not isinstance(values, list):
        raise _LineError(f"{name} must be a list of numbers")
    numbers = [NON_FINITE.get(v, v) if isinstance(v, str) else v for v in values]
    if not {float, int}.issuperset(map(type, numbers)):
        raise _LineError(f"{name} must be a list of numbers")
    return np.array(numbers, np.float64)
