"""The audit of a log names every entry and checkpoint that is damaged, and the first of those that are missing."""

from __future__ import annotations

import pytest

from asynchronous import asynchronous
from quiver.format import paths
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import CorruptObjectError
from quiver.objectstore.memory import MemoryStore
from quiver.storage.log_audit import Flaw, audit_log
from storage.tape import OWNER, ROOT, Node, Tape


class Log:
    """Six entries, a checkpoint after the second and one after the fourth, and what is found to be wrong."""

    def __init__(self, runtime) -> None:
        self.store, self.runtime = MemoryStore(runtime), runtime

    async def fill(self) -> Log:
        node = Node(self.store, self.runtime)
        for number in range(6):
            await node.write(b"%d" % number)
            if number in (1, 3):
                await node.checkpoint()
        return self

    async def remove(self, *keys: str) -> None:
        await self.store.delete(keys)

    async def damage(self, key: str) -> None:
        body = bytearray(await self.store.get(key))
        body[-1] ^= 1
        await self.remove(key)
        await self.store.put_new(key, [bytes(body)])

    async def flaws(self, machine: Tape | None = None) -> list[Flaw]:
        return await audit_log(self.store, self.runtime, ROOT, OWNER, machine or Tape())


def entries(*slots: int) -> list[str]:
    return [paths.log_key(ROOT, slot) for slot in slots]


def checkpoints(*generations: int) -> list[str]:
    return [paths.checkpoint_key(ROOT, generation) for generation in generations]


@asynchronous
async def test_a_sound_log_has_no_flaws(runtime):
    log = await Log(runtime).fill()
    assert await log.flaws() == []
    await log.remove(*checkpoints(1), *entries(1, 2, 3, 4))  # as collecting garbage does
    assert await log.flaws() == []
    assert await audit_log(MemoryStore(runtime), runtime, ROOT, OWNER, Tape()) == []


@pytest.mark.parametrize("key", [*entries(1, 4, 6), *checkpoints(1, 2)])
@asynchronous
async def test_what_is_damaged_is_named_though_nothing_may_need_it(runtime, key):
    log = await Log(runtime).fill()
    await log.damage(key)
    assert await log.flaws() == [Flaw(key, f"{key}: payload checksum does not match")]


@asynchronous
async def test_all_that_is_damaged_is_named(runtime):
    log = await Log(runtime).fill()
    damaged = [*checkpoints(2), *entries(2, 5)]
    for key in damaged:
        await log.damage(key)
    assert [flaw.key for flaw in await log.flaws()] == damaged


@asynchronous
async def test_the_first_entry_of_each_gap_is_named(runtime):
    log = await Log(runtime).fill()
    node = Node(log.store, runtime)
    for number in range(6, 10):
        await node.write(b"%d" % number)
    await log.remove(*entries(5, 7, 8))
    assert await log.flaws() == [Flaw(key, "missing, and slot 10 was used") for key in entries(5, 7)]


@asynchronous
async def test_a_checkpoint_is_missed_by_the_log_that_was_collected_because_of_it(runtime):
    log = await Log(runtime).fill()
    await log.remove(*checkpoints(1, 2), *entries(1, 2, 3, 4))
    prefix = paths.checkpoint_prefix(ROOT)
    assert await log.flaws() == [Flaw(prefix, "none is there, though one was published")]
    await log.remove(paths.published_key(ROOT))
    first = Flaw(*entries(1), "missing, and slot 6 was used")
    assert await log.flaws() == [
        first,
        Flaw(paths.checkpoint_prefix(ROOT), "none is there that holds slots up to 4"),
    ]


@asynchronous
async def test_a_segment_tells_that_a_slot_was_used(runtime):
    log = await Log(runtime).fill()
    segment = paths.segment_id(3, 9, "b" * 32)
    await log.store.put_new(paths.segment_key(ROOT, segment, paths.ROWS), [b"rows"])
    assert await log.flaws() == [Flaw(*entries(7), "missing, and slot 9 was used")]


@asynchronous
async def test_the_last_slot_that_a_name_can_have_is_no_burden(runtime):
    log = await Log(runtime).fill()
    segment = paths.segment_id(3, 2**64 - 1, "b" * 32)
    await log.store.put_new(paths.segment_key(ROOT, segment, paths.ROWS), [b"rows"])
    assert [flaw.key for flaw in await log.flaws()] == entries(7)


@asynchronous
async def test_a_foreign_object_is_named(runtime):
    log = await Log(runtime).fill()
    await log.store.put_new(f"{ROOT}log/note", [b"?"])
    assert await log.flaws() == [Flaw(f"{ROOT}log/note", "not an object of Quiver")]


@asynchronous
async def test_what_cannot_be_replayed_is_a_flaw_of_the_whole(runtime):
    class Picky(Tape):
        def apply(self, slot, part):
            raise CorruptObjectError(f"slot {slot} makes no sense")

    log = await Log(runtime).fill()
    assert await log.flaws(Picky()) == [Flaw(ROOT, "slot 5 makes no sense")]


@asynchronous
async def test_past_the_seal_nothing_is_missed(runtime):
    log = await Log(runtime).fill()
    node = Node(log.store, runtime)
    await node.log.append(Part(PartKind.SEAL, b""))
    await node.checkpoint()
    segment = paths.segment_id(3, 9, "b" * 32)
    await log.store.put_new(paths.segment_key(ROOT, segment, paths.ROWS), [b"a flush that came too late"])
    assert await log.flaws() == []
