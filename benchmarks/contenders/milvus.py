"""Milvus Lite: the embedded edition of Milvus behind its usual client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pymilvus import DataType, MilvusClient

from benchmarks.contenders.contract import Contender, Knob, Search, batches

if TYPE_CHECKING:
    from benchmarks.filters import Filter

NAME = "rows"
BATCH = 1000


class MilvusLite(Contender):
    """One collection with an HNSW index."""

    settings = "HNSW, M 16, efConstruction 200; ef by knob"

    def build(self) -> None:
        client = self._connect()
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.data.dimension)
        for name in self.columns or {}:
            schema.add_field(name, DataType.INT64)
        index = client.prepare_index_params()
        metric = "COSINE" if self.data.metric == "cosine" else "L2"
        parameters = {"M": 16, "efConstruction": 200}
        index.add_index("vector", index_type="HNSW", metric_type=metric, params=parameters)
        client.create_collection(NAME, schema=schema, index_params=index)
        for part in batches(len(self.data.rows), BATCH):
            client.insert(NAME, [self._record(row) for row in part])
        client.flush(NAME)
        client.load_collection(NAME)
        client.search(NAME, [self.data.queries[0]], limit=1)
        client.close()

    def open(self) -> None:
        self._client = self._connect()
        self._client.load_collection(NAME)
        self.use(self.usual(10))

    def knobs(self, k: int) -> list[Knob]:
        return [{"ef": ef} for ef in sorted({max(k, ef) for ef in (10, 20, 40, 100, 200, 400)})]

    def usual(self, k: int) -> Knob:
        return {"ef": max(100, 2 * k)}

    def use(self, knob: Knob) -> None:
        self._parameters = {"params": dict(knob)}

    def searcher(self) -> Search:
        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            condition = "" if filter_ is None else expression(filter_)
            found = self._client.search(NAME, [query], limit=k, filter=condition, search_params=self._parameters)
            return [hit["id"] for hit in found[0]]

        return search

    def close(self) -> None:
        self._client.close()

    def _connect(self) -> MilvusClient:
        return MilvusClient(str(self.folder / "rows.db"))

    def _record(self, row: int) -> dict[str, object]:
        fields = {name: int(column[row]) for name, column in (self.columns or {}).items()}
        return {"id": row, "vector": np.asarray(self.data.rows[row]), **fields}


def expression(filter_: Filter) -> str:
    """The filter as Milvus writes it."""
    return " and ".join(f"{name} in {values}" for name, values in filter_.items())
