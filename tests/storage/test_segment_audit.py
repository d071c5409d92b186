"""Tests of the audit: whatever is derived and does not follow from the rows is noticed, though checksums hold."""

from __future__ import annotations

import numpy as np
import pytest

from quiver.ann.calibration import Calibration
from quiver.format import key_filter
from quiver.format.keys import key_hashes
from quiver.format.metadata_columns import MetadataColumns
from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.storage import segment_audit
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_builder import BuildOptions, BuiltSegment, _digests
from storage.segments import PARTITIONED, STRUCTURES, built, forged, opened, sample

ROWS, DIMENSION = 200, 16
BATCH = sample(ROWS, DIMENSION)
SPEC = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN, ("secret",), "kmeans", "rabitq", 0.95)
CODED = built(BATCH, SPEC, PARTITIONED)
CODES = forged(CODED).codes
FLAT = built(BATCH, SPEC)


def changed(name: str, place: int, value: object) -> dict[str, np.ndarray]:
    array = np.array(CODED.sections[name])
    array[place] = value
    return {name: array}


def swapped(name: str, first: int, second: int, segment: BuiltSegment = CODED) -> dict[str, np.ndarray]:
    array = np.array(segment.sections[name])
    array[[first, second]] = array[[second, first]]
    return {name: array}


def partitions(change) -> dict[str, np.ndarray]:
    """The section with the largest partition changed, under digests that hold."""
    data = np.array(CODED.sections["partitions"])
    number = int(CODES.sizes.argmax())
    size, start = int(CODES.sizes[number]), int(CODES._partition_places[number])
    assert size > 2
    stored = data[start : int(CODES._filled_places[number]) + size * CODES.code_size]
    start += len(stored)
    parts = []
    for width in CODED.footer.widths[1:]:
        parts.append(data[start : start + size * width].reshape(size, width))
        start += size * width
    rows, int8, texts = parts
    codes = CODES.codec.take_up(stored, size)
    change(codes, rows.reshape(-1).view("<i8"), int8, texts.view("<u8"))
    stored[:] = CODES.codec.lay_out(codes)
    return {"partitions": data, "digests": _digests(data, CODES._partition_places)}


def swap(array: np.ndarray) -> None:
    array[[0, 1]] = array[[1, 0]]


def scale(four: np.ndarray, by: float) -> None:
    """Multiply a float32 in place."""
    four[:] = (four.copy().view("<f4") * np.float32(by)).view(np.uint8)


LIES = {
    "a hash": changed("key_hashes", 3, np.array(CODED.sections["key_hashes"])[3] ^ np.uint64(1)),
    "hashes out of order": swapped("key_hashes", 3, 4) | swapped("key_rows", 3, 4),
    "rows of hashes": swapped("key_rows", 3, 4),
    "a row twice": changed("key_rows", 3, np.array(CODED.sections["key_rows"])[4]),
    "a norm": changed("norms", 5, 1.0),
    "norms of other rows": swapped("norms", 5, 6),
    "keys of other rows": partitions(lambda codes, rows, int8, texts: swap(texts[:, 0])),
    "metadata of other rows": partitions(lambda codes, rows, int8, texts: swap(texts[:, 1])),
    "keys where metadata are": partitions(lambda codes, rows, int8, texts: swap(texts.T)),
    "columns": {"columns": MetadataColumns.build([b"{}"] * ROWS).encode()},
    "an empty key filter": {"key_filter": key_filter.build(np.zeros(0, np.uint64))},
    "a key missing in the filter": {"key_filter": key_filter.build(key_hashes(BATCH.keys[1:]))},
    "a radius": changed("radii", 2, float(np.array(CODED.sections["radii"])[2]) * 1.01),
    "no calibration": {"calibration": b""},
    "two codes": partitions(lambda codes, rows, int8, texts: swap(codes)),
    "two rows": partitions(lambda codes, rows, int8, texts: swap(rows)),
    "two int8 rows": partitions(lambda codes, rows, int8, texts: swap(int8)),
    "zeros for a code": partitions(lambda codes, rows, int8, texts: codes[0].fill(0)),
    "a squared norm": partitions(lambda codes, rows, int8, texts: scale(codes[0, -8:-4], 1.01)),
    "a factor": partitions(lambda codes, rows, int8, texts: scale(codes[0, -4:], 0.99)),
    "a factor's sign": partitions(lambda codes, rows, int8, texts: scale(codes[0, -4:], -1)),
    "a factor that is none": partitions(lambda codes, rows, int8, texts: scale(codes[0, -4:], np.nan)),
}
LIES |= {
    "keys of other rows in their section": swapped("key_offsets", 5, 6, CODED),
    "metadata of other rows in their section": swapped("metadata_offsets", 5, 6, CODED),
}
FLAT_LIES = {
    "keys of other rows": swapped("key_offsets", 5, 6, FLAT),
    "metadata of other rows": swapped("metadata_offsets", 5, 6, FLAT),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_does_not_follow_from_the_rows_is_noticed(lie):
    audit_segment(forged(CODED), SPEC)
    with pytest.raises(CorruptObjectError):
        audit_segment(forged(CODED, sections=LIES[lie]), SPEC)


@pytest.mark.parametrize("lie", FLAT_LIES)
def test_texts_of_other_rows_are_noticed_where_sections_place_them(lie):
    audit_segment(forged(FLAT), SPEC)
    with pytest.raises(CorruptObjectError):
        audit_segment(forged(FLAT, sections=FLAT_LIES[lie]), SPEC)


def test_the_checksums_of_these_lies_hold():
    """That they are noticed is the audit's work."""
    for segment, lies in ((CODED, LIES), (FLAT, FLAT_LIES)):
        assert (segment.footer.text_size == 0) == (segment is FLAT)
        for lie in lies.values():
            reader = forged(segment, sections=lie)
            reader.verify()
            if segment is CODED:
                reader.codes.verify_partitions(np.arange(len(reader.codes.ends)))


def test_factors_of_codes_may_be_rounded_otherwise():
    """To either side, in as many bits as the carry takes: another processor or library may sum otherwise."""
    spec = IndexSpec(8, DistanceMetric.EUCLIDEAN, ("secret",), "kmeans", "rabitq", 0.95)
    segment = built(sample(ROWS, 8), spec, PARTITIONED)
    codes = forged(segment).codes
    for target in (-np.inf, np.inf):
        data = np.array(segment.sections["partitions"])
        for size, start in zip(codes.sizes.tolist(), codes._partition_places.tolist(), strict=False):
            stored = data[start : start + -(-size // 32) * 32 * codes.code_size]
            taken = codes.codec.take_up(stored, size)
            floats = taken[:, -8:].copy().view("<f4")
            floats[floats > 0] = np.nextafter(floats, np.float32(target))[floats > 0]  # the others are exact
            taken[:, -8:] = floats.view(np.uint8)
            stored[:] = codes.codec.lay_out(taken)
        assert (data != segment.sections["partitions"]).sum() > ROWS
        lie = {"partitions": data, "digests": _digests(data, codes._partition_places)}
        audit_segment(forged(segment, sections=lie), spec)


def test_calibration_where_nothing_is_approximate_is_noticed():
    plain = built(BATCH, SPEC)
    audit_segment(forged(plain), SPEC)
    state = CODED.sections["calibration"]
    assert Calibration.decode(memoryview(state)).encode() == state
    with pytest.raises(CorruptObjectError):
        audit_segment(forged(plain, sections={"calibration": state}), SPEC)


def test_columns_of_fields_that_no_filter_may_name_are_noticed():
    with pytest.raises(CorruptObjectError, match="columns"):
        audit_segment(forged(CODED), IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN, ()))


def test_a_key_that_comes_twice_is_noticed():
    twice = VectorBatch([*BATCH.keys[:-1], "key-7"], BATCH.vectors, BATCH.metadata)
    for options in (PARTITIONED, BuildOptions()):
        with pytest.raises(CorruptObjectError, match="twice"):
            audit_segment(opened(twice, SPEC, options), SPEC)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_noticed(value):
    vectors = BATCH.vectors.copy()
    vectors[7, 3] = value
    plain = IndexSpec(DIMENSION, DistanceMetric.EUCLIDEAN, ("secret",), "single", "flat")
    with np.errstate(invalid="ignore"), pytest.raises(CorruptObjectError):
        audit_segment(opened(VectorBatch(BATCH.keys, vectors, BATCH.metadata), plain), plain)


@pytest.mark.parametrize(("partitioner", "codec"), STRUCTURES, ids=["+".join(each) for each in STRUCTURES])
@pytest.mark.parametrize("metric", DistanceMetric)
def test_sound_segments_of_every_structure_pass_in_steps_of_any_size(monkeypatch, partitioner, codec, metric):
    spec = IndexSpec(DIMENSION, metric, ("secret",), partitioner, codec, 0.9)
    reader = opened(BATCH, spec, PARTITIONED)
    for step in (7, ROWS, 4096):
        monkeypatch.setattr(segment_audit, "_STEP", step)
        audit_segment(reader, spec)
