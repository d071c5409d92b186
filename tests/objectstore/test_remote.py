"""Tests of the remote store against a moto server over HTTP, and of how it takes failures."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from objectstore.contract import Connections, ObjectStoreContract, run
from objectstore.raw_server import reply, with_raw_server
from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.remote import RemoteStore
from quiver.objectstore.store import ObjectExistsError, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from objectstore.conftest import Moto
    from objectstore.raw_server import Answer

OPTIONS = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


class TestRemoteStore(ObjectStoreContract):
    decides_large = False

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


def with_server(answer: Answer, work: Callable[[RemoteStore, list[str]], Awaitable[None]]) -> None:
    """Run `work(store, requests)` against a server that gives the same raw answer to every request."""

    async def connected(endpoint: str, requests: list[str]) -> None:
        await work(RemoteStore("s3://b/p", endpoint=endpoint, options=OPTIONS, timeout=1.0), requests)

    with_raw_server(answer, connected)


def first_lines(requests: list[str]) -> list[str]:
    return [request.split("\r\n")[0] for request in requests]


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def stay_silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (reply("412 Precondition Failed"), ObjectExistsError),
        (reply("409 Conflict", "<Error><Code>ConditionalRequestConflict</Code></Error>"), ObjectExistsError),
        (reply("400 Bad Request"), StoreRefusedError),
        (reply("401 Unauthorized"), StoreRefusedError),
        (reply("403 Forbidden"), StoreRefusedError),
        (reply("501 Not Implemented"), StoreRefusedError),
        (reply("408 Request Timeout"), StoreUnavailableError),
        (reply("429 Too Many Requests"), StoreUnavailableError),
        (reply("500 Internal Server Error"), StoreUnavailableError),
        (reply("503 Slow Down"), StoreUnavailableError),
        (hang_up, StoreUnavailableError),
        (stay_silent, StoreUnavailableError),
    ],
)
def test_a_put_is_sent_once_and_its_answer_told_apart(answer, expected) -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(expected):
            await store.put_new("key", [b"body"])
        assert first_lines(requests) == ["PUT /b/p/key HTTP/1.1"]

    with_server(answer, work)


def test_a_read_is_repeated_before_it_is_given_up() -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(StoreUnavailableError):
            await store.get("key")
        assert len(requests) > 1

    with_server(reply("503 Slow Down"), work)


def test_a_service_that_ignores_ranges_is_an_error() -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(StoreUnavailableError):
            await store.get("key", 2, 3)

    headers = 'ETag: "x"\r\nLast-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\n'
    with_server(reply("200 OK", "0123456789", headers), work)


def test_a_range_cut_short_is_an_error() -> None:
    async def work(store: RemoteStore, requests: list[str]) -> None:
        with pytest.raises(StoreUnavailableError):
            await store.get("key", 2, 3)

    headers = 'ETag: "x"\r\nLast-Modified: Sat, 01 Nov 2025 00:00:00 GMT\r\nContent-Range: bytes 2-4/10\r\n'
    with_server(reply("206 Partial Content", "23", headers), work)


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


def test_a_service_without_conditions_is_not_asked_for_any() -> None:
    async def work(endpoint: str, requests: list[str]) -> None:
        for conditional in (True, False):
            store = RemoteStore("s3://b/p", endpoint=endpoint, options=OPTIONS, conditional=conditional)
            await store.put_new("key", [b"1"])
        assert ["if-none-match: *" in request.lower() for request in requests] == [True, False]

    with_raw_server(reply("200 OK", headers='ETag: "x"\r\n'), work)


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_the_endpoint_in_the_url_comes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, moto: Moto, fresh_path: Callable[[], str], variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    path = fresh_path()
    store = RemoteStore(f"s3://quiver-tests/{path}?endpoint={moto.endpoint}&region=us-east-1", options=OPTIONS)
    run(store.put_new("key", [b"1"]))
    assert store.url == f"s3://quiver-tests/{path}"
    assert [info.key for info in run(moto.store(path).list(""))] == ["key"]


def test_the_virtual_style_puts_the_bucket_into_the_host() -> None:
    async def work(endpoint: str, requests: list[str]) -> None:
        # A name under localhost is this machine wherever it is resolved at all.
        local = endpoint.replace("127.0.0.1", "localhost")
        store = RemoteStore(f"s3://b/p?style=virtual&endpoint={local}", options=OPTIONS, timeout=2.0)
        with pytest.raises(StoreUnavailableError) as caught:
            await store.put_new("key", [b"1"])
        host = local.replace("http://", "http://b.")
        assert f"PUT {host}/p/key" in str(caught.value) or requests[0].startswith("PUT /p/key ")

    with_raw_server(reply("503 Slow Down"), work)


def test_a_directory_bucket_is_entered_through_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 Express One Zone: the bucket's name says so. The first request asks the zone's host for a session."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def work(endpoint: str, requests: list[str]) -> None:
        monkeypatch.setenv("HTTPS_PROXY", endpoint)
        store = RemoteStore("s3://mine--use1-az4--x-s3/p", options=OPTIONS, timeout=2.0)
        with pytest.raises(StoreUnavailableError, match="CreateSession"):
            await store.put_new("key", [b"1"])
        zone = "mine--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com:443"
        assert first_lines(requests) == [f"CONNECT {zone} HTTP/1.1"]

    with_raw_server(reply("502 Bad Gateway"), work)


def test_other_buckets_are_entered_without_a_session() -> None:
    async def work(endpoint: str, requests: list[str]) -> None:
        await RemoteStore("s3://mine--x-s3/p", endpoint=endpoint, options=OPTIONS).put_new("key", [b"1"])
        assert first_lines(requests) == ["PUT /mine--x-s3/p/key HTTP/1.1"]

    with_raw_server(reply("200 OK", headers='ETag: "x"\r\n'), work)


def page(*keys: str) -> str:
    """A listing whose keys stand in the order given."""
    entry = (
        "<Contents><Key>p/{}</Key><LastModified>2025-11-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
    )
    return (
        "<ListBucketResult><IsTruncated>false</IsTruncated>"
        + "".join(entry.format(key) for key in keys)
        + "</ListBucketResult>"
    )


def test_a_service_that_lists_in_any_order_from_the_start_is_sorted_out() -> None:
    """As directory buckets do."""

    async def work(store: RemoteStore, requests: list[str]) -> None:
        listed = await store.list("log/", "log/2")
        assert [info.key for info in listed] == ["log/3", "log/4"]

    with_server(reply("200 OK", page("log/4", "log/1", "log/3", "log/2")), work)


def signed(name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey, *, ca: bool) -> bytes:
    """A certificate for `name`, signed by the authority's key, as PEM."""
    issuer, subject = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in ("authority", name))
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        address = x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))])
        builder = builder.add_extension(address, critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path) -> Path:
        """A file with the certificate of an authority of our own; beside it, a server's certificate and key."""
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        authority, server = (
            signed(name, key, keys[0], ca=ca)
            for name, key, ca in zip(("authority", "127.0.0.1"), keys, (True, False), strict=True)
        )
        private = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "server.pem").write_bytes(server + private)
        file = tmp_path / "authority.pem"
        file.write_bytes(authority)
        return file

    def put(self, authority: Path, options: str) -> list[str]:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority.with_name("server.pem"))
        seen: list[str] = []

        async def work(endpoint: str, requests: list[str]) -> None:
            store = RemoteStore(f"s3://b/p?endpoint={endpoint}{options}", options=OPTIONS, timeout=5.0)
            await store.put_new("key", [b"1"])
            seen.extend(first_lines(requests))

        with_raw_server(reply("200 OK", headers='ETag: "x"\r\n'), work, tls)
        return seen

    def test_a_certificate_nobody_vouches_for_is_refused(self, authority: Path) -> None:
        with pytest.raises(StoreUnavailableError):
            self.put(authority, "")

    def test_the_url_says_which_authority_to_trust(self, authority: Path) -> None:
        assert self.put(authority, f"&ca_file={authority}") == ["PUT /b/p/key HTTP/1.1"]

    def test_the_environment_does_too(self, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
        assert self.put(authority, "") == ["PUT /b/p/key HTTP/1.1"]

    def test_a_missing_file_of_certificates_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"cannot read the certificates in /no/such.pem"):
            RemoteStore("s3://b/p?ca_file=/no/such.pem", options=OPTIONS)


@pytest.mark.parametrize(
    ("url", "options", "line", "condition"),
    [
        ("gs://bucket/p", {"bearer_token": "t"}, "PUT /bucket/p%2Fkey HTTP/1.1", "x-goog-if-generation-match: 0"),
        ("az://box/p?account=me", {"skip_signature": True}, "PUT /box/p/key HTTP/1.1", "if-none-match: *"),
        (
            "abfss://box@mine.dfs.core.windows.net/p",
            {"skip_signature": True},
            "PUT /box/p/key HTTP/1.1",
            "if-none-match: *",
        ),
    ],
)
def test_other_clouds_are_asked_for_the_condition_in_their_own_words(
    url: str, options: dict[str, Any], line: str, condition: str
) -> None:
    async def work(endpoint: str, requests: list[str]) -> None:
        store = RemoteStore(url, endpoint=endpoint, options=options)
        with pytest.raises(ObjectExistsError):
            await store.put_new("key", [b"1"])
        assert first_lines(requests) == [line]
        assert condition in requests[0].lower()

    with_raw_server(reply("412 Precondition Failed"), work)
