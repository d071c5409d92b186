"""A contender in a process of its own: takes commands as lines of JSON, answers each with one.

Started by `benchmarks.side_by_side`: python -m benchmarks.contender_process NAME DATASET FOLDER [columns]. What a
contender prints goes to standard error. An answer is {"ok": ...} or {"error": "..."}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, filters
from benchmarks.common import disk_bytes, memory, peak_memory
from benchmarks.datasets import Truth, load, truth
from benchmarks.figures import estimate, percentile, recall

if TYPE_CHECKING:
    import numpy as np

    from benchmarks.contenders.contract import Contender, Knob, Search
    from benchmarks.filters import Case, Filter

WARM_UP = 10


class Session:
    """One contender with one data set; each public method is a command."""

    def __init__(self, contender: Contender) -> None:
        self._contender = contender
        self._opened = False

    def build(self) -> dict[str, Any]:
        """Build; seconds, peak memory in MiB of this process and of the greatest it started, bytes on disk."""
        start = time.perf_counter()
        self._contender.build()
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "peak MiB": peak_memory([os.getpid()]),
            "children MiB": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            "bytes": disk_bytes(self._contender.disk_folder()),
        }

    def prepare(self, knobs: list[Knob]) -> None:
        """Make what these settings need."""
        self._contender.prepare(knobs)

    def open(self) -> dict[str, Any]:
        """Open; seconds, the memory before in MiB, and the processes that serve from now on."""
        before = memory([os.getpid()])
        start = time.perf_counter()
        self._opened = True
        self._contender.open()
        return {"seconds": time.perf_counter() - start, "before": before, "pids": self._contender.pids()}

    def knobs(self, k: int) -> dict[str, Any]:
        """The settings that trace its curve, and the usual one."""
        return {"curve": self._contender.knobs(k), "usual": self._contender.usual(k)}

    def measure(
        self, knob: Knob, k: int, threads: int, queries: int, seconds: float, case: int | None = None
    ) -> dict[str, Any]:
        """Search with the first queries, one at a time by each thread, for at most so long.

        Args:
            case: the place in `filters.cases` of the filters to search with.
        """
        data = self._contender.data
        self._contender.use(knob)
        _use_cores(threads, self._contender.pids())
        wanted = data.queries[:queries]
        filtered = None if case is None else filters.cases(data, queries)[case]
        asked = [None] * len(wanted) if filtered is None else filtered.filters
        times, found, wall = _search(self._contender, wanted, asked, k, threads, seconds)
        answers = truth(data) if filtered is None else filtered.truth
        return _figures(times, found, wall, answers, k) | self._faults(found, filtered, k)

    def memory(self) -> dict[str, float]:
        """MiB of the processes that serve, now."""
        return memory(self._contender.pids())

    def close(self) -> None:
        """Release everything that was opened."""
        if self._opened:
            self._opened = False
            self._contender.close()

    def _faults(self, found: dict[int, list[int]], case: Case | None, k: int) -> dict[str, int]:
        """How many answers were shorter than they had to be, and how many rows they had that must not be there."""
        if case is None:
            rows = len(self._contender.data.rows)
            return {"short": sum(len(ids) < min(k, rows) for ids in found.values()), "wrong": 0}
        table = filters.columns(self._contender.data)
        wrong = 0
        for place, ids in found.items():
            part = {name: column[ids] for name, column in table.items()}
            wrong += len(ids) - int(filters.mask(part, case.filters[place]).sum()) if ids else 0
        return {
            "short": sum(len(ids) < min(k, case.matches[place]) for place, ids in found.items()),
            "wrong": wrong,
        }


def _search(
    contender: Contender, queries: np.ndarray, asked: list[Filter | None], k: int, threads: int, seconds: float
) -> tuple[list[float], dict[int, list[int]], float]:
    """Seconds of each query, ids by the query's place, and seconds in all."""
    times: list[float] = []
    found: dict[int, list[int]] = {}
    begun: list[float] = []
    ended: list[float] = []
    failures: list[BaseException] = []
    ready = threading.Barrier(threads)

    def run(first: int) -> None:
        try:
            search: Search = contender.searcher()
            for place in range(min(WARM_UP, len(queries))):
                search(queries[place], k, asked[place])
            ready.wait()
            begun.append(time.perf_counter())
            for place in range(first, len(queries), threads):
                start = time.perf_counter()
                found[place] = search(queries[place], k, asked[place])
                now = time.perf_counter()
                times.append(now - start)
                if now > begun[0] + seconds:
                    break
            ended.append(time.perf_counter())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            failures.append(error)
            ready.abort()

    workers = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return times, found, max(ended) - min(begun)


def _figures(
    times: list[float], found: dict[int, list[int]], wall: float, answers: Truth, k: int
) -> dict[str, Any]:
    recalls = [recall(ids, answers.ids[place], answers.distances[place], k) for place, ids in found.items()]
    mean, half = estimate(recalls)
    return {
        "recall": mean,
        "half": half,
        "qps": len(times) / wall,
        "p50 ms": percentile(times, 0.5) * 1e3,
        "p95 ms": percentile(times, 0.95) * 1e3,
        "queries": len(times),
    }


def _use_cores(count: int, pids: list[int]) -> None:
    """Let this process use so many cores from now on, whatever threads it has; servers keep all."""
    if pids != [os.getpid()]:
        return
    cores = sorted(os.sched_getaffinity(os.getppid()))[-count:]
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def main() -> None:
    """Serve commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, dataset, folder = sys.argv[1:4]
    data = load(dataset)
    table = filters.columns(data) if "columns" in sys.argv[4:] else None
    Path(folder).mkdir(parents=True, exist_ok=True)
    session = Session(contenders.find(name)(data, Path(folder), table))
    for line in sys.stdin:
        command = json.loads(line)
        try:
            done = getattr(session, command.pop("do"))(**command)
            answer = {"ok": done}
        except Exception as error:  # noqa: BLE001 - the other side decides what a failure means
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
    session.close()
    os._exit(0)  # some contenders leave threads that never end


if __name__ == "__main__":
    main()
