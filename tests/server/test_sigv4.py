"""Signatures: what botocore signs is accepted, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import string
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from quiver.server.credentials import Credentials, Holder
from quiver.server.errors import Refusal
from quiver.server.sigv4 import (
    CACHED_KEYS,
    Authenticator,
    Principal,
    RequestParts,
    canonical_path,
    canonical_query,
    canonical_request,
    derive_key,
    sign,
    string_to_sign,
)
from quiver.service.policy.principals import Principal as Identity
from server.fakes import KEY, REGION, SECRET, signed_headers

NOW = datetime.now(UTC).timestamp()
SUITE = os.environ.get("QUIVER_SIGV4_SUITE", "")
SUITE_CASES = sorted(Path(SUITE).iterdir()) if SUITE else []


def authenticator(now: float | None = None, **options) -> Authenticator:
    clock = (lambda: datetime.now(UTC).timestamp()) if now is None else (lambda: now)
    return Authenticator(Credentials({KEY: SECRET}), REGION, clock, **options)


def parts_of(method: str, target: str, headers: dict[str, str]) -> RequestParts:
    path, _, query = target.encode("latin-1").partition(b"?")
    lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return RequestParts(method, path, query, lines)


def check(parts: RequestParts, body: bytes = b"", now: float | None = None) -> Principal:
    return authenticator(now).open(parts).verify(hashlib.sha256(body).hexdigest())


def refusal(parts: RequestParts, body: bytes = b"", now: float | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check(parts, body, now)
    assert caught.value.status == 403
    return caught.value


def signed(method="POST", target="/QueryVectors", body=b"{}", headers=None, **options) -> RequestParts:
    return parts_of(method, target, signed_headers(method, target, body, headers, **options))


def with_header(parts: RequestParts, name: str, *values: str) -> RequestParts:
    """The same request with the lines of one header replaced."""
    lines = [(n, v) for n, v in parts.headers if n != name.encode()]
    lines += [(name.encode(), value.encode("latin-1")) for value in values]
    return RequestParts(parts.method, parts.raw_path, parts.raw_query, lines)


def authorization(parts: RequestParts) -> str:
    return parts.values(b"authorization")[0].decode()


# ---- botocore as oracle

token = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12)
anything = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
header_value = st.text(string.ascii_letters + string.digits + " ,;=/\"'", max_size=24)
requests = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
        "segments": st.lists(anything, max_size=4),
        "query": st.lists(st.tuples(anything.filter(bool), anything), max_size=5),
        "headers": st.dictionaries(token.map(lambda t: "X-Amz-Meta-" + t), header_value, max_size=4),
        "body": st.binary(max_size=64),
    }
)


def sign_with_botocore(request) -> RequestParts:
    path = "/" + "/".join(quote(segment, safe="") for segment in request["segments"])
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in request["query"])
    return signed(request["method"], path + ("?" + query if query else ""), request["body"], request["headers"])


@given(requests)
@settings(deadline=None, max_examples=200)
def test_what_botocore_signs_is_accepted(request):
    assert check(sign_with_botocore(request), request["body"]) == Principal(KEY)


@given(requests, st.data())
@settings(deadline=None, max_examples=300)
def test_a_change_to_any_signed_part_is_refused(request, data):
    parts = sign_with_botocore(request)
    field = data.draw(st.sampled_from(["method", "path", "query", "header", "body", "signature", "credential"]))
    method, path, query, headers, body = (
        parts.method,
        parts.raw_path,
        parts.raw_query,
        list(parts.headers),
        request["body"],
    )
    if field == "method":
        method = "PATCH"
    elif field == "path":
        path += b"x"
    elif field == "query":
        query += b"&extra=1"
    elif field == "header":
        names = [i for i, (name, _) in enumerate(headers) if name == b"host" or name.startswith(b"x-amz-")]
        index = data.draw(st.sampled_from(names))
        headers[index] = (headers[index][0], headers[index][1] + b"1")
    elif field == "body":
        body += b" "
    else:
        index = next(i for i, (name, _) in enumerate(headers) if name == b"authorization")
        value = bytearray(headers[index][1])
        marker = b"Signature=" if field == "signature" else b"Credential="
        start = value.index(marker) + len(marker)
        position = data.draw(st.integers(start, start + (63 if field == "signature" else len(KEY) - 1)))
        value[position] ^= 1
        headers[index] = (b"authorization", bytes(value))
    refusal(RequestParts(method, path, query, headers), body)


def test_every_bit_of_the_signature_counts():
    parts = signed()
    text = authorization(parts)
    start = text.index("Signature=") + len("Signature=")
    signature = int(text[start:], 16)
    for bit in range(256):
        changed = with_header(parts, "authorization", f"{text[:start]}{signature ^ (1 << bit):064x}")
        assert refusal(changed, b"{}").code == "InvalidSignatureException"


def test_an_arn_in_the_path_is_encoded_twice():
    target = "/tags/arn%3Aaws%3As3vectors%3Aus-east-1%3A123456789012%3Abucket%2Fb"
    assert check(signed("GET", target, b""), b"") == Principal(KEY)
    assert canonical_path(b"/tags/a%3Ab%2Fc") == b"/tags/a%253Ab%252Fc"


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", b"/"),
        (b"/", b"/"),
        (b"//a///b", b"/a/b"),
        (b"/a/b/", b"/a/b/"),
        (b"/a/./b/../c", b"/a/c"),
        (b"/a/..", b"/"),
        (b"/../../a", b"/a"),
        (b"/\xe1\x88\xb4", b"/%E1%88%B4"),
        (b"/a b~-_.", b"/a%20b~-_."),
    ],
)
def test_canonical_paths(raw, canonical):
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"", b""),
        (b"b=2&a=1", b"a=1&b=2"),
        (b"a=2&a=1&a=1", b"a=1&a=1&a=2"),
        (b"a", b"a="),
        (b"a=b=c", b"a=b%3Dc"),
        (b"a=x+y&b=%20", b"a=x%2By&b=%20"),
        (b"%61=%7e&B=%2f", b"B=%2F&a=~"),
    ],
)
def test_canonical_queries(raw, canonical):
    assert canonical_query(raw) == canonical


def test_header_lines_are_joined_and_inner_white_space_is_collapsed():
    parts = RequestParts("GET", b"/", b"", [(b"a", b"  x   y "), (b"host", b"h"), (b"a", b"z")])
    assert b"\na:x y,z\nhost:h\n\na;host\n" in canonical_request(parts, ("a", "host"), "0" * 64)


@pytest.mark.skipif(not SUITE, reason="QUIVER_SIGV4_SUITE names no checkout of the AWS signing test suite")
@pytest.mark.parametrize("case", SUITE_CASES, ids=lambda case: case.name)
def test_the_aws_signing_test_suite(case):
    context = json.loads((case / "context.json").read_text())
    if not context["normalize"]:
        pytest.skip("paths are always normalised for this service")

    def read(name: str) -> bytes:
        return (case / f"header-{name}.txt").read_bytes().replace(b"\r\n", b"\n")

    head, _, body = read("signed-request").partition(b"\n\n")
    first, *lines = re.sub(rb"\n[ \t]+", b" ", head).split(b"\n")
    method, target = first.rsplit(b" HTTP", 1)[0].split(b" ", 1)
    path, _, query = target.partition(b"?")
    pairs = [line.partition(b":") for line in lines if line]
    parts = RequestParts(method.decode(), path, query, [(n.lower(), v.strip()) for n, _, v in pairs])
    names = re.search(r"SignedHeaders=([^,]+)", authorization(parts)).group(1).split(";")
    canonical = canonical_request(parts, names, hashlib.sha256(body).hexdigest())
    assert canonical == read("canonical-request")
    timestamp = parts.values(b"x-amz-date")[0].decode()
    scope = f"{timestamp[:8]}/{context['region']}/{context['service']}/aws4_request"
    assert string_to_sign(timestamp, scope, canonical).encode() == read("string-to-sign")
    secret = context["credentials"]["secret_access_key"].encode()
    key = derive_key(secret, timestamp[:8], context["region"], context["service"])
    signature = sign(key, string_to_sign(timestamp, scope, canonical)).hex()
    assert signature.encode() == read("signature").strip()


# ---- one place for credentials


def test_no_credentials():
    parts = parts_of("POST", "/QueryVectors", {"Host": "localhost"})
    assert refusal(parts).code == "MissingAuthenticationTokenException"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS AKID:signature",
        "Bearer token",
        "AWS4-ECDSA-P256-SHA256 Credential=a/20260101/us-east-1/s3vectors/aws4_request, SignedHeaders=host, "
        "Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
        "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=" + "0" * 64,
    ],
)
def test_a_malformed_authorization_header(value):
    assert refusal(with_header(signed(), "authorization", value), b"{}").code == "IncompleteSignatureException"


@pytest.mark.parametrize("signature", ["", "0" * 63, "0" * 65, "G" * 64, "é" * 64, " " + "0" * 63, "A" * 64])
def test_a_signature_that_is_not_64_lower_case_hexadecimal_digits(signature):
    parts = signed()
    text = re.sub("Signature=.*", "Signature=", authorization(parts)) + signature
    assert refusal(with_header(parts, "authorization", text), b"{}").code == "IncompleteSignatureException"


def test_two_authorization_headers_even_equal_ones():
    parts = signed()
    text = authorization(parts)
    assert refusal(with_header(parts, "authorization", text, text), b"{}").code == "IncompleteSignatureException"


@pytest.mark.parametrize(
    "name",
    [
        "X-Amz-Signature",
        "X-Amz-Credential",
        "x-amz-algorithm",
        "X-Amz-Security-Token",
        "AWSAccessKeyId",
        "X%2DAmz-Signature",
    ],
)
def test_credentials_in_the_query_are_refused_with_or_without_a_valid_header(name):
    target = f"/QueryVectors?{name}=x"
    assert refusal(signed(target=target), b"{}").code == "IncompleteSignatureException"
    parts = parts_of("POST", target, {"Host": "localhost"})
    assert refusal(parts).code == "IncompleteSignatureException"


# ---- who and what for


def test_an_unknown_key():
    parts = signed(key="QKUNKNOWN")
    assert refusal(parts, b"{}").code == "UnrecognizedClientException"


def test_an_unknown_key_costs_the_same_derivation(monkeypatch):
    derived = []
    monkeypatch.setattr(
        "quiver.server.sigv4.derive_key", lambda *arguments: derived.append(arguments) or bytes(32)
    )
    refusal(signed(key="QKUNKNOWN"), b"{}")
    refusal(signed(), b"{}")
    assert len(derived) == 2


def test_a_wrong_secret():
    error = refusal(signed(secret="something else entirely"), b"{}")
    assert error.code == "InvalidSignatureException"
    assert SECRET not in error.message


def test_another_region_or_service():
    assert refusal(signed(region="eu-west-1"), b"{}").code == "InvalidSignatureException"
    assert refusal(signed(service="s3"), b"{}").code == "InvalidSignatureException"


def test_a_terminator_of_its_own():
    parts = signed()
    text = authorization(parts).replace("aws4_request", "aws5_request")
    assert refusal(with_header(parts, "authorization", text), b"{}").code == "InvalidSignatureException"


def test_a_scope_of_another_day():
    parts = signed()
    day = parts.values(b"x-amz-date")[0][:8].decode()
    text = authorization(parts).replace(f"/{day}/", "/20200101/")
    assert refusal(with_header(parts, "authorization", text), b"{}").code == "InvalidSignatureException"


# ---- when


@pytest.mark.parametrize(("offset", "words"), [(903, "Signature expired"), (-903, "Signature not yet current")])
def test_a_clock_more_than_fifteen_minutes_off_is_told_the_servers_time(offset, words):
    parts = signed()
    now = datetime.now(UTC).timestamp() + offset
    error = refusal(parts, b"{}", now)
    assert error.code == "InvalidSignatureException"
    assert words in error.message
    assert datetime.fromtimestamp(now, UTC).strftime("(%Y%m%dT%H%M%SZ") in error.message


@pytest.mark.parametrize("offset", [890, -890])
def test_a_clock_within_fifteen_minutes_is_accepted(offset):
    assert check(signed(), b"{}", datetime.now(UTC).timestamp() + offset) == Principal(KEY)


@pytest.mark.parametrize(
    "values", [(), ("20260101T000000Z", "20260101T000000Z"), ("2026-01-01",), ("20269999T999999Z",), ("",)]
)
def test_a_date_missing_twice_or_malformed(values):
    assert refusal(with_header(signed(), "x-amz-date", *values), b"{}").status == 403


# ---- what is signed


@pytest.mark.parametrize("name", ["host", "x-amz-date"])
def test_host_and_date_must_be_signed(name):
    parts = signed()
    text = authorization(parts).replace(f"{name};", "").replace(f";{name}", "")
    error = refusal(with_header(parts, "authorization", text), b"{}")
    assert error.code == "AccessDeniedException"
    assert "not signed" in error.message


@pytest.mark.parametrize("name", ["x-amz-meta-a", "x-amz-security-token", "x-amz-content-sha256", "x-amz-"])
def test_an_unsigned_amazon_header(name):
    error = refusal(with_header(signed(), name, "x"), b"{}")
    assert error.code == "AccessDeniedException"
    assert "headers present in the request which were not signed" in error.message


@pytest.mark.parametrize("name", ["user-agent", "amz-sdk-request", "x-amzn-trace-id", "expect", "x-forwarded-for"])
def test_other_unsigned_headers_do_not_matter(name):
    assert check(with_header(signed(), name, "x"), b"{}") == Principal(KEY)


def test_signed_headers_must_be_sorted_and_present():
    parts = signed()
    text = authorization(parts)
    unsorted = text.replace("host;x-amz-date", "x-amz-date;host")
    assert refusal(with_header(parts, "authorization", unsorted), b"{}").code == "IncompleteSignatureException"
    absent = text.replace("SignedHeaders=host;", "SignedHeaders=absent;host;")
    assert refusal(with_header(parts, "authorization", absent), b"{}").code == "InvalidSignatureException"


@pytest.mark.parametrize("name", ["host", "x-amz-meta-a", "content-type"])
def test_a_header_that_must_be_single_is_refused_twice(name):
    parts = signed(headers={"x-amz-meta-a": "1", "Content-Type": "application/json"})
    value = parts.values(name.encode())[0].decode()
    assert refusal(with_header(parts, name, value, value), b"{}").code == "IncompleteSignatureException"


def test_a_declared_body_hash_must_be_the_hash_of_the_body():
    for body, accepted in ((b"{}", True), (b"{} ", False)):
        declared = hashlib.sha256(body).hexdigest()
        request = AWSRequest("POST", "http://localhost/QueryVectors", {"X-Amz-Content-SHA256": declared}, b"{}")
        SigV4Auth(BotoCredentials(KEY, SECRET), "s3vectors", REGION).add_auth(request)
        headers = {"Host": "localhost", **dict(request.headers.items()), "X-Amz-Content-SHA256": declared}
        parts = parts_of("POST", "/QueryVectors", headers)
        if accepted:
            assert check(parts, b"{}") == Principal(KEY)
        else:
            assert refusal(parts, b"{}").code == "InvalidSignatureException"


@pytest.mark.parametrize("declared", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""])
def test_bodies_that_are_not_signed_whole_are_refused(declared):
    parts = signed(headers={"X-Amz-Content-SHA256": declared})
    assert refusal(parts, b"{}").code == "InvalidSignatureException"


def test_a_session_token_is_refused():
    assert refusal(signed(headers={"X-Amz-Security-Token": "t"}), b"{}").code == "ExpiredTokenException"


def test_a_key_with_a_session_token_needs_it_in_every_request():
    holder = Holder(Identity("arn:aws:iam::000000000000:user/ann", "000000000000", "ann"), "the-token")
    judge = Authenticator(Credentials({KEY: SECRET}, {KEY: holder}), REGION, time.time)
    empty = hashlib.sha256(b"{}").hexdigest()
    carried = signed(headers={"X-Amz-Security-Token": "the-token"})
    assert judge.open(carried).verify(empty) == Principal(KEY, holder)
    for given_headers in ({}, {"X-Amz-Security-Token": "the-tokem"}, {"X-Amz-Security-Token": ""}):
        with pytest.raises(Refusal) as caught:
            judge.open(signed(headers=given_headers))
        assert (caught.value.status, caught.value.code) == (403, "UnrecognizedClientException")
    assert "the-token" not in f"{holder!r} {judge.open(carried)!r} {judge.open(carried).verify(empty)!r}"


# ---- keys in memory


def test_the_cache_of_signing_keys_is_bounded():
    judge = Authenticator(Credentials({f"K{n:04}": SECRET for n in range(600)}), REGION, time.time)
    for n in range(600):
        judge.open(signed(key=f"K{n:04}"))
    assert 0 < len(judge._keys) <= CACHED_KEYS


def test_neither_credentials_nor_claims_show_a_secret():
    credentials = Credentials({KEY: SECRET})
    claim = authenticator().open(signed())
    assert SECRET not in repr(credentials)
    assert SECRET not in repr(claim)
    assert claim._key.hex() not in repr(claim)
    assert repr(claim._key) not in repr(claim)
