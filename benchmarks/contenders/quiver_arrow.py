"""Quiver's server, given Arrow instead of JSON."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from benchmarks.common import Request, signed
from benchmarks.contenders.quiver_library import INDEX, record_batch
from benchmarks.contenders.quiver_server import NAMES, QuiverServer, RequestClient

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Address, Client

PATH = f"quiver/LoadVectors?vectorBucketName={NAMES['vectorBucketName']}&indexName={INDEX}"
CONTENT = "application/vnd.apache.arrow.stream"


class QuiverArrowServer(QuiverServer):
    """As QuiverServer, but rows are put in batches of 5,000 by /quiver/LoadVectors, each durable when answered."""

    settings = "quiver serve, 1 worker; Arrow in batches of 5,000"

    def client(self, address: Address, *, bodies: bool) -> Client:
        kind = ArrowClient if bodies else MakingArrowClient
        return kind(self.data, self.columns, address["port"])


class ArrowClient(RequestClient):
    """Streams made beforehand."""

    size = 5_000

    def make(self, part: range) -> Request:
        rows = np.asarray(self._data.rows[part.start : part.stop])
        batch = record_batch(part, rows)
        body = io.BytesIO()
        with pa.ipc.new_stream(body, batch.schema) as writer:
            writer.write_batch(batch)
        return signed(self._port, PATH, body.getvalue(), CONTENT)


class MakingArrowClient(ArrowClient):
    """Streams made as they are sent."""

    def make(self, part: range) -> range:
        return part

    def send(self, made: range) -> None:
        super().send(super().make(made))
