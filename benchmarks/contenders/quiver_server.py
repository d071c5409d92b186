"""Quiver's server, used by an unmodified boto3."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np
from botocore.config import Config

from benchmarks.common import KEYS, Connection, Request, Server, put_body
from benchmarks.contenders.contract import Contender, Ingest, Knob, Search, batches
from benchmarks.contenders.quiver_library import BUCKET, INDEX, TARGETS, QuiverLibrary, compact, where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.filters import Filter

BATCH = 500
NAMES = {"vectorBucketName": BUCKET}


class QuiverServer(Contender):
    """`quiver serve` with one worker; rows are put through HTTP, and the root is compacted afterwards."""

    settings = "quiver serve, 1 worker, boto3; batches of 500; the tag quiver:recall by knob"

    def build(self) -> None:
        with self.ingesting(bodies=False) as ingest:
            add = ingest.connect()
            for part in batches(len(self.data.rows), ingest.size):
                add(part)
        compact(self.folder / "root")

    @contextmanager
    def with_index(self) -> Iterator[Server]:
        """A server with an empty index."""
        with Server(root=self.folder / "root") as server:
            client = connect(server)
            client.create_vector_bucket(**NAMES)
            client.create_index(
                **NAMES,
                indexName=INDEX,
                dataType="float32",
                dimension=self.data.dimension,
                distanceMetric=self.data.metric,
            )
            yield server

    @contextmanager
    def ingesting(self, *, bodies: bool) -> Iterator[Ingest]:
        with self.with_index() as server:
            if bodies:
                yield Ingest(BATCH, partial(self._request, server), lambda: partial(_send, server.connect()))
            else:
                yield Ingest(BATCH, lambda part: part, lambda: partial(self._add, connect(server)))

    def _request(self, server: Server, part: range) -> Request:
        body = put_body(INDEX, [str(row) for row in part], np.asarray(self.data.rows[part.start : part.stop]))
        return server.request("PutVectors", body)

    def _add(self, client: Any, part: range) -> None:
        """Put these rows of the data set."""
        rows = np.asarray(self.data.rows[part.start : part.stop]).tolist()
        vectors = [{"key": str(row), "data": {"float32": vector}} for row, vector in zip(part, rows, strict=True)]
        for name, column in (self.columns or {}).items():
            for row, vector in zip(part, vectors, strict=True):
                vector.setdefault("metadata", {})[name] = int(column[row])
        client.put_vectors(**NAMES, indexName=INDEX, vectors=vectors)

    def prepare(self, knobs: list[Knob]) -> None:
        QuiverLibrary(self.data, self.folder, self.columns).prepare(knobs)

    def open(self) -> None:
        self._servers: dict[str, Server] = {}
        self._clients: dict[tuple[str, int], Any] = {}
        self.use(self.usual(10))

    def knobs(self, k: int) -> list[Knob]:  # noqa: ARG002
        return [{"recall": target} for target in TARGETS]

    def usual(self, k: int) -> Knob:  # noqa: ARG002
        return {"recall": None}

    def use(self, knob: Knob) -> None:
        library = QuiverLibrary(self.data, self.folder)
        library.use(knob)
        root, self._index = library.location
        self._root = str(root)
        if self._root not in self._servers:
            self._servers[self._root] = Server(root=root).__enter__()

    def searcher(self) -> Search:
        at = (self._root, threading.get_ident())
        if at not in self._clients:
            self._clients[at] = connect(self._servers[self._root])
        client, index = self._clients[at], self._index

        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            more = {} if filter_ is None else {"filter": where(filter_)}
            vector = {"float32": query.tolist()}
            found = client.query_vectors(**NAMES, indexName=index, topK=k, queryVector=vector, **more)
            return [int(hit["key"]) for hit in found["vectors"]]

        return search

    def pids(self) -> list[int]:
        return [pid for server in self._servers.values() for pid in server.pids()]

    def close(self) -> None:
        for server in self._servers.values():
            server.stop()


def _send(connection: Connection, request: Request) -> None:
    connection.send(request).json()


def connect(server: Server) -> Any:
    """A boto3 client."""
    return boto3.client(
        "s3vectors",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
        config=Config(retries={"max_attempts": 1}, read_timeout=300),
    )
