"""Checks a segment whole: every byte against its checksum, and all that is derived against the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quiver.ann.distance import norms
from quiver.ann.space import to_space
from quiver.format.keys import utf8_hashes
from quiver.format.metadata_columns import MetadataColumnsBuilder
from quiver.model.errors import CorruptObjectError
from quiver.storage.spool import Spool
from quiver.storage.text_builder import TextsBuilder
from quiver.text.analysis import ANALYSIS_VERSION, LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from quiver.model.types import Float32Matrix, IndexSpec
    from quiver.storage.segment_reader import SegmentReader

_STEP = 4096  # rows at a time
# Another processor may round differently, and so move a code to its neighbour. A code is wrong when more than a
# part of its bytes differ, or one of its floats by more than rounding; and codes do not follow from the rows when
# more than a few are wrong. (Of a short code, floats that differ in the last bit can be a third of the bytes.)
_WRONG_BYTES = 1 / 4
_WRONG_CODES = 1 / 1000
_FLOAT_TOLERANCE = 1e-3
_NORM_TOLERANCE = 1e-6
_RADIUS_TOLERANCE = 1e-3


def audit_segment(reader: SegmentReader, spec: IndexSpec) -> None:
    """Read everything, a few thousand rows at a time. Raises CorruptObjectError."""
    reader.verify()
    _Audit(reader, spec).run()


class _Audit:
    def __init__(self, reader: SegmentReader, spec: IndexSpec) -> None:
        self._reader = reader
        self._spec = spec
        self._codes = reader.codes
        self._hashes = np.empty(reader.rows, np.uint64)
        self._columns = MetadataColumnsBuilder(spec.non_filterable)
        fields = reader.texts.fields
        self._require(all(field.language in LANGUAGES for field in fields), "a text field of an unknown language")
        self._texts = TextsBuilder(fields, Spool())

    def run(self) -> None:
        for start in range(0, self._reader.rows, _STEP):
            self._check_rows(np.arange(start, min(start + _STEP, self._reader.rows)))
        self._check_keys()
        self._check_texts()
        same = self._columns.encode() == self._reader.columns.encode()
        self._require(same, "metadata columns do not follow from the rows")
        approximate = self._codes.codec is not None or len(self._codes.ends) > 1
        calibrated = self._codes.calibration is not None
        self._require(calibrated == approximate, "calibration where there is nothing to calibrate, or none")
        if approximate:
            self._check_partitions()

    def _require(self, sound: bool, problem: str) -> None:
        if not sound:
            raise CorruptObjectError(f"segment {self._reader.segment}: {problem}")

    # ---------------------------------------------------------------- rows and keys

    def _check_rows(self, rows: NDArray[np.int64]) -> None:
        reader = self._reader
        vectors = reader.take_vectors(rows)
        self._require(bool(np.isfinite(vectors).all()), "a vector is not finite")
        close = np.allclose(reader.norms[rows], norms(vectors), rtol=_NORM_TOLERANCE, atol=0)
        self._require(close, "norms do not follow from the rows")
        self._require(reader.places_agree(rows), "places of texts differ between partitions and sections")
        self._hashes[rows] = utf8_hashes(reader.key_bytes_of(rows))
        metadata = reader.metadata_of(rows)
        self._columns.add(metadata)
        self._texts.add(metadata)

    def _check_keys(self) -> None:
        """Hashes are sorted and name each row once, the filter knows them all, and no key comes twice."""
        hashes, rows, key_filter = self._reader.key_hashes, self._reader.key_rows, self._reader.key_filter
        whole = np.array_equal(np.sort(rows), np.arange(self._reader.rows))
        self._require(whole and np.array_equal(self._hashes[rows], hashes), "key hashes do not match the keys")
        self._require(bool((hashes[1:] >= hashes[:-1]).all()), "key hashes are not sorted")
        self._require(key_filter is None or bool(key_filter.may_hold(hashes).all()), "the key filter denies a key")
        self._require(not repeated_keys(self._reader, hashes, rows), "a key comes twice")

    def _check_texts(self) -> None:
        """Posting lists follow from the rows; those of another version's analysis may be any."""
        texts = self._reader.texts
        if texts.stored.analysis == ANALYSIS_VERSION:
            self._require(texts.are(self._texts.finish()), "text fields do not follow from the rows")

    # ---------------------------------------------------------------- partitions

    def _check_partitions(self) -> None:
        codes = self._codes
        if codes.codec is not None:
            codes.verify_checksums()
        squares, wrong = np.zeros(len(codes.ends)), 0
        for number, rows, vectors in self._pieces():
            gaps = vectors - codes.origins[number]
            squares[number] += np.einsum("ij,ij->", gaps, gaps, dtype=np.float64)
            wrong += self._count_wrong(number, rows, vectors)
        self._require(wrong <= _WRONG_CODES * self._reader.rows, f"{wrong} codes do not follow from their rows")
        radii = np.sqrt(squares / np.maximum(codes.sizes, 1))
        slack = _RADIUS_TOLERANCE * (float(radii.max()) + np.finfo(np.float32).tiny)
        close = np.allclose(codes.radii, radii, rtol=_RADIUS_TOLERANCE, atol=slack)
        self._require(close, "radii do not follow from the rows")

    def _pieces(self) -> Iterator[tuple[int, NDArray[np.int64], Float32Matrix]]:
        """Consecutive rows of a partition, in search space, with its number."""
        for number, (start, end) in enumerate(zip(self._codes.starts, self._codes.ends, strict=True)):
            for low in range(start, end, _STEP):
                rows = np.arange(low, min(low + _STEP, end))
                vectors = self._reader.take_vectors(rows)
                yield number, rows, to_space(vectors, self._reader.norms[rows], self._spec.metric)

    def _count_wrong(self, partition: int, rows: NDArray[np.int64], vectors: Float32Matrix) -> int:
        """How many rows have codes, or int8 rows, that are not theirs."""
        codes = self._codes
        if codes.codec is None:
            return 0
        stored = codes.contents(partition)
        places = rows - int(codes.starts[partition])
        self._require(np.array_equal(stored.rows[places], rows), "partitions name rows that are not theirs")
        made = codes.codec.encode_rows(vectors, np.full(len(rows), partition), codes.origins)
        canonical = codes.codec.canonical
        wrong = _differ(canonical(stored.codes[places]), canonical(made), codes.codec.floats)
        if codes.refiner is not None:
            wrong |= _differ(stored.int8[places], codes.refiner.encode_rows(vectors))
        return int(np.count_nonzero(wrong))


def repeated_keys(reader: SegmentReader, hashes: NDArray[np.uint64], rows: NDArray[np.integer]) -> bool:
    """Whether a key comes twice; `hashes` are sorted, `rows` whose keys they are of."""
    again = np.flatnonzero(hashes[1:] == hashes[:-1])
    alike = reader.keys_of(rows[np.union1d(again, again + 1)])
    return len(set(alike)) < len(alike)


def _differ(stored: NDArray[np.uint8], made: NDArray[np.uint8], floats: int = 0) -> NDArray[np.bool_]:
    """Which codes, ending with so many float32, are not those of their row; shape (rows,)."""
    size = stored.shape[1] - 4 * floats
    differing: NDArray[np.bool_] = (stored[:, :size] != made[:, :size]).mean(axis=1) > _WRONG_BYTES
    one, other = (np.ascontiguousarray(codes[:, size:]).view(np.float32) for codes in (stored, made))
    return differing | ~np.isclose(one, other, rtol=_FLOAT_TOLERANCE, atol=0, equal_nan=True).all(axis=1)
