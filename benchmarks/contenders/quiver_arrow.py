"""Quiver's server, given Arrow instead of JSON."""

from __future__ import annotations

import io
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from benchmarks.contenders.contract import Ingest
from benchmarks.contenders.quiver_library import INDEX
from benchmarks.contenders.quiver_server import NAMES, QuiverServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.common import Connection, Request, Server

BATCH = 5_000
PATH = f"quiver/LoadVectors?vectorBucketName={NAMES['vectorBucketName']}&indexName={INDEX}"
CONTENT = "application/vnd.apache.arrow.stream"


class QuiverArrowServer(QuiverServer):
    """As QuiverServer, but rows are put in batches of 5,000 by /quiver/LoadVectors, each durable when answered."""

    settings = "quiver serve, 1 worker; Arrow in batches of 5,000"

    @contextmanager
    def ingesting(self, *, bodies: bool) -> Iterator[Ingest]:
        with self.with_index() as server:
            make = partial(self._arrow, server)
            if bodies:
                yield Ingest(BATCH, make, lambda: partial(_send, server.connect()))
            else:
                yield Ingest(BATCH, lambda part: part, lambda: partial(_make_and_send, make, server.connect()))

    def _arrow(self, server: Server, part: range) -> Request:
        rows = np.asarray(self.data.rows[part.start : part.stop], np.float32)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        table = pa.table({"key": [str(row) for row in part], "vector": vectors})
        body = io.BytesIO()
        with pa.ipc.new_stream(body, table.schema) as writer:
            writer.write_table(table)
        return server.request(PATH, body.getvalue(), CONTENT)


def _send(connection: Connection, request: Request) -> None:
    connection.send(request).json()


def _make_and_send(make: partial[Request], connection: Connection, part: range) -> None:
    _send(connection, make(part))
