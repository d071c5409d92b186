"""The object store of the benchmarks, through the client that Quiver uses."""

from __future__ import annotations

import asyncio
import math
import statistics

import obstore
import pytest
from benchmarks.object_store import ObjectStore
from benchmarks.request_log import CLOUD, FIXED, rounds
from benchmarks.store_server import Delays
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

BODY = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with ObjectStore(tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture
def client(store, request):
    config = {"aws_endpoint_url_s3": store.endpoint, "access_key_id": "somebody", "secret_access_key": "x"}
    yield S3Store(
        "bucket", prefix=request.node.name.split("[")[0], config=config, client_options={"allow_http": True}
    )
    store.simulate()


@pytest.mark.parametrize("multipart", [False, True])
def test_what_was_put_is_read_whole_and_in_ranges(client, multipart):
    obstore.put(client, "a/b", BODY, use_multipart=multipart, chunk_size=6 << 20)
    assert bytes(obstore.get(client, "a/b").bytes()) == BODY
    assert bytes(obstore.get_range(client, "a/b", start=100_001, end=5_000_000)) == BODY[100_001:5_000_000]
    suffix = obstore.get(client, "a/b", options={"range": {"suffix": 1000}})
    assert bytes(suffix.bytes()) == BODY[-1000:]
    assert obstore.head(client, "a/b")["size"] == len(BODY)


def test_a_key_is_created_once(client):
    obstore.put(client, "key", b"first", mode="create", use_multipart=False)
    with pytest.raises(AlreadyExistsError):
        obstore.put(client, "key", b"second", mode="create", use_multipart=False)
    assert bytes(obstore.get(client, "key").bytes()) == b"first"
    obstore.put(client, "key", b"third", use_multipart=False)
    assert bytes(obstore.get(client, "key").bytes()) == b"third"


def test_listings_are_in_order_across_pages_and_deleted_keys_are_gone(client):
    keys = [f"d/{number:04}" for number in range(1005)] + ["e/one"]
    for key in keys:
        obstore.put(client, key, b"x", use_multipart=False)
    assert [entry["path"] for entry in obstore.list(client).collect()] == keys
    assert [entry["path"] for entry in obstore.list(client, offset="d/1003").collect()] == keys[1004:]
    assert obstore.list_with_delimiter(client)["common_prefixes"] == ["d", "e"]
    obstore.delete(client, keys[:-1])
    assert [entry["path"] for entry in obstore.list(client).collect()] == ["e/one"]
    with pytest.raises(FileNotFoundError):
        obstore.get(client, keys[0])


def test_the_log_tells_requests_that_waited_from_those_at_once(store, client):
    obstore.put(client, "key", b"0123456789", use_multipart=False)
    store.simulate(FIXED)

    async def one_then_three():
        await obstore.get_range_async(client, "key", start=0, end=1)
        await asyncio.gather(*(obstore.get_range_async(client, "key", start=n, end=10) for n in (1, 2, 3)))

    store.clear()
    asyncio.run(one_then_three())
    log = store.log()
    assert [(r.client, r.kind, r.status) for r in log] == [("somebody", "GET", 206)] * 4
    assert sorted(r.sent for r in log) == [1, 7, 8, 9]
    assert all(r.end - r.start >= FIXED.median for r in log)
    assert rounds(log) == 2


def test_a_connection_has_no_more_than_the_simulated_bandwidth(store, client):
    obstore.put(client, "key", BODY, use_multipart=False)
    store.simulate(CLOUD._replace(median=0.0, p99=0.0))
    store.clear()
    obstore.get(client, "key").bytes()
    (read,) = store.log()
    assert read.end - read.start >= len(BODY) / CLOUD.rate


def test_all_connections_have_no_more_than_the_simulated_line():
    delays = Delays(CLOUD._replace(line=100e6))
    assert [delays.passed(5.0, 10_000_000) for _ in range(3)] == pytest.approx([5.1, 5.2, 5.3])
    assert delays.passed(7.0, 10_000_000) == pytest.approx(7.1)
    assert Delays(CLOUD).passed(5.0, 10_000_000) == 5.0


def test_simulated_latency_has_its_median_and_its_tail_and_repeats_by_seed():
    delays = Delays(CLOUD)
    drawn = sorted(delays.draw() for _ in range(20_000))
    assert statistics.median(drawn) == pytest.approx(CLOUD.median, rel=0.05)
    assert drawn[math.ceil(0.99 * len(drawn))] == pytest.approx(CLOUD.p99, rel=0.1)
    again, other = Delays(CLOUD), Delays(CLOUD._replace(seed=1))
    assert again.draw() == Delays(CLOUD).draw() != other.draw()
