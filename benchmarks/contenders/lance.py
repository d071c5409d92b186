"""LanceDB: its IVF_PQ and IVF_HNSW_SQ indexes with refinement, embedded."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import Bitmap, HnswSq, IvfPq

from benchmarks.contenders.contract import Contender, Knob, Search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.filters import Filter

BATCH = 20_000


class Lance(Contender):
    """A table of ids, vectors and columns; a bitmap index on each column."""

    def build(self) -> None:
        table = self._database().create_table("rows", self._batches(), schema=self._schema())
        table.create_index("vector", config=self._index(len(self.data.rows)))
        for name in self.columns or {}:
            table.create_index(name, config=Bitmap())

    def open(self) -> None:
        self._table = self._database().open_table("rows")
        self.use(self.usual(10))

    def use(self, knob: Knob) -> None:
        self._knob = knob

    def searcher(self) -> Search:
        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            asked = self._table.search(query).distance_type(self._metric()).limit(k)
            for name, value in self._knob.items():
                asked = getattr(asked, name)(value)
            if filter_ is not None:
                asked = asked.where(sql(filter_), prefilter=True)
            return asked.select(["id", "_distance"]).to_arrow()["id"].to_pylist()

        return search

    @abstractmethod
    def _index(self, rows: int) -> Any:
        """The configuration of the vector index."""

    def _database(self) -> Any:
        return lancedb.connect(str(self.folder))

    def _metric(self) -> str:
        return "cosine" if self.data.metric == "cosine" else "l2"

    def _schema(self) -> pa.Schema:
        fields = [pa.field("id", pa.int64()), pa.field("vector", pa.list_(pa.float32(), self.data.dimension))]
        return pa.schema(fields + [pa.field(name, pa.int32()) for name in self.columns or {}])

    def _batches(self) -> Iterator[pa.RecordBatch]:
        rows = self.data.rows
        for start in range(0, len(rows), BATCH):
            part = np.ascontiguousarray(rows[start : start + BATCH])
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), self.data.dimension)
            columns = [pa.array(c[start : start + BATCH], pa.int32()) for c in (self.columns or {}).values()]
            ids = pa.array(np.arange(start, start + len(part)))
            yield pa.record_batch([ids, vectors, *columns], schema=self._schema())


class LanceIvfPq(Lance):
    """IVF_PQ as its guide sizes it."""

    settings = "IVF_PQ, rows / 4096 partitions, dimension / 8 sub-vectors; nprobes and refine_factor by knob"

    def knobs(self, k: int) -> list[Knob]:  # noqa: ARG002
        most = max(1, len(self.data.rows) // 4096)
        probes = sorted({min(most, n) for n in (1, 2, 4, 8, 12, 20, 40, 80)})
        return [{"nprobes": n, "refine_factor": factor} for n in probes for factor in (5, 20)]

    def usual(self, k: int) -> Knob:  # noqa: ARG002
        return {"refine_factor": 10}

    def _index(self, rows: int) -> IvfPq:
        return IvfPq(
            distance_type=self._metric(),
            num_partitions=max(1, rows // 4096),
            num_sub_vectors=self.data.dimension // 8,
        )


class LanceHnswSq(Lance):
    """IVF_HNSW_SQ as its guide sizes it."""

    settings = (
        "IVF_HNSW_SQ, rows / 1,048,576 partitions (at least 1), m 20, ef_construction 300; ef and refine by knob"
    )

    def knobs(self, k: int) -> list[Knob]:
        efs = [max(k, n) for n in (10, 15, 30, 60, 100, 200, 400)]
        pairs = [(ef, factor) for ef in sorted(set(efs)) for factor in (1, 5) if ef >= k * factor]  # its own rule
        return [{"ef": ef, "refine_factor": factor} for ef, factor in pairs]

    def usual(self, k: int) -> Knob:
        return {"ef": 10 * k, "refine_factor": 5}

    def _index(self, rows: int) -> HnswSq:
        return HnswSq(distance_type=self._metric(), num_partitions=max(1, rows // 1_048_576))


def sql(filter_: Filter) -> str:
    """The filter as SQL."""
    return " AND ".join(f"{name} IN ({', '.join(map(str, values))})" for name, values in filter_.items())
