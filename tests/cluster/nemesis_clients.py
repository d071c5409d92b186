"""The nemesis' clients: they write and read shared keys through any server, and keep every answer."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from cli.running import KEYS
from cluster import sights, workload
from cluster.ledger import Write
from cluster.requests import JSON, Answer, Outcome, answer_of
from simulation.checkers.history import UNKNOWN, Kind, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cluster.nodes import Node
    from cluster.sights import Question, Sight

INDEXES = ("first", "second")
GROUP = workload.GROUP
LASTING = tuple(f"lasting-{n}" for n in range(10))
"""Keys that are never deleted, so that a lost write is seen whatever became of deletions."""
SINGLES = tuple(f"key-{n}" for n in range(15))
EVERY_KEY = (*GROUP, *LASTING, *SINGLES)
TIMEOUT, AVOIDED = 1.5, 12.0
"""Seconds that a client waits for an answer, and leaves a server alone that gave none in time."""
MISDIRECTED = 0.02
"""The part of requests that go to a server that is to refuse them, for its role."""
BROKEN = 0.02
"""The part of puts that are to be refused whole, for their last vector."""


def names(index: str) -> dict[str, str]:
    """Parameters of an index of the clients."""
    return {"vectorBucketName": workload.BUCKET, "indexName": index}


class Told(NamedTuple):
    """An answer, and whether the server may have refused for its role or its clock."""

    answer: Answer
    call: float
    end: float
    excused: bool


class Sender:
    """Sends signed requests to servers whose clocks are off, each once, over a connection for each."""

    def __init__(self) -> None:
        self._connections: dict[int, tuple[int, http.client.HTTPConnection]] = {}
        self._avoided: dict[int, float] = {}

    def close(self) -> None:
        for _, connection in self._connections.values():
            connection.close()

    def avoids(self, node: Node) -> bool:
        """Whether the server did not answer not long ago."""
        return self._avoided.get(node.number, 0.0) > time.monotonic()

    def send(self, node: Node, operation: str, parameters: Mapping[str, Any], *, write: bool) -> Told:
        """Do one operation; see `requests.Client.call` for what an answer means."""
        shifts, role_fits = node.clock.shifts, node.writes if write else node.reads
        body = json.dumps(parameters).encode()
        call = time.monotonic()
        try:
            connection = self._connected(node)
        except OSError:
            return Told(Answer(Outcome.NOT_SENT), call, time.monotonic(), excused=True)
        try:
            signed = headers(f"127.0.0.1:{connection.port}", operation, body, node.clock.now())
            connection.request("POST", f"/{operation}", body, signed)
            response = connection.getresponse()
            answer = answer_of(response, response.read())
        except (OSError, http.client.HTTPException) as error:
            self._forget(node)
            if isinstance(error, TimeoutError):
                self._avoided[node.number] = time.monotonic() + AVOIDED
            answer = Answer(Outcome.UNKNOWN)
        return Told(answer, call, time.monotonic(), not role_fits or node.clock.shifts != shifts)

    def _connected(self, node: Node) -> http.client.HTTPConnection:
        port = node.port
        if port == 0:
            raise ConnectionRefusedError
        known, connection = self._connections.get(node.number, (0, None))
        if connection is None or known != port or connection.sock is None:
            self._forget(node)
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            connection.connect()
            self._connections[node.number] = port, connection
        return connection

    def _forget(self, node: Node) -> None:
        _, connection = self._connections.pop(node.number, (0, None))
        if connection is not None:
            connection.close()


class Client:
    """One client: what it wrote and saw, by index.

    Args:
        values: unique ones, shared with the others.
    """

    def __init__(self, nodes: Sequence[Node], values: Iterator[int], seed: str) -> None:
        self.writes: dict[str, list[Write]] = {index: [] for index in INDEXES}
        self.sights: dict[str, list[Sight]] = {index: [] for index in INDEXES}
        self.requests = 0
        self._nodes = nodes
        self._values = values
        self._chance = random.Random(seed)
        self._sender = Sender()

    def run(self, stopping: threading.Event) -> None:
        """One request after the other until told to stop. Raises Violation."""
        try:
            while not stopping.is_set():
                if self.step() is Outcome.NOT_SENT:
                    stopping.wait(0.02)
        finally:
            self._sender.close()

    def step(self) -> Outcome:
        """One request."""
        index = self._chance.choice(INDEXES)
        dice = self._chance.random()
        if dice < 0.36:
            return self._put(index)
        if dice < 0.46:
            return self._delete(index)
        return self.ask(index, self._question(), self._node(write=False))

    def _node(self, *, write: bool) -> Node:
        if self._chance.random() < MISDIRECTED:
            return self._chance.choice(self._nodes)
        able = [node for node in self._nodes if (node.writes if write else node.reads)]
        return self._chance.choice([node for node in able if not self._sender.avoids(node)] or able)

    def _question(self) -> Question:
        dice, chance = self._chance.random(), self._chance
        if dice < 0.6:
            return sights.get(GROUP if chance.random() < 0.2 else chance.sample(EVERY_KEY, chance.randint(1, 20)))
        if dice < 0.72:
            return sights.query_all(EVERY_KEY)
        if dice < 0.8:
            return sights.query_all(EVERY_KEY, part=chance.randrange(sights.PARTS))
        if dice < 0.88:
            origin = chance.randrange(100), chance.randrange(workload.RADIX)
            return sights.query_near(EVERY_KEY, origin, limit=chance.randint(1, 10))
        return sights.list_all(EVERY_KEY)

    def ask(self, index: str, question: Question, node: Node) -> Outcome:
        """Read. Raises Violation."""
        parameters = {**names(index), **question.parameters}
        told = self._send(node, question.operation, parameters, write=False)
        if told.answer.outcome is Outcome.OK:
            shown = told.answer.body["vectors"]
            self.sights[index].append(question.sight(told.call, told.end, shown, told.answer.commit))
        return told.answer.outcome

    def _put(self, index: str) -> Outcome:
        value, broken = next(self._values), self._chance.random() < BROKEN
        keys = self._batch((*LASTING, *SINGLES), 20)
        vectors = [sights.vector(key, value) for key in keys]
        if broken:
            vectors[-1]["data"] = {"float32": [1, 2, 3]}
        told = self._send(self._node(write=True), "PutVectors", {**names(index), "vectors": vectors}, write=True)
        if broken and told.answer.outcome is Outcome.OK:
            raise Violation("a batch with a vector of another dimension was accepted")
        if told.answer.status == 400 and not broken:
            raise Violation(f"a sound batch was answered {told.answer}")
        return self._wrote(index, Kind.PUT, dict.fromkeys(keys, value), told)

    def _delete(self, index: str) -> Outcome:
        keys = self._batch(SINGLES, 8)
        told = self._send(self._node(write=True), "DeleteVectors", {**names(index), "keys": keys}, write=True)
        if told.answer.status == 400:
            raise Violation(f"a deletion was answered {told.answer}")
        return self._wrote(index, Kind.DELETE, dict.fromkeys(keys), told)

    def _batch(self, keys: Sequence[str], most: int) -> list[str]:
        """All of the group, with some others, or some others alone."""
        grouped = self._chance.random() < 0.25
        count = self._chance.randint(1, self._chance.choice((3, most)))
        others = self._chance.sample(keys, max(0, count - len(GROUP)) if grouped else count)
        return [*GROUP, *others] if grouped else others

    def _wrote(self, index: str, kind: Kind, items: dict[str, int | None], told: Told) -> Outcome:
        outcome = told.answer.outcome
        end = UNKNOWN if outcome is Outcome.UNKNOWN else told.end
        self.writes[index].append(Write(told.call, end, kind, items, outcome, told.answer.commit))
        return outcome

    def _send(self, node: Node, operation: str, parameters: dict[str, Any], *, write: bool) -> Told:
        told = self._sender.send(node, operation, parameters, write=write)
        answer = told.answer
        self.requests += answer.outcome is not Outcome.NOT_SENT
        allowed = (400, 429) if write else ()
        wrong = answer.outcome is Outcome.REFUSED and answer.status not in allowed
        if answer.status == 500 or (wrong and not (answer.status == 403 and told.excused)):
            raise Violation(f"{operation} was answered {answer} by server {node.number}, {node.role}")
        return told


class Crowd:
    """Clients in threads of their own, until `stop`; then `clients` hold everything."""

    def __init__(self, nodes: Sequence[Node], values: Iterator[int], count: int, seed: str) -> None:
        self.clients = [Client(nodes, values, f"{seed} {number}") for number in range(count)]
        self._stopping = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in self.clients]
        for thread in self._threads:
            thread.start()

    @property
    def requests(self) -> int:
        """How many were sent so far."""
        return sum(client.requests for client in self.clients)

    @property
    def failed(self) -> bool:
        """Whether a client found something wrong."""
        return bool(self._errors)

    def stop(self) -> None:
        """Let requests under way end. Raises what a client found wrong."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, client: Client) -> None:
        try:
            client.run(self._stopping)
        except BaseException as error:
            self._errors.append(error)


def headers(host: str, operation: str, body: bytes, now: float) -> dict[str, str]:
    """A request signed at that time, as botocore does it."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{moment[:8]}/us-east-1/s3vectors/aws4_request"
    digest = hashlib.sha256(body).hexdigest()
    signed = {"content-type": JSON, "host": host, "x-amz-content-sha256": digest, "x-amz-date": moment}
    lines = [f"{name}:{value}" for name, value in signed.items()]
    canonical = "\n".join(["POST", f"/{operation}", "", *lines, "", ";".join(signed), digest])
    text = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + KEYS["QUIVER_SECRET_ACCESS_KEY"]).encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{KEYS['QUIVER_ACCESS_KEY_ID']}/{scope}"
    proof = f"Credential={credential}, SignedHeaders={';'.join(signed)}, Signature={key.hex()}"
    return {**signed, "authorization": f"AWS4-HMAC-SHA256 {proof}"}
