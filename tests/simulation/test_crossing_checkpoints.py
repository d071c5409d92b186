"""Two checkpoints drafted from one base by nodes that stall; garbage is collected between their publications."""

from __future__ import annotations

import asyncio

from quiver.engine.native.compaction import compact
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.model.errors import MissingObjectError
from quiver.model.types import DistanceMetric, IndexSpec
from simulation import vectors
from simulation.faults import NONE
from simulation.mutants import with_unchained_checkpoints
from simulation.world import World

SPEC = IndexSpec(2, DistanceMetric.EUCLIDEAN)
SETTINGS = NativeSettings(garbage_age=0.0, background=False)


async def open_on(node):
    engine = NativeEngine(node.store, node.runtime, SETTINGS)
    return vectors.VectorReplica(await engine.open(vectors.INDEX_ID, SPEC), node.world.random)


async def pause_of(node):
    """Until it stands still where it was told to."""
    while node.pause_at:
        await asyncio.sleep(0.05)


async def cross(world):
    """Compaction drafts first, a flush drafts later and stalls longer; what is missing in the end, and a read."""
    compactor, flusher, other = (world.start_node() for _ in range(3))
    a, b, c = [await node.call(open_on(node)) for node in (compactor, flusher, other)]
    for value in (1, 2):
        await compactor.call(a.put([f"k{value}"], value))
        await compactor.call(a.flush())
    for _ in range(3):  # so that slots are ahead of generations
        await other.call(c.put(["k3"], 3))
    await compactor.call(a.get(["k1"]))
    inputs = [ref.id for ref in a.index.state.segments]
    compactor.pause_at, flusher.pause_at = {"segment:written": 1}, {"segment:rows_written": 10}
    compaction = asyncio.ensure_future(compactor.call(compact(a.index, inputs)))
    await pause_of(compactor)  # the merged segment is written
    compactor.pause_at = {"segment:rows_written": 3}
    await pause_of(compactor)  # the tail is: the compaction has drafted as of slot 5
    await other.call(c.put(["k4"], 4))
    flush = asyncio.ensure_future(flusher.call(b.flush()))
    await asyncio.sleep(1)  # the flush has drafted as of slot 6, from the same base
    await asyncio.wait([compaction], timeout=120)
    ended = compaction.done()
    await asyncio.sleep(1.1)
    await other.call(c.collect_garbage())
    await asyncio.wait([flush])
    fresh = world.start_node()
    replica = await fresh.call(open_on(fresh))
    try:
        answer = dict((await fresh.call(replica.query(None))).values)
    except MissingObjectError:
        answer = None
    return vectors.dangling(world.backing), answer, ended


def test_a_stalled_flush_never_brings_back_segments_that_were_collected():
    with World(1, NONE) as world:
        missing, answer, ended = world.run(cross(world))
    assert missing == []
    assert ended
    assert answer == {"k1": 1, "k2": 2, "k3": 3, "k4": 4}


def test_without_the_chain_work_that_crossed_is_never_settled():
    """Nodes look for the generation after theirs: a merge published under another number is never found again."""
    with with_unchained_checkpoints(), World(1, NONE) as world:
        _, _, ended = world.run(cross(world))
    assert not ended
