"""Every released format is read for ever, and a newer one is refused by name (I18)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars
import pytest
import xxhash

from asynchronous import asynchronous
from engine.contract import list_all
from format.golden.write import STRUCTURES, TEXTS_ID, grid
from quiver.engine.engine import Query, TextFieldStatus, TextQuery
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.fsck import check_index
from quiver.engine.native.settings import NativeSettings
from quiver.engine.native.state import decode_checkpoint
from quiver.format import checkpoint, envelope, paths, segment_index
from quiver.model.errors import UnsupportedFormatError
from quiver.model.filter_parser import parse_filter
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec, TextField
from quiver.objectstore.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiver.engine.native.index import NativeIndex

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.glob("v*"))
INDEX_ID = "90" * 16
ROOT = paths.index_root(INDEX_ID)
SPEC = IndexSpec(4, DistanceMetric.EUCLIDEAN, ("note",))
ROWS = {
    "\u00e9": ([1, 3, -3, 0.5], b'{"step":1,"odd":true,"tags":["all","\xc3\xa9"],"note":"x"}'),
    "nul\x00": ([1, 4, -4, 0.5], b'{"step":1,"odd":false,"tags":["all","nul\\u0000"],"note":"x"}'),
    "b": ([2, 0, 0, 0.5], b'{"step":2,"odd":false,"tags":["all","b"],"note":"x"}'),
    "d": ([2, 1, -1, 0.5], b'{"step":2,"odd":true,"tags":["all","d"],"note":"x"}'),
    "e": ([3, 0, 0, 0.5], b'{"step":3,"odd":false,"tags":["all","e"],"note":"x"}'),
    "f": ([3, 1, -1, 0.5], b'{"step":3,"odd":true,"tags":["all","f"],"note":"x"}'),
    "a/b": ([4, 0, 0, 0.5], b'{"step":4,"odd":false,"tags":["all","a/b"],"note":"x"}'),
}


@pytest.fixture
def runtime() -> Iterator[SystemRuntime]:
    runtime = SystemRuntime(threads=1)
    yield runtime
    runtime.close()


def objects(version: str) -> dict[str, bytes]:
    root = GOLDEN / version
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


async def opened(
    stored: dict[str, bytes], runtime: SystemRuntime, index_id: str = INDEX_ID, spec: IndexSpec = SPEC
) -> NativeIndex:
    store = MemoryStore(runtime)
    for key, body in stored.items():
        await store.put_new(key, [body])
    engine = NativeEngine(store, runtime, NativeSettings(background=False, garbage_age=0))
    return await engine.open(index_id, spec)


async def assert_reads_all(index: NativeIndex) -> None:
    rows = await list_all(index, full=True)
    assert {row.key: (row.vector.tolist(), row.metadata) for row in rows} == ROWS
    hits = await index.query(Query(np.array([2, 0, 0, 0.5], np.float32), 3, metadata=True))
    assert hits.keys == ["b", "e", "d"]
    assert hits.distances.tolist() == [0, 1, float(np.float32(2**0.5))]
    assert hits.metadata == [ROWS[key][1] for key in hits.keys]
    odd = await index.query(Query(np.array([2, 0, 0, 0.5], np.float32), 9, parse_filter({"odd": True})))
    assert odd.keys == ["d", "f", "\u00e9"]
    found = await index.get(["a", "c", "b", "e"], vectors=True, metadata=True)
    assert {row.key: row.vector.tolist() for row in found.rows} == {"b": [2, 0, 0, 0.5], "e": [3, 0, 0, 0.5]}


@pytest.mark.parametrize("version", [version for version in VERSIONS if int(version[1:]) >= 4])
@asynchronous
async def test_texts_of_a_golden_root_are_found(version, runtime):
    index = await opened(objects(version), runtime, TEXTS_ID)
    note, tags = TextField("note", "en"), TextField("tags")
    assert list(await index.text_fields()) == [TextFieldStatus(note, True), TextFieldStatus(tags, False)]
    hits = await index.query(Query(None, 9, texts=(TextQuery("note", "x"),)))
    assert hits.keys == ["b", "c", "d"]
    assert len(set(hits.scores)) == 1
    await index.maintenance.compact_all()
    hits = await index.query(Query(None, 9, texts=(TextQuery("tags", "d all"),)))
    assert hits.keys == ["d", "b", "c"]


@pytest.mark.parametrize("version", VERSIONS)
@asynchronous
async def test_rows_of_a_golden_root_are_found_by_a_text_field_of_today(version, runtime):
    index = await opened(objects(version), runtime)
    field = TextField("tags")
    await index.configure_texts([field])
    assert list(await index.text_fields()) == [TextFieldStatus(field, False)]
    await index.maintenance.compact_all()
    hits = await index.query(Query(None, 9, texts=(TextQuery("tags", "d"),)))
    assert hits.keys == ["d"]
    hits = await index.query(Query(None, 9, texts=(TextQuery("tags", "all"),)))
    assert sorted(hits.keys) == sorted(ROWS)


def test_there_is_a_golden_root_of_the_present_format():
    assert [f"v{version}" for version in range(1, segment_index.VERSION + 1)] == VERSIONS
    assert envelope.VERSION == 1
    kinds = {paths.classify(ROOT, key).kind for key in objects(VERSIONS[-1]) if key.startswith(ROOT)}
    assert kinds == {"log", "checkpoint", "segment", "published"}


@pytest.mark.parametrize("version", VERSIONS)
def test_the_segments_of_a_golden_root_are_of_its_version(version):
    """Each structure is there, and its partitions tell of texts since version 3 if it has codes."""
    structures = set()
    for key, body in objects(version).items():
        if not key.endswith(paths.SEGMENT_INDEX):
            continue
        footer = segment_index.decode_footer(key, key.split("/")[1], memoryview(body))
        structures.add((footer.partitioner, footer.codec))
        assert f"v{footer.version}" == version
        in_partitions = footer.version >= 3 and footer.code_size > 0
        assert footer.text_size == (16 if in_partitions else 0)
        assert segment_index.PARTITION_BLOCKS not in footer.sections, "these came later, and may be absent"
        assert ("key_offsets" in footer.sections) == ("metadata_offsets" in footer.sections) == (not in_partitions)
    later = {(spec.partitioner, spec.codec) for spec in STRUCTURES.values()} if version != "v1" else set()
    assert structures == later | {("single", "flat")}


@pytest.mark.parametrize("version", VERSIONS)
def test_checkpoints_tell_the_sizes_of_index_objects_since_version_3(version):
    stored = objects(version)
    (key,) = [key for key in stored if key.startswith(paths.checkpoint_prefix(ROOT))]
    _, payload = envelope.decode(envelope.Kind.CHECKPOINT, key, INDEX_ID, stored[key])
    refs = decode_checkpoint(checkpoint.decode(key, payload).state).segments
    assert len(refs) == 2
    for ref in refs:
        key = paths.segment_key(ROOT, ref.id, paths.SEGMENT_INDEX)
        body = stored[key]
        if version in ("v1", "v2"):
            assert (ref.index_bytes, ref.head_bytes) == (0, 0)
            continue
        footer = segment_index.decode_footer(key, INDEX_ID, memoryview(body))
        assert ref.index_bytes == len(body)
        before = footer.sections["blocks"].offset if version == "v3" else 0  # small ones are read whole now
        assert ref.head_bytes == len(body) - before


@pytest.mark.parametrize("version", VERSIONS)
@asynchronous
async def test_a_golden_root_is_read(runtime, version):
    await assert_reads_all(await opened(objects(version), runtime))


@pytest.mark.parametrize("version", VERSIONS)
@asynchronous
async def test_a_golden_root_is_written_to_and_rewritten(runtime, version):
    index = await opened(objects(version), runtime)
    await index.delete(["never there"])
    await index.maintenance.compact_all()
    await index.maintenance.collect()
    kept = set(objects(version)) & {info.key for info in await index.store.list(ROOT)}
    assert kept <= {paths.published_key(ROOT)}
    assert await check_index(index.store, runtime, INDEX_ID, SPEC) == []
    await assert_reads_all(index)


@pytest.mark.parametrize("version", VERSIONS)
@asynchronous
async def test_a_golden_root_is_found_sound(runtime, version):
    index = await opened(objects(version), runtime)
    assert await check_index(index.store, runtime, INDEX_ID, SPEC) == []


GRID = dict(zip(grid().keys, zip(grid().vectors.tolist(), grid().metadata, strict=True), strict=True))
OF_EACH_STRUCTURE = pytest.mark.parametrize(
    ("version", "index_id", "spec"),
    [(version, *each) for version in VERSIONS[1:] for each in STRUCTURES.items()],
    ids=[f"{version}-{spec.partitioner}+{spec.codec}" for version in VERSIONS[1:] for spec in STRUCTURES.values()],
)


@OF_EACH_STRUCTURE
@asynchronous
async def test_golden_segments_of_each_structure_are_read_and_scanned(runtime, version, index_id, spec):
    """Codes made then have to mean the same now: they are compared with those that the rows give today."""
    index = await opened(objects(version), runtime, index_id, spec)
    assert await check_index(index.store, runtime, index_id, spec) == []
    rows = await list_all(index, full=True)
    wanted = {key: row for key, row in GRID.items() if key != "g9"}
    assert {row.key: (row.vector.tolist(), row.metadata) for row in rows} == wanted
    (segment,) = (await index.snapshots.take()).segments
    assert segment.reader.structure == (spec.partitioner, spec.codec)
    codes = segment.reader.codes
    every = np.arange(len(codes.ends))
    assert (len(every) > 1) == (spec.partitioner != "single")
    assert codes.calibration.partitions_for(10, 0.9) >= 1
    for row in range(0, 64, 7):
        vector = segment.reader.take_vectors(np.array([row]))[0]
        if codes.scanner is not None:
            codes.verify_partitions(every)
            found = codes.scanner.scan(vector, every, 64)
            assert sorted(found.rows.tolist()) == list(range(64))
            assert row in found.rows[:3]
        hits = await index.query(Query(vector, 2, recall=1.0))
        assert segment.reader.key(row) in hits.keys or segment.reader.key(row) == "g9"


@OF_EACH_STRUCTURE
@asynchronous
async def test_golden_segments_of_each_structure_are_rewritten(runtime, version, index_id, spec):
    index = await opened(objects(version), runtime, index_id, spec)
    root = paths.index_root(index_id)
    before = {info.key for info in await index.store.list(root)}
    await index.maintenance.compact_all()
    await index.maintenance.collect()
    assert before & {info.key for info in await index.store.list(root)} <= {paths.published_key(root)}
    assert len(await list_all(index)) == 63
    assert await check_index(index.store, runtime, index_id, spec) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_anyone_reads_the_rows_of_a_golden_root(version):
    files = [
        GOLDEN / version / key for key in objects(version) if key.startswith(ROOT) and key.endswith(paths.ROWS)
    ]
    frame = polars.concat([polars.read_parquet(path) for path in files])
    assert sorted(frame["key"].to_list()) == sorted(["a", "b", "c", "\u00e9", "nul\x00", "b", "d", "e"])
    assert frame.schema["vector"] == polars.Array(polars.Float32, 4)


def with_envelope_version(body: bytes, version: int) -> bytes:
    """The same object as a later format would write it: the magic and the place of the version never change."""
    header_length = struct.unpack_from("<I", body, 12)[0]
    end = 32 + header_length
    head = body[:8] + struct.pack("<H", version) + body[10:end]
    return head + struct.pack("<Q", xxhash.xxh3_64_intdigest(head)) + body[end + 8 :]


def with_segment_version(body: bytes, version: int) -> bytes:
    length, _, magic = struct.unpack_from("<IQ8s", body, len(body) - 20)
    footer = msgspec.msgpack.decode(body[-20 - length : -20])
    text = msgspec.msgpack.encode({**footer, "version": version, "something": "new"})
    return body[: -20 - length] + text + struct.pack("<IQ8s", len(text), xxhash.xxh3_64_intdigest(text), magic)


def damaged_objects(kind: str) -> list[str]:
    mine = [key for key in objects(VERSIONS[-1]) if key.startswith(ROOT) and not key.endswith(paths.ROWS)]
    return [key for key in mine if paths.classify(ROOT, key).kind == kind]


@pytest.mark.parametrize("kind", ["log", "checkpoint", "segment"])
@asynchronous
async def test_an_object_of_a_future_version_is_refused_and_named(runtime, kind):
    change = with_segment_version if kind == "segment" else with_envelope_version
    newest = segment_index.VERSION if kind == "segment" else envelope.VERSION
    assert damaged_objects(kind)
    for key in damaged_objects(kind):
        stored = objects(VERSIONS[-1])
        assert change(stored[key], newest)[:40] == stored[key][:40]
        stored[key] = change(stored[key], newest + 1)
        index = await opened(stored, runtime)
        for _ in range(2):
            with pytest.raises(UnsupportedFormatError, match=f"{key}: format version {newest + 1}"):
                await list_all(index, full=True)
        with pytest.raises(UnsupportedFormatError, match=f"format version {newest + 1}"):
            await index.query(Query(np.ones(4, np.float32), 1))
