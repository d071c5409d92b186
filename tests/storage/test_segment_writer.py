"""Tests of writing segments: both objects or an error, whatever answers are lost."""

from __future__ import annotations

import pytest

from asynchronous import asynchronous
from quiver.format import paths
from quiver.format.segment_index import decode_footer
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.store import ObjectNotFoundError, StoreRefusedError, StoreUnavailableError
from quiver.storage import segment_writer
from quiver.storage.cache.view import BLOCK
from quiver.storage.segment_audit import audit_segment
from quiver.storage.segment_reader import SegmentReader
from storage.scripted_store import claim_existence, fail, lose_answer, refuse
from storage.segments import INDEX_KEY, PARTITIONED, ROWS_KEY, SEGMENT, built, flat_spec, sample, write_segment
from storage.tape import OWNER, ROOT

SPEC = flat_spec(2)


async def write(store, runtime) -> None:
    await write_segment(store, runtime, ROOT, OWNER, SEGMENT, built(sample(3, 2), SPEC))


@asynchronous
async def test_the_rows_are_written_before_the_index(store, runtime):
    await write(store, runtime)
    assert store.puts == [ROWS_KEY, INDEX_KEY]
    audit_segment(await SegmentReader.open(store, ROOT, OWNER, SEGMENT), SPEC)


@pytest.mark.parametrize("fate", [lose_answer, fail, claim_existence], ids=lambda fate: fate.__name__)
@pytest.mark.parametrize("part", [paths.ROWS, paths.SEGMENT_INDEX])
@asynchronous
async def test_writing_survives_lost_answers(store, runtime, fate, part):
    store.next_put(f"/{part}$", fate)
    await write(store, runtime)
    audit_segment(await SegmentReader.open(store, ROOT, OWNER, SEGMENT), SPEC)


@pytest.mark.parametrize("whole", [True, False])
@asynchronous
async def test_the_writer_is_given_the_end_that_searches_begin_with(store, runtime, monkeypatch, whole):
    if not whole:
        monkeypatch.setattr(segment_writer, "_READ_WHOLE", 0)
    segment = built(sample(3000, 64), IndexSpec(64, DistanceMetric.EUCLIDEAN), PARTITIONED)
    written = await write_segment(store, runtime, ROOT, OWNER, SEGMENT, segment)
    body = bytes(await store.get(INDEX_KEY))
    footer = decode_footer(INDEX_KEY, OWNER, memoryview(body))
    start = 0 if whole else footer.sections["blocks"].offset
    assert (written.index_bytes, written.head_bytes) == (len(body), len(body) - start)
    assert written.head == body[start // BLOCK * BLOCK :]


@asynchronous
async def test_a_refusal_ends_the_writing_and_names_no_index(store, runtime):
    store.next_put("/rows.parquet$", refuse)
    with pytest.raises(StoreRefusedError):
        await write(store, runtime)
    with pytest.raises(ObjectNotFoundError):
        await store.get(INDEX_KEY)


@asynchronous
async def test_writing_gives_up_on_a_store_that_never_answers(store, runtime, monkeypatch):
    async def no_sleep(seconds: float) -> None:
        return

    monkeypatch.setattr(runtime, "sleep", no_sleep)
    store.next_put("/rows.parquet$", *[fail] * 6)
    with pytest.raises(StoreUnavailableError):
        await write(store, runtime)
