"""The response header that tells how a query was answered, for debugging: sums over segments and tail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.engine import SourceWork

WORK = b"x-quiver-work"


def describe_work(work: Sequence[SourceWork]) -> bytes:
    """Such as `plan=probe+scan; sources=2; rows=20100; matches=20100; partitions=46/283; codes=3301; vectors=132;
    bytes=388608`."""
    plans = "+".join(sorted({one.plan for one in work}))
    rows, matches, partitions, probed, codes, vectors, nbytes = (
        sum(column) for column in zip(*(one[3:] for one in work), strict=True)
    )
    return (
        f"plan={plans}; sources={len(work)}; rows={rows}; matches={matches}; partitions={probed}/{partitions}; "
        f"codes={codes}; vectors={vectors}; bytes={nbytes}"
    ).encode()
