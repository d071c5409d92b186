"""The request path, in process: order of checks, answers, logs, metrics, memory."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re

import numpy as np
import orjson
import pytest

from quiver.server.limits import ServerLimits
from quiver.service.operations import OPERATIONS
from server.fakes import KEY, SECRET, Client, FakeService, make_app, signed_headers

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ARN = "arn%3Aaws%3As3vectors%3Aus-east-1%3A000000000000%3Abucket%2Fb"


def target(name: str) -> str:
    return OPERATIONS[name].path.replace("{resourceArn}", ARN)


# ---- answers


def test_success_has_type_length_request_id_and_commit():
    result = Client().post("PutVectors", {"vectors": []})
    assert (result.status, result.body) == (200, b"{}")
    assert result.headers["content-type"] == "application/json"
    assert result.headers["content-length"] == "2"
    assert UUID.fullmatch(result.headers["x-amzn-requestid"])
    assert result.headers["x-quiver-commit"] == "7"
    assert "connection" not in result.headers


def test_an_answer_without_a_commit_has_no_such_header():
    assert "x-quiver-commit" not in Client().post("ListVectorBuckets", {}).headers


def test_every_answer_to_a_known_caller_says_what_it_cost_also_when_it_is_an_error():
    client = Client()
    assert client.post("PutVectors", {}).headers["x-quiver-work"] == "puts=0; gets=0; lists=0; sent=0; received=0"
    missing = client.post("GetIndex", {"vectorBucketName": "missing"})
    assert (missing.status, missing.headers["x-quiver-work"][:6]) == (404, "puts=0")
    assert "x-quiver-work" not in client.send("POST", "/ListVectorBuckets", b"{}").headers
    assert "x-quiver-work" not in client.signed("GET", "/health").headers


def test_numpy_values_and_stored_json_are_written_as_json():
    hits = Client().post("QueryVectors", {}).json
    assert hits["vectors"] == [{"key": "a", "distance": 0.25, "metadata": {"n": 1}}]
    assert Client().post("GetVectors", {}).json["vectors"][0]["data"]["float32"] == [0.5, 1.5]


@pytest.mark.parametrize(
    ("bucket", "status", "code", "message"),
    [
        ("missing", 404, "NotFoundException", "The specified vector bucket could not be found"),
        ("invalid", 400, "ValidationException", "two faults"),
        ("busy", 429, "TooManyRequestsException", "slow down"),
    ],
)
def test_errors_of_the_service(bucket, status, code, message):
    result = Client().post("GetVectorBucket", {"vectorBucketName": bucket})
    assert result.error == (status, code)
    assert result.json["message"] == message
    assert UUID.fullmatch(result.headers["x-amzn-requestid"])


def test_an_unforeseen_error_is_logged_by_request_id_without_its_message():
    client = Client()
    result = client.post("GetVectorBucket", {"vectorBucketName": "boom"})
    assert result.error == (500, "InternalServerException")
    assert result.json == {"message": "Internal server error"}
    lines = [json.loads(line) for line in client.log.getvalue().splitlines()]
    entry = next(line for line in lines if line["event"] == "unforeseen error")
    assert entry["request_id"] == result.headers["x-amzn-requestid"]
    assert entry["error"] == "RuntimeError"
    assert any("fakes.py" in frame for frame in entry["frames"])
    assert "hunter2" not in client.log.getvalue()


# ---- where parameters come from


def test_parameters_arrive_as_sent():
    client = Client()
    client.post("QueryVectors", {"topK": 3, "queryVector": {"float32": [1, 2.5]}})
    assert client.service.calls == [("QueryVectors", {"topK": 3, "queryVector": {"float32": [1, 2.5]}})]


def test_put_vectors_arrives_as_arrays():
    client = Client()
    client.post("PutVectors", {"vectors": [{"key": "a", "data": {"float32": [1, 2.5]}, "metadata": {"x": 1}}]})
    (record,) = client.service.calls[0][1]["vectors"]
    assert record["data"]["float32"].dtype == np.float32
    assert record["data"]["float32"].tolist() == [1, 2.5]
    assert record["metadata"] == {"x": 1}


def test_large_bodies_are_read_alike_off_the_loop():
    client = Client(ServerLimits(inline_bytes=0))
    client.post("PutVectors", {"vectors": [{"key": "a", "data": {"float32": [1, "NaN"]}}]})
    assert np.isnan(client.service.calls[0][1]["vectors"][0]["data"]["float32"][1])
    client.post("DeleteVectors", {"keys": ["a"]})
    assert client.service.calls[1] == ("DeleteVectors", {"keys": ["a"]})


def test_tags_take_the_arn_from_the_path_and_keys_from_the_query():
    client = Client()
    arn = "arn:aws:s3vectors:us-east-1:000000000000:bucket/b"
    client.signed("POST", f"/tags/{ARN}", b'{"tags":{"a":"b"},"resourceArn":"other"}')
    client.signed("DELETE", f"/tags/{ARN}?tagKeys=a%20b&tagKeys=c%2Bd")
    client.signed("DELETE", f"/tags/{ARN}")
    client.signed("GET", f"/tags/{ARN}")
    assert client.service.calls == [
        ("TagResource", {"tags": {"a": "b"}, "resourceArn": arn}),
        ("UntagResource", {"resourceArn": arn, "tagKeys": ["a b", "c+d"]}),
        ("UntagResource", {"resourceArn": arn}),
        ("ListTagsForResource", {"resourceArn": arn}),
    ]


def test_the_prefix_is_an_alias():
    client = Client()
    assert client.signed("POST", "/s3-vectors/ListVectorBuckets", b"{}").status == 200
    assert client.service.calls == [("ListVectorBuckets", {})]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":1,"a":2}', b'{"a":"\\ud800"}'])
def test_unacceptable_json_never_reaches_the_service(body):
    client = Client()
    result = client.post("ListVectorBuckets", body)
    assert result.error == (400, "SerializationException")
    assert client.service.calls == []


# ---- the door


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_route_asks_for_a_signature(name):
    client, operation = Client(), OPERATIONS[name]
    result = client.send(operation.method, target(name), b"{}")
    assert result.error == (403, "MissingAuthenticationTokenException")
    forged = signed_headers(operation.method, target(name), b"{}", secret="not the secret at all")
    result = client.send(operation.method, target(name), b"{}", list(forged.items()))
    assert result.error == (403, "InvalidSignatureException")
    assert client.service.calls == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_route_answers_a_signed_request(name):
    client = Client()
    result = client.signed(OPERATIONS[name].method, target(name), b"{}")
    assert result.status == 200
    assert [call[0] for call in client.service.calls] == [name]


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/Nothing", 404), ("GET", "/QueryVectors", 405)])
def test_unknown_paths_answer_alike_with_and_without_a_signature(method, path, status):
    client = Client()
    anonymous, known = client.send(method, path, b"{}"), client.signed(method, path, b"{}")
    assert (anonymous.status, anonymous.body) == (known.status, known.body)
    assert anonymous.status == status


def test_the_signature_is_judged_before_the_json():
    forged = signed_headers("POST", "/QueryVectors", b"{", secret="not the secret at all")
    assert Client().send("POST", "/QueryVectors", b"{", list(forged.items())).status == 403


def test_a_stranger_never_gets_its_body_kept(monkeypatch):
    def never(*_):
        raise AssertionError("the body of a stranger was kept")

    monkeypatch.setattr("quiver.server.app.read_body", never)
    client = Client()
    headers = signed_headers("POST", "/QueryVectors", b"{}", key="QKUNKNOWN")
    result = client.send("POST", "/QueryVectors", b"{}", list(headers.items()))
    assert result.error == (403, "UnrecognizedClientException")
    stale = Client(now=0.0)
    assert stale.post("QueryVectors", {}).error == (403, "InvalidSignatureException")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Host", "a/b")], 400),
        ([("Host", "a"), ("Host", "b")], 400),
        ([("Host", "a"), ("Content-Length", "20971521")], 400),
        ([("Host", "a"), ("Content-Length", "2"), ("Transfer-Encoding", "chunked")], 400),
        ([("Host", "a"), ("X-Long", "x" * 20_000)], 431),
    ],
)
def test_broken_heads_are_refused_first_and_end_the_connection(headers, status):
    result = Client().send("POST", "/Nothing", b"{}", headers)
    assert result.status == status
    assert result.headers["connection"] == "close"
    assert result.json["message"]


def test_a_chunked_body_is_accepted_when_its_signature_holds():
    client, body = Client(), b'{"topK":1}'
    headers = [*signed_headers("POST", "/QueryVectors", body).items(), ("Transfer-Encoding", "chunked")]
    result = asyncio.run(client.exchange("POST", "/QueryVectors", [body[:4], body[4:]], headers))
    assert result.status == 200
    assert client.service.calls == [("QueryVectors", {"topK": 1})]


def test_a_body_cut_short_commits_nothing():
    client, body = Client(), b'{"vectors":[]}'
    headers = [*signed_headers("POST", "/PutVectors", body).items(), ("Content-Length", "14")]
    result = asyncio.run(client.exchange("POST", "/PutVectors", [body[:7]], headers, end=False))
    assert result.status == 400
    assert client.service.calls == []


# ---- health


def test_health_needs_no_signature_and_tells_readiness():
    client = Client()
    assert (client.send("GET", "/health").status, client.send("GET", "/health").body) == (200, b'{"status":"ok"}')
    client.app._service = None
    assert client.send("GET", "/health").error == (503, "ServiceUnavailableException")
    assert client.post("QueryVectors", {}).status == 503


def lifespan(app, *types: str) -> list[str]:
    messages, answers = [{"type": kind} for kind in types], []

    async def receive():
        return messages.pop(0)

    async def send(message):
        answers.append(message["type"])

    asyncio.run(app({"type": "lifespan"}, receive, send))
    return answers


def test_the_service_is_opened_and_closed_with_the_server():
    service = FakeService()
    answers = lifespan(make_app(service), "lifespan.startup", "lifespan.shutdown")
    assert answers == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert service.closed


def test_a_service_that_does_not_open_stops_the_server():
    app = make_app(FakeService())

    async def fail():
        raise OSError("no such directory")

    app._open_service = fail
    assert lifespan(app, "lifespan.startup") == ["lifespan.startup.failed"]


# ---- what is left behind


def test_one_log_line_a_request_with_nothing_private():
    client = Client()
    metadata = {"private": "content"}
    record = {"key": "the-key", "data": {"float32": [0.123456]}, "metadata": metadata}
    result = client.post("PutVectors", {"vectors": [record]})
    (line,) = (json.loads(text) for text in client.log.getvalue().splitlines())
    assert line["request_id"] == result.headers["x-amzn-requestid"]
    assert (line["operation"], line["status"], line["code"], line["key_id"]) == ("PutVectors", 200, "OK", KEY)
    assert line["received"] > 0
    for private in (SECRET, "private", "content", "the-key", "0.123456", "Signature"):
        assert private not in client.log.getvalue()


def test_a_strangers_bytes_do_not_reach_the_log():
    client = Client()
    client.send("POST", "/%0aevil\n", b"{}", [("Host", "localhost"), ("User-Agent", "evil")])
    assert "evil" not in client.log.getvalue()


def test_requests_are_counted_by_operation_and_code():
    client = Client()
    client.post("QueryVectors", {})
    client.post("QueryVectors", {"vectorBucketName": "missing"})
    client.send("POST", "/made-up-by-a-client")
    value = client.app.metrics.registry.get_sample_value
    assert value("quiver_requests_total", {"operation": "QueryVectors", "code": "OK"}) == 1
    assert value("quiver_requests_total", {"operation": "QueryVectors", "code": "NotFoundException"}) == 1
    unknown = {"operation": "Unknown", "code": "UnknownOperationException"}
    assert value("quiver_requests_total", unknown) == 1
    assert value("quiver_request_duration_seconds_count", {"operation": "QueryVectors"}) == 2
    assert value("quiver_request_body_bytes_sum", {"operation": "QueryVectors"}) == 2 + 30
    assert value("quiver_requests_in_flight") == 0
    assert value("quiver_admitted_bytes") == 0


# ---- memory


def crowd(client: Client, bodies: int, size: int, slow: float) -> tuple[list[int], int]:
    """Statuses of simultaneous signed bodies of `size` bytes, and the most memory admitted."""
    pad = " " * (size - 40)
    body = orjson.dumps({"vectorBucketName": f"slow{slow}"}) + pad.encode()
    headers = list(signed_headers("POST", "/DeleteVectors", body).items())
    highest = 0

    async def run() -> list[int]:
        nonlocal highest
        tasks = [
            asyncio.create_task(client.exchange("POST", "/DeleteVectors", [body], headers)) for _ in range(bodies)
        ]
        while not all(task.done() for task in tasks):
            highest = max(highest, client.app._admission.held)
            await asyncio.sleep(0.002)
        return [task.result().status for task in tasks]

    return asyncio.run(run()), highest


def test_many_bodies_at_once_wait_for_their_share_of_memory():
    limits = ServerLimits(admission_bytes=1_000_000)
    statuses, highest = crowd(Client(limits), 20, 100_000, 0.01)
    assert statuses == [200] * 20
    assert 200_000 <= highest <= 1_000_000


def test_who_waits_too_long_is_told_to_come_back():
    limits = dataclasses.replace(ServerLimits(), admission_bytes=200_000, admission_seconds=0.05)
    statuses, _ = crowd(Client(limits), 3, 100_000, 0.3)
    assert sorted(statuses) == [200, 503, 503]


def test_a_chunked_body_reserves_for_the_largest():
    client, body = Client(), b'{"vectorBucketName":"slow0.05"}'
    headers = [*signed_headers("POST", "/DeleteVectors", body).items(), ("Transfer-Encoding", "chunked")]

    async def run() -> int:
        task = asyncio.create_task(client.exchange("POST", "/DeleteVectors", [body], headers))
        while not (held := client.app._admission.held) and not task.done():
            await asyncio.sleep(0.001)
        assert (await task).status == 200
        return held

    assert asyncio.run(run()) == 2 * 20_971_520
    assert client.app._admission.held == 0
