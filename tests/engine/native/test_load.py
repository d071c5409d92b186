"""Tests of loads on the native engine: what they supersede wherever it lies, and what they leave behind."""

from __future__ import annotations

import asyncio
import errno

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.contract import in_turn, random_batch, scan_all
from engine.native.nodes import everything, fresh_nodes, names, open_index, put, segment_ids
from engine.reference import Model, make_batch
from quiver.model.errors import StoreUnavailableError, ValidationError
from quiver.storage.spool import Spool


async def stored_segments(index) -> set[str]:
    return {name.split("/")[1] for name in await names(index, "segment")}


@asynchronous
async def test_a_load_supersedes_rows_in_segments_in_the_tail_and_under_tombstones():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0], "b": [1, 0], "c": [1, 0], "stays": [1, 0]}, old=1)
        await index.maintenance.flush()
        await index.delete(["b"])
        await index.maintenance.flush()  # b is under a tombstone
        await put(index, {"d": [1, 0], "e": [1, 0], "tail": [1, 0]}, old=1)
        await index.delete(["e", "c"])  # c by a tombstone that is only in the tail
        await index.load(in_turn(make_batch("abcdef", [[2, 2]] * 6, [{"new": 2}] * 6)))
        expected = {key: ([2, 2], b'{"new":2}') for key in "abcdef"}
        expected |= {key: ([1, 0], b'{"old":1}') for key in ("stays", "tail")}
        for node in (index, other, await open_index(index.store, index.runtime)):
            assert await everything(node) == expected
        # Of the first segment one row is alive, the load is whole, and the tail was flushed without d.
        live = sorted(ref.rows - len(ref.dead()) for ref in index.state.segments)
        assert live == [1, 1, 6]
        assert index.state.tail.rows == 0


@asynchronous
async def test_a_segment_whose_rows_are_all_loaded_anew_is_dropped():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0], "b": [1, 0]})
        await index.maintenance.flush()
        before = segment_ids(index)
        await index.load(in_turn(make_batch("ab", [[2, 2]] * 2)))
        assert not set(before) & set(segment_ids(index))
        await index.maintenance.collect()
        assert await stored_segments(index) == set(segment_ids(index))


@asynchronous
async def test_a_load_adds_one_entry_to_the_log_which_says_nothing():
    async with fresh_nodes(1) as (index,):
        commit = await put(index, {"a": [1, 0]})
        loaded = await index.load(in_turn(make_batch("bc", [[2, 2]] * 2)))
        assert loaded == (2, commit + 1)
        assert index.log.slot == commit + 1
        assert await put(index, {"d": [1, 0]}) == commit + 2


@asynchronous
async def test_rows_that_cannot_be_taken_in_end_a_load_when_the_reading_under_way_has_ended(monkeypatch):
    def full(_self, _batch):
        raise OSError(errno.ENOSPC, "no space left on device")

    ended = []

    async def batches():
        yield make_batch("ab", [[2, 2]] * 2)
        await asyncio.sleep(0.05)
        ended.append(True)
        yield make_batch("cd", [[2, 2]] * 2)

    monkeypatch.setattr("quiver.storage.spooled_rows.SpooledRows.append", full)
    async with fresh_nodes(1) as (index,):
        given = batches()
        with pytest.raises(OSError, match="no space left"):
            await index.load(given)
        assert ended
        await given.aclose()  # which fails while it is being read
        assert await everything(index) == {}


@asynchronous
async def test_a_source_that_fails_ends_a_load():
    async def batches():
        yield make_batch("ab", [[2, 2]] * 2)
        raise ValidationError("unsound")

    async with fresh_nodes(1) as (index,):
        with pytest.raises(ValidationError, match="unsound"):
            await index.load(batches())
        assert await everything(index) == {}


@pytest.mark.parametrize("floats", [1 << 21, 0], ids=["exact", "partitioned"])
@asynchronous
async def test_loads_flushes_merges_and_collections_keep_every_row(floats):
    async with fresh_nodes(2, exact_floats=floats, spool=Spool(memory_bytes=1 << 10)) as (index, other):
        rng, model = np.random.default_rng(4), Model(index.spec.metric)
        for step in range(6):
            node = (index, other)[step % 2]
            batches = [
                random_batch(rng, [f"k{n}" for n in rng.choice(150, 50, replace=False)], 2) for _ in range(3)
            ]
            for batch in batches:
                model.put(batch)
            if step % 3:
                await node.load(in_turn(*batches))
            else:
                for batch in batches:
                    await node.put(batch)
            gone = [f"k{n}" for n in rng.choice(150, 5, replace=False)]
            await other.delete(gone)
            model.delete(gone)
            if step % 2:
                await index.maintenance.flush()
            if step == 3:
                await other.maintenance.compact_tier()
                await other.maintenance.collect()
            expected = {key: (row.vector.tolist(), row.metadata) for key, row in model.rows.items()}
            assert await everything(index) == await everything(other) == expected
        await other.maintenance.compact_all()
        await other.maintenance.collect()
        assert await stored_segments(other) == set(segment_ids(other))
        assert await everything(await open_index(index.store, index.runtime)) == expected
        assert sorted(row.key for row in await scan_all(index, 9)) == sorted(expected)


@asynchronous
async def test_a_load_that_breaks_off_leaves_no_object():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        before = [info.key for info in await index.store.list("")]

        async def broken():
            yield make_batch("bc", [[2, 2]] * 2)
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            await index.load(broken())
        assert [info.key for info in await index.store.list("")] == before


@asynchronous
async def test_a_store_that_fails_while_a_load_is_written_harms_nothing(monkeypatch):
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 0]})
        real = index.store.put_new

        async def broken(key, parts):
            if key.endswith("/index"):
                raise StoreUnavailableError("no answer")
            await real(key, parts)

        async def no_sleep(seconds):
            return

        monkeypatch.setattr(index.runtime, "sleep", no_sleep)
        index.store.put_new = broken
        with pytest.raises(StoreUnavailableError):
            await index.load(in_turn(make_batch("ab", [[2, 2]] * 2)))
        index.store.put_new = real
        assert await everything(index) == await everything(other) == {"a": ([1, 0], b"{}")}
        await index.load(in_turn(make_batch("ab", [[3, 3]] * 2)))
        assert await everything(other) == {"a": ([3, 3], b"{}"), "b": ([3, 3], b"{}")}


@asynchronous
async def test_what_was_accepted_and_written_is_counted():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 0]})
        await index.maintenance.flush()
        first = index.state.contents.volume
        await index.load(in_turn(make_batch([f"k{n}" for n in range(100)], np.ones((100, 2)))))
        second = index.state.contents.volume
        assert 0 < first.accepted < second.accepted
        assert second.accepted - first.accepted >= 100 * (8 + 2)
        loaded = max(index.state.segments, key=lambda ref: ref.rows)
        assert second.written - first.written == loaded.nbytes
        await index.maintenance.compact_all()
        assert index.state.contents.volume.accepted == second.accepted
        assert index.state.contents.volume.written > second.written
