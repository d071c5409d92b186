"""One node of the whole service: the real catalog, engine, operations and administration over one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from quiver.engine.native.engine import NativeEngine
from quiver.model.errors import NotFoundError
from quiver.objectstore.retrying_store import RetryingStore
from quiver.service.administration import Administration
from quiver.service.arn import Home
from quiver.service.catalog import Catalog
from quiver.service.patrol import Patrol
from quiver.service.service import Service
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.store_format import StoreFormat

if TYPE_CHECKING:
    from quiver.engine.native.settings import NativeSettings
    from quiver.service.catalog import CatalogSettings
    from simulation.world import Node

FORMAT = StoreFormat(1, bytes(32), 0)
HOME = Home("us-east-1", "123456789012")


class CatalogNode:
    """What a client and a maintainer ask of one node."""

    def __init__(
        self, node: Node, catalog: CatalogSettings, native: NativeSettings, *, patrols: bool = False
    ) -> None:
        self._patrols = patrols
        self._random = node.world.random
        self._age = native.garbage_age
        self.store = RetryingStore(node.store, node.runtime)
        cache = None if self.store.resident else BlockCache(self.store, node.runtime, 1 << 24)
        self.engine = NativeEngine(self.store, node.runtime, native, cache=cache)
        self.catalog = Catalog(self.store, node.runtime, catalog)
        self.service = Service(self.catalog, self.engine, FORMAT, node.runtime, HOME)
        self.administration = Administration(self.store, node.runtime, self.catalog, self.engine)
        self.patrol = Patrol(self.store, node.runtime, self.administration, self.engine, age=self._age, period=1.0)

    async def call(self, operation: str, params: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
        """The body as a client decodes it, and the commit."""
        response = await self.service.call(operation, params)
        body = orjson.loads(orjson.dumps(response.body, option=orjson.OPT_SERIALIZE_NUMPY))
        return body, response.commit

    # -- maintenance, by the names that a workload's maintainer calls; an index may be deleted meanwhile

    async def flush(self) -> None:
        indexes = await self.administration.indexes()
        if indexes:
            chosen = self._random.choice(indexes)
            index = await self.engine.open(chosen.index_id, chosen.spec)
            try:
                await index.maintenance.flush()
            except NotFoundError:
                return

    async def compact(self) -> None:
        """As an operator does it, or in half of the cases as a maintainer, where nodes go on patrol."""
        if self._patrols and self._random.random() < 0.5:
            await self.patrol.round()
            return
        try:
            async for _ in self.administration.compact():
                pass
        except NotFoundError:
            return

    async def collect_garbage(self, age: float | None = None) -> None:
        async for _ in self.administration.collect(self._age if age is None else age):
            pass
