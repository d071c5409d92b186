"""Snapshots and clones under the rules of the service: names, errors, what a clone is like, and who cleans up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from asynchronous import asynchronous
from quiver.format import paths
from quiver.model.errors import ConflictError, NotFoundError, UnavailableError, ValidationError
from quiver.service.catalog_commands import AbandonIndex
from service.test_administration import index, root_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quiver.assemble import OpenRoot

NO_INDEX = "The specified index could not be found"
NO_SNAPSHOT = "The specified snapshot could not be found"


async def keys(root: OpenRoot, name: str) -> list[str]:
    answer = await root.call("ListVectors", index(name))
    return sorted(row["key"] for row in answer.body["vectors"])


async def put(root: OpenRoot, name: str, *put_keys: str) -> None:
    vectors = [{"key": key, "data": {"float32": [1.0, 2.0]}} for key in put_keys]
    await root.call("PutVectors", index(name) | {"vectors": vectors})


async def segments_left(root: OpenRoot) -> list[str]:
    return [info.key for info in await root.store.list(paths.INDEX_ROOT) if "/segment/" in info.key]


async def collect(root: OpenRoot, age: float = 0) -> None:
    async for _ in root.administration.collect(age):
        pass


@asynchronous
async def test_a_snapshot_is_kept_listed_cloned_and_deleted():
    async with root_with("source") as root:
        made = await root.snapshots.create("bucket", "source", "one.day")
        await put(root, "source", "c")
        assert await root.snapshots.list("bucket", "source") == [made]
        await root.snapshots.clone("bucket", "source", "bucket", "then", "one.day")
        await root.snapshots.clone("bucket", "source", "bucket", "now")
        assert (await keys(root, "then"), await keys(root, "now")) == (["a", "b"], ["a", "b", "c"])
        await root.snapshots.delete("bucket", "source", "one.day")
        assert await root.snapshots.list("bucket", "source") == []
        await collect(root)
        assert (await keys(root, "then"), await keys(root, "now")) == (["a", "b"], ["a", "b", "c"])


@asynchronous
async def test_a_clone_is_like_its_source_in_all_that_is_chosen_at_creation():
    async with root_with() as root:
        chosen: dict[str, Any] = {
            "dimension": 2,
            "distanceMetric": "euclidean",
            "dataType": "float32",
            "metadataConfiguration": {"nonFilterableMetadataKeys": ["note"]},
            "encryptionConfiguration": {"sseType": "AES256"},
            "tags": {"team": "red", "quiver:codec": "sq8"},
        }
        await root.call("CreateIndex", index("source") | chosen)
        await root.snapshots.clone("bucket", "source", "bucket", "clone")
        source, clone = [(await root.call("GetIndex", index(name))).body["index"] for name in ("source", "clone")]
        for own in ("indexName", "indexArn", "creationTime"):
            source.pop(own), clone.pop(own)
        assert source == clone
        specs = {each.spec for each in await root.administration.indexes()}
        assert len(specs) == 1
        assert {each.tags["team"] for each in await root.administration.indexes()} == {"red"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("B", "source", "s-1"), ValidationError, "Invalid vector bucket name"),
        (("bucket", "x", "s-1"), ValidationError, "Invalid index name"),
        (("bucket", "source", "../x"), ValidationError, "Invalid snapshot name"),
        (("bucket", "source", ""), ValidationError, "Invalid snapshot name"),
        (("bucket", "unknown", "s-1"), NotFoundError, NO_INDEX),
        (("unknown", "source", "s-1"), NotFoundError, NO_INDEX),
    ],
)
@asynchronous
async def test_names_are_judged(arguments, error, message):
    async with root_with("source") as root:
        bucket, name, snapshot = arguments
        for work in (
            root.snapshots.create(bucket, name, snapshot),
            root.snapshots.delete(bucket, name, snapshot),
            root.snapshots.clone(bucket, name, "bucket", "target", snapshot),
        ):
            with pytest.raises(error, match=message):
                await work
        assert await root.snapshots.list("bucket", "source") == []


@pytest.mark.parametrize(
    ("target", "snapshot", "error", "message"),
    [
        (("bucket", "source"), None, ConflictError, "An index with the specified name already exists"),
        (("unknown", "target"), None, NotFoundError, "The specified vector bucket could not be found"),
        (("Bucket", "target"), None, ValidationError, "Invalid vector bucket name"),
        (("bucket", "t"), None, ValidationError, "Invalid index name"),
        (("bucket", "target"), "unknown", NotFoundError, NO_SNAPSHOT),
    ],
)
@asynchronous
async def test_a_clone_that_is_refused_leaves_nothing(target, snapshot, error, message):
    async with root_with("source") as root:
        before = [info.key for info in await root.store.list(paths.INDEX_ROOT)]
        with pytest.raises(error, match=message):
            await root.snapshots.clone("bucket", "source", *target, snapshot)
        if snapshot is None:
            assert [info.key for info in await root.store.list(paths.INDEX_ROOT)] == before
        assert [stored.title async for stored, _ in root.administration.inspect()] == ["bucket/source"]


@asynchronous
async def test_a_clone_whose_name_is_taken_meanwhile_is_deleted_at_once(monkeypatch):
    async with root_with("source") as root:
        engine = root.engine
        real = engine.clone

        async def overtaken(*arguments):
            made = await real(*arguments)
            await root.call(
                "CreateIndex",
                index("target") | {"dimension": 2, "distanceMetric": "cosine", "dataType": "float32"},
            )
            return made

        monkeypatch.setattr(type(engine), "clone", lambda self, *arguments: overtaken(*arguments))
        with pytest.raises(ConflictError):
            await root.snapshots.clone("bucket", "source", "bucket", "target")
        monkeypatch.undo()
        assert await keys(root, "target") == []
        summaries = {stored.title: summary async for stored, summary in root.administration.inspect()}
        assert [summary.sealed for summary in summaries.values()] == [False, False, True]
        await collect(root)
        source = next(each for each in await root.administration.indexes() if each.name == "source")
        assert (await engine.inspect(source.index_id)).pins == []


@asynccontextmanager
async def half_made(monkeypatch) -> AsyncIterator[tuple[OpenRoot, Any]]:
    """A clone whose maker stalled before it gave it its name: the root, and the rest of its work."""
    async with root_with("source") as root:
        commands = []
        with monkeypatch.context() as patch:
            patch.setattr(type(root.snapshots), "_name", lambda self, command: _note(commands, command))
            await root.snapshots.clone("bucket", "source", "bucket", "target")
        yield root, commands[0]


async def _note(commands: list[Any], command: Any) -> None:
    commands.append(command)


@asynchronous
async def test_collection_leaves_a_clone_alone_that_is_in_the_making(monkeypatch):
    async with half_made(monkeypatch) as (root, command):
        await collect(root, 3600)
        await root.snapshots._name(command)
        await collect(root)
        assert await keys(root, "target") == ["a", "b"]


@asynchronous
async def test_collection_gives_up_a_clone_whose_maker_went_away(monkeypatch):
    async with half_made(monkeypatch) as (root, command):
        await collect(root)
        with pytest.raises(ConflictError, match="given up"):
            await root.snapshots._name(command)
        await root.call("DeleteIndex", index("source"))
        await collect(root)
        assert await segments_left(root) == []
        await root.administration._catalog.execute(AbandonIndex(command.index_id))  # again harms nothing


@asynchronous
async def test_collection_that_was_cut_short_before_the_deletion_goes_on_with_it(monkeypatch):
    async with half_made(monkeypatch) as (root, command):
        await root.administration._catalog.execute(AbandonIndex(command.index_id))
        await collect(root)
        summary = await root.engine.inspect(command.index_id)
        assert summary.sealed


@asynchronous
async def test_a_clone_that_gets_its_name_at_the_last_moment_is_not_given_up(monkeypatch):
    async with half_made(monkeypatch) as (root, command):
        real = root.engine.unborn

        async def late(self, index_id, age):
            answer = await real(index_id, age)
            if answer:
                await root.snapshots._name(command)
            return answer

        monkeypatch.setattr(type(root.engine), "unborn", late)
        await collect(root)
        assert await keys(root, "target") == ["a", "b"]


@asynchronous
async def test_a_clone_given_up_before_its_first_checkpoint_can_be_made_again(monkeypatch):
    async with root_with("source") as root:
        from quiver.engine.native import pins

        real = pins.add

        async def stalled(*arguments):
            pin = await real(*arguments)
            await collect(root)
            return pin

        with monkeypatch.context() as patch:
            patch.setattr(pins, "add", stalled)
            with pytest.raises(UnavailableError, match="given up"):
                await root.snapshots.clone("bucket", "source", "bucket", "target")
        await root.snapshots.clone("bucket", "source", "bucket", "target")
        assert await keys(root, "target") == ["a", "b"]


@asynchronous
async def test_deleting_source_and_clones_in_any_order_gives_all_space_back():
    async with root_with("one") as root:
        await root.snapshots.clone("bucket", "one", "bucket", "two")
        await put(root, "two", "c")
        await root.snapshots.clone("bucket", "two", "bucket", "three")
        await root.snapshots.create("bucket", "two", "kept")
        for name in ("two", "one"):
            await root.call("DeleteIndex", index(name))
            await collect(root)
            assert await keys(root, "three") == ["a", "b", "c"]
        assert await segments_left(root) != []
        await root.call("DeleteIndex", index("three"))
        await root.call("DeleteVectorBucket", {"vectorBucketName": "bucket"})
        await collect(root)
        assert await segments_left(root) == []
