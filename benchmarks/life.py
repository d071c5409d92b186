"""Comparison 5: an index's life: overwrites, deletions and shifted additions under queries, then compaction.

Run: python -m benchmarks life [--small] [--data NAME ...] [--flush-rows N]
The figures of the report: python -m benchmarks life --data debian clustered-300000x384 (about 2 and 15 minutes on
2 cores). Quiver alone: embedded, one connection, one thread that changes and one that asks.

30 % of the rows are overwritten with other vectors, 20 % deleted, then 50 % added in clusters that lie elsewhere,
in batches of 500; half the queries look there. Every answer is checked: a returned row must be one that existed
at some moment of the query, at the distance of a version that existed then. Recall is measured on a sample,
against the rows that existed during the whole query. Disk space is compared with that of the rows alive at the
end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import quiver
from benchmarks import plots, side_by_side
from benchmarks.common import REPOSITORY, disk_bytes, scratch
from benchmarks.contenders.quiver_library import BUCKET, INDEX, fill
from benchmarks.datasets import SEED, exact_distances, load
from benchmarks.figures import estimate, percentile, recall
from benchmarks.side_by_side import say
from quiver.model.errors import BusyError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from benchmarks.datasets import Dataset

K, BATCH, SAMPLE = 10, 500, 100
TOLERANCE = 1e-4


class Asked(NamedTuple):
    """One query as it went: moments in seconds, ids and distances as returned."""

    stage: str
    query: int
    start: float
    end: float
    ids: list[int]
    distances: np.ndarray


class History:
    """Every version of every row, and when it began and ended to exist.

    A change is somewhere between the moment it was sent and the moment it was confirmed; a version may be seen
    from the first to the last of these, and must be seen between the inner ones.
    """

    def __init__(self, ids: np.ndarray, vectors: np.ndarray, metric: str) -> None:
        self.ids, self.vectors, self._metric = ids, vectors, metric
        self._begun, self._there = np.full(len(ids), np.inf), np.full(len(ids), np.inf)
        self._ending, self._gone = np.full(len(ids), np.inf), np.full(len(ids), np.inf)
        self._latest: dict[int, int] = {}

    def put(self, versions: range, sent: float, confirmed: float) -> None:
        """These versions came, and replaced older ones of the same ids."""
        self.delete([id_ for id_ in self.ids[versions].tolist() if id_ in self._latest], sent, confirmed)
        self._begun[versions], self._there[versions] = sent, confirmed
        self._latest.update(zip(self.ids[versions].tolist(), versions, strict=True))

    def delete(self, ids: list[int], sent: float, confirmed: float) -> None:
        """These rows went."""
        gone = [self._latest.pop(id_) for id_ in ids]
        self._ending[gone], self._gone[gone] = sent, confirmed

    def alive(self) -> list[int]:
        """The versions that exist now."""
        return sorted(self._latest.values())

    def faults(self, asked: Asked, query: np.ndarray) -> int:
        """How many rows of an answer no version that may be seen accounts for, or are there twice."""
        versions = np.flatnonzero(np.isin(self.ids, asked.ids))
        seen = versions[(self._begun[versions] <= asked.end) & (self._gone[versions] >= asked.start)]
        truly = exact_distances(self.vectors[seen], query, self._metric)
        wrong = len(asked.ids) - len(set(asked.ids))
        for id_, distance in zip(asked.ids, asked.distances.tolist(), strict=True):
            near = np.abs(truly[self.ids[seen] == id_] - distance)
            wrong += not (near <= TOLERANCE * max(1.0, distance)).any()
        return wrong

    def recall(self, asked: Asked, query: np.ndarray) -> float:
        """Against the versions that existed throughout.

        Rows that were just changing may stand in an answer too; as many fewer of the others are expected there.
        """
        versions = np.flatnonzero((self._there <= asked.start) & (self._ending >= asked.end))
        steady = np.isin(asked.ids, self.ids[versions])
        wanted = K - int((~steady).sum())
        if wanted <= 0:
            return 1.0
        distances = exact_distances(self.vectors[versions], query, self._metric)
        best = np.argsort(distances, kind="stable")[: 2 * K]
        found = np.array(asked.ids)[steady].tolist()
        return recall(found, self.ids[versions[best]], distances[best], wanted)


def shifted(rows: np.ndarray, count: int, metric: str, generator: np.random.Generator) -> np.ndarray:
    """Rows that lie elsewhere: random ones of `rows`, moved in one of 20 directions by 0.7 of their length."""
    chosen = np.asarray(rows[np.sort(generator.choice(len(rows), count, replace=count > len(rows)))])
    directions = generator.normal(size=(20, rows.shape[1])).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    moved = (
        chosen + 0.7 * np.linalg.norm(chosen, axis=1, keepdims=True) * directions[generator.integers(0, 20, count)]
    )
    return moved / np.linalg.norm(moved, axis=1, keepdims=True) if metric == "cosine" else moved


def until_taken(write: Callable[[], object]) -> None:
    """Write again while the index is busy, as boto3 does after 429."""
    while True:
        try:
            write()
        except BusyError:
            time.sleep(0.05)
        else:
            return


class Life:
    """One data set's index, its history, and the queries that were asked."""

    def __init__(self, data: Dataset, root: Path, flush_rows: int) -> None:
        generator = np.random.default_rng(SEED)
        count = len(data.rows)
        self._count, self.root = count, root
        self._mixed = generator.permutation(count)
        overwritten = self._mixed[: int(0.3 * count)]
        changed = shifted(data.rows, len(overwritten) + count // 2, data.metric, generator)
        ids = np.concatenate([np.arange(count), overwritten, np.arange(count, count + count // 2)])
        self.history = History(ids, np.vstack([data.rows, changed]), data.metric)
        elsewhere = shifted(changed, len(data.queries), data.metric, generator)
        self.queries = np.vstack([data.queries, elsewhere])
        self._order = generator.permutation(len(self.queries))
        self.asked: list[Asked] = []
        self.stages: list[tuple[float, str]] = []
        fill(root, {INDEX: None}, data.rows, data.metric, None)
        self.history.put(range(count), -np.inf, -np.inf)
        self._connection = quiver.connect(str(root), flush_rows=flush_rows)
        self.index = self._connection.bucket(BUCKET).index(INDEX)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def query(self, stage: str) -> None:
        """Ask the next query."""
        number = int(self._order[len(self.asked) % len(self._order)])
        start = time.perf_counter()
        found = self.index.query(self.queries[number], K, metadata=False)
        end = time.perf_counter()
        self.asked.append(Asked(stage, number, start, end, [int(key) for key in found.keys], found.distances))

    def quiet(self, stage: str, times: int) -> None:
        """Queries with nothing else going on."""
        self.stages.append((time.perf_counter(), stage))
        for _ in range(times):
            self.query(stage)

    def during(self, stage: str, work: Callable[[], None]) -> float:
        """Queries while `work` runs in a thread of its own; its seconds."""
        self.stages.append((time.perf_counter(), stage))
        failures: list[BaseException] = []

        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        thread = threading.Thread(target=run)
        start = time.perf_counter()
        thread.start()
        while thread.is_alive():
            self.query(stage)
        thread.join()
        if failures:
            raise failures[0]
        return time.perf_counter() - start

    def overwrite(self) -> None:
        """Overwrite 30 %."""
        self._put(range(self._count, self._count + int(0.3 * self._count)))

    def delete(self) -> None:
        """Delete 20 %: half of them overwritten before."""
        first = int(0.2 * self._count)
        gone = self._mixed[first : first + int(0.2 * self._count)].tolist()
        for start in range(0, len(gone), BATCH):
            part = gone[start : start + BATCH]
            sent = time.perf_counter()
            until_taken(partial(self.index.delete, [str(id_) for id_ in part]))
            self.history.delete(part, sent, time.perf_counter())

    def add(self) -> None:
        """Add 50 %, elsewhere."""
        self._put(range(self._count + int(0.3 * self._count), len(self.history.ids)))

    def command(self, *arguments: str) -> None:
        """A `quiver` command over the root, as an operator runs it."""
        command = [sys.executable, "-m", "quiver.cli.main", arguments[0], str(self.root), *arguments[1:]]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd=REPOSITORY)

    def _put(self, versions: range) -> None:
        for start in range(versions.start, versions.stop, BATCH):
            part = range(start, min(start + BATCH, versions.stop))
            keys = [str(id_) for id_ in self.history.ids[part].tolist()]
            sent = time.perf_counter()
            until_taken(partial(self.index.put, keys, self.history.vectors[part]))
            self.history.put(part, sent, time.perf_counter())


def live(dataset: str, options: argparse.Namespace) -> bool:
    """One data set; prints and saves. False when an answer was wrong."""
    print(f"\n### {dataset}", flush=True)
    data = load(dataset)
    flush_rows = options.flush_rows or min(32_768, max(500, len(data.rows) // 8))
    with tempfile.TemporaryDirectory(prefix="quiver-bench-", dir=scratch()) as folder:
        life = Life(data, Path(folder) / "root", flush_rows)
        times = 2 * options.queries
        disk, seconds = {"at first": disk_bytes(life.root)}, {}
        life.quiet("before", times)
        for stage in ("overwrite", "delete", "add"):
            seconds[stage] = life.during(stage, getattr(life, stage))
            say(f"{stage}: {seconds[stage]:.1f} s")
        life.quiet("after", times)
        disk["after the changes"] = disk_bytes(life.root)
        seconds["compact"] = life.during("compact", lambda: life.command("compact"))
        life.quiet("compacted", times)
        disk["after compaction"] = disk_bytes(life.root)
        life.close()
        life.command("gc", "--age", "0")
        disk["after garbage collection"] = disk_bytes(life.root)
        alive = life.history.alive()
        fresh = Path(folder) / "fresh"
        fill(fresh, {INDEX: None}, life.history.vectors[alive], data.metric, None)
        disk["of a new index of the same rows"] = disk_bytes(fresh)
    rows = [line(life, stage, seconds) for _, stage in life.stages]
    side_by_side.table(rows)
    side_by_side.table([{"disk": name, "MB": f"{nbytes / 1e6:.1f}"} for name, nbytes in disk.items()])
    print(
        f"flushed every {flush_rows:,} rows; {len(alive):,} rows alive, "
        f"{len(alive) * data.dimension * 4e-6:.1f} MB as float32"
    )
    begin = life.stages[0][0]
    timeline = [(one.start - begin, (one.end - one.start) * 1e3) for one in life.asked]
    plots.life(timeline, [(at - begin, name) for at, name in life.stages], dataset, options.out)
    side_by_side.save(options, f"life-{dataset}", {"stages": rows, "disk": disk, "seconds": seconds})
    return all(row["wrong rows"] == 0 for row in rows)


def line(life: Life, stage: str, seconds: dict[str, float]) -> dict[str, Any]:
    """A stage's line: all answers checked, recall of a sample."""
    mine = [one for one in life.asked if one.stage == stage]
    sample = mine[:: max(1, len(mine) // SAMPLE)][:SAMPLE]
    found = estimate([life.history.recall(one, life.queries[one.query]) for one in sample])
    took = [one.end - one.start for one in mine]
    return {
        "stage": stage,
        "seconds": f"{seconds[stage]:.1f}" if stage in seconds else "",
        "queries": len(mine),
        "recall@10": f"{found.mean:.4f} ± {found.half:.4f}",
        "p50 ms": f"{percentile(took, 0.5) * 1e3:.2f}",
        "p95 ms": f"{percentile(took, 0.95) * 1e3:.2f}",
        "p99 ms": f"{percentile(took, 0.99) * 1e3:.2f}",
        "wrong rows": sum(life.history.faults(one, life.queries[one.query]) for one in mine),
    }


def main() -> None:
    """Every data set in turn; exits with 1 when a wrong row was returned."""
    parser = side_by_side.arguments(__doc__, data=("debian", "mnist"), names=("quiver",))
    parser.add_argument("--flush-rows", type=int, default=0, help="0: 32,768, or an eighth of a smaller set")
    options = side_by_side.parse(parser)
    sound = [live(dataset, options) for dataset in options.data]
    if not all(sound):
        sys.exit("a wrong row was returned")


if __name__ == "__main__":
    main()
