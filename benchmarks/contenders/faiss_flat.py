"""faiss flat: exact search in memory, the floor of what speed without an index is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np

from benchmarks.contenders.contract import Contender, Knob, Search
from benchmarks.filters import mask

if TYPE_CHECKING:
    from benchmarks.filters import Filter


class FaissFlat(Contender):
    """IndexFlat over float32 rows; filters as an IDSelectorBitmap made for each query."""

    settings = "IndexFlat (inner product of unit rows, or L2), one thread a query"

    def build(self) -> None:
        rows = np.array(self.data.rows)
        if self.data.metric == "cosine":
            faiss.normalize_L2(rows)
        flat = faiss.IndexFlatIP if self.data.metric == "cosine" else faiss.IndexFlatL2
        index = flat(self.data.dimension)
        index.add(rows)
        faiss.write_index(index, str(self.folder / "flat.faiss"))

    def open(self) -> None:
        self._index = faiss.read_index(str(self.folder / "flat.faiss"))

    def knobs(self, k: int) -> list[Knob]:
        return [self.usual(k)]

    def usual(self, k: int) -> Knob:  # noqa: ARG002
        return {"exact": True}

    def use(self, knob: Knob) -> None:
        pass

    def searcher(self) -> Search:
        faiss.omp_set_num_threads(1)  # counts for the calling thread only

        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            parameters = None
            if filter_ is not None:
                bits = np.packbits(mask(self.columns, filter_), bitorder="little")
                parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
            ids = self._index.search(query[None], k, params=parameters)[1][0]
            return ids[ids >= 0].tolist()

        return search
