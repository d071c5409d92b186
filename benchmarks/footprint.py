"""Comparison 4: memory of a process that serves a built index warm, and bytes on disk, beside the peers.

Run: python -m benchmarks footprint [--small] [--data NAME ...] [--contenders NAME ...] [--reuse]
The figures of the report: python -m benchmarks footprint --data debian mnist clustered-300000x384 --reuse
and for Quiver alone: python -m benchmarks footprint --data clustered-1000000x768 --contenders quiver quiver-server
--reuse (minutes each once the indexes are there; building as in build_time).

From /proc/PID/smaps_rollup, after every query was asked with the usual setting: anonymous memory is what the
process allocated; the rest of its resident set are pages of files (memory-mapped indexes, libraries), which the
kernel shares between processes and takes back when it needs them. `of the index` is the anonymous memory above
that of the same process before it opened the index (an embedded contender's imports are not in it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import contenders, side_by_side
from benchmarks.datasets import load
from benchmarks.side_by_side import ContenderError, Process, say

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

K = 10


def compare(dataset: str, options: argparse.Namespace) -> None:
    """One data set, contenders one after the other."""
    print(f"\n### {dataset}", flush=True)
    data = load(dataset)
    names, left_out = side_by_side.available(options.contenders)
    rows = []
    with side_by_side.index_folder(dataset, reuse=options.reuse) as folder:
        for name in names:
            try:
                rows.append(measure(name, dataset, folder, options))
                say(f"{name}: {rows[-1]['anonymous MiB']} MiB anonymous")
            except ContenderError as error:
                left_out[name] = str(error)
                say(f"{name}: left out, {error}")
    side_by_side.table(rows)
    print(f"The rows are {data.rows.nbytes / 1e6:,.1f} MB as float32 ({data.rows.nbytes / 2**20:,.0f} MiB).")
    side_by_side.save(options, f"footprint-{dataset}", {"left out": left_out, "rows": rows})


def measure(name: str, dataset: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A contender's line. Raises ContenderError."""
    built = side_by_side.build(name, dataset, folder)
    with Process(name, dataset, folder / name) as process:
        opened = process.call("open")
        knob = process.call("knobs", k=K)["usual"]
        asked = {"knob": knob, "k": K, "threads": 1, "queries": options.queries}
        figures = process.call("measure", **asked, seconds=max(30.0, options.seconds))
        now = process.call("memory")
    before = 0.0 if name in contenders.SERVERS else opened["before"]["anonymous"]
    return {
        "contender": name,
        "anonymous MiB": round(now["anonymous"], 1),
        "of the index": round(now["anonymous"] - before, 1),
        "pages of files MiB": round(now["rss"] - now["anonymous"], 1),
        "resident MiB": round(now["rss"], 1),
        "MB on disk": round(built["bytes"] / 1e6, 1),
        "opened in s": round(opened["seconds"], 2),
        "recall@10": round(figures["recall"], 4),
    }


def main() -> None:
    """Every data set in turn."""
    names = contenders.SEARCHED
    options = side_by_side.parse(side_by_side.arguments(__doc__, data=("debian", "mnist"), names=names))
    for dataset in options.data:
        compare(dataset, options)


if __name__ == "__main__":
    main()
