"""A conditional write stalls when it is about to be written, and a load is published meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from quiver.format import paths
from simulation import vectors
from simulation.faults import NONE
from simulation.mutants import (
    with_announcements_unheeded,
    with_loads_that_take_no_slot,
    with_loads_unannounced,
)
from simulation.test_late_load import open_on
from simulation.world import World

LOADED, WRITTEN = 1, 2


async def reached(node) -> None:
    """Until the node stands at its pause."""
    while node.pause_at:
        await asyncio.sleep(0.01)


async def judged(node, replica):
    """A write of an absent key, its put on a way that takes long; or, where it has to wait, not yet so far."""
    put, sent = node.store.put_new, asyncio.Event()

    async def put_late(key, parts):
        if key.startswith(paths.log_prefix(vectors.ROOT)) and not sent.is_set():
            sent.set()
            await asyncio.sleep(15)
        await put(key, parts)

    node.store.put_new = put_late
    writing = asyncio.ensure_future(node.call(replica.put_absent(["k"], WRITTEN)))
    await asyncio.wait([asyncio.ensure_future(sent.wait())], timeout=2)
    return writing


async def outcome(world, *, judged_before: bool):
    """What the writer of an absent key is told when a load of that key was acknowledged, and what is there then.

    Its condition is judged before the load is announced, or between its entry in the log and its publication.
    """
    loader, other = world.start_node(), world.start_node()
    a, b = [await node.call(open_on(node)) for node in (loader, other)]
    await other.call(b.put(["another"], 9))
    writing = None
    if judged_before:
        writing = await judged(other, b)
    loader.pause_at = {"load:closing": 0.5}
    loading = asyncio.ensure_future(loader.call(a.load(["k"], LOADED)))
    await reached(loader)
    if not judged_before:
        loader.pause_at = {"segment:rows_written": 5}  # of the tail, after the load's entry
        await reached(loader)
        writing = await judged(other, b)
    await loading
    told = await writing
    return told, dict((await loader.call(a.get(["k"]))).values)


@pytest.mark.parametrize("judged_before", [True, False])
def test_a_load_that_was_acknowledged_is_seen_by_a_conditional_write_that_comes_after(judged_before):
    with World(1, NONE) as world:
        assert world.run(outcome(world, judged_before=judged_before)) == ({}, {"k": LOADED})


@pytest.mark.parametrize(
    ("mutant", "judged_before"),
    [
        (with_loads_that_take_no_slot, True),
        (with_loads_unannounced, False),
        (with_announcements_unheeded, False),
    ],
)
def test_it_would_be_overwritten_if(mutant, judged_before):
    with mutant(), World(1, NONE) as world:
        assert world.run(outcome(world, judged_before=judged_before)) == ({"k": WRITTEN}, {"k": WRITTEN})
