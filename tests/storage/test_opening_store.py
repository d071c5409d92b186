"""Tests of openings: what is read back, what is taken for none, and what a log that is opened with one shows."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import msgspec
import pytest

from asynchronous import asynchronous
from format.hostile import damaged, truncations
from quiver.format import opening as opening_format
from quiver.format import paths
from quiver.format.checkpoint import Checkpoint
from quiver.format.envelope import Identity, Kind, encode, make_payload
from quiver.format.opening import Head, Opening
from quiver.model.errors import CorruptObjectError, StoreUnavailableError
from quiver.objectstore.store import ObjectNotFoundError
from quiver.storage import opening_store
from quiver.storage.checkpoint_store import CheckpointStore
from quiver.storage.commit_log import CommitLog
from quiver.storage.opening_store import OpeningStore
from storage.scripted_store import Stall, become_zombie, lose_answer
from storage.tape import OWNER, QUICK, ROOT, Node, Tape

KEY = paths.opening_key(ROOT)
HEADS = [Head("", "one", b"1" * 100), Head("b" * 32, "two", b"2" * 70)]


class Opened(Node):
    """A log over a tape that is opened with the opening; `guesses` are the tapes that searches begin with."""

    def __init__(self, store, runtime) -> None:
        super().__init__(store, runtime)
        self.opening = OpeningStore(store, runtime, ROOT, OWNER)
        self.log = CommitLog(store, runtime, ROOT, OWNER, self.tape, QUICK, self.opening)
        self.guesses: list[list[bytes]] = []

    async def read(self) -> list[bytes]:
        return await self.log.observe(
            lambda: list(self.tape.bodies), lambda: self.guesses.append(list(self.tape.bodies))
        )


async def body_of(store, generation: int) -> bytes:
    return bytes(await store.inner.get(paths.checkpoint_key(ROOT, generation)))


async def put_opening(store, runtime, generation: int, body: bytes | None = None, heads=HEADS) -> None:
    opening = Opening(generation, body or await body_of(store, generation), list(heads))
    assert await OpeningStore(store.inner, runtime, ROOT, OWNER).replace(opening, present=True)


async def checkpointed(store, runtime) -> Node:
    """A log with the entries a and b, a checkpoint that holds both, and the entry c after it."""
    node = Node(store, runtime)
    await node.write(b"a")
    await node.write(b"b")
    await node.checkpoint()
    await node.write(b"c")
    store.gets.clear()
    return node


# ---------------------------------------------------------------- the object


@asynchronous
async def test_what_was_put_is_read_back(store, runtime):
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    opening = OpeningStore(store, runtime, ROOT, OWNER)
    stored = await opening.read()
    assert stored == await CheckpointStore(store, runtime, ROOT, OWNER).read(1)
    assert {place: bytes(body) for place, body in opening.heads.items()} == {
        ("", "one"): b"1" * 100,
        ("b" * 32, "two"): b"2" * 70,
    }
    assert await opening.generation() == 1


@asynchronous
async def test_without_one_there_is_none(store, runtime):
    opening = OpeningStore(store, runtime, ROOT, OWNER)
    assert await opening.read() is None
    assert await opening.generation() is None
    assert opening.heads == {}


@pytest.mark.parametrize("nbytes", [100, 2_000, 7_000, 20_000])
@asynchronous
async def test_a_long_one_is_read_in_pieces_at_once(store, runtime, monkeypatch, nbytes):
    monkeypatch.setattr(opening_store, "_PIECE", 4_000)
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1, heads=[Head("", "one", bytes(range(256)) * (nbytes // 256 + 1))])
    asked = asyncio.Event()
    real = store.get

    async def get(key, start=0, length=None):
        """The first piece waits until the last one has been asked for."""
        if start == 0:
            await asked.wait()
        elif start == 8_000:
            asked.set()
        return await real(key, start, length)

    store.get = get
    opening = OpeningStore(store, runtime, ROOT, OWNER)
    assert await opening.read() is not None
    assert bytes(opening.heads["", "one"]) == bytes(range(256)) * (nbytes // 256 + 1)


@asynchronous
async def test_one_that_is_torn_between_two_is_taken_for_none(store, runtime, monkeypatch):
    monkeypatch.setattr(opening_store, "_PIECE", 4_000)
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1, heads=[Head("", "one", b"1" * 9_000)])
    real = store.get

    async def get(key, start=0, length=None):
        if start == 4_000:
            await put_opening(store, runtime, 1, heads=[Head("", "one", b"2" * 9_000)])
        return await real(key, start, length)

    store.get = get
    assert await OpeningStore(store, runtime, ROOT, OWNER).read() is None


@pytest.mark.parametrize("start", [0, 4_000, 8_000])
@asynchronous
async def test_a_store_that_fails_makes_none_of_it_and_no_damage(store, runtime, monkeypatch, start):
    monkeypatch.setattr(opening_store, "_PIECE", 4_000)
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1, heads=[Head("", "one", b"1" * 9_000)])
    real = store.get

    async def get(key, begin=0, length=None):
        if begin == start:
            raise StoreUnavailableError("no answer")
        return await real(key, begin, length)

    store.get = get
    opening = OpeningStore(store, runtime, ROOT, OWNER)
    assert await opening.read() is None
    with pytest.raises(StoreUnavailableError):
        await opening.load()


@asynchronous
async def test_damage_of_any_kind_is_taken_for_none(store, runtime):
    """But in the zeros between the header and the payload, which nobody reads."""
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    valid = bytes(await store.inner.get(KEY))
    whole, ignored = await OpeningStore(store, runtime, ROOT, OWNER).read(), 0
    opening = OpeningStore(store, runtime, ROOT, OWNER)
    for body in (*truncations(valid), *damaged(valid, 300)):
        await store.inner.delete([KEY])
        await store.inner.put_new(KEY, [body])
        found = await opening.read()
        assert found in (None, whole)
        ignored += found is None
    assert ignored > len(valid) // 2


@pytest.mark.parametrize(
    "wrong", ["owner", "root", "kind", "inner generation", "inner object", "inner noise", "directory"]
)
@asynchronous
async def test_one_that_does_not_belong_here_is_taken_for_none(store, runtime, wrong):
    """Under checksums that hold."""
    await checkpointed(store, runtime)
    body = await body_of(store, 1)
    inner = {"inner object": bytes(await store.inner.get(paths.log_key(ROOT, 1))), "inner noise": b"noise"}
    generation = 2 if wrong == "inner generation" else 1
    parts = opening_format.encode(Opening(generation, inner.get(wrong, body), HEADS))
    payload = make_payload([b"\xff" * 90] if wrong == "directory" else parts)
    key = paths.opening_key(paths.index_root("c" * 32)) if wrong == "root" else KEY
    identity = Identity(key, "c" * 32 if wrong == "owner" else OWNER, "w", 1)
    kind = Kind.CHECKPOINT if wrong == "kind" else Kind.OPENING
    await store.inner.put_new(KEY, encode(kind, identity, payload))
    opening = OpeningStore(store, runtime, ROOT, OWNER)
    assert await opening.read() is None
    assert opening.heads == {}
    assert await opening.generation() == (0 if wrong in {"owner", "root", "kind"} else 1)


@asynchronous
async def test_who_comes_second_is_told(store, runtime):
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    opening = Opening(1, await body_of(store, 1), [])
    assert not await OpeningStore(store, runtime, ROOT, OWNER).replace(opening, present=False)
    assert len((await OpeningStore(store, runtime, ROOT, OWNER).load()).heads) == 2
    assert await OpeningStore(store, runtime, ROOT, OWNER).replace(opening, present=True)
    assert (await OpeningStore(store, runtime, ROOT, OWNER).load()).heads == []


@asynchronous
async def test_a_put_whose_answer_is_lost_is_an_error_of_the_store(store, runtime):
    await checkpointed(store, runtime)
    opening = Opening(1, await body_of(store, 1), [])
    store.next_put("/opening$", lose_answer, become_zombie)
    for present in (False, True):
        with pytest.raises(StoreUnavailableError):
            await OpeningStore(store, runtime, ROOT, OWNER).replace(opening, present=present)
    with pytest.raises(ObjectNotFoundError):
        await OpeningStore(store, runtime, ROOT, OWNER).load()
    assert await store.land_zombies() == [True]
    assert (await OpeningStore(store, runtime, ROOT, OWNER).load()).generation == 1


@asynchronous
async def test_damage_is_named_to_who_asks_for_it(store, runtime):
    await store.put_new(KEY, [b"noise"])
    with pytest.raises(CorruptObjectError, match="opening"):
        await OpeningStore(store, runtime, ROOT, OWNER).load()


# ---------------------------------------------------------------- logs that are opened with it


def checkpoints_read(store) -> int:
    """How often a checkpoint was read whole; comparing first bytes goes through the same call."""
    return store.gets.count(paths.checkpoint_key(ROOT, 1))


@asynchronous
async def test_a_log_is_opened_with_the_copy_and_the_first_bytes_of_the_checkpoint(store, runtime):
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    node = Opened(store, runtime)
    assert await node.read() == [b"a", b"b", b"c"]
    assert node.guesses == [[b"a", b"b"], [b"a", b"b", b"c"]]
    assert checkpoints_read(store) == 1
    assert await node.read() == [b"a", b"b", b"c"]
    assert len(node.guesses) == 2


@asynchronous
async def test_who_only_writes_or_waits_does_not_ask_for_it(store, runtime):
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    node = Opened(store, runtime)
    await node.log.refresh()
    await node.write(b"d")
    assert KEY not in store.gets


@asynchronous
async def test_an_older_one_is_not_begun_with(store, runtime):
    writer = await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    await writer.checkpoint()
    node = Opened(store, runtime)
    assert await node.read() == [b"a", b"b", b"c"]
    assert node.guesses == [[b"a", b"b", b"c"]]
    assert node.opening.heads.keys() == {("", "one"), ("b" * 32, "two")}


@asynchronous
async def test_one_of_a_checkpoint_yet_to_come_is_not_begun_with(store, runtime):
    """As a backup of the bucket may bring it back."""
    await checkpointed(store, runtime)
    later = Checkpoint(2, 3, False, {}, 0, msgspec.msgpack.encode([b"never"]))
    key = paths.checkpoint_key(ROOT, 2)
    body = b"".join(encode(Kind.CHECKPOINT, Identity(key, OWNER, "w", 1), make_payload([msgpack_of(later)])))
    await put_opening(store, runtime, 2, body)
    node = Opened(store, runtime)
    assert await node.read() == [b"a", b"b", b"c"]
    assert node.guesses == [[b"a", b"b", b"c"]]


def msgpack_of(checkpoint: Checkpoint) -> bytes:
    return msgspec.msgpack.encode(checkpoint)


async def put_lie(store, runtime) -> None:
    """An opening with a checkpoint that has the name of the newest, and says something else."""
    lie = Checkpoint(1, 2, False, {}, 0, msgspec.msgpack.encode([b"lie"]))
    identity = Identity(paths.checkpoint_key(ROOT, 1), OWNER, "w", 99)
    await put_opening(
        store, runtime, 1, b"".join(encode(Kind.CHECKPOINT, identity, make_payload([msgpack_of(lie)])))
    )


@asynchronous
async def test_one_that_lies_is_found_out_before_anybody_is_told(store, runtime):
    await checkpointed(store, runtime)
    await put_lie(store, runtime)
    node = Opened(store, runtime)
    assert await node.read() == [b"a", b"b", b"c"]
    assert node.guesses == [[b"lie"], [b"a", b"b", b"c"]]


@asynchronous
async def test_it_would_be_believed_if_nobody_compared_it_with_the_checkpoint(store, runtime):
    await checkpointed(store, runtime)
    await put_lie(store, runtime)
    stored = CommitLog._stored

    async def stored_unseen(self, generation, guessed):
        return guessed or await stored(self, generation, guessed)

    with patch.object(CommitLog, "_stored", stored_unseen):
        assert await Opened(store, runtime).read() == [b"lie", b"c"]


@asynchronous
async def test_a_copy_that_the_machine_cannot_take_is_passed_over(store, runtime):
    await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    node = Opened(store, runtime)
    restore, calls = Tape.restore, []

    def restore_later(self, checkpoint):
        calls.append(checkpoint)
        if len(calls) == 1:
            raise CorruptObjectError("not mine")
        restore(self, checkpoint)

    with patch.object(Tape, "restore", restore_later):
        assert await node.read() == [b"a", b"b", b"c"]
    assert node.guesses == [[b"a", b"b", b"c"]]


@asynchronous
async def test_a_checkpoint_that_is_superseded_after_the_listing_is_left_for_the_newer_one(store, runtime):
    """The one that was begun with is collected before it can be compared."""
    writer = await checkpointed(store, runtime)
    await put_opening(store, runtime, 1)
    node = Opened(store, runtime)
    real = store.get
    stall = Stall()

    async def get(key, start=0, length=None):
        if key == paths.checkpoint_key(ROOT, 1) and not stall.go.is_set():
            stall.reached.set()
            await stall.go.wait()
        return await real(key, start, length)

    store.get = get
    reading = asyncio.ensure_future(node.read())
    await stall.reached.wait()
    store.get = real
    await writer.checkpoint()
    await writer.write(b"d")
    await writer.checkpoint()
    await writer.collect()
    stall.go.set()
    assert await reading == [b"a", b"b", b"c", b"d"]
    assert node.guesses[0] == [b"a", b"b"]
