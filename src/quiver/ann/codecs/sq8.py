"""Scalar quantization: a byte per coordinate, fine enough to need no refining. faiss scans."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import faiss
import numpy as np

from quiver.ann.code_lists import checked_sizes
from quiver.ann.codec import Codec
from quiver.ann.faiss_lists import FaissScanner
from quiver.ann.refiner import Refiner

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quiver.ann.codec import CodeLists, Scanner
    from quiver.model.types import Float32Matrix


class ScalarQuantizer8(Codec):
    """Codes are the byte rows of a refiner, whatever the origins."""

    name: ClassVar[str] = "sq8"
    refined: ClassVar[bool] = False

    def __init__(self, byte_rows: Refiner) -> None:
        self._byte_rows = byte_rows
        self.code_size = len(byte_rows.low)

    @classmethod
    def train(
        cls,
        rows: Float32Matrix,
        partitions: NDArray[np.int64],  # noqa: ARG003 - rows suffice
        origins: Float32Matrix,  # noqa: ARG003
        seed: int,  # noqa: ARG003
    ) -> Self:
        return cls(Refiner.train(rows))

    def encode_rows(
        self,
        rows: Float32Matrix,
        partitions: NDArray[np.int64],  # noqa: ARG002 - codes are not relative to an origin
        origins: Float32Matrix,  # noqa: ARG002
    ) -> NDArray[np.uint8]:
        return self._byte_rows.encode_rows(rows)

    def scanner(self, lists: CodeLists, origins: Float32Matrix) -> Scanner:
        sizes = checked_sizes(lists, self.code_size, origins)
        kind = faiss.ScalarQuantizer.QT_8bit
        coarse = faiss.IndexFlatL2(self.code_size)  # never asked: partitions are named, and codes are absolute
        index = faiss.IndexIVFScalarQuantizer(
            coarse, self.code_size, len(origins), kind, faiss.METRIC_L2, False, False
        )
        faiss.copy_array_to_vector(self._byte_rows.trained, index.sq.trained)
        return FaissScanner(index, lists, sizes, np.ascontiguousarray, faiss.SearchParametersIVF)

    def encode(self) -> bytes:
        return self._byte_rows.encode()

    @classmethod
    def decode(cls, state: memoryview, dimension: int) -> Self:
        return cls(Refiner.decode(state, dimension))
