"""Administration over a whole root: what it sees, checks, merges and removes, also when things change under it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynchronous import asynchronous
from quiver.assemble import open_service
from quiver.format import paths
from quiver.model.runtime import SystemRuntime
from quiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quiver.assemble import OpenRoot


@asynccontextmanager
async def root_with(*names: str) -> AsyncIterator[OpenRoot]:
    """An open root in memory with indexes `names` in one bucket, two vectors in each."""
    runtime = SystemRuntime(threads=2)
    root = await open_service(Settings(root="memory:"), runtime, background=False)
    await root.call("CreateVectorBucket", {"vectorBucketName": "bucket"})
    for name in names:
        await root.call(
            "CreateIndex", index(name) | {"dimension": 2, "distanceMetric": "cosine", "dataType": "float32"}
        )
        vectors = [{"key": key, "data": {"float32": [1.0, 2.0]}} for key in ("a", "b")]
        await root.call("PutVectors", index(name) | {"vectors": vectors})
    yield root
    await root.close()
    runtime.close()


def index(name: str) -> dict[str, str]:
    return {"vectorBucketName": "bucket", "indexName": name}


async def objects_of(root: OpenRoot, index_id: str) -> list[str]:
    return [info.key for info in await root.store.list(paths.index_root(index_id))]


@asynchronous
async def test_a_deleted_index_is_seen_until_its_objects_are_removed():
    async with root_with("kept", "gone") as root:
        await root.call("DeleteIndex", index("gone"))
        stored = await root.administration.stored()
        assert [each.named.name if each.named else None for each in stored] == ["kept", None]
        assert stored[1].title == f"(deleted) {stored[1].index_id}"
        titles = [title async for title, _ in root.administration.collect(0)]
        assert titles == ["catalog", "bucket/kept", stored[1].title]
        assert len(await objects_of(root, stored[1].index_id)) == 1


@asynchronous
async def test_compaction_flushes_every_index_and_collection_then_removes_the_log():
    async with root_with("one", "two") as root:
        done = [each.name async for each in root.administration.compact()]
        assert done == ["one", "two"]
        summaries = [summary async for _, summary in root.administration.inspect()]
        assert [(summary.tail, [each.rows for each in summary.segments]) for summary in summaries] == [
            (0, [2])
        ] * 2
        removed = {title: collected.objects async for title, collected in root.administration.collect(0)}
        assert removed == {"catalog": 0, "bucket/one": 1, "bucket/two": 1}


@asynchronous
async def test_an_index_deleted_while_others_are_compacted_is_passed_over():
    async with root_with("one", "two", "three") as root:
        done = []
        async for each in root.administration.compact():
            done.append(each.name)
            if each.name == "one":
                await root.call("DeleteIndex", index("three"))
        assert done == ["one", "three", "two"]


@asynchronous
async def test_a_check_names_what_is_damaged_and_nothing_else():
    async with root_with("sound", "damaged") as root:
        assert [problems async for _, problems in root.administration.check()] == [[], [], []]
        damaged = next(each for each in await root.administration.indexes() if each.name == "damaged")
        key = paths.log_key(paths.index_root(damaged.index_id), 1)
        body = bytearray(await root.store.get(key))
        body[-1] ^= 1
        await root.store.delete([key])
        await root.store.put_new(key, [bytes(body)])
        found = {title: problems async for title, problems in root.administration.check()}
        assert found["catalog"] == found["bucket/sound"] == []
        assert key in {problem.key for problem in found["bucket/damaged"]}


@asynchronous
async def test_rebuilding_names_the_segments_of_each_index_and_passes_over_what_it_cannot_repair():
    async with root_with("broken", "rows", "sound") as root:
        _ = [each async for each in root.administration.compact()]
        segments = {}
        for each in await root.administration.indexes():
            (segments[each.name],) = [
                key for key in await objects_of(root, each.index_id) if key.endswith("/index")
            ]
        await root.store.delete([segments["broken"]])
        await root.store.delete([segments["rows"], segments["rows"].removesuffix("index") + paths.ROWS])
        rebuilt = {title: found async for title, found in root.administration.rebuild()}
        assert rebuilt == {
            "bucket/broken": [segments["broken"].split("/")[-2]],
            "bucket/rows": [],
            "bucket/sound": [],
        }
        wrong = [title async for title, problems in root.administration.check() if problems]
        assert wrong == ["bucket/rows"]
