"""The bad-input catalogue against the assembled server: exact answers, and nothing stored."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from api.bad_input.catalogue import ELSEWHERE, LINES
from api.bad_input.credentials import CREDENTIALS
from api.bad_input.decoding import DECODING
from api.bad_input.framing import HTTP
from api.bad_input.naming import NAMING
from api.bad_input.pages import PAGES, STATE
from api.bad_input.queries import QUERIES
from api.bad_input.records import METADATA, VECTORS
from api.bad_input.requests import MIB, Target, put_text
from api.raw import HOST, Raw, request_bytes
from api.workbench import Workbench, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.bad_input.requests import Row
    from cluster.processes import Server

ROWS = [*HTTP, *CREDENTIALS, *DECODING, *NAMING, *VECTORS, *METADATA, *QUERIES, *PAGES, *STATE]
REPOSITORY = Path(__file__).parents[2]
STORED = [record("a", [1, 2], {"n": 1})]


@pytest.fixture(scope="module")
def raw(local_server: Server) -> Iterator[Raw]:
    with Raw(local_server.port) as raw:
        yield raw


@pytest.fixture(scope="module")
def target(local_client: Any) -> Iterator[Target]:
    """Indexes with one vector each; two of them have to be as they were when all rows have been sent."""
    bench = Workbench(local_client)
    hidden = {"nonFilterableMetadataKeys": ["text"]}
    texts = {"textSearchConfigurations": [{"metadataKey": "body"}, {"metadataKey": "title", "language": "en"}]}
    scratch = bench.filled(*STORED, metric="cosine", metadataConfiguration=hidden)
    made = Target(bench.filled(*STORED), scratch, bench.filled(*STORED, metadataConfiguration=texts))
    before = [local_client.get_index(**names)["index"] for names in (made.index, made.texts)]
    yield made
    for names, index in zip((made.index, made.texts), before, strict=True):
        assert local_client.list_vectors(**names, returnData=True, returnMetadata=True)["vectors"] == STORED
        assert local_client.get_index(**names)["index"] == index
    assert len(local_client.list_indexes(**made.bucket)["indexes"]) == 3


def names_of(rows: list[Row]) -> list[str]:
    """A name for each row, all different."""
    seen: Counter[str] = Counter()
    names = []
    for row in rows:
        name = f"{row.line[:40]} | {row.label}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


@pytest.mark.parametrize("row", ROWS, ids=names_of(ROWS))
def test_the_answer_to(raw: Raw, target: Target, row: Row) -> None:
    answer = row.send(raw, target)
    expected = row.expected
    assert answer is not None
    assert (answer.status, answer.closed) == (expected.status, expected.closed), answer
    if not answer.body:  # the parser below the server has the last word on framing, and says nothing
        assert expected.message is None
        return
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-amzn-requestid"]
    assert answer.code == expected.code, answer
    if expected.status == 200:
        return
    message = answer.json["message"]
    if isinstance(expected.message, re.Pattern):
        assert expected.message.fullmatch(message), message
    else:
        assert message == expected.message
    fields = [field["path"] for field in answer.json.get("fieldList", ())]
    assert fields == ([] if expected.path is None else [expected.path])


def test_every_line_of_the_catalogue_has_its_rows_or_tests() -> None:
    assert {row.line for row in ROWS} | ELSEWHERE.keys() == set(LINES)
    for path, name in (test.split("::") for tests in ELSEWHERE.values() for test in tests):
        tree = ast.walk(ast.parse((REPOSITORY / path).read_text()))
        functions = {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, f"{path} has no {name}"


def test_two_kinds_of_length_hide_no_second_request(raw: Raw) -> None:
    head = f"POST /QueryVectors HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    answer = raw.bytes(f"{head}\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    assert answer is not None
    assert answer.closed
    assert b"HTTP/1.1" not in answer.body


def test_a_request_of_exactly_20_mib_is_read(raw: Raw, target: Target) -> None:
    body = json.dumps(target.index | {"keys": ["a"]}).encode()
    assert raw.post("GetVectors", body + b" " * (20 * MIB - len(body))).json == {"vectors": [{"key": "a"}]}


def test_the_connection_outlives_refusals_of_the_kind_of_body(local_server: Server) -> None:
    with Raw(local_server.port) as raw:
        for turn in range(200):
            headers = {"Content-Encoding": "gzip"} if turn % 2 else {"Content-Type": "text/plain"}
            assert raw.post("ListVectorBuckets", {"prefix": "x" * 5000}, headers).status == 415
            assert raw.send("GET", "/health", b"{}", [("Host", HOST), ("Content-Length", "2")]).status == 200
        assert raw.connections == 1


def put_body(names: dict[str, str], **spelled: str) -> bytes:
    return f"{{{json.dumps(names)[1:-1]},{put_text(**spelled)}}}".encode()


def test_a_body_cut_short_commits_nothing(raw: Raw, target: Target) -> None:
    body = put_body(target.index)
    request = request_bytes("POST", "/PutVectors", raw.signed("POST", "/PutVectors", body), body)
    answer = raw.bytes(request[:-1], finish=True)
    assert answer is None or answer.status == 400


def test_a_body_changed_after_signing_commits_nothing(raw: Raw, target: Target) -> None:
    body = put_body(target.index)
    lines = raw.signed("POST", "/PutVectors", body)
    answer = raw.send("POST", "/PutVectors", body.replace(b"[3,4]", b"[3,5]"), lines)
    assert (answer.status, answer.code) == (403, "InvalidSignatureException")


def test_who_may_not_call_learns_nothing(raw: Raw, target: Target) -> None:
    known = raw.post("GetIndex", target.index, secret="another-secret-altogether")
    unknown = raw.post("GetIndex", target.index | {"indexName": "unknown"}, secret="another-secret-altogether")
    assert known.status == 403
    assert (known.status, known.body) == (unknown.status, unknown.body)


def test_integers_stay_exact_and_true_is_not_one(raw: Raw, local_client: Any) -> None:
    names = Workbench(local_client).index()
    for key, value in (
        ("big", "9007199254740993"),
        ("near", "9007199254740992"),
        ("true", "true"),
        ("one", "1.0"),
    ):
        body = put_body(names, metadata=f'{{"n":{value}}}', key=f'"{key}"')
        assert raw.post("PutVectors", body).status == 200

    def found(condition: str) -> set[str]:
        members = json.dumps(names)[1:-1]
        body = f'{{{members},"topK":9,"queryVector":{{"float32":[1,1]}},"filter":{condition}}}'
        return {hit["key"] for hit in raw.post("QueryVectors", body.encode()).json["vectors"]}

    assert found('{"n":9007199254740993}') == {"big"}
    assert found('{"n":{"$gt":9007199254740992}}') == {"big"}
    assert found('{"n":1}') == {"one"}
    assert found('{"n":true}') == {"true"}


def test_subnormal_components_come_back_as_they_were_rounded(raw: Raw, local_client: Any) -> None:
    names = Workbench(local_client).index(metric="cosine")
    assert raw.post("PutVectors", put_body(names, vector="[-0.0,1.4e-45]")).status == 200
    answer = raw.post("GetVectors", names | {"keys": ["a"], "returnData": True})
    assert answer.json["vectors"][0]["data"]["float32"] == pytest.approx([0, 1.4e-45], rel=1e-1)


def test_the_server_is_still_well(raw: Raw, target: Target) -> None:
    answer = raw.post("GetVectors", target.index | {"keys": ["a"], "returnData": True})
    assert answer.json == {"vectors": [record("a", [1.0, 2.0])]}
    assert raw.send("GET", "/health", b"", [("Host", HOST)]).json == {"status": "ok"}
