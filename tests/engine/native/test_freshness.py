"""How fresh reads are: strong ones, eventual ones, and those that ask for a commit."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.contract import INDEX
from engine.native.nodes import SPEC, fresh_nodes, open_index, put
from quiver.engine.engine import Freshness, IndexSealedError, Query
from quiver.model.errors import CorruptObjectError, RequestTimeoutError, StoreUnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore

EVENTUAL = Freshness(eventual=True)


async def ask(index, way, freshness):
    """The keys found, and the commit."""
    if way == "query":
        hits = await index.query(Query(np.ones(2, np.float32), 10), freshness)
        return sorted(hits.keys), hits.commit
    if way == "get":
        found = await index.get(["a", "b", "c"], vectors=False, metadata=False, freshness=freshness)
    else:
        found = await index.list(limit=10, max_bytes=1 << 20, freshness=freshness)
    return sorted(row.key for row in found.rows), found.commit


WAYS = ["query", "get", "list"]


@pytest.mark.parametrize("way", WAYS)
@asynchronous
async def test_eventual_reads_lag_behind_by_the_bound_and_no_more(way, monkeypatch):
    async with fresh_nodes(2, staleness=1000) as (writer, reader):
        await put(writer, {"a": (1, 1)})
        assert await ask(reader, way, EVENTUAL) == (["a"], 1)
        await put(writer, {"b": (2, 2)})
        assert await ask(reader, way, EVENTUAL) == (["a"], 1)
        assert await ask(reader, way, Freshness()) == (["a", "b"], 2)
        await put(writer, {"c": (3, 3)})
        assert await ask(reader, way, EVENTUAL) == (["a", "b"], 2)
        monotonic = reader.runtime.monotonic
        monkeypatch.setattr(reader.runtime, "monotonic", lambda: monotonic() + 1001)
        assert await ask(reader, way, EVENTUAL) == (["a", "b", "c"], 3)


@pytest.mark.parametrize("way", WAYS)
@asynchronous
async def test_a_node_sees_its_own_writes_however_stale(way):
    async with fresh_nodes(1, staleness=1000) as (index,):
        await put(index, {"a": (1, 1)})
        assert await ask(index, way, EVENTUAL) == (["a"], 1)
        await put(index, {"b": (2, 2)})
        assert await ask(index, way, EVENTUAL) == (["a", "b"], 2)


@pytest.mark.parametrize("way", WAYS)
@asynchronous
async def test_other_nodes_see_a_write_by_its_commit(way):
    async with fresh_nodes(2, staleness=1000) as (writer, reader):
        first = await put(writer, {"a": (1, 1)})
        assert await ask(reader, way, EVENTUAL) == (["a"], first)
        second = await put(writer, {"b": (2, 2)})
        assert await ask(reader, way, Freshness(eventual=True, at_least=first)) == (["a"], first)
        assert await ask(reader, way, Freshness(eventual=True, at_least=second)) == (["a", "b"], second)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("eventual", [False, True])
@asynchronous
async def test_a_read_waits_for_a_commit_that_comes(way, eventual):
    async with fresh_nodes(2) as (writer, reader):
        await put(writer, {"a": (1, 1)})
        reading = asyncio.ensure_future(ask(reader, way, Freshness(eventual, at_least=2)))
        await asyncio.sleep(0.05)
        assert not reading.done()
        await put(writer, {"b": (2, 2)})
        assert await reading == (["a", "b"], 2)


@asynchronous
async def test_a_commit_that_does_not_come_is_given_up():
    async with fresh_nodes(1, patience=0.05) as (index,):
        await put(index, {"a": (1, 1)})
        with pytest.raises(RequestTimeoutError, match=r"stands at commit 1; commit 9 did not come"):
            await ask(index, "query", Freshness(at_least=9))


@asynchronous
async def test_who_waits_for_a_commit_learns_of_a_deletion():
    async with fresh_nodes(2) as (writer, reader):
        await put(writer, {"a": (1, 1)})
        reading = asyncio.ensure_future(ask(reader, "query", Freshness(at_least=9)))
        await asyncio.sleep(0.05)
        await writer.seal()
        with pytest.raises(IndexSealedError):
            await reading


class Remote(MemoryStore):
    """A store like one far away, whose gets of log entries wait until they are let through."""

    resident = False

    def __init__(self, runtime):
        super().__init__(runtime)
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False

    async def get(self, key, start=0, length=None):
        if "/log/" in key:
            await self.gate.wait()
            if self.broken:
                raise StoreUnavailableError("no answer")
        return await super().get(key, start, length)


async def remote_nodes(count, **changes):
    runtime = SystemRuntime(threads=2)
    store = Remote(runtime)
    return runtime, store, [await open_index(store, runtime, SPEC, INDEX, **changes) for _ in range(count)]


class Attempts:
    """Work that counts, and fails as told."""

    def __init__(self, *errors):
        self.commits, self.errors = [], list(errors)

    def __call__(self, snapshot, noted):
        self.commits.append((snapshot.commit, noted))
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return snapshot.commit


async def wait_for(condition):
    while not condition():
        await asyncio.sleep(0.001)


@asynchronous
async def test_work_is_done_once_while_it_is_checked_that_nothing_newer_is_there():
    runtime, store, (index,) = await remote_nodes(1)
    await put(index, {"a": (1, 1)})
    store.gate.clear()
    work = Attempts()
    reading = asyncio.ensure_future(index.snapshots.read(work, lambda: "noted"))
    await wait_for(lambda: work.commits)
    assert not reading.done()
    store.gate.set()
    assert await reading == 1
    assert work.commits == [(1, "noted")]
    runtime.close()


@pytest.mark.parametrize("error", [None, CorruptObjectError("damaged"), ZeroDivisionError()])
@asynchronous
async def test_work_on_what_turns_out_to_be_old_is_done_again_and_its_errors_are_forgotten(error):
    runtime, _, (reader, writer) = await remote_nodes(2)
    await put(writer, {"a": (1, 1)})
    await ask(reader, "query", Freshness())
    await put(writer, {"b": (1, 1)})
    work = Attempts(error)
    assert await reader.snapshots.read(work, lambda: None) == 2
    assert [commit for commit, _ in work.commits] == [1, 2]
    runtime.close()


@asynchronous
async def test_errors_of_work_on_what_is_still_the_newest_count():
    runtime, _, (index,) = await remote_nodes(1)
    await put(index, {"a": (1, 1)})
    work = Attempts(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await index.snapshots.read(work, lambda: None)
    assert len(work.commits) == 1
    runtime.close()


@asynchronous
async def test_a_check_that_fails_fails_the_read_whatever_the_work_gave():
    runtime, store, (index,) = await remote_nodes(1)
    await put(index, {"a": (1, 1)})
    store.broken = True
    work = Attempts()
    with pytest.raises(StoreUnavailableError):
        await index.snapshots.read(work, lambda: None)
    store.broken = False
    assert await index.snapshots.read(work, lambda: None) == 1
    runtime.close()


@asynchronous
async def test_eventual_reads_go_on_while_the_store_does_not_answer():
    runtime, store, (index,) = await remote_nodes(1, staleness=1000)
    await put(index, {"a": (1, 1)})
    store.broken = True
    assert await ask(index, "query", EVENTUAL) == (["a"], 1)
    with pytest.raises(StoreUnavailableError):
        await ask(index, "query", Freshness())
    assert await ask(index, "query", EVENTUAL) == (["a"], 1)
    runtime.close()
