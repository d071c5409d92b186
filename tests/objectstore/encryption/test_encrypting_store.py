"""Tests of the store that encrypts: the contract over other stores, what it hides, and what it notices."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectstore.contract import HUGE, Connections, ObjectStoreContract, run
from objectstore.encryption.sealing import INDEX, encrypting, new_keys
from quiver.model.errors import CorruptObjectError, DataError, MissingObjectError, UnsupportedFormatError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.encryption import encrypting_store
from quiver.objectstore.encryption.layout import CHUNK, HEADER, OVERHEAD, SEALED_CHUNK, NotEncryptedError
from quiver.objectstore.encryption.provider import MissingKeyError
from quiver.objectstore.local import LocalStore
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.metered_store import MeteredStore
from quiver.objectstore.store import MadeParts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from objectstore.conftest import Moto
    from quiver.objectstore.encryption.encrypting_store import EncryptingStore
    from quiver.objectstore.encryption.key_file import KeyFile

MARKER = b"plain as day "


class TestOverMemory(ObjectStoreContract):
    @pytest.fixture
    def connections(self, runtime: SystemRuntime) -> Connections:
        inner, keys = MemoryStore(runtime), new_keys(runtime)
        return encrypting(inner, keys, runtime), encrypting(inner, keys, runtime)


class TestOverADirectory(ObjectStoreContract):
    @pytest.fixture
    def connections(self, tmp_path: Path, runtime: SystemRuntime) -> Connections:
        keys = new_keys(runtime)
        first, second = (encrypting(LocalStore(tmp_path / "root", runtime), keys, runtime) for _ in range(2))
        return first, second


@pytest.mark.slow
class TestOverS3(ObjectStoreContract):
    decides_large = False

    @pytest.fixture
    def connections(self, moto: Moto, fresh_path: Callable[[], str], runtime: SystemRuntime) -> Connections:
        keys, path = new_keys(runtime), fresh_path()
        return encrypting(moto.store(path), keys, runtime), encrypting(moto.store(path), keys, runtime)


class TestWithBodiesMadeAsTheyAreSent(TestOverADirectory):
    """As large ones are."""

    @pytest.fixture(autouse=True)
    def lazily(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(encrypting_store, "_INLINE_BYTES", 0)
        monkeypatch.setattr(encrypting_store, "_MADE_AT_ONCE", 0)


@pytest.fixture
def inner(runtime: SystemRuntime) -> MemoryStore:
    return MemoryStore(runtime)


@pytest.fixture
def keys(runtime: SystemRuntime) -> KeyFile:
    return new_keys(runtime)


@pytest.fixture
def store(inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime) -> EncryptingStore:
    return encrypting(inner, keys, runtime)


def stored(inner: MemoryStore, name: str) -> bytes:
    return bytes(run(inner.get(name)))


def replace(inner: MemoryStore, name: str, body: bytes) -> None:
    async def work() -> None:
        await inner.delete([name])
        await inner.put_new(name, [body])

    run(work())


def chunks_of(body: bytes) -> list[bytes]:
    return [body[at : at + SEALED_CHUNK] for at in range(0, len(body), SEALED_CHUNK)]


# ---------------------------------------------------------------- what is stored


@pytest.mark.parametrize("size", [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5])
def test_what_is_stored_has_its_length_and_no_plaintext(
    inner: MemoryStore, store: EncryptingStore, size: int
) -> None:
    body = (MARKER * (size // len(MARKER) + 1))[:size]
    run(store.put_new("x/a", [body[:7], body[7:]]))
    raw = stored(inner, "x/a")
    assert len(raw) == size + OVERHEAD * max(1, -(-size // CHUNK))
    assert MARKER[:8] not in raw
    assert bytes(run(store.get("x/a"))) == body
    assert [info.size for info in run(store.list("x/"))] == [size]


def test_equal_bodies_are_stored_differently(inner: MemoryStore, store: EncryptingStore) -> None:
    for name in ("x/a", "x/b"):
        run(store.put_new(name, [MARKER * 10]))
    first, second = stored(inner, "x/a"), stored(inner, "x/b")
    assert first[: HEADER.size - 24] == second[: HEADER.size - 24]
    assert not set(zip(first[48:80:8], second[48:80:8], strict=True)) <= {(a, a) for a in range(256)}


def test_a_range_is_one_request_of_whole_chunks(inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime) -> None:
    meter = MeteredStore(inner)
    store = encrypting(meter, keys, runtime)
    run(store.put_new("x/a", [bytes(10 * CHUNK)]))
    meter.reset()
    assert len(run(store.get("x/a", 3 * CHUNK + 5, CHUNK))) == CHUNK
    counts = meter.snapshot()
    assert (counts.get.requests, counts.get.bytes_out, counts.list.requests) == (1, 2 * SEALED_CHUNK, 0)
    assert len(run(store.get("x/a", 3 * CHUNK, CHUNK))) == CHUNK
    assert meter.snapshot().get.bytes_out == 3 * SEALED_CHUNK


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2 * CHUNK), max_size=4),
    st.lists(st.tuples(st.integers(0, 5 * CHUNK), st.none() | st.integers(0, 3 * CHUNK)), max_size=5),
)
def test_any_range_of_any_body_is_that_of_the_plaintext(
    sizes: list[int], ranges: list[tuple[int, int | None]]
) -> None:
    runtime = SystemRuntime(threads=1)
    store = encrypting(MemoryStore(runtime), new_keys(runtime), runtime)
    parts = [
        bytes((n + at) % 251 for n in range(min(size, 300))) * -(-size // 300) for at, size in enumerate(sizes)
    ]
    body = b"".join(parts)

    async def work() -> None:
        await store.put_new("x/a", parts)
        for start, length in ranges:
            expected = body[start:] if length is None else body[start : start + length]
            assert bytes(await store.get("x/a", start, length)) == expected

    run(work())
    runtime.close()


def test_a_large_body_is_never_whole_in_memory(
    tmp_path: Path, keys: KeyFile, runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encrypting_store, "_MADE_AT_ONCE", 1 << 20)
    seen: list[int] = []

    class Watching(LocalStore):
        async def put_new(self, key, parts):
            if not key.startswith("key/"):
                assert isinstance(parts, MadeParts)
                seen.extend(memoryview(part).nbytes for part in parts)
            await super().put_new(key, parts)

    store = encrypting(Watching(tmp_path, runtime), keys, runtime)
    run(store.put_new("x/huge", [HUGE]))
    assert max(seen) == 64 * SEALED_CHUNK
    assert len(seen) == 3
    assert bytes(run(store.get("x/huge"))) == HUGE


def test_the_roots_keys_are_not_shown_and_cannot_be_named(inner: MemoryStore, store: EncryptingStore) -> None:
    run(store.put_new("x/a", [b"1"]))
    assert [info.key for info in run(inner.list("key/"))] != []
    assert [info.key for info in run(store.list(""))] == ["x/a"]
    for attempt in (store.get("key/x"), store.put_new("key/x", [b"1"]), store.delete(["key/x"])):
        with pytest.raises(ValueError, match="data key"):
            run(attempt)


# ---------------------------------------------------------------- what is noticed

SIZE = 2 * CHUNK + 1000


@pytest.fixture
def raw(inner: MemoryStore, store: EncryptingStore) -> bytes:
    """What is stored of an object of two chunks and a bit."""
    run(store.put_new("x/a", [(bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]]))
    return stored(inner, "x/a")


CLASSES = {
    "magic": 0,
    "version": 6,
    "flags": 7,
    "key id": 8,
    "salt": 24,
    "first byte": HEADER.size,
    "middle": SEALED_CHUNK // 2,
    "first byte of the tag": SEALED_CHUNK - 16,
    "last byte of the tag": SEALED_CHUNK - 1,
}


@pytest.mark.parametrize("bit", [1, 2, 4, 128])
@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("place", CLASSES.values(), ids=CLASSES.keys())
def test_a_flipped_bit_is_noticed(
    inner: MemoryStore, store: EncryptingStore, raw: bytes, place: int, chunk: int, bit: int
) -> None:
    changed = bytearray(raw)
    changed[chunk * SEALED_CHUNK + place] ^= bit
    replace(inner, "x/a", bytes(changed))
    for start, length in ((0, None), (chunk * CHUNK, 10), (chunk * CHUNK, CHUNK)):
        with pytest.raises((CorruptObjectError, NotEncryptedError, UnsupportedFormatError, MissingObjectError)):
            run(store.get("x/a", start, length))


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 0, 2), (1, 1, 2), (0, 2, 1), (2, 1, 0), (0, 1, 1), (0, 1, 2, 2)])
def test_chunks_in_another_order_are_noticed(
    inner: MemoryStore, store: EncryptingStore, raw: bytes, order: tuple[int, ...]
) -> None:
    chunks = chunks_of(raw)
    replace(inner, "x/a", b"".join(chunks[number] for number in order))
    with pytest.raises(CorruptObjectError):
        run(store.get("x/a"))


def test_a_chunk_of_another_object_or_another_put_is_noticed(
    inner: MemoryStore, store: EncryptingStore, raw: bytes
) -> None:
    body = bytes(run(store.get("x/a")))
    run(store.put_new("x/b", [body]))
    other = stored(inner, "x/b")
    run(inner.delete(["x/a"]))
    run(store.put_new("x/a", [body]))
    again = stored(inner, "x/a")
    ours, theirs, later = chunks_of(raw), chunks_of(other), chunks_of(again)
    for number, source in product(range(3), (theirs, later)):
        mixed = [*ours[:number], source[number], *ours[number + 1 :]]
        replace(inner, "x/a", b"".join(mixed))
        with pytest.raises(CorruptObjectError):
            run(store.get("x/a"))
    for number in range(3):  # of another name, also when it is read alone
        replace(inner, "x/a", other)
        with pytest.raises(CorruptObjectError):
            run(store.get("x/a", number * CHUNK, 10))


@pytest.mark.parametrize("cut", [1, 15, 16, 1000, 1064, SEALED_CHUNK + 1064, 2 * SEALED_CHUNK + 1063])
def test_a_truncated_object_is_noticed_by_who_reads_past_the_cut(
    inner: MemoryStore, store: EncryptingStore, raw: bytes, cut: int
) -> None:
    whole = bytes(run(store.get("x/a")))
    replace(inner, "x/a", raw[: len(raw) - cut])
    for start, length in ((0, None), (0, len(whole)), (0, len(whole) + 1)):
        with pytest.raises(DataError):
            run(store.get("x/a", start, length))


def test_an_object_that_goes_on_after_its_end_is_noticed(
    inner: MemoryStore, store: EncryptingStore, raw: bytes
) -> None:
    for extra in (b"\0", chunks_of(raw)[0], bytes(OVERHEAD), bytes(SEALED_CHUNK)):
        replace(inner, "x/a", raw + extra)
        with pytest.raises(DataError):
            run(store.get("x/a"))


def test_an_emptied_object_is_noticed(inner: MemoryStore, store: EncryptingStore, raw: bytes) -> None:
    replace(inner, "x/a", b"")
    for start, length in ((0, None), (0, 10)):
        with pytest.raises(NotEncryptedError):
            run(store.get("x/a", start, length))


def test_what_is_in_clear_is_refused(inner: MemoryStore, store: EncryptingStore) -> None:
    run(inner.put_new("x/plain", [MARKER * 100]))
    with pytest.raises(NotEncryptedError, match="x/plain"):
        run(store.get("x/plain"))


# ---------------------------------------------------------------- keys


def test_an_object_is_read_under_any_key_of_the_file_and_written_under_the_current(
    inner: MemoryStore, runtime: SystemRuntime
) -> None:
    old = new_keys(runtime)
    run(encrypting(inner, old, runtime).put_new("x/old", [MARKER]))
    name = new_keys(runtime)
    both = old.with_key(name.current, name.keys[name.current], current=True)
    after = encrypting(inner, both, runtime)
    run(after.put_new("x/new", [MARKER]))
    assert bytes(run(after.get("x/old"))) == bytes(run(after.get("x/new"))) == MARKER
    assert stored(inner, "x/old")[8:24] != stored(inner, "x/new")[8:24]
    only_new = encrypting(inner, both.without_key(old.current), runtime)
    assert bytes(run(only_new.get("x/new"))) == MARKER
    with pytest.raises(MissingKeyError, match=old.current):
        run(only_new.get("x/old"))


def test_processes_with_the_same_keys_share_one_data_key(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime
) -> None:
    for number in range(4):
        run(encrypting(inner, keys, runtime).put_new(f"x/{number}", [b"1"]))
    assert len({stored(inner, f"x/{number}")[8:24] for number in range(4)}) == 1
    assert len(run(inner.list("key/"))) == 1


def test_processes_that_make_a_root_at_once_read_each_others_objects(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime
) -> None:
    stores = [encrypting(inner, keys, runtime) for _ in range(4)]

    async def work() -> None:
        await asyncio.gather(*(each.put_new(f"x/{number}", [MARKER]) for number, each in enumerate(stores)))
        for number, each in product(range(4), stores):
            assert bytes(await each.get(f"x/{number}")) == MARKER

    run(work())


def test_an_index_with_a_key_of_its_own_uses_it_from_the_first_object_on(
    inner: MemoryStore, store: EncryptingStore, keys: KeyFile, runtime: SystemRuntime
) -> None:
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{keys.current}"
    name = f"index/{INDEX}/log/0000000000000001"
    run(store.index_keys.give(INDEX, arn, "arn:aws:s3vectors:us-east-1:000000000000:bucket/b/index/i"))
    run(store.put_new(name, [MARKER]))
    run(store.put_new("x/a", [MARKER]))
    raw = stored(inner, name)
    assert raw[7] == 3
    assert raw[8:24] != stored(inner, "x/a")[8:24]
    assert bytes(run(encrypting(inner, keys, runtime).get(name))) == MARKER
    assert [info.key for info in run(store.list("index/"))] == [f"index/{INDEX}/key", name]
    run(inner.delete([f"index/{INDEX}/key"]))
    with pytest.raises(MissingObjectError, match="data key"):
        run(encrypting(inner, keys, runtime).get(name))
