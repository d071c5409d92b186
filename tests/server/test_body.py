"""Reading bodies: whole or refused, in bounded time. Time is virtual: a loaded machine changes nothing."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from quiver.server.body import discard_body, read_body
from quiver.server.errors import Refusal
from quiver.server.limits import ServerLimits
from simulation.loop import VirtualLoop

LIMITS = ServerLimits(max_body=100, idle_seconds=0.1, grace_seconds=0.3, min_rate=1_000_000)


def sender(*messages: bytes | float | None):
    """Bytes are a piece of the body, numbers a pause in seconds, None the end; then the client hangs up."""
    script = list(messages)

    async def receive() -> dict[str, object]:
        while script and isinstance(script[0], float):
            await asyncio.sleep(script.pop(0))
        if not script:
            return {"type": "http.disconnect"}
        piece = script.pop(0)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    return receive


def run(coroutine):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def read(length: int | None, *messages: bytes | float | None, limits: ServerLimits = LIMITS) -> bytes:
    return run(read_body(sender(*messages), length, limits))


def refusal(length: int | None, *messages: bytes | float | None, limits: ServerLimits = LIMITS) -> Refusal:
    for reading in (read_body, discard_body):
        with pytest.raises(Refusal) as caught:
            run(reading(sender(*messages), length, limits))
    assert caught.value.close
    return caught.value


def test_pieces_are_joined():
    assert read(6, b"abc", b"", b"def", None) == b"abcdef"
    assert read(None, b"abc", b"def", None) == b"abcdef"
    assert read(0) == b""
    assert read(None, None) == b""


def test_the_quota_is_inclusive_and_counted_in_chunks_too():
    assert len(read(None, b"x" * 60, b"x" * 40, None)) == 100
    error = refusal(None, b"x" * 60, b"x" * 41, None)
    assert (error.status, error.code) == (400, "ValidationException")
    assert error.message == "Request body exceeds max allowed size"


def test_reading_stops_at_the_quota():
    script = [b"x" * 60] * 10
    receive = sender(*script)
    with pytest.raises(Refusal):
        run(read_body(receive, None, LIMITS))
    left = run(receive())
    assert left["type"] == "http.request"


def test_a_client_that_hangs_up_leaves_nothing():
    assert refusal(10, b"abc").status == 400
    assert refusal(None, b"abc").status == 400


def test_a_body_of_another_length_than_declared():
    assert refusal(10, b"abc", None).status == 400
    assert refusal(2, b"abc", None).status == 400


def test_silence_ends_in_408():
    error = refusal(10, b"a", 5.0, b"b", None)
    assert (error.status, error.code) == (408, "RequestTimeoutException")


def test_dripping_ends_in_408_however_steady():
    drip = [piece for _ in range(50) for piece in (b"a", 0.05)]
    assert refusal(100, *drip).status == 408
    assert refusal(None, *drip).status == 408


def test_a_steady_rate_extends_the_time():
    limits = dataclasses.replace(LIMITS, min_rate=100)
    pieces = [piece for _ in range(10) for piece in (b"x" * 10, 0.05)]
    assert len(read(100, *pieces, None, limits=limits)) == 100
    assert len(read(None, *pieces, None, limits=limits)) == 100
