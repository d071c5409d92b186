"""A late put fills a catalog slot that was collected with the creation of an index; a node replays that."""

from __future__ import annotations

import asyncio

import pytest

from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.model.errors import ConflictError
from quiver.service.catalog import CatalogSettings
from simulation.catalog_node import CatalogNode
from simulation.faults import NONE
from simulation.mutants import with_names_read_in_mid_replay
from simulation.world import World

NAME = {"vectorBucketName": "bucket-a", "indexName": "index-a"}
CREATE = NAME | {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
PUT = NAME | {"vectors": [{"key": "k", "data": {"float32": [1.0, 2.0]}}]}


def slow_down(node, operation, seconds):
    """From now on, requests of one sort reach the store so much later."""
    inner = getattr(node.store, operation)

    async def later(*arguments):
        await asyncio.sleep(seconds)
        return await inner(*arguments)

    setattr(node.store, operation, later)


async def meet_the_phantom(world):
    """The keys that everybody sees after a put that a node acknowledged in the middle of its replay."""
    reader, stalled, other = nodes = [world.start_node() for _ in range(3)]
    settings = CatalogSettings(checkpoint_slots=1), NativeSettings(garbage_age=0.0, background=False)
    served = {node: CatalogNode(node, *settings) for node in nodes}

    async def call(node, operation, params):
        return (await node.call(served[node].call(operation, params)))[0]

    await call(other, "CreateVectorBucket", {"vectorBucketName": "bucket-a"})
    await reader.call(served[reader].catalog.refresh())  # stands at slot 1
    slow_down(stalled, "put_new", 5)
    late = asyncio.ensure_future(call(stalled, "CreateIndex", CREATE))  # means slot 2
    await asyncio.sleep(1)
    await call(other, "CreateIndex", CREATE)  # has slot 2
    await asyncio.sleep(1.5)
    await other.call(served[other].collect_garbage())
    assert paths.log_key(paths.CATALOG_ROOT, 2) not in world.backing.objects
    with pytest.raises(ConflictError):
        await late
    assert len(world.backing.log[paths.log_key(paths.CATALOG_ROOT, 2)]) == 2
    served[reader].catalog._log._proven = False  # as before the first listing after a checkpoint was taken over
    slow_down(reader, "list", 2)
    replay = asyncio.ensure_future(reader.call(served[reader].catalog.refresh()))
    await asyncio.sleep(1)  # it has applied the late entry and asks whether a newer checkpoint exists
    await call(reader, "PutVectors", PUT)
    await replay
    return [each["key"] for each in (await call(other, "ListVectors", NAME))["vectors"]]


def test_a_write_in_the_middle_of_a_replay_goes_to_the_index_that_has_the_name():
    with World(1, NONE) as world:
        assert world.run(meet_the_phantom(world)) == ["k"]


def test_it_would_be_lost_if_names_were_read_in_the_middle_of_a_replay():
    with with_names_read_in_mid_replay(), World(1, NONE) as world:
        assert world.run(meet_the_phantom(world)) == []
