"""Tests of the commit store over a bucket that overwrites without asking, with its table in moto's DynamoDB."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from objectstore.commit_tables import MemoryTable, OverwritingStore, open_commit_store
from objectstore.contract import Connections, ObjectStoreContract, attempt, run
from quiver.model.errors import MissingObjectError, StoreUnavailableError
from quiver.objectstore import commit_store
from quiver.objectstore.commit_store import ABANDONED_SECONDS, INLINE_BYTES, CommitStore
from quiver.objectstore.commit_table import UPLOADS
from quiver.objectstore.probe import probe
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from objectstore.conftest import Moto
    from quiver.model.runtime import SystemRuntime
    from quiver.objectstore.store import Buffer

LARGE = b"x" * (INLINE_BYTES + 1)


class TestCommitStoreInMemory(ObjectStoreContract):
    @pytest.fixture
    def connections(self, runtime: SystemRuntime) -> Connections:
        bodies, table = OverwritingStore(runtime), MemoryTable(runtime)
        return CommitStore(bodies, table, runtime), CommitStore(bodies, table, runtime)


class TestCommitStoreInMemoryWithEveryBodyInTheBucket(TestCommitStoreInMemory):
    @pytest.fixture(autouse=True)
    def nothing_inline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(commit_store, "INLINE_BYTES", -1)


@pytest.mark.slow
@pytest.mark.usefixtures("aws_keys")
class TestCommitStoreOverS3AndDynamoDB(ObjectStoreContract):
    @pytest.fixture
    def connections(
        self, moto: Moto, commit_table: str, fresh_path: Callable[[], str], runtime: SystemRuntime
    ) -> Connections:
        path = fresh_path()
        first, second = (open_commit_store(moto, commit_table, path, runtime) for _ in range(2))
        return first, second

    @pytest.mark.soak  # moto copies all of a table for each transaction
    def test_listings_and_deletions_pass_the_thousand(self, connections: Connections) -> None:
        super().test_listings_and_deletions_pass_the_thousand(connections)

    def test_the_probe_finds_no_fault(self, connections: Connections, runtime: SystemRuntime) -> None:
        report = run(probe(connections[0], runtime, connections[1:], rounds=5, keys=50))
        assert report.ok, report.failed
        assert run(connections[0].list("")) == []


@pytest.mark.soak
class TestCommitStoreOverS3AndDynamoDBWithEveryBodyInTheBucket(TestCommitStoreOverS3AndDynamoDB):
    test_listings_and_deletions_pass_the_thousand = None  # moto copies all of a table for each transaction
    # Large bodies always lie there.
    test_a_large_object_is_the_concatenation_of_its_parts = None
    test_a_taken_key_stays_as_it_is_for_a_large_put = None
    test_racing_creators_of_a_large_object_leave_one_of_them_whole = None
    test_a_large_put_that_is_given_up_leaves_all_or_nothing = None

    @pytest.fixture(autouse=True)
    def nothing_inline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(commit_store, "INLINE_BYTES", -1)


class Bench:
    """A commit store in memory whose two halves can be looked into and made to fail."""

    def __init__(self, runtime: SystemRuntime) -> None:
        self.runtime = runtime
        self.bodies = OverwritingStore(runtime)
        self.table = MemoryTable(runtime)
        self.store = self.another()

    def another(self) -> CommitStore:
        return CommitStore(self.bodies, self.table, self.runtime)

    def in_bucket(self) -> set[str]:
        return {info.key.removeprefix("body/") for info in run(self.bodies.list(""))}

    def announced(self) -> set[str]:
        return {item.name for item in run(self.table.list(UPLOADS, ""))}


@pytest.fixture
def bench(runtime: SystemRuntime) -> Bench:
    return Bench(runtime)


@pytest.mark.parametrize(("size", "in_bucket"), [(0, 0), (INLINE_BYTES, 0), (INLINE_BYTES + 1, 1)])
def test_small_bodies_stay_in_the_table(bench: Bench, size: int, in_bucket: int) -> None:
    run(bench.store.put_new("key", [b"x" * size]))
    assert len(bench.in_bucket()) == in_bucket
    assert bench.announced() == set()
    assert run(bench.another().get("key")) == b"x" * size


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
def test_a_lost_answer_is_resolved_by_asking_again(bench: Bench, body: bytes) -> None:
    bench.table.lose_answers = 2
    run(bench.store.put_new("key", [body]))
    assert run(bench.store.get("key")) == body
    with pytest.raises(ObjectExistsError):
        run(bench.store.put_new("key", [body]))


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
def test_answers_lost_for_good_leave_the_outcome_open(bench: Bench, body: bytes) -> None:
    bench.table.lose_answers = 100
    with pytest.raises(StoreUnavailableError):
        run(bench.store.put_new("key", [body]))
    bench.table.lose_answers = 0
    assert run(bench.store.get("key")) == body


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
def test_a_refusal_after_a_lost_answer_is_no_refusal(bench: Bench, body: bytes) -> None:
    """The first attempt created the object: nobody may be told that it never will exist."""
    bench.table.lose_answers = 1
    bench.table.refuse_after = 1
    with pytest.raises(StoreUnavailableError):
        run(bench.store.put_new("key", [body]))
    assert run(bench.store.get("key")) == body


def test_a_refusal_is_one(bench: Bench) -> None:
    bench.table.refuse_after = 0
    with pytest.raises(StoreRefusedError):
        run(bench.store.put_new("key", [b"small"]))


class Died(BaseException):
    """The process ends here."""


def die_at(bench: Bench, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def reach(reached: str) -> None:
        if reached == point:
            raise Died(point)

    monkeypatch.setattr(bench.runtime, "reach", reach)


@pytest.mark.parametrize("point", ["commit_store:announced", "commit_store:uploaded"])
def test_a_creator_that_dies_creates_nothing_and_is_swept_up(
    bench: Bench, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        die_at(bench, point, patched)
        with pytest.raises(Died):
            run(bench.store.put_new("key", [LARGE]))
    with pytest.raises(ObjectNotFoundError):
        run(bench.store.get("key"))
    assert run(bench.store.list("")) == []
    assert bench.in_bucket() <= bench.announced()  # found again by whoever looks
    assert len(bench.announced()) == 1
    run(bench.another().put_new("key", [LARGE + b"2"]))

    run(bench.another().delete([]))
    assert len(bench.announced()) == 1  # it may still be under way
    bench.table.clock += ABANDONED_SECONDS + 1
    run(bench.another().delete([]))
    assert bench.announced() == set()
    assert len(bench.in_bucket()) == 1
    assert run(bench.store.get("key")) == LARGE + b"2"


def test_a_creator_that_was_swept_up_creates_nothing(bench: Bench) -> None:
    """A writer stalls between upload and publication for longer than its announcement lasts."""

    async def stall() -> None:
        bench.table.clock += ABANDONED_SECONDS + 1
        await bench.another().delete([])

    bench.bodies.after_put = stall
    with pytest.raises(StoreUnavailableError, match="took too long"):
        run(bench.store.put_new("key", [LARGE]))
    assert run(bench.store.list("")) == []
    assert bench.in_bucket() == bench.announced() == set()


def test_an_upload_that_took_too_long_is_announced_again_and_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer stalls between announcement and upload: its body comes when nothing names it any more."""
    stalled = 0.0
    monotonic = bench.runtime.monotonic
    monkeypatch.setattr(bench.runtime, "monotonic", lambda: monotonic() + stalled)

    async def upload_late(key: str, parts: list[bytes]) -> None:
        nonlocal stalled
        stalled = ABANDONED_SECONDS
        bench.table.clock += ABANDONED_SECONDS + 1
        await bench.another().delete([])
        assert await bench.table.list(UPLOADS, "") == []
        await OverwritingStore.put_new(bench.bodies, key, parts)

    with monkeypatch.context() as patched:
        patched.setattr(bench.bodies, "put_new", upload_late)
        with pytest.raises(StoreUnavailableError, match="took too long"):
            run(bench.store.put_new("key", [LARGE]))
    assert bench.in_bucket() == bench.announced() != set()
    assert run(bench.store.list("")) == []
    bench.table.clock += ABANDONED_SECONDS + 1
    run(bench.another().delete([]))
    assert bench.in_bucket() == bench.announced() == set()


class SlowBucket(OverwritingStore):
    """Takes bodies that need an upload in parts, with whatever happens meanwhile."""

    large_bytes = INLINE_BYTES
    meanwhile: Callable[[], Awaitable[None]]

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        await self.meanwhile()
        await super().put_new(key, parts)


class Hours:
    """A bench on whose bucket uploads take hours."""

    def __init__(self, runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = Bench(runtime)
        self.bench.bodies = self.bucket = SlowBucket(runtime)
        self.passed = 0.0
        monotonic = runtime.monotonic
        monkeypatch.setattr(runtime, "monotonic", lambda: monotonic() + self.passed)
        monkeypatch.setattr(commit_store, "_RENEWAL_SECONDS", 0.01)

    def put(self) -> CommitStore:
        store = self.bench.another()
        run(store.put_new("key", [LARGE]))
        return store

    async def pass_by(self, seconds: float) -> None:
        """Both clocks go on, and somebody sweeps."""
        self.passed += seconds
        self.bench.table.clock += seconds
        await self.bench.another().delete([])


@pytest.fixture
def hours(runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch) -> Hours:
    return Hours(runtime, monkeypatch)


def test_an_upload_of_hours_stays_announced(hours: Hours) -> None:
    async def upload() -> None:
        for _ in range(10):
            await hours.pass_by(ABANDONED_SECONDS / 3)
            announced = await hours.bench.table.list(UPLOADS, "")
            await until(lambda before=announced[0].modified: renewed(before))

    async def renewed(before: float) -> bool:
        (upload,) = await hours.bench.table.list(UPLOADS, "")
        return upload.modified > before

    hours.bucket.meanwhile = upload
    assert run(hours.put().get("key")) == LARGE
    assert hours.bench.announced() == set()


def test_an_upload_that_was_swept_up_stays_so(hours: Hours) -> None:
    """Its renewals come too late: they bring nothing back."""

    async def upload() -> None:
        await hours.pass_by(ABANDONED_SECONDS + 1)
        asked = hours.bench.table.renewals
        await until(lambda: after(asked))
        assert await hours.bench.table.list(UPLOADS, "") == []

    async def after(asked: int) -> bool:
        return hours.bench.table.renewals > asked

    hours.bucket.meanwhile = upload
    with pytest.raises(StoreUnavailableError, match="took too long"):
        hours.put()
    assert hours.bench.in_bucket() == hours.bench.announced() != set()
    run(hours.pass_by(ABANDONED_SECONDS + 1))
    assert hours.bench.in_bucket() == hours.bench.announced() == set()
    assert run(hours.bench.another().list("")) == []


def test_renewals_end_with_the_upload(hours: Hours) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.05)
        raise StoreUnavailableError("down")

    async def work() -> None:
        hours.bucket.meanwhile = fail
        with pytest.raises(StoreUnavailableError, match="down"):
            await hours.bench.another().put_new("key", [LARGE])
        asked = hours.bench.table.renewals
        assert asked > 0
        await asyncio.sleep(0.05)
        assert hours.bench.table.renewals == asked

    run(work())


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(500):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def test_a_sweep_that_dies_is_finished_by_the_next(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        die_at(bench, "commit_store:uploaded", patched)
        with pytest.raises(Died):
            run(bench.store.put_new("key", [LARGE]))
    bench.table.clock += ABANDONED_SECONDS + 1
    with monkeypatch.context() as patched:
        die_at(bench, "commit_store:leaving", patched)
        with pytest.raises(Died):
            run(bench.another().delete([]))
    assert len(bench.in_bucket()) == len(bench.announced()) == 1
    bench.table.clock -= ABANDONED_SECONDS
    run(bench.another().delete([]))
    assert bench.in_bucket() == bench.announced() == set()


def test_the_body_of_a_creator_that_lost_is_swept_up(bench: Bench) -> None:
    async def race() -> list[str]:
        return await asyncio.gather(*(attempt(bench.another(), "key", LARGE + bytes([n])) for n in range(5)))

    outcomes = run(race())
    winner = outcomes.index("created")
    assert sorted(outcomes) == ["ObjectExistsError"] * 4 + ["created"]
    assert len(bench.in_bucket()) == 5
    bench.table.clock += ABANDONED_SECONDS + 1
    run(bench.another().delete([]))
    assert len(bench.in_bucket()) == 1
    assert run(bench.store.get("key")) == LARGE + bytes([winner])


@pytest.mark.parametrize("point", ["commit_store:leaving", "commit_store:bodies_removed"])
def test_a_removal_that_dies_shows_what_is_left_to_do(
    bench: Bench, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(bench.store.put_new("key", [LARGE]))
    with monkeypatch.context() as patched:
        die_at(bench, point, patched)
        with pytest.raises(Died):
            run(bench.store.delete(["key"]))
    fresh = bench.another()
    with pytest.raises(ObjectNotFoundError):
        run(fresh.get("key"))
    with pytest.raises(ObjectExistsError):
        run(fresh.put_new("key", [b"again"]))
    assert [info.key for info in run(fresh.list(""))] == ["key"]

    run(fresh.delete(["key"]))
    assert run(fresh.list("")) == []
    assert bench.in_bucket() == set()
    run(fresh.put_new("key", [b"again"]))
    assert run(bench.store.get("key")) == b"again"


def test_a_removal_under_way_spares_what_took_the_name_since(bench: Bench, runtime: SystemRuntime) -> None:
    """A collector stalls after it marked an object; others remove the object and create the key again."""
    run(bench.store.put_new("key", [LARGE]))
    others = bench.another()

    async def stall() -> None:
        bench.bodies.before_delete = None
        await others.delete(["key"])
        await others.put_new("key", [LARGE + b"new"])

    bench.bodies.before_delete = stall
    run(bench.store.delete(["key"]))
    assert run(bench.store.get("key")) == LARGE + b"new"


def test_a_reader_that_knows_a_key_sees_what_took_its_place(bench: Bench) -> None:
    reader = bench.another()
    for body in (LARGE + b"1", LARGE + b"2", b"small"):
        run(bench.store.put_new("key", [body]))
        assert run(reader.get("key")) == body
        assert run(reader.get("key", 1)) == body[1:]
        run(bench.store.delete(["key"]))
        with pytest.raises(ObjectNotFoundError):
            run(reader.get("key"))


def test_a_known_key_is_read_without_asking_the_table(bench: Bench) -> None:
    run(bench.store.put_new("key", [LARGE]))
    reader = bench.another()
    run(reader.get("key"))
    asked = bench.table.requests
    for start in range(5):
        run(reader.get("key", start, 3))
    assert bench.table.requests == asked


def test_what_a_listing_showed_is_read_without_asking_the_table(bench: Bench) -> None:
    run(bench.store.put_new("key", [LARGE]))
    reader = bench.another()
    run(reader.list(""))
    asked = bench.table.requests
    assert run(reader.get("key")) == LARGE
    assert bench.table.requests == asked
    run(bench.store.delete(["key"]))
    run(bench.store.put_new("key", [LARGE + b"2"]))
    assert run(reader.get("key")) == LARGE + b"2"


def test_a_lost_body_is_damage_and_no_absent_object(bench: Bench) -> None:
    run(bench.store.put_new("key", [LARGE]))
    run(bench.bodies.delete([f"body/{token}" for token in bench.in_bucket()]))
    with pytest.raises(MissingObjectError, match="key"):
        run(bench.another().get("key"))


def test_the_table_tells_the_time_of_creation(bench: Bench) -> None:
    bench.table.clock += 1e6
    run(bench.store.put_new("a", [b"small"]))
    run(bench.store.put_new("b", [LARGE]))
    listed = run(bench.store.list(""))
    assert all(abs(info.modified - run(bench.table.now())) < 5 for info in listed)
