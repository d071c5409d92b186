"""The request headers that say how fresh a read has to be."""

from __future__ import annotations

import pytest

from quiver.model.errors import ValidationError
from quiver.server.reading import read_reading
from quiver.server.sigv4 import RequestParts
from quiver.service.reading import AS_SET, Reading
from server.fakes import Client


def parts(*headers: tuple[bytes, bytes]) -> RequestParts:
    return RequestParts("POST", b"/QueryVectors", b"", [(b"host", b"h"), *headers])


def test_without_headers_the_server_decides():
    assert read_reading(parts()) is AS_SET


def test_headers_are_handed_on_unjudged():
    assert read_reading(parts((b"x-quiver-consistency", b" eventual "))) == Reading("eventual", None)
    assert read_reading(parts((b"x-quiver-at-least", b"12"))) == Reading(None, "12")
    assert read_reading(parts((b"x-quiver-at-least", b"\xff"), (b"x-quiver-consistency", b""))) == Reading(
        "", "\xff"
    )


@pytest.mark.parametrize("name", [b"x-quiver-consistency", b"x-quiver-at-least"])
def test_a_header_comes_once(name):
    with pytest.raises(ValidationError, match="once"):
        read_reading(parts((name, b"1"), (name, b"1")))


def test_they_reach_the_service():
    client = Client()
    headers = {"x-quiver-consistency": "eventual", "x-quiver-at-least": "7"}
    assert client.post("QueryVectors", {}, headers=headers).status == 200
    assert client.post("QueryVectors", {}).status == 200
    assert client.service.readings == [Reading("eventual", "7"), AS_SET]
