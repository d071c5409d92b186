"""What a reader concludes from objects that are still there holds because of the order in which others went."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest

from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.model.errors import MissingObjectError
from quiver.model.types import DistanceMetric, IndexSpec
from simulation import vectors
from simulation.faults import NONE
from simulation.mutants import (
    with_bases_known_by_name,
    with_checkpoints_deleted_newest_first,
    with_listed_checkpoints_trusted,
    with_openings_trusted,
    with_the_log_deleted_up_to_the_newest_checkpoint,
)
from simulation.world import World

SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)


async def open_on(node, age):
    settings = NativeSettings(garbage_age=age, background=False)
    engine = NativeEngine(node.store, node.runtime, settings)
    return vectors.VectorReplica(await engine.open(vectors.INDEX_ID, SPEC), node.world.random)


def slow_down(node, operation, part, seconds):
    """Requests of one sort for keys with this part reach the store so much later."""
    inner = getattr(node.store, operation)

    async def later(key, *arguments):
        if part in key:
            await asyncio.sleep(seconds)
        return await inner(key, *arguments)

    setattr(node.store, operation, later)


class Cast:
    """Nodes by name, and what they do."""

    def __init__(self, world, age=0.0):
        self.world, self.age = world, age
        self.nodes, self.replicas = {}, {}

    async def enter(self, *names):
        for name in names:
            node = self.nodes[name] = self.world.start_node()
            self.replicas[name] = await node.call(open_on(node, self.age))

    async def do(self, name, what, *arguments):
        return await self.nodes[name].call(getattr(self.replicas[name], what)(*arguments))

    async def write(self, name, *values):
        for value in values:
            await self.do(name, "put", [f"k{value}"], value)

    async def seen(self, name):
        """The values, or that a segment is missing."""
        try:
            return sorted((await self.do(name, "get", [f"k{value}" for value in range(1, 10)])).values.values())
        except MissingObjectError:
            return "missing"

    def begin(self, name, what, *arguments):
        return asyncio.ensure_future(self.do(name, what, *arguments))


async def read_during_collection(world):
    """A reader that missed a load comes back while the checkpoints since are being removed."""
    cast = Cast(world)
    await cast.enter("reader", "writer", "collector")
    await cast.write("writer", 1)
    await cast.do("writer", "flush")
    await cast.seen("reader")
    await cast.seen("reader")  # and knows that its checkpoint is the newest
    await cast.do("writer", "load", ["k2"], 2)  # three checkpoints
    await cast.do("writer", "flush")
    await cast.write("writer", 3)
    await cast.do("writer", "flush")
    collector = cast.nodes["collector"]
    collecting = cast.begin("collector", "collect_garbage")
    for _ in range(2):  # two of four are gone, the deletion of another under way
        collector.pause_at = {"gc:checkpoint_deleted": 20}
        while collector.pause_at:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    seen = await cast.seen("reader")
    await collecting
    return seen


async def read_while_the_log_is_collected(world):
    """A reader asks for the next checkpoint, and some time later for the next entry."""
    cast = Cast(world, age=10.0)
    await cast.enter("reader", "writer")
    await cast.write("writer", 1)
    await cast.do("writer", "flush")
    await cast.seen("reader")
    await cast.write("writer", 2)
    await asyncio.sleep(20)
    slow_down(cast.nodes["reader"], "get", "/log/", 5)
    reading = asyncio.ensure_future(cast.seen("reader"))
    await asyncio.sleep(1)
    await cast.do("writer", "flush")
    await cast.do("writer", "collect_garbage")
    return await reading


async def with_a_late_draft(world, opened):
    """A node's draft is on its way when another takes its generation; the node `opened` saw the one before."""
    cast = Cast(world)
    await cast.enter("reader", "stalled", "writer")
    await cast.write("writer", 1)
    await cast.do("writer", "flush")
    await cast.seen(opened)
    await cast.write("writer", 2)
    slow_down(cast.nodes["stalled"], "put_new", "/checkpoint/", 10)
    late = cast.begin("stalled", "flush")
    await asyncio.sleep(1)
    await cast.do("writer", "flush")
    return cast, late


async def superseded(cast, late):
    """The checkpoint that won is replaced and collected, and the draft lands."""
    for value in (3, 4):
        await cast.write("writer", value)
        await cast.do("writer", "flush")
    await cast.do("writer", "collect_garbage")
    await late


async def read_after_a_late_draft(world):
    """A draft that lost lands under the name of the checkpoint that a reader stands on, which was collected."""
    cast, late = await with_a_late_draft(world, "stalled")
    await cast.seen("reader")
    await superseded(cast, late)
    return await cast.seen("reader")


async def read_what_took_the_place_of_a_listed_checkpoint(world):
    """A reader lists a checkpoint; before it reads it, it is collected, and a draft that lost takes its place."""
    cast, late = await with_a_late_draft(world, "reader")
    taken = paths.checkpoint_key(vectors.ROOT, cast.replicas["writer"].index.log.base)
    has, get = cast.replicas["reader"].index.log.checkpoints.has, cast.nodes["reader"].store.get

    async def get_later(key, start=0, length=None):
        if key == taken and length is None:
            await asyncio.sleep(15)
        return await get(key, start, length)

    cast.nodes["reader"].store.get = get_later
    reading = asyncio.ensure_future(cast.seen("reader"))
    await asyncio.sleep(2)
    assert await has(1)
    await superseded(cast, late)
    return await reading


async def read_with_an_opening_that_was_put_late(world):
    """It has a checkpoint whose log was collected since."""
    cast = Cast(world)
    await cast.enter("reader", "writer")
    await cast.write("writer", 1)
    await cast.do("writer", "flush")
    await asyncio.sleep(5)
    key = paths.opening_key(vectors.ROOT)
    late = world.backing.objects[key]
    await cast.write("writer", 2)
    await cast.do("writer", "flush")
    await asyncio.sleep(5)
    await cast.do("writer", "collect_garbage")
    assert world.backing.objects[key] != late
    world.backing.objects[key] = late
    return await cast.seen("reader")


CASES = {
    read_during_collection: (with_checkpoints_deleted_newest_first, [1, 2, 3], [1, 3]),
    read_while_the_log_is_collected: (with_the_log_deleted_up_to_the_newest_checkpoint, [1, 2], [1]),
    read_with_an_opening_that_was_put_late: (with_openings_trusted, [1, 2], "missing"),
    read_after_a_late_draft: (with_bases_known_by_name, [1, 2, 3, 4], [1, 2]),
    read_what_took_the_place_of_a_listed_checkpoint: (with_listed_checkpoints_trusted, [1, 2, 3, 4], "missing"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("broken", [False, True])
def test_a_reader_misses_nothing_unless_the_rule_is_broken(case, broken):
    mutation, right, wrong = CASES[case]
    with mutation() if broken else nullcontext(), World(1, NONE) as world:
        assert world.run(case(world)) == (wrong if broken else right)
