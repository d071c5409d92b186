"""Throttling by access key: who is refused, with what answer, and that nobody can use up what is another's."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math

import pytest

from quiver.model.errors import ThrottledError
from quiver.model.runtime import SystemRuntime
from quiver.server.throttle import Throttle
from quiver.service.rates import Rates
from server.fakes import KEY, OTHER_KEY, Client, Result, signed_headers


class StandingClock(SystemRuntime):
    """Monotonic time that only moves when told to."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def client(**rates: float) -> tuple[Client, StandingClock]:
    clock = StandingClock()
    return Client(runtime=clock, rates=Rates(**rates)), clock


def ask(client: Client, key: str = KEY, body: bytes = b"{}", secret: str | None = None) -> Result:
    secrets = {} if secret is None else {"secret": secret}
    headers = signed_headers(
        "POST", "/ListVectorBuckets", body, {"Content-Type": "application/json"}, key=key, **secrets
    )
    return client.send("POST", "/ListVectorBuckets", body, list(headers.items()))


def throttled(client: Client, limit: str) -> float | None:
    return client.app.metrics.registry.get_sample_value("quiver_throttled_requests_total", {"limit": limit})


def test_without_rates_nothing_is_refused() -> None:
    here, _ = client()
    assert {ask(here).status for _ in range(200)} == {200}


def test_the_answer_to_too_many_requests_says_when_to_come_back() -> None:
    here, clock = client(key_requests=0.4)
    assert ask(here).status == 200
    result = ask(here)
    assert result.error == (429, "TooManyRequestsException")
    assert result.json == {"message": "Rate exceeded: requests per second of this access key"}
    assert (result.headers["retry-after"], result.headers["x-amz-retry-after"]) == ("3", "2500")
    assert throttled(here, "key_requests") == 1
    assert len(here.service.calls) == 1
    clock.now += 2.5
    assert ask(here).status == 200


def test_a_request_refused_after_its_signature_was_proved_is_logged_with_its_key() -> None:
    here, _ = client(requests=1)
    assert [ask(here, key).status for key in (KEY, OTHER_KEY)] == [200, 429]
    (line,) = [json.loads(line) for line in here.log.getvalue().splitlines()][1:]
    assert (line["key_id"], line["code"]) == (OTHER_KEY, "TooManyRequestsException")


def test_keys_have_limits_of_their_own_and_health_has_none() -> None:
    here, _ = client(key_requests=2)
    assert [ask(here).status for _ in range(3)] == [200, 200, 429]
    assert [ask(here, OTHER_KEY).status for _ in range(3)] == [200, 200, 429]
    assert here.send("GET", "/health").status == 200


def test_bodies_are_counted_in_bytes_and_an_empty_one_is_free() -> None:
    here, clock = client(key_bytes=100)
    body = b'{"prefix":"%s"}' % (b"x" * 45)
    assert len(body) == 58
    assert [ask(here, body=body).status for _ in range(2)] == [200, 429]
    assert throttled(here, "key_bytes") == 1
    clock.now += 0.17
    assert ask(here, body=body).status == 200
    arn = "arn%3Aaws%3As3vectors%3Aus-east-1%3A000000000000%3Abucket%2Fb"
    assert here.signed("GET", f"/tags/{arn}").status == 200


def test_who_cannot_sign_for_a_key_uses_up_nothing_of_it() -> None:
    here, _ = client(key_requests=1, requests=1)
    assert {ask(here, secret="wrong").error for _ in range(20)} == {(403, "InvalidSignatureException")}
    assert ask(here, "QKNOBODY").error == (403, "UnrecognizedClientException")
    assert ask(here).status == 200


def test_a_refused_body_is_not_admitted_to_memory() -> None:
    here, _ = client(key_requests=1)
    held: list[float] = []
    gauge = here.app.metrics.admitted_bytes
    gauge.inc = held.append  # type: ignore[method-assign]
    ask(here)
    assert ask(here).status == 429
    assert held == [4.0]


def test_a_body_of_unknown_length_is_counted_when_it_has_come() -> None:
    here, _ = client(key_bytes=100)
    body = b'{"prefix":"%s"}' % (b"x" * 60)
    headers = signed_headers("POST", "/ListVectorBuckets", body, {"Content-Type": "application/json"})
    pairs = [(name, value) for name, value in headers.items() if name.lower() != "content-length"]
    pairs.append(("Transfer-Encoding", "chunked"))
    results = [here.send("POST", "/ListVectorBuckets", body, pairs) for _ in range(2)]
    assert [result.status for result in results] == [200, 429]


@pytest.mark.parametrize("chunked", [False, True])
def test_loads_are_counted_too(chunked: bool) -> None:
    here, _ = client(key_bytes=100)
    body, target = b"x" * 90, "/quiver/LoadVectors?vectorBucketName=b-1&indexName=i-1"
    given = {
        "Content-Type": "application/vnd.apache.arrow.stream",
        "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest(),
    }
    pairs = list(signed_headers("POST", target, body, given).items())
    if chunked:
        pairs = [pair for pair in pairs if pair[0].lower() != "content-length"]
        pairs.append(("Transfer-Encoding", "chunked"))
    assert [here.send("POST", target, body, pairs).status for _ in range(2)] == [400, 429]  # it is no Arrow stream


def test_one_key_may_hold_a_part_of_the_memory_only() -> None:
    here, _ = client(key_held_bytes=100)

    async def run() -> list[str]:
        done: list[str] = []

        async def hold(key: str, size: int) -> None:
            async with here.app._admission.share(size, key):
                done.append(key)
                await asyncio.sleep(0.01)

        await asyncio.gather(hold("a", 60), hold("a", 50), hold("b", 60), hold("b", 40), hold("a", 40))
        return done

    assert asyncio.run(run()) == ["a", "b", "b", "a", "a"]


def test_a_greedy_client_cannot_starve_a_modest_one() -> None:
    """Both in simulated time: one sends 500 requests per second, the other 4, of 10 there are for all."""
    clock = StandingClock()
    throttle = Throttle(Rates(requests=10, bytes=10_000), clock)
    start, got, asked = clock.now, {"greedy": 0, "modest": 0}, 0
    waits: list[float] = []

    def send(key: str, size: int) -> None:
        throttle.foresee(key, size)
        throttle.admit(key, size)
        got[key] += 1

    for tick in range(15_000):  # half a minute
        clock.now = start + tick / 500
        for key, size, due in (("greedy", 1000, True), ("modest", 100, tick % 125 == 60)):
            if due:
                asked += key == "modest"
                try:
                    send(key, size)
                except ThrottledError as error:
                    waits.append(error.seconds)
    assert 0 < min(waits) <= max(waits) < 1
    assert got["modest"] >= asked - 2
    assert 290 <= got["greedy"] + got["modest"] <= 311


def test_clients_that_come_back_when_told_get_the_whole_rate() -> None:
    clock = StandingClock()
    throttle = Throttle(Rates(requests=10), clock)
    start, served = clock.now, {"a": 0, "b": 0}
    due = {"a": start, "b": start}
    while clock.now < start + 100:
        key = min(due, key=due.__getitem__)
        clock.now = due[key]
        try:
            throttle.admit(key, 0)
            served[key] += 1
        except ThrottledError as error:
            due[key] += math.ceil(error.seconds * 1000) / 1000
    assert 1000 <= sum(served.values()) <= 1011
    assert abs(served["a"] - served["b"]) <= 12  # the first ten go to whoever comes first
