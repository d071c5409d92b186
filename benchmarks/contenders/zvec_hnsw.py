"""zvec: an embedded collection with its HNSW index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import zvec

from benchmarks.contenders.contract import Contender, Knob, Search, batches

if TYPE_CHECKING:
    from benchmarks.filters import Filter

BATCH = 1000


class Zvec(Contender):
    """Vectors in HNSW, each column with an inverted index; optimized once everything is in."""

    settings = "HNSW with its defaults (m 50, ef_construction 500, float32), optimize() at the end; ef by knob"

    def build(self) -> None:
        zvec.init(log_level=zvec.LogLevel.WARN)
        metric = zvec.MetricType.COSINE if self.data.metric == "cosine" else zvec.MetricType.L2
        inverted = zvec.InvertIndexParam()
        schema = zvec.CollectionSchema(
            name="rows",
            fields=[
                zvec.FieldSchema(name, zvec.DataType.INT32, nullable=False, index_param=inverted)
                for name in self.columns or {}
            ],
            vectors=zvec.VectorSchema(
                "vector",
                zvec.DataType.VECTOR_FP32,
                dimension=self.data.dimension,
                index_param=zvec.HnswIndexParam(metric_type=metric),
            ),
        )
        collection = zvec.create_and_open(path=str(self.folder / "rows"), schema=schema)
        for part in batches(len(self.data.rows), BATCH):
            statuses = collection.insert([self._document(row) for row in part])
            if not all(status.ok() for status in statuses):
                raise RuntimeError("zvec refused a row")
        collection.flush()
        collection.optimize()
        collection.close()

    def open(self) -> None:
        zvec.init(log_level=zvec.LogLevel.WARN)
        option = zvec.CollectionOption(read_only=True)
        self._collection = zvec.open(str(self.folder / "rows"), option)
        self.use(self.usual(10))

    def knobs(self, k: int) -> list[Knob]:
        return [{"ef": ef} for ef in sorted({max(k, ef) for ef in (10, 20, 40, 70, 100, 200, 300, 500)})]

    def usual(self, k: int) -> Knob:
        return {"ef": max(300, k)}

    def use(self, knob: Knob) -> None:
        self._parameters = zvec.HnswQueryParam(ef=knob["ef"])

    def searcher(self) -> Search:
        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            asked = zvec.Query("vector", vector=query, param=self._parameters)
            condition = None if filter_ is None else sql(filter_)
            found = self._collection.query(queries=asked, topk=k, output_fields=[], filter=condition)
            return [int(document.id) for document in found]

        return search

    def close(self) -> None:
        self._collection.close()

    def _document(self, row: int) -> zvec.Doc:
        fields = {name: int(column[row]) for name, column in (self.columns or {}).items()}
        return zvec.Doc(id=str(row), vectors={"vector": np.asarray(self.data.rows[row])}, fields=fields)


def sql(filter_: Filter) -> str:
    """The filter as zvec writes it."""
    return " and ".join(f"{name} in ({', '.join(map(str, values))})" for name, values in filter_.items())
