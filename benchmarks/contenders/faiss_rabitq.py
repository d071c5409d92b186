"""The bare kernel: faiss IVF-RaBitQ over rotated rows in memory, the best re-ranked with float32. No storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np

from benchmarks.contenders.contract import Contender, Knob, Search

if TYPE_CHECKING:
    from benchmarks.filters import Filter


def lists_for(rows: int) -> int:
    """About 4 * sqrt(rows), rounded to a power of two."""
    return 1 << round(np.log2(4 * rows**0.5))


class FaissRabitq(Contender):
    """What Quiver's default codec costs with nothing around it: no store, no keys, no metadata, no deletions."""

    filters = False
    settings = (
        "IVF of about 4 sqrt(n) lists, random rotation, 1 bit, qb 4; 50 or 100 best re-ranked by float32 NumPy"
    )

    def build(self) -> None:
        rows = self._prepared(np.array(self.data.rows))
        rotation = faiss.RandomRotationMatrix(self.data.dimension, self.data.dimension)
        rotation.init(7)
        quantizer = faiss.IndexFlatL2(self.data.dimension)
        lists = lists_for(len(rows))
        index = faiss.IndexIVFRaBitQ(quantizer, self.data.dimension, lists, faiss.METRIC_L2)
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = 64
        rotated = rotation.apply(rows)
        index.train(rotated)
        index.add(rotated)
        faiss.write_index(index, str(self.folder / "rabitq.faiss"))
        faiss.write_VectorTransform(rotation, str(self.folder / "rotation.faiss"))
        np.save(self.folder / "rows.npy", rows)

    def open(self) -> None:
        self._index = faiss.read_index(str(self.folder / "rabitq.faiss"))
        self._rotation = faiss.read_VectorTransform(str(self.folder / "rotation.faiss"))
        self._rows = np.load(self.folder / "rows.npy")
        self._squares = np.einsum("ij,ij->i", self._rows, self._rows)
        self.use(self.usual(10))

    def knobs(self, k: int) -> list[Knob]:
        probes = [
            n
            for n in (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
            if n <= lists_for(len(self.data.rows))
        ]
        return [{"nprobe": n, "rerank": depth * k // 10} for n in probes for depth in (50, 100)]

    def usual(self, k: int) -> Knob:
        return {"nprobe": 64, "rerank": 10 * k}

    def use(self, knob: Knob) -> None:
        self._depth = knob["rerank"]
        self._parameters = faiss.IVFRaBitQSearchParameters(nprobe=knob["nprobe"], qb=4)

    def searcher(self) -> Search:
        faiss.omp_set_num_threads(1)  # counts for the calling thread only

        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:  # noqa: ARG001
            query = self._prepared(query[None])
            ids = self._index.search(self._rotation.apply(query), self._depth, params=self._parameters)[1][0]
            ids = ids[ids >= 0]
            scores = self._squares[ids] - 2 * (self._rows[ids] @ query[0])
            return ids[np.argsort(scores)[:k]].tolist()

        return search

    def _prepared(self, rows: np.ndarray) -> np.ndarray:
        """Unit rows for cosine: their L2 order is the same."""
        if self.data.metric == "cosine":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return np.ascontiguousarray(rows, np.float32)
