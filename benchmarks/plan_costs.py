"""What the planner's constants stand for: the cost of looking at a row in each way, in rows scanned in float32.

Run: python -m benchmarks plan_costs [--data SET ...] [--repeats N]
One thread of one process, over an index built for the occasion; the fastest of some repeats counts, since the rest
is other work of the machine. `src/quiver/engine/native/planner.py` uses the figures, rounded.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import quiver
from benchmarks.common import describe_machine, scratch
from benchmarks.datasets import load
from quiver.assemble import open_service
from quiver.engine.native.exact_search import make_target, score_rows
from quiver.engine.native.segment_search import search_segment
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.local import LocalStore
from quiver.service.arn import Home
from quiver.service.catalog import Catalog
from quiver.service.names import resolve_index
from quiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.datasets import Dataset
    from quiver.engine.native.snapshot import OpenSegment
    from quiver.model.types import IndexSpec

WHERE = {"vectorBucketName": "plan-costs", "indexName": "rows"}
QUERIES = 50
PICKED, MANY = 400, 2000
"""Rows picked out at once: about as many as a probe keeps, and as a filter lets through."""
K = 10


def build(dataset: Dataset, folder: Path) -> None:
    """The set as one segment."""
    with quiver.connect(str(folder)) as root:
        bucket = root.create_bucket(WHERE["vectorBucketName"])
        index = bucket.create_index(WHERE["indexName"], dimension=dataset.dimension, metric=dataset.metric)
        index.put_many(([str(row) for row in range(len(dataset.rows))], np.asarray(dataset.rows)))


async def measure(folder: Path, dataset: Dataset, repeats: int) -> None:
    """Print the costs of the set's segment."""
    runtime = SystemRuntime()
    settings = Settings(root=str(folder))
    root = await open_service(settings, runtime, background=False)
    try:
        home = Home(settings.region, settings.account_id)
        index = await Catalog(LocalStore(folder, runtime), runtime).index(resolve_index(WHERE, home))
        opened = await root.engine.open(index.index_id, index.spec)
        report(dataset, (await opened.snapshots.take()).segments[0], index.spec, repeats)
    finally:
        await root.close()
        runtime.close()


def seconds(work: Callable[[int], object], repeats: int) -> float:
    """The least time of one call, over all queries."""
    least = [np.inf] * QUERIES
    for _ in range(repeats):
        for number in range(QUERIES):
            began = time.perf_counter()
            work(number)
            least[number] = min(least[number], time.perf_counter() - began)
    return statistics.median(least)


def report(dataset: Dataset, segment: OpenSegment, spec: IndexSpec, repeats: int) -> None:
    """Print every cost, in rows scanned."""
    reader, codes = segment.reader, segment.reader.codes
    calibration = codes.calibration
    if calibration is None or codes.scanner is None:
        raise SystemExit(f"{dataset.name} is too small to have partitions")
    reader.verify()
    draw = np.random.default_rng(0)
    picked, many = (
        [np.sort(draw.choice(reader.rows, count, replace=False)) for _ in range(QUERIES)]
        for count in (PICKED, MANY)
    )
    targets = [make_target(query, spec, K, spec.recall, None) for query in dataset.queries[:QUERIES]]
    some = codes.partitioner.rank(targets[0].point).argsort()[: max(len(codes.ends) // 8, 1)]

    def scan(number: int) -> None:
        for first, block in reader.blocks():
            rows = np.arange(first, first + len(block))
            score_rows(reader, rows, block, reader.norms[rows[0] : rows[-1] + 1], targets[number])

    row = seconds(scan, repeats) / reader.rows
    gather = seconds(lambda n: reader.distances(picked[n], targets[n].vector, spec.metric), repeats) / PICKED
    bound = seconds(lambda n: reader.bounds(many[n], targets[n].vector, targets[n].norm, spec.metric), repeats)
    code = seconds(lambda n: codes.scanner.scan(targets[n].point, some, 100), repeats) / codes.sizes[some].sum()
    found = [search_segment(segment, target).work for target in targets]
    whole = seconds(lambda n: search_segment(segment, targets[n]), repeats)
    fixed = whole - statistics.median(one.codes * code + one.vectors * gather for one in found)
    print(f"\n{dataset.name}: a row scanned in float32 takes {row * 1e9:.1f} ns")
    print(f"  a row picked out   {gather / row:8.2f} rows")
    print(f"  one of many        {bound / MANY / row:8.2f} rows")
    print(f"  a code             {code / row:8.3f} rows")
    print(f"  a probe beside     {fixed / row:8.0f} rows ({whole * 1e6:.0f} us with its codes and rows)")


def main() -> None:
    """Every set in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["debian", "mnist"])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    print(describe_machine())
    for name in options.data:
        dataset = load(name)
        with tempfile.TemporaryDirectory(dir=scratch()) as folder:
            build(dataset, Path(folder) / "root")
            asyncio.run(measure(Path(folder) / "root", dataset, options.repeats))


if __name__ == "__main__":
    main()
