"""Tests of the segment builder: every structure through real segments, balance, determinism, bounded memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from engine.reference import make_batch
from quiver.ann.space import to_space
from quiver.format import rows_parquet
from quiver.format.keys import key_hashes
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.storage import segment_builder
from quiver.storage.row_source import BatchSource
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_builder import BuildOptions, BuiltSegment, begin_segment
from quiver.storage.spool import Spool
from storage.segments import PARTITIONED, STRUCTURES, built, flat_spec, forged, index_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.storage.segment_reader import SegmentReader

ROWS, DIMENSION = 700, 12
EVERY_STRUCTURE = pytest.mark.parametrize(
    ("partitioner", "codec"), STRUCTURES, ids=["+".join(s) for s in STRUCTURES]
)


def clusters(rows: int = ROWS, dimension: int = DIMENSION, count: int = 9, seed: int = 0) -> VectorBatch:
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(count, dimension))
    vectors = centres[rng.integers(count, size=rows)] + rng.normal(size=(rows, dimension))
    metadata = [{"n": n, "tag": f"t{n % 5}"} for n in range(rows)]
    return make_batch([f"key-{n}" for n in range(rows)], vectors, metadata)


def spec_of(partitioner: str, codec: str, dimension: int = DIMENSION, **changes: object) -> IndexSpec:
    plain = IndexSpec(dimension, DistanceMetric.EUCLIDEAN, (), partitioner, codec, 0.95)
    return replace(plain, **changes)


def objects(segment: BuiltSegment) -> tuple[bytes, bytes]:
    return bytes(segment.rows_file), index_bytes(segment)


def assert_holds(segment: BuiltSegment, batch: VectorBatch, spec: IndexSpec) -> SegmentReader:
    """Everything that was put in is there, in the order that the segment says."""
    rows = len(batch.keys)
    reader = forged(segment)
    assert sorted(segment.order.tolist()) == list(range(rows))
    assert reader.take_vectors(np.arange(rows)).tobytes() == batch.vectors[segment.order].tobytes()
    assert [reader.key(row) for row in range(rows)] == [batch.keys[row] for row in segment.order]
    assert reader.metadata_of(range(rows)) == [batch.metadata[row] for row in segment.order]
    assert (segment.order[reader.find(batch.keys, key_hashes(batch.keys))] == np.arange(rows)).all()
    assert (reader.codes.ends[-1], reader.codes.ends.min() >= 0) == (rows, True)
    assert reader.codes.sizes.sum() == rows
    assert reader.structure == (segment.footer.partitioner, segment.footer.codec)
    audit_segment(reader, spec)
    return reader


def assert_scans(reader: SegmentReader, spec: IndexSpec) -> None:
    """Scanning all partitions finds every row; the nearest rows are among the best codes."""
    codes = reader.codes
    every = np.arange(len(codes.ends))
    codes.verify_partitions(every)
    vectors = to_space(reader.take_vectors(np.arange(reader.rows)), reader.norms, spec.metric)
    for query in vectors[:3]:
        found = codes.scanner.scan(query, every, reader.rows)
        assert sorted(found.rows.tolist()) == list(range(reader.rows))
        true = np.argsort(np.square(vectors - query).sum(axis=1))[:5]
        assert set(true.tolist()) <= set(found.rows[: reader.rows // 4].tolist())
        if codes.refiner is not None:
            scores = codes.refiner.score(query, codes.int8_rows(np.arange(reader.rows)))
            assert set(true.tolist()) <= set(np.argsort(scores)[:20].tolist())


@EVERY_STRUCTURE
@pytest.mark.parametrize("metric", DistanceMetric)
def test_every_structure_holds_all_rows_and_finds_them(partitioner, codec, metric):
    spec, batch = spec_of(partitioner, codec, metric=metric), clusters()
    segment = built(batch, spec, PARTITIONED)
    assert (segment.footer.partitioner, segment.footer.codec) == (partitioner, codec)
    reader = assert_holds(segment, batch, spec)
    assert (len(reader.codes.ends) > 1) == (partitioner != "single")
    if codec == "flat":
        assert (reader.codes.scanner, reader.codes.refiner, reader.codes.code_size) == (None, None, 0)
    else:
        assert_scans(reader, spec)
    if partitioner != "single":
        starts = reader.codes.starts
        assigned = reader.codes.partitioner.assign(
            to_space(reader.take_vectors(np.arange(ROWS)), reader.norms, metric)
        )
        holders = np.searchsorted(reader.codes.ends, np.arange(ROWS), "right")
        assert (assigned == holders).mean() > 0.99
        assert len(starts) == reader.codes.partitioner.count == len(reader.codes.radii)


@EVERY_STRUCTURE
def test_the_same_rows_give_the_same_bytes_in_memory_and_spooled(monkeypatch, partitioner, codec):
    monkeypatch.setattr(rows_parquet, "GROUP_BYTES", 4 * DIMENSION * 100)
    monkeypatch.setattr("quiver.storage.row_source.GROUP_BYTES", 4 * DIMENSION * 90)
    spec, batch = spec_of(partitioner, codec), clusters()
    first = objects(built(batch, spec, PARTITIONED))
    assert objects(built(batch, spec, PARTITIONED)) == first
    assert objects(built(batch, spec, BuildOptions(spool=Spool(memory_bytes=0), exact_floats=0))) == first


def test_rows_are_complete_before_the_segment_is():
    batch, spec = clusters(), spec_of("kmeans", "rabitq")
    begun = begin_segment(BatchSource(batch), spec, PARTITIONED)
    rows_file = bytes(begun.rows_file)
    whole = begun.finish()
    assert objects(whole) == objects(built(batch, spec, PARTITIONED))
    assert bytes(whole.rows_file) == rows_file


@EVERY_STRUCTURE
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_fewest_rows_make_a_segment(partitioner, codec, rows):
    spec, batch = spec_of(partitioner, codec), clusters(rows)
    assert_holds(built(batch, spec, PARTITIONED), batch, spec)


@EVERY_STRUCTURE
def test_copies_of_one_row_make_a_segment(partitioner, codec):
    spec = spec_of(partitioner, codec)
    batch = clusters(300)
    batch = VectorBatch(batch.keys, np.repeat(batch.vectors[:1], 300, axis=0), batch.metadata)
    assert_holds(built(batch, spec, PARTITIONED), batch, spec)


def skewed(rows: int = 4000) -> np.ndarray:
    """A large tight cluster, some wide ones, and 40 % copies of two rows."""
    rng = np.random.default_rng(5)
    tight = rng.normal(size=(rows * 3 // 10, 8)) * 0.01 + 5
    wide = rng.normal(size=(rows - len(tight) - rows * 4 // 10, 8)) * 10
    copies = np.repeat(rng.normal(size=(2, 8)), rows * 2 // 10, axis=0)
    return rng.permutation(np.concatenate([tight, wide, copies])).astype(np.float32)


@pytest.mark.parametrize("partitioner", ["kmeans", "kdtree"])
@pytest.mark.parametrize(
    "data", [skewed(), np.abs(skewed()) ** 3, np.ones((2000, 8), np.float32)], ids=["skewed", "cubed", "copies"]
)
def test_no_partition_holds_more_than_four_times_the_mean(partitioner, data):
    spec = spec_of(partitioner, "rabitq", 8)
    batch = make_batch([f"k{n}" for n in range(len(data))], data)
    reader = assert_holds(built(batch, spec, PARTITIONED), batch, spec)
    sizes = reader.codes.sizes
    assert sizes.max() <= 4 * len(data) / len(sizes)


@pytest.mark.parametrize(
    ("vectors", "changes", "options"),
    [
        (clusters().vectors, {}, BuildOptions()),
        (clusters().vectors, {}, BuildOptions(exact_floats=ROWS * DIMENSION + 1)),
        (clusters().vectors, {"recall": 1.0}, PARTITIONED),
        (clusters().vectors * np.float32(1e12), {}, PARTITIONED),
        (clusters().vectors * np.float32(1e-12), {}, PARTITIONED),
        (clusters().vectors * np.float32(1e36), {}, PARTITIONED),
        (clusters().vectors * (np.arange(ROWS) != 3)[:, None].astype(np.float32), {}, PARTITIONED),
    ],
    ids=["small", "just small", "recall 1", "large numbers", "tiny numbers", "huge numbers", "a row of zeros"],
)
def test_rows_that_are_few_or_wild_or_wanted_exactly_stay_exact(vectors, changes, options):
    spec = spec_of("kmeans", "rabitq", **changes)
    plain = clusters()
    batch = VectorBatch(plain.keys, vectors, plain.metadata)
    segment = built(batch, spec, options)
    assert (segment.footer.partitioner, segment.footer.codec) == ("single", "flat")
    assert segment.order.tolist() == list(range(ROWS))
    reader = assert_holds(segment, batch, spec)
    assert (reader.codes.calibration, reader.codes.partitioner, reader.codes.ends.tolist()) == (None, None, [ROWS])


def test_as_many_components_as_are_not_small_get_a_structure():
    segment = built(clusters(), spec_of("kmeans", "rabitq"), BuildOptions(exact_floats=ROWS * DIMENSION))
    assert (segment.footer.partitioner, segment.footer.codec) == ("kmeans", "rabitq")


def test_earlier_origins_warm_the_training_up():
    spec, batch = spec_of("kmeans", "rabitq"), clusters()
    first = forged(built(batch, spec, PARTITIONED)).codes.origins
    warm = built(batch, spec, replace(PARTITIONED, start=np.array(first)))
    reader = assert_holds(warm, batch, spec)
    assert not np.array_equal(reader.codes.origins, first)  # iterated further
    assert (
        np.square(reader.codes.radii).mean()
        < 1.05 * np.square(forged(built(batch, spec, PARTITIONED)).codes.radii).mean()
    )


def test_origins_of_another_structure_or_magnitude_do_no_harm():
    batch = clusters()
    for name in ("kmeans", "kdtree", "single"):
        for start in (np.full((3, DIMENSION), 1e30, np.float32), np.zeros((500, DIMENSION), np.float32)):
            spec = spec_of(name, "rabitq")
            assert_holds(built(batch, spec, replace(PARTITIONED, start=start)), batch, spec)


def test_progress_is_reported_by_stage_and_reaches_the_end():
    told: list[tuple[str, int, int]] = []
    options = replace(PARTITIONED, progress=lambda *step: told.append(step))
    built(clusters(), spec_of("kmeans", "rabitq"), options)
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["sample", "train", "assign", "write", "calibrate"]
    assert all(0 <= done <= total == ROWS for _, done, total in told)
    for stage in ("sample", "assign", "write", "calibrate"):
        done = [done for name, done, _ in told if name == stage]
        assert done == sorted(done)
        assert done[-1] == ROWS


def test_row_groups_end_where_they_must_and_partitions_where_they_like(monkeypatch):
    monkeypatch.setattr(rows_parquet, "GROUP_BYTES", 4 * DIMENSION * 64)
    spec, batch = spec_of("kmeans", "sq8"), clusters()
    segment = built(batch, spec, PARTITIONED)
    assert [run.rows for run in segment.footer.runs] == [64] * 10 + [60]
    assert not set(forged(segment).codes.ends[:-1].tolist()) <= set(range(0, ROWS, 64))
    assert_holds(segment, batch, spec)


def test_a_small_sample_of_many_rows_is_enough(monkeypatch):
    monkeypatch.setattr(segment_builder, "_SAMPLE_PER_PARTITION", 4)
    spec, batch = spec_of("kmeans", "rabitq"), clusters()
    reader = assert_holds(built(batch, spec, PARTITIONED), batch, spec)
    assert len(reader.codes.ends) > 10


def test_nbytes_is_about_the_size_of_both_objects():
    for codec in ("rabitq", "flat"):
        segment = built(clusters(), spec_of("kmeans", codec), PARTITIONED)
        assert sum(map(len, objects(segment))) == pytest.approx(segment.nbytes, rel=0.05)


def test_a_flat_segment_is_in_the_order_of_its_rows():
    batch = clusters(50)
    segment = built(batch, flat_spec(DIMENSION))
    assert segment.order.tolist() == list(range(50))
    assert_holds(segment, batch, flat_spec(DIMENSION))


# ---------------------------------------------------------------- memory

BUILD = """
import sys
import numpy as np
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.format import rows_parquet
from quiver.storage import row_source, segment_builder
from quiver.storage.segment_builder import BuildOptions, build_segment
from quiver.storage.spool import Spool
from quiver.storage.spooled_rows import SpooledRows

ROWS, DIMENSION, BATCH = int(sys.argv[2]), 256, 10_000
segment_builder._SAMPLE_BYTES = 32 << 20
rows_parquet.GROUP_BYTES = row_source.GROUP_BYTES = 8 << 20

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

peak = before = anonymous()
def watch(stage, done, total):
    global peak
    peak = max(peak, anonymous())

rng = np.random.default_rng(0)
centres = rng.normal(size=(200, DIMENSION)).astype(np.float32)
rows = SpooledRows(Spool(sys.argv[1], 1 << 20), DIMENSION)
for start in range(0, ROWS, BATCH):
    vectors = centres[rng.integers(200, size=BATCH)] + rng.standard_normal((BATCH, DIMENSION), np.float32)
    rows.append(VectorBatch([f"key-{n}" for n in range(start, start + BATCH)], vectors, [b"{}"] * BATCH))
    watch("", 0, 0)
spec = IndexSpec(DIMENSION, DistanceMetric.COSINE, (), "kmeans", "rabitq", 0.95)
built = build_segment(rows.source(), spec, BuildOptions(Spool(sys.argv[1], 1 << 20), progress=watch))
watch("", 0, 0)
print(peak - before, len(built.order), built.footer.codec)
"""


def peak_of(rows: int, directory: Path) -> int:
    """Anonymous memory at most, sampled at every report of progress, which comes with each row group; bytes."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(directory), str(rows)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    peak, ordered, codec = done.stdout.split()
    assert (int(ordered), codec) == (rows, "rabitq")
    assert not list(directory.iterdir())
    return int(peak)


@pytest.mark.slow
def test_more_rows_than_fit_take_little_more_memory_when_they_are_spooled(tmp_path):
    few, many = 50_000, 180_000
    more = (many - few) * 256 * 4
    assert peak_of(many, tmp_path) - peak_of(few, tmp_path) < 0.25 * more


@pytest.mark.parametrize(("seen", "unseen"), [(500, True), (572, True), (573, False), (700, False)])
def test_calibration_asks_with_rows_that_training_has_not_seen_where_there_are_enough(monkeypatch, seen, unseen):
    asked, learned = [], np.sort(np.random.default_rng(3).permutation(ROWS)[:seen])
    monkeypatch.setattr(segment_builder._Builder, "_sample_rows", lambda _: learned)
    find = segment_builder.find_neighbours
    monkeypatch.setattr(
        segment_builder,
        "find_neighbours",
        lambda queries, own, *rest: asked.append(own) or find(queries, own, *rest),
    )
    batch, spec = clusters(), spec_of("kmeans", "rabitq")
    assert_holds(built(batch, spec, PARTITIONED), batch, spec)
    (own,) = asked
    assert len(set(own.tolist())) == 128
    assert np.isin(own, learned).any() != unseen
    assert np.isin(own, learned).all() != unseen
