"""Signatures that AWS publishes: the examples of its documentation and well-known cases of its test suite.

Each is a request and its signature; a wrong canonical form cannot meet the signature by chance. The
whole suite runs where a checkout of it is named by QUIVER_SIGV4_SUITE (test_sigv4.py).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import pytest

from quiver.server.sigv4 import RequestParts, canonical_request, derive_key, sign, string_to_sign

SECRET = b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
DAY, REGION = "20150830", "us-east-1"
TIME = f"{DAY}T123600Z"
PLAIN = {"host": "example.amazonaws.com", "x-amz-date": TIME}
FORM = {"content-type": "application/x-www-form-urlencoded", **PLAIN}


class Published(NamedTuple):
    name: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    signature: str
    service: str = "service"


CASES = [
    Published(
        "get-vanilla",
        "GET",
        "/",
        "",
        PLAIN,
        b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    Published(
        "post-vanilla",
        "POST",
        "/",
        "",
        PLAIN,
        b"",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    Published(
        "get-vanilla-query-order-key-case",
        "GET",
        "/",
        "Param2=value2&Param1=value1",
        PLAIN,
        b"",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    Published(
        "get-vanilla-empty-query-key",
        "GET",
        "/",
        "Param1=value1",
        PLAIN,
        b"",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    Published(
        "get-unreserved",
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "",
        PLAIN,
        b"",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    Published(
        "get-vanilla-utf8-query",
        "GET",
        "/",
        "%E1%88%B4=bar",
        PLAIN,
        b"",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    Published(
        "get-slash",
        "GET",
        "//",
        "",
        PLAIN,
        b"",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    Published(
        "post-x-www-form-urlencoded",
        "POST",
        "/",
        "",
        FORM,
        b"Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    Published(
        "get-header-value-trim",
        "GET",
        "/",
        "",
        {"host": PLAIN["host"], "my-header1": "value1", "my-header2": '"a   b   c"', "x-amz-date": TIME},
        b"",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    Published(
        "documentation example",
        "GET",
        "/",
        "Action=ListUsers&Version=2010-05-08",
        {
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "host": "iam.amazonaws.com",
            "x-amz-date": TIME,
        },
        b"",
        "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        "iam",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_published_signature_is_reproduced(case: Published) -> None:
    headers = [(name.encode(), value.encode()) for name, value in case.headers.items()]
    parts = RequestParts(case.method, case.path.encode(), case.query.encode(), headers)
    canonical = canonical_request(parts, sorted(case.headers), hashlib.sha256(case.body).hexdigest())
    text = string_to_sign(TIME, f"{DAY}/{REGION}/{case.service}/aws4_request", canonical)
    assert sign(derive_key(SECRET, DAY, REGION, case.service), text).hex() == case.signature


def test_the_published_signing_key_is_derived() -> None:
    assert derive_key(SECRET, DAY, REGION, "iam").hex() == (
        "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    )
