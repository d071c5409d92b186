"""The response header that tells what a request cost, and how a query was answered, for debugging."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.engine import SourceWork
    from quiver.objectstore.metered_store import Spent
    from quiver.prices import StorePrices

WORK = b"x-quiver-work"
_SUMMED = ("rows", "matches", "partitions", "probed", "codes", "vectors", "nbytes")


def describe_work(work: Sequence[SourceWork]) -> str:
    """Sums over segments and tail, such as `plan=probe+scan; sources=2; rows=20100; matches=20100;
    partitions=46/283; codes=3301; vectors=132; bytes=388608; `; nothing when nothing was searched."""
    if not work:
        return ""
    plans = "+".join(sorted({one.plan for one in work}))
    rows, matches, partitions, probed, codes, vectors, nbytes = (
        sum(getattr(one, name) for one in work) for name in _SUMMED
    )
    return (
        f"plan={plans}; sources={len(work)}; rows={rows}; matches={matches}; partitions={probed}/{partitions}; "
        f"codes={codes}; vectors={vectors}; bytes={nbytes}; "
    )


def describe_cost(spent: Spent, prices: StorePrices | None) -> str:
    """What was asked of the object store, such as `puts=0; gets=1; lists=1; sent=0; received=0; usd=5.4e-06`.

    Request units of a commit table are told where there are any; dollars are left out when prices are not known.
    """
    asked = (
        f"puts={spent.puts}; gets={spent.gets}; lists={spent.lists}; sent={spent.sent}; received={spent.received}"
    )
    if spent.table_writes or spent.table_reads:
        asked += f"; table_writes={spent.table_writes:g}; table_reads={spent.table_reads:g}"
    return asked if prices is None else f"{asked}; usd={prices.dollars(spent):.3g}"
