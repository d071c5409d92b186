"""Tests of the life of a text field: backfill, what it survives, and who does it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.contract import INDEX, in_turn
from engine.native.nodes import SETTINGS, fresh_nodes, open_index, segment_ids, stalled_flush
from engine.native.test_pins import CLONE
from engine.reference import Model, make_batch
from engine.text_contract import BODY, TITLE, assert_finds, text_batch, text_spec
from quiver.engine.engine import Query, TextFieldBuildingError, TextFieldStatus, TextQuery
from quiver.engine.native import compaction, flush, load, maintenance
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.fsck import check_index
from quiver.engine.native.rebuild import rebuild
from quiver.engine.native.state import SegmentRef
from quiver.format import paths
from quiver.model.types import TextField
from quiver.text.analysis import ANALYSIS_VERSION

SPEC = text_spec(texts=[TITLE])
TEXTS = (TextQuery("body", "word0 word1"), TextQuery("title", "word2"))


async def statuses(index) -> list[TextFieldStatus]:
    return list(await index.text_fields())


async def with_segments(index, count: int = 2) -> Model:
    """So many segments, all but the last with tombstones, and a tail."""
    model, rng = Model(SPEC.metric, texts=[TITLE]), np.random.default_rng(count)
    for step in range(count + 1):
        if step:
            await index.maintenance.flush()
        names = [f"k{number}" for number in range(10 * step, 10 * step + 25)] if step < count else ["k3", "tail"]
        batch = text_batch(rng, names)
        await index.put(batch)
        model.put(batch)
    assert len(segment_ids(index)) == count
    return model


async def add_body(index, model: Model) -> None:
    await index.configure_texts([BODY])
    model.texts.append(BODY)
    assert await statuses(index) == [TextFieldStatus(TITLE, True), TextFieldStatus(BODY, False)]
    with pytest.raises(TextFieldBuildingError):
        await index.query(Query(None, 5, texts=TEXTS))


async def assert_serves(index, model: Model) -> None:
    assert await statuses(index) == [TextFieldStatus(field, True) for field in model.texts]
    await assert_finds(index, model, Query(None, 100, metadata=True, texts=TEXTS))
    await assert_finds(index, model, Query(np.ones(2, np.float32), 100, texts=TEXTS))


# ---------------------------------------------------------------- who backfills


@asynchronous
async def test_compacting_makes_a_new_field_searchable_even_where_there_is_one_segment():
    async with fresh_nodes(2, SPEC) as (index, other):
        model = await with_segments(index, 1)
        await index.maintenance.compact_all()
        assert len(segment_ids(index)) == 1
        await add_body(index, model)
        await index.maintenance.compact_all()
        await assert_serves(index, model)
        await assert_serves(other, model)
        before = segment_ids(index)
        await index.maintenance.compact_all()
        assert segment_ids(index) == before


@asynchronous
async def test_the_node_that_is_asked_backfills_at_once():
    async with fresh_nodes(1, SPEC, background=True, tier_fanout=100) as (index,):
        model = await with_segments(index, 3)
        await index.maintenance.wait()
        await add_body(index, model)
        await index.maintenance.wait()
        await assert_serves(index, model)
        assert index.maintenance.failures == 0
        assert all(ref.texts == [TITLE, BODY] for ref in index.state.segments)


@asynchronous
async def test_a_writer_leaves_it_to_a_maintainer():
    async with fresh_nodes(1, SPEC, background=True, reluctant=True) as (writer,):
        maintainer = await open_index(writer.store, writer.runtime, SPEC, tier_fanout=100)
        model = await with_segments(writer)
        await add_body(writer, model)
        await writer.maintenance.wait()
        assert not (await statuses(writer))[1].active
        for _ in range(4):
            assert await maintainer.maintenance.tend()
        await assert_serves(writer, model)
        before = segment_ids(maintainer)
        assert await maintainer.maintenance.tend()
        assert segment_ids(maintainer) == before


@asynchronous
async def test_a_backfill_whose_node_died_is_taken_up_by_who_is_asked_for_the_field(monkeypatch):
    async with fresh_nodes(1, SPEC) as (index,):
        model = await with_segments(index)
        await add_body(index, model)  # and goes away
        other = await open_index(index.store, index.runtime, SPEC, background=True, tier_fanout=100)
        for _ in range(3):
            assert not (await statuses(other))[1].active
            await other.maintenance.wait()
        monkeypatch.setattr(maintenance, "_STALLED", 0.0)
        await statuses(other)
        await other.maintenance.wait()
        await assert_serves(other, model)


@asynchronous
async def test_a_deleted_field_is_not_worth_a_rewrite_and_goes_with_the_next_merge():
    async with fresh_nodes(1, SPEC, background=True, tier_fanout=100) as (index,):
        await with_segments(index)
        await index.maintenance.compact_all()
        before = segment_ids(index)
        await index.configure_texts(delete=["title"])
        await index.maintenance.tend()
        await index.maintenance.wait()
        assert segment_ids(index) == before
        await index.put(make_batch(["more"], [[1, 1]]))
        await index.maintenance.compact_all()
        assert [ref.texts for ref in index.state.segments] == [[]]


def ref_with(*texts: TextField, analysis: int = ANALYSIS_VERSION, nbytes: int = 10) -> SegmentRef:
    return SegmentRef(paths.segment_id(1, nbytes, "0" * 32), 100, nbytes, texts=list(texts), analysis=analysis)


def test_the_smallest_segment_that_lacks_a_field_is_rewritten_first_and_none_of_a_newer_analysis():
    whole, large, small = ref_with(TITLE, BODY), ref_with(TITLE, nbytes=1 << 30), ref_with(BODY, nbytes=1 << 25)
    settings = SETTINGS
    chosen = compaction.choose([whole, large, small], settings, [TITLE, BODY])
    assert chosen == [small]
    assert compaction.choose([whole, large], settings, [TITLE, BODY]) == [large]
    assert compaction.choose([whole, large], settings, [TITLE]) == []
    newer = ref_with(TITLE, BODY, analysis=ANALYSIS_VERSION + 1, nbytes=1 << 30)
    older = ref_with(TITLE, BODY, analysis=ANALYSIS_VERSION - 1, nbytes=1 << 25)
    assert compaction.choose([newer], settings, [TITLE]) == []
    assert not newer.holds(TITLE)
    assert compaction.choose([older], settings, [TITLE]) == [older]


# ---------------------------------------------------------------- work under way


@asynchronous
async def test_a_flush_under_way_does_not_take_a_new_field_back():
    async with fresh_nodes(2, text_spec(texts=[])) as (index, other):
        model = Model(SPEC.metric)
        batch = text_batch(np.random.default_rng(1), [f"k{n}" for n in range(20)])
        await index.put(batch)
        model.put(batch)
        async with stalled_flush(index) as flushing:
            await other.configure_texts([TITLE])
            assert await statuses(other) == [TextFieldStatus(TITLE, False)]
        assert await flushing
        assert await statuses(other) == [TextFieldStatus(TITLE, False)]
        await other.maintenance.compact_all()
        model.texts.append(TITLE)
        for node in (index, other):
            assert await statuses(node) == [TextFieldStatus(TITLE, True)]
            await assert_finds(node, model, Query(None, 50, texts=(TextQuery("title", "word0 word1"),)))


@asynchronous
async def test_a_load_that_began_before_a_field_is_built_with_it(monkeypatch):
    async with fresh_nodes(2, text_spec(texts=[])) as (index, other):
        rng = np.random.default_rng(2)
        batch = text_batch(rng, [f"k{n}" for n in range(30)])
        built = []
        real = load.begin_segment

        def slow(source, spec, options):
            built.append(options.texts)
            return real(source, spec, options)

        monkeypatch.setattr(load, "begin_segment", slow)
        real_reserve = load.reserve

        async def reserve_late(index):
            if len(built) == 1:  # the first segment is built already
                await other.configure_texts([TITLE])
                await other.maintenance.flush()
                assert await statuses(other) == [TextFieldStatus(TITLE, True)]
            return await real_reserve(index)

        monkeypatch.setattr(load, "reserve", reserve_late)
        assert (await index.load(in_turn(batch))).rows == 30
        assert built == [(), (TITLE,)]
        model = Model(SPEC.metric, texts=[TITLE])
        model.put(batch)
        for node in (index, other):
            assert await statuses(node) == [TextFieldStatus(TITLE, True)]
            await assert_finds(node, model, Query(None, 50, texts=(TextQuery("title", "word0 word1"),)))
        assert [one.segment for one in index.state.reserved if not one.published] == []


@asynchronous
async def test_a_merge_that_began_before_a_field_was_searchable_is_done_again(monkeypatch):
    async with fresh_nodes(2, text_spec(texts=[TITLE])) as (index, other):
        model = await with_segments(index, 3)
        await index.maintenance.flush()
        await index.configure_texts(delete=["title"])
        merged = []
        real = compaction._merge

        def merge(opened, spec, options):
            merged.append(options.texts)
            return real(opened, spec, options)

        monkeypatch.setattr(compaction, "_merge", merge)
        real_reserve = compaction.reserve

        async def reserve_late(index):
            if len(merged) == 1:  # the segments still have the posting lists of the field
                await other.configure_texts([TITLE])
                await other.maintenance.flush()
                assert (await statuses(other))[0].active
            return await real_reserve(index)

        monkeypatch.setattr(compaction, "reserve", reserve_late)
        await index.maintenance.compact_all()
        assert merged == [(), (TITLE,)]
        assert await statuses(index) == [TextFieldStatus(TITLE, True)]
        query = Query(None, 50, texts=(TextQuery("title", "word0 word1"),))
        await assert_finds(index, model, query)
        assert index.state.reserved == []


@asynchronous
async def test_two_nodes_that_backfill_at_once_lose_nothing():
    async with fresh_nodes(2, SPEC, background=True, tier_fanout=100) as nodes:
        model = await with_segments(nodes[0], 3)
        await asyncio.gather(nodes[0].configure_texts([BODY]), nodes[1].maintenance.compact_all())
        await nodes[1].configure_texts([TextField("more")])
        for node in nodes:
            await node.maintenance.wait()
            await node.maintenance.compact_all()
        model.texts += [BODY, TextField("more")]
        for node in nodes:
            await assert_serves(node, model)


# ---------------------------------------------------------------- what fields survive


@asynchronous
async def test_text_fields_outlive_the_log_entries_that_made_them():
    async with fresh_nodes(1, SPEC) as (index,):
        model = await with_segments(index)
        await add_body(index, model)
        await index.maintenance.compact_all()
        await index.maintenance.collect()
        assert await index.store.list(f"{index.root}log/") == []
        await assert_serves(await open_index(index.store, index.runtime, SPEC), model)


@asynchronous
async def test_snapshots_and_clones_have_the_text_fields_of_their_commit():
    async with fresh_nodes(1, SPEC) as (index,):
        engine = NativeEngine(index.store, index.runtime, SETTINGS)
        model = await with_segments(index)
        await add_body(index, model)
        await index.maintenance.compact_all()
        await engine.snapshot(INDEX, SPEC, "monday")
        await index.configure_texts([TextField("more")], ["title"])
        await engine.clone(INDEX, SPEC, CLONE, "monday")
        clone = await open_index(index.store, index.runtime, SPEC, CLONE)
        await assert_serves(clone, model)
        await clone.configure_texts(delete=["body"])
        assert [status.field.key for status in await statuses(index)] == ["body", "more"]
        assert await statuses(clone) == [TextFieldStatus(TITLE, True)]
        late = "e" * 32
        await engine.clone(INDEX, SPEC, late, None)
        assert [status.field.key for status in await statuses(await engine.open(late, SPEC))] == ["body", "more"]


@asynchronous
async def test_a_rebuilt_segment_has_posting_lists():
    async with fresh_nodes(1, SPEC) as (index,):
        model = await with_segments(index)
        for ref in list(index.state.segments):
            await index.store.delete([paths.segment_key(index.root, ref.id, paths.SEGMENT_INDEX)])
        fresh = await open_index(index.store, index.runtime, SPEC)
        assert len(await rebuild(fresh)) == len(index.state.segments)
        assert await check_index(index.store, index.runtime, INDEX, SPEC) == []
        assert await statuses(fresh) == [TextFieldStatus(TITLE, True)]
        await assert_finds(fresh, model, Query(None, 50, texts=TEXTS[1:]))


@asynchronous
async def test_a_checkpoint_that_claims_other_text_fields_is_noticed(monkeypatch):
    real = flush.SegmentRef

    def claims(*args, texts, **named):
        return real(*args, texts=[*texts, TextField("more")], **named)

    async with fresh_nodes(1, SPEC) as (index,):
        with monkeypatch.context() as patched:
            patched.setattr(flush, "SegmentRef", claims)
            await index.put(text_batch(np.random.default_rng(3), ["a", "b"]))
            await index.maintenance.flush()
        (finding,) = await check_index(index.store, index.runtime, INDEX, SPEC)
        assert "text fields" in finding.problem


@asynchronous
async def test_a_text_field_does_not_change_a_vector_query():
    async with fresh_nodes(1, SPEC) as (index,):
        await index.put(make_batch(["a", "b"], [[1, 0], [2, 0]], [{"title": "x"}, {}]))
        await index.maintenance.flush()
        hits = await index.query(Query(np.ones(2, np.float32), 5))
        assert (hits.keys, hits.scores) == (["a", "b"], None)
        assert index.state.tail._texts == {}
