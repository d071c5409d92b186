"""hnswlib: a graph in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hnswlib
import numpy as np

from benchmarks.contenders.contract import Contender, Knob, Search

if TYPE_CHECKING:
    from benchmarks.filters import Filter


class Hnswlib(Contender):
    """Built by all cores, searched by one thread a query; it filters by a Python call for each row visited."""

    filters = False
    settings = "M 16, ef_construction 200; ef by knob"

    def build(self) -> None:
        index = self._new()
        index.init_index(max_elements=len(self.data.rows), M=16, ef_construction=200, random_seed=7)
        index.set_num_threads(os.cpu_count() or 1)
        index.add_items(np.asarray(self.data.rows), np.arange(len(self.data.rows)))
        index.save_index(str(self.folder / "graph.hnsw"))

    def open(self) -> None:
        self._index = self._new()
        self._index.load_index(str(self.folder / "graph.hnsw"))
        self._index.set_num_threads(1)

    def knobs(self, k: int) -> list[Knob]:
        return [
            {"ef": max(k, ef)} for ef in (10, 15, 20, 30, 45, 70, 100, 150, 250, 400, 700) if ef >= k or ef == 10
        ]

    def usual(self, k: int) -> Knob:
        return {"ef": 10 * k}

    def use(self, knob: Knob) -> None:
        self._index.set_ef(knob["ef"])

    def searcher(self) -> Search:
        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:  # noqa: ARG001
            return self._index.knn_query(query, k)[0][0].tolist()

        return search

    def _new(self) -> hnswlib.Index:
        space = "cosine" if self.data.metric == "cosine" else "l2"
        return hnswlib.Index(space=space, dim=self.data.dimension)
