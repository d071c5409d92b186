"""Every object of a small index, damaged in every way (I4, I11): a fresh node gives the exact answer or a
DataError, never another exception and never a shorter answer."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from asynchronous import asynchronous
from engine.native.nodes import dump, names, open_index, put
from quiver.engine.engine import Query
from quiver.format import paths
from quiver.model.errors import DataError
from quiver.model.filter_parser import parse_filter
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.local import LocalStore
from quiver.objectstore.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quiver.engine.native.index import NativeIndex
    from quiver.objectstore.store import ObjectStore

SPEC = IndexSpec(3, DistanceMetric.EUCLIDEAN)
TARGET = np.array([0.5, 1, 2], np.float32)
FLIPS = 30  # per object and seed


class Answers(NamedTuple):
    """What a fresh node says; a DataError's status where it refuses to say."""

    ranking: object
    filtered: object
    rows: object
    lookup: object


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    runtime = SystemRuntime(threads=2)
    yield MemoryStore(runtime) if request.param == "memory" else LocalStore(tmp_path, runtime)
    runtime.close()


async def build(store: ObjectStore) -> tuple[NativeIndex, list[str]]:
    """Two segments with tombstones, two checkpoints, and a tail; log entries on both sides of the checkpoint."""
    index = await open_index(store, SystemRuntime(threads=1), SPEC)
    rng = np.random.default_rng(0)
    for step in range(4):
        rows = {f"k{key}": rng.integers(-9, 9, 3).tolist() for key in rng.choice(20, 6, replace=False)}
        await put(index, rows, step=step)
        if step % 2:
            await index.delete([f"k{key}" for key in rng.choice(20, 2, replace=False)])
            await index.maintenance.flush()
    await put(index, {"k1": [7, 7, 7], "tail": [1, 1, 1]}, step=9)
    await index.delete(["k2"])
    await put(index, {"last": [3, 3, 3]}, step=10)
    # Of the object that says that there has been a checkpoint only the name counts.
    return index, [info.key for info in await store.list("") if info.key != paths.published_key(index.root)]


async def ask(store: ObjectStore, runtime: SystemRuntime) -> Answers:
    """Four questions to a fresh node; an error in one must not hide what the others say."""
    index = await open_index(store, runtime, SPEC)

    async def answer(question) -> object:
        try:
            return await question(index)
        except DataError:
            return None

    async def rank(index: NativeIndex, condition=None) -> object:
        hits = await index.query(Query(TARGET, 100, condition, metadata=True))
        return hits.keys, hits.distances.tolist(), hits.metadata

    async def look_up(index: NativeIndex) -> object:
        found = await index.get([f"k{n}" for n in range(20)] + ["tail", "last"], vectors=True, metadata=True)
        return sorted((row.key, row.vector.tolist(), row.metadata) for row in found.rows)

    return Answers(
        await answer(rank),
        await answer(lambda index: rank(index, parse_filter({"step": {"$gte": 1}}))),
        await answer(dump),
        await answer(look_up),
    )


def compare(found: Answers, exact: Answers, what: str) -> bool:
    """Whether every answer was refused or exact; True when any was refused."""
    for name, answer, wanted in zip(Answers._fields, found, exact, strict=True):
        assert answer is None or answer == wanted, f"{what}: {name} is {answer}, not {wanted}"
    return None in found


async def replace(store: ObjectStore, key: str, body: bytes | None) -> None:
    await store.delete([key])
    if body is not None:
        await store.put_new(key, [body])


def expendable(key: str, checkpoint_slot: int) -> bool:
    """Objects that nothing needs any more: what garbage collection would take."""
    name = paths.classify(paths.index_root(key.split("/")[1]), key)
    return (name.kind == "log" and name.slot <= checkpoint_slot) or (
        name.kind == "checkpoint" and name.generation == 1
    )


@asynchronous
async def test_a_missing_object_is_an_error_or_makes_no_difference(store):
    """With one exception. The newest entry of the log leaves no trace elsewhere: no later entry, no checkpoint
    and no segment names its slot, so a node that was not there cannot tell it from one that was never written.
    Only its own durability, which the store answers for, protects it.
    """
    index, keys = await build(store)
    runtime = index.runtime
    exact = await ask(store, runtime)
    newest = paths.log_key(index.root, index.log.slot)
    undetected = []
    for key in keys:
        body = bytes(await store.get(key))
        await replace(store, key, None)
        found = await ask(store, runtime)
        if key == newest:
            assert found.ranking[0] == [name for name in exact.ranking[0] if name != "last"]
        elif not compare(found, exact, f"without {key}"):
            undetected.append(key)
        await replace(store, key, body)
    assert all(expendable(key, index.log.base_slot) for key in undetected if "/checkpoint/" not in key)
    # Without the newest checkpoint its predecessor and the log, not yet collected, give the same answer.
    assert sorted(key for key in undetected if "/log/" in key) == [
        paths.log_key(index.root, slot) for slot in range(1, index.log.base_slot + 1)
    ]
    assert compare(await ask(store, runtime), exact, "repaired") is False


@asynchronous
async def test_after_collection_every_object_is_needed(store):
    index, _ = await build(store)
    await index.maintenance.collect()
    exact = await ask(store, index.runtime)
    newest = paths.log_key(index.root, index.log.slot)
    for info in await store.list(index.root):
        if info.key not in (newest, paths.published_key(index.root)):
            body = bytes(await store.get(info.key))
            await replace(store, info.key, None)
            assert compare(await ask(store, index.runtime), exact, f"without {info.key}")
            await replace(store, info.key, body)
    assert len(await names(index, "segment")) == 4


@asynchronous
async def test_a_truncated_object_is_an_error_or_makes_no_difference(store):
    index, keys = await build(store)
    exact = await ask(store, index.runtime)
    for key in keys:
        body = bytes(await store.get(key))
        for length in {0, 1, 7, 8, 63, 64, 65, len(body) // 2, len(body) - 64, len(body) - 8, len(body) - 1}:
            if 0 <= length < len(body):
                await replace(store, key, body[:length])
                refused = compare(await ask(store, index.runtime), exact, f"{key} cut to {length}")
                assert refused or expendable(key, index.log.base_slot)
        await replace(store, key, body + b"\0")
        refused = compare(await ask(store, index.runtime), exact, f"{key} with a byte more")
        assert refused or expendable(key, index.log.base_slot)
        await replace(store, key, body)


@pytest.mark.parametrize("seed", range(2))
@asynchronous
async def test_a_flipped_bit_is_an_error_or_makes_no_difference(store, seed):
    index, keys = await build(store)
    exact = await ask(store, index.runtime)
    chance = random.Random(seed)
    refusals = 0
    for key in keys:
        if expendable(key, index.log.base_slot):
            continue
        body = bytes(await store.get(key))
        edges = [0, 9, 11, 40, len(body) - 1, len(body) - 9, len(body) - 18]
        for position in edges + [chance.randrange(len(body)) for _ in range(FLIPS)]:
            damaged = bytearray(body)
            damaged[position] ^= 1 << chance.randrange(8)
            await replace(store, key, bytes(damaged))
            refusals += compare(await ask(store, index.runtime), exact, f"{key}: a bit of byte {position}")
        await replace(store, key, body)
    assert refusals > 100


@asynchronous
async def test_an_object_in_anothers_place_is_an_error_or_makes_no_difference(store):
    index, keys = await build(store)
    other = await open_index(store, index.runtime, SPEC, "e" * 32)
    await put(other, {"foreign": [1, 2, 3]})
    await other.maintenance.flush()
    await put(other, {"foreign": [3, 2, 1]})
    exact = await ask(store, index.runtime)
    bodies = {info.key: bytes(await store.get(info.key)) for info in await store.list("")}
    chance = random.Random(0)

    def alike(key: str, candidates) -> list[str]:
        """Objects of the same kind, of this index and of the other."""
        kind = key.split("/")[2], key.rsplit("/", maxsplit=1)[-1][:4]
        return [each for each in candidates if (each.split("/")[2], each.split("/")[-1][:4]) == kind]

    for key in keys:
        for source in sorted({*alike(key, bodies), *chance.sample(sorted(bodies), 4)} - {key}):
            await replace(store, key, bodies[source])
            refused = compare(await ask(store, index.runtime), exact, f"{source} in place of {key}")
            assert refused or expendable(key, index.log.base_slot)
        await replace(store, key, bodies[key])


async def refused(question) -> bool:
    try:
        await question
    except DataError:
        return True
    return False


@asynchronous
async def test_damage_that_was_repaired_is_forgotten(store):
    """A node that met damage needs no restart once the object has been put back."""
    index, _ = await build(store)
    exact = await ask(store, index.runtime)
    segments = await names(index, "segment")
    for name in segments:
        key = index.root + name
        body = bytes(await store.get(key))
        refusals = 0
        for position in range(len(body) // 20, len(body), len(body) // 10):
            damaged = bytearray(body)
            damaged[position] ^= 1
            await replace(store, key, bytes(damaged))
            node = await open_index(store, index.runtime, SPEC)
            refusals += await refused(dump(node))
            refusals += await refused(node.query(Query(TARGET, 9, parse_filter({"step": 1}))))
            await replace(store, key, body)
            hits = await node.query(Query(TARGET, 100, metadata=True))
            assert (hits.keys, hits.distances.tolist(), hits.metadata) == exact.ranking
            assert await dump(node) == exact.rows
        assert refusals > 3
