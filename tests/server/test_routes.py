"""Routing: on raw bytes, from the operation table, nothing else."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import botocore
import pytest

from quiver.model.errors import SerializationError
from quiver.server.errors import Refusal
from quiver.server.routes import Route, Routes, query_values
from quiver.service.extensions import EXTENSIONS, SERVED

ROUTES = Routes(SERVED)


def model_operations() -> list[tuple[str, str, str]]:
    data = Path(botocore.__file__).parent / "data/s3vectors/2025-07-15/service-2.json.gz"
    model = json.loads(gzip.decompress(data.read_bytes()))
    return [(name, op["http"]["method"], op["http"]["requestUri"]) for name, op in model["operations"].items()]


@pytest.mark.parametrize(("name", "method", "uri"), model_operations(), ids=lambda text: text.strip("/"))
@pytest.mark.parametrize("prefix", ["", "/s3-vectors"])
def test_every_operation_of_the_model_is_found(name, method, uri, prefix):
    path = prefix + uri.replace("{resourceArn}", "arn%3Aaws%2Fx")
    route = ROUTES.find(method, path.encode())
    assert route.operation == name
    assert route.labels == ({"resourceArn": "arn:aws/x"} if "{" in uri else {})


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/Unknown",
        "/queryvectors",
        "/QueryVectors/",
        "//QueryVectors",
        "/Query%56ectors",
        "/x/../QueryVectors",
        "/s3-vectors",
        "/s3-vectors/",
        "/s3-vectors/s3-vectors/QueryVectors",
        "/tags",
        "/tags/",
        "/tags/a/b",
        "/metrics",
        "/stats",
        "*",
    ],
)
def test_unknown_paths(path):
    with pytest.raises(Refusal) as caught:
        ROUTES.find("POST", path.encode())
    assert (caught.value.status, caught.value.code) == (404, "UnknownOperationException")


@pytest.mark.parametrize("name", EXTENSIONS)
def test_extensions_are_found_under_a_prefix_of_their_own(name):
    route = ROUTES.find("POST", f"/quiver/{name}".encode())
    assert (route.operation, route.labels, route.has_body) == (name, {}, True)
    with pytest.raises(Refusal) as caught:
        ROUTES.find("POST", f"/{name}".encode())
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/QueryVectors", b"POST"),
        ("OPTIONS", "/QueryVectors", b"POST"),
        ("PUT", "/tags/a", b"DELETE, GET, POST"),
        ("POST", "/health", b"GET"),
        ("GET", "/quiver/CountVectors", b"POST"),
    ],
)
def test_wrong_methods(method, path, allow):
    with pytest.raises(Refusal) as caught:
        ROUTES.find(method, path.encode())
    assert caught.value.status == 405
    assert caught.value.headers == ((b"allow", allow),)


def test_health():
    assert ROUTES.find("GET", b"/health") == Route("Health", {})
    assert ROUTES.find("GET", b"/s3-vectors/health") == Route("Health", {})


@pytest.mark.parametrize("label", ["%", "%a", "%zz", "a%2", "%ff", "%ed%a0%80"])
def test_labels_that_are_not_percent_encoded_utf8(label):
    with pytest.raises(SerializationError):
        ROUTES.find("GET", b"/tags/" + label.encode())


def test_query_values_keep_order_duplicates_and_plus():
    query = b"tagKeys=a%20b&other=1&tagKeys=c+d&tagKeys=c+d&tag%4Beys=%C3%A9&tagKeys"
    assert query_values(query, "tagKeys") == ["a b", "c+d", "c+d", "é", ""]
    assert query_values(b"", "tagKeys") == []
    with pytest.raises(SerializationError):
        query_values(b"tagKeys=%ff", "tagKeys")
