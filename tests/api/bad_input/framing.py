"""Bad HTTP: framing, heads, sizes, kinds of body, paths."""

from __future__ import annotations

from api.bad_input.catalogue import BODY_SIZE, ENCODINGS, FRAMING, HEADS, HOSTS, NO_BODY, PATHS, TYPES
from api.bad_input.requests import (
    LIST,
    MIB,
    NO_CREDENTIALS,
    OK,
    Expected,
    broken,
    cut_off,
    declared,
    head,
    invalid,
    signed,
    unreadable,
    unsigned,
    wire,
)
from api.raw import HOST, request_bytes

TOO_LARGE = "Request body exceeds max allowed size"
UNKNOWN = Expected(404, "UnknownOperationException", "The requested operation does not exist")
NOT_ALLOWED = Expected(
    405, "MethodNotAllowedException", "The specified method is not allowed against this resource"
)
ENCODED = Expected(415, "UnsupportedMediaTypeException", "Content-Encoding is not supported")
OTHER_TYPE = Expected(415, "UnsupportedMediaTypeException", "Content-Type must be application/json")

HTTP = [
    head(FRAMING, "Content-Length: 5\r\nContent-Length: 6\r\n", cut_off(400)),
    head(FRAMING, "Content-Length : 5\r\n", cut_off(400)),
    head(FRAMING, "X-A: b\r\n c\r\n", cut_off(400)),
    head(FRAMING, "X-A: b\rc\r\n", cut_off(400)),
    head(FRAMING, "Transfer-Encoding: gzip, chunked\r\n", broken("The only Transfer-Encoding is chunked")),
    # Not 400: the HTTP parser drops Content-Length, as RFC 9112 section 6.1 allows (docs/decisions/0003).
    head(
        FRAMING,
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        NO_CREDENTIALS._replace(closed=True),
    ),
    head(HOSTS, "Host: other\r\n", broken("A request has exactly one valid Host header")),
    *(
        wire(
            HOSTS,
            f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
            broken("A request has exactly one valid Host header"),
        )
        for host in ("a/b", "a?b", "a#b", "a@b", "a b", "")
    ),
    wire(
        HEADS,
        request_bytes("POST", "/" + "a" * 9000, [("Host", HOST)]),
        Expected(414, "RequestUriTooLongException", "The request URI is too long", closed=True),
    ),
    wire(
        HEADS,
        request_bytes("POST", "/QueryVectors", [("Host", HOST), ("X-A", "a" * 17_000)]),
        Expected(431, "RequestHeaderFieldsTooLargeException", "The header block is too large", closed=True),
        "17,000 bytes",
    ),
    wire(
        HEADS,
        request_bytes("POST", "/QueryVectors", [("Host", HOST), *((f"X-{n}", "a") for n in range(101))]),
        cut_off(431),
        "102 headers",
    ),
    # Not 413: the text and the 400 are what AWS answers.
    declared(BODY_SIZE, 20 * MIB + 1, invalid(TOO_LARGE)._replace(closed=True)),
    wire(
        NO_BODY,
        request_bytes("POST", LIST, [("Host", HOST)]),
        NO_CREDENTIALS,
        "nothing after the head, unsigned",
    ),
    signed(NO_BODY, LIST, unreadable(), content=b""),
    *(
        signed(ENCODINGS, LIST, ENCODED, headers={"Content-Encoding": kind})
        for kind in ("gzip", "deflate", "br", "aws-chunked", "identity, gzip")
    ),
    signed(ENCODINGS, LIST, OK, headers={"Content-Encoding": "identity"}),
    *(
        signed(TYPES, LIST, OTHER_TYPE, headers={"Content-Type": kind})
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonp")
    ),
    *(
        signed(TYPES, LIST, OK, headers=headers)
        for headers in (
            {},
            {"Content-Type": "application/x-amz-json-1.1"},
            {"Content-Type": "application/json; charset=UTF-8"},
        )
    ),
    *(
        make(PATHS, *order, UNKNOWN)
        for target in ("/", "/Unknown", "/queryvectors", "/QueryVectors/", "/../health", "/tags", "/stats")
        for make, order in ((signed, (target,)), (unsigned, ("POST", target)))
    ),
    *(
        row
        for method, target in (("GET", "/QueryVectors"), ("PUT", "/PutVectors"), ("PATCH", "/tags/x"))
        for row in (
            signed(PATHS, target, NOT_ALLOWED, method, b""),
            unsigned(PATHS, method, target, NOT_ALLOWED),
        )
    ),
]
