"""Segments in memory for tests: sample rows, segments of every structure, and segments that lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from engine.reference import make_batch
from quiver.ann import registry
from quiver.format import paths, segment_index
from quiver.format.segment_index import PARTITION_BLOCKS
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.storage.row_source import BatchSource
from quiver.storage.segment_builder import BuildOptions, BuiltSegment, build_segment
from quiver.storage.segment_reader import SegmentReader
from quiver.storage.segment_writer import Written, write_index, write_rows
from storage.tape import OWNER, ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

SEGMENT = paths.segment_id(2, 7, "c" * 32)
ROWS_KEY, INDEX_KEY = (paths.segment_key(ROOT, SEGMENT, part) for part in (paths.ROWS, paths.SEGMENT_INDEX))
STRUCTURES = [(partitioner, codec) for partitioner in registry.PARTITIONERS for codec in registry.CODECS]
PARTITIONED = BuildOptions(exact_floats=0)
"""Every segment gets the structure that is asked for, however small it is."""


def flat_spec(dimension: int, metric: DistanceMetric = DistanceMetric.COSINE) -> IndexSpec:
    return IndexSpec(dimension, metric, ("secret",), "single", "flat")


def sample(rows: int, dimension: int, prefix: str = "key-") -> VectorBatch:
    """Normal rows with metadata of every kind of length."""
    vectors = np.random.default_rng(rows).normal(size=(rows, dimension))
    metadata = [{"n": n, "even": n % 2 == 0, "secret": "s" * (n % 50)} for n in range(rows)]
    return make_batch([f"{prefix}{n}" for n in range(rows)], vectors, metadata)


def built(batch: VectorBatch, spec: IndexSpec, options: BuildOptions | None = None) -> BuiltSegment:
    return build_segment(BatchSource(batch), spec, options)


def index_bytes(
    segment: BuiltSegment,
    footer: Mapping[str, object] | None = None,
    sections: Mapping[str, object] | None = None,
) -> bytes:
    """The index object, with parts of the footer and sections replaced; but for `digests`, checksums hold.

    A section replaced by None is left out.
    """
    head = msgspec.structs.replace(segment.footer, key=INDEX_KEY, owner=OWNER, **(footer or {}))
    merged = {**segment.sections, **(sections or {})}
    kept = {name: content for name, content in merged.items() if content is not None}
    if PARTITION_BLOCKS in kept and PARTITION_BLOCKS not in (sections or {}) and "partitions" in kept:
        partitions = segment_index.bytes_of(kept["partitions"])
        kept[PARTITION_BLOCKS] = segment_index.block_digests(
            partitions, segment_index.offset_of(kept, "partitions")
        )
    return b"".join(bytes(part) for part in segment_index.encode(head, kept))


def read(index: bytes, rows: bytes | memoryview) -> SegmentReader:
    return SegmentReader.over(ROOT, OWNER, SEGMENT, memoryview(index), memoryview(rows))


def forged(
    segment: BuiltSegment,
    *,
    footer: Mapping[str, object] | None = None,
    sections: Mapping[str, object] | None = None,
) -> SegmentReader:
    """A segment whose checksums all hold, with some of its content replaced."""
    return read(index_bytes(segment, footer, sections), segment.rows_file)


def opened(batch: VectorBatch, spec: IndexSpec, options: BuildOptions | None = None) -> SegmentReader:
    return forged(built(batch, spec, options))


async def write_segment(store, runtime, root: str, owner: str, segment: str, made: BuiltSegment) -> Written:
    """Both objects of a segment."""
    await write_rows(store, runtime, root, segment, made.rows_file)
    return await write_index(store, runtime, root, owner, segment, made)
