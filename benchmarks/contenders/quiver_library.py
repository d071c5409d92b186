"""Quiver embedded: the library over a directory.

A recall target is fixed when an index is created, so `prepare` makes one index for each, in a root of its own.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import threadpoolctl  # noqa: F401 - as below

import quiver
import quiver.library.connection
from benchmarks.contenders.contract import Contender, Knob, Search
from quiver.assemble import open_service
from quiver.model.runtime import SystemRuntime
from quiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.filters import Columns, Filter

BUCKET, INDEX = "benchmark", "main"
TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995)
BATCH = 20_000

pa.array(np.zeros(1, np.float32))  # imports pandas where that is installed, for once; imports do not count


class QuiverLibrary(Contender):
    """One connection, which all searching threads share."""

    settings = "the default index (no tags); the tag quiver:recall by knob"

    structure: ClassVar[dict[str, str]] = {}
    """Partitioner and codec, where they are not the default."""

    def build(self) -> None:
        self._fill("root", {INDEX: None})

    def prepare(self, knobs: list[Knob]) -> None:
        names = {_name(knob): knob["recall"] for knob in knobs if knob["recall"] is not None}
        self._fill("targets", names)

    def _fill(self, root: str, recalls: dict[str, float | None]) -> None:
        rows, metric = self.data.rows, self.data.metric
        fill(self.folder / root, recalls, rows, metric, self.columns, **self.structure)

    def open(self) -> None:
        self._connections: dict[Path, Any] = {}
        self._opening = threading.Lock()
        self.use(self.usual(10))

    def knobs(self, k: int) -> list[Knob]:  # noqa: ARG002
        return [{"recall": target} for target in TARGETS]

    def usual(self, k: int) -> Knob:  # noqa: ARG002
        return {"recall": None}

    def use(self, knob: Knob) -> None:
        main = knob["recall"] is None
        self.location = (self.folder / ("root" if main else "targets"), INDEX if main else _name(knob))

    def searcher(self) -> Search:
        index = self.index()

        def search(query: np.ndarray, k: int, filter_: Filter | None) -> list[int]:
            found = index.query(query, k, filter=filter_ and where(filter_), metadata=False)
            return [int(key) for key in found.keys]

        return search

    def index(self) -> Any:
        """The index by the connection."""
        root, name = self.location
        with self._opening:
            if root not in self._connections:
                self._connections[root] = quiver.connect(str(root))
        return self._connections[root].bucket(BUCKET).index(name)

    def disk_folder(self) -> Path:
        return self.folder / "root"

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()


class QuiverTree(QuiverLibrary):
    """The same with a kd-tree and sign hashes instead of k-means and RaBitQ."""

    settings = "quiver:partitioner kdtree, quiver:codec lsh; the tag quiver:recall by knob"
    structure: ClassVar[dict[str, str]] = {"partitioner": "kdtree", "codec": "lsh"}


def fill(
    root: Path,
    recalls: dict[str, float | None],
    rows: np.ndarray,
    metric: str,
    columns: Columns | None,
    **structure: str,
) -> None:
    """Make indexes of all rows, by name and recall target, and compact the root so that no tail is left.

    A load too small to become a segment is a log entry until then.
    """
    with quiver.connect(str(root)) as connection:
        bucket = connection.create_bucket(BUCKET)
        for name, recall in recalls.items():
            index = bucket.create_index(name, dimension=rows.shape[1], metric=metric, recall=recall, **structure)
            index.put_many(stream(rows, columns) if columns else (list(map(str, range(len(rows)))), rows))
    compact(root)


def stream(rows: np.ndarray, columns: Columns | None = None) -> pa.RecordBatchReader:
    """Row numbers as keys, rows and columns, made part by part, so that rows may be a large memory map."""

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), BATCH):
            part = range(start, min(start + BATCH, len(rows)))
            yield record_batch(part, np.asarray(rows[part.start : part.stop]), columns)

    return pa.RecordBatchReader.from_batches(record_batch(range(0), rows[:0], columns).schema, batches())


def record_batch(part: range, rows: np.ndarray, columns: Columns | None = None) -> pa.RecordBatch:
    """Rows with these numbers, of shape (len(part), dimension), as Quiver takes them."""
    flat = pa.array(np.ascontiguousarray(rows, np.float32).reshape(-1))
    fields = {"key": pa.array(map(str, part), pa.string())}
    fields["vector"] = pa.FixedSizeListArray.from_arrays(flat, rows.shape[1])
    for name, column in (columns or {}).items():
        fields[name] = pa.array(column[part.start : part.stop], pa.int32())
    return pa.record_batch(fields)


def compact(root: Path) -> None:
    """What `quiver compact` does, without the start of a process."""
    asyncio.run(_compact(root))


async def _compact(root: Path) -> None:
    runtime = SystemRuntime()
    opened = await open_service(Settings(root=str(root)), runtime, background=False)
    async for _ in opened.administration.compact():
        pass
    await opened.close()
    runtime.close()


def where(filter_: Filter) -> dict[str, Any]:
    """The filter in S3 Vectors' language."""
    conditions = [{name: {"$in": values}} for name, values in filter_.items()]
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def _name(knob: Knob) -> str:
    return f"recall-{str(knob['recall']).replace('.', '-')}"
