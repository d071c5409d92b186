"""The header that tells how a query was answered."""

from __future__ import annotations

from quiver.engine.engine import SourceWork
from quiver.server.work_header import describe_work


def test_sums_over_all_sources_are_told():
    work = [
        SourceWork("segment", "kmeans+rabitq", "probe", 20_000, 19_000, 283, 46, 3_301, 32, 388_608),
        SourceWork("tail", "rows", "scan", 100, 90, 1, 1, 0, 100, 1_000),
    ]
    assert describe_work(work) == (
        b"plan=probe+scan; sources=2; rows=20100; matches=19090; partitions=47/284; codes=3301; vectors=132; "
        b"bytes=389608"
    )
