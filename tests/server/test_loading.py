"""Bulk loads over HTTP: who may, what is refused before and after the body is there, what the loader gets."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from cli.running import KEYS, RunningServer
from quiver.server.limits import ServerLimits
from quiver.server.loading import ARROW, PATH
from server.fakes import Client, Result, signed_headers

if TYPE_CHECKING:
    from pathlib import Path

TARGET = f"{PATH.decode()}?vectorBucketName=demo&indexName=words"
NAMES = {"vectorBucketName": "demo", "indexName": "words"}


def stream(count: int = 3, dimension: int = 2, **more: Any) -> bytes:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(count * dimension, np.float32)), dimension)
    table = pa.table({"key": [f"k{i}" for i in range(count)], "vector": vectors, **more})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=10_000)
    return sink.getvalue()


def headers(body: bytes, **changes: str | None) -> dict[str, str]:
    given = {"Content-Type": ARROW.name, "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest(), **changes}
    return {name: value for name, value in given.items() if value is not None}


def post(client: Client, body: bytes, target: str = TARGET, **changes: str | None) -> Result:
    """A signed load; changes are headers, None for none."""
    signed = signed_headers("POST", target, body, headers(body, **changes))
    return client.send("POST", target, body, list(signed.items()))


def test_rows_reach_the_loader_and_its_answer_the_client() -> None:
    client = Client()
    result = post(client, stream(n=[1, 2, None]))
    assert (result.status, result.json) == (200, {"rows": 3, "commit": 5})
    assert result.headers["x-quiver-commit"] == "5"
    assert client.service.bulk.loads == [(NAMES, ["k0", "k1", "k2"], [{"n": 1}, {"n": 2}, {}])]
    (line,) = [json.loads(line) for line in client.log.getvalue().splitlines()]
    assert (line["operation"], line["status"], line["received"]) == (
        "LoadVectors",
        200,
        len(stream(n=[1, 2, None])),
    )


def test_the_prefix_of_some_clients_is_taken_off() -> None:
    client = Client()
    assert post(client, stream(), f"/s3-vectors{TARGET}").status == 200


def test_the_query_names_index_and_columns() -> None:
    client = Client()
    arn = "arn%3Aaws%3As3vectors%3Aus-east-1%3A000000000000%3Abucket%2Fdemo%2Findex%2Fwords"
    body = stream(name=["x", "y", "z"], n=[1, 2, 3], s=["p", "q", "r"])
    result = post(client, body, f"{PATH.decode()}?indexArn={arn}&key=name&field=n&field=s&vector=vector")
    assert result.status == 200
    ((params, keys, documents),) = client.service.bulk.loads
    assert params == {"indexArn": "arn:aws:s3vectors:us-east-1:000000000000:bucket/demo/index/words"}
    assert (keys, documents[0]) == (["x", "y", "z"], {"n": 1, "s": "p"})


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("&dimension=3", "There is no parameter 'dimension'; there are"),
        ("&key=a&key=b", "The parameter 'key' is given more than once"),
        ("&metadata=a&field=b", "The parameters 'metadata' and 'field' exclude each other"),
        ("&key=%FF", "The request URI is not UTF-8"),
        ("&vector=n", "there is no column 'n'"),
    ],
)
def test_bad_queries(query: str, message: str) -> None:
    client = Client()
    result = post(client, stream(), TARGET + query)
    assert result.status == 400
    assert result.json["message"].startswith(message)
    assert client.service.bulk.loads == []


def test_errors_of_the_service() -> None:
    result = post(Client(), stream(), TARGET.replace("demo", "missing"))
    assert result.error == (404, "NotFoundException")


@pytest.mark.parametrize("body", [b"", b"not arrow", stream()[:-30]])
def test_bodies_that_are_no_stream(body: bytes) -> None:
    client = Client()
    result = post(client, body)
    assert result.error == (400, "ValidationException")
    assert result.json["message"] == "The request body is not a whole Arrow IPC stream"
    assert client.service.bulk.loads == []


def test_compressed_streams_are_refused() -> None:
    sink = io.BytesIO()
    table = pa.ipc.open_stream(stream(100)).read_all()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    assert post(Client(), sink.getvalue()).json["message"] == "Arrow buffers must not be compressed"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"Content-Type": "application/json"}, (415, "UnsupportedMediaTypeException")),
        ({"Content-Encoding": "gzip"}, (415, "UnsupportedMediaTypeException")),
        ({"X-Amz-Content-SHA256": None}, (403, "InvalidSignatureException")),
        ({"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}, (403, "InvalidSignatureException")),
        ({"X-Amz-Content-SHA256": "0" * 64}, (403, "InvalidSignatureException")),
    ],
)
def test_heads_that_are_refused(changes: dict[str, str | None], error: tuple[int, str]) -> None:
    client = Client()
    result = post(client, stream(), **changes)
    assert result.error == error
    assert "connection" not in result.headers
    assert client.service.bulk.loads == []


def test_only_post_is_served() -> None:
    assert Client().signed("GET", TARGET).error == (405, "MethodNotAllowedException")
    assert Client().signed("GET", "/quiver/Other").error == (404, "UnknownOperationException")


def exchange(client: Client, chunks: list[bytes], signed: dict[str, str], length: int | None) -> Result:
    given = [(name, value) for name, value in signed.items() if name.lower() != "content-length"]
    framing = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
    return asyncio.run(client.exchange("POST", TARGET, chunks, [*given, framing]))


def test_a_stranger_gets_no_large_body_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the body is asked for: what is there stays unread, and the connection ends."""
    client = Client(ServerLimits(max_body=1000))
    body = stream(1000)
    monkeypatch.setattr("quiver.server.loading.body_parts", None)
    for length in (len(body), None):
        signed = signed_headers("POST", TARGET, body, headers(body), secret="another-secret-of-some-length")
        result = exchange(client, [body], signed, length)
        assert result.error == (403, "InvalidSignatureException")
        assert result.headers["connection"] == "close"


def test_a_body_other_than_the_signed_one_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    body = stream(50_000)
    monkeypatch.setattr("quiver.server.loading.open_arrow_stream", None)
    for other in (body[:-1] + b"x", body[::-1]):
        signed = signed_headers("POST", TARGET, body, headers(body))
        result = exchange(Client(), [other], signed, len(other))
        assert result.error == (403, "InvalidSignatureException")
        assert result.json["message"] == "The x-amz-content-sha256 header is not the hash of the request body."


@pytest.mark.parametrize("declared", [True, False])
def test_large_bodies_come_in_pieces(declared: bool) -> None:
    client = Client()
    body = stream(300_000, 4)
    pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
    result = exchange(
        client, pieces, signed_headers("POST", TARGET, body, headers(body)), len(body) if declared else None
    )
    assert result.json == {"rows": 300_000, "commit": 5}


def test_the_limit_of_a_load_is_its_own() -> None:
    body = stream(1000)
    assert post(Client(ServerLimits(max_body=1000, max_load=len(body))), body).status == 200
    result = post(Client(ServerLimits(max_load=len(body) - 1)), body)
    assert result.error == (400, "ValidationException")
    assert (result.json["message"], result.headers["connection"]) == (
        "Request body exceeds max allowed size",
        "close",
    )
    signed = signed_headers("POST", TARGET, body, headers(body))
    assert exchange(Client(ServerLimits(max_load=len(body) - 1)), [body], signed, None).status == 400
    assert post(Client(ServerLimits(max_load=0)), body).status == 400


def test_a_full_disk_is_a_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    body = stream(100_000)
    client = Client()

    def full(self: Any, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quiver.storage.spool.SpooledFile.write", full)
    result = post(client, body)
    assert result.error == (503, "ServiceUnavailableException")


@pytest.mark.slow
def test_a_running_server_loads_what_is_signed_with_botocore(tmp_path: Path) -> None:
    with RunningServer(str(tmp_path / "data"), **KEYS) as server:
        client = server.client()
        client.create_vector_bucket(vectorBucketName="demo")
        client.create_index(**NAMES, dataType="float32", dimension=4, distanceMetric="cosine")
        body = stream(20_000, 4, n=list(range(20_000)))
        key, secret = KEYS.values()
        host = server.url.removeprefix("http://")
        signed = signed_headers("POST", TARGET, body, headers(body), key=key, secret=secret, host=host)
        request = urllib.request.Request(server.url + TARGET, body, signed, method="POST")
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        assert answer["rows"] == 20_000
        found = client.get_vectors(**NAMES, keys=["k19999"], returnMetadata=True)["vectors"]
        assert found == [{"key": "k19999", "metadata": {"n": 19_999}}]
