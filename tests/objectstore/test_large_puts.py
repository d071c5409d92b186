"""Tests of uploads in parts, with lost and failed requests between the store and moto."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from cluster.faulty_proxy import Fault, FaultyProxy, Request
from objectstore.conftest import BUCKET, CREDENTIALS
from objectstore.contract import HUGE, PARTS, run
from objectstore.raw_server import reply, with_raw_server
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.metered_store import MeteredStore, OperationCounts, Spent, metered
from quiver.objectstore.remote import RemoteStore
from quiver.objectstore.store import ObjectExistsError, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from objectstore.conftest import Moto

BEGIN, END, GIVE_UP, LOOK = "begin", "end", "give up", "look"
PART = "part"


def kind(request: Request) -> str:
    """What a request is to an upload: BEGIN, "part 1" and so on, END, GIVE_UP, LOOK, or "other"."""
    query = parse_qs(urlsplit(request.path).query, keep_blank_values=True)
    if "partNumber" in query:
        return f"{PART} {query['partNumber'][0]}"
    if request.method == "POST":
        return BEGIN if "uploads" in query else END
    return {"DELETE": GIVE_UP, "HEAD": LOOK}.get(request.method, "other")


class Wire:
    """A store behind a proxy. `faults` are those of the next requests of a kind."""

    def __init__(self, moto: Moto, path: str) -> None:
        self.asked: list[str] = []
        self.faults: dict[str, list[Fault]] = {}
        self._proxy = FaultyProxy(int(moto.endpoint.rpartition(":")[2]), self._choose)
        self._proxy.__enter__()
        self.store = RemoteStore(
            f"s3://{BUCKET}/{path}", endpoint=self._proxy.url, options=CREDENTIALS, timeout=10.0, large=PARTS
        )

    def close(self) -> None:
        self._proxy.__exit__()

    def _choose(self, request: Request) -> Fault:
        self.asked.append(kind(request))
        planned = self.faults.get(self.asked[-1], [])
        return planned.pop(0) if planned else Fault.NONE

    def put(self, body: bytes = HUGE) -> None:
        run(self.store.put_large("key", [body]))


@pytest.fixture
def path(fresh_path: Callable[[], str]) -> str:
    return fresh_path()


@pytest.fixture
def wire(moto: Moto, path: str) -> Iterator[Wire]:
    wire = Wire(moto, path)
    yield wire
    wire.close()


@pytest.fixture
def direct(moto: Moto, path: str) -> RemoteStore:
    return moto.store(path)


def uploads(moto: Moto, path: str) -> list[Any]:
    """Uploads under way in the bucket."""
    names = {"access_key_id": "aws_access_key_id", "secret_access_key": "aws_secret_access_key"}
    keys = {name: CREDENTIALS[option] for option, name in names.items()}
    client = boto3.client("s3", endpoint_url=moto.endpoint, region_name="us-east-1", **keys)
    listed = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return [upload for upload in listed if upload["Key"].startswith(path)]


def test_a_large_body_takes_a_request_for_each_part_and_three_more(wire: Wire) -> None:
    wire.put()
    assert sorted(wire.asked) == sorted([LOOK, BEGIN, "part 1", "part 2", "part 3", END])
    assert (wire.asked[:2], wire.asked[-1]) == ([LOOK, BEGIN], END)


def test_a_body_below_the_threshold_takes_one(wire: Wire, direct: RemoteStore) -> None:
    wire.put(HUGE[: PARTS.threshold])
    assert wire.asked == ["other"]
    wire.asked.clear()
    run(direct.delete(["key"]))
    wire.put(HUGE[: PARTS.threshold + 1])
    assert wire.asked == [LOOK, BEGIN, "part 1", END]


@pytest.mark.parametrize("fault", [Fault.ERROR_BEFORE, Fault.ERROR_AFTER, Fault.CUT_ANSWER, Fault.RESET_BEFORE])
def test_a_part_that_fails_is_sent_again_alone(wire: Wire, direct: RemoteStore, fault: Fault) -> None:
    wire.faults = {"part 2": [fault, fault]}
    wire.put()
    assert sorted(wire.asked) == sorted([LOOK, BEGIN, "part 1", *["part 2"] * 3, "part 3", END])
    assert run(direct.get("key")) == HUGE


@pytest.mark.parametrize("fault", [Fault.ERROR_AFTER, Fault.CUT_ANSWER, Fault.RESET_AFTER])
def test_a_lost_answer_to_the_last_request_is_no_failure(wire: Wire, direct: RemoteStore, fault: Fault) -> None:
    wire.faults = {END: [fault]}
    wire.put()
    assert run(direct.get("key")) == HUGE


def test_an_upload_that_ended_unheard_and_is_then_refused_is_no_failure(wire: Wire, direct: RemoteStore) -> None:
    """The library asks again, and the service no longer wants to hear of it."""
    wire.faults = {END: [Fault.ERROR_AFTER, Fault.CONFLICT_BEFORE]}
    wire.put()
    assert wire.asked[-6:] == [END, END, GIVE_UP, LOOK, "other", "other"]
    assert run(direct.get("key")) == HUGE


@pytest.mark.parametrize("step", [BEGIN, "part 3", END])
def test_a_failure_midway_leaves_nothing(
    wire: Wire, direct: RemoteStore, moto: Moto, path: str, step: str
) -> None:
    wire.faults = {step: [Fault.CONFLICT_BEFORE]}
    with pytest.raises(StoreUnavailableError, match="cannot tell whether key exists"):
        wire.put()
    assert run(direct.list("")) == []
    assert uploads(moto, path) == []
    wire.put()
    assert run(direct.get("key")) == HUGE


def test_an_upload_that_cannot_be_given_up_leaves_nothing_to_see(
    wire: Wire, direct: RemoteStore, moto: Moto, path: str
) -> None:
    wire.faults = {"part 1": [Fault.CONFLICT_BEFORE], GIVE_UP: [Fault.CONFLICT_BEFORE]}
    with pytest.raises(StoreUnavailableError):
        wire.put()
    assert run(direct.list("")) == []
    assert len(uploads(moto, path)) == 1  # for the lifecycle rule


def test_what_cannot_be_looked_at_is_unknown(wire: Wire, direct: RemoteStore) -> None:
    wire.faults = {END: [Fault.ERROR_AFTER, Fault.CONFLICT_BEFORE], LOOK: [Fault.NONE, Fault.CONFLICT_BEFORE]}
    with pytest.raises(StoreUnavailableError, match="cannot tell whether key exists"):
        wire.put()
    assert run(direct.get("key")) == HUGE
    with pytest.raises(ObjectExistsError):
        wire.put()


@pytest.mark.parametrize(
    "other", [b"small", HUGE[:-1], b"x" + HUGE[1:], HUGE[:-1] + b"x"], ids=["size", "shorter", "start", "end"]
)
def test_after_a_failure_another_object_there_is_not_ours(
    wire: Wire, direct: RemoteStore, other: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire.faults = {END: [Fault.CONFLICT_BEFORE]}
    choose = wire._choose

    def meanwhile(request: Request) -> Fault:
        if kind(request) == END:
            asyncio.run(direct.put_new("key", [other]))
        return choose(request)

    monkeypatch.setattr(wire._proxy, "_choose", lambda request: in_thread(meanwhile, request))
    with pytest.raises(ObjectExistsError):
        wire.put()
    assert run(direct.get("key")) == other


def in_thread(function: Callable[[Request], Fault], request: Request) -> Fault:
    """Call it where no event loop runs."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, request).result()


def test_a_taken_key_costs_one_request(wire: Wire, direct: RemoteStore) -> None:
    run(direct.put_new("key", [b"first"]))
    with pytest.raises(ObjectExistsError):
        wire.put()
    assert wire.asked == [LOOK]


def test_a_missing_bucket_is_a_refusal(moto: Moto) -> None:
    with pytest.raises(StoreRefusedError, match="not found"):
        run(moto.store("x", bucket="no-such-bucket").put_large("key", [HUGE]))


def test_a_service_without_conditions_is_not_looked_at(wire: Wire, moto: Moto, path: str) -> None:
    store = RemoteStore(
        f"s3://{BUCKET}/{path}", endpoint=wire._proxy.url, options=CREDENTIALS, conditional=False, large=PARTS
    )
    run(store.put_large("key", [HUGE]))
    assert LOOK not in wire.asked


def test_a_part_that_came_too_slowly_is_no_refusal() -> None:
    """S3 blames the request for it, with status 400."""

    async def work(endpoint: str, requests: list[str]) -> None:
        store = RemoteStore("s3://b/p", endpoint=endpoint, options=CREDENTIALS)
        with pytest.raises(StoreUnavailableError, match="RequestTimeout"):
            await store.put_new("key", [b"body"])

    with_raw_server(reply("400 Bad Request", "<Error><Code>RequestTimeout</Code></Error>"), work)


def test_each_part_is_counted_as_a_put(wire: Wire) -> None:
    store = MeteredStore(wire.store)

    async def work() -> tuple[Spent, Spent]:
        with metered() as first:
            await store.put_large("key", [HUGE])
        with metered() as second, pytest.raises(ObjectExistsError):
            await store.put_large("key", [HUGE])
        return first, second

    first, second = run(work())
    assert first == Spent(puts=5, gets=1, sent=len(HUGE))
    assert second == Spent(gets=1)
    assert len(wire.asked) == first.requests + second.requests
    assert store.snapshot().put_new == OperationCounts(requests=5, bytes_in=len(HUGE), items=1)
    assert store.snapshot().get == OperationCounts(requests=2)


class Counting:
    """A service that takes parts slowly, and counts how many are under way."""

    def __init__(self) -> None:
        self.now = self.most = self.parts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().split("\r\n")
            sizes = [int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:")]
            method, path, _ = lines[0].split()
            if method == "HEAD":
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            if method == "PUT":
                self.now, self.parts = self.now + 1, self.parts + 1
                self.most = max(self.most, self.now)
                await asyncio.sleep(0.05)
            await reader.readexactly(sum(sizes))
            self.now -= method == "PUT"
            body = BEGUN if path.endswith(("uploads=", "uploads")) else ENDED
            body = "" if method == "PUT" else body
            writer.write(f'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode())


BEGUN = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
ENDED = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"


def test_so_many_parts_are_under_way_at_a_time_and_no_more() -> None:
    async def work() -> Counting:
        counting = Counting()
        server = await asyncio.start_server(counting.serve, "127.0.0.1", 0)
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        store = RemoteStore("s3://b/p", endpoint=endpoint, options=CREDENTIALS, large=PARTS)
        await store.put_large("key", [HUGE, HUGE, HUGE])
        server.close()
        return counting

    counting = run(work())
    assert (counting.parts, counting.most) == (7, PARTS.at_once)
