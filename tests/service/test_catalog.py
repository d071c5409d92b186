"""Catalogs over one store agree: they see each other's changes, and of racing changes the log's order decides."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from quiver.format import paths
from quiver.model.errors import ConflictError, NotFoundError, StoreUnavailableError, ValidationError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service.arn import IndexRef
from quiver.service.catalog import Catalog, CatalogSettings
from quiver.service.catalog_commands import CreateBucket, CreateIndex, DropIndex, PutPolicy, TagResource
from service.deployment import CountingStore, MovableClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RUNTIME = MovableClock(threads=1)
REF = IndexRef("bucket", "index")


def create_bucket(name: str = "bucket") -> CreateBucket:
    return CreateBucket(name, 1, {"sseType": "AES256"}, {})


def create_index(index_id: str, name: str = "index") -> CreateIndex:
    spec = IndexSpec(2, DistanceMetric.COSINE)
    return CreateIndex("bucket", name, index_id, spec, 1, {"sseType": "AES256"}, None, {})


def run(scenario: Callable[[CountingStore], Awaitable[None]]) -> None:
    asyncio.run(scenario(CountingStore(RUNTIME)))


async def image(catalog: Catalog) -> bytes:
    return await catalog.read(lambda state: state.encode())


def test_every_node_sees_what_another_has_acknowledged() -> None:
    async def scenario(store: CountingStore) -> None:
        left, right = Catalog(store, RUNTIME), Catalog(store, RUNTIME)
        await left.execute(create_bucket())
        await right.execute(PutPolicy("bucket", "{}"))
        await left.execute(create_index("1" * 32))
        assert (await right.cached_index(REF)).index_id == "1" * 32
        assert (await left.read(lambda state: state.bucket("bucket"))).policy == "{}"
        assert await image(left) == await image(right) == await image(Catalog(store, RUNTIME))

    run(scenario)


def test_of_racing_creations_exactly_one_wins() -> None:
    async def scenario(store: CountingStore) -> None:
        nodes = [Catalog(store, RUNTIME) for _ in range(4)]
        for node in nodes:
            await node.refresh()
        creations = [node.execute(create_bucket()) for node in nodes for _ in range(2)]
        outcomes = await asyncio.gather(*creations, return_exceptions=True)
        lost = [outcome for outcome in outcomes if isinstance(outcome, ConflictError)]
        assert len(lost) == 7
        assert {error.message for error in lost} == {"A vector bucket with the specified name already exists"}
        assert [type(outcome) for outcome in outcomes].count(int) == 1
        # Some passed the dry run and lost in the order of the log: that is what this test is for.
        assert len(await store.list(paths.log_prefix(paths.CATALOG_ROOT))) > 1

    run(scenario)


def test_racing_tags_cannot_exceed_the_limit_together() -> None:
    async def scenario(store: CountingStore) -> None:
        nodes = [Catalog(store, RUNTIME) for _ in range(3)]
        await nodes[0].execute(create_bucket())
        tags = [TagResource("bucket", None, {f"{n}-{i}": "" for i in range(30)}) for n in range(3)]
        outcomes = await asyncio.gather(
            *(node.execute(tag) for node, tag in zip(nodes, tags, strict=True)), return_exceptions=True
        )
        assert sum(isinstance(outcome, ValidationError) for outcome in outcomes) == 2
        assert len((await nodes[0].read(lambda state: state.bucket("bucket"))).tags) == 30

    run(scenario)


def test_a_change_that_cannot_succeed_writes_nothing() -> None:
    async def scenario(store: CountingStore) -> None:
        catalog = Catalog(store, RUNTIME)
        await catalog.execute(create_bucket())
        objects = await store.list("")
        with pytest.raises(ConflictError):
            await catalog.execute(create_bucket())
        with pytest.raises(NotFoundError):
            await catalog.execute(PutPolicy("other", "{}"))
        assert await store.list("") == objects

    run(scenario)


def test_execute_answers_the_slot_of_the_change() -> None:
    async def scenario(store: CountingStore) -> None:
        catalog = Catalog(store, RUNTIME)
        assert await catalog.execute(create_bucket("one")) == 1
        assert await catalog.execute(create_bucket("two")) == 2
        assert await catalog.refresh() == 2

    run(scenario)


def test_a_name_that_was_resolved_costs_no_io() -> None:
    async def scenario(store: CountingStore) -> None:
        catalog = Catalog(store, RUNTIME)
        await catalog.execute(create_bucket())
        await catalog.execute(create_index("1" * 32))
        first = await catalog.cached_index(REF)
        store.requests.clear()
        assert await catalog.cached_index(REF) is first
        assert not store.requests

    run(scenario)


def test_an_unknown_name_is_looked_up_each_time() -> None:
    async def scenario(store: CountingStore) -> None:
        here, there = Catalog(store, RUNTIME), Catalog(store, RUNTIME)
        await here.execute(create_bucket())
        with pytest.raises(NotFoundError, match="The specified index could not be found"):
            await here.cached_index(REF)
        await there.execute(create_index("1" * 32))
        assert (await here.cached_index(REF)).index_id == "1" * 32

    run(scenario)


def test_only_a_strong_lookup_corrects_a_cached_name() -> None:
    async def scenario(store: CountingStore) -> None:
        here, there = Catalog(store, RUNTIME), Catalog(store, RUNTIME)
        await here.execute(create_bucket())
        await here.execute(create_index("1" * 32))
        await here.cached_index(REF)
        await there.execute(DropIndex("1" * 32))
        await there.execute(create_index("2" * 32))
        await here.refresh()
        assert (await here.cached_index(REF)).index_id == "1" * 32
        assert (await here.index(REF)).index_id == "2" * 32
        assert (await here.cached_index(REF)).index_id == "2" * 32
        await there.execute(DropIndex("2" * 32))
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await here.index(REF)
        with pytest.raises(NotFoundError):
            await here.cached_index(REF)

    run(scenario)


def test_the_cache_of_names_is_bounded() -> None:
    async def scenario(store: CountingStore) -> None:
        catalog = Catalog(store, RUNTIME, CatalogSettings(cached_names=2))
        await catalog.execute(create_bucket())
        refs = [IndexRef("bucket", f"index-{n}") for n in range(3)]
        for n, ref in enumerate(refs):
            await catalog.execute(create_index(f"{n:032x}", ref.index))
            await catalog.cached_index(ref)
        store.requests.clear()
        await catalog.cached_index(refs[1])
        await catalog.cached_index(refs[2])
        assert not store.requests
        await catalog.cached_index(refs[0])
        assert store.requests

    run(scenario)


async def checkpoints(store: CountingStore) -> list[str]:
    return [info.key for info in await store.list(paths.checkpoint_prefix(paths.CATALOG_ROOT))]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(5):
        while not await condition():
            await asyncio.sleep(0.001)


def test_checkpoints_are_published_and_enough_to_start_from() -> None:
    async def scenario(store: CountingStore) -> None:
        catalog = Catalog(store, RUNTIME, CatalogSettings(checkpoint_slots=4))
        for n in range(10):
            await catalog.execute(create_bucket(f"bucket-{n}"))
            if (n + 1) % 4 == 0:
                await until(lambda due=(n + 1) // 4: _has(store, due))
        keys = [paths.checkpoint_key(paths.CATALOG_ROOT, slot) for slot in (1, 2)]
        assert await checkpoints(store) == keys
        collected = [paths.log_key(paths.CATALOG_ROOT, slot) for slot in range(1, 8)]
        await store.delete([*collected, keys[0]])
        again = Catalog(store, RUNTIME)
        assert await image(again) == await image(catalog)
        with pytest.raises(ConflictError):
            await again.execute(create_bucket("bucket-3"))

    async def _has(store: CountingStore, count: int) -> bool:
        return len(await checkpoints(store)) == count

    run(scenario)


class NoCheckpoints(CountingStore):
    """A store that refuses checkpoints as long as it is told to."""

    refusing = True

    async def put_new(self, key: str, parts: Any) -> None:
        if self.refusing and "/checkpoint/" in key:
            from quiver.objectstore.store import StoreRefusedError

            self.requests["refused"] += 1
            raise StoreRefusedError("disk full")
        await super().put_new(key, parts)


def test_a_failed_checkpoint_fails_no_change_and_is_tried_again() -> None:
    async def scenario() -> None:
        store = NoCheckpoints(RUNTIME)
        catalog = Catalog(store, RUNTIME, CatalogSettings(checkpoint_slots=2))
        for n in range(3):
            await catalog.execute(create_bucket(f"bucket-{n}"))

        async def refused() -> bool:
            return store.requests["refused"] > 0

        await until(refused)
        store.refusing = False

        async def published() -> bool:
            return len(await checkpoints(store)) == 1

        await catalog.execute(create_bucket("bucket-3"))
        await until(published)

    asyncio.run(scenario())


class Unreachable(CountingStore):
    async def get(self, key: str, start: int = 0, length: int | None = None) -> Any:
        raise StoreUnavailableError("down")


def test_a_strong_read_fails_when_the_store_is_down() -> None:
    async def scenario() -> None:
        with pytest.raises(StoreUnavailableError):
            await Catalog(Unreachable(RUNTIME), RUNTIME).read(lambda state: state.bucket("bucket"))

    asyncio.run(scenario())
