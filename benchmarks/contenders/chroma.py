"""Chroma, embedded (PersistentClient) and as its server over HTTP."""

from __future__ import annotations

import base64
import gc
import http.client
import os
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import chromadb
import numpy as np
import orjson
from chromadb.api.shared_system_client import SharedSystemClient
from chromadb.config import Settings

from benchmarks.common import free_port
from benchmarks.contenders.contract import Address, Client, Contender, Knob, Search, batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chromadb.api.models.Collection import Collection

    from benchmarks.filters import Filter

NAME = "vectors"
BATCH = 1000


class Chroma(Contender):
    """One collection; a new ef_search counts only from when the collection is opened again, so `use` opens it."""

    def build(self) -> None:
        collection = self._create(self._connect())
        for part in batches(len(self.data.rows), BATCH):
            self.add(collection, part)
        collection.query(query_embeddings=[self.data.queries[0]], n_results=1, include=[])
        self.close()

    def _create(self, client: chromadb.ClientAPI) -> Collection:
        space = "cosine" if self.data.metric == "cosine" else "l2"
        configuration = {"hnsw": {"space": space}}
        return client.create_collection(NAME, configuration=configuration, embedding_function=None)

    def add(self, collection: Collection, part: range) -> None:
        """Add these rows of the data set."""
        table = self.columns or {}
        metadata = [{name: int(column[row]) for name, column in table.items()} for row in part] if table else None
        rows = np.asarray(self.data.rows[part.start : part.stop])
        collection.add(ids=[str(row) for row in part], embeddings=rows, metadatas=metadata)

    def open(self) -> None:
        self._collection = self._connect().get_collection(NAME, embedding_function=None)

    def knobs(self, k: int) -> list[Knob]:
        return [{"ef_search": ef} for ef in sorted({max(k, ef) for ef in (10, 20, 40, 70, 100, 200, 400)})]

    def usual(self, k: int) -> Knob:
        return {"ef_search": max(100, k)}

    def use(self, knob: Knob) -> None:
        if self._collection.configuration["hnsw"]["ef_search"] != knob["ef_search"]:
            self._collection.modify(configuration={"hnsw": dict(knob)})
            self.close()
            self.open()

    def searcher(self) -> Search:
        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            found = self._collection.query(
                query_embeddings=[query],
                n_results=k,
                include=[],
                where=None if filter_ is None else where(filter_),
            )
            return [int(key) for key in found["ids"][0]]

        return search

    @abstractmethod
    def _connect(self) -> chromadb.ClientAPI:
        """A client of the collection's home."""


class ChromaEmbedded(Chroma):
    """In this process."""

    settings = "PersistentClient, its defaults (HNSW, ef_construction 100, 16 neighbours); ef_search by knob"

    def close(self) -> None:
        self._collection = None
        SharedSystemClient.clear_system_cache()
        gc.collect()

    def _connect(self) -> chromadb.ClientAPI:
        return chromadb.PersistentClient(str(self.folder), settings=Settings(anonymized_telemetry=False))


class ChromaServer(Chroma):
    """`chroma run` in a process of its own."""

    settings = "chroma run and HttpClient, its defaults; ef_search by knob"

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._process: subprocess.Popen[bytes] | None = None

    def pids(self) -> list[int]:
        return [self._process.pid] if self._process else []

    def close(self) -> None:
        self._collection = None
        SharedSystemClient.clear_system_cache()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    @contextmanager
    def serving(self) -> Iterator[Address]:
        try:
            collection = self._create(self._connect())
            yield {"port": self._port, "collection": str(collection.id)}
        finally:
            self.close()

    def client(self, address: Address, *, bodies: bool) -> Client:
        collection = http_client(address["port"]).get_collection(NAME, embedding_function=None)
        return BodyClient(self, collection, address) if bodies else ChromaClient(self, collection)

    def _start(self) -> None:
        self._port = free_port()
        program = Path(sys.executable).with_name("chroma")
        self._process = subprocess.Popen(
            [program, "run", "--path", str(self.folder), "--host", "127.0.0.1", "--port", str(self._port)],
            env=os.environ | {"ANONYMIZED_TELEMETRY": "False"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _connect(self) -> chromadb.ClientAPI:
        self._start()
        deadline = time.monotonic() + 60
        while True:
            try:
                return http_client(self._port)
            except Exception:  # whatever it raises until it listens
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.2)


class ChromaClient(Client):
    """Chroma's own client."""

    size = BATCH

    def __init__(self, server: ChromaServer, collection: Collection) -> None:
        self._server = server
        self._collection = collection

    def make(self, part: range) -> range:
        return part

    def send(self, made: range) -> None:
        self._server.add(self._collection, made)

    def query(self, query: np.ndarray, k: int) -> list[int]:
        found = self._collection.query(query_embeddings=[query], n_results=k, include=[])
        return [int(key) for key in found["ids"][0]]


class BodyClient(ChromaClient):
    """Add requests made beforehand, as its own client writes them."""

    def __init__(self, server: ChromaServer, collection: Collection, address: Address) -> None:
        super().__init__(server, collection)
        self._connection = http.client.HTTPConnection("127.0.0.1", address["port"], timeout=300)
        place = "/api/v2/tenants/default_tenant/databases/default_database/collections"
        self._path = f"{place}/{address['collection']}/add"

    def make(self, part: range) -> bytes:
        """With embeddings in base64."""
        rows = np.ascontiguousarray(self._server.data.rows[part.start : part.stop], "<f4")
        encoded = [base64.b64encode(row.tobytes()).decode() for row in rows]
        return orjson.dumps({"ids": [str(row) for row in part], "embeddings": encoded})

    def send(self, made: bytes) -> None:
        self._connection.request("POST", self._path, made, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"status {answer.status}: {text[:200]!r}")


def http_client(port: int) -> chromadb.ClientAPI:
    """A client of a running server."""
    return chromadb.HttpClient("127.0.0.1", port, settings=Settings(anonymized_telemetry=False))


def where(filter_: Filter) -> dict[str, Any]:
    """The filter as Chroma writes it."""
    conditions = [{name: {"$in": values}} for name, values in filter_.items()]
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}
