"""Copying a store: whole and sound, or refused, whatever happens to the source and to the copy meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynchronous import asynchronous
from quiver.format import log_entry, paths, rows
from quiver.format.envelope import Identity, Kind, encode, make_payload
from quiver.format.log_entry import Part, PartKind
from quiver.model.errors import (
    ConflictError,
    CorruptObjectError,
    MissingObjectError,
    NotFoundError,
    StoreUnavailableError,
)
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.storage.copying.transfer import CopySettings
from quiver.storage.store_format import UnfinishedCopyError, open_store_format, read_format
from storage.copying.living import BUCKET, Interfering, Living, copied, judge, open_root, rows_of
from storage.scripted_store import ScriptedStore, become_zombie, claim_existence, fail, lose_answer

if TYPE_CHECKING:
    from collections.abc import Callable


class Killed(BaseException):
    """The process that copies is gone."""


async def alive(runtime: SystemRuntime, indexes: int = 2) -> Living:
    """A store with segments, tombstones, a tail and garbage in each of its indexes."""
    living = Living(MemoryStore(runtime), runtime)
    await living.open()
    for number in range(indexes):
        name = f"index-{number}"
        await living.create(name)
        await living.put(name, {f"k{n}": n for n in range(40)})
        await living.flush(name)
        await living.put(name, {f"k{n}": 100 + n for n in range(20, 60)})
        await living.flush(name)
        await living.remove(name, ["k1", "k30"])
        await living.put(name, {"tail": 7})
    return living


def content(store: MemoryStore) -> dict[str, bytes]:
    return {key: entry.data for key, entry in store._entries.items()}


# -------------------------------------------------------------------- the plain case


@asynchronous
async def test_a_copy_holds_what_the_source_held_and_nothing_else(runtime):
    living, target = await alive(runtime), MemoryStore(runtime)
    before = content(living.store)
    report = await copied(living.store, target, runtime)
    assert content(living.store) == before
    made = content(target)
    about = {paths.STORE_FORMAT, paths.COPIED}
    assert {key: body for key, body in made.items() if key not in about}.items() <= before.items()
    assert (report.indexes, report.kept) == (2, 0)
    assert report.objects == len(made) - len(about)
    assert report.nbytes == sum(len(body) for key, body in made.items() if key not in about)
    await judge(living, target, living.now)


@asynchronous
async def test_openings_are_not_copied(runtime):
    living = Living(MemoryStore(runtime), runtime)
    living.store.resident = False
    await living.open()
    await living.create("index")
    await living.put("index", {"k": 1})
    await living.flush("index")
    await living.engine.close()
    target = MemoryStore(runtime)
    report = await copied(living.store, target, runtime)
    held = [[key.rpartition("/")[2] for key in content(store)] for store in (living.store, target)]
    assert [names.count("opening") for names in held] == [1, 0]
    assert report.nbytes == sum(len(body) for key, body in content(target).items() if "/" in key)
    await judge(living, target, living.now)


@asynchronous
async def test_a_copy_is_a_store_of_its_own_and_can_be_copied_in_turn(runtime):
    living, target, third = await alive(runtime), MemoryStore(runtime), MemoryStore(runtime)
    await copied(living.store, target, runtime)
    _, _, service = await open_root(target, runtime)
    names = {"vectorBucketName": BUCKET, "indexName": "index-0"}
    await service.call("PutVectors", {**names, "vectors": [{"key": "own", "data": {"float32": [1, 2]}}]})
    await copied(target, third, runtime)
    _, _, service = await open_root(third, runtime)
    found = (await service.call("GetVectors", {**names, "keys": ["own", "tail"]})).body["vectors"]
    assert sorted(vector["key"] for vector in found) == ["own", "tail"]
    await judge(living, living.store, living.now)


@asynchronous
async def test_page_tokens_of_the_source_hold_in_the_copy(runtime):
    living, target = await alive(runtime), MemoryStore(runtime)
    await copied(living.store, target, runtime)
    tokens = {(await open_store_format(store, runtime)).token_key for store in (living.store, target)}
    assert len(tokens) == 1


@asynchronous
async def test_progress_ends_where_it_said_it_would(runtime):
    living, told = await alive(runtime), []
    report = await copied(living.store, MemoryStore(runtime), runtime, progress=lambda *now: told.append(now))
    stages, done, _ = zip(*told, strict=True)
    assert set(stages) == {"copy"}
    assert list(done) == sorted(done)
    assert told[-1] == ("copy", report.nbytes, report.nbytes)


@asynchronous
async def test_large_objects_are_read_in_pieces(runtime):
    living = await alive(runtime)
    most = 0

    async def watch(kind: str, key: str) -> None:
        pass

    class Watching(Interfering):
        async def get(self, key: str, start: int = 0, length: int | None = None) -> Any:
            nonlocal most
            body = await super().get(key, start, length)
            most = max(most, len(body))
            return body

    largest = max(len(body) for body in content(living.store).values())
    target = MemoryStore(runtime)
    tiny = CopySettings(piece_bytes=largest // 4)
    await copied(Watching(living.store, watch), target, runtime, settings=tiny)
    segments = [len(body) for key, body in content(living.store).items() if "/segment/" in key]
    others = [len(body) for key, body in content(living.store).items() if "/segment/" not in key]
    assert max(segments) == largest
    assert most <= max(largest // 4, *others) < largest
    await judge(living, target, living.now)


# -------------------------------------------------------------------- who may open what, and when


@asynchronous
async def test_nobody_can_open_the_target_before_the_copy_is_whole(runtime):
    living, target, tried = await alive(runtime), MemoryStore(runtime), []

    async def try_to_open(kind: str, key: str) -> None:
        if kind == "put" and key != paths.STORE_FORMAT:
            with pytest.raises(UnfinishedCopyError, match="--resume"):
                await open_store_format(target, runtime)
            tried.append(key)

    await copied(living.store, Interfering(target, try_to_open), runtime)
    assert tried[-1] == paths.COPIED
    await open_store_format(target, runtime)


@asynchronous
async def test_of_a_copy_and_an_opening_that_race_one_is_refused(runtime):
    living, target = await alive(runtime), MemoryStore(runtime)

    async def open_first(kind: str, key: str) -> None:
        if kind == "put" and key == paths.STORE_FORMAT:
            await open_store_format(target, runtime)

    with pytest.raises(ConflictError, match="somebody else"):
        await copied(living.store, Interfering(target, open_first), runtime)
    assert list(content(target)) == [paths.STORE_FORMAT]
    await open_store_format(target, runtime)


@asynchronous
async def test_references_are_written_after_what_they_name(runtime):
    living, target, puts = await alive(runtime), MemoryStore(runtime), []

    async def note(kind: str, key: str) -> None:
        if kind == "put":
            puts.append(key)

    await copied(living.store, Interfering(target, note), runtime)
    assert (puts[0], puts[-1]) == (paths.STORE_FORMAT, paths.COPIED)
    for number, key in enumerate(puts):
        if "/checkpoint/" in key:
            root = key[: key.index("checkpoint/")]
            assert not [later for later in puts[number:] if later.startswith(f"{root}segment/")]
        if key.startswith(paths.CATALOG_ROOT):
            assert not [later for later in puts[number:] if later.startswith(paths.INDEX_ROOT)]


async def _a_store(target: MemoryStore, runtime: SystemRuntime) -> None:
    await open_store_format(target, runtime)


async def _a_copy_of_another(target: MemoryStore, runtime: SystemRuntime) -> None:
    await copied((await alive(runtime)).store, target, runtime)


async def _remains(target: MemoryStore, runtime: SystemRuntime) -> None:
    await target.put_new(paths.log_key(paths.index_root("a" * 32), 1), [b"something"])


async def _an_unfinished_copy_of_another(target: MemoryStore, runtime: SystemRuntime) -> None:
    await interrupted((await alive(runtime)).store, target, runtime, 3)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("prepare", [_a_store, _a_copy_of_another, _remains, _an_unfinished_copy_of_another])
@asynchronous
async def test_a_target_that_holds_something_is_refused_and_left_alone(runtime, prepare, resume):
    living, target = await alive(runtime), MemoryStore(runtime)
    await prepare(target, runtime)
    before = content(target)
    with pytest.raises(ConflictError, match="copy to an empty place"):
        await copied(living.store, target, runtime, resume=resume)
    assert content(target) == before


@asynchronous
async def test_a_whole_copy_is_left_alone_and_resuming_it_is_no_error(runtime):
    living, target = await alive(runtime), MemoryStore(runtime)
    report = await copied(living.store, target, runtime)
    before = content(target)
    await living.put("index-0", {"later": 1})
    with pytest.raises(ConflictError, match="a whole copy already: copy to an empty place"):
        await copied(living.store, target, runtime)
    again = await copied(living.store, target, runtime, resume=True)
    assert again == report._replace(kept=report.objects, found=True)
    assert content(target) == before


@asynchronous
async def test_there_has_to_be_a_whole_store_to_copy(runtime):
    target, half = MemoryStore(runtime), MemoryStore(runtime)
    with pytest.raises(NotFoundError, match="no store"):
        await copied(MemoryStore(runtime), target, runtime)
    await interrupted((await alive(runtime)).store, half, runtime, 3)
    with pytest.raises(UnfinishedCopyError):
        await copied(half, target, runtime)
    assert content(target) == {}


# -------------------------------------------------------------------- interrupted and resumed


async def interrupted(source: Any, target: MemoryStore, runtime: SystemRuntime, puts: int, **options: Any) -> bool:
    """Copy until the process is killed after so many puts; whether it was."""
    left = puts

    async def kill(kind: str, key: str) -> None:
        nonlocal left
        if kind == "put":
            left -= 1
            if left < 0:
                raise Killed

    try:
        await copied(source, Interfering(target, kill), runtime, **options)
    except Killed:
        return True
    return False


@asynchronous
async def test_a_copy_killed_after_any_put_is_finished_by_the_next_run(runtime):
    living = await alive(runtime, 1)
    whole = MemoryStore(runtime)
    await copied(living.store, whole, runtime)
    for puts in range(1, len(content(whole))):
        target = MemoryStore(runtime)
        assert await interrupted(living.store, target, runtime, puts)
        with pytest.raises(ConflictError, match="--resume"):
            await copied(living.store, target, runtime)
        done, before = [], content(target)
        assert paths.COPIED not in before

        async def note(kind: str, key: str, done: list[str] = done) -> None:
            if kind == "put":
                done.append(key)

        report = await copied(living.store, Interfering(target, note), runtime, resume=True)
        assert before.items() <= content(target).items()
        assert report.kept == len(before) - 1
        assert not [key for key in done if key in before and "/segment/" in key], "segments are not sent again"
        await judge(living, target, living.now)


@asynchronous
async def test_what_is_in_the_targets_place_of_an_object_is_never_taken_for_it(runtime):
    living = await alive(runtime, 1)
    whole = MemoryStore(runtime)
    await copied(living.store, whole, runtime)
    for key, body in content(whole).items():
        if key in (paths.STORE_FORMAT, paths.COPIED):
            continue
        target = MemoryStore(runtime)
        await interrupted(living.store, target, runtime, 1)
        await target.put_new(key, [body[:-1] + bytes([body[-1] ^ 1])])
        with pytest.raises(ConflictError) as caught:
            await copied(living.store, target, runtime, resume=True)
        assert key.rpartition("/")[0] in caught.value.message
        with pytest.raises(UnfinishedCopyError):
            await open_store_format(target, runtime)


@pytest.mark.parametrize("kind", ["log", "checkpoint"])
@asynchronous
async def test_an_object_past_the_end_of_the_source_is_noticed(runtime, kind):
    living, target = await alive(runtime, 1), MemoryStore(runtime)
    await interrupted(living.store, target, runtime, 1)
    (index_id,) = {paths.index_of(key) for key in content(living.store)} - {None}
    key = f"{paths.index_root(index_id)}{kind}/{99:016x}"
    await target.put_new(key, [b"from elsewhere"])
    with pytest.raises(ConflictError, match="which the source does not"):
        await copied(living.store, target, runtime, resume=True)


# -------------------------------------------------------------------- damage and failures


def damages(body: bytes) -> dict[str, bytes]:
    middle = len(body) // 2
    return {
        "cut": body[:middle],
        "flipped": body[:middle] + bytes([body[middle] ^ 64]) + body[middle + 1 :],
        "emptied": b"",
    }


def _needed(whole: MemoryStore) -> list[str]:
    """What the copy reads; of one object only the name counts."""
    told = (paths.STORE_FORMAT, paths.COPIED)
    return [key for key in content(whole) if key not in told and not key.endswith("/published")]


@asynchronous
async def test_a_damaged_object_of_the_source_is_named_and_the_copy_stays_unfinished(runtime):
    living = await alive(runtime, 1)
    whole = MemoryStore(runtime)
    await copied(living.store, whole, runtime)
    for key in _needed(whole):
        body = content(living.store)[key]
        for damage, changed in damages(body).items():
            await living.store.delete([key])
            await living.store.put_new(key, [changed])
            target = MemoryStore(runtime)
            with pytest.raises(CorruptObjectError) as caught:
                await copied(living.store, target, runtime)
            assert key.rpartition("/")[0] in caught.value.message, (key, damage)
            assert key not in content(target), "what is damaged is not passed on"
            with pytest.raises(UnfinishedCopyError):
                await open_store_format(target, runtime)
            await living.store.delete([key])
            await living.store.put_new(key, [body])
            await copied(living.store, target, runtime, resume=True)
            await judge(living, target, living.now)


@asynchronous
async def test_a_log_that_lost_its_only_checkpoint_is_not_copied_as_an_empty_one(runtime):
    living = await alive(runtime, 1)
    for info in await living.store.list(paths.CATALOG_ROOT):
        if paths.classify(paths.CATALOG_ROOT, info.key).kind != "published":
            await living.store.delete([info.key])
    await living.store.put_new(paths.published_key(paths.CATALOG_ROOT), [b"told"])
    with pytest.raises(MissingObjectError, match="catalog/checkpoint"):
        await copied(living.store, MemoryStore(runtime), runtime)


@asynchronous
async def test_an_object_missing_in_the_source_is_named(runtime):
    living = await alive(runtime, 1)
    whole = MemoryStore(runtime)
    await copied(living.store, whole, runtime)
    for key in _needed(whole):
        if "/checkpoint/" in key:
            continue  # without its newest checkpoint a log begins with a slot that is missing: the next test
        body = content(living.store)[key]
        await living.store.delete([key])
        end_of_log = key.startswith(paths.CATALOG_ROOT) or key == max(k for k in _needed(whole) if "/log/" in k)
        if not end_of_log:
            with pytest.raises(MissingObjectError, match="missing"):
                await copied(living.store, MemoryStore(runtime), runtime)
        await living.store.put_new(key, [body])


@asynchronous
async def test_a_missing_checkpoint_is_noticed(runtime):
    living = await alive(runtime, 1)
    await living.collect()
    checkpoints = [key for key in content(living.store) if key.startswith("index/") and "/checkpoint/" in key]
    await living.store.delete(checkpoints)
    with pytest.raises(MissingObjectError):
        await copied(living.store, MemoryStore(runtime), runtime)


@asynchronous
async def test_a_store_that_gives_back_something_else_is_noticed(runtime):
    living = await alive(runtime, 1)

    class Forgetful(MemoryStore):
        async def put_new(self, key: str, parts: Any) -> None:
            body = b"".join(parts)
            await super().put_new(key, [bytes(len(body)) if key.endswith(paths.ROWS) else body])

    target = Forgetful(runtime)
    with pytest.raises(CorruptObjectError, match="does not give back what was written"):
        await copied(living.store, target, runtime)
    with pytest.raises(UnfinishedCopyError):
        await open_store_format(target, runtime)


@pytest.mark.parametrize("fate", [lose_answer, fail, claim_existence, become_zombie], ids=lambda f: f.__name__)
@pytest.mark.parametrize("pattern", ["^format$", "/log/", "rows.parquet$", "/index$", "/checkpoint/", "^copied$"])
@asynchronous
async def test_unclear_answers_to_a_put_are_resolved(runtime, pattern, fate):
    living, inner = await alive(runtime, 1), MemoryStore(runtime)
    target = ScriptedStore(inner)
    target.next_put(pattern, fate)
    try:
        await copied(living.store, target, runtime)
    except StoreUnavailableError:
        assert pattern == "^format$"  # nothing was done yet
        await target.land_zombies()
        resume = paths.STORE_FORMAT in content(inner)
        await copied(living.store, target, runtime, resume=resume)
    assert True not in await target.land_zombies()
    await judge(living, inner, living.now)


# -------------------------------------------------------------------- a living source

MOVES = ("put", "remove", "flush", "compact", "collect", "create", "delete", "clone")


async def move(living: Living, dice: int) -> None:
    """Any change to the source."""
    kind, number = MOVES[dice % len(MOVES)], dice // len(MOVES)
    names = living.indexes
    name = names[number % len(names)] if names else ""
    if kind == "collect":
        await living.collect()
    elif kind == "create":
        if len(living.moments) < 6:
            await living.create(f"later-{len(living.moments)}")
    elif not name:
        return
    elif kind == "clone":
        if len(living.moments) < 6:
            await living.clone(name, f"clone-{len(living.moments)}")
    elif kind == "put":
        await living.put(name, {f"k{n}": living.now * 1000 + n for n in range(number % 7, number % 7 + 5)})
    elif kind == "remove":
        await living.remove(name, [f"k{number % 9}"])
    elif kind == "delete":
        if number % 3 == 0:
            await living.delete(name)
    else:
        await getattr(living, kind)(name)


class Script:
    """Moves of the source, each made before some request of the copy."""

    def __init__(self, living: Living, moves: list[tuple[int, int]]) -> None:
        self._living = living
        self._moves = moves
        self._wait = 0

    async def __call__(self, kind: str, key: str) -> None:
        self._wait -= 1
        if self._moves and self._wait < 0:
            self._wait, dice = self._moves.pop()
            await move(self._living, dice)


PLAN = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 10_000)), max_size=25)


@settings(max_examples=60)
@given(plan=PLAN, kills=st.lists(st.integers(1, 20), max_size=3), verify=st.booleans())
def test_a_living_source_is_copied_as_of_a_moment_after_the_start(plan, kills, verify):
    async def scenario(runtime: SystemRuntime) -> None:
        living, target = await alive(runtime), MemoryStore(runtime)
        source = Interfering(living.store, Script(living, plan))
        options: dict[str, Any] = {"settings": CopySettings(at_once=2, piece_bytes=512, verify=verify)}
        started = False
        for kill in kills:
            if not await interrupted(source, target, runtime, kill, resume=started, **options):
                break
            started = True
            await read_format(target)
        else:
            since = living.now
            await copied(source, target, runtime, resume=started, **options)
            await judge(living, target, since)
            return
        await judge(living, target, 0)

    on_runtime(scenario)


@asynchronous
async def test_segments_collected_under_the_copy_are_no_loss(runtime):
    """Merged and collected between the capture and the segment's turn: the copy is of the newer checkpoint."""
    living, target, times = await alive(runtime, 1), MemoryStore(runtime), 0
    since = living.now

    async def merge(kind: str, key: str) -> None:
        nonlocal times
        if kind == "get" and "/segment/" in key and times < 3:
            times += 1
            await living.put("index-0", {"more": times})
            await living.compact("index-0")
            await living.collect()

    await copied(Interfering(living.store, merge), target, runtime)
    assert times == 3
    await judge(living, target, since)


@asynchronous
async def test_late_puts_into_collected_slots_are_not_taken_for_entries(runtime):
    """Entries are collected while they are about to be read, and stalled puts fill their slots again."""
    living, target, filled = await alive(runtime, 1), MemoryStore(runtime), []
    index = await living.index("index-0")
    tail = range(index.log.base_slot + 1, index.log.slot + 1)
    deletion = Part(PartKind.DELETE, rows.encode_delete([f"k{n}" for n in range(60)]))
    payload = make_payload(log_entry.encode([deletion]))
    since = living.now

    async def interfere(kind: str, name: str) -> None:
        if kind == "get" and "/log/" in name and name.startswith(paths.INDEX_ROOT) and not filled:
            filled.extend(tail)
            await living.flush("index-0")
            await living.collect()
            for slot in tail:
                key = paths.log_key(index.root, slot)
                identity = Identity(key, index.index_id, "2" * 32, slot)
                await living.store.put_new(key, encode(Kind.LOG_ENTRY, identity, payload))

    one = CopySettings(at_once=1)
    await copied(Interfering(living.store, interfere), target, runtime, settings=one)
    assert filled
    await judge(living, target, since)


@asynchronous
async def test_a_clone_of_the_source_reads_its_origins_segments_in_the_copy_too(runtime):
    """Clones of clones; their origins are changed, compacted, collected and deleted meanwhile."""
    living, target = await alive(runtime, 1), MemoryStore(runtime)
    await living.clone("index-0", "clone")
    await living.clone("clone", "again")
    await living.remove("again", ["k2"])
    since, moved = living.now, []

    async def interfere(kind: str, key: str) -> None:
        if kind != "get" or len(moved) >= 40:
            return
        moved.append(key)
        await living.put("clone", {"more": len(moved)})
        if len(moved) % 5 == 0:
            await living.compact(living.indexes[len(moved) // 5 % len(living.indexes)])
            await living.collect()
        if len(moved) == 20:
            await living.delete("index-0")
            await living.collect()

    await copied(Interfering(living.store, interfere), target, runtime)
    assert len(moved) >= 20
    await judge(living, target, since)


@asynchronous
async def test_a_clone_is_copied_after_its_origin_whose_pins_then_suffice(runtime):
    """Had the clone been copied first, its origin's later checkpoint would no longer keep what it reads."""
    living, target = await alive(runtime, 1), MemoryStore(runtime)
    await living.clone("index-0", "clone", clone_id="0" * 32)  # listed first
    origin, since, moved = await living.index("index-0"), living.now, False

    async def interfere(kind: str, key: str) -> None:
        nonlocal moved
        if kind == "list" and key == origin.root and not moved:
            moved = True
            await living.put("clone", {f"k{n}": 5 for n in range(60)})
            await living.compact("clone")
            await living.put("index-0", {f"k{n}": 6 for n in range(60)})
            await living.compact("index-0")
            await living.collect()

    one = CopySettings(at_once=1)
    await copied(Interfering(living.store, interfere), target, runtime, settings=one)
    assert moved
    await judge(living, target, since)


@asynchronous
async def test_snapshots_are_copied_with_their_segments(runtime):
    living, target = await alive(runtime, 1), MemoryStore(runtime)
    index = await living.index("index-0")
    await living.engine.snapshot(index.index_id, index.spec, "before")
    held = living.may_hold("index-0", living.now)[0]
    await living.put("index-0", {f"k{n}": 9 for n in range(60)})
    await living.compact("index-0")
    await living.collect()
    await copied(living.store, target, runtime)
    copy = Living(target, runtime)
    copy.engine, copy.catalog, copy.service = await open_root(target, runtime)
    await copy.collect()
    clone_id = runtime.new_id()
    await copy.engine.clone(index.index_id, index.spec, clone_id, "before")
    assert await rows_of(await copy.engine.open(clone_id, index.spec)) == held


def on_runtime(scenario: Callable[[SystemRuntime], Any]) -> None:
    runtime = SystemRuntime(threads=2)
    try:
        asyncio.run(asyncio.wait_for(scenario(runtime), 60))
    finally:
        runtime.close()
