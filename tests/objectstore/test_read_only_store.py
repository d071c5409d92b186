"""Tests of the store that is only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from objectstore.contract import run
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.read_only_store import ReadOnlyStore
from quiver.objectstore.store import StoreRefusedError

if TYPE_CHECKING:
    from quiver.model.runtime import SystemRuntime


def test_it_reads_and_refuses_whatever_would_change_the_store(runtime: SystemRuntime) -> None:
    inner = MemoryStore(runtime)

    async def work() -> None:
        await inner.put_new("a", [b"123"])
        store = ReadOnlyStore(inner)
        assert await store.get("a", 1) == b"23"
        assert await store.list("") == await inner.list("")
        assert await store.stands("a", b"12", ("b",))
        assert not await store.stands("a", b"12", ("a",))
        for put in (store.put_new, store.put_large):
            with pytest.raises(StoreRefusedError, match="only reads"):
                await put("b", [b"1"])
        with pytest.raises(StoreRefusedError, match="only reads"):
            await store.delete(["a"])
        assert [info.key for info in await inner.list("")] == ["a"]

    run(work())
