"""The wrapper that tells a store's latency from small objects; it is a store like any other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from objectstore.contract import Connections, ObjectStoreContract
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage.cache.pace import SMALL, Pace
from quiver.storage.cache.paced_store import PacedStore

if TYPE_CHECKING:
    from quiver.model.runtime import SystemRuntime

MIB = 1 << 20


class TestPacedStore(ObjectStoreContract):
    @pytest.fixture
    def connections(self, runtime: SystemRuntime) -> Connections:
        store = PacedStore(MemoryStore(runtime), Pace(runtime.monotonic))
        return store, store


class FarStore(MemoryStore):
    """Each get takes so many seconds of a clock of its own."""

    def __init__(self, runtime, seconds):
        super().__init__(runtime)
        self.seconds, self.now = seconds, 0.0

    async def get(self, key, start=0, length=None):
        data = await super().get(key, start, length)
        self.now += self.seconds
        return data


def test_small_objects_that_are_read_whole_tell_the_latency(runtime: SystemRuntime) -> None:
    async def work() -> None:
        inner = FarStore(runtime, 0.4)
        pace = Pace(lambda: inner.now)
        store = PacedStore(inner, pace)
        await store.put_new("small", [bytes(SMALL)])
        await store.put_new("large", [bytes(SMALL + 1)])
        await store.get("large")
        await store.get("small", 0, 10)
        with pytest.raises(ObjectNotFoundError):
            await store.get("absent")
        assert pace.measured.seconds is None
        for _ in range(3):
            assert len(await store.get("small")) == SMALL
        assert pace.measured.seconds == pytest.approx(0.4)

    asyncio.run(work())


class OtherStore(MemoryStore):
    """Answers unlike a store that knows nothing of itself."""

    near = False

    async def is_current(self, key):
        return key == "new"


def test_what_a_store_says_of_itself_is_passed_on(runtime: SystemRuntime) -> None:
    inner = OtherStore(runtime)
    store = PacedStore(inner, Pace(runtime.monotonic))
    assert (store.url, store.resident, store.near) == (inner.url, True, False)
    assert [asyncio.run(store.is_current(key)) for key in ("old", "new")] == [False, True]


@pytest.mark.parametrize("known", [True, False])
def test_a_store_that_is_far_away_is_not_taken_for_a_slow_line(known):
    """By the first large requests of a node, two at once, which a line of any speed answers in half a second."""
    pace = Pace(lambda: 0.0)
    for _ in range(3 if known else 0):
        pace.note(0.5, 100)
    for _ in range(2):
        pace.note(0.51, 4 * MIB, 2.0)
    assert (pace.bandwidth(10) > 5e8) == known
