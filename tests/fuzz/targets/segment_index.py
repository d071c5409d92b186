"""Segments whose checksums all hold, with a footer or a section of anybody's making: read and searched."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import xxhash
from pyroaring import BitMap

from quiver.engine.native.exact_search import make_target
from quiver.engine.native.segment_search import search_segment
from quiver.engine.native.snapshot import OpenSegment
from quiver.format import segment_index
from quiver.format.keys import key_hashes
from quiver.model.errors import DataError
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec
from storage.segments import INDEX_KEY, PARTITIONED, built, index_bytes, read, sample
from storage.tape import OWNER

if TYPE_CHECKING:
    from quiver.storage.segment_reader import SegmentReader

DIMENSION, ROWS = 8, 120
BATCH = sample(ROWS, DIMENSION)
STRUCTURES = [("kmeans", "rabitq"), ("single", "flat"), ("kdtree", "lsh"), ("kmeans", "sq8"), ("kmeans", "pq")]
FOOTER, OBJECT = 254, 255
"""What follows is a footer, or the whole object, rather than a section."""
FILTERS = [None, parse_filter({"n": {"$lt": 40}}), parse_filter({"even": True})]


@functools.cache
def _segments() -> list[tuple[IndexSpec, object, list[str]]]:
    made = []
    for partitioner, codec in STRUCTURES:
        spec = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN, ("secret",), partitioner, codec)
        segment = built(BATCH, spec, PARTITIONED)
        made.append((spec, segment, list(segment.sections)))
    return made


def _seeds() -> list[bytes]:
    seeds = []
    for number, (_, segment, names) in enumerate(_segments()):
        for place, name in enumerate(names):
            content = segment.sections[name]  # type: ignore[attr-defined]
            seeds.append(bytes([number, place]) + bytes(memoryview(content).cast("B") if len(content) else b""))
        whole = index_bytes(segment)  # type: ignore[arg-type]
        footer = segment_index.decode_footer(INDEX_KEY, OWNER, memoryview(whole))
        seeds.append(bytes([number, FOOTER]) + msgspec.msgpack.encode(footer))
        seeds.append(bytes([number, OBJECT]) + whole)
    return seeds


SEEDS = _seeds()


def _object(segment: object, names: list[str], place: int, content: bytes) -> bytes:
    """An index object with this part replaced, sealed again unless all of it is."""
    if place == OBJECT:
        return content
    if place == FOOTER:
        whole = index_bytes(segment)  # type: ignore[arg-type]
        start = segment_index.footer_start(INDEX_KEY, memoryview(whole))
        tail = struct.pack("<IQ8s", len(content), xxhash.xxh3_64_intdigest(content), segment_index.MAGIC)
        return whole[:start] + content + tail
    return index_bytes(segment, sections={names[place % len(names)]: content})  # type: ignore[arg-type]


def run(data: bytes) -> None:
    """A structure, a place in its index object, and what stands there."""
    if len(data) < 2:
        return
    spec, segment, names = _segments()[data[0] % len(STRUCTURES)]
    try:
        reader = read(_object(segment, names, data[1], data[2:]), segment.rows_file)  # type: ignore[attr-defined]
        reader.check_spec(spec)
    except DataError:
        return
    for use in (_find, _search, _keys, _checksums):
        try:
            with np.errstate(all="ignore"):  # numbers of anybody's making may overflow
                use(reader, spec)
        except DataError:
            continue


def _find(reader: SegmentReader, spec: IndexSpec) -> None:
    keys = ["key-3", "key-119", "none"]
    rows = reader.find(keys, key_hashes(keys))
    assert rows.max(initial=-1) < reader.rows


def _search(reader: SegmentReader, spec: IndexSpec) -> None:
    for condition in FILTERS:
        for recall in (0.9, 1.0):
            target = make_target(np.ones(DIMENSION, np.float32), spec, 5, recall, condition)
            found = search_segment(OpenSegment(reader, BitMap([1, 2])), target)
            rows = found.candidates.rows
            assert not len(rows) or 0 <= rows.min() <= rows.max() < reader.rows


def _checksums(reader: SegmentReader, spec: IndexSpec) -> None:
    reader.codes.verify_checksums()


def _keys(reader: SegmentReader, spec: IndexSpec) -> None:
    rows = np.arange(min(reader.rows, ROWS))
    assert len(reader.keys_of(rows)) == len(reader.metadata_of(rows)) == len(rows)
