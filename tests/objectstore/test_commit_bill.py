"""Tests of what a commit store costs: requests to its bucket, and request units of its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from objectstore.conftest import BUCKET, Moto
from objectstore.contract import HUGE, PARTS, run
from quiver.assemble import open_metered_store
from quiver.objectstore import remote
from quiver.objectstore.commit_store import INLINE_BYTES
from quiver.objectstore.metered_store import MeteredStore, Spent, metered
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.model.runtime import SystemRuntime

pytestmark = pytest.mark.usefixtures("aws_keys")

LARGE = bytes(INLINE_BYTES + 1)


@pytest.fixture
def store(
    moto: Moto,
    commit_table: str,
    fresh_path: Callable[[], str],
    runtime: SystemRuntime,
    monkeypatch: pytest.MonkeyPatch,
) -> MeteredStore:
    monkeypatch.setattr(remote, "LARGE", PARTS)
    where = f"endpoint={moto.endpoint}&commit_endpoint={moto.endpoint}&region=us-east-1"
    return open_metered_store(f"s3://{BUCKET}/{fresh_path()}?commit=dynamodb://{commit_table}&{where}", runtime)


def test_a_small_body_costs_the_table_alone(store: MeteredStore) -> None:
    async def work() -> tuple[Spent, Spent, Spent]:
        with metered() as put:
            await store.put_new("a", [b"123"])
        with metered() as get:
            await store.get("a")
        with metered() as refused:
            with pytest.raises(ObjectExistsError):
                await store.put_new("a", [b"123"])
            with pytest.raises(ObjectNotFoundError):
                await store.get("b")
            await store.list("")
            await store.delete(["a"])
        return put, get, refused

    put, get, rest = run(work())
    # moto charges half a unit for what DynamoDB charges one.
    assert (put, get) == (Spent(table_writes=1), Spent(table_reads=0.5))
    # A conflict and a removal; an absent key, a listing, and that of uploads before a deletion.
    assert rest == Spent(table_writes=2, table_reads=rest.table_reads)
    assert rest.table_reads >= 1.5
    assert (store.snapshot().put_new.requests, store.snapshot().get.requests) == (2, 2)


def test_a_larger_one_costs_both(store: MeteredStore) -> None:
    async def work() -> tuple[Spent, Spent, Spent]:
        with metered() as put:
            await store.put_new("a", [LARGE])
        with metered() as first:
            await store.get("a")
        with metered() as second:
            await store.get("a", 0, 5)
        return put, first, second

    put, first, second = run(work())
    assert (put.puts, put.gets, put.sent) == (1, 0, len(LARGE))
    assert put.table_writes >= 2  # the announcement, and the transaction
    assert first == Spent(gets=1, received=len(LARGE), table_reads=0.5)
    assert second == Spent(gets=1, received=5)


def test_a_very_large_one_costs_a_put_for_each_part(store: MeteredStore) -> None:
    async def work() -> Spent:
        with metered() as put:
            await store.put_new("a", [HUGE])
        return put

    put = run(work())
    assert (put.puts, put.gets, put.sent) == (5, 0, len(HUGE))
