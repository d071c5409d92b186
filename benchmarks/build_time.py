"""Comparison 3: time to store and index a data set, embedded. Through HTTP: `benchmarks.ingest`.

Run: python -m benchmarks build_time [--small] [--data NAME ...] [--contenders NAME ...] [--repeats N]
The figures of the report: python -m benchmarks build_time --data debian mnist clustered-300000x384 --repeats 3
(about 5, 20 and 150 minutes on 2 cores), and for Quiver alone
python -m benchmarks build_time --data clustered-1000000x768 --contenders quiver --repeats 1 (about 10 minutes).

A build counts from empty to everything indexed, all cores, no metadata; the start of the process and its imports
do not count. Contenders take turns, each second time in the opposite order. Before each of them everything that
others have left to be written is forced to disk, and the rows are read into the page cache, so that nobody pays
for what another has done. `left to write` is how long it took to force to disk what the build itself had left,
which does not count either: a contender that has synced its files has next to nothing.

Peak is the building process's resident memory, memory-mapped input included; `of it anonymous` is what it
allocated; `of its children` is the resident memory of the greatest process it started.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, side_by_side
from benchmarks.common import spread
from benchmarks.datasets import load
from benchmarks.side_by_side import ContenderError, say

if TYPE_CHECKING:
    import argparse


def compare(dataset: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build everything, in turns; prints and returns what came out."""
    print(f"\n### {dataset}", flush=True)
    load(dataset)
    names, left_out = side_by_side.available(options.contenders)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for repeat in range(options.repeats):
        for name in names[:: -1 if repeat % 2 else 1]:
            if name in left_out:
                continue
            with side_by_side.index_folder(dataset, reuse=False) as folder:
                try:
                    runs[name].append(side_by_side.build(name, dataset, folder))
                    say(f"{repeat + 1} of {options.repeats}, {name}: {runs[name][-1]['seconds']:.1f} s")
                except ContenderError as error:
                    left_out[name] = str(error)
                    say(f"{name}: left out, {error}")
    runs = {name: made for name, made in runs.items() if made}
    side_by_side.table([row(name, made, runs.get("quiver")) for name, made in runs.items()])
    return {"left out": left_out, "runs": runs}


def row(name: str, made: list[dict[str, Any]], quiver: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A contender's line."""
    seconds = [run["seconds"] for run in made]
    ratios = [theirs / run["seconds"] for run, theirs in zip(quiver or [], seconds, strict=False)]
    return {
        "contender": name,
        "seconds": spread(seconds),
        "times Quiver's": spread(ratios) if ratios else "",
        "left to write": spread([run["left to write"] for run in made]),
        "peak MiB": f"{statistics.median(run['peak MiB'] for run in made):.0f}",
        "of it anonymous": f"{statistics.median(run['peak anonymous MiB'] for run in made):.0f}",
        "of its children": f"{statistics.median(run['children MiB'] for run in made):.0f}",
        "MB on disk": f"{statistics.median(run['bytes'] for run in made) / 1e6:.1f}",
    }


def main() -> None:
    """Every data set in turn."""
    sets = ("debian", "mnist")
    options = side_by_side.parse(side_by_side.arguments(__doc__, data=sets, names=contenders.EMBEDDED))
    for dataset in options.data:
        side_by_side.save(options, f"build_time-{dataset}", compare(dataset, options))


if __name__ == "__main__":
    main()
