"""The examination of an object store: does it keep the promises of the contract, or does it lie?

Modelled on what went wrong in stores that claim conditional writes: conditions ignored now and then, checked
before and not with the write, honoured by each server only for itself, listings and reads that lag behind.
A passed probe is evidence and no proof; a failed one is a reason not to keep data there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from quiver.model.errors import QuiverError, StoreUnavailableError
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore

T = TypeVar("T")

ROUNDS = 60
KEYS = 1_050
RACERS = 8

_REPEATS_PER_ROUND = 8
_AT_ONCE = 16
_VISIBILITY_ROUNDS = 12
_LARGE = 8 * 2**20
_PUT_ATTEMPTS = 4
_FIRST_DELAY = 0.05


class Check(NamedTuple):
    """One promise, and whether it was kept. `message` is empty when it was."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the probe found, in the order it looked."""

    url: str
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return all(check.ok for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        """The promises that were broken."""
        return [check for check in self.checks if not check.ok]


class _Broken(Exception):
    """A promise was seen broken."""


async def probe(
    store: ObjectStore,
    runtime: Runtime,
    peers: Sequence[ObjectStore] = (),
    rounds: int = ROUNDS,
    keys: int = KEYS,
) -> ProbeReport:
    """Examine a store under a `probe/<id>/` prefix of its own, which is removed again.

    Args:
        store: the store to examine.
        peers: further connections to the same objects, best through every endpoint there is.
        rounds: how many races to run; each also stands for 8 repeated creations. The default of 60 meets a
            store that ignores one condition in 200 with a probability of 0.98.
        keys: how many objects to create for the listing; more than 1,000, the page of S3, or it shows little.

    Costs about 16 * rounds + keys + 200 requests. Raises nothing a store does wrong: that is in the report.
    """
    examination = _Probe([store, *peers], runtime, rounds, keys)
    report = ProbeReport(store.url)
    for name, check in examination.checks():
        report.checks.append(await _outcome(name, check))
    return report


async def _outcome(name: str, check: Callable[[], Awaitable[None]]) -> Check:
    try:
        await check()
    except _Broken as finding:
        return Check(name, ok=False, message=str(finding))
    except (QuiverError, OSError) as error:
        return Check(name, ok=False, message=f"{type(error).__name__}: {error}")
    return Check(name, ok=True, message="")


class _Probe:
    """The checks, and what they share."""

    def __init__(self, stores: Sequence[ObjectStore], runtime: Runtime, rounds: int, keys: int) -> None:
        self._stores = stores
        self._first = stores[0]
        self._other = stores[-1]
        self._runtime = runtime
        self._rounds = rounds
        self._count = keys
        self._prefix = f"probe/{runtime.new_id()}/"
        self._used: set[str] = set()

    def checks(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """Name and examination of each promise; the last cleans up."""
        return [
            ("absent keys are not found", self._absent),
            ("a taken key is refused", self._taken),
            ("a replayed put says the key exists", self._replay),
            ("one creator wins", self._races),
            ("reads see the last change", self._reads),
            ("listings see the last change", self._listings),
            ("listings are complete, sorted and start after", self._listing),
            ("ranges are exact", self._ranges),
            ("a large object comes back whole", self._large),
            ("an object under way is invisible", self._invisible),
            ("deleted objects are gone", self._cleanup),
        ]

    async def _absent(self) -> None:
        for store in self._stores:
            await self._expect_absent(store, self._key("absent"))
            if await store.list(self._prefix):
                raise _Broken("a prefix under which nothing was created lists objects")

    async def _taken(self) -> None:
        key, body = self._key("taken"), self._body()
        await self._create(key, body)

        async def again(number: int) -> None:
            outcome = await self._put(self._stores[number % len(self._stores)], key, self._body())
            if outcome != "exists":
                raise _Broken(f"putting to a taken key was answered: {outcome}")

        await _all([partial(again, number) for number in range(self._rounds * _REPEATS_PER_ROUND)])
        for store in self._stores:
            await self._expect(store, key, body)

    async def _replay(self) -> None:
        key, body = self._key("replay"), self._body()
        await self._create(key, body)
        outcome = await self._put(self._other, key, body)
        if outcome != "exists":
            raise _Broken(f"putting the same bytes again was answered: {outcome}")
        await self._expect(self._other, key, body)

    async def _races(self) -> None:
        for number in range(self._rounds):
            await self._race(self._key(f"race/{number}"))

    async def _race(self, key: str) -> None:
        bodies = [self._body() for _ in range(RACERS)]
        stores = [self._stores[racer % len(self._stores)] for racer in range(RACERS)]
        racers = zip(stores, bodies, strict=True)
        outcomes = await asyncio.gather(*(self._put(store, key, body) for store, body in racers))
        winners = [body for body, outcome in zip(bodies, outcomes, strict=True) if outcome == "created"]
        if len(winners) > 1:
            raise _Broken(f"{len(winners)} of {RACERS} racing creators of one key were told they won")
        if any(outcome not in ("created", "exists") for outcome in outcomes):
            raise _Broken(f"a racing creator was answered: {sorted(set(outcomes))}")
        for store in self._stores:
            # With no winner, one lost its first answer and met its own object when it asked again.
            if await self._read(store, key) not in (winners or bodies):
                raise _Broken("the object is not the one of the creator that was told it won")

    async def _reads(self) -> None:
        for number in range(_VISIBILITY_ROUNDS):
            key, body = self._key(f"read/{number}"), self._body()
            await self._expect_absent(self._other, key)
            await self._create(key, body)
            for store in (self._other, self._first):
                await self._expect(store, key, body)
            await self._first.delete([key])
            for store in (self._other, self._first):
                await self._expect_absent(store, key)

    async def _listings(self) -> None:
        prefix = self._key("list/")
        await self._expect_listing(prefix, [])
        for number in range(_VISIBILITY_ROUNDS):
            key = f"{prefix}{number}"
            await self._create(key, b"listed")
            await self._expect_listing(prefix, [key])
            await self._first.delete([key])
            await self._expect_listing(prefix, [])

    async def _expect_listing(self, prefix: str, expected: list[str]) -> None:
        for store in (self._other, self._first):
            found = [info.key for info in await store.list(prefix)]
            if found != expected:
                raise _Broken(f"a listing shows {len(found)} objects where {len(expected)} are")

    async def _listing(self) -> None:
        prefix = self._key("many/")
        keys = sorted(f"{prefix}{number % 7}/{number:06d}" for number in range(self._count))
        await _all([partial(self._create, key, key.encode()) for key in keys])
        middle = keys[len(keys) // 2]
        cases = [(prefix, ""), (prefix, middle), (f"{prefix}3/", ""), (f"{prefix}3/", middle), (prefix, keys[-1])]
        for store, (start, after) in product(self._stores, cases):
            expected = [key for key in keys if key.startswith(start) and key > after]
            found = await store.list(start, after)
            listed = [info.key for info in found]
            if set(listed) != set(expected) or len(listed) != len(expected):
                raise _Broken(f"a listing shows {len(listed)} objects where {len(expected)} are")
            if listed != expected:
                raise _Broken("a listing is not sorted by key")
            if any(info.size != len(info.key) for info in found):
                raise _Broken("a listing shows a wrong size")

    async def _ranges(self) -> None:
        for size in (3_000, 700_001):
            key, body = self._key(f"range/{size}"), self._bytes(size)
            await self._create(key, body)
            starts = (0, 1, size // 2, size - 1, size, size + 100)
            for start, length in product(starts, (None, 1, size // 3, size + 100)):
                expected = body[start:] if length is None else body[start : start + length]
                if bytes(await self._other.get(key, start, length)) != expected:
                    raise _Broken(f"reading {length} bytes from {start} of {size} did not give those bytes")

    async def _large(self) -> None:
        key, body = self._key("large"), self._bytes(_LARGE)
        await self._create(key, body)
        for store in self._stores:
            await self._expect(store, key, body)

    async def _invisible(self) -> None:
        key, body = self._key("slow/object"), self._bytes(_LARGE)
        putting = self._runtime.spawn(self._create(key, body), "probe put")
        while not putting.done():
            await self._look(key, body)
            await self._runtime.sleep(0)
        await putting
        await self._expect(self._other, key, body)

    async def _look(self, key: str, body: bytes) -> None:
        seen = {info.size for info in await self._other.list(self._key("slow/"))}
        try:
            data = await self._other.get(key)
        except ObjectNotFoundError:
            pass
        else:
            seen.add(memoryview(data).nbytes)
        if seen - {len(body)}:
            raise _Broken("part of an object was visible while it was being put")

    async def _cleanup(self) -> None:
        """Go by memory as well as by the listing, which may be among what is broken."""
        listed = {info.key for info in await self._first.list(self._prefix)}
        await self._first.delete(sorted(listed | self._used))
        for store in self._stores:
            left = await store.list(self._prefix)
            if left:
                raise _Broken(f"{len(left)} deleted objects are still listed")
            for key in sorted(self._used)[:3]:
                await self._expect_absent(store, key)

    async def _put(self, store: ObjectStore, key: str, body: bytes) -> str:
        """ "created", "exists", or the error; one that leaves the outcome open is met by the same put again."""
        self._used.add(key)
        delay = _FIRST_DELAY
        answer = ""
        for _ in range(_PUT_ATTEMPTS):
            try:
                await store.put_new(key, [body[:5], body[5:]])
            except ObjectExistsError:
                return "exists"
            except StoreUnavailableError as error:
                answer = f"{type(error).__name__}: {error}"
            else:
                return "created"
            await self._runtime.sleep(delay * (0.5 + self._runtime.random()))
            delay *= 2
        return answer

    async def _create(self, key: str, body: bytes) -> None:
        outcome = await self._put(self._first, key, body)
        if outcome not in ("created", "exists"):
            raise _Broken(f"putting to a free key was answered: {outcome}")
        if outcome == "exists":
            await self._expect(self._first, key, body)

    async def _read(self, store: ObjectStore, key: str) -> bytes | None:
        try:
            return bytes(await store.get(key))
        except ObjectNotFoundError:
            return None

    async def _expect(self, store: ObjectStore, key: str, body: bytes) -> None:
        found = await self._read(store, key)
        if found is None:
            raise _Broken("an object that was created is not found")
        if found != body:
            raise _Broken(f"an object of {len(body)} bytes came back as {len(found)} other bytes")

    async def _expect_absent(self, store: ObjectStore, key: str) -> None:
        if await self._read(store, key) is not None:
            raise _Broken("an object that does not exist, or no more, was read")

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _body(self) -> bytes:
        """Bytes nobody else puts."""
        return self._runtime.new_id().encode()

    def _bytes(self, size: int) -> bytes:
        """That many bytes, different at each place and each time."""
        salt = self._body()
        count = size // (len(salt) + 8) + 1
        return b"".join(salt + number.to_bytes(8, "big") for number in range(count))[:size]


async def _all(work: Sequence[Callable[[], Awaitable[T]]]) -> None:
    """Do everything, some at once; the first error ends it."""
    for start in range(0, len(work), _AT_ONCE):
        await asyncio.gather(*(one() for one in work[start : start + _AT_ONCE]))
