"""What the benchmarks share: a server in processes of its own, requests signed beforehand, memory, figures."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterable

REPOSITORY = Path(__file__).resolve().parents[1]
KEYS = Credentials("BENCHMARK1", "a-secret-of-a-sensible-length")
BUCKET = "benchmark"
SMALL = 1 << 16
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Request(NamedTuple):
    """A signed request as it goes over the wire; the signature is good for 15 minutes."""

    head: bytes
    body: bytes


class Answer(NamedTuple):
    """What came back, and after how many seconds."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> dict:
        """The body of a success."""
        if self.status != 200:
            raise RuntimeError(f"status {self.status}: {self.body[:300]!r}")
        return orjson.loads(self.body)


class Server:
    """A context manager around `quiver serve` with `workers` worker processes over one directory.

    Args:
        workers: worker processes.
        root: the directory to serve; None for a new one that is removed afterwards.
        settings: environment variables on top.
    """

    def __init__(self, workers: int = 1, root: Path | None = None, **settings: str) -> None:
        self._temporary = None if root else Path(tempfile.mkdtemp(prefix="quiver-bench-", dir=scratch()))
        self.root = root or self._temporary
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        arguments = ["serve", str(self.root), "--port", str(self.port), "--workers", str(workers)]
        environment = os.environ | {
            "QUIVER_ACCESS_KEY_ID": KEYS.access_key,
            "QUIVER_SECRET_ACCESS_KEY": KEYS.secret_key,
            "PYTHONPATH": str(REPOSITORY / "src"),
            **settings,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "quiver.cli.main", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> Server:
        self._wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def stop(self) -> None:
        """Stop gracefully."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(90)

    def pids(self) -> list[int]:
        """The server's processes: the parent and what it started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def request(self, operation: str, params: dict | bytes, content: str = "application/json") -> Request:
        """A signed request; `params` as bytes is taken as it is. `operation` may carry query parameters."""
        return signed(self.port, operation, params, content)

    def connect(self) -> Connection:
        """A kept connection."""
        return Connection(self.port)

    def call(self, operation: str, params: dict) -> dict:
        """One operation on a connection of its own; what it answered."""
        with self.connect() as connection:
            return connection.send(self.request(operation, params)).json()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                probe = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                probe.request("GET", "/health")
                if probe.getresponse().status == 200:
                    probe.close()
                    return
            time.sleep(0.1)
        raise TimeoutError("the server did not start")


def signed(port: int, operation: str, params: dict | bytes, content: str = "application/json") -> Request:
    """See Server.request."""
    body = params if isinstance(params, bytes) else orjson.dumps(params, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"content-type": content, "host": f"127.0.0.1:{port}"}
    headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    unsigned = AWSRequest("POST", f"http://127.0.0.1:{port}/{operation}", headers=headers, data=body)
    SigV4Auth(KEYS, "s3vectors", "us-east-1").add_auth(unsigned)
    lines = [f"{name}: {value}" for name, value in unsigned.headers.items()]
    lines = [f"POST /{operation} HTTP/1.1", *lines, f"content-length: {len(body)}", "", ""]
    return Request("\r\n".join(lines).encode(), body)


class Connection:
    """One kept HTTP connection, with as little work per request as possible."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: Request) -> Answer:
        """Send, and read the whole answer."""
        start = time.perf_counter()
        if len(request.body) < SMALL:
            self._socket.sendall(request.head + request.body)
        else:
            self._socket.sendall(request.head)
            self._socket.sendall(request.body)
        status, body = self._read()
        return Answer(status, body, time.perf_counter() - start)

    def _read(self) -> tuple[int, bytes]:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        length = int(LENGTH.search(data, 0, end + 2)[1])
        while len(data) < end + 4 + length:
            data += self._receive()
        return int(data[9:12]), bytes(data[end + 4 :])

    def _receive(self) -> bytes:
        received = self._socket.recv(1 << 18)
        if not received:
            raise ConnectionError("the server closed the connection")
        return received


def send_all(server: Server, requests: list[Request], connections: int) -> tuple[float, list[Answer]]:
    """Send the requests over kept connections, each taking the next one; seconds in all, and the answers."""
    waiting, answers, lock = iter(requests), [], threading.Lock()

    def drain(connection: Connection) -> None:
        while True:
            with lock:
                request = next(waiting, None)
            if request is None:
                return
            answers.append(connection.send(request))

    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(server.connect()) for _ in range(connections)]
        threads = [threading.Thread(target=drain, args=(connection,)) for connection in opened]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start, answers


def create_index(server: Server, name: str, dimension: int, metric: str = "cosine", **more: object) -> None:
    """Create an index in the benchmark's bucket, and the bucket when it is missing."""
    with server.connect() as connection:
        connection.send(server.request("CreateVectorBucket", {"vectorBucketName": BUCKET}))
        params = {"vectorBucketName": BUCKET, "indexName": name, "dataType": "float32"}
        params |= {"dimension": dimension, "distanceMetric": metric, **more}
        connection.send(server.request("CreateIndex", params)).json()


def put_body(index: str, keys: list[str], vectors: np.ndarray, metadata: list[dict] | None = None) -> bytes:
    """A PutVectors body as boto3 writes it: float32 components widened to float64 text.

    Args:
        vectors: float32 of shape (len(keys), dimension).
    """
    wide = vectors.astype(np.float64)
    records = [{"key": key, "data": {"float32": row}} for key, row in zip(keys, wide, strict=True)]
    for record, one in zip(records, metadata or (), strict=False):
        record["metadata"] = one
    body = {"vectorBucketName": BUCKET, "indexName": index, "vectors": records}
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


# ---------------------------------------------------------------- data


def unit_rows(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    """Random directions, float32 of shape (rows, dimension)."""
    made = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def data_folder(name: str) -> Path | None:
    """Where a data set lies: in $QUIVER_BENCH_DATA or ../shared/data beside the repository; None if nowhere."""
    for above in (os.environ.get("QUIVER_BENCH_DATA"), REPOSITORY.parent / "shared" / "data"):
        if above and (Path(above) / name).is_dir():
            return Path(above) / name
    return None


def debian(folder: Path, name: str = "base") -> np.ndarray:
    """Sentence embeddings of package descriptions, float32 of shape (n, 384), unit length."""
    rows = np.load(folder / f"{name}.f16.npy").astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---------------------------------------------------------------- machine and figures


def memory(pids: list[int]) -> dict[str, float]:
    """MiB of processes together.

    `rss` counts pages shared between them in each, `pss` once; `anonymous` leaves out pages of files, such as
    those of memory-mapped indexes, which the page cache may take back.
    """
    totals = {"Rss": 0, "Pss": 0, "Anonymous": 0}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name in totals:
                    totals[name] += int(rest.split()[0])
    return {name.lower(): kib / 1024 for name, kib in totals.items()}


def cpu_seconds(pids: list[int]) -> float:
    """Processor time that processes have used so far."""
    ticks = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in ticks) / os.sysconf("SC_CLK_TCK")


def peak_memory(pids: list[int]) -> float:
    """MiB: the processes' highest resident memory, added up."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    peaks = [line for text in status for line in text.splitlines() if line.startswith("VmHWM")]
    return sum(int(line.split()[1]) for line in peaks) / 1024


def open_files(pids: list[int]) -> int:
    """File descriptors of the process that has most."""
    return max(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


def spread(values: list[float], scale: float = 1.0, digits: int = 1) -> str:
    """Median, with the least and the greatest in brackets."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return " ".join((f"{middle * scale:,.{digits}f}", f"({low * scale:,.{digits}f}-{high * scale:,.{digits}f})"))


def percentiles(seconds: list[float]) -> str:
    """Median and 99th percentile, in milliseconds."""
    worst = sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    return f"{statistics.median(seconds) * 1e3:.2f} / {worst * 1e3:.2f}"


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def disk_bytes(folder: Path) -> int:
    """Bytes that the files under a folder take on disk; a file linked twice counts once."""
    found = [path.lstat() for path in folder.rglob("*")]
    return sum({(s.st_dev, s.st_ino): s.st_blocks * 512 for s in found}.values())


def versions(packages: Iterable[str]) -> str:
    """`name version` of those that are installed."""
    found = []
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def describe_machine(packages: Iterable[str] = ("numpy", "pyarrow", "granian", "pysimdjson")) -> str:
    """One line: interpreter, packages, processors, load."""
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, {versions(packages)}; {platform.system()} {platform.machine()}, "
        f"{processor()}, {os.cpu_count()} cores; load before: {load:.1f}"
    )


def fsync_seconds(nbytes: int, rounds: int = 15) -> float:
    """Median seconds to write a file of this size and force it and its directory to disk."""
    folder = Path(tempfile.mkdtemp(prefix="quiver-bench-", dir=scratch()))
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        with (folder / str(number)).open("wb") as file:
            file.write(bytes(nbytes))
            file.flush()
            os.fsync(file.fileno())
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        times.append(time.perf_counter() - start)
    shutil.rmtree(folder)
    return statistics.median(times)


def scratch() -> str | None:
    """Where roots are made: $QUIVER_BENCH_SCRATCH, or the system's temporary directory."""
    return os.environ.get("QUIVER_BENCH_SCRATCH")


def free_port() -> int:
    """A port nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def show(row: dict[str, object]) -> None:
    """Print one result as a line of JSON, at once."""
    print(json.dumps(row), flush=True)
