"""A server with the part of S3 that Quiver and LanceDB use: over a folder, with simulated latency, and a log.

Started by `benchmarks.object_store`: python -m benchmarks.store_server FOLDER PORT. It listens on 127.0.0.1 and
checks no signature; the access key id tells its clients apart. Objects are read and written piece by piece, so
that they may be larger than memory. `/_log` and `/_latency` are for the benchmark.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import random
import re
import sys
import time
from contextlib import suppress
from email.utils import formatdate
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from benchmarks.request_log import Latency, Record
from benchmarks.store_files import Files, Info, Page, TakenError, tag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PIECE = 1 << 17
NINETY_NINTH = 2.3263478740408408  # of the standard normal distribution
CLIENT = re.compile(r"Credential=([^/]+)/")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
REASONS = {
    200: "OK",
    204: "No Content",
    206: "Partial Content",
    304: "Not Modified",
    400: "Bad Request",
    404: "Not Found",
    411: "Length Required",
    412: "Precondition Failed",
    416: "Range Not Satisfiable",
    501: "Not Implemented",
}


class Request(NamedTuple):
    """One request; names of headers are lower case, and `body` bytes follow."""

    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]
    body: int

    @property
    def client(self) -> str:
        """The access key id."""
        found = CLIENT.search(self.headers.get("authorization", ""))
        return found[1] if found else ""


class Answer(NamedTuple):
    """Status and headers, and what follows: `body`, or `length` bytes of `file` from `offset`."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    file: Path | None = None
    offset: int = 0
    length: int = 0


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
        self.answer = Answer(status, body.encode())


class Delays:
    """How long the first byte of each answer takes; the same sequence for the same seed."""

    def __init__(self, latency: Latency) -> None:
        self.rate = latency.rate
        self._line, self._passed = latency.line, 0.0
        self._median, self._p99 = latency.median, latency.p99
        self._random = random.Random(latency.seed)

    def draw(self) -> float:
        """Seconds."""
        if self._median in (0, self._p99):
            return self._median
        return self._random.lognormvariate(log(self._median), log(self._p99 / self._median) / NINETY_NINTH)

    def passed(self, due: float, nbytes: int) -> float:
        """When bytes that are due have passed the line that all connections share."""
        if not self._line:
            return due
        self._passed = max(due, self._passed) + nbytes / self._line
        return self._passed


class Server:
    """The connections of all clients, in one event loop."""

    def __init__(self, folder: Path) -> None:
        self._files = Files(folder)
        self._delays = Delays(Latency())
        self._log: list[Record] = []

    async def serve(self, port: int) -> None:
        """Until the process is ended."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port, limit=1 << 20, backlog=1024)
        await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._one(_parse(head), reader, writer)
        writer.close()

    async def _one(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = time.monotonic()
        if request.headers.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.bucket.startswith("_"):
            answer = self._control(request, await reader.readexactly(request.body))
            await _send(writer, answer, start, Delays(Latency()), None)
            return
        left = Upload(reader, request.body)
        try:
            answer = await self._answer(request, left)
        except Refused as refused:
            answer = refused.answer
        await left.drain()
        due = (time.monotonic() if request.body else start) + self._delays.draw()
        if self._delays.rate:
            due += request.body / self._delays.rate
        ended, late = await _send(writer, answer, due, self._delays, request.method)
        sent = 0 if request.method == "HEAD" else len(answer.body) + answer.length
        self._log.append(
            Record(
                request.client, _kind(request), request.key, answer.status, request.body, sent, start, ended, late
            )
        )
        if "transfer-encoding" in request.headers:
            raise ConnectionError("where its body ends was not looked for")

    def _control(self, request: Request, body: bytes) -> Answer:
        """GET or DELETE /_log, PUT /_latency."""
        if request.bucket == "_latency":
            self._delays = Delays(Latency(**json.loads(body)))
        elif request.method == "GET":
            return Answer(200, json.dumps(self._log).encode())
        else:
            self._log.clear()
        return Answer(200)

    # ---------------------------------------------------------------- operations

    async def _answer(self, request: Request, upload: Upload) -> Answer:
        """Raises Refused."""
        if not request.key:
            return await self._of_bucket(request, upload)
        try:
            path = self._files.path(request.bucket, request.key)
            if request.method in ("GET", "HEAD"):
                return _read(request, path)
            if request.method == "PUT" and "x-amz-copy-source" not in request.headers:
                return await self._put(request, path, upload)
            if request.method == "DELETE":
                return self._delete(request)
            if request.method == "POST" and "uploads" in request.query:
                return _xml("InitiateMultipartUploadResult", f"<UploadId>{self._files.begin_upload()}</UploadId>")
            if request.method == "POST" and "uploadId" in request.query:
                return await self._complete(request, path, await upload.read())
        except ValueError:
            raise Refused(400, "InvalidRequest") from None
        except TakenError:
            raise Refused(412, "PreconditionFailed") from None
        except FileNotFoundError:
            raise Refused(404, "NoSuchUpload" if "uploadId" in request.query else "NoSuchKey") from None
        raise Refused(501, "NotImplemented")

    async def _of_bucket(self, request: Request, upload: Upload) -> Answer:
        """Raises Refused."""
        if request.method == "GET" and request.query.get("list-type") == "2":
            return self._list(request)
        if request.method == "POST" and "delete" in request.query:
            keys = re.findall(r"<Key>(.*?)</Key>", (await upload.read()).decode())
            for key in keys:
                with suppress(ValueError):
                    self._files.delete(request.bucket, html.unescape(key))
            return _xml("DeleteResult", "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys))
        raise Refused(501, "NotImplemented")

    async def _put(self, request: Request, path: Path, upload: Upload) -> Answer:
        """Raises Refused, TakenError, FileNotFoundError, ValueError."""
        if "content-length" not in request.headers:
            raise Refused(411, "MissingContentLength")
        new = request.headers.get("if-none-match") == "*"
        if "uploadId" in request.query:
            path = self._files.part(request.query["uploadId"], int(request.query["partNumber"]))
        body = self._files.begin()
        try:
            async for piece in upload.pieces():
                body.write(piece)
        except BaseException:
            body.discard()
            raise
        return Answer(200, headers={"ETag": body.finish(path, new=new)})

    async def _complete(self, request: Request, path: Path, body: bytes) -> Answer:
        """Raises TakenError, FileNotFoundError."""
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        new = request.headers.get("if-none-match") == "*"
        made = await self._files.complete(request.query["uploadId"], sorted(numbers), path, new=new)
        return _xml("CompleteMultipartUploadResult", f"<ETag>{html.escape(made)}</ETag>")

    def _delete(self, request: Request) -> Answer:
        """Raises FileNotFoundError, ValueError."""
        if "uploadId" in request.query:
            self._files.abort(request.query["uploadId"])
        else:
            self._files.delete(request.bucket, request.key)
        return Answer(204)

    def _list(self, request: Request) -> Answer:
        query = request.query
        after = query.get("continuation-token") or query.get("start-after", "")
        limit = min(1000, int(query.get("max-keys", 1000)))
        page = self._files.list(request.bucket, query.get("prefix", ""), query.get("delimiter", ""), after, limit)
        return _xml("ListBucketResult", _listed(page, encoded=query.get("encoding-type") == "url"))


class Upload:
    """The body of a request, read as far as somebody wants it."""

    def __init__(self, reader: asyncio.StreamReader, length: int) -> None:
        self._reader = reader
        self._left = length

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is left. Raises IncompleteReadError."""
        while self._left:
            piece = await self._reader.read(min(PIECE, self._left))
            if not piece:
                raise asyncio.IncompleteReadError(b"", self._left)
            self._left -= len(piece)
            yield piece

    async def read(self) -> bytes:
        """All that is left. Raises IncompleteReadError."""
        return b"".join([piece async for piece in self.pieces()])

    async def drain(self) -> None:
        """Pass over what nobody wanted, so that the next request can be read."""
        async for _ in self.pieces():
            pass


def _parse(head: bytes) -> Request:
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = urlsplit(target)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, bucket, key, query, headers, int(headers.get("content-length", 0)))


def _kind(request: Request) -> str:
    """What a store bills it as."""
    if request.method == "GET":
        return "GET" if request.key else "LIST"
    if request.method == "POST":
        return "DELETE" if "delete" in request.query else "PUT"
    return request.method


def _read(request: Request, path: Path) -> Answer:
    """Raises Refused, FileNotFoundError."""
    if path.is_dir():
        raise FileNotFoundError(path)
    status = path.stat()
    size = status.st_size
    headers = {
        "ETag": tag(status),
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        "Accept-Ranges": "bytes",
    }
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None or asked[0] == "bytes=-":
        return Answer(200, b"", headers, path, 0, size)
    if asked[1]:
        start, end = int(asked[1]), min(size, int(asked[2]) + 1 if asked[2] else size)
    else:
        start, end = max(0, size - int(asked[2])), size
    if start >= end:
        raise Refused(416, "InvalidRange")
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Answer(206, b"", headers, path, start, end - start)


def _listed(page: Page, *, encoded: bool) -> str:
    def name(key: str) -> str:
        return quote(key) if encoded else html.escape(key)

    def entry(info: Info) -> str:
        modified = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(info.modified))
        return (
            f"<Contents><Key>{name(info.key)}</Key><LastModified>{modified}.000Z</LastModified>"
            f"<ETag>{html.escape(info.etag)}</ETag><Size>{info.size}</Size></Contents>"
        )

    entries = "".join(map(entry, page.objects))
    prefixes = (f"<CommonPrefixes><Prefix>{name(prefix)}</Prefix></CommonPrefixes>" for prefix in page.prefixes)
    groups = "".join(prefixes)
    more = f"<NextContinuationToken>{html.escape(page.token)}</NextContinuationToken>" if page.token else ""
    truncated = str(page.token is not None).lower()
    count = len(page.objects) + len(page.prefixes)
    return f"<IsTruncated>{truncated}</IsTruncated><KeyCount>{count}</KeyCount>{more}{entries}{groups}"


def _xml(name: str, inner: str) -> Answer:
    return Answer(200, f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}</{name}>'.encode())


async def _send(
    writer: asyncio.StreamWriter, answer: Answer, due: float, delays: Delays, method: str | None
) -> tuple[float, float]:
    """Send the first byte when it is due, the others as fast as the simulation has them go.

    Returns: when the last byte was handed over, and how many seconds late that was.
    """
    length = len(answer.body) + answer.length
    lines = [f"HTTP/1.1 {answer.status} {REASONS[answer.status]}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    head = "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()
    if method == "HEAD":
        length = 0
    await _until(due)
    waiting, sent, ended = head, 0, time.monotonic()
    descriptor = os.open(answer.file, os.O_RDONLY) if answer.file and length else None
    try:
        while True:
            if descriptor is None:
                piece = answer.body[sent : sent + PIECE] if length else b""
            else:
                piece = os.pread(descriptor, min(PIECE, length - sent), answer.offset + sent)
            sent += len(piece)
            wanted = delays.passed(due + (sent / delays.rate if delays.rate else 0.0), len(piece))
            await _until(wanted)
            ended = time.monotonic()
            writer.write(waiting + piece)
            waiting = b""
            if sent >= length:
                break
            await writer.drain()
    finally:
        if descriptor is not None:
            os.close(descriptor)
    await writer.drain()
    return ended, max(0.0, ended - wanted)


async def _until(moment: float) -> None:
    wait = moment - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)


def main() -> None:
    """Serve."""
    asyncio.run(Server(Path(sys.argv[1])).serve(int(sys.argv[2])))


if __name__ == "__main__":
    main()
