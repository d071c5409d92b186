"""Tests of segments: what is written is read, by row, by key and by range, and damage is noticed."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
import xxhash

from asynchronous import asynchronous
from engine.reference import make_batch
from quiver.format import paths, rows_parquet, segment_index
from quiver.format.keys import key_hashes
from quiver.model.errors import CorruptObjectError, DataError, StoreUnavailableError
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec, VectorBatch
from quiver.objectstore.store import ObjectNotFoundError, StoreRefusedError
from quiver.storage import segment_writer
from quiver.storage.segment_reader import SegmentReader
from quiver.storage.segment_writer import build_segment, write_segment
from storage.scripted_store import claim_existence, fail, lose_answer, refuse
from storage.tape import OWNER, ROOT

SEGMENT = paths.segment_id(2, 7, "c" * 32)
ROWS_KEY, INDEX_KEY = (paths.segment_key(ROOT, SEGMENT, part) for part in (paths.ROWS, paths.SEGMENT_INDEX))


def spec(dimension: int) -> IndexSpec:
    return IndexSpec(dimension, DistanceMetric.COSINE, ("secret",))


def sample(rows: int, dimension: int) -> VectorBatch:
    rng = np.random.default_rng(rows)
    metadata = [{"n": n, "even": n % 2 == 0, "secret": "s" * (n % 50)} for n in range(rows)]
    return make_batch([f"key-{n}" for n in range(rows)], rng.normal(size=(rows, dimension)), metadata)


async def written(store, runtime, batch: VectorBatch) -> SegmentReader:
    built = build_segment(batch, spec(batch.vectors.shape[1]))
    await write_segment(store, runtime, ROOT, OWNER, SEGMENT, built)
    return await SegmentReader.open(store, ROOT, OWNER, SEGMENT)


@pytest.mark.parametrize(("rows", "dimension"), [(1, 1), (5, 4096), (300, 3), (1000, 96)])
@pytest.mark.parametrize("group_bytes", [64 << 20, 4096])
@asynchronous
async def test_what_is_written_is_read(store, runtime, monkeypatch, rows, dimension, group_bytes):
    monkeypatch.setattr(rows_parquet, "GROUP_BYTES", group_bytes)
    monkeypatch.setattr(segment_index, "BLOCK_BYTES", 1 << 16)
    batch = sample(rows, dimension)
    reader = await written(store, runtime, batch)
    assert reader.rows == rows
    assert [reader.key(row) for row in range(rows)] == batch.keys
    assert [reader.metadata_of(row) for row in range(rows)] == batch.metadata
    some = np.random.default_rng(1).integers(0, rows, 20)
    assert (reader.take_vectors(some) == batch.vectors[some]).all()
    assert reader.take_vectors(np.zeros(0, np.int64)).shape == (0, dimension)
    blocks = list(reader.blocks())
    assert (np.concatenate([block for _, block in blocks]) == batch.vectors).all()
    assert [first for first, _ in blocks] == [run.first for run in reader._footer.runs]
    low, high = rows // 3, rows - rows // 4
    part = [block for _, block in reader.blocks(low, high)]
    assert (np.concatenate(part) == batch.vectors[low:high]).all()
    codes = np.concatenate([codes for _, codes in reader.codes(0)])
    assert codes.tobytes() == batch.vectors.tobytes()
    np.testing.assert_allclose(reader.norms, np.linalg.norm(batch.vectors.astype(float), axis=1), rtol=1e-7)
    reader.check_spec(spec(dimension))
    reader.verify()


@asynchronous
async def test_keys_are_found_by_hash_and_told_apart_by_bytes(store, runtime, monkeypatch):
    batch = sample(200, 2)
    wanted = ["key-150", "absent", "key-0", "key-199", ""]
    reader = await written(store, runtime, batch)
    assert reader.find(wanted, key_hashes(wanted)).tolist() == [150, -1, 0, 199, -1]
    assert (reader.key_hashes[1:] >= reader.key_hashes[:-1]).all()
    # All keys collide: only their bytes tell them apart.
    await store.delete([ROWS_KEY, INDEX_KEY])
    monkeypatch.setattr(segment_writer, "key_hashes", lambda keys: np.full(len(keys), 9, np.uint64))
    reader = await written(store, runtime, batch)
    assert reader.find(wanted, np.full(5, 9, np.uint64)).tolist() == [150, -1, 0, 199, -1]


@asynchronous
async def test_columns_answer_filters_without_the_keys_no_filter_may_name(store, runtime):
    reader = await written(store, runtime, sample(100, 2))
    assert list(reader.columns.select(parse_filter({"$and": [{"n": {"$lt": 7}}, {"even": True}]}))) == [0, 2, 4, 6]
    assert not reader.columns.select(parse_filter({"secret": {"$exists": True}}))


@pytest.mark.parametrize("fate", [lose_answer, fail, claim_existence], ids=lambda fate: fate.__name__)
@pytest.mark.parametrize("part", [paths.ROWS, paths.SEGMENT_INDEX])
@asynchronous
async def test_writing_survives_lost_answers(store, runtime, fate, part):
    store.next_put(f"/{part}$", fate)
    reader = await written(store, runtime, sample(3, 2))
    reader.verify()


@asynchronous
async def test_a_refusal_ends_the_writing_and_names_no_index(store, runtime):
    built = build_segment(sample(3, 2), spec(2))
    store.next_put("/rows.parquet$", refuse)
    with pytest.raises(StoreRefusedError):
        await write_segment(store, runtime, ROOT, OWNER, SEGMENT, built)
    with pytest.raises(ObjectNotFoundError):
        await store.get(INDEX_KEY)


@asynchronous
async def test_writing_gives_up_on_a_store_that_never_answers(store, runtime, monkeypatch):
    async def no_sleep(seconds: float) -> None:
        return

    monkeypatch.setattr(runtime, "sleep", no_sleep)
    store.next_put("/rows.parquet$", *[fail] * 6)
    with pytest.raises(StoreUnavailableError):
        await write_segment(store, runtime, ROOT, OWNER, SEGMENT, build_segment(sample(3, 2), spec(2)))


@pytest.mark.parametrize("part", [paths.ROWS, paths.SEGMENT_INDEX])
@asynchronous
async def test_a_segment_with_a_part_missing_cannot_be_opened(store, runtime, part):
    await written(store, runtime, sample(3, 2))
    await store.delete([paths.segment_key(ROOT, SEGMENT, part)])
    with pytest.raises(ObjectNotFoundError):
        await SegmentReader.open(store, ROOT, OWNER, SEGMENT)


@asynchronous
async def test_a_segment_of_another_index_is_refused(store, runtime):
    reader = await written(store, runtime, sample(3, 2))
    with pytest.raises(CorruptObjectError):
        await SegmentReader.open(store, ROOT, "b" * 32, SEGMENT)
    for wrong in (IndexSpec(3, DistanceMetric.COSINE), IndexSpec(2, DistanceMetric.EUCLIDEAN)):
        with pytest.raises(CorruptObjectError):
            reader.check_spec(wrong)


def use_everything(reader: SegmentReader, batch: VectorBatch) -> None:
    """Read everything; nothing but the written values may come back."""
    rows = range(reader.rows)
    assert (reader.take_vectors(np.arange(reader.rows)) == batch.vectors).all()
    assert [reader.key(row) for row in rows] == batch.keys
    assert [reader.metadata_of(row) for row in rows] == batch.metadata
    assert reader.find(batch.keys, key_hashes(batch.keys)).tolist() == list(rows)
    assert list(reader.columns.select(parse_filter({"n": {"$gte": 0}}))) == list(rows)
    assert sum(len(codes) for part in range(reader.partitioner.count) for _, codes in reader.codes(part)) == len(
        rows
    )
    assert len(reader.norms) == reader.rows


@asynchronous
async def test_every_damaged_byte_is_noticed_or_harmless(store, runtime):
    batch = sample(20, 4)
    await written(store, runtime, batch)
    originals = [bytes(await store.get(key)) for key in (INDEX_KEY, ROWS_KEY)]
    rng = np.random.default_rng(0)
    caught = 0
    for which in (0, 1):
        size = len(originals[which])
        for position in rng.choice(size, min(size, 600), replace=False).tolist():
            damaged = [bytearray(original) for original in originals]
            damaged[which][position] ^= 1 << int(rng.integers(8))
            try:
                reader = SegmentReader(ROOT, OWNER, SEGMENT, *map(memoryview, damaged))
                use_everything(reader, batch)
            except CorruptObjectError:
                caught += 1
    assert caught > 900  # the rest hit padding and sections that the reads above do not need


# ---------------------------------------------------------------- bytes that are sealed, but lie


def forged(batch: VectorBatch, *, footer: dict | None = None, sections: dict | None = None) -> SegmentReader:
    """A segment whose checksums all hold, with some of its content replaced."""
    built = build_segment(batch, spec(batch.vectors.shape[1]))
    head = msgspec.structs.replace(built.footer, key=INDEX_KEY, owner=OWNER, **(footer or {}))
    index = b"".join(bytes(part) for part in segment_index.encode(head, {**built.sections, **(sections or {})}))
    return SegmentReader(ROOT, OWNER, SEGMENT, memoryview(index), built.rows_file.data)


HUGE = 2**63 - 1
FORGERIES = {
    "more rows": {"footer": {"rows": 21, "partition_ends": [21]}},
    "negative rows": {"footer": {"rows": -1, "partition_ends": [-1]}},
    "partitions that fall": {"footer": {"partition_ends": [25, 20]}},
    "negative partition": {"footer": {"partition_ends": [-3, 20]}},
    "too many partitions": {"footer": {"partition_ends": [10, 20]}},
    "no partitions": {"footer": {"partition_ends": []}},
    "no runs": {"footer": {"runs": []}},
    "run past the end": {"footer": {"runs": [rows_parquet.Run(0, 20, HUGE)]}},
    "run before the start": {"footer": {"runs": [rows_parquet.Run(0, 20, -16)]}},
    "huge run": {"footer": {"runs": [rows_parquet.Run(0, HUGE, 0)], "rows": HUGE, "partition_ends": [HUGE]}},
    "huge dimension": {"footer": {"dimension": HUGE}},
    "dimension zero": {"footer": {"dimension": 0}},
    "negative dimension": {"footer": {"dimension": -4}},
    "unknown codec": {"footer": {"codec": "none such"}},
    "unknown partitioner": {"footer": {"partitioner": "none such"}},
    "codec state": {"footer": {"codec_state": b"x"}},
    "partitioner state": {"footer": {"partitioner_state": b"x"}},
    "short hashes": {"sections": {"key_hashes": b"1234567"}},
    "few hashes": {"sections": {"key_hashes": bytes(8)}},
    "rows out of range": {"sections": {"key_rows": np.full(20, 20, np.uint32)}},
    "odd key rows": {"sections": {"key_rows": b"123"}},
    "key offsets past the end": {"sections": {"key_offsets": np.full(20, 2**64 - 1, np.uint64)}},
    "key offsets into vectors": {"sections": {"key_offsets": np.zeros(20, np.uint64)}},
    "metadata offsets past the end": {"sections": {"metadata_offsets": np.full(20, 2**63, np.uint64)}},
    "odd norms": {"sections": {"norms": b"12345"}},
    "odd block digests": {"sections": {"blocks": b"12345"}},
    "no block digests": {"sections": {"blocks": b""}},
    "no columns": {"sections": {"columns": b""}},
    "wild columns": {"sections": {"columns": bytes(range(256))}},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_lies_under_valid_checksums_raise_data_errors(forgery):
    batch = sample(20, 4)
    with pytest.raises(DataError):
        use_everything(forged(batch, **FORGERIES[forgery]), batch)
    use_everything(forged(batch), batch)


def test_verify_notices_hashes_that_do_not_follow_from_the_keys():
    batch = sample(20, 4)
    hashes = np.sort(key_hashes(batch.keys))
    hashes[3] ^= np.uint64(1)
    with pytest.raises(CorruptObjectError):
        forged(batch, sections={"key_hashes": hashes}).verify()
    forged(batch).verify()
    assert xxhash.xxh3_64_intdigest(b"key-0") in key_hashes(batch.keys).tolist()
