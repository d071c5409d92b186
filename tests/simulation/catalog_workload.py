"""Clients that create, fill, read and delete indexes by a few shared names, and what they were told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np

from quiver.model.errors import BusyError, ConflictError, NotFoundError, RetryError, ValidationError
from quiver.objectstore.store import StoreRefusedError
from simulation import vectors
from simulation.catalog_history import Asked, CatalogHistory, Creation, Deletion, Misfit, Read, Write
from simulation.checkers.history import Kind, Operation, Violation
from simulation.workload import ZOMBIES_HAVE_LANDED, Workload
from simulation.world import Node, NodeDownError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulation.catalog_history import Name
    from simulation.catalog_node import CatalogNode

BUCKETS = ("bucket-a", "bucket-b")
INDEXES = ("index-a", "index-b")
NAMES = tuple((bucket, index) for bucket in BUCKETS for index in INDEXES)
KEYS = ("k0", "k1", "k2")
DIMENSIONS = (2, 3)


class CatalogWorkload(Workload):
    """Nodes, nemesis and maintainers as in any workload; requests go through the service."""

    history: CatalogHistory

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.history = CatalogHistory()
        self._dimensions = dict.fromkeys(NAMES, DIMENSIONS[0])

    async def ask(self, node: Node, operation: str, **params: Any) -> Asked:
        """One request, until it is answered, refused, or given up."""
        asked = Asked(self.world.loop.time())
        self.history.requests += 1
        try:
            async with asyncio.timeout(self.plan.patience):
                asked.body, asked.commit = await node.call(self._nodes[node].call(operation, params))
        except (NotFoundError, ConflictError, ValidationError, BusyError, StoreRefusedError) as error:
            asked.error = error
        except (RetryError, NodeDownError, TimeoutError) as error:
            self.history.unknown += 1
            self._note(operation, "unknown", type(error).__name__)
            return asked
        asked.end = self.world.loop.time()
        self._note(
            operation, node.name, sorted(params.items(), key=str), asked.body, asked.commit, repr(asked.error)
        )
        return asked

    @property
    def _nodes(self) -> dict[Node, CatalogNode]:
        return self._replicas

    def _tell(self, asked: Asked, kind: Kind, *where: str, value: object = None) -> None:
        self.history.operations.append(Operation(asked.call, asked.end, kind, value, "/".join(where)))

    def _tell_unknown(self, asked: Asked, kind: Kind, *where: str, value: object = None) -> None:
        self._tell(Asked(asked.call), kind, *where, value=value)

    def _tell_missing(self, asked: Asked, name: Name) -> None:
        """There was no index of this name."""
        self._tell(asked, Kind.GET, *name)
        for key in KEYS:
            self._tell(asked, Kind.GET, *name, key)

    # -- requests

    async def _request(self, node: Node) -> None:
        random = self.world.random
        name = random.choice(NAMES)
        bucket = name[0]
        choices: Sequence[tuple[int, Callable[[], Any]]] = (
            (7, lambda: self.create_bucket(node, bucket)),
            (3, lambda: self.delete_bucket(node, bucket)),
            (12, lambda: self.create_index(node, name)),
            (8, lambda: self.delete_index(node, name)),
            (6, lambda: self.get_index(node, name)),
            (4, lambda: self.list_indexes(node, bucket)),
            (30, lambda: self.put(node, name)),
            (4, lambda: self.delete_vectors(node, name)),
            (10, lambda: self.get(node, name)),
            (8, lambda: self.list(node, name)),
            (8, lambda: self.query(node, name)),
        )
        ((_, request),) = random.choices(choices, [weight for weight, _ in choices])
        await request()

    async def create_bucket(self, node: Node, bucket: str) -> None:
        asked = await self.ask(node, "CreateVectorBucket", vectorBucketName=bucket)
        if isinstance(asked.error, ConflictError):
            self._tell(asked, Kind.EXISTS, bucket)
        elif asked.error is None:
            self._tell(asked, Kind.CREATE, bucket, value="bucket")

    async def delete_bucket(self, node: Node, bucket: str) -> None:
        asked = await self.ask(node, "DeleteVectorBucket", vectorBucketName=bucket)
        if isinstance(asked.error, ConflictError):
            self._tell(asked, Kind.EXISTS, bucket)
        elif isinstance(asked.error, NotFoundError):
            self._tell(asked, Kind.GET, bucket)
        elif asked.error is None:
            self._tell(asked, Kind.DROP, bucket)
            if asked.body is not None:
                for index in INDEXES:
                    self._tell_missing(asked, (bucket, index))

    async def create_index(self, node: Node, name: Name) -> None:
        history, random = self.history, self.world.random
        attempt, dimension = history.new_value(), random.choice(DIMENSIONS)
        asked = await self.ask(
            node,
            "CreateIndex",
            vectorBucketName=name[0],
            indexName=name[1],
            dataType="float32",
            dimension=dimension,
            distanceMetric="euclidean",
            metadataConfiguration={"nonFilterableMetadataKeys": [f"attempt-{attempt}"]},
        )
        if asked.error is not None:
            history.refused_attempts.append(attempt)
        if isinstance(asked.error, ConflictError):
            self._tell(asked, Kind.EXISTS, *name)
        elif isinstance(asked.error, NotFoundError):
            self._tell(asked, Kind.GET, name[0])
            self._tell_missing(asked, name)
            if random.random() < 0.7:
                await self.create_bucket(node, name[0])
        elif asked.error is None:
            self._tell(asked, Kind.CREATE, *name, value=attempt)
            if asked.body is not None:
                self._tell(asked, Kind.EXISTS, name[0])
                self._dimensions[name] = dimension
                history.creations.append(Creation(asked.call, asked.end, name, attempt, dimension, created=True))

    async def delete_index(self, node: Node, name: Name) -> None:
        """Only an index that was not there is not deleted: refused half-way, a deletion may go on later.

        Of several that delete one index at the same time, all are told that it is deleted.
        """
        asked = await self.ask(node, "DeleteIndex", vectorBucketName=name[0], indexName=name[1])
        if isinstance(asked.error, NotFoundError):
            self._tell_missing(asked, name)
            return
        tell = self._tell if asked.error is None else self._tell_unknown
        tell(asked, Kind.DELETE, *name)
        for key in KEYS:
            tell(asked, Kind.DELETE, *name, key)
        if asked.body is not None:
            self.history.deletions.append(Deletion(asked.call, asked.end, name))

    async def get_index(self, node: Node, name: Name) -> None:
        asked = await self.ask(node, "GetIndex", vectorBucketName=name[0], indexName=name[1])
        if isinstance(asked.error, NotFoundError):
            self._tell_missing(asked, name)
        elif asked.body is not None:
            shown = asked.body["index"]
            attempt = int(shown["metadataConfiguration"]["nonFilterableMetadataKeys"][0].removeprefix("attempt-"))
            self._tell(asked, Kind.GET, *name, value=attempt)
            seen = Creation(asked.call, asked.end, name, attempt, shown["dimension"], created=False)
            self.history.creations.append(seen)
            self._dimensions[name] = seen.dimension

    async def list_indexes(self, node: Node, bucket: str) -> None:
        asked = await self.ask(node, "ListIndexes", vectorBucketName=bucket)
        if isinstance(asked.error, NotFoundError):
            self._tell(asked, Kind.GET, bucket)
            for index in INDEXES:
                self._tell_missing(asked, (bucket, index))
        elif asked.body is not None:
            self._tell(asked, Kind.EXISTS, bucket)
            shown = {each["indexName"] for each in asked.body["indexes"]}
            for index in INDEXES:
                self._tell(asked, Kind.EXISTS if index in shown else Kind.GET, bucket, index)

    async def put(self, node: Node, name: Name, dimension: int | None = None) -> Asked:
        history, random = self.history, self.world.random
        keys = tuple(random.sample(KEYS, random.randint(1, len(KEYS))))
        value = history.new_value()
        if dimension is None:
            dimension = self._dimensions[name] if random.random() < 0.9 else random.choice(DIMENSIONS)
        records = [
            {
                "key": key,
                "data": {"float32": vectors.vector_of(key, value, dimension).tolist()},
                "metadata": {"value": value},
            }
            for key in keys
        ]
        asked = await self.ask(node, "PutVectors", vectorBucketName=name[0], indexName=name[1], vectors=records)
        if asked.error is not None:
            history.refused_values.append(value)
            self._refused(asked, name, dimension)
        else:
            for key in keys:
                self._tell(asked, Kind.PUT, *name, key, value=value)
            if asked.commit is not None:
                history.writes.append(Write(asked.call, asked.end, name, keys, value, asked.commit))
        return asked

    def _refused(self, asked: Asked, name: Name, dimension: int | None) -> None:
        if isinstance(asked.error, NotFoundError):
            self._tell_missing(asked, name)
        elif isinstance(asked.error, ValidationError):
            if dimension is None:
                raise Violation(f"a legal request was refused: {asked.error}")
            self.history.misfits.append(Misfit(asked.call, asked.end, name, dimension))
            self._dimensions[name] = next(each for each in DIMENSIONS if each != dimension)

    async def delete_vectors(self, node: Node, name: Name) -> None:
        keys = self.world.random.sample(KEYS, 2)
        asked = await self.ask(node, "DeleteVectors", vectorBucketName=name[0], indexName=name[1], keys=keys)
        if asked.error is not None:
            self._refused(asked, name, None)
            return
        for key in keys:
            self._tell(asked, Kind.DELETE, *name, key)

    async def get(self, node: Node, name: Name) -> Asked:
        keys = tuple(self.world.random.sample(KEYS, 2))
        return await self._read(
            node, name, keys, None, "GetVectors", keys=list(keys), returnData=True, returnMetadata=True
        )

    async def list(self, node: Node, name: Name) -> Asked:
        return await self._read(node, name, KEYS, None, "ListVectors", returnData=True, returnMetadata=True)

    async def query(self, node: Node, name: Name) -> Asked:
        dimension = self._dimensions[name]
        vector = [self.world.random.gauss(0, 1) for _ in range(dimension)]
        return await self._read(
            node,
            name,
            KEYS,
            dimension,
            "QueryVectors",
            queryVector={"float32": vector},
            topK=100,
            returnMetadata=True,
        )

    async def _read(
        self, node: Node, name: Name, scope: tuple[str, ...], dimension: int | None, operation: str, **params: Any
    ) -> Asked:
        asked = await self.ask(node, operation, vectorBucketName=name[0], indexName=name[1], **params)
        if asked.error is not None:
            self._refused(asked, name, dimension)
        elif asked.body is not None:
            values = {}
            for shown in asked.body["vectors"]:
                key, value = shown["key"], shown["metadata"]["value"]
                if key in values:
                    raise Violation(f"{operation} answers {key} twice")
                values[key] = value
                if "data" in shown:
                    dimension = len(shown["data"]["float32"])
                    seen = np.array(shown["data"]["float32"], np.float32)
                    if not np.array_equal(seen, vectors.vector_of(key, value, dimension)):
                        raise Violation(f"{operation}: {key} has the metadata of {value} but another vector")
            for key in scope:
                self._tell(asked, Kind.GET, *name, key, value=values.get(key))
            self.history.reads.append(
                Read(asked.call, asked.end, name, scope, values, asked.commit or 0, dimension)
            )
        return asked

    # -- the end

    async def _settle(self) -> CatalogNode:
        """A healed system answers and takes writes; nothing is wrong, and garbage is collected."""
        node = await self._fresh()
        await self._read_everything(node)
        await asyncio.sleep(ZOMBIES_HAVE_LANDED)
        await self._read_everything(node)
        for name in await self._named(node):
            await self._must(node, "a put", self._put_that_suits, name)
        await asyncio.sleep(ZOMBIES_HAVE_LANDED)  # maintenance that the writes started has ended
        await self._check(node)
        await node.call(self._nodes[node].collect_garbage(0.0))
        await self._read_everything(node)
        fresh = await self._fresh()
        await self._read_everything(fresh)
        await self._check(fresh)
        return self._nodes[fresh]

    async def _put_that_suits(self, node: Node, name: Name) -> Asked:
        return await self.put(node, name, self._dimensions[name])

    async def _fresh(self) -> Node:
        node = self.world.start_node()
        self._replicas[node] = await node.call(self._open_replica(node))
        return node

    async def _named(self, node: Node) -> list[Name]:
        return [(each.bucket, each.name) for each in await node.call(self._nodes[node].administration.indexes())]

    async def _must(self, node: Node, what: str, request: Callable[..., Any], name: Name) -> None:
        """A request that ends well, or finds no index, or one of another dimension."""
        asked = await request(node, name)
        if isinstance(asked.error, ValidationError):
            asked = await request(node, name)
        if isinstance(asked.error, BusyError):
            await node.call(self._nodes[node].compact())
            asked = await request(node, name)
        if asked.body is None and not isinstance(asked.error, NotFoundError):
            raise Violation(f"{what} fails although everything has healed: {asked.error!r}")

    async def _read_everything(self, node: Node) -> None:
        for bucket in BUCKETS:
            await self.list_indexes(node, bucket)
        for name in NAMES:
            await self.get_index(node, name)
            for request in (self.get, self.list, self.query):
                await self._must(node, request.__name__, request, name)

    async def _check(self, node: Node) -> None:
        async def findings() -> list[object]:
            checked = self._nodes[node].administration.check()
            return [finding async for _, found in checked for finding in found]

        found = await node.call(findings())
        if found:
            raise Violation(f"the check finds {found[0]}")
