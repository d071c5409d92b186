"""A small S3 in memory: put if absent, ranges, LIST v2 and deletions, as the product's client sends them.

Each request is applied at one instant, so conditions hold; `Last-Modified` is by a clock of the store's own.
"""

from __future__ import annotations

import hashlib
import html
import re
import time
from bisect import bisect_left, bisect_right, insort
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = 1000
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    404: "Not Found",
    409: "Conflict",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Slow Down",
}


class Request(NamedTuple):
    """One request with its body; names of headers are lower case."""

    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def conditional(self) -> bool:
        """Whether it creates a key that must be absent."""
        return self.method == "PUT" and self.headers.get("if-none-match") == "*"


class Answer(NamedTuple):
    """A status, headers and a body."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}

    def encode(self) -> bytes:
        """As it goes over the wire."""
        lines = [f"HTTP/1.1 {self.status} {REASONS[self.status]}", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Stored(NamedTuple):
    """An object."""

    body: bytes
    modified: float
    tag: str


def parse_head(head: bytes) -> tuple[Request, int]:
    """A request without its body, and how many bytes that has. Raises ValueError."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = urlsplit(target)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True)) if parts.query else {}
    return Request(method, bucket, key, query, headers), int(headers.get("content-length", 0))


def error(status: int, code: str) -> Answer:
    """An answer that is an error."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


class SmallS3:
    """All buckets; each exists from the beginning.

    Args:
        clock_offset: seconds by which the store's clock is ahead of the machine's.
    """

    def __init__(self, clock_offset: float = 0.0) -> None:
        self._offset = clock_offset
        self._objects: dict[tuple[str, str], Stored] = {}
        self._keys: dict[str, list[str]] = {}

    def apply(self, request: Request) -> Answer:
        """Do what is asked for, at once."""
        if request.key:
            work = {"PUT": self._put, "GET": self._get, "DELETE": self._delete}.get(request.method)
        elif request.method == "GET" and request.query.get("list-type") == "2":
            work = self._list
        else:
            work = self._delete_all if request.method == "POST" and "delete" in request.query else None
        return work(request) if work else error(501, "NotImplemented")

    def keys(self, bucket: str) -> list[str]:
        """All keys of a bucket, in order."""
        return list(self._keys.get(bucket, ()))

    def _put(self, request: Request) -> Answer:
        name = request.bucket, request.key
        taken = name in self._objects
        if taken and request.conditional:
            return error(412, "PreconditionFailed")
        tag = f'"{hashlib.md5(request.body, usedforsecurity=False).hexdigest()}"'
        self._objects[name] = Stored(request.body, time.time() + self._offset, tag)
        if not taken:
            insort(self._keys.setdefault(request.bucket, []), request.key)
        return Answer(200, headers={"ETag": tag})

    def _get(self, request: Request) -> Answer:
        found = self._objects.get((request.bucket, request.key))
        if found is None:
            return error(404, "NoSuchKey")
        modified = formatdate(found.modified, usegmt=True)
        headers = {"ETag": found.tag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
        asked = RANGE.fullmatch(request.headers.get("range", ""))
        if asked is None:
            return Answer(200, found.body, headers)
        size = len(found.body)
        start, end = int(asked[1]), min(size, int(asked[2]) + 1) if asked[2] else size
        if start >= end:
            return error(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return Answer(206, found.body[start:end], headers)

    def _delete(self, request: Request) -> Answer:
        self._remove(request.bucket, request.key)
        return Answer(204)

    def _delete_all(self, request: Request) -> Answer:
        keys = re.findall(r"<Key>(.*?)</Key>", request.body.decode())
        for key in keys:
            self._remove(request.bucket, html.unescape(key))
        return _xml("DeleteResult", "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys))

    def _remove(self, bucket: str, key: str) -> None:
        if self._objects.pop((bucket, key), None) is not None:
            keys = self._keys[bucket]
            del keys[bisect_left(keys, key)]

    def _list(self, request: Request) -> Answer:
        query = request.query
        if "delimiter" in query:
            return error(501, "NotImplemented")
        prefix, keys = query.get("prefix", ""), self._keys.get(request.bucket, [])
        after = query.get("continuation-token") or query.get("start-after", "")
        first = max(bisect_left(keys, prefix), bisect_right(keys, after))
        limit = min(PAGE, int(query.get("max-keys", PAGE)))
        page = [key for key in keys[first : first + limit + 1] if key.startswith(prefix)]
        shown, truncated = page[:limit], len(page) > limit
        entries = "".join(self._entry(request.bucket, key, query.get("encoding-type")) for key in shown)
        more = f"<NextContinuationToken>{html.escape(shown[-1])}</NextContinuationToken>" if truncated else ""
        told = f"<IsTruncated>{str(truncated).lower()}</IsTruncated><KeyCount>{len(shown)}</KeyCount>"
        return _xml("ListBucketResult", told + more + entries)

    def _entry(self, bucket: str, key: str, encoding: str | None) -> str:
        stored = self._objects[bucket, key]
        modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(stored.modified))
        name = quote(key) if encoding == "url" else html.escape(key)
        return (
            f"<Contents><Key>{name}</Key><LastModified>{modified}</LastModified>"
            f"<ETag>{html.escape(stored.tag)}</ETag><Size>{len(stored.body)}</Size></Contents>"
        )


def _xml(name: str, inner: str) -> Answer:
    return Answer(200, f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}</{name}>'.encode())
