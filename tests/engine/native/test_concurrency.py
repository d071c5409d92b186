"""Searches run in threads while entries are applied: each sees one commit, whole (I3)."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.native.nodes import fresh_nodes
from engine.reference import make_batch
from quiver.engine.engine import Query
from quiver.engine.native import index as index_module
from quiver.engine.native import searcher
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec

SPEC = IndexSpec(4, DistanceMetric.EUCLIDEAN)
WIDTH = 50
KEYS = [f"k{number}" for number in range(WIDTH)]


@pytest.mark.parametrize("upkeep", [False, True], ids=["tail only", "flushing and merging"])
@asynchronous
async def test_every_answer_is_one_batch_whole(monkeypatch, upkeep):
    monkeypatch.setattr(index_module, "_INLINE_WORK", 0)  # every search in a thread
    changes = {"background": True, "flush_rows": 120, "tail_limit": 10_000} if upkeep else {}
    async with fresh_nodes(2, SPEC, **changes) as (index, other):
        commits: dict[int, int] = {}
        writing = True

        async def write() -> None:
            for number in range(40):
                batch = make_batch(KEYS, np.full((WIDTH, 4), number), [{"batch": number}] * WIDTH)
                commits[await index.put(batch)] = number
                await asyncio.sleep(0)

        async def read(node, condition) -> list[tuple[int, bytes]]:
            seen = []
            target = np.zeros(4, np.float32)
            while writing:
                hits = await node.query(Query(target, WIDTH + 5, condition, metadata=True))
                assert len(hits.keys) in {0, WIDTH}
                assert len(set(hits.metadata)) <= 1
                assert len(set(hits.distances.tolist())) <= 1
                if hits.keys:
                    seen.append((hits.commit, hits.metadata[0]))
                listing = await node.list(limit=1000, max_bytes=1 << 30, metadata=True)
                assert len(listing.rows) in {0, WIDTH}
                assert len({row.metadata for row in listing.rows}) <= 1
                found = await node.get(KEYS, vectors=True, metadata=True)
                assert len({row.metadata for row in found.rows}) <= 1
                assert len({row.vector.tobytes() for row in found.rows}) <= 1
            return seen

        everything = parse_filter({"batch": {"$gte": 0}})
        readers = [
            asyncio.ensure_future(read(*args)) for args in [(index, None), (other, None), (index, everything)]
        ]
        await write()
        writing = False
        seen = await asyncio.gather(*readers)
        assert all(seen)
        for answers in seen:
            assert [commit for commit, _ in answers] == sorted(commit for commit, _ in answers)
            for commit, metadata in answers:
                assert metadata == b'{"batch":%d}' % commits[commit]
        await index.maintenance.wait()
        assert index.maintenance.failures == 0


@asynchronous
async def test_a_search_that_began_before_a_write_does_not_see_it(monkeypatch):
    async with fresh_nodes(1, SPEC) as (index,):
        await index.put(make_batch(KEYS, np.ones((WIDTH, 4)), [{"v": 1}] * WIDTH))
        snapshot = await index.snapshots.take()
        commit = await index.put(make_batch(KEYS[:20], np.full((20, 4), 9.0), [{"v": 2}] * 20))
        await index.delete(KEYS[20:40])
        await index.put(make_batch(["new"], np.ones((1, 4))))
        query = Query(np.ones(4, np.float32), 1000, metadata=True)
        old = searcher.search(snapshot, SPEC, query)
        assert sorted(old.keys) == sorted(KEYS)
        assert set(old.metadata) == {b'{"v":1}'}
        assert old.commit < commit
        filtered = Query(query.vector, 1000, parse_filter({"v": {"$exists": True}}))
        assert sorted(searcher.search(snapshot, SPEC, filtered).keys) == sorted(KEYS)
        assert len((await index.query(query)).keys) == 31
