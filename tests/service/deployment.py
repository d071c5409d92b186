"""A deployment in memory for service tests: one store, any number of nodes, a clock that can be moved."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.session
import orjson
import pytest

from quiver.engine.engine import STRONG, Freshness
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.memory import MemoryStore
from quiver.service.arn import Home
from quiver.service.catalog import Catalog, CatalogSettings
from quiver.service.leniency import STRICT, Leniency
from quiver.service.operations import OPERATIONS
from quiver.service.roles import Role
from quiver.service.service import Response, Service
from quiver.storage.store_format import open_store_format
from service.brute_engine import BruteEngine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from quiver.model.errors import QuiverError
    from quiver.service.pace import Pace
    from service.brute_engine import Shelf

HOME = Home("eu-central-1", "123456789012")
ARN = "arn:aws:s3vectors:eu-central-1:123456789012"
MODEL = botocore.session.get_session().get_service_model("s3vectors")
NAMES = {"vectorBucketName": "bucket", "indexName": "index"}


class MovableClock(SystemRuntime):
    """The real runtime with an offset on its wall clock."""

    offset = 0.0

    def time(self) -> float:
        return super().time() + self.offset


class CountingStore(MemoryStore):
    """Counts requests, all kinds together, by the first part of the key."""

    def __init__(self, runtime: SystemRuntime) -> None:
        super().__init__(runtime)
        self.requests: Counter[str] = Counter()

    async def put_new(self, key: str, parts: Any) -> None:
        self.requests[key.split("/", maxsplit=1)[0]] += 1
        await asyncio.sleep(0)  # let other tasks in, as a real store does
        await super().put_new(key, parts)

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Any:
        self.requests[key.split("/", maxsplit=1)[0]] += 1
        await asyncio.sleep(0)
        return await super().get(key, start, length)

    async def list(self, prefix: str, after: str = "") -> Any:
        self.requests[prefix.split("/", maxsplit=1)[0]] += 1
        await asyncio.sleep(0)
        return await super().list(prefix, after)


class Node:
    """One service over the deployment's store."""

    def __init__(self, deployment: Deployment, service: Service, catalog: Catalog, engine: BruteEngine) -> None:
        self.deployment = deployment
        self.service = service
        self.catalog = catalog
        self.engine = engine

    async def call(self, operation: str, **params: Any) -> dict[str, Any]:
        """The answer's body as a client decodes it; of S3 Vectors compared with botocore's output shape."""
        return decoded(operation, await self.service.call(operation, params))

    async def fails(self, operation: str, error: type[QuiverError], message: str, **params: Any) -> QuiverError:
        """Check that the operation raises just this."""
        with pytest.raises(error) as caught:
            await self.service.call(operation, params)
        assert type(caught.value).code == error.code
        assert caught.value.message == message
        return caught.value

    async def pages(self, operation: str, member: str, **params: Any) -> list[list[Any]]:
        """All pages of a listing or query."""
        pages, token = [], {}
        while True:
            body = await self.call(operation, **params, **token)
            pages.append(body[member])
            if "nextToken" not in body:
                return pages
            token = {"nextToken": body["nextToken"]}

    async def create_index(self, dimension: int = 2, metric: str = "euclidean", **more: Any) -> None:
        """The bucket and index of `NAMES`."""
        await self.call("CreateVectorBucket", vectorBucketName=NAMES["vectorBucketName"])
        await self.call(
            "CreateIndex", **NAMES, dataType="float32", dimension=dimension, distanceMetric=metric, **more
        )

    async def put(self, *records: tuple[Any, ...]) -> None:
        """Put (key, vector) or (key, vector, metadata) into the index of `NAMES`."""
        await self.call("PutVectors", **NAMES, vectors=[record(*values) for values in records])


class Deployment:
    """What the nodes share."""

    def __init__(self, settings: CatalogSettings | None = None) -> None:
        self.runtime = MovableClock()
        self.store = CountingStore(self.runtime)
        self.shelf: Shelf = {}
        self.settings = settings

    async def node(
        self,
        role: Role = Role.ALL,
        freshness: Freshness = STRONG,
        pace: Pace | None = None,
        leniency: Leniency = STRICT,
    ) -> Node:
        catalog = Catalog(self.store, self.runtime, self.settings)
        engine = BruteEngine(self.shelf)
        store_format = await open_store_format(self.store, self.runtime)
        service = Service(
            catalog, engine, store_format, self.runtime, HOME, role, freshness, pace, leniency=leniency
        )
        return Node(self, service, catalog, engine)


def on_node(scenario: Callable[[Node], Awaitable[None]]) -> None:
    """Run a scenario on the only node of a new deployment."""

    async def run() -> None:
        await scenario(await Deployment().node())

    asyncio.run(run())


def record(key: str, vector: Any, metadata: Any = None) -> dict[str, Any]:
    made = {"key": key, "data": {"float32": vector}}
    return made if metadata is None else made | {"metadata": metadata}


def decoded(operation: str, response: Response) -> dict[str, Any]:
    body = orjson.loads(orjson.dumps(response.body, option=orjson.OPT_SERIALIZE_NUMPY))
    if operation in OPERATIONS:
        assert_shape(MODEL.operation_model(operation).output_shape, body, operation)
    return body


def assert_shape(shape: Any, value: Any, path: str) -> None:
    """Compare a decoded answer with a shape of the service model."""
    match shape.type_name:
        case "structure" if getattr(shape, "is_document_type", False):
            assert isinstance(value, dict), path
        case "structure":
            assert value.keys() <= shape.members.keys(), path
            assert value.keys() >= set(shape.required_members), path
            for name, member in value.items():
                assert_shape(shape.members[name], member, f"{path}.{name}")
        case "list":
            assert isinstance(value, list), path
            for item in value:
                assert_shape(shape.member, item, f"{path}[]")
        case "map":
            assert isinstance(value, dict), path
        case "string":
            assert isinstance(value, str), path
            assert value in shape.enum if getattr(shape, "enum", None) else True, path
            lengths = shape.metadata
            assert lengths.get("min", 0) <= len(value) <= lengths.get("max", len(value)), path
        case "timestamp" | "integer":
            assert type(value) is int, path
        case "float":
            assert type(value) is float, path
        case other:
            raise AssertionError(f"{path}: {other}")


@contextmanager
def moved_clock(node: Node, seconds: float) -> Iterator[None]:
    node.deployment.runtime.offset += seconds
    try:
        yield
    finally:
        node.deployment.runtime.offset -= seconds
