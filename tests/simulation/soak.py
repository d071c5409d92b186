"""Runs simulator seeds by the thousand and prints the total: `python tests/simulation/soak.py --seeds 5000`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from simulation.scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation.scenarios import Report

CHUNK = 20


def run_chunk(job: tuple[str, int, int]) -> list[Report]:
    """The reports of seeds first..last-1 of one scenario."""
    scenario, first, last = job
    return [SCENARIOS[scenario](seed) for seed in range(first, last)]


def reports(scenario: str, start: int, count: int, processes: int) -> Iterator[Report]:
    """Reports as they come; in this process when there is only one."""
    jobs = [(scenario, first, min(first + CHUNK, start + count)) for first in range(start, start + count, CHUNK)]
    if processes == 1:
        for job in jobs:
            yield from run_chunk(job)
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for chunk in pool.map(run_chunk, jobs):
            yield from chunk


def soak(scenario: str, start: int, count: int, processes: int) -> int:
    """Run, print a line per violation and the total; how many seeds were in violation."""
    began = time.perf_counter()
    checks: Counter[str] = Counter()
    crashes: Counter[str] = Counter()
    requests, unknown, seconds, bad, done = 0, 0, 0.0, 0, 0
    for report in reports(scenario, start, count, processes):
        done += 1
        requests += report.requests
        unknown += report.unknown
        seconds += report.seconds
        checks += report.checks
        crashes += report.crashed_at
        if report.problem is not None:
            bad += 1
            print(f"{scenario} seed {report.seed}: {report.problem}", flush=True)
        if sys.stderr.isatty():
            print(f"\r{done}/{count}", end="", file=sys.stderr, flush=True)
    elapsed = time.perf_counter() - began
    print(
        f"{scenario}: {done} seeds from {start}, {requests} client operations ({unknown} of unknown outcome), "
        f"{seconds / 3600:.1f} simulated hours, {bad} violations, "
        f"{done / elapsed:.2f} seeds/s with {processes} processes, {seconds / elapsed:.0f} x real time"
    )
    print("  checks: " + ", ".join(f"{count} {name}" for name, count in sorted(checks.items())))
    print("  crashes at: " + ", ".join(f"{count} {name}" for name, count in sorted(crashes.items())))
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds (default %(default)s)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default %(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scenario", choices=[*SCENARIOS, "all"], default="all")
    options = parser.parse_args()
    chosen = list(SCENARIOS) if options.scenario == "all" else [options.scenario]
    bad = sum(soak(each, options.start, options.seeds, options.processes) for each in chosen)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
