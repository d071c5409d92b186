"""Comparison 7: the first query of a node that has never seen the index, in an object store; beside LanceDB.

Run: python -m benchmarks cold_query [--small] [--data SET ...] [--queries N] [--contenders quiver lancedb-ivf-pq]
The figures of the report: python -m benchmarks cold_query. Indexes are built once, in $QUIVER_BENCH_CACHE/store
(1,000,000 x 768: some 8 GB there besides the 3 GB of rows; minutes for Quiver, many more for LanceDB).

Each query is asked by a process of its own, started for it, with no cache. Starting it and importing the libraries
do not count; "query" is from the call to the answer by an index that was opened before (Quiver: connect and
GetIndex; LanceDB: connect and open_table, which reads the table's manifest), "with opening" counts that too. Both
go through the same server (`store_server`) on this machine, which counts. In four stages: with nothing simulated;
with the same 50 ms for each request; with the same 500 ms for each, where the dependent rounds are counted; with a
simulated latency (log-normal, median 30 ms, p99 100 ms, 85 MB/s for each connection; query number n has seed n,
for both). Connections are plain HTTP: a TLS handshake is not simulated. Dollars are by the prices of S3 Standard.

The clock of the store cannot know who waited for an answer. Where computing takes as long as a request, one that
was answered meanwhile counts as if somebody had waited for it: Quiver asks for partitions when it has looked
through the bytes that came first, and beside that it makes a second request that makes sure that the commit is the
newest. Half a second is longer than what is computed between two requests.

Most queries lie in a cluster and probe a few partitions. One in six lies between clusters and probes up to a
hundred and more: what those take shows in "at most" and in the 99th percentile. The order of partitions in the
file decides how many requests and bytes that is, so remove an index that an older Quiver has built.

With `--line MB` there is a fifth stage: as the last, with so many megabytes a second over all connections.

LanceDB reads so many partitions at once as it has threads for computing, by default one for each core. So that it
does not wait because this machine is small, it is asked with 16 of them too (LANCE_CPU_THREADS); Quiver's requests
do not depend on the number of cores. "Store late" is how much later than simulated the latest of a query's answers
was, in the median.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import built_indexes, plots, side_by_side
from benchmarks.built_indexes import LANCE, PREFIX, QUIVER
from benchmarks.datasets import load, truth
from benchmarks.figures import estimate, percentile, recall
from benchmarks.object_store import ObjectStore
from benchmarks.reader_process import K, Reader
from benchmarks.request_log import CLOUD, FIXED, NONE, Latency, asked, between, dollars, rounds
from benchmarks.side_by_side import ContenderError, say

if TYPE_CHECKING:
    import argparse

    from benchmarks.request_log import Record
    from quiver.prices import StorePrices

COUNTED = "500 ms each"
"""The stage in which rounds are counted."""
STAGES: dict[str, Latency] = {
    "nothing simulated": NONE,
    "50 ms each": FIXED,
    COUNTED: Latency(0.5, 0.5),
    "simulated": CLOUD,
}
FEWEST = 4
"""Queries of others than Quiver where rounds are counted: one takes half a minute, and as many rounds as any."""
VARIANTS = {QUIVER: (QUIVER,), LANCE: (LANCE, f"{LANCE} 16 threads")}
"""How each contender is asked; the first is as it comes."""
VARIABLES = {f"{LANCE} 16 threads": {"LANCE_CPU_THREADS": "16"}}
FEWER = 20
"""Queries at most where nothing, or nothing by chance, is simulated."""
SMALL_QUERIES = 4


def cold(store: ObjectStore, variant: str, dataset: str, place: int, latency: Latency) -> dict[str, Any]:
    """One query by a new process. Raises ContenderError."""
    name, client = variant.partition(" ")[0], f"cold-{place}"
    store.simulate(latency._replace(seed=place))
    store.clear()
    url, variables = store.url(dataset, PREFIX[name]), VARIABLES.get(variant, {})
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with Reader(name, dataset, log, url, store.environment(client) | variables) as node:
            opened = node.call("open")
            answer = node.call("ask", place=place)
    records = between(store.log(), opened["begun"], answer["ended"], client)
    prices = standard_prices()
    found = {
        "found": answer["found"],
        "query": _cost(records, answer["begun"], answer["ended"], prices),
        "with opening": _cost(records, opened["begun"], answer["ended"], prices),
    }
    if place == 0:
        found["requests"] = [trace(one, answer["begun"]) for one in sorted(records, key=lambda r: r.start)]
    return found


def standard_prices() -> StorePrices:
    """Those of S3 Standard."""
    from quiver.prices import load_prices

    return load_prices().stores["s3-standard"]


def trace(record: Record, begun: float) -> str:
    """A request in a line: when it began and ended, in ms after the query (less than 0: when it was opened)."""
    start, end = (1e3 * (moment - begun) for moment in (record.start, record.end))
    return f"{start:.1f} to {end:.1f}: {record.kind} {record.key} {record.sent}"


def _cost(records: list[Record], begun: float, ended: float, prices: StorePrices) -> dict[str, float]:
    mine = between(records, begun, ended)
    return {
        "ms": (ended - begun) * 1e3,
        "requests": asked(mine).requests,
        "rounds": rounds(mine),
        "MB": asked(mine).received / 1e6,
        "dollars a million": dollars(prices, mine) * 1e6,
        "late ms": max((record.late for record in mine), default=0.0) * 1e3,
    }


def stages(line: float) -> dict[str, Latency]:
    """All of them; one more where all connections share a line of so many MB a second."""
    return STAGES | ({f"simulated, {line:g} MB/s in all": CLOUD._replace(line=line * 1e6)} if line else {})


def compare(dataset: str, options: argparse.Namespace) -> dict[str, Any]:
    """All stages on one data set; what each query cost, by stage and contender. Raises ContenderError."""
    built_indexes.build_all(dataset, options.contenders)
    results: dict[str, Any] = {}
    with ObjectStore(built_indexes.store_folder()) as store:
        if QUIVER in options.contenders:
            built_indexes.put_opening(store, dataset)
        for stage, latency in stages(options.line).items():
            queries = options.queries if latency.rate else min(FEWER, options.queries)
            variants = [variant for name in options.contenders for variant in VARIANTS[name]]
            runs: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
            for place in range(queries):
                fewer = stage == COUNTED and place >= FEWEST
                for variant in (name for name in variants if name == QUIVER or not fewer):
                    runs[variant].append(cold(store, variant, dataset, place, latency))
            say(f"{dataset}, {stage}: {queries} queries each")
            results[stage] = runs
    return results


def row(dataset: str, stage: str, name: str, runs: list[dict[str, Any]], part: str) -> dict[str, Any]:
    """A line of the table."""
    answers = truth(load(dataset))
    found = [recall(run["found"], answers.ids[n], answers.distances[n], K) for n, run in enumerate(runs)]
    values = {key: [run[part][key] for run in runs] for key in runs[0][part]}
    ms = values["ms"]
    return {
        "data": dataset,
        "stage": stage,
        "contender": name,
        "counted": part,
        "p50 / p99 ms": f"{statistics.median(ms):.0f} / {percentile(ms, 0.99):.0f}",
        "rounds": _middle_and_most(values["rounds"]) if stage == COUNTED else "",
        "requests": _middle_and_most(values["requests"]),
        "MB": f"{statistics.median(values['MB']):.2f}",
        "$ a million": f"{statistics.fmean(values['dollars a million']):.2f}",
        "recall@10": f"{estimate(found).mean:.3f}",
        "store late, ms": f"{statistics.median(values['late ms']):.1f}",
        "queries": len(runs),
    }


def _middle_and_most(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} (at most {max(values):.0f})"


def ratios(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Quiver's median over each other one's, by stage."""
    return {
        stage: {
            variant: round(_median(runs[QUIVER]) / _median(mine), 3)
            for variant, mine in runs.items()
            if variant != QUIVER and QUIVER in runs
        }
        for stage, runs in results.items()
    }


def _median(runs: list[dict[str, Any]]) -> float:
    return statistics.median(run["query"]["ms"] for run in runs)


def main() -> None:
    """Every data set in turn."""
    parser = side_by_side.arguments(__doc__, data=("clustered-1000000x768",), names=(QUIVER, LANCE))
    parser.add_argument(
        "--line", type=float, default=0, help="MB a second that all connections share, for a stage more"
    )
    parser.set_defaults(queries=100)
    options = side_by_side.parse(parser)
    if options.small:
        options.queries = SMALL_QUERIES
    options.contenders, left_out = side_by_side.available(options.contenders)
    for dataset in options.data:
        try:
            results = compare(dataset, options)
        except ContenderError as error:
            say(f"{dataset}: left out, {error}")
            continue
        side_by_side.table(
            [
                row(dataset, stage, name, runs, part)
                for part in ("query", "with opening")
                for stage, by_name in results.items()
                for name, runs in by_name.items()
            ]
        )
        print(f"Quiver's median over that of others: {ratios(results)}", flush=True)
        if QUIVER in options.contenders:
            print("\n".join(results[COUNTED][QUIVER][0]["requests"]), flush=True)
        found = {"data": dataset, "ratios": ratios(results), "left out": left_out, "stages": results}
        side_by_side.save(options, f"cold_query-{dataset}", found)
        timed = {stage: runs for stage, runs in results.items() if stage != COUNTED}
        plots.cold_queries(timed, dataset, options.out)


if __name__ == "__main__":
    main()
