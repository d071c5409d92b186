"""The head of a request: what is refused before anybody asks who sent it."""

from __future__ import annotations

import pytest

from quiver.server.errors import Refusal
from quiver.server.framing import check_content, read_head
from quiver.server.limits import ServerLimits

LIMITS = ServerLimits()


def head(
    *lines: tuple[str, str], host: str | None = "localhost", path: bytes = b"/QueryVectors", query: bytes = b""
):
    headers = [("host", host)] if host is not None else []
    scope = {
        "method": "POST",
        "raw_path": path,
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in [*headers, *lines]],
    }
    sound = read_head(scope, LIMITS)
    check_content(sound.parts)
    return sound


def refusal(*lines: tuple[str, str], **options) -> Refusal:
    with pytest.raises(Refusal) as caught:
        head(*lines, **options)
    return caught.value


def test_names_are_lower_case_and_order_is_kept():
    parts = head(("X-B", "1"), ("x-b", "2")).parts
    assert parts.values(b"x-b") == [b"1", b"2"]


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8080", "[::1]:80", "my_service", "a.b-c.example:65535", "[fe80::1]"]
)
def test_valid_hosts(host):
    assert head(host=host).length == 0


@pytest.mark.parametrize(
    "host", ["", "a/b", "a?b", "a#b", "a@b", "a b", "a:b", "[::1", "a:123456", "é", "a\tb", "x" * 300, None]
)
def test_invalid_hosts(host):
    error = refusal(host=host)
    assert (error.status, error.close) == (400, True)


def test_two_hosts():
    assert refusal(("host", "localhost")).status == 400


@pytest.mark.parametrize(
    "lines",
    [
        [("content-length", "1"), ("transfer-encoding", "chunked")],
        [("content-length", "1"), ("content-length", "1")],
        [("content-length", "-1")],
        [("content-length", "+1")],
        [("content-length", "1 ")],
        [("content-length", "1,1")],
        [("content-length", "1" * 30)],
        [("content-length", "")],
        [("transfer-encoding", "gzip, chunked")],
        [("transfer-encoding", "identity")],
        [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
    ],
)
def test_ambiguous_lengths_end_the_connection(lines):
    error = refusal(*lines)
    assert (error.status, error.close) == (400, True)


def test_lengths():
    assert head().length == 0
    assert head(("content-length", "20971520")).length == 20_971_520
    assert head(("transfer-encoding", "Chunked")).length is None


def test_a_declared_length_over_the_quota():
    error = refusal(("content-length", "20971521"))
    assert (error.status, error.code, error.close) == (400, "ValidationException", True)
    assert error.message == "Request body exceeds max allowed size"


def test_oversized_heads():
    assert refusal(*[(f"x-{n}", "1") for n in range(100)]).status == 431
    assert head(*[(f"x-{n}", "1") for n in range(99)]).length == 0
    assert refusal(("x-long", "a" * 16_384)).status == 431
    assert head(("x-long", "a" * 16_000)).length == 0
    assert refusal(path=b"/" + b"a" * 8192).status == 414
    assert refusal(path=b"/", query=b"a" * 8192).status == 414
    assert head(path=b"/" + b"a" * 8191).length == 0


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "aws-chunked"])
def test_encoded_bodies_are_never_decoded(encoding):
    assert refusal(("content-encoding", encoding)).status == 415


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/json2", "multipart/form-data; boundary=x"]
)
def test_other_content_types(kind):
    assert refusal(("content-type", kind)).status == 415


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/x-amz-json-1.1", ""]
)
def test_json_content_types(kind):
    assert head(("content-type", kind), ("content-encoding", "identity")).length == 0
