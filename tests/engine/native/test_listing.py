"""Tests of listing and looking up when hashes collide: the key decides."""

from __future__ import annotations

import numpy as np

from asynchronous import asynchronous
from engine.contract import list_all
from engine.native.nodes import everything, fresh_nodes, put
from quiver.engine.native import lookup, tail
from quiver.storage import row_source


@asynchronous
async def test_keys_that_share_a_hash_are_paged_found_and_replaced_one_by_one(monkeypatch):
    for module, name in ((tail, "key_hashes"), (lookup, "key_hashes"), (row_source, "utf8_hashes")):
        monkeypatch.setattr(module, name, lambda keys: np.full(len(list(keys)), 1 << 63, np.uint64))
    async with fresh_nodes(1) as (index,):
        keys = [f"k{number:02}" for number in range(20)]
        await put(index, {key: [1, 0] for key in keys[::2]})
        await index.maintenance.flush()
        await put(index, {key: [2, 0] for key in keys[1::4]})
        await index.maintenance.flush()
        await put(index, {key: [3, 0] for key in keys[3::4]})
        await put(index, {"k04": [9, 9]})
        await index.delete(["k06"])
        left = [key for key in keys if key != "k06"]
        for limit in (1, 3, 100):
            assert [row.key for row in await list_all(index, limit=limit)] == left
            parts = [await list_all(index, limit=limit, segment=part, segment_count=2) for part in range(2)]
            assert [[row.key for row in part] for part in parts] == [[], left]
        assert (await everything(index))["k04"][0] == [9, 9]
        await index.maintenance.compact_all()
        assert sorted(await everything(index)) == left
