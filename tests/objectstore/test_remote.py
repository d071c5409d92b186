"""Tests of the remote store against a moto server over HTTP, and of how it takes failures."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from objectstore.contract import Connections, ObjectStoreContract, run
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.remote import RemoteStore
from quiver.objectstore.store import ObjectExistsError, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from objectstore.conftest import Moto

OPTIONS = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


class TestRemoteStore(ObjectStoreContract):
    @pytest.fixture
    def connections(self, moto: Moto, fresh_path: Callable[[], str]) -> Connections:
        path = fresh_path()
        return moto.store(path), moto.store(path)

    def test_stays_under_its_prefix(self, moto: Moto, fresh_path: Callable[[], str]) -> None:
        path = fresh_path()

        async def work() -> None:
            await moto.store(f"{path}/one").put_new("key", [b"1"])
            assert [info.key for info in await moto.store(path).list("")] == ["one/key"]
            assert await moto.store(f"{path}/on").list("") == []
            assert await moto.store(f"{path}/two").list("") == []

        run(work())

    def test_a_missing_bucket_is_no_missing_object(self, moto: Moto) -> None:
        store = moto.store("x", bucket="no-such-bucket")

        async def work() -> None:
            with pytest.raises(StoreRefusedError, match="not found"):
                await store.put_new("key", [b"1"])
            with pytest.raises(StoreUnavailableError):
                await store.get("key")
            with pytest.raises(StoreUnavailableError):
                await store.list("")

        run(work())


def with_server(answer: Callable[[asyncio.StreamWriter], Awaitable[None]], work):
    """Run `work(store, requests)` against a server that gives the same raw answer to every request."""

    async def main():
        requests: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            requests.append(head.split(b"\r\n")[0].decode())
            await answer(writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        store = RemoteStore("s3://b/p", endpoint=f"http://127.0.0.1:{port}", options=OPTIONS, timeout=1.0)
        try:
            await work(store, requests)
        finally:
            server.close()

    run(main())


def status(line: str, body: str = "", headers: str = ""):
    async def answer(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {line}\r\nConnection: close\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()

    return answer


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def stay_silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (status("412 Precondition Failed"), ObjectExistsError),
        (status("409 Conflict", "<Error><Code>ConditionalRequestConflict</Code></Error>"), ObjectExistsError),
        (status("400 Bad Request"), StoreRefusedError),
        (status("401 Unauthorized"), StoreRefusedError),
        (status("403 Forbidden"), StoreRefusedError),
        (status("501 Not Implemented"), StoreRefusedError),
        (status("408 Request Timeout"), StoreUnavailableError),
        (status("429 Too Many Requests"), StoreUnavailableError),
        (status("500 Internal Server Error"), StoreUnavailableError),
        (status("503 Slow Down"), StoreUnavailableError),
        (hang_up, StoreUnavailableError),
        (stay_silent, StoreUnavailableError),
    ],
)
def test_a_put_is_sent_once_and_its_answer_told_apart(answer, expected) -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(expected):
            await store.put_new("key", [b"body"])
        assert requests == ["PUT /b/p/key HTTP/1.1"]

    with_server(answer, work)


def test_a_read_is_repeated_before_it_is_given_up() -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(StoreUnavailableError):
            await store.get("key")
        assert len(requests) > 1

    with_server(status("503 Slow Down"), work)


def test_a_service_that_ignores_ranges_is_an_error() -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(StoreUnavailableError):
            await store.get("key", 2, 3)

    headers = 'ETag: "x"\r\nLast-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\n'
    with_server(status("200 OK", "0123456789", headers), work)


def test_a_range_cut_short_is_an_error() -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(StoreUnavailableError):
            await store.get("key", 2, 3)

    headers = 'ETag: "x"\r\nLast-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\nContent-Range: bytes 2-4/10\r\n'
    with_server(status("206 Partial Content", "23", headers), work)


def test_an_unreachable_server_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        store = RemoteStore("s3://b/p", endpoint=f"http://127.0.0.1:{port}", options=OPTIONS)
        with pytest.raises(StoreUnavailableError):
            run(store.put_new("key", [b"1"]))


def test_plain_http_has_to_be_asked_for(monkeypatch: pytest.MonkeyPatch, moto: Moto) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    store = RemoteStore("s3://b/p", options={**OPTIONS, "endpoint": moto.endpoint})
    with pytest.raises(StoreUnavailableError):
        run(store.get("key"))


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_endpoint_and_credentials_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, moto: Moto, fresh_path: Callable[[], str], variable: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, moto.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    path = fresh_path()
    run(RemoteStore(f"s3://quiver-tests/{path}").put_new("key", [b"1"]))
    assert [info.key for info in run(moto.store(path).list(""))] == ["key"]


@pytest.mark.parametrize(
    "url",
    ["http://host/x", "s3://", "bucket", "s3://key:secret@bucket/x", "s3://bucket/x?sig=secret", "file:///x"],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        RemoteStore(url)
    assert "=secret" not in str(caught.value)
    assert "key:secret" not in str(caught.value)
