"""Quiver's server, used by an unmodified boto3."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import numpy as np
from botocore.config import Config

from benchmarks.common import KEYS, Connection, Request, Server, free_port, put_body, signed
from benchmarks.contenders.contract import Address, Client, Contender, Knob, Search, batches
from benchmarks.contenders.quiver_library import BUCKET, INDEX, TARGETS, QuiverLibrary, compact, where

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.datasets import Dataset
    from benchmarks.filters import Columns, Filter

BATCH = 500
NAMES = {"vectorBucketName": BUCKET}
JOBS = re.compile(
    r'^quiver_maintenance_(jobs_total|running){job="(\w+)"(?:,result="(\w+)")?} (\S+)$', re.MULTILINE
)
BUSY_SECONDS = 0.05


class QuiverServer(Contender):
    """`quiver serve` with one worker; rows are put through HTTP, and the root is compacted afterwards."""

    settings = "quiver serve, 1 worker, boto3; batches of 500; the tag quiver:recall by knob"

    def build(self) -> None:
        with self.serving() as address:
            client = self.client(address, bodies=False)
            for part in batches(len(self.data.rows), client.size):
                client.send(client.make(part))
        compact(self.folder / "root")

    @contextmanager
    def serving(self) -> Iterator[Address]:
        admin = free_port()
        with Server(root=self.folder / "root", QUIVER_ADMIN_PORT=str(admin)) as server:
            client = connect(server.port)
            client.create_vector_bucket(**NAMES)
            client.create_index(
                **NAMES,
                indexName=INDEX,
                dataType="float32",
                dimension=self.data.dimension,
                distanceMetric=self.data.metric,
            )
            yield {"port": server.port, "admin": admin}

    def client(self, address: Address, *, bodies: bool) -> Client:
        kind = JsonClient if bodies else BotoClient
        return kind(self.data, self.columns, address["port"])

    def progress(self, address: Address) -> dict[str, float]:
        return done_in_background(address["admin"], self.folder / "root")

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
            self._clients[at] = connect(self._servers[self._root].port)
        client, index = self._clients[at], self._index

        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            return query_by_boto(client, index, query, k, filter_)

        return search

    def pids(self) -> list[int]:
        return [pid for server in self._servers.values() for pid in server.pids()]

    def close(self) -> None:
        for server in self._servers.values():
            server.stop()


class BotoClient(Client):
    """An unmodified boto3; it repeats what is refused because the tail is full."""

    size = BATCH

    def __init__(self, data: Dataset, columns: Columns | None, port: int) -> None:
        self._data = data
        self._columns = columns or {}
        self._boto = connect(port)

    def make(self, part: range) -> range:
        return part

    def send(self, made: range) -> None:
        rows = np.asarray(self._data.rows[made.start : made.stop]).tolist()
        vectors = [{"key": str(row), "data": {"float32": vector}} for row, vector in zip(made, rows, strict=True)]
        for name, column in self._columns.items():
            for row, vector in zip(made, vectors, strict=True):
                vector.setdefault("metadata", {})[name] = int(column[row])
        self._boto.put_vectors(**NAMES, indexName=INDEX, vectors=vectors)

    def query(self, query: np.ndarray, k: int) -> list[int]:
        return query_by_boto(self._boto, INDEX, query, k, None)


class RequestClient(Client):
    """Signed requests over a kept connection, repeated while the tail is full."""

    def __init__(self, data: Dataset, columns: Columns | None, port: int) -> None:
        self._data = data
        self._port = port
        self._connection = Connection(port)
        self._by_boto = BotoClient(data, columns, port)

    def send(self, made: Request) -> None:
        while (answer := self._connection.send(made)).status == 429:
            time.sleep(BUSY_SECONDS)
        answer.json()

    def query(self, query: np.ndarray, k: int) -> list[int]:
        return self._by_boto.query(query, k)


class JsonClient(RequestClient):
    """PutVectors with bodies as boto3 writes them."""

    size = BATCH

    def make(self, part: range) -> Request:
        rows = np.asarray(self._data.rows[part.start : part.stop])
        return signed(self._port, "PutVectors", put_body(INDEX, [str(row) for row in part], rows))


def query_by_boto(client: Any, index: str, query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
    """Row numbers, nearest first."""
    more = {} if filter_ is None else {"filter": where(filter_)}
    vector = {"float32": query.tolist()}
    found = client.query_vectors(**NAMES, indexName=index, topK=k, queryVector=vector, **more)
    return [int(hit["key"]) for hit in found["vectors"]]


def done_in_background(admin: int, root: Path) -> dict[str, float]:
    """Jobs done by the server's metrics, and segments written by the folder (collected ones excepted)."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    counts = {"busy": 0.0, "flushes": 0.0, "failed jobs": 0.0}
    for what, job, result, value in JOBS.findall(text):
        if what == "running":
            counts["busy"] += float(value)
        elif result == "failed":
            counts["failed jobs"] += float(value)
        elif job == "flush":
            counts["flushes"] += float(value)
    counts["segments written"] = float(len(list(root.glob("index/*/segment/*/index"))))
    return counts


def connect(port: int) -> Any:
    """A boto3 client of a server on this machine."""
    return boto3.client(
        "s3vectors",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
        config=Config(retries={"mode": "standard", "total_max_attempts": 8}, read_timeout=300),
    )
