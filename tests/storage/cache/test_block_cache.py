"""The block cache: waves of few requests, one flight for each block, a memory budget, and never a wrong byte."""

from __future__ import annotations

import asyncio
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from asynchronous import asynchronous
from quiver.model.errors import CorruptObjectError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.store import ObjectNotFoundError, StoreUnavailableError
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.cache.block_cipher import KEY_BYTES, BlockCipher
from quiver.storage.cache.disk_tier import DiskTier, Held, Shelf
from quiver.storage.cache.gate import Gate, Urgency
from quiver.storage.cache.view import BLOCK, Missing, MissingBytesError, WholeView, covering

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.storage.cache.cached_view import CachedView

BLOCKS = 40
SIZE = BLOCKS * BLOCK - 1000
BODY = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8).tobytes()


class Ranges(MemoryStore):
    """Notes the ranges that are read, and can be made to wait or to fail."""

    def __init__(self, runtime):
        super().__init__(runtime)
        self.read: list[tuple[int, int]] = []
        self.failing = 0
        self.go = asyncio.Event()
        self.go.set()

    async def get(self, key, start=0, length=None):
        self.read.append((start, length))
        await asyncio.sleep(0)
        await self.go.wait()
        if self.failing:
            self.failing -= 1
            raise StoreUnavailableError("not now")
        return await super().get(key, start, length)


class Bench:
    """A cache over one object."""

    def __init__(self, budget: int = 1 << 30, disk: DiskTier | None = None, width: int = 32) -> None:
        self.runtime = SystemRuntime(threads=2)
        self.store = Ranges(self.runtime)
        self.cache = BlockCache(self.store, self.runtime, budget, disk, width)

    async def view(self) -> CachedView:
        if not await self.store.list("a"):
            await self.store.put_new("a", [BODY])
        return self.cache.open("a", SIZE)

    async def read(self, view: CachedView, *blocks: int) -> None:
        """As one query, look at these blocks."""
        await self.cache.complete(partial(look, view, np.array(blocks)))

    async def settle(self) -> None:
        """Wait for what goes on in the background."""
        while self.runtime._tasks:
            await asyncio.gather(*self.runtime._tasks)


def look(view: CachedView, blocks: np.ndarray) -> None:
    """Require blocks, and see that they are what they should be."""
    starts = blocks * BLOCK
    ends = np.minimum(starts + BLOCK, SIZE)
    view.require(starts, ends)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        assert bytes(view.data[start:end]) == BODY[start:end]


def held(view: CachedView) -> list[int]:
    return np.flatnonzero(view.present).tolist()


@asynchronous
async def test_one_wave_brings_all_that_is_missing_with_near_ranges_as_one_request():
    bench = Bench()
    view = await bench.view()
    await bench.read(view, 1, 2, 4, 39)
    assert sorted(bench.store.read) == [(BLOCK, 4 * BLOCK), (39 * BLOCK, BLOCK - 1000)]
    assert held(view) == [1, 2, 3, 4, 39]
    assert bench.cache.nbytes == 5 * BLOCK - 1000
    bench.store.read.clear()
    await bench.read(view, 1, 3, 39)
    assert bench.store.read == []


SPREAD = np.arange(0, BLOCKS, 2)


@asynchronous
async def test_a_query_keeps_to_eleven_requests_a_wave_and_takes_narrow_gaps_along():
    bench = Bench()
    bench.cache.pace.seconds = 0  # no gaps fetched along but for that
    view = await bench.view()
    await bench.read(view, *SPREAD.tolist())
    assert len(bench.store.read) == 11
    assert bench.cache.counts.fetched == len(SPREAD) + len(SPREAD) - 11
    assert bench.cache.counts.missed == len(SPREAD)


@asynchronous
async def test_requests_that_a_wave_leaves_over_are_the_next_ones():
    bench = Bench()
    view = await bench.view()
    bench.cache.pace.seconds = 0
    first = np.arange(0, 8, 2)
    waves = []

    def work() -> None:
        waves.append(len(bench.store.read))
        bench.cache.pace.seconds = 0
        look(view, first)
        look(view, SPREAD[4:])

    await bench.cache.complete(work)
    assert np.diff(waves).tolist() == [4, len(SPREAD) - 4], "16 of the 19 that there are"


@asynchronous
async def test_objects_share_the_requests_of_a_wave():
    bench = Bench()
    bench.cache.pace.seconds = 0
    view = await bench.view()
    await bench.store.put_new("b", [BODY])
    other, missing = bench.cache.open("b", SIZE), Missing()

    def work() -> None:
        for each in (view, other):
            with missing:
                look(each, SPREAD[:8])
        missing.raise_any()

    with missing:
        work()
    await bench.cache.fetch(missing._wanted)
    assert len(bench.store.read) == 11
    for each in (view, other):
        look(each, SPREAD[:8])


@asynchronous
async def test_what_is_not_for_a_query_has_as_many_requests_as_it_takes():
    bench = Bench()
    bench.cache.pace.seconds = 0
    view = await bench.view()
    await bench.cache.complete(partial(look, view, SPREAD), urgency=Urgency.WARMING)
    assert len(bench.store.read) == len(SPREAD)


@pytest.mark.parametrize(("budget", "rate"), [(8 * 8 * BLOCK, 85e6), (1 << 30, 8 * BLOCK)])
@asynchronous
async def test_a_small_cache_and_a_slow_line_take_few_blocks_along(budget, rate):
    """At most eight here, and nine would have to."""
    bench = Bench(budget=budget)
    bench.cache.pace.seconds, bench.cache.pace.rate = 0, rate
    await bench.read(await bench.view(), *SPREAD.tolist())
    assert len(bench.store.read) == len(SPREAD)


@asynchronous
async def test_what_is_coming_for_another_query_counts_neither_as_a_request_nor_twice():
    bench = Bench()
    bench.cache.pace.seconds = 0
    view = await bench.view()
    bench.store.go.clear()
    first = asyncio.create_task(bench.read(view, *SPREAD[:11].tolist()))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(bench.read(view, *SPREAD.tolist()))
    await asyncio.sleep(0.01)
    bench.store.go.set()
    await asyncio.gather(first, second)
    assert len(bench.store.read) == len(SPREAD)
    assert not view.flying


@asynchronous
async def test_long_ranges_come_in_pieces():
    bench = Bench()
    big = bytes(200 * BLOCK)
    await bench.store.put_new("big", [big])
    view = bench.cache.open("big", len(big))
    await bench.cache.complete(lambda: view.require(0, len(big)))
    assert sorted(bench.store.read) == [
        (first * BLOCK, min(64, 200 - first) * BLOCK) for first in range(0, 200, 64)
    ]


@asynchronous
async def test_a_range_that_is_coming_is_not_asked_for_again():
    bench = Bench()
    view = await bench.view()
    bench.store.go.clear()
    reads = [asyncio.ensure_future(bench.read(view, 1, number)) for number in (1, 1, 5)]
    await asyncio.sleep(0.01)
    bench.store.go.set()
    await asyncio.gather(*reads)
    assert sorted(bench.store.read) == [(BLOCK, BLOCK), (5 * BLOCK, BLOCK)]


@asynchronous
async def test_who_waited_for_a_fetch_that_failed_or_was_cancelled_fetches_himself():
    bench = Bench()
    view = await bench.view()
    for cancel in (False, True):
        bench.store.go.clear()
        first = asyncio.ensure_future(bench.read(view, 3 + cancel))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(bench.read(view, 3 + cancel))
        await asyncio.sleep(0.01)
        if cancel:
            first.cancel()
        else:
            bench.store.failing = 1
        bench.store.go.set()
        with pytest.raises(asyncio.CancelledError if cancel else StoreUnavailableError):
            await first
        await second
        assert not view.flying
    assert held(view) == [3, 4]


@asynchronous
async def test_an_object_that_is_gone_or_too_short_is_an_error():
    bench = Bench()
    await bench.view()
    with pytest.raises(ObjectNotFoundError):
        await bench.read(bench.cache.open("absent", SIZE), 0)
    view = bench.cache.open("a", SIZE + BLOCK)
    with pytest.raises(CorruptObjectError, match="ends at"):
        await bench.cache.complete(lambda: view.require(SIZE, SIZE + BLOCK))


@asynchronous
async def test_beyond_the_budget_blocks_used_once_go_first_then_the_least_recently_used():
    bench = Bench(budget=10 * BLOCK)
    view = await bench.view()
    for _ in range(2):
        for block in (0, 1, 2):
            await bench.read(view, block)
    for block in range(10, 39, 2):  # a scan
        bench.cache.pace.seconds = 0  # no gaps fetched along
        await bench.read(view, block)
    assert {0, 1, 2} < set(held(view))
    assert bench.cache.nbytes <= 10 * BLOCK
    assert held(view)[-1] == 38
    assert bench.cache.counts.dropped >= 8


@asynchronous
async def test_what_is_dropped_takes_no_memory_and_comes_again():
    bench = Bench(budget=4 * BLOCK)
    view = await bench.view()
    arrived: list[int] = []
    view.on_arrival(lambda blocks: arrived.extend(blocks.tolist()))
    bench.cache.pace.seconds = 0
    for block in [*range(0, 40, 3), 0]:
        await bench.read(view, block)
    assert arrived == [*range(0, 40, 3), 0]
    assert bytes(view.data[3 * BLOCK : 4 * BLOCK]) == bytes(BLOCK)
    with pytest.raises(MissingBytesError):
        view.require(3 * BLOCK, 3 * BLOCK + 1)


@asynchronous
async def test_of_an_object_that_is_nearly_all_here_the_rest_comes_unasked():
    bench = Bench()
    view = await bench.view()
    bench.cache.pace.seconds = 0  # no gaps fetched along
    await bench.read(view, *range(34))
    await bench.settle()
    assert held(view) == [*range(34)]
    bench.store.read.clear()
    await bench.read(view, 36)
    assert bench.store.read == [(36 * BLOCK, BLOCK)], "nobody waits for the rest"
    await bench.settle()
    assert held(view) == [*range(BLOCKS)]
    assert bench.cache.counts.missed == 35


@asynchronous
async def test_the_rest_of_an_object_that_does_not_come_is_asked_for_again_later():
    bench = Bench()
    view = await bench.view()
    bench.cache.pace.seconds = 0
    await bench.read(view, *range(34))
    await bench.read(view, 38)
    bench.store.failing = 2
    await bench.settle()
    assert len(held(view)) == 35
    bench.store.failing = 0
    await bench.read(view, 36)
    await bench.settle()
    assert held(view) == [*range(BLOCKS)]


@asynchronous
async def test_the_rest_of_an_object_that_was_closed_meanwhile_is_left():
    bench = Bench()
    view = await bench.view()
    bench.store.go.clear()
    reading = asyncio.create_task(bench.read(view, *range(BLOCKS - 1)))
    await asyncio.sleep(0.01)
    bench.cache.close(view)
    bench.store.go.set()
    await reading
    await bench.settle()
    assert held(view) == [*range(BLOCKS - 1)]


@pytest.mark.parametrize("tier", ["memory", "disk"])
@asynchronous
async def test_nothing_goes_for_the_rest_of_an_object(tier: str, tmp_path: Path):
    disk = DiskTier.open(tmp_path, (BLOCKS // 2) * BLOCK) if tier == "disk" else None
    bench = Bench(budget=(BLOCKS + 2) * BLOCK if tier == "memory" else 1 << 30, disk=disk)
    view = await bench.view()
    await bench.read(view, *range(BLOCKS // 2))
    await bench.settle()
    await bench.read(view, *range(BLOCKS - 1))
    await bench.settle()
    assert not view.present[-1]
    await bench.cache.shut()


@asynchronous
async def test_a_cache_that_is_shut_does_not_wait_for_the_rest_of_an_object():
    bench = Bench()
    view = await bench.view()
    await bench.read(view, *range(BLOCKS - 1))
    bench.store.go.clear()
    await asyncio.sleep(0.01)
    assert bench.store.read[-1] == ((BLOCKS - 1) * BLOCK, BLOCK - 1000)
    await bench.cache.shut()
    assert held(view) == [*range(BLOCKS - 1)]
    assert not bench.runtime._tasks


@asynchronous
async def test_short_last_blocks_free_no_more_than_they_have():
    """Of many small objects each one's only block is short: as many go as it takes."""
    bench = Bench(budget=10_000)
    views = []
    for number in range(30):
        key = f"small-{number}"
        await bench.store.put_new(key, [bytes(1000)])
        views.append(bench.cache.open(key, 1000))
        await bench.cache.complete(partial(views[-1].require, 0, 1000))
        assert bench.cache.nbytes == sum(1000 for view in views if view.present[0]) <= 10_000 + 1000
    bench.cache._budget = 0
    await bench.read(await bench.view(), 0)
    await bench.read(await bench.view(), 1)
    assert not any(view.present[0] for view in views)


@asynchronous
async def test_blocks_that_a_query_under_way_has_used_stay():
    bench = Bench(budget=2 * BLOCK)
    view = await bench.view()
    bench.cache.pace.seconds = 0
    go = asyncio.Event()

    async def hold(work):
        result = work()
        await go.wait()
        assert look(view, np.arange(0, 40, 5)) is None
        return result

    holding = asyncio.ensure_future(bench.cache.complete(partial(look, view, np.arange(0, 40, 5)), hold))
    while not view.present[::5].all():
        await asyncio.sleep(0.001)
    for block in range(1, 40, 5):
        await bench.read(view, block)
    assert view.present[::5].all()
    go.set()
    await holding
    await bench.read(view, 2)
    assert bench.cache.nbytes <= 2 * BLOCK


@asynchronous
async def test_closed_views_no_longer_count_but_may_be_used():
    bench = Bench()
    view = await bench.view()
    await bench.read(view, 1, 2)
    bench.cache.close(view)
    assert bench.cache.nbytes == 0
    await bench.read(view, 2, 3)
    assert bench.cache.nbytes == 0


@asynchronous
async def test_the_disk_tier_answers_after_a_restart_and_forgets_what_showed_damage(tmp_path: Path):
    disk = DiskTier.open(tmp_path, 1 << 26)
    bench = Bench(disk=disk)
    await bench.read(await bench.view(), 1, 7, 39)
    await bench.settle()
    disk.close()
    again = Bench(disk=DiskTier.open(tmp_path, 1 << 26))
    view = await again.view()
    await again.read(view, 1, 7, 20, 39)
    assert again.store.read == [(20 * BLOCK, BLOCK)]
    assert again.cache.counts.found_on_disk == 3
    await again.settle()
    again.cache.close(view, damaged=True)
    again.store.read.clear()
    await again.read(await again.view(), 7)
    assert again.store.read == [(7 * BLOCK, BLOCK)]


@asynchronous
async def test_what_the_disk_has_taken_is_seen_there_and_takes_no_memory(tmp_path: Path):
    """Also by whoever looks at it all the time, and whoever comes later."""
    bench = Bench(disk=DiskTier.open(tmp_path, 1 << 26))
    view = await bench.view()
    shown = np.frombuffer(view.data, np.uint8)
    await bench.read(view, *range(BLOCKS))
    await bench.settle()
    assert (bench.cache.nbytes, view.present.all(), view.kept.all()) == (0, True, True)
    assert shown.tobytes() == BODY
    files = [*tmp_path.glob("0/*.blocks")]
    assert files[0].read_bytes()[-SIZE:] == BODY
    bench.cache.shrink(0)
    await bench.read(view, *range(BLOCKS))
    assert bench.store.read == [(0, SIZE)]
    assert (bench.cache.counts.found_in_memory, bench.cache.counts.found_on_disk) == (0, BLOCKS)
    bench.cache.close(view)
    del view, shown
    await bench.read(await bench.view(), *range(BLOCKS))
    assert bench.store.read == [(0, SIZE)]
    await bench.cache.shut()


@asynchronous
async def test_what_the_disk_does_not_take_stays_in_memory(tmp_path: Path):
    disk = DiskTier.open(tmp_path, 10 * BLOCK)
    bench = Bench(disk=disk)
    view = await bench.view()
    await bench.read(view, *range(BLOCKS))
    await bench.settle()
    taken = int(view.kept.sum())
    assert 5 < taken < 10
    assert bench.cache.nbytes == view.extent(np.flatnonzero(~view.kept)) > 30 * BLOCK
    await bench.read(view, *range(BLOCKS))
    counts = bench.cache.counts
    assert (counts.found_in_memory, counts.found_on_disk, counts.fetched) == (BLOCKS - taken, taken, BLOCKS)
    bench.cache.shrink(0)
    assert np.array_equal(view.present, view.kept)
    await bench.cache.shut()


@asynchronous
async def test_what_is_looked_at_on_disk_is_verified_at_first_and_every_ten_minutes(tmp_path: Path):
    bench = Bench(disk=DiskTier.open(tmp_path, 1 << 26))
    view = await bench.view()
    arrived: list[list[int]] = []
    await bench.read(view, 1, 2, 7)
    await bench.settle()
    now = bench.runtime.monotonic()
    bench.runtime.monotonic = lambda: now
    path = next(tmp_path.glob("0/*.blocks"))

    def spoil(block: int) -> None:
        with path.open("r+b") as file:
            file.seek(BLOCK + block * BLOCK + 100)
            file.write(bytes([BODY[block * BLOCK + 100] ^ 1]))

    view.on_arrival(lambda blocks: arrived.append(blocks.tolist()))
    for turn, (later, verified) in enumerate([(599, 0), (2, 3), (1, 3), (600, 6)]):
        now += later
        await bench.read(view, 1, 2, 7)
        assert bench.cache.counts.disk.hits == verified, turn
    assert arrived == [[1, 2, 7]], "the second time they are known to be what they were"
    spoil(2)
    now += 600
    bench.store.read.clear()
    await bench.read(view, 1, 2, 7)
    assert bench.store.read == [(2 * BLOCK, BLOCK)]
    assert bench.cache.counts.disk.damaged == 1
    assert arrived[1:] == [[2]]
    await bench.settle()
    await bench.read(view, 1, 2, 7)
    await bench.cache.shut()
    del view
    spoil(7)
    again = Bench(disk=DiskTier.open(tmp_path, 1 << 26))
    await again.read(await again.view(), 1, 2, 7)
    assert again.store.read == [(7 * BLOCK, BLOCK)]
    await again.cache.shut()


@asynchronous
async def test_blocks_that_work_under_way_looks_at_are_not_doubted(tmp_path: Path):
    bench = Bench(disk=DiskTier.open(tmp_path, 1 << 26))
    view = await bench.view()
    await bench.read(view, 1, 2)
    await bench.settle()
    lease = bench.cache._leases.begin()
    view.require(2 * BLOCK, 3 * BLOCK)
    now = bench.runtime.monotonic() + 601
    bench.runtime.monotonic = lambda: now
    bench.cache._doubt()
    assert held(view) == [2]
    bench.cache._leases.end(lease)
    await bench.read(view, 1, 2)
    assert bench.cache.counts.fetched == 2
    await bench.cache.shut()


@asynchronous
async def test_what_an_encrypted_disk_holds_comes_while_the_work_goes_on(tmp_path: Path):
    """Work that needs nothing from the store is done once, also where memory is too small for it."""
    disk = DiskTier.open(tmp_path, 1 << 26, BlockCipher(bytes(range(KEY_BYTES))))
    bench = Bench(budget=3 * BLOCK, disk=disk)
    view = await bench.view()
    await bench.read(view, *range(BLOCKS))
    await bench.settle()
    bench.store.read.clear()
    for run in (None, bench.runtime.offload):
        times: list[int] = []

        def work(times: list[int] = times) -> None:
            times.append(1)
            for part in np.split(np.arange(BLOCKS), 8):
                look(view, part)
            look(view, np.arange(BLOCKS))

        bench.cache.shrink(0)
        await bench.cache.complete(work, run)
        assert len(times) == 1
        assert bench.cache.nbytes == view.extent(np.flatnonzero(view.present)) <= 3 * BLOCK
    assert bench.store.read == []
    assert disk.counters.hits == 2 * BLOCKS
    bench.cache.shrink(0)
    await bench.cache.complete(partial(view.require, 0, SIZE), urgency=Urgency.WARMING)
    assert bench.cache.counts.found_on_disk == 2 * BLOCKS
    disk.close()


@asynchronous
async def test_blocks_that_are_read_again_as_they_were_are_not_announced(tmp_path: Path):
    disk = DiskTier.open(tmp_path, 1 << 26, BlockCipher(bytes(range(KEY_BYTES))))
    bench = Bench(disk=disk)
    bench.cache.pace.seconds = 0
    view = await bench.view()
    arrived: list[list[int]] = []
    view.on_arrival(lambda blocks: arrived.append(blocks.tolist()))
    for blocks in ([1, 2], [1, 2], [1, 2, 5], [5], [1, 5]):
        await bench.read(view, *blocks)
        await bench.settle()
        bench.cache.shrink(0)
    # The second time it is not known yet what came from the store; the last block was new the third time.
    assert arrived == [[1, 2], [1, 2], [5], [5]]
    disk._forget(view.file, np.array([1, 2]))
    await bench.read(view, 1, 2)
    assert arrived[4:] == [[1, 2]], "from the store nobody knows"
    await bench.settle()
    disk.close()


@asynchronous
async def test_the_digest_of_a_block_that_came_from_the_disk_is_not_computed_again(tmp_path: Path):
    def xxh3(start: int, end: int) -> int:
        return xxh3_64_intdigest(BODY[start:end])

    for process in range(2):
        bench = Bench(disk=DiskTier.open(tmp_path, 1 << 26))
        view = await bench.view()
        await bench.read(view, 1, 2, BLOCKS - 1)
        await bench.settle()  # the disk tier takes blocks as they are before they are changed below
        ranges = [(BLOCK, 2 * BLOCK), ((BLOCKS - 1) * BLOCK, SIZE), (BLOCK, 3 * BLOCK), (BLOCK + 1, 2 * BLOCK)]
        for start, end in ranges:
            assert view.digest(start, end) == xxh3(start, end)
        view.mapping[BLOCK : BLOCK + 1] = bytes([BODY[BLOCK] ^ 1])  # so that who computes it notices
        known = [view.digest(*each) == xxh3(*each) for each in ranges]
        assert known == [process == 1, True, False, True]
        view.mapping[BLOCK : BLOCK + 1] = BODY[BLOCK : BLOCK + 1]
        await bench.cache.shut()


@asynchronous
async def test_an_object_may_be_larger_than_memory(tmp_path: Path):
    size = 1 << 37
    for disk in (None, DiskTier.open(tmp_path, 1 << 26)):
        bench = Bench(disk=disk)
        view = bench.cache.open("large", size)
        bench.cache.supply(view, BODY[: 2 * BLOCK])
        await bench.settle()
        view.require(size - 2 * BLOCK, size)
        assert bytes(view.data[-2 * BLOCK :]) == BODY[: 2 * BLOCK]
        await bench.cache.shut()


class Reader:
    """Is told what arrives, as readers of segments are."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def arrived(self, blocks: np.ndarray) -> None:
        self.told += blocks.tolist()


@asynchronous
async def test_who_opens_an_object_at_once_share_its_bytes_and_each_is_told_what_arrives():
    bench = Bench()
    first, second = await bench.view(), await bench.view()
    assert first is second
    readers = [Reader(), Reader()]
    for reader in readers:
        first.on_arrival(reader.arrived)
    await bench.read(first, 1)
    bench.cache.close(first)
    assert bench.cache.nbytes == BLOCK
    del reader, readers[0]
    await bench.read(second, 3)
    assert readers[0].told == [1, 3]
    bench.cache.close(second)
    assert bench.cache.nbytes == 0
    assert held(await bench.view()) == []


@asynchronous
async def test_a_file_is_mapped_once_however_often_its_object_is_opened_until_it_showed_damage(tmp_path: Path):
    bench = Bench(disk=DiskTier.open(tmp_path, 1 << 26))
    view = await bench.view()
    await bench.read(view, 1, 3)
    bench.cache.close(view)
    await bench.settle()
    assert await bench.view() is view
    bench.cache.close(view, damaged=True)
    other = await bench.view()
    assert other is not view
    assert (other.in_place, held(other), held(view)) == (True, [], [1, 2, 3])
    await bench.read(view, 1, 3, 5)
    await bench.read(other, 1, 3, 5)
    bench.cache.close(other)
    assert bench.cache.nbytes == 0
    await bench.cache.shut()


@asynchronous
async def test_nobody_keeps_the_bytes_of_a_closed_view():
    bench = Bench()
    view, reader = await bench.view(), Reader()
    view.on_arrival(reader.arrived)
    reader.view = view
    await bench.read(view, 1)
    bench.cache.close(view)
    mapped = weakref.ref(view.mapping)
    del view, reader
    assert mapped() is None


@asynchronous
async def test_what_is_used_while_it_is_dropped_stays():
    bench = Bench()
    view = await bench.view()
    await bench.read(view, 1, 2, 3, 39)
    horizon = bench.cache._leases.horizon
    lease = bench.cache._leases.begin()
    look(view, np.array([2, 39]))
    assert view.drop(np.array([1, 2, 39]), horizon).tolist() == [1]
    look(view, np.array([2, 3, 39]))
    bench.cache._leases.end(lease)
    assert held(view) == [2, 3, 39]


@pytest.mark.parametrize("encrypted", [False, True], ids=["in place", "encrypted"])
@pytest.mark.parametrize("budget", [1, 6, 20])
def test_threads_that_search_in_little_memory_see_the_right_bytes(tmp_path: Path, budget: int, *, encrypted: bool):
    """Blocks come from the disk and the store, and are dropped, while other threads look at them."""

    async def run() -> None:
        cipher = BlockCipher(bytes(range(KEY_BYTES))) if encrypted else None
        disk = DiskTier.open(tmp_path, 12 * BLOCK, cipher)
        bench = Bench(budget=budget * BLOCK, disk=disk)
        view = await bench.view()
        view.on_arrival(lambda blocks: None)
        random = np.random.default_rng(budget)
        for turn in range(25):
            if turn % 5 == 0:
                bench.cache._trusted -= 1000  # what is seen on the disk is to be verified again
            works = [partial(look_twice, view, random.integers(0, BLOCKS, 6)) for _ in range(6)]
            await asyncio.gather(*(bench.cache.complete(work, bench.runtime.offload) for work in works))
        await bench.cache.settle()
        assert bench.cache.nbytes == view.extent(np.flatnonzero(view.in_memory)) <= budget * BLOCK
        assert not view.flying
        assert disk.counters.hits > 10
        assert disk.counters.damaged == 0
        assert disk.counters.evicted > 0
        assert bench.cache.counts.dropped > 10
        await bench.cache.shut()
        bench.runtime.close()

    asyncio.run(run())


def look_twice(view: CachedView, blocks: np.ndarray) -> None:
    look(view, blocks)
    look(view, blocks[::-1])


@asynchronous
async def test_a_block_counts_once_for_each_piece_of_work_where_it_was_found(tmp_path: Path):
    disk = DiskTier.open(tmp_path, 1 << 26, BlockCipher(bytes(range(KEY_BYTES))))
    bench = Bench(disk=disk)
    bench.cache.pace.seconds = 0
    view = await bench.view()

    async def found(*blocks: int) -> tuple[int, int, int]:
        before = bench.cache.counts
        await bench.read(view, *blocks)
        after = bench.cache.counts
        return (
            after.found_in_memory - before.found_in_memory,
            after.found_on_disk - before.found_on_disk,
            after.missed - before.missed,
        )

    assert await found(1, 1, 7) == (0, 0, 2)
    await bench.settle()
    assert await found(1, 1, 7) == (2, 0, 0)
    assert await found(1, 39) == (1, 0, 1)
    await bench.settle()
    bench.cache.shrink(0)
    assert (bench.cache.nbytes, bench.cache.counts.dropped) == (0, 3)
    assert await found(1, 3, 39) == (0, 2, 1)
    await bench.settle()
    counts = bench.cache.counts
    assert (counts.requests, counts.fetched, counts.fetched_bytes) == (4, 4, 4 * BLOCK - 1000)
    assert (counts.nbytes, counts.budget) == (3 * BLOCK - 1000, 1 << 30)
    assert counts.disk == disk.counters
    assert (disk.counters.admitted, disk.counters.budget) == (4, 1 << 26)
    disk.close()


@asynchronous
async def test_gaps_fetched_along_are_no_misses():
    bench = Bench()
    await bench.read(await bench.view(), 1, 4)
    assert (bench.cache.counts.missed, bench.cache.counts.fetched) == (2, 4)
    assert bench.cache.counts.disk is None


@asynchronous
async def test_what_is_warmed_is_fetched_and_neither_hit_nor_miss():
    bench = Bench()
    view = await bench.view()
    for _ in range(2):
        await bench.cache.complete(partial(look, view, np.array([1, 2])), urgency=Urgency.WARMING)
    counts = bench.cache.counts
    assert (counts.found_in_memory, counts.missed, counts.fetched) == (0, 0, 2)
    await bench.read(view, 1, 2)
    assert bench.cache.counts.found_in_memory == 2


class SlowDisk:
    """A disk tier that holds nothing and takes its time; `most` is how many wrote at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.go = threading.Event()
        self.writing = self.most = 0
        self.written: list[list[int]] = []
        self.discarded: list[object] = []
        self.closed = False

    def attach(self, *_: object) -> Shelf:
        return Shelf(object(), None)

    def room(self, count: int) -> int:
        return count

    def read(self, _: object, blocks: np.ndarray, *__: object) -> Held:
        return Held(blocks[:0], [], np.zeros(0, np.uint64))

    def write(self, _: object, blocks: np.ndarray, *__: object) -> None:
        self.writing += 1
        self.most = max(self.most, self.writing)
        assert self.go.wait(10)
        self.written.append(blocks.tolist())
        self.writing -= 1

    def discard(self, file: object) -> None:
        self.discarded.append(file)

    def close(self) -> None:
        self.closed = True


@asynchronous
async def test_one_thread_at_a_time_writes_to_the_disk_what_is_still_here():
    disk = SlowDisk()
    bench = Bench(disk=disk)
    bench.cache.pace.seconds = 0
    view = await bench.view()
    await bench.read(view, 1, 5, 9)
    while not disk.writing:
        await asyncio.sleep(0.001)
    view.drop(np.array([5]), 1 << 60)
    disk.go.set()
    await bench.cache.settle()
    assert (disk.most, disk.written) == (1, [[1], [], [9]])
    assert not disk.closed
    await bench.cache.shut()
    assert disk.closed


@asynchronous
async def test_blocks_of_an_object_that_showed_damage_do_not_stay_on_disk():
    disk = SlowDisk()
    bench = Bench(disk=disk)
    bench.cache.pace.seconds = 0
    view = await bench.view()
    for block in (1, 5):
        await bench.read(view, block)
    while not disk.writing:
        await asyncio.sleep(0.001)
    bench.cache.close(view, damaged=True)
    assert disk.discarded == [view.file]
    disk.go.set()
    await bench.cache.settle()
    assert disk.written == [[1]]  # begun before


@given(
    st.lists(st.lists(st.integers(0, BLOCKS - 1), min_size=1, max_size=6), max_size=30),
    st.integers(0, 12),
    st.integers(1, 4),
)
def test_queries_at_once_always_see_the_right_bytes(queries, budget, width):
    async def run() -> None:
        bench = Bench(budget=budget * BLOCK, width=width)
        view = await bench.view()
        for start in range(0, len(queries), 5):
            await asyncio.gather(*(bench.read(view, *blocks) for blocks in queries[start : start + 5]))
        assert bench.cache.nbytes == view.extent(np.flatnonzero(view.present))
        assert not view.flying
        bench.runtime.close()

    asyncio.run(run())


@asynchronous
async def test_the_gate_lets_the_most_urgent_in_first_and_never_more_than_fit():
    gate, order, inside = Gate(2), [], [0, 0]

    async def enter(urgency: Urgency, name: str) -> None:
        async with gate.entered(urgency):
            inside[0] += 1
            inside[1] = max(inside)
            order.append(name)
            await asyncio.sleep(0.001)
            inside[0] -= 1

    waiting = [
        asyncio.ensure_future(enter(urgency, name))
        for urgency, name in [
            (Urgency.MAINTENANCE, "a"),
            (Urgency.MAINTENANCE, "b"),
            (Urgency.MAINTENANCE, "c"),
            (Urgency.WARMING, "d"),
            (Urgency.QUERY, "e"),
            (Urgency.QUERY, "gone"),
            (Urgency.QUERY, "f"),
        ]
    ]
    await asyncio.sleep(0)
    waiting[5].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (order, inside[1]) == (["a", "b", "e", "f", "d", "c"], 2)


def test_missing_collects_what_several_pieces_of_work_lack():
    missing = Missing()
    with missing:
        raise MissingBytesError(["first"])
    with missing:
        pass
    with missing:
        raise MissingBytesError(["second"])
    with pytest.raises(ValueError, match="other"), missing:
        raise ValueError("other")
    with pytest.raises(MissingBytesError) as raised:
        missing.raise_any()
    assert raised.value.wanted == ["first", "second"]
    Missing().raise_any()


def test_a_whole_view_lacks_nothing():
    view = WholeView(b"abc")
    view.require(0, 3)
    view.require(np.array([0]), np.array([3]))
    assert bytes(view.data) == b"abc"


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 3000))), st.integers(1, 700))
def test_covering_blocks_are_those_that_hold_a_byte(ranges, size):
    starts = np.array([start for start, _ in ranges], np.int64)
    ends = np.array([start + length for start, length in ranges], np.int64)
    expected = {byte // size for start, length in ranges for byte in range(start, start + length)}
    assert set(covering(starts, ends, size).tolist()) == expected


@pytest.mark.parametrize("nbytes", [BLOCK - 1000, 3 * BLOCK, 3 * BLOCK + 7, SIZE])
@asynchronous
async def test_bytes_that_came_another_way_are_not_fetched_as_far_as_they_make_whole_blocks(nbytes):
    bench = Bench()
    view = await bench.view()
    bench.cache.supply(view, BODY[SIZE - nbytes :])
    first = -(-(SIZE - nbytes) // BLOCK)
    assert held(view) == list(range(first, 40))
    assert bench.cache.nbytes == SIZE - first * BLOCK
    await bench.read(view, *range(first, 40))
    assert bench.store.read == []


@pytest.mark.parametrize("nbytes", [0, 10, SIZE + 1])
@asynchronous
async def test_bytes_that_are_no_end_of_the_object_with_a_block_in_it_are_left(nbytes):
    bench = Bench()
    view = await bench.view()
    bench.cache.supply(view, bytes(nbytes))
    assert (held(view), bench.cache.nbytes) == ([], 0)
