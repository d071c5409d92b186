"""Comparison 6: how query time and build time of Quiver grow with the number of rows; the exponents are printed.

Run: python -m benchmarks growth [--small] [--sizes N ...] [--dimension D] [--repeats N] [--contenders NAME ...]
The figures of the report: python -m benchmarks growth --sizes 10000 100000 1000000 --dimension 384
(about 15 minutes on 2 cores) and once python -m benchmarks growth --sizes 100000 1000000 10000000 --dimension 96
(an hour or two; 3.8 GB of rows in the cache, about 15 GB more on disk while it builds).

Generated sets (`datasets.clustered`), made, loaded and compared with the truth part by part from a memory map, so
they take no more memory than the index does; the usual setting, k = 10, one thread on one core. An exponent is the
slope of log(time) over log(rows): 0 does not grow, 0.5 is the square root, 1 is linear.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks import plots, side_by_side
from benchmarks.common import scratch, spread
from benchmarks.datasets import load, truth
from benchmarks.figures import exponent
from benchmarks.side_by_side import ContenderError, Process, say

if TYPE_CHECKING:
    import argparse

K = 10
USUAL_DIMENSION = 384
DISK = 5
"""Bytes free before a size is begun, as a multiple of its rows: spooled twice, and stored with codes."""


def measure(name: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """One contender at one size. Raises ContenderError."""
    dataset = f"clustered-{size}x{options.dimension}"
    wanted, free = DISK * size * options.dimension * 4, shutil.disk_usage(scratch() or tempfile.gettempdir()).free
    if free < wanted:
        raise ContenderError(f"{size:,} rows need {wanted / 1e9:.0f} GB of disk, {free / 1e9:.0f} GB are free")
    truth(load(dataset))
    with side_by_side.index_folder(dataset, reuse=options.reuse) as folder:
        built = side_by_side.build(name, dataset, folder)
        say(f"{name}, {size:,} rows: built in {built['seconds']:.1f} s")
        with Process(name, dataset, folder / name) as process:
            process.call("open")
            knob = process.call("knobs", k=K)["usual"]
            asked = {"knob": knob, "k": K, "threads": 1, "queries": options.queries, "seconds": options.seconds}
            runs = [process.call("measure", **asked) for _ in range(options.repeats)]
            memory = process.call("memory")
    return {"name": name, "rows": size, "built": built, "memory": memory, "runs": runs}


def row(found: dict[str, Any]) -> dict[str, Any]:
    """A line of the table."""
    runs, built = found["runs"], found["built"]
    return {
        "contender": found["name"],
        "rows": f"{found['rows']:,}",
        "p50 ms": spread([run["p50 ms"] for run in runs], digits=2),
        "p95 ms": spread([run["p95 ms"] for run in runs], digits=2),
        "recall@10": f"{runs[0]['recall']:.4f} ± {runs[0]['half']:.4f}",
        "build s": f"{built['seconds']:.1f}",
        "peak MiB of the build": f"{max(built['peak MiB'], built['children MiB']):.0f}",
        "of it anonymous": f"{built['peak anonymous MiB']:.0f}",
        "anonymous MiB when serving": f"{found['memory']['anonymous']:.0f}",
        "MB on disk": f"{built['bytes'] / 1e6:.1f}",
    }


def main() -> None:
    """Every contender at every size."""
    parser = side_by_side.arguments(__doc__, data=(), names=("quiver",))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=USUAL_DIMENSION)
    options = side_by_side.parse(parser)
    if options.small:
        options.sizes, options.dimension = [1000, 3000, 9000], 96
    found: list[dict[str, Any]] = []
    series: dict[str, list[float]] = {}
    names, left_out = side_by_side.available(options.contenders)
    for name in names:
        try:
            mine = [measure(name, size, options) for size in sorted(options.sizes)]
        except ContenderError as error:
            left_out[name] = str(error)
            say(f"{name}: left out, {error}")
            continue
        found += mine
        series[f"{name}: query, ms"] = [statistics.median(r["p50 ms"] for r in one["runs"]) for one in mine]
        series[f"{name}: build, s"] = [one["built"]["seconds"] for one in mine]
    side_by_side.table([row(one) for one in found])
    exponents = {label: round(exponent(sorted(options.sizes), times), 2) for label, times in series.items()}
    print(f"exponents: {exponents}", flush=True)
    title = "growth" if options.dimension == USUAL_DIMENSION else f"growth-{options.dimension}"
    side_by_side.save(options, title, {"exponents": exponents, "left out": left_out, "found": found})
    plots.growth(sorted(options.sizes), series, options.out / f"{title}.svg")


if __name__ == "__main__":
    main()
