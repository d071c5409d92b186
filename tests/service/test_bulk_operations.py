"""Loading and export through the service: which way a load goes, and that it is all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from quiver.model.errors import NotFoundError, ValidationError
from quiver.model.progress import no_progress
from quiver.service import bulk_operations
from quiver.service.bulk_operations import SMALL_BYTES, SMALL_ROWS
from quiver.service.bulk_rows import RowBatch
from service.deployment import NAMES, Deployment, on_node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiver.model.types import VectorBatch
    from service.deployment import Node


class Rows:
    """A source of n rows with the keys k0 to k(distinct - 1) over and over."""

    def __init__(self, count: int, distinct: int = 10**9, *, known: bool = True, bad: int | None = None) -> None:
        self.count, self.distinct, self.bad = count, distinct, bad
        self.rows = count if known else 0
        self.asked: list[int] = []

    def batches(self, rows: int) -> Iterator[RowBatch]:
        self.asked.append(rows)
        for start in range(0, self.count, rows):
            numbers = range(start, min(start + rows, self.count))
            keys = ["" if i == self.bad else f"k{i % self.distinct}" for i in numbers]
            vectors = np.array([[i, 1] for i in numbers], np.float32)
            yield RowBatch(keys, vectors, [{"n": i} for i in numbers], start, "rows")


def run(scenario: Any, **index: Any) -> None:
    async def prepared(node: Node) -> None:
        await node.create_index(**index)
        await scenario(node)

    on_node(prepared)


def content(node: Node) -> Any:
    (found,) = node.deployment.shelf.values()
    return found


async def load(node: Node, source: Any, progress: Any = no_progress) -> tuple[int, int | None]:
    answer = await node.service.bulk.load(NAMES, source, progress)
    return answer.body["rows"], answer.commit


@pytest.mark.parametrize("count", [1, 5, SMALL_ROWS])
def test_a_small_load_is_one_entry_of_the_log(count: int) -> None:
    async def scenario(node: Node) -> None:
        assert await load(node, Rows(count)) == (count, 1)
        assert content(node).commit == 1
        assert sorted(content(node).rows) == sorted(f"k{i}" for i in range(count))

    run(scenario)


def test_a_larger_load_does_not_pass_through_the_log() -> None:
    async def scenario(node: Node) -> None:
        assert await load(node, Rows(SMALL_ROWS + 1)) == (SMALL_ROWS + 1, 0)
        assert (content(node).commit, len(content(node).rows)) == (0, SMALL_ROWS + 1)

    run(scenario)


def test_so_does_one_of_few_but_long_rows() -> None:
    dimension = 4096
    rows = SMALL_BYTES // (4 * dimension) + 1

    class Long(Rows):
        def batches(self, rows: int) -> Iterator[RowBatch]:
            for batch in super().batches(rows):
                yield RowBatch(batch.keys, np.ones((len(batch.keys), dimension), np.float32), None, batch.first)

    async def scenario(node: Node) -> None:
        assert await load(node, Long(rows - 2)) == (rows - 2, 1)
        source = Long(rows)
        assert await load(node, source) == (rows, 1)
        assert source.asked == [bulk_operations.BATCH_BYTES // (4 * dimension)]
        assert content(node).commit == 1

    run(scenario, dimension=dimension)


@pytest.mark.parametrize(("count", "distinct"), [(30, 20), (SMALL_ROWS * 3, SMALL_ROWS + 2_000)])
def test_the_last_row_of_a_key_counts_whichever_way_the_load_goes(count: int, distinct: int) -> None:
    async def scenario(node: Node) -> None:
        assert await load(node, Rows(count, distinct)) == (distinct, int(count <= SMALL_ROWS))
        numbers = [int(vector[0]) for vector, _ in content(node).rows.values()]
        assert sorted(numbers) == list(range(count - distinct, count))

    run(scenario)


def test_no_rows_are_no_commit() -> None:
    async def scenario(node: Node) -> None:
        assert await load(node, Rows(0)) == (0, None)
        assert content(node).commit == 0

    run(scenario)


@pytest.mark.parametrize(("count", "bad"), [(10, 9), (SMALL_ROWS * 3, SMALL_ROWS * 2 + 17)])
def test_after_a_bad_row_nothing_is_visible(count: int, bad: int) -> None:
    async def scenario(node: Node) -> None:
        await load(node, Rows(3))
        with pytest.raises(ValidationError, match=rf"^rows: vectors\[{bad}\]\.key: Member must have length"):
            await load(node, Rows(count, bad=bad))
        assert (len(content(node).rows), content(node).commit) == (3, 1)

    run(scenario)


def test_rows_read_are_reported() -> None:
    async def scenario(node: Node) -> None:
        seen: list[tuple[str, int, int]] = []
        await load(node, Rows(20_000), lambda *report: seen.append(report))
        mine = [report for report in seen if report[2] == 20_000]
        assert mine[:2] == [("read", 8192, 20_000), ("read", 16_384, 20_000)]
        seen.clear()
        await load(node, Rows(5, known=False), lambda *report: seen.append(report))
        assert seen == [("read", 5, 0)]

    run(scenario)


def test_an_index_that_does_not_exist_is_not_found_before_anything_is_read() -> None:
    async def scenario(node: Node) -> None:
        source = Rows(3)
        with pytest.raises(NotFoundError):
            await node.service.bulk.load({**NAMES, "indexName": "other"}, source, no_progress)
        assert source.asked == []
        with pytest.raises(ValidationError):
            await node.service.bulk.load({"indexName": "other"}, source, no_progress)

    run(scenario)


def test_a_load_goes_to_the_index_of_that_name_now() -> None:
    async def scenario(_: Node) -> None:
        deployment = Deployment()
        here, there = await deployment.node(), await deployment.node()
        await here.create_index()
        assert await load(here, Rows(2)) == (2, 1)
        await there.call("DeleteIndex", **NAMES)
        await there.call("CreateIndex", **NAMES, dataType="float32", dimension=2, distanceMetric="cosine")
        assert await load(here, Rows(3)) == (3, 1)
        assert [len(found.rows) for found in deployment.shelf.values()] == [0, 3]

    run(scenario)


def test_a_load_that_meets_a_deletion_is_not_found_and_finishes_it() -> None:
    async def scenario(node: Node) -> None:
        await load(node, Rows(1))
        content(node).sealed = True
        with pytest.raises(NotFoundError):
            await load(node, Rows(3))
        await node.fails("GetIndex", NotFoundError, "The specified index could not be found", **NAMES)

    run(scenario)


class Kept:
    """A sink in memory that fails where it is told to."""

    def __init__(self, dimension: int, fail: str = "") -> None:
        self.dimension, self.fail = dimension, fail
        self.batches: list[VectorBatch] = []
        self.ends: list[str] = []

    def write(self, batch: VectorBatch) -> None:
        if self.fail == "write":
            raise OSError(28, "No space left on device")
        self.batches.append(batch)

    def finish(self) -> None:
        self.ends.append("finish")

    def discard(self) -> None:
        self.ends.append("discard")


def test_export_writes_every_row_and_then_finishes() -> None:
    async def scenario(node: Node) -> None:
        await load(node, Rows(9_000))
        sinks: list[Kept] = []
        seen: list[tuple[str, int, int]] = []

        def opened(dimension: int) -> Kept:
            sinks.append(Kept(dimension))
            return sinks[-1]

        answer = await node.service.bulk.export(NAMES, opened, lambda *report: seen.append(report))
        (sink,) = sinks
        assert (answer.body, sink.dimension, sink.ends) == ({"rows": 9_000}, 2, ["finish", "discard"])
        assert seen == [("write", 8192, 0), ("write", 9_000, 0)]
        assert sorted(key for batch in sink.batches for key in batch.keys) == sorted(content(node).rows)

    run(scenario)


def test_an_export_that_fails_is_discarded_unfinished() -> None:
    async def scenario(node: Node) -> None:
        await load(node, Rows(3))
        sink = Kept(2, fail="write")
        with pytest.raises(OSError, match="No space"):
            await node.service.bulk.export(NAMES, lambda _: sink, no_progress)
        assert sink.ends == ["discard"]

    run(scenario)


def test_scan_hands_out_batches_of_at_most_so_many_rows() -> None:
    async def scenario(node: Node) -> None:
        await load(node, Rows(10))
        sizes = [len(batch.keys) async for batch in node.service.bulk.scan(NAMES, 4)]
        assert sizes == [4, 4, 2]

    run(scenario)
