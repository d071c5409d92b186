"""The bad-input catalogue against the assembled server: exact statuses and codes, and nothing stored."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from api.raw import HOST, KEY, Answer, Raw, request_bytes
from api.workbench import Workbench, bucket_arn, fresh_name, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.processes import Server

SERIALIZATION, VALIDATION = (400, "SerializationException"), (400, "ValidationException")
INCOMPLETE, SIGNATURE = (403, "IncompleteSignatureException"), (403, "InvalidSignatureException")
MIB = 2**20


@pytest.fixture(scope="module")
def raw(local_server: Server) -> Iterator[Raw]:
    with Raw(local_server.port) as raw:
        yield raw


@pytest.fixture(scope="module")
def index(local_client: Any) -> Iterator[dict[str, str]]:
    """An index with one vector, which every test of this file leaves as it is."""
    bench = Workbench(local_client)
    names = bench.filled(record("a", [1, 2], {"n": 1}))
    yield names
    found = local_client.list_vectors(**names, returnData=True, returnMetadata=True)["vectors"]
    assert found == [record("a", [1, 2], {"n": 1})]


def outcome(answer: Answer) -> tuple[int, str]:
    """Status and code of an answer that clients can read."""
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json["message"], str)
    assert answer.headers["x-amzn-requestid"]
    return answer.status, answer.code


def put_body(names: dict[str, str], vector: str = "[3,4]", metadata: str = "{}", key: str = '"a"') -> bytes:
    """A PutVectors request as text, to have spellings that no encoder writes."""
    row = f'{{"key":{key},"data":{{"float32":{vector}}},"metadata":{metadata}}}'
    members = "".join(f'"{name}":"{value}",' for name, value in names.items())
    return f'{{{members}"vectors":[{row}]}}'.encode("utf-8", "surrogatepass")


class TestHttp:
    """Framing and heads; the same rows on a fake service, with time limits, are in tests/server/test_serve.py."""

    @pytest.mark.parametrize(
        "lines",
        [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length : 5\r\n",
            "X-A: b\r\n c\r\n",
            "X-A: b\rc\r\n",
            "Host: other\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
        ],
    )
    def test_broken_framing_ends_the_connection(self, raw: Raw, lines: str) -> None:
        answer = raw.bytes(f"POST /QueryVectors HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n0\r\n\r\n".encode())
        assert answer is not None
        assert (answer.status, answer.closed) == (400, True)

    def test_two_kinds_of_length_end_the_connection_and_hide_no_second_request(self, raw: Raw) -> None:
        head = (
            f"POST /QueryVectors HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
        )
        answer = raw.bytes(f"{head}\r\n0\r\n\r\nGET /health HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert answer is not None
        # Not 400: the HTTP parser drops Content-Length, as RFC 9112 section 6.1 allows (docs/decisions/0003).
        assert (outcome(answer), answer.closed) == ((403, "MissingAuthenticationTokenException"), True)
        assert b"HTTP/1.1" not in answer.body

    @pytest.mark.parametrize("host", ["a/b", "a?b", "a#b", "a@b", "a b", ""])
    def test_impossible_hosts(self, raw: Raw, host: str) -> None:
        answer = raw.bytes(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert answer is not None
        assert (answer.status, answer.closed) == (400, True)

    def test_oversized_heads(self, raw: Raw) -> None:
        def status(target: str, *lines: tuple[str, str]) -> int:
            answer = raw.bytes(request_bytes("POST", target, [("Host", HOST), *lines]))
            assert answer is not None
            assert answer.closed
            return answer.status

        assert status("/" + "a" * 9000) == 414
        assert status("/QueryVectors", ("X-A", "a" * 17_000)) == 431
        assert status("/QueryVectors", *((f"X-{n}", "a") for n in range(101))) == 431

    def test_a_body_over_20_mib_is_refused_before_it_is_sent(self, raw: Raw) -> None:
        headers = [*raw.signed("POST", "/PutVectors", b"")[:-1], ("Content-Length", str(20 * MIB + 1))]
        answer = raw.bytes(request_bytes("POST", "/PutVectors", headers))
        assert answer is not None
        assert (outcome(answer), answer.closed) == (VALIDATION, True)
        assert answer.json["message"] == "Request body exceeds max allowed size"

    def test_a_request_of_exactly_20_mib_is_read(self, raw: Raw, index: dict[str, str]) -> None:
        body = json.dumps(index | {"keys": ["a"]}).encode()
        assert raw.post("GetVectors", body + b" " * (20 * MIB - len(body))).json == {"vectors": [{"key": "a"}]}

    def test_no_body_is_no_json(self, raw: Raw) -> None:
        headers = raw.signed("POST", "/ListVectorBuckets", b"")[:-1]
        assert outcome(raw.send("POST", "/ListVectorBuckets", b"", headers)) == SERIALIZATION

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "aws-chunked"])
    def test_encoded_bodies(self, raw: Raw, encoding: str) -> None:
        answer = raw.post("ListVectorBuckets", {}, {"Content-Encoding": encoding})
        assert outcome(answer) == (415, "UnsupportedMediaTypeException")

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
    def test_other_content_types(self, raw: Raw, kind: str) -> None:
        answer = raw.post("ListVectorBuckets", {}, {"Content-Type": kind})
        assert outcome(answer) == (415, "UnsupportedMediaTypeException")

    @pytest.mark.parametrize(
        "headers", [{}, {"Content-Type": "application/x-amz-json-1.1"}, {"Content-Encoding": "identity"}]
    )
    def test_lenient_content_types(self, raw: Raw, headers: dict[str, str]) -> None:
        assert raw.post("ListVectorBuckets", {"maxResults": 1}, headers).status == 200

    @pytest.mark.parametrize(
        "target", ["/", "/Unknown", "/queryvectors", "/QueryVectors/", "/../health", "/tags", "/stats"]
    )
    def test_unknown_paths_with_and_without_credentials(self, raw: Raw, target: str) -> None:
        expected = (404, "UnknownOperationException")
        assert outcome(raw.send("POST", target, b"{}", raw.signed("POST", target, b"{}"))) == expected
        assert outcome(raw.send("POST", target, b"{}", [("Host", HOST), ("Content-Length", "2")])) == expected

    @pytest.mark.parametrize(
        ("method", "target"), [("GET", "/QueryVectors"), ("PUT", "/PutVectors"), ("PATCH", "/tags/x")]
    )
    def test_wrong_methods(self, raw: Raw, method: str, target: str) -> None:
        for headers in (raw.signed(method, target, b""), [("Host", HOST)]):
            assert outcome(raw.send(method, target, b"", headers)) == (405, "MethodNotAllowedException")

    def test_the_connection_outlives_refusals_of_the_kind_of_body(self, local_server: Server) -> None:
        with Raw(local_server.port) as raw:
            for turn in range(200):
                headers = {"Content-Encoding": "gzip"} if turn % 2 else {"Content-Type": "text/plain"}
                assert raw.post("ListVectorBuckets", {"prefix": "x" * 5000}, headers).status == 415
                assert raw.send("GET", "/health", b"{}", [("Host", HOST), ("Content-Length", "2")]).status == 200
            assert raw.connections == 1

    def test_a_body_cut_short_commits_nothing(self, raw: Raw, index: dict[str, str]) -> None:
        body = put_body(index)
        request = request_bytes("POST", "/PutVectors", raw.signed("POST", "/PutVectors", body), body)
        answer = raw.bytes(request[:-1], finish=True)
        assert answer is None or answer.status == 400


class TestCredentials:
    """Who may call. Every row is a ListVectorBuckets or a PutVectors that would succeed if it were signed well."""

    def _list(self, raw: Raw, **changes: str | None) -> tuple[int, str]:
        """The outcome of a signed request some of whose header lines were changed or left out after signing."""
        lines = dict(raw.signed("POST", "/ListVectorBuckets", b"{}"))
        lines.update({name.replace("_", "-"): value for name, value in changes.items() if value is not None})
        for name, value in changes.items():
            if value is None:
                del lines[name.replace("_", "-")]
        return outcome(raw.send("POST", "/ListVectorBuckets", b"{}", list(lines.items())))

    def test_no_credentials(self, raw: Raw) -> None:
        assert self._list(raw, Authorization=None) == (403, "MissingAuthenticationTokenException")

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "Basic abc",
            "AWS AKID:signature",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host",
            "AWS4-ECDSA-P256-SHA256 Credential=a/20260101/s3vectors/aws4_request, SignedHeaders=host, "
            "Signature=00",
            f"AWS4-HMAC-SHA256 Credential={KEY}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
            f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3vectors/aws4_request, "
            f"SignedHeaders=host;x-amz-date, Signature={'g' * 64}",
        ],
    )
    def test_malformed_authorization(self, raw: Raw, value: str) -> None:
        expected = {INCOMPLETE, (403, "MissingAuthenticationTokenException")} if value == "" else {INCOMPLETE}
        assert self._list(raw, Authorization=value) in expected

    def test_credentials_come_once_and_in_the_header(self, raw: Raw) -> None:
        lines = raw.signed("POST", "/ListVectorBuckets", b"{}")
        twice = [*lines, next(line for line in lines if line[0] == "Authorization")]
        assert outcome(raw.send("POST", "/ListVectorBuckets", b"{}", twice)) == INCOMPLETE
        target = "/ListVectorBuckets?X-Amz-Signature=00"
        assert outcome(raw.send("POST", target, b"{}", raw.signed("POST", target, b"{}"))) == INCOMPLETE

    def test_unknown_key_and_wrong_secret(self, raw: Raw) -> None:
        unknown = raw.post("ListVectorBuckets", {}, key="QKUNKNOWN")
        assert outcome(unknown) == (403, "UnrecognizedClientException")
        assert outcome(raw.post("ListVectorBuckets", {}, secret="another-secret-altogether")) == SIGNATURE

    @pytest.mark.parametrize("signer", [{"region": "eu-west-1"}, {"service": "s3"}, {"service": "s3tables"}])
    def test_another_scope(self, raw: Raw, signer: dict[str, str]) -> None:
        assert outcome(raw.post("ListVectorBuckets", {}, **signer)) == SIGNATURE

    def test_a_date_that_does_not_fit(self, raw: Raw) -> None:
        for offset in (-86_400, -960, 960):
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + offset))
            assert self._list(raw, X_Amz_Date=stamp) == SIGNATURE
        assert self._list(raw, X_Amz_Date="yesterday") == INCOMPLETE
        assert self._list(raw, X_Amz_Date=None)[0] == 403

    def test_headers_that_are_not_signed(self, raw: Raw) -> None:
        assert self._list(raw, X_Amz_Meta_Owner="me") == (403, "AccessDeniedException")
        lines = dict(raw.signed("POST", "/ListVectorBuckets", b"{}"))
        for missing in ("host;", "x-amz-date"):
            value = lines["Authorization"].replace(missing, "")
            assert self._list(raw, Authorization=value.replace(";,", ","))[0] == 403

    @pytest.mark.parametrize("declared", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64])
    def test_another_body_hash(self, raw: Raw, declared: str) -> None:
        headers = {"X-Amz-Content-SHA256": declared}
        assert outcome(raw.post("ListVectorBuckets", {}, headers)) == SIGNATURE

    def test_the_right_body_hash(self, raw: Raw) -> None:
        digest = hashlib.sha256(b"{}").hexdigest()
        assert raw.post("ListVectorBuckets", {}, {"X-Amz-Content-SHA256": digest}).status == 200

    def test_a_session_token(self, raw: Raw) -> None:
        answer = raw.post("ListVectorBuckets", {}, {"X-Amz-Security-Token": "token"})
        assert outcome(answer) == (403, "ExpiredTokenException")

    def test_a_body_changed_after_signing(self, raw: Raw, index: dict[str, str]) -> None:
        body = put_body(index)
        lines = raw.signed("POST", "/PutVectors", body)
        changed = body.replace(b"[3,4]", b"[3,5]")
        assert outcome(raw.send("POST", "/PutVectors", changed, lines)) == SIGNATURE

    def test_who_may_not_call_learns_nothing(self, raw: Raw, index: dict[str, str]) -> None:
        known = raw.post("GetIndex", index, secret="another-secret-altogether")
        unknown = raw.post("GetIndex", index | {"indexName": "unknown"}, secret="another-secret-altogether")
        assert (known.status, known.body) == (unknown.status, unknown.body)


class TestJson:
    """Bodies that are not acceptable JSON, as the request and inside the metadata of a record."""

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b'{"maxResults":1}x',
            b'\xef\xbb\xbf{"maxResults":1}',
            '{"maxResults":1}'.encode("utf-16"),
            b'{"prefix":"\xff"}',
            b'{"prefix":"\xc0\xaf"}',
            b'{"prefix":"a\nb"}',
            b'{"maxResults":1,}',
            b'{"maxResults":01}',
            b'{"maxResults":1/*c*/}',
            b'{"maxResults":1,"maxResults":2}',
            b'{"prefix":"\\ud800"}',
            b'{"maxResults":NaN}',
            b'{"maxResults":1e999}',
            b'{"maxResults":' + b"9" * 5000 + b"}",
            b'{"maxResults":18446744073709551616}',
            b'{"x":' + b"[" * 35 + b"]" * 35 + b"}",
            b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
            b"[" * 200_000,
            b'{"x":[' + b"[]," * 200_000 + b"[]]}",
            b"[]",
            b"null",
            b"1",
            b'"text"',
        ],
        ids=lambda body: repr(body[:32]),
    )
    def test_requests(self, raw: Raw, body: bytes) -> None:
        assert outcome(raw.post("ListVectorBuckets", body)) == SERIALIZATION

    @pytest.mark.parametrize(
        "metadata",
        [
            '{"n":1,"n":2}',
            '{"n":NaN}',
            '{"n":1e999}',
            '{"n":01}',
            '{"n":"\\ud800"}',
            '{"n":"\udcff"}',
            '{"n":18446744073709551616}',
            '{"n":' + "9" * 5000 + "}",
            '{"n":' + "[" * 40 + "]" * 40 + "}",
        ],
        ids=lambda text: ascii(text[:24]),
    )
    def test_metadata(self, raw: Raw, index: dict[str, str], metadata: str) -> None:
        assert outcome(raw.post("PutVectors", put_body(index, metadata=metadata))) == SERIALIZATION

    def test_8_mib_of_empty_arrays_are_refused_early(self, raw: Raw, index: dict[str, str]) -> None:
        body = put_body(index, metadata='{"n":[' + "[]," * (8 * MIB // 3) + "[]]}")
        assert outcome(raw.post("PutVectors", body)) == SERIALIZATION

    def test_unknown_members_are_ignored(self, raw: Raw, index: dict[str, str]) -> None:
        answer = raw.post("GetVectors", index | {"keys": ["a"], "more": {"a": [None, 1e300]}})
        assert answer.json == {"vectors": [{"key": "a"}]}

    @pytest.mark.parametrize(
        ("operation", "change"),
        [
            ("GetVectors", {"keys": "a"}),
            ("GetVectors", {"keys": [1]}),
            ("GetVectors", {"keys": [None]}),
            ("GetVectors", {"keys": {"0": "a"}}),
            ("GetVectors", {"keys": ["a"], "returnData": "true"}),
            ("GetVectors", {"keys": ["a"], "returnData": 1}),
            ("GetVectors", {"keys": ["a"], "indexName": 5}),
            ("ListVectors", {"maxResults": "10"}),
            ("ListVectors", {"maxResults": True}),
            ("ListVectors", {"maxResults": 1.5}),
            ("ListVectors", {"nextToken": 1}),
            ("PutVectors", {"vectors": {}}),
            ("PutVectors", {"vectors": ["a"]}),
            ("PutVectors", {"vectors": [{"key": 1, "data": {"float32": [1, 2]}}]}),
            ("PutVectors", {"vectors": [{"key": "a", "data": [1, 2]}]}),
            ("PutVectors", {"vectors": [{"key": "a", "data": {}}]}),
            ("PutVectors", {"vectors": [{"key": "a", "data": {"float64": [1, 2]}}]}),
            ("PutVectors", {"vectors": [{"key": "a", "data": {"float32": "x"}}]}),
            ("QueryVectors", {"topK": "10", "queryVector": {"float32": [1, 2]}}),
            ("QueryVectors", {"topK": 1.5, "queryVector": {"float32": [1, 2]}}),
            ("QueryVectors", {"topK": True, "queryVector": {"float32": [1, 2]}}),
            ("QueryVectors", {"topK": 1, "queryVector": [1, 2]}),
        ],
    )
    def test_values_of_another_type(
        self, raw: Raw, index: dict[str, str], operation: str, change: dict[str, Any]
    ) -> None:
        assert outcome(raw.post(operation, index | change)) == SERIALIZATION


class TestVectors:
    """Components as text that no client writes."""

    @pytest.mark.parametrize(
        "vector", ["[[1,2]]", "[1,[2]]", '[1,"2"]', "[1,null]", "[1,true]", "[1,{}]", '["NaN ",1]']
    )
    def test_components_are_numbers(self, raw: Raw, index: dict[str, str], vector: str) -> None:
        answer = raw.post("PutVectors", put_body(index, vector))
        assert outcome(answer) == VALIDATION
        assert answer.json["fieldList"][0]["path"] == "vectors[0].data.float32"
        query = f'{{"topK":1,"queryVector":{{"float32":{vector}}},"indexName":"{index["indexName"]}",'
        answer = raw.post("QueryVectors", (query + f'"vectorBucketName":"{index["vectorBucketName"]}"}}').encode())
        assert outcome(answer) == VALIDATION
        assert answer.json["fieldList"][0]["path"] == "queryVector.float32"

    @pytest.mark.parametrize(
        "vector", ["[1,NaN]", "[1,Infinity]", "[1,1e999]", "[1,0x1]", "[1,+1]", "[1,.5]", "[1,]"]
    )
    def test_components_are_json(self, raw: Raw, index: dict[str, str], vector: str) -> None:
        assert outcome(raw.post("PutVectors", put_body(index, vector))) == SERIALIZATION

    @pytest.mark.parametrize("vector", ['[1,"NaN"]', '["-Infinity",1]', "[1,1e39]", "[1,-3.5e38]", "[1,1e300]"])
    def test_components_are_finite_in_float32(self, raw: Raw, index: dict[str, str], vector: str) -> None:
        answer = raw.post("PutVectors", put_body(index, vector))
        assert outcome(answer) == VALIDATION
        assert answer.json["message"] == "Invalid record for key 'a': vector contains NaNs or Infs"

    @pytest.mark.parametrize(
        ("metadata", "text"),
        [
            ('{"n":{"a":1}}', "Metadata values must be strings, numbers, booleans, or arrays"),
            ('{"n":[1,"a"]}', "Metadata array values must be strings or numbers"),
            ('{"n":9223372036854775808}', "Metadata numbers must be finite and integers must fit in 64 bits"),
            ("[]", "Metadata must be a JSON object"),
        ],
    )
    def test_metadata_outside_the_rules(self, raw: Raw, index: dict[str, str], metadata: str, text: str) -> None:
        answer = raw.post("PutVectors", put_body(index, metadata=metadata))
        assert outcome(answer) == VALIDATION
        assert answer.json == {
            "message": f"Invalid record for key 'a': {text}",
            "fieldList": [{"path": "vectors[0].metadata", "message": f"Invalid record for key 'a': {text}"}],
        }

    def test_integers_stay_exact_and_true_is_not_one(self, raw: Raw, local_client: Any) -> None:
        names = Workbench(local_client).index()
        for key, value in (
            ("big", "9007199254740993"),
            ("near", "9007199254740992"),
            ("true", "true"),
            ("one", "1.0"),
        ):
            assert (
                raw.post("PutVectors", put_body(names, metadata=f'{{"n":{value}}}', key=f'"{key}"')).status == 200
            )

        def found(condition: str) -> set[str]:
            members = json.dumps(names)[1:-1]
            body = f'{{{members},"topK":9,"queryVector":{{"float32":[1,1]}},"filter":{condition}}}'
            return {hit["key"] for hit in raw.post("QueryVectors", body.encode()).json["vectors"]}

        assert found('{"n":9007199254740993}') == {"big"}
        assert found('{"n":{"$gt":9007199254740992}}') == {"big"}
        assert found('{"n":1}') == {"one"}
        assert found('{"n":true}') == {"true"}

    def test_negative_zero_and_subnormals(self, raw: Raw, local_client: Any) -> None:
        names = Workbench(local_client).index(metric="cosine")
        assert raw.post("PutVectors", put_body(names, "[-0.0,1.4e-45]")).status == 200
        assert outcome(raw.post("PutVectors", put_body(names, "[-0.0,5e-324]"))) == VALIDATION
        answer = raw.post("GetVectors", names | {"keys": ["a"], "returnData": True})
        assert answer.json["vectors"][0]["data"]["float32"] == pytest.approx([0, 1.4e-45], rel=1e-1)


class TestPathsAndTokens:
    """What travels in the path, and tokens nobody issued."""

    @pytest.mark.parametrize("label", ["%", "%zz", "%ff", "a%2"])
    def test_labels_that_are_not_utf8(self, raw: Raw, label: str) -> None:
        target = f"/tags/{label}"
        assert outcome(raw.send("GET", target, b"", raw.signed("GET", target, b""))) == SERIALIZATION

    @pytest.mark.parametrize(
        ("arn", "expected"),
        [
            (bucket_arn("unknown-bucket"), (404, "NotFoundException")),
            (bucket_arn("..%2f..%2fetc"), VALIDATION),
            ("a" * 1012, VALIDATION),
            ("arn:aws:s3vectors:us-east-1:123456789012:bucket/abc", (403, "AccessDeniedException")),
            ("arn:aws:s3:::abc", VALIDATION),
        ],
    )
    def test_resources(self, raw: Raw, arn: str, expected: tuple[int, str]) -> None:
        target = "/tags/" + arn.replace(":", "%3A").replace("/", "%2F")
        assert outcome(raw.send("GET", target, b"", raw.signed("GET", target, b""))) == expected

    @pytest.mark.parametrize(
        "token", ["x", "AAAA", "====", "../..", "\u00e9", "A" * 2000, "gASVCg==", "-" * 32, "\x00" * 20]
    )
    @pytest.mark.parametrize("operation", ["ListVectorBuckets", "ListIndexes", "ListVectors", "QueryVectors"])
    def test_garbage_for_tokens(self, raw: Raw, index: dict[str, str], operation: str, token: str) -> None:
        members: dict[str, Any] = {
            "ListVectorBuckets": {},
            "ListIndexes": {"vectorBucketName": index["vectorBucketName"]},
            "ListVectors": index,
            "QueryVectors": index | {"topK": 200, "queryVector": {"float32": [1, 2]}},
        }[operation]
        answer = raw.post(operation, members | {"nextToken": token})
        assert outcome(answer) == VALIDATION
        if len(token) <= 512:
            assert answer.json["message"] == "Invalid page token"

    def test_a_token_of_a_megabyte(self, raw: Raw, index: dict[str, str]) -> None:
        assert outcome(raw.post("ListVectors", index | {"nextToken": "A" * MIB})) == VALIDATION

    def test_a_filter_of_10000_values(self, raw: Raw, index: dict[str, str]) -> None:
        query = index | {"topK": 1, "queryVector": {"float32": [1, 2]}}
        assert (
            outcome(raw.post("QueryVectors", query | {"filter": {"n": {"$in": list(range(10_000))}}}))
            == VALIDATION
        )

    def test_names_are_no_paths(self, raw: Raw) -> None:
        for name in ("../../etc", "..", "a/../b", "/etc/passwd", "abc\x00def", fresh_name() + "\n"):
            assert outcome(raw.post("CreateVectorBucket", {"vectorBucketName": name})) == VALIDATION


def test_the_server_is_still_well(raw: Raw, index: dict[str, str]) -> None:
    assert raw.post("GetVectors", index | {"keys": ["a"], "returnData": True}).json == {
        "vectors": [record("a", [1.0, 2.0])]
    }
    assert raw.send("GET", "/health", b"", [("Host", HOST)]).json == {"status": "ok"}
