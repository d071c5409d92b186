"""`quiver cost`: what an index costs in a month, for a workload that is stated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quiver.cli import output
from quiver.cli.arguments import AsJson, Bucket, IndexName, RootOption  # noqa: TC001 - typer reads them

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.cli.estimate import Line, Workload
    from quiver.cli.output import Exit
    from quiver.prices import Prices, StorePrices


def cost(
    bucket: Bucket,
    index: IndexName,
    queries: Annotated[float, typer.Option(min=0, help="Queries in a month.")] = 1_000_000,
    cold_share: Annotated[
        float, typer.Option(min=0, max=1, help="Part of them that meets a node with nothing of it in its caches.")
    ] = 0.01,
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=10_000, help="Neighbours asked for.")] = 10,
    writes: Annotated[float, typer.Option(min=0, help="Vectors put in a month.")] = 100_000,
    batch: Annotated[int, typer.Option(min=1, max=500, help="Vectors in each request that puts.")] = 100,
    store: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose prices. [default: those of the root's store]")
    ] = None,
    prices: Annotated[
        str | None, typer.Option(metavar="FILE", help="Prices of yours, in TOML. [default: $QUIVER_PRICES]")
    ] = None,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the monthly bill of an index: storage, requests and bytes, beside Amazon S3 Vectors.

    Measures some queries of the index, and writes to a store of its own in a temporary directory. Servers may go
    on serving the root.
    """
    from quiver.cli.estimate import Workload  # noqa: PLC0415 - loaded when it is needed

    workload = Workload(queries, cold_share, top_k, writes, batch)

    async def work(url: str) -> Exit:
        return await _estimate(url, bucket, index, workload, store, prices, as_json=as_json)

    output.run(work, root)


async def _estimate(
    root: str,
    bucket: str,
    index: str,
    workload: Workload,
    store: str | None,
    file: str | None,
    *,
    as_json: bool,
) -> Exit:
    """Measure, calculate and show. Raises QuiverError, SettingsError."""
    import msgspec  # noqa: PLC0415

    from quiver.cli.estimate import Operations, monthly_usage, store_bill, vectors_bill  # noqa: PLC0415
    from quiver.cli.measuring import (  # noqa: PLC0415
        entries_between_flushes,
        measure_queries,
        measure_writes,
        read_facts,
    )
    from quiver.prices import load_prices  # noqa: PLC0415
    from quiver.settings import load  # noqa: PLC0415

    settings = load(os.environ, root=root, prices=file)
    prices = load_prices(settings.prices)
    name, charged = _chosen(prices, store, root)
    with output.progress("Measuring"):
        facts, rows = await read_facts(root, bucket, index)
        queries = await measure_queries(root, bucket, index, rows, workload.top_k)
        put, upkeep = await measure_writes()
    entries = entries_between_flushes(settings.flush_rows, workload.batch, facts.row_bytes)
    operations = Operations(queries.cold, queries.warm, put, upkeep, entries)
    usage = monthly_usage(facts, workload, operations)
    bill, compared = store_bill(facts, usage, charged), vectors_bill(facts, workload, prices.vectors)
    if as_json:
        output.show_json(
            {
                "index": f"{bucket}/{index}",
                "workload": msgspec.to_builtins(workload),
                "facts": msgspec.to_builtins(facts),
                "operations": msgspec.to_builtins(operations),
                "store": {"name": name, **_described(charged, bill)},
                "s3Vectors": _described(prices.vectors, compared),
            }
        )
        return output.Exit.OK
    typer.echo(
        f"{bucket}/{index}: {facts.vectors:,} vectors, {facts.stored:,} bytes. A month with "
        f"{workload.queries:,.0f} queries, {workload.cold_share:.2%} of them cold, and "
        f"{workload.writes:,.0f} vectors put, {workload.batch} at a time."
    )
    for title, used in (("cold query", queries.cold), ("warm query", queries.warm), ("put", put)):
        typer.echo(
            f"A {title}: {used.puts:.1f} PUT, {used.lists:.1f} LIST, {used.gets:.1f} GET, "
            f"{used.received:,.0f} bytes read: ${charged.dollars(used) * 1e6:,.2f} a million."
        )
    _show(charged, bill)
    _show(prices.vectors, compared)
    return output.Exit.OK


def _chosen(prices: Prices, store: str | None, root: str) -> tuple[str, StorePrices]:
    """The table asked for, else the one of the root. Raises SettingsError: there is none."""
    from quiver.prices import store_of  # noqa: PLC0415
    from quiver.settings import SettingsError  # noqa: PLC0415

    name = store or store_of(root, os.environ)
    if name not in prices.stores:
        known = ", ".join(prices.stores)
        raise SettingsError(
            f"there are no prices of {name!r}; there are those of {known}, and any in --prices FILE"
        )
    return name, prices.stores[name]


def _described(prices: Any, bill: Sequence[Line]) -> dict[str, Any]:
    return {
        "title": prices.title,
        "asOf": prices.as_of,
        "lines": [line._asdict() for line in bill[:-1]],
        "usd": bill[-1].usd,
    }


def _show(prices: Any, bill: Sequence[Line]) -> None:
    typer.echo(f"\n{prices.title} (prices of {prices.as_of})")
    output.show_table(
        [
            {
                "": line.what,
                "amount": f"{line.amount:,.3f} {line.unit}" if line.unit == "GB" else _count(line),
                "USD a month": f"{line.usd:,.4f}",
            }
            for line in bill
        ]
    )


def _count(line: Line) -> str:
    return f"{line.amount:,.0f} {line.unit}" if line.unit else ""
