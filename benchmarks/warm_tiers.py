"""Comparison 8: warm queries of Quiver from its tiers, as multiples of the same index in a local directory.

Run: python -m benchmarks warm_tiers [--small] [--data SET ...] [--repeats N] [--queries N]
The figures of the report: python -m benchmarks warm_tiers (some minutes, and building if the indexes are missing).

Every way reads the same files: a directory, memory-mapped; or through `store_server` on this machine, with
nothing simulated; or the directory read as if it were remote ("tier alone"), where looking for newer commits
costs what it costs locally, so that only the tier differs. One thread on one core each, a few queries at a time
in turns; where the same queries were asked before, a turn begins with some that do not count, so that the
processor's caches are its own again. From memory: after two walks that do not count. From disk: by new
processes whose memory holds nothing of the index, once in turn ("first pass", beside new processes over the
directory), with memory for a quarter of what the queries need, and with their memory emptied before every
query. Reads are strong, or eventual with a minute's staleness, so that the store is asked once in a while only;
each is compared with the directory read in the same way. The last columns say what the store was asked
meanwhile: when no block was fetched, the gets are of the log and the catalog.
"""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import built_indexes, side_by_side
from benchmarks.built_indexes import PREFIX, QUIVER
from benchmarks.common import scratch, spread
from benchmarks.datasets import load, truth
from benchmarks.figures import estimate, percentile, recall
from benchmarks.object_store import ObjectStore
from benchmarks.reader_process import K, Reader
from benchmarks.side_by_side import ContenderError, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

MEMORY = 1 << 30
"""Bytes of memory for blocks: enough for everything."""
LEAST = 16 << 20
"""Bytes of memory that Quiver insists on."""
SETTLE_SECONDS = 30
TURN = 40
"""Queries that a way is asked before the next one has its turn: so few that the machine is the same for all."""
LEAD = 5
"""Queries that a turn begins with and that do not count."""


class Way(NamedTuple):
    """One way to read the index."""

    title: str
    remote: bool = False
    distant: bool = False
    eventual: bool = False

    @property
    def local(self) -> bool:
        """Whether nothing is cached."""
        return not (self.remote or self.distant)


WAYS = (
    Way("directory"),
    Way("through the store", remote=True),
    Way("tier alone", distant=True),
    Way("directory, eventual", eventual=True),
    Way("through the store, eventual", remote=True, eventual=True),
)
STRONG = tuple(way for way in WAYS if not way.eventual)
EVENTUAL = tuple(way for way in WAYS if way.eventual)


class Bench:
    """One data set, and the folders of the disk tiers."""

    def __init__(self, dataset: str, store: ObjectStore, folder: Path, options: argparse.Namespace) -> None:
        self.dataset = dataset
        self._store = store
        self._folder = folder
        self._queries = options.queries
        self._repeats = options.repeats

    def node(self, way: Way, *, disk: bool = False, memory: int = MEMORY) -> Reader:
        """A new process."""
        variables = self._store.environment("warm") | {"QUIVER_CACHE_BYTES": str(memory)}
        if disk and not way.local:
            variables["QUIVER_CACHE_FOLDER"] = str(self._folder / ("remote" if way.remote else "distant"))
        if way.eventual:
            variables |= {"QUIVER_CONSISTENCY": "eventual", "QUIVER_STALENESS_SECONDS": "60"}
        bucket = self._store.url(self.dataset, PREFIX[QUIVER])
        url = bucket if way.remote else built_indexes.directory(self.dataset)
        return Reader(QUIVER, self.dataset, self._folder / "log", url, variables, distant=way.distant)

    def from_memory(self) -> dict[str, list[dict[str, Any]]]:
        """Walks of all ways, a few queries at a time in turns, after two that do not count."""
        with contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(self.node(way)) for way in WAYS]
            for node in nodes:
                node.call("open")
                node.call("walk", queries=self._queries)
                node.call("walk", queries=self._queries)
            walks = [self._walk_together(nodes, lead=LEAD) for _ in range(self._repeats)]
        return {way.title: [turn[n] for turn in walks] for n, way in enumerate(WAYS)}

    def _walk_together(self, nodes: list[Reader], *, lead: int = 0, emptied: bool = False) -> list[dict[str, Any]]:
        """A walk of each node; each of them begins a turn as often as the others."""
        walks: list[dict[str, Any]] = [{} for _ in nodes]
        order = list(range(len(nodes)))
        for first in range(0, self._queries, TURN):
            count = min(TURN, self._queries - first)
            for n in order:
                if lead:
                    nodes[n].call("walk", queries=lead, first=first, emptied=emptied)
                part = nodes[n].call("walk", queries=count, first=first, emptied=emptied)
                walks[n] = _joined(walks[n], part) if walks[n] else part
            order.append(order.pop(0))
        return walks

    def fill(self) -> int:
        """Have the disk tiers hold what the queries need; how many bytes that is.

        Raises ContenderError when they do not come to rest.
        """
        needed = 0
        for way in (way for way in WAYS if not (way.local or way.eventual)):
            with self.node(way, disk=True) as node:
                node.call("open")
                node.call("walk", queries=self._queries)
                deadline, before = time.monotonic() + SETTLE_SECONDS, {}
                while (now := node.call("counts")) != before:
                    if time.monotonic() > deadline:
                        raise ContenderError("the disk tier did not come to rest")
                    before = now
                    time.sleep(1)
                needed = max(needed, now["nbytes"])
                node.call("close")
        return needed

    def from_disk(
        self, *, emptied: bool = False, asked: bool = False, memory: int = MEMORY
    ) -> dict[str, list[dict[str, Any]]]:
        """Walks of new processes, a few queries at a time in turns.

        Args:
            emptied: their memory is, before each query; a directory has none, and is only called in the same way.
            asked: the same queries were asked before.
            memory: bytes for blocks.
        """
        walks: dict[str, list[dict[str, Any]]] = {way.title: [] for way in WAYS}
        for _ in range(self._repeats):
            for ways in (STRONG, EVENTUAL):  # no two of either share a folder
                with contextlib.ExitStack() as stack:
                    nodes = [stack.enter_context(self.node(way, disk=True, memory=memory)) for way in ways]
                    for node in nodes:
                        node.call("open")
                        if asked:
                            node.call("walk", queries=self._queries)
                    together = self._walk_together(nodes, lead=LEAD if asked else 0, emptied=emptied)
                    for way, walk in zip(ways, together, strict=True):
                        walks[way.title].append(walk)
        return walks


def _joined(walk: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """Two parts of a walk as one."""
    both = {name: walk[name] + rest[name] for name in ("times", "found")}
    return both | {"before": walk["before"], "after": rest["after"]}


def rows(dataset: str, source: str, walks: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Lines of the table; the ratio is of the medians, repeat by repeat."""
    answers = truth(load(dataset))
    for way in WAYS:
        mine = walks[way.title]
        directory = next(other.title for other in WAYS if other.local and other.eventual == way.eventual)
        local = [statistics.median(walk["times"]) for walk in walks[directory]]
        middle = [statistics.median(walk["times"]) for walk in mine]
        found = [recall(ids, answers.ids[n], answers.distances[n], K) for n, ids in enumerate(mine[0]["found"])]
        yield {
            "data": dataset,
            "from": source,
            "read": way.title,
            "p50 ms": spread([one * 1e3 for one in middle], digits=2),
            "p99 ms": spread([percentile(walk["times"], 0.99) * 1e3 for walk in mine], digits=2),
            "of the directory's p50": spread([a / b for a, b in zip(middle, local, strict=True)], digits=2),
            "recall@10": f"{estimate(found).mean:.3f}",
            "gets a query": f"{_grown(mine, 'gets'):.2f}",
            "blocks fetched": f"{_grown(mine, 'fetched'):.2f}",
            "blocks from disk": f"{_grown(mine, 'found_on_disk'):.2f}",
        }


def _grown(walks: list[dict[str, Any]], name: str) -> float:
    return statistics.fmean(
        (walk["after"].get(name, 0) - walk["before"].get(name, 0)) / len(walk["times"]) for walk in walks
    )


def compare(dataset: str, options: argparse.Namespace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Everything on one data set: walks by where from, and by way. Raises ContenderError."""
    built_indexes.build_all(dataset)
    folder = Path(tempfile.mkdtemp(prefix="quiver-bench-", dir=scratch()))
    try:
        with ObjectStore(built_indexes.store_folder()) as store:
            bench = Bench(dataset, store, folder, options)
            results = {"memory": bench.from_memory()}
            say(f"{dataset}: from memory")
            memory = max(LEAST, bench.fill() // 4)
            results["disk, first pass"] = bench.from_disk()
            results[f"disk, {memory >> 20} MiB of memory"] = bench.from_disk(asked=True, memory=memory)
            results["disk, memory emptied"] = bench.from_disk(asked=True, emptied=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


def main() -> None:
    """Every data set in turn."""
    parser = side_by_side.arguments(__doc__, data=("debian", "clustered-300000x384"), names=(QUIVER,))
    options = side_by_side.parse(parser)
    for dataset in options.data:
        try:
            results = compare(dataset, options)
        except ContenderError as error:
            say(f"{dataset}: left out, {error}")
            continue
        lines = [line for source, walks in results.items() for line in rows(dataset, source, walks)]
        side_by_side.table(lines)
        for walks in results.values():
            for walk in (walk for mine in walks.values() for walk in mine):
                del walk["found"]
        side_by_side.save(options, f"warm_tiers-{dataset}", {"lines": lines, "walks": results})


if __name__ == "__main__":
    main()
