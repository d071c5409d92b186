"""A load stalls with its checkpoint drafted; that checkpoint lands where another was, built upon and collected."""

from __future__ import annotations

import asyncio

from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.model.types import DistanceMetric, IndexSpec
from simulation import vectors
from simulation.faults import NONE
from simulation.mutants import with_a_load_that_trusts_its_put
from simulation.world import World

SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)
SETTINGS = NativeSettings(garbage_age=0.0, background=False)


async def open_on(node):
    engine = NativeEngine(node.store, node.runtime, SETTINGS)
    return vectors.VectorReplica(await engine.open(vectors.INDEX_ID, SPEC), node.world.random)


async def overtake(world):
    """What everybody sees after the load was acknowledged."""
    loader, other = world.start_node(), world.start_node()
    a, b = [await node.call(open_on(node)) for node in (loader, other)]
    await other.call(b.put(["k1"], 1))
    loader.pause_at = {"load:written": 2}
    loading = asyncio.ensure_future(loader.call(a.load(["k2"], 2)))
    while loader.pause_at:
        await asyncio.sleep(0.1)
    loader.pause_at = {"segment:rows_written": 20}  # of the tail, after the checkpoint was drafted
    while loader.pause_at:
        await asyncio.sleep(0.1)
    taken = paths.checkpoint_key(
        vectors.ROOT, b.index.log.base + 3
    )  # the load's reservation and announcement came between
    for value in (3, 4):
        await other.call(b.put([f"k{value}"], value))
        await other.call(b.flush())
    await other.call(b.collect_garbage())
    assert taken in world.backing.first
    assert taken not in world.backing.objects
    await loading
    assert taken in world.backing.objects
    return dict((await other.call(b.query(None))).values)


def test_a_load_that_landed_behind_the_newest_checkpoint_is_published_again():
    with World(1, NONE) as world:
        assert world.run(overtake(world)) == {"k1": 1, "k2": 2, "k3": 3, "k4": 4}


def test_it_would_be_lost_if_the_put_were_trusted():
    with with_a_load_that_trusts_its_put(), World(1, NONE) as world:
        assert world.run(overtake(world)) == {"k1": 1, "k3": 3, "k4": 4}
