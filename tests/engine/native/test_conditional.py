"""Conditional writes of the native engine: what makes one start again, and what it waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from asynchronous import asynchronous
from engine.conditional_contract import absent, counted
from engine.contract import in_turn, list_all
from engine.native.nodes import everything, fresh_nodes, put
from engine.reference import make_batch
from quiver.engine.native import reservation
from quiver.model.errors import BusyError, StoreUnavailableError
from quiver.model.filter_parser import parse_filter
from quiver.storage.commit_log import LogSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quiver.engine.engine import Row
    from quiver.engine.native.index import NativeIndex
    from quiver.model.types import VectorBatch


def meanwhile(
    decide: Callable[[Sequence[Row]], VectorBatch], *happenings: Callable[[], Awaitable[object]]
) -> tuple[list[int], Callable[[Sequence[Row]], VectorBatch]]:
    """A decision during whose first making things happen; and how many rows each was given."""
    given: list[int] = []
    loop = asyncio.get_running_loop()

    def slow(rows: Sequence[Row]) -> VectorBatch:
        given.append(len(rows))
        if len(given) == 1:
            for happening in happenings:
                asyncio.run_coroutine_threadsafe(happening(), loop).result(5)
        return decide(rows)

    return given, slow


@asynchronous
async def test_a_decision_is_made_again_when_its_rows_were_touched_and_only_then():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 1]})
        batch = make_batch(["b"], [[2, 2]])
        given, decide = meanwhile(absent(batch), lambda: put(other, {"c": [3, 3]}))
        await index.amend(["b"], decide)
        assert given == [0]
        given, decide = meanwhile(absent(batch), lambda: put(other, {"b": [9, 9]}))
        await index.amend(["b"], decide)
        assert given == [1]  # it was there, so that there was nothing to write
        given, decide = meanwhile(counted, lambda: put(other, {"b": [4, 4]}, count=7), lambda: other.delete(["a"]))
        await index.amend(["b"], decide, vectors=True, metadata=True)
        assert given == [1, 1]
        assert (await everything(other))["b"] == ([4, 4], b'{"count":8}')


@asynchronous
async def test_a_decision_is_made_again_when_a_checkpoint_came():
    """What was touched before it is known no more."""
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 1]})
        given, decide = meanwhile(
            counted,
            lambda: put(other, {"a": [5, 5]}, count=1),
            other.maintenance.flush,
            index.log.refresh,
        )
        await index.amend(["a"], decide, vectors=True, metadata=True)
        assert len(given) == 2
        assert await everything(other) == {"a": ([5, 5], b'{"count":2}')}


@asynchronous
async def test_merges_and_collections_in_between_lose_nothing():
    async with fresh_nodes(2) as (index, other):
        for number in range(3):
            await put(other, {"a": [number, 0], f"k{number}": [0, number]}, count=number)
            await other.maintenance.flush()
        given, decide = meanwhile(counted, other.maintenance.compact_all, other.maintenance.collect)
        await index.amend(["a", "k1"], decide, vectors=True, metadata=True)
        assert given[-1] == 2
        rows = await everything(other)
        assert rows["a"] == ([2, 0], b'{"count":3}')
        assert rows["k1"] == ([0, 1], b'{"count":2}')


@asynchronous
async def test_conditional_writes_of_distinct_keys_share_an_entry():
    async with fresh_nodes(1) as (index,):
        before = await put(index, {"a": [1, 1]})
        commits = await asyncio.gather(
            *(index.amend([f"k{n}"], absent(make_batch([f"k{n}"], [[n, n]]))) for n in range(4)),
            *(index.put(make_batch([f"p{n}"], [[n, n]])) for n in range(4)),
        )
        assert len(set(commits)) < len(commits)  # how many wait together depends on how long an entry takes
        assert min(commits) > before
        assert len(await everything(index)) == 9


@asynchronous
async def test_of_those_with_one_key_each_has_an_entry_of_its_own():
    async with fresh_nodes(1) as (index,):
        await put(index, {"a": [1, 1]})
        writes = (index.amend(["a"], counted, vectors=True, metadata=True) for _ in range(5))
        commits = await asyncio.gather(*writes)
        assert len(set(commits)) == 5
        assert await everything(index) == {"a": ([1, 1], b'{"count":5}')}


@asynchronous
async def test_others_who_are_always_quicker_make_it_busy():
    async with fresh_nodes(2, log=LogSettings(deadline=0.3)) as (index, other):
        await put(index, {"a": [1, 1]})

        def decide(rows):
            asyncio.run_coroutine_threadsafe(put(other, {"a": [2, 2]}), loop).result(5)
            return counted(rows)

        loop = asyncio.get_running_loop()
        with pytest.raises(BusyError, match="are being changed by others"):
            await index.amend(["a"], decide, vectors=True, metadata=True)
        assert await everything(index) == {"a": ([2, 2], b"{}")}


# ---------------------------------------------------------------- loads


async def announce(index: NativeIndex) -> str:
    """A load that is about to be published, and is never heard of again; its segment."""
    segment = await reservation.reserve(index)
    await reservation.close(index, segment)
    return segment


@asynchronous
async def test_a_conditional_write_waits_for_a_load_that_is_being_published():
    async with fresh_nodes(2, log=LogSettings(deadline=0.3)) as (index, other):
        await put(index, {"a": [1, 1]})
        segment = await announce(other)
        for write in (
            lambda: index.amend(["b"], absent(make_batch(["b"], [[2, 2]]))),
            lambda: index.delete_matching(parse_filter({"x": {"$exists": False}}), limit=5),
        ):
            with pytest.raises(BusyError):
                await write()
        await put(index, {"c": [3, 3]})  # others need not wait
        writing = asyncio.ensure_future(index.amend(["b"], absent(make_batch(["b"], [[2, 2]]))))
        await asyncio.sleep(0.05)
        await reservation.release(other, segment)
        await writing
        assert sorted(row.key for row in await list_all(other)) == ["a", "b", "c"]


@asynchronous
async def test_a_load_that_nobody_has_heard_of_for_long_is_given_up(monkeypatch):
    monkeypatch.setattr(reservation, "_AT_WORK", 0.0)
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 1]})
        segment = await announce(other)
        await asyncio.sleep(0.01)
        await index.amend(["b"], absent(make_batch(["b"], [[2, 2]])))
        assert not await reservation.is_there(other, segment)
        with pytest.raises(reservation.ReservationLostError):
            await reservation.close(other, segment)


@asynchronous
async def test_a_load_that_fails_while_it_is_published_is_in_nobody_s_way():
    async with fresh_nodes(2) as (index, other):
        await put(index, {"a": [1, 1]})
        real = index.log.append

        async def broken(*others, **named):
            raise StoreUnavailableError("no answer")

        index.log.append = broken
        with pytest.raises(StoreUnavailableError):
            await index.load(in_turn(make_batch(["b"], [[2, 2]])))
        index.log.append = real
        assert not index.state.reserved
        await other.amend(["b"], absent(make_batch(["b"], [[3, 3]])))
        assert (await everything(index))["b"] == ([3, 3], b"{}")
