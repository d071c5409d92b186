"""What every object store promises, as tests. A store's test class inherits them and gives `connections`."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pytest

from quiver.objectstore.store import ObjectExistsError, ObjectInfo, ObjectNotFoundError, ObjectStore
from quiver.objectstore.upload_parts import LargePuts

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
Connections = tuple[ObjectStore, ObjectStore]

SMALL = bytes(range(256)) * 4
LARGE = random.Random(7).randbytes(700_001)

# Of a size that a store takes in several parts: S3 wants 5 MiB in each but the last.
PARTS = LargePuts(threshold=1 << 20, part_bytes=5 << 20, at_once=2)
HUGE = random.Random(8).randbytes(11 << 20)

MALFORMED = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    ".tmp/x",
    "a/.hidden",
    "A",
    "a b",
    "a\n",
    "a\x00",
    "ü",
    "a" * 513,
]
KEYS = [
    "a",
    "a-b/c",
    "a.b",
    "b/a",
    "b/aa",
    "b/ab/c",
    "b/ab/d/e",
    "b/ab-c",
    "b/b",
    "b0",
    "index/1/log/0001",
    "index/1/log/0002",
    "index/1/seg/a",
    "index/10/log/0001",
    "index/2/log/0001",
    "z_z/z",
]
PREFIXES = ["", "a", "a-", "b/", "b/a", "b/ab/", "b", "index/1/log/", "index/1", "index/", "none/", "z"]
AFTERS = ["", "a", "a/z", "b/ab", "b/ab/c", "index/1/log/0001", "index/1/log", "index/1/", "zz"]


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def attempt(store: ObjectStore, key: str, body: bytes, *, large: bool = False) -> str:
    """ "created", or the name of the error."""
    try:
        await (store.put_large if large else store.put_new)(key, [body])
    except Exception as error:
        return type(error).__name__
    return "created"


class ObjectStoreContract:
    """Inherited by the tests of each store.

    Attributes:
        decides_large: whether of racing creators with large bodies exactly one wins.
    """

    decides_large = True

    @pytest.fixture
    def connections(self) -> Connections:
        """Two ways to the same objects; none exist yet."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, connections: Connections) -> ObjectStore:
        return connections[0]

    def test_an_object_is_the_concatenation_of_its_parts(self, store: ObjectStore) -> None:
        numbers = np.arange(5, dtype=np.float32)
        parts = [b"head", b"", bytearray(b"-array-"), memoryview(b"xviewx")[1:-1], memoryview(numbers), b"end"]

        async def work() -> bytes:
            await store.put_new("x/parts", parts)
            return bytes(await store.get("x/parts"))

        assert run(work()) == b"head-array-view" + numbers.tobytes() + b"end"

    @pytest.mark.parametrize("parts", [[], [b""], [b"", bytearray()]])
    def test_an_object_may_be_empty(self, store: ObjectStore, parts: list[bytes]) -> None:
        async def work() -> tuple[bytes, bytes, int]:
            await store.put_new("x/empty", parts)
            listed = await store.list("x/")
            return bytes(await store.get("x/empty")), bytes(await store.get("x/empty", 0, 9)), listed[0].size

        assert run(work()) == (b"", b"", 0)

    def test_a_taken_key_stays_as_it_is(self, store: ObjectStore) -> None:
        async def work() -> None:
            await store.put_new("x/taken", [b"first"])
            for body in (b"second", b"first", b""):
                with pytest.raises(ObjectExistsError):
                    await store.put_new("x/taken", [body])
            assert bytes(await store.get("x/taken")) == b"first"

        run(work())

    def test_of_racing_creators_exactly_one_wins(self, connections: Connections) -> None:
        async def work() -> None:
            for round_number in range(10):
                key = f"race/{round_number}"
                bodies = [f"{round_number} {racer}".encode() * 50 for racer in range(8)]
                racers = [attempt(connections[i % 2], key, body) for i, body in enumerate(bodies)]
                outcomes = await asyncio.gather(*racers)
                assert sorted(outcomes) == ["ObjectExistsError"] * 7 + ["created"]
                assert bytes(await connections[1].get(key)) == bodies[outcomes.index("created")]

        run(work())

    @pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
    def test_ranges_end_at_the_objects_end(self, store: ObjectStore, body: bytes) -> None:
        size = len(body)
        starts = [0, 1, size // 2, size - 1, size, size + 1, size + 10_000]
        lengths = [None, 0, 1, size // 3, size, size + 1, 10 * size]

        async def work() -> None:
            await store.put_new("x/range", [body])
            for start, length in product(starts, lengths):
                expected = body[start:] if length is None else body[start : start + length]
                assert bytes(await store.get("x/range", start, length)) == expected, (start, length)

        run(work())

    def test_negative_ranges_are_refused(self, store: ObjectStore) -> None:
        for start, length in ((-1, None), (0, -1), (-5, 3)):
            with pytest.raises(ValueError, match="negative range"):
                run(store.get("x/any", start, length))

    def test_what_is_read_cannot_be_changed_and_survives_deletion(self, store: ObjectStore) -> None:
        async def work() -> None:
            await store.put_new("x/large", [LARGE])
            view = memoryview(await store.get("x/large"))
            await store.delete(["x/large"])
            assert view.readonly
            assert view == LARGE

        run(work())

    @pytest.mark.parametrize("length", [None, 0, 10])
    @pytest.mark.parametrize("key", ["none", "x/none", "x/y/none", "x", "x/here/below"])
    def test_an_absent_key_is_not_found(self, store: ObjectStore, key: str, length: int | None) -> None:
        async def work() -> None:
            await store.put_new("x/here", [b"1"])
            with pytest.raises(ObjectNotFoundError):
                await store.get(key, 0, length)

        run(work())

    def test_listings_are_sorted_and_start_after(self, connections: Connections) -> None:
        async def work() -> None:
            for key in random.Random(1).sample(KEYS, len(KEYS)):
                await connections[0].put_new(key, [key.encode()])
            for prefix, after in product(PREFIXES, AFTERS):
                expected = sorted(key for key in KEYS if key.startswith(prefix) and key > after)
                found = await connections[1].list(prefix, after)
                assert [info.key for info in found] == expected, (prefix, after)
                assert [info.size for info in found] == [len(key) for key in expected]

        run(work())

    def test_a_listing_gives_the_time_of_creation(self, store: ObjectStore) -> None:
        async def work() -> ObjectInfo:
            await store.put_new("x/now", [b"1"])
            return (await store.list("x/"))[0]

        assert abs(run(work()).modified - time.time()) < 5

    def test_an_empty_store_lists_nothing(self, store: ObjectStore) -> None:
        assert run(store.list("")) == []

    def test_listings_and_deletions_pass_the_thousand(self, connections: Connections) -> None:
        keys = [f"many/{number // 100:02d}/{number:05d}" for number in range(1_050)]

        async def work() -> None:
            for first in range(0, len(keys), 50):
                await asyncio.gather(*(connections[0].put_new(key, [b"."]) for key in keys[first : first + 50]))
            assert [info.key for info in await connections[1].list("many/")] == keys
            assert [info.key for info in await connections[1].list("many/", keys[9])] == keys[10:]
            await connections[0].delete(keys[1:])
            assert [info.key for info in await connections[1].list("")] == keys[:1]

        run(work())

    def test_a_second_connection_sees_each_change_at_once(self, connections: Connections) -> None:
        first, second = connections

        async def work() -> None:
            for number in range(20):
                key = f"seen/{number}"
                with pytest.raises(ObjectNotFoundError):
                    await second.get(key)
                await first.put_new(key, [key.encode()])
                assert bytes(await second.get(key)) == key.encode()
                assert [info.key for info in await second.list("seen/")] == [key]
                await first.delete([key])
                with pytest.raises(ObjectNotFoundError):
                    await second.get(key)
                assert await second.list("seen/") == []

        run(work())

    @pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
    def test_an_object_stands_while_it_is_there_and_what_is_to_be_absent_is(
        self, connections: Connections, body: bytes
    ) -> None:
        store, other = connections
        following = ("x/log/2", "x/checkpoint/8")

        async def work() -> None:
            assert not await store.stands("x/checkpoint/7", body[:256], following)
            await other.put_new("x/checkpoint/7", [body])
            for head in (body[:256], body[:1]):
                assert await store.stands("x/checkpoint/7", head, following)
            assert await store.stands("x/checkpoint/7", body[:256], ())
            assert not await store.stands("x/checkpoint/7", body[:255] + b"\0", following)
            for key in following:
                await other.put_new(key, [b"1"])
                assert not await store.stands("x/checkpoint/7", body[:256], following)
                await other.delete([key])
                assert await store.stands("x/checkpoint/7", body[:256], following)
            await other.delete(["x/checkpoint/7"])
            assert not await store.stands("x/checkpoint/7", body[:256], following)
            await other.put_new("x/checkpoint/7", [b"another", body])
            assert not await store.stands("x/checkpoint/7", body[:256], following)

        run(work())

    def test_what_is_shorter_than_the_first_bytes_does_not_stand(self, store: ObjectStore) -> None:
        async def work() -> None:
            await store.put_new("x/1", [b"ab"])
            assert await store.stands("x/1", b"ab", ())
            assert not await store.stands("x/1", b"abc", ())
            await store.put_new("x/2", [])
            assert not await store.stands("x/2", b"a", ())

        run(work())

    @pytest.mark.parametrize("key", ["a//b", "../a", ".tmp/x"])
    def test_malformed_keys_are_refused_when_it_is_asked_what_stands(self, store: ObjectStore, key: str) -> None:
        for asked in ((key, b"1", ()), ("x", b"1", (key,))):
            with pytest.raises(ValueError, match="malformed"):
                run(store.stands(*asked))

    def test_deleting_absent_keys_is_no_error(self, store: ObjectStore) -> None:
        async def work() -> None:
            await store.delete([])
            await store.delete(["none", "no/such/place"])
            await store.put_new("x/1", [b"1"])
            await store.put_new("x/2", [b"2"])
            await store.delete(["x/none", "x/1", "x/1/below"])
            assert [info.key for info in await store.list("")] == ["x/2"]

        run(work())

    def test_a_deleted_key_can_be_created_again(self, store: ObjectStore) -> None:
        async def work() -> None:
            for body in (b"one", LARGE, b"three"):
                await store.put_new("deep/down/again", [body])
                assert bytes(await store.get("deep/down/again")) == body
                await store.delete(["deep/down/again"])

        run(work())

    @pytest.mark.parametrize("large", [False, True], ids=["one request", "large"])
    def test_an_object_under_way_is_invisible(self, connections: Connections, large: bool) -> None:
        body = HUGE if large else LARGE * 3

        seen: set[int] = set()

        async def look(at_last: int) -> None:
            while at_last not in seen:
                try:
                    seen.add(memoryview(await connections[1].get("slow/object")).nbytes)
                except ObjectNotFoundError:
                    seen.add(-1)
                seen.update(info.size for info in await connections[1].list("slow/"))
                await asyncio.sleep(0)

        async def work() -> None:
            await asyncio.wait_for(look(-1), 60)
            looking = asyncio.create_task(look(len(body)))
            put = connections[0].put_large if large else connections[0].put_new
            await put("slow/object", [body[:1000], body[1000:]])
            await asyncio.wait_for(looking, 60)

        run(work())
        assert seen == {-1, len(body)}

    # ---------------------------------------------------------------- large objects

    def test_a_large_object_is_the_concatenation_of_its_parts(self, connections: Connections) -> None:
        cuts = [0, 0, 1, 5 << 20, (5 << 20) + 3, 6 << 20, len(HUGE)]
        parts = [memoryview(HUGE)[start:end] for start, end in pairwise(cuts)]

        async def work() -> None:
            await connections[0].put_large("x/huge", parts)
            assert bytes(await connections[1].get("x/huge")) == HUGE
            assert bytes(await connections[1].get("x/huge", (5 << 20) - 7, 20)) == HUGE[(5 << 20) - 7 :][:20]
            assert [(info.key, info.size) for info in await connections[1].list("")] == [("x/huge", len(HUGE))]

        run(work())

    def test_a_taken_key_stays_as_it_is_for_a_large_put(self, connections: Connections) -> None:
        async def work() -> None:
            await connections[0].put_new("x/small", [b"first"])
            await connections[0].put_large("x/huge", [HUGE])
            for key, first in (("x/small", b"first"), ("x/huge", HUGE)):
                for body in (HUGE[::-1], HUGE, b"second"):
                    with pytest.raises(ObjectExistsError):
                        await connections[1].put_large(key, [body])
                assert bytes(await connections[0].get(key)) == first

        run(work())

    @pytest.mark.parametrize("body", [b"", SMALL, LARGE], ids=["empty", "small", "larger"])
    def test_a_large_put_takes_small_bodies_and_then_exactly_one_wins(
        self, connections: Connections, body: bytes
    ) -> None:
        async def put(store: ObjectStore, number: int) -> str:
            return await attempt(store, "x/any", body + bytes([number]) * bool(body), large=True)

        async def work() -> None:
            outcomes = await asyncio.gather(*(put(connections[n % 2], n) for n in range(6)))
            assert sorted(outcomes) == ["ObjectExistsError"] * 5 + ["created"]
            winner = outcomes.index("created")
            assert bytes(await connections[0].get("x/any")) == body + bytes([winner]) * bool(body)

        run(work())

    def test_racing_creators_of_a_large_object_leave_one_of_them_whole(self, connections: Connections) -> None:
        bodies = [HUGE, HUGE[::-1], HUGE[1:]]

        async def work() -> None:
            racers = [attempt(connections[n % 2], "x/race", body, large=True) for n, body in enumerate(bodies)]
            outcomes = await asyncio.gather(*racers)
            assert set(outcomes) <= {"created", "ObjectExistsError"}
            winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome == "created"]
            assert len(winners) == 1 or (winners and not self.decides_large)
            assert bytes(await connections[1].get("x/race")) in winners

        run(work())

    def test_a_large_put_that_is_given_up_leaves_all_or_nothing(self, connections: Connections) -> None:
        async def look(key: str) -> int:
            try:
                return memoryview(await connections[1].get(key)).nbytes
            except ObjectNotFoundError:
                return 0

        async def work() -> None:
            for number in range(4):
                key = f"x/{number}"
                putting = asyncio.create_task(connections[0].put_large(key, [HUGE]))
                await asyncio.sleep(0.01 * number)
                putting.cancel()
                with suppress(asyncio.CancelledError):
                    await putting
                assert await look(key) in {0, len(HUGE)}
                assert await attempt(connections[1], key, HUGE, large=True) in {"created", "ObjectExistsError"}
                assert await look(key) == len(HUGE)

        run(work())

    @pytest.mark.parametrize("key", MALFORMED)
    def test_malformed_keys_are_refused(self, store: ObjectStore, key: str) -> None:
        async def work() -> None:
            with pytest.raises(ValueError, match="malformed"):
                await store.put_new(key, [b"x"])
            with pytest.raises(ValueError, match="malformed"):
                await store.put_large(key, [b"x"])
            with pytest.raises(ValueError, match="malformed"):
                await store.get(key)
            with pytest.raises(ValueError, match="malformed"):
                await store.delete(["fine", key])
            assert await store.list("") == []

        run(work())

    @pytest.mark.parametrize("prefix", ["/", "..", "a/../", "a//", ".tmp/", "a/.tmp/", "A", "ü"])
    def test_malformed_prefixes_are_refused(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(ValueError, match="malformed"):
            run(store.list(prefix))

    def test_closing_twice_is_no_error(self, store: ObjectStore) -> None:
        async def work() -> None:
            await store.put_new("x/1", [b"1"])
            await store.close()
            await store.close()

        run(work())
