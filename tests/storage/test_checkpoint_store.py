"""Tests of checkpoints: found, loaded, and created by exactly one."""

from __future__ import annotations

import pytest

from asynchronous import asynchronous
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint, Session
from quiver.format.envelope import Identity, Kind, encode, make_payload
from quiver.model.errors import CorruptObjectError
from quiver.objectstore.store import ObjectNotFoundError, StoreRefusedError
from quiver.storage.checkpoint_store import CheckpointStore
from storage.scripted_store import become_zombie, claim_existence, fail, lose_answer, refuse
from storage.tape import OWNER, ROOT

ME, SOMEBODY = "1" * 32, "2" * 32


def checkpoint(generation: int, state: bytes = b"state") -> Checkpoint:
    return Checkpoint(generation, 70, False, {ME: Session(3, 70, [None, 7])}, 0, state)


@pytest.fixture
def checkpoints(store, runtime) -> CheckpointStore:
    return CheckpointStore(store, runtime, ROOT, OWNER)


@asynchronous
async def test_the_newest_is_found_past_any_generation(checkpoints):
    assert await checkpoints.newest(0) is None
    for generation in (1, 300, 20):
        assert await checkpoints.create(checkpoint(generation), ME)
    assert [await checkpoints.newest(after) for after in (0, 1, 2, 299, 300)] == [300] * 4 + [None]


@asynchronous
async def test_what_was_created_is_loaded(checkpoints):
    await checkpoints.create(checkpoint(5), ME)
    assert await checkpoints.load(5) == checkpoint(5)
    with pytest.raises(ObjectNotFoundError):
        await checkpoints.load(6)


@pytest.mark.parametrize(
    "fate", [lose_answer, fail, claim_existence, become_zombie], ids=lambda fate: fate.__name__
)
@asynchronous
async def test_a_lost_answer_is_resolved(store, checkpoints, fate):
    store.next_put("/checkpoint/", fate)
    assert await checkpoints.create(checkpoint(5), ME)
    await store.land_zombies()
    assert await checkpoints.load(5) == checkpoint(5)


@pytest.mark.parametrize("fate", [None, fail, claim_existence, become_zombie])
@asynchronous
async def test_one_creator_of_a_generation_wins(store, checkpoints, fate):
    assert await checkpoints.create(checkpoint(5, b"first"), SOMEBODY)
    if fate is not None:
        store.next_put("/checkpoint/", fate)
    assert not await checkpoints.create(checkpoint(5, b"second"), ME)
    assert (await checkpoints.load(5)).state == b"first"


@asynchronous
async def test_a_generation_that_was_replaced_and_collected_is_lost(store, checkpoints):
    await checkpoints.create(checkpoint(9), SOMEBODY)
    store.next_put("/checkpoint/", claim_existence)
    assert not await checkpoints.create(checkpoint(5), ME)


@asynchronous
async def test_a_refusal_is_passed_on(store, checkpoints):
    store.next_put("/checkpoint/", refuse)
    with pytest.raises(StoreRefusedError):
        await checkpoints.create(checkpoint(5), ME)
    assert await checkpoints.newest(0) is None


@asynchronous
async def test_another_indexs_checkpoint_is_refused(store, runtime, checkpoints):
    await checkpoints.create(checkpoint(5), ME)
    with pytest.raises(CorruptObjectError):
        await CheckpointStore(store, runtime, ROOT, "b" * 32).load(5)
    body = bytes(await store.get(paths.checkpoint_key(ROOT, 5)))
    await store.put_new(paths.checkpoint_key(ROOT, 6), [body])
    with pytest.raises(CorruptObjectError):
        await checkpoints.load(6)


@asynchronous
async def test_a_late_draft_under_the_newest_name_that_was_listed_is_not_the_newest_checkpoint(store, checkpoints):
    """Listed as the newest, then replaced and collected; then a draft that had lost lands under its name."""
    await checkpoints.create(checkpoint(5, b"true"), ME)
    real, looked = checkpoints.load, []

    async def load_later(generation: int) -> Checkpoint:
        if not looked:
            looked.append(generation)
            await checkpoints.create(checkpoint(6, b"newer"), ME)
            await store.delete([paths.checkpoint_key(ROOT, 5)])
            await checkpoints.create(checkpoint(5, b"lost"), SOMEBODY)
        return await real(generation)

    checkpoints.load = load_later
    assert (await checkpoints.settled()).state == b"newer"
    assert looked == [5]


@asynchronous
async def test_a_checkpoint_collected_while_it_is_looked_for_is_looked_for_again(store, checkpoints):
    assert await checkpoints.settled() is None
    await checkpoints.create(checkpoint(5, b"old"), ME)
    real, looked = checkpoints.load, []

    async def load_later(generation: int) -> Checkpoint:
        if not looked:
            looked.append(generation)
            await checkpoints.create(checkpoint(6, b"newer"), ME)
            await store.delete([paths.checkpoint_key(ROOT, 5)])
        return await real(generation)

    checkpoints.load = load_later
    assert (await checkpoints.settled()).state == b"newer"


@asynchronous
async def test_a_checkpoint_is_known_again_until_another_takes_its_place(store, checkpoints):
    await checkpoints.create(checkpoint(5, b"same"), ME)
    stored = await checkpoints.read(5)
    assert stored.checkpoint == checkpoint(5, b"same")
    assert await checkpoints.has(5)
    assert await checkpoints.holds(5, stored.head)
    await store.delete([paths.checkpoint_key(ROOT, 5)])
    assert not await checkpoints.has(5)
    assert not await checkpoints.holds(5, stored.head)
    await checkpoints.create(checkpoint(5, b"same"), ME)
    assert await checkpoints.has(5)
    assert not await checkpoints.holds(5, stored.head)


@asynchronous
async def test_an_attempt_that_lands_late_is_not_taken_for_the_one_that_succeeded(store, checkpoints):
    store.next_put("/checkpoint/", become_zombie)
    assert await checkpoints.create(checkpoint(5), ME)
    stored = await checkpoints.read(5)
    await store.delete([paths.checkpoint_key(ROOT, 5)])
    assert await store.land_zombies() == [True]
    assert (await checkpoints.load(5)) == stored.checkpoint
    assert not await checkpoints.holds(5, stored.head)


def test_the_first_bytes_hold_the_whole_identity():
    longest = Identity(paths.checkpoint_key(ROOT, (1 << 64) - 1), OWNER, "f" * 32, (1 << 60) - 1)
    head = encode(Kind.CHECKPOINT, longest, make_payload([b""]))[0]
    assert len(head) <= 256
