"""Every object of a small bucket, the catalog's too, deleted, truncated, flipped and swapped: a node that was not
there gives the exact answer or 503, never a shorter one and never 500, and fsck names the object (I4, I11)."""

from __future__ import annotations

import random
import shutil
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson
import pytest

from asynchronous import asynchronous
from engine.native.damages import damages
from engine.native.small_bucket import (
    DIMENSION,
    KEYS,
    Node,
    NumberingRuntime,
    Question,
    RemoteStore,
    make,
    questions,
    root_of,
)
from engine.reference import make_batch
from quiver.format import paths
from quiver.objectstore.local import LocalStore
from quiver.objectstore.memory import MemoryStore
from quiver.storage.cache.disk_tier import DiskTier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from engine.native.damages import Damage
    from engine.native.small_bucket import SmallBucket
    from quiver.model.types import VectorBatch
    from quiver.objectstore.store import ObjectStore

REFUSED, EXACT, EITHER = frozenset({"503"}), frozenset({"exact"}), frozenset({"503", "exact"})
IN_PLACE = ("truncated", "flipped", "swapped")

# What becomes of a damage, by what the object is there for, and the way. EITHER: there are bytes of a segment that
# no question needs. Of two that were swapped one is enough for a refusal.
EXPECTED = {
    # Whoever opens a root without the format, and may write, makes another: only page tokens are void.
    ("format", "deleted"): EXACT,
    # Its predecessor is there, and the log past that: nothing is lost but the snapshots made since (and a load).
    ("later checkpoint", "deleted"): EXACT,
    ("old checkpoint", "deleted"): EXACT,
    ("old entry", "deleted"): EXACT,
    ("only checkpoint", "deleted"): REFUSED,
    ("clone's checkpoint", "deleted"): REFUSED,
    ("entry", "deleted"): REFUSED,
    ("segment", "deleted"): REFUSED,
    ("segment", "flipped"): EITHER,
    ("segment", "truncated"): REFUSED,
    **{("old checkpoint", way): EXACT for way in IN_PLACE},
    **{("old entry", way): EXACT for way in IN_PLACE},
    **{(role, way): REFUSED for role in ("format", "later checkpoint") for way in IN_PLACE},
    **{(role, way): REFUSED for role in ("only checkpoint", "clone's checkpoint") for way in IN_PLACE},
    **{(role, way): REFUSED for role in ("entry", "last entry") for way in IN_PLACE},
    ("segment", "swapped"): REFUSED,
}
# What is gone without a trace. No later entry, no checkpoint and no segment names the slot of a log's last entry:
# a node that was not there cannot tell it from one that was never written. And a clone is told from a new index by
# its checkpoint alone, until it has a segment of its own.
UNTRACED = {"last entry"}
# A node that has a segment in its caches does not miss the object.
CACHED = {("segment", way): EXACT for way in ("deleted", "truncated", "flipped", "swapped")}


class Case(NamedTuple):
    """A bucket, what it answers when it is whole, and its damages."""

    bucket: SmallBucket
    exact: dict[str, bytes | int]
    damages: list[Damage]

    def roles(self, damage: Damage) -> list[str]:
        return [self.bucket.role(key) for key in damage.change]

    def some(self, way: str, step: int) -> list[Damage]:
        """Those of one way: every so manieth, and the first of objects with these roles."""
        alike: dict[tuple[str, ...], list[Damage]] = defaultdict(list)
        for damage in self.damages:
            if damage.way == way:
                alike[tuple(self.roles(damage))].append(damage)
        return [damage for each in alike.values() for damage in each[::step]]

    def noticeable(self, way: str, step: int = 1) -> list[Damage]:
        """The same without those of which no trace is left elsewhere."""
        chosen = self.some(way, step)
        return [each for each in chosen if way != "deleted" or not UNTRACED.intersection(self.roles(each))]


@pytest.fixture(scope="module")
def runtime() -> Iterator[NumberingRuntime]:
    runtime = NumberingRuntime(threads=2)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def case(runtime: NumberingRuntime) -> Case:
    made: list[Case] = []

    @asynchronous
    async def prepare() -> None:
        bucket = await make(runtime)
        node = Node(await fill(MemoryStore(runtime), bucket.objects), runtime)
        exact = await ask(node, sorted(bucket.ids))
        assert set(map(type, exact.values())) == {bytes}
        # Of one object only the name counts.
        told = {key: body for key, body in bucket.objects.items() if not key.endswith("/published")}
        made.append(Case(bucket, exact, list(damages(told, random.Random(5)))))

    prepare()
    return made[0]


async def fill(store: ObjectStore, objects: Mapping[str, bytes | None]) -> ObjectStore:
    for key, body in objects.items():
        if body is not None:
            await store.put_new(key, [body])
    return store


async def ask(node: Node, names: list[str]) -> dict[str, bytes | int]:
    return {title(each): await node.ask(each) for each in questions(names)}


def title(question: Question) -> str:
    kind = "filtered" if "filter" in question.params else ""
    return f"{question.index} {question.operation} {kind}"


class Counted:
    """What became of damages; wrong ones fail at once."""

    def __init__(self, case: Case, expected: Mapping[tuple[str, str], frozenset[str]]) -> None:
        self.case = case
        self.expected = expected
        self.outcomes: Counter[tuple[tuple[str, str], str]] = Counter()

    async def judge(self, damage: Damage, node: Node) -> None:
        """Ask a node whose store is damaged."""
        found = await ask(node, self.case.bucket.touched(damage.change))
        for question, answer in found.items():
            assert answer in (503, self.case.exact[question]), f"{damage.title}: {question}: {answer!r}"
        outcome = "503" if 503 in found.values() else "exact"
        roles = self.case.roles(damage)
        allowed = [self.expected[role, damage.way] for role in roles]
        wanted = REFUSED if REFUSED in allowed else allowed[0]
        assert outcome in wanted, f"{damage.title}: {outcome}"
        self.outcomes.update(((role, damage.way), outcome) for role in roles)

    def check(self, way: str) -> None:
        """Every expectation was put to the test, and most bytes of segments were needed."""
        assert {place for place, _ in self.outcomes} == {place for place in self.expected if place[1] == way}
        for place, wanted in self.expected.items():
            if wanted == EITHER and place[1] == way:
                assert self.outcomes[place, "503"] > self.outcomes[place, "exact"]


@pytest.mark.parametrize(("way", "step"), [("deleted", 1), ("truncated", 2), ("flipped", 3), ("swapped", 5)])
@asynchronous
async def test_from_a_directory(
    case: Case, runtime: NumberingRuntime, tmp_path: Path, way: str, step: int
) -> None:
    await fill(LocalStore(tmp_path, runtime), case.bucket.objects)
    counted = Counted(case, EXPECTED)
    for damage in case.noticeable(way, step):
        for key, body in damage.change.items():
            if body is None:
                (tmp_path / key).unlink()
            else:
                (tmp_path / key).write_bytes(body)
        await counted.judge(damage, Node(LocalStore(tmp_path, runtime), runtime))
        for key in damage.change:
            (tmp_path / key).write_bytes(case.bucket.objects[key])
    counted.check(way)


@pytest.mark.parametrize(("way", "step"), [("deleted", 1), ("truncated", 3), ("flipped", 3), ("swapped", 12)])
@asynchronous
async def test_from_a_remote_store(case: Case, runtime: NumberingRuntime, way: str, step: int) -> None:
    counted = Counted(case, EXPECTED)
    for damage in case.noticeable(way, step):
        store = await fill(RemoteStore(runtime), case.bucket.objects | damage.change)
        await counted.judge(damage, Node(store, runtime))
    counted.check(way)


@pytest.mark.parametrize(("way", "step"), [("deleted", 1), ("truncated", 3), ("flipped", 6), ("swapped", 12)])
@asynchronous
async def test_from_a_remote_store_with_all_segments_on_disk(
    case: Case, runtime: NumberingRuntime, tmp_path: Path, way: str, step: int
) -> None:
    """The process is new, what an earlier one left on disk is there."""
    warm = Node(await fill(RemoteStore(runtime), case.bucket.objects), runtime, opened_disk(tmp_path / "left"))
    assert await ask(warm, sorted(case.bucket.ids)) == case.exact
    await warm.cache.shut()
    counted = Counted(case, EXPECTED | CACHED)
    for number, damage in enumerate(case.noticeable(way, step)):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "left", folder)
        store = await fill(RemoteStore(runtime), case.bucket.objects | damage.change)
        node = Node(store, runtime, opened_disk(folder))
        await counted.judge(damage, node)
        await node.cache.shut()
    counted.check(way)


def opened_disk(folder: Path) -> DiskTier:
    return DiskTier.open(folder, 16 << 20)


# -------------------------------------------------------------------- what leaves no trace
@asynchronous
async def test_without_the_last_entry_a_log_ends_before_it(case: Case, runtime: NumberingRuntime) -> None:
    deleted = [damage for damage in case.damages if damage.way == "deleted"]
    last = [damage for damage in deleted if case.roles(damage) == ["last entry"]]
    assert len(last) == len(case.bucket.ids) + 1
    for damage in last:
        (key,) = damage.change
        node = Node(await fill(MemoryStore(runtime), case.bucket.objects | damage.change), runtime)
        index_id = paths.index_of(key)
        if index_id is None:  # what the catalog learned last is the clone
            listed = await node.call("ListIndexes")
            assert [each["indexName"] for each in listed["indexes"]] == sorted({*case.bucket.ids} - {"clone"})
            continue
        (name,) = (name for name, id_ in case.bucket.ids.items() if id_ == index_id)
        reads = ("QueryVectors ", "QueryVectors filtered", "search ", "GetVectors ", "ListVectors ")
        lost = {f"{name} {what}" for what in reads}
        found = await ask(node, [name])
        assert {question for question, answer in found.items() if answer != case.exact[question]} <= lost
        held = await node.call("GetVectors", indexName=name, keys=KEYS)
        whole = orjson.loads(case.exact[f"{name} GetVectors "])["vectors"]
        assert [row["key"] for row in held["vectors"]] == [row["key"] for row in whole if row["key"] != "newest"]


@pytest.mark.parametrize("lost", ["of a clone", "of an index that was loaded", "of the catalog"])
@asynchronous
async def test_a_checkpoint_that_is_gone_is_missed_though_no_entry_is_left(
    case: Case, runtime: NumberingRuntime, lost: str
) -> None:
    """The log was collected, or there never was one; and there is no segment whose name has a slot."""
    objects: dict[str, bytes | None] = dict(case.bucket.objects)
    name = "clone"
    root = paths.CATALOG_ROOT if lost == "of the catalog" else paths.index_root(case.bucket.ids[name])
    if lost == "of an index that was loaded":
        name, root = "loaded", await load_into(objects, runtime)
    objects |= {key: None for key in objects if key.startswith(paths.log_prefix(root))}
    whole = Node(await fill(MemoryStore(runtime), objects), runtime)
    assert set(map(type, (await ask(whole, ["old"] if root == paths.CATALOG_ROOT else [name])).values())) == {
        bytes
    }
    objects |= {key: None for key in objects if key.startswith(paths.checkpoint_prefix(root))}
    node = Node(await fill(MemoryStore(runtime), objects), runtime)
    question = Question("", "ListIndexes", {}) if root == paths.CATALOG_ROOT else questions([name])[-1]
    assert await node.ask(question) == 503


async def load_into(objects: dict[str, bytes | None], runtime: NumberingRuntime) -> str:
    """Add an index that came to be by a load; its root."""
    store = await fill(MemoryStore(runtime), objects)
    node = Node(store, runtime)
    shape = {"dimension": DIMENSION, "distanceMetric": "euclidean", "dataType": "float32"}
    await node.call("CreateIndex", indexName="loaded", **shape)
    found = await node.administration.index("bucket", "loaded")
    index = await node.engine.open(found.index_id, found.spec)

    async def batches() -> AsyncIterator[VectorBatch]:
        yield make_batch(["a", "b"], np.eye(2, DIMENSION))

    await index.load(batches())
    await node.engine.collect(found.index_id, 0)
    objects.update({info.key: bytes(await store.get(info.key)) for info in await store.list("")})
    return index.root


# -------------------------------------------------------------------- fsck
@pytest.mark.parametrize(("way", "step"), [("deleted", 1), ("truncated", 2), ("flipped", 3), ("swapped", 5)])
@asynchronous
async def test_fsck_names_the_object_and_no_other(
    case: Case, runtime: NumberingRuntime, way: str, step: int
) -> None:
    """`format` apart, without which no root opens. Of a checkpoint that is gone the name cannot be known."""
    named = 0
    for damage in case.some(way, step):
        node = Node(await fill(MemoryStore(runtime), case.bucket.objects | damage.change), runtime)
        found = {finding.key for finding in await node.check(case.bucket.touched(damage.change))}
        due = {key for key in damage.change if key != paths.STORE_FORMAT}
        if catalog := {key for key in due if key.startswith(paths.CATALOG_ROOT)}:
            due = catalog  # it is not known then which indexes there are
        if way == "deleted":
            due = set().union(*(shown_without(case, key) for key in due))
        assert found == due, damage.title
        named += len(due)
    assert named > 10


def shown_without(case: Case, key: str) -> set[str]:
    """What fsck names when an object is gone."""
    role, root = case.bucket.role(key), root_of(key)
    if role == "later checkpoint":  # that its index keeps the segments for the clone is not written any more
        return {other for other in case.bucket.objects if other.startswith(root) and other.endswith("/index")}
    first = paths.log_key(root, 1)
    if role in ("only checkpoint", "clone's checkpoint"):
        return {paths.checkpoint_prefix(root)}
    if key == first and case.bucket.bases[root] == (0, 0):  # it may be either
        return {paths.checkpoint_prefix(root), first}
    return {key} if role in ("entry", "segment") else set()
