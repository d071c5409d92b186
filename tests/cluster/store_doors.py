"""A small S3 behind several doors with faults: `python tests/cluster/store_doors.py SEED CLOCK PORT...`.

Every server reaches the store through a door of its own, as through a proxy that loses, delays and repeats
requests and answers. The first door has no faults; there `/_faults` and `/_counts` rule and tell of the others.
CLOCK is how many seconds the store's clock is ahead.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, NamedTuple

import uvloop

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cluster.small_s3 import Answer, SmallS3, error, parse_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.small_s3 import Request

DELAYS = (0.005, 0.3)
STALLS = (0.5, 4.0)
"""Seconds: how long a request or an answer is held back, least and most."""


class Fault(Enum):
    """What happens to one request."""

    NONE = "none"
    DELAY = "applied late, and answered"
    CUT_BEFORE = "connection ended, not applied"
    CUT_AFTER = "applied, connection ended without an answer"
    CUT_WITHIN = "applied, connection ended within the answer"
    RESET_BEFORE = "connection reset, not applied"
    RESET_AFTER = "applied, connection reset"
    LATE = "connection ended, applied seconds later"
    STALL = "applied, answered seconds later"
    ERROR_BEFORE = "500 or 503, not applied"
    ERROR_AFTER = "applied, 500 or 503 answered"
    CONFLICT_BEFORE = "409, not applied"
    TWICE = "applied twice, 412 for what it created itself"


OF_ANY = (
    *(Fault.DELAY, Fault.DELAY, Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.CUT_WITHIN, Fault.RESET_BEFORE),
    *(Fault.RESET_AFTER, Fault.LATE, Fault.ERROR_BEFORE, Fault.ERROR_BEFORE, Fault.ERROR_AFTER),
)
OF_CREATIONS = (*OF_ANY, Fault.CONFLICT_BEFORE, Fault.CONFLICT_BEFORE, Fault.TWICE, Fault.TWICE, Fault.LATE)
STALLED = 0.05
"""The part of faults that are stalls: they cost the most time."""


class Weather(NamedTuple):
    """How bad a door is: the part of requests with a fault, or none served at all."""

    rate: float = 0.0
    closed: bool = False


class Door:
    """One way to the store; `seen` counts (method, fault)."""

    def __init__(self, store: SmallS3, seed: str) -> None:
        self.weather = Weather()
        self.seen: Counter[tuple[str, str]] = Counter()
        self.late: set[asyncio.TimerHandle] = set()
        self._store = store
        self._chance = random.Random(seed)

    def serve(self, request: Request, connection: Connection) -> None:
        """Do what is asked for, or what the weather makes of it."""
        fault = self._choose(request)
        self.seen[request.method, fault.name] += 1
        match fault:
            case Fault.NONE:
                connection.answer(self._store.apply(request))
            case Fault.DELAY:
                self._after(DELAYS, lambda: connection.answer(self._store.apply(request)))
            case Fault.STALL:
                answer = self._store.apply(request)
                self._after(STALLS, lambda: connection.answer(answer))
            case Fault.LATE:
                self._after(STALLS, lambda: self._store.apply(request))
                connection.cut()
            case Fault.CUT_BEFORE | Fault.RESET_BEFORE | Fault.ERROR_BEFORE | Fault.CONFLICT_BEFORE:
                self._refuse(fault, connection)
            case _:
                self._spoil(fault, self._store.apply(request), request, connection)

    def _choose(self, request: Request) -> Fault:
        if self.weather.closed:
            return self._chance.choice((Fault.ERROR_BEFORE, Fault.CUT_BEFORE))
        if self._chance.random() >= self.weather.rate:
            return Fault.NONE
        if self._chance.random() < STALLED:
            return Fault.STALL
        return self._chance.choice(OF_CREATIONS if request.conditional else OF_ANY)

    def _refuse(self, fault: Fault, connection: Connection) -> None:
        match fault:
            case Fault.ERROR_BEFORE:
                connection.answer(self._failure())
            case Fault.CONFLICT_BEFORE:
                connection.answer(error(409, "ConditionalRequestConflict"))
            case _:
                connection.cut(reset=fault is Fault.RESET_BEFORE)

    def _spoil(self, fault: Fault, answer: Answer, request: Request, connection: Connection) -> None:
        match fault:
            case Fault.ERROR_AFTER:
                connection.answer(self._failure())
            case Fault.TWICE:
                connection.answer(self._store.apply(request))
            case Fault.CUT_WITHIN:
                connection.cut(answer.encode()[: -max(1, len(answer.body) // 2)])
            case _:
                connection.cut(reset=fault is Fault.RESET_AFTER)

    def _failure(self) -> Answer:
        return self._chance.choice((error(503, "SlowDown"), error(500, "InternalError")))

    def _after(self, seconds: tuple[float, float], work: Callable[[], object]) -> None:
        def run() -> None:
            self.late.discard(handle)
            work()

        handle = asyncio.get_running_loop().call_later(self._chance.uniform(*seconds), run)
        self.late.add(handle)


class Connection(asyncio.Protocol):
    """A client's connection to a door: one request after the other."""

    def __init__(self, serve: Callable[[Request, Connection], None]) -> None:
        self._serve = serve
        self._received = bytearray()
        self._busy = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next()

    def answer(self, answer: Answer) -> None:
        """Send it, and take the next request."""
        if not self._transport.is_closing():
            self._transport.write(answer.encode())
        self._busy = False
        self._next()

    def cut(self, sent: bytes = b"", *, reset: bool = False) -> None:
        """End the connection after these bytes, with RST or FIN."""
        if self._transport.is_closing():
            return
        if reset:
            plain = self._transport.get_extra_info("socket")
            plain.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.write(sent)
            self._transport.close()

    def _next(self) -> None:
        while not self._busy and (end := self._received.find(b"\r\n\r\n")) >= 0:
            request, length = parse_head(bytes(self._received[:end]))
            if len(self._received) < end + 4 + length:
                return
            body = bytes(self._received[end + 4 : end + 4 + length])
            del self._received[: end + 4 + length]
            self._busy = True
            self._serve(request._replace(body=body), self)


class House:
    """The store and its doors. The first one is sound."""

    def __init__(self, seed: str, clock_offset: float, doors: int) -> None:
        self._store = SmallS3(clock_offset)
        self._doors = [Door(self._store, f"{seed} {number}") for number in range(doors)]

    async def open(self, ports: list[int]) -> None:
        """Listen, one port for each door, until cancelled."""
        loop = asyncio.get_running_loop()
        for number, port in enumerate(ports):
            serve = self._first if number == 0 else self._doors[number].serve
            await loop.create_server(lambda serve=serve: Connection(serve), "127.0.0.1", port)
        await asyncio.Event().wait()

    def _first(self, request: Request, connection: Connection) -> None:
        match request.bucket:
            case "_faults":
                given = json.loads(request.body)
                door = self._doors[given.pop("door")]
                door.weather = Weather(**given)
                connection.answer(Answer(200))
            case "_counts":
                connection.answer(Answer(200, json.dumps(self._counts()).encode()))
            case _:
                self._doors[0].serve(request, connection)

    def _counts(self) -> dict[str, object]:
        """What happened behind each door, and how many requests are still on their way."""
        seen = [
            {f"{method} {fault}": count for (method, fault), count in door.seen.items()} for door in self._doors
        ]
        return {"doors": seen, "late": sum(len(door.late) for door in self._doors)}


def main() -> None:
    """Serve until the process is ended."""
    seed, clock, *ports = sys.argv[1:]
    uvloop.run(House(seed, float(clock), len(ports)).open([int(port) for port in ports]))


if __name__ == "__main__":
    main()
