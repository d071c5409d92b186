"""The simulated store and nodes: each fault does what it says, kills and pauses are real, same seed same run."""

from __future__ import annotations

import asyncio
import gc

import pytest

from quiver.objectstore.store import (
    ObjectExistsError,
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
)
from simulation.faults import NONE, Faults
from simulation.store import EPOCH
from simulation.world import NodeDownError, World

KEY = "index/a/log/1"


def put_under(seed=1, **faults):
    """Put one object under a fault; the error's type, and whether the object is there now and 30 s later."""
    with World(seed, NONE.but(**faults)) as world:
        node = world.start_node()

        async def main():
            outcome = None
            try:
                await node.call(node.store.put_new(KEY, [b"bo", memoryview(b"dy")]))
            except Exception as error:
                outcome = type(error)
            now = KEY in world.backing.objects
            await asyncio.sleep(30)
            return outcome, now, KEY in world.backing.objects

        return world.run(main())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("slow", (None, True, True)),
        ("fail_before", (StoreUnavailableError, False, False)),
        ("fail_after", (StoreUnavailableError, True, True)),
        ("zombie", (StoreUnavailableError, False, True)),
        ("conflict", (StoreUnavailableError, False, False)),
        ("conflict_as_exists", (ObjectExistsError, False, False)),
        ("exists_after_own", (ObjectExistsError, True, True)),
        ("refuse", (StoreRefusedError, False, False)),
    ],
)
def test_put_under_each_fault(fault, expected):
    assert put_under(**{fault: 1.0}) == expected


def test_a_healthy_store_creates_once_and_reads_ranges():
    with World(2, NONE) as world:
        store = world.start_node().store

        async def main():
            await store.put_new(KEY, [b"012345"])
            with pytest.raises(ObjectExistsError):
                await store.put_new(KEY, [b"other"])
            assert await store.get(KEY) == b"012345"
            assert await store.get(KEY, 2, 3) == b"234"
            assert await store.get(KEY, 4) == b"45"
            with pytest.raises(ObjectNotFoundError):
                await store.get("index/a/log/2")
            await store.put_new("index/a/log/2", [b"x"])
            listed = await store.list("index/a/")
            assert [(each.key, each.size) for each in listed] == [(KEY, 6), ("index/a/log/2", 1)]
            assert abs(listed[0].modified - EPOCH) < 3700
            assert [each.key for each in await store.list("index/a/", KEY)] == ["index/a/log/2"]
            await store.delete([KEY, "index/a/log/9"])
            assert [each.key for each in await store.list("index/a/")] == ["index/a/log/2"]
            assert list(world.backing.log) == [KEY, "index/a/log/2"]

        world.run(main())


def test_of_racing_creators_exactly_one_wins_unless_the_store_ignores_the_condition():
    def winners(faults):
        with World(3, faults) as world:
            nodes = [world.start_node() for _ in range(8)]

            async def main():
                puts = (node.call(node.store.put_new(KEY, [node.name.encode()])) for node in nodes)
                return await asyncio.gather(*puts, return_exceptions=True)

            return sum(each is None for each in world.run(main()))

    assert winners(NONE) == 1
    assert winners(NONE.but(ignore_condition=1.0)) == 8


def test_a_listing_is_no_snapshot_but_pages_in_key_order():
    """Of two keys created during a listing it may show the later one only if that sorts after the earlier one."""
    seen = {"forward": set(), "backward": set()}
    for seed in range(300):
        for name, order in (("forward", ("a/0", "a/1")), ("backward", ("a/1", "a/0"))):
            with World(seed, NONE) as world:
                store = world.start_node().store

                async def main(store=store, order=order):
                    await store.put_new("a/0-between", [b""])
                    listing = asyncio.create_task(store.list("a/"))
                    for key in order:
                        await store.put_new(key, [b""])
                    return tuple(each.key for each in await listing if each.key != "a/0-between")

                seen[name].add(world.run(main()))
    assert seen["forward"] == {(), ("a/0",), ("a/1",), ("a/0", "a/1")}
    assert seen["backward"] == {(), ("a/1",), ("a/0", "a/1")}


def test_deletes_that_fail_may_be_partial_and_may_land_late():
    partial, late = 0, 0
    for seed in range(40):
        with World(seed, NONE) as world:
            store = world.start_node().store

            async def main(world=world, store=store):
                for i in range(4):
                    await store.put_new(f"a/{i}", [b""])
                world.backing.faults = NONE.but(zombie=1.0)
                with pytest.raises(StoreUnavailableError):
                    await store.delete([f"a/{i}" for i in range(4)])
                before = len(world.backing.objects)
                await asyncio.sleep(30)
                return before, len(world.backing.objects)

            before, after = world.run(main())
            partial += 0 < before < 4
            late += after < before
    assert partial > 5
    assert late > 20


def test_a_partition_cuts_one_node_off():
    with World(4, NONE) as world:
        cut, other = world.start_node(), world.start_node()

        async def main():
            cut.cut_off(10)
            with pytest.raises(StoreUnavailableError):
                await cut.store.put_new(KEY, [b"cut"])
            await other.store.put_new(KEY, [b"other"])
            await asyncio.sleep(10)
            assert await cut.store.get(KEY) == b"other"

        world.run(main())


def test_a_killed_nodes_request_lands_or_not_but_its_caller_never_gets_an_answer():
    landed = 0
    for seed in range(40):
        with World(seed, NONE) as world:
            node, after = world.start_node(), []

            async def work(node=node, after=after):
                try:
                    await node.store.put_new(KEY, [b""])
                finally:
                    after.append("ran")

            async def main(world=world, node=node, work=work, after=after):
                call = asyncio.ensure_future(node.call(work()))
                await asyncio.sleep(0.001)
                node.kill()
                with pytest.raises(NodeDownError):
                    await call
                with pytest.raises(NodeDownError):
                    await node.call(work())
                await asyncio.sleep(30)
                assert after == []
                return KEY in world.backing.objects

            landed += world.run(main())
    assert 0 < landed < 40


def test_a_crash_point_kills_exactly_there():
    with World(5, NONE) as world:
        node, seen = world.start_node(), []
        node.crash_at = "middle"

        async def work():
            node.runtime.reach("start")
            seen.append("start")
            node.runtime.reach("middle")
            seen.append("end")

        async def main():
            with pytest.raises(NodeDownError):
                await node.call(work())

        world.run(main())
        assert seen == ["start"]
        assert world.reached == {"start": 1, "middle": 1}
        assert world.crashed_at == {"middle": 1}
        assert world.unhandled() == []


def test_a_paused_node_sends_and_sees_nothing_until_it_resumes():
    with World(6, NONE) as world:
        node = world.start_node()

        async def main():
            call = asyncio.ensure_future(node.call(node.store.put_new(KEY, [b""])))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            node.pause(60)
            await asyncio.sleep(30)
            assert KEY in world.backing.objects
            assert not call.done()
            await call
            return world.loop.time()

        assert world.run(main()) == pytest.approx(60)


def test_node_clocks_differ_jump_back_and_leave_monotonic_time_alone():
    with World(7, NONE) as world:
        first, second = world.start_node().runtime, world.start_node().runtime
        assert first.time() != second.time()
        before = first.monotonic()
        first.clock_offset -= 100
        world.run(first.sleep(5))
        assert first.monotonic() == pytest.approx(before + 5)
        assert first.new_id() != first.new_id()
        assert len(first.new_id()) == 32


def test_offloaded_work_runs_once_and_its_errors_arrive():
    with World(8, NONE) as world:
        runtime = world.start_node().runtime
        assert world.run(runtime.offload(lambda a, b: a + b, 1, b=2)) == 3
        with pytest.raises(ZeroDivisionError):
            world.run(runtime.offload(lambda: 1 // 0))


def test_background_failures_are_reported():
    with World(9, NONE) as world:
        node = world.start_node()

        async def fail():
            raise KeyError("background")

        async def main():
            node.runtime.spawn(fail(), "failing")
            await asyncio.sleep(1)

        world.run(main())
        assert [type(each) for each in world.unhandled()] == [KeyError]


def small_run(seed):
    """A busy little run over a fault-drawing world; its event hash."""
    with World(seed) as world:

        async def work(node, i):
            for j in range(10):
                try:
                    await node.store.put_new(f"index/a/log/{node.runtime.random():.2f}", [b"x" * j])
                    await node.store.delete([each.key for each in await node.store.list("index/")][:1])
                except (StoreUnavailableError, ObjectExistsError, StoreRefusedError):
                    await node.runtime.sleep(node.runtime.random())

        async def main():
            nodes = [world.start_node() for _ in range(3)]
            calls = [asyncio.ensure_future(node.call(work(node, i))) for i, node in enumerate(nodes)]
            await asyncio.sleep(1)
            nodes[0].pause(5)
            nodes[1].kill()
            await asyncio.gather(*calls, return_exceptions=True)
            await asyncio.sleep(30)

        world.run(main())
        return world.events.digest()


def test_same_seed_same_run():
    first = [small_run(seed) for seed in range(20)]
    assert first == [small_run(seed) for seed in range(20)]
    assert len(set(first)) == 20


def test_thousands_of_runs_leave_no_memory_behind():
    gc.collect()
    small_run(0)
    gc.collect()
    before = len(gc.get_objects())
    for seed in range(200):
        small_run(seed)
    gc.collect()
    assert len(gc.get_objects()) < before + 500


def test_each_seed_draws_its_own_subset_of_faults():
    drawn = []
    for seed in range(200):
        with World(seed) as world:
            drawn.append(world.faults)
    counts = [len(each.active()) for each in drawn]
    assert min(counts) <= 3
    assert max(counts) >= 10
    assert all(each.ignore_condition == 0 for each in drawn)
    assert isinstance(drawn[0], Faults)
