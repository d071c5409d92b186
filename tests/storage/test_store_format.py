"""The format object is created once, read by everybody, and refused when it is newer or damaged."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from quiver.format import paths
from quiver.format.envelope import Identity, Kind, encode, make_payload
from quiver.model.errors import CorruptObjectError, StoreUnavailableError, UnsupportedFormatError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.storage.store_format import StoreFormat, open_store_format


def stored(content: Any, owner: str = "store") -> MemoryStore:
    """A store whose format object holds `content`."""
    store = MemoryStore(SystemRuntime())
    payload = make_payload([msgspec.msgpack.encode(content)])
    body = encode(Kind.STORE_FORMAT, Identity(paths.STORE_FORMAT, owner, "w", 1), payload)
    asyncio.run(store.put_new(paths.STORE_FORMAT, body))
    return store


def opened(store: MemoryStore) -> StoreFormat:
    return asyncio.run(open_store_format(store, SystemRuntime()))


class LosesTheRace(MemoryStore):
    """Somebody else's format appears between the look and the put."""

    winner: StoreFormat | None = None

    async def put_new(self, key: str, parts: Any) -> None:
        if self.winner is None:
            self.winner = StoreFormat(1, b"w" * 32, 5)
            payload = make_payload([msgspec.msgpack.encode(self.winner)])
            await super().put_new(key, encode(Kind.STORE_FORMAT, Identity(key, "store", "x", 1), payload))
        await super().put_new(key, parts)


class LosesTheAnswer(MemoryStore):
    async def put_new(self, key: str, parts: Any) -> None:
        await super().put_new(key, parts)
        raise StoreUnavailableError("no answer")


def test_a_new_root_gets_a_format_that_later_openings_read() -> None:
    runtime = SystemRuntime()
    store = MemoryStore(runtime)
    first = opened(store)
    assert (first.version, len(first.token_key)) == (1, 32)
    assert abs(first.created - runtime.time()) < 10
    assert opened(store) == first


def test_two_roots_have_different_keys() -> None:
    keys = {opened(MemoryStore(SystemRuntime())).token_key for _ in range(2)}
    assert len(keys) == 2


def test_the_loser_of_a_race_reads_the_winner() -> None:
    store = LosesTheRace(SystemRuntime())
    assert opened(store) == store.winner


def test_after_a_lost_answer_opening_again_reads_what_was_created() -> None:
    store = LosesTheAnswer(SystemRuntime())
    with pytest.raises(StoreUnavailableError):
        opened(store)
    assert opened(store) == opened(store)


def test_a_newer_format_is_refused_whatever_else_it_holds() -> None:
    with pytest.raises(UnsupportedFormatError, match="format version 3"):
        opened(stored({"version": 3, "token_key": ["elsewhere"]}))


@pytest.mark.parametrize(
    "content",
    [{"version": "1"}, [1], {"version": 1, "created": 1}, {"version": 1, "token_key": b"x", "created": 1}],
)
def test_damaged_content_is_refused(content: Any) -> None:
    with pytest.raises(CorruptObjectError):
        opened(stored(content))


def test_a_format_of_another_owner_is_refused() -> None:
    with pytest.raises(CorruptObjectError):
        opened(stored({"version": 1, "token_key": bytes(32), "created": 1}, owner="catalog"))


def test_the_key_does_not_show_in_messages() -> None:
    assert "token_key" not in repr(StoreFormat(1, bytes(32), 1))
