"""No request over the operation table, however malformed, gets a 5xx, an unreadable answer or a wrong one.

`QUIVER_TEST_FUZZ` sets how many requests are sent (3,000), `QUIVER_TEST_FUZZ_SEED` the first seed (0).
"""

from __future__ import annotations

import http.client
import json
import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from api.mutations import Mutator, Request
from api.raw import HOST, Answer, Raw
from api.workbench import Workbench, fresh_name, record
from quiver.service.operations import OPERATIONS

if TYPE_CHECKING:
    from cluster.processes import Server

REQUESTS = int(os.environ.get("QUIVER_TEST_FUZZ", "3000"))
FIRST_SEED = int(os.environ.get("QUIVER_TEST_FUZZ_SEED", "0"))
GROWTH = 128 << 20
"""By how many bytes the memory of the workers may grow between a fifth of a long run and its end."""
REFUSALS = {
    400: {"ValidationException", "SerializationException"},
    403: {"AccessDeniedException"},
    404: {"NotFoundException", "UnknownOperationException"},  # the latter for an ARN of no characters
    409: {"ConflictException"},
    414: {"RequestUriTooLongException"},
}


def finite(value: Any) -> bool:
    """Whether all numbers in a JSON value are."""
    if isinstance(value, dict | list):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def check(request: Request, answer: Answer, seed: int) -> None:
    """One answer: readable, documented, and what its status says."""
    case = (seed, request.operation, request.done, answer)
    body = json.loads(answer.body)
    assert answer.headers["x-amzn-requestid"], case
    assert answer.headers["content-type"] == "application/json", case
    if answer.status == 200:
        assert isinstance(body, dict), case
        assert "x-amzn-errortype" not in answer.headers, case
        assert finite(body), case
        assert len(body.get("vectors", ())) <= 1000, case
    else:
        assert answer.code in REFUSALS.get(answer.status, ()), case
        assert isinstance(body["message"], str), case
        assert body["message"], case
        assert set(body) <= {"message", "fieldList"}, case
        assert all(set(field) == {"path", "message"} for field in body.get("fieldList", ())), case
        assert len(answer.body) < 100_000, case
    assert answer.closed == (answer.status == 414), case


@pytest.mark.slow
def test_fuzz(local_server: Server, local_client: Any) -> None:
    canary = Workbench(local_client)
    names = canary.filled(*(record(f"k{n}", [n, 1], {"n": n}) for n in range(20)))
    mutator = Mutator(fresh_name(), "i-" + fresh_name(), [])
    codes: Counter[str] = Counter()
    answered: Counter[tuple[str, bool]] = Counter()
    previous: Any = None
    with Raw(local_server.port) as raw:
        early = 0
        for seed in range(FIRST_SEED, FIRST_SEED + REQUESTS):
            if seed == FIRST_SEED + REQUESTS // 5:
                early = local_server.resident()
            request = mutator.request(seed)
            headers = raw.signed(request.method, request.target, request.body)
            try:
                answer = raw.send(request.method, request.target, request.body, headers)
            except (OSError, http.client.HTTPException) as error:
                raise AssertionError(f"no answer to {seed}; before it {previous}") from error
            check(request, answer, seed)
            previous = request, answer
            codes[answer.code] += 1
            answered[request.operation, answer.status == 200] += 1
            if answer.status == 200 and "nextToken" in answer.json:
                mutator.tokens[:] = [*mutator.tokens[-7:], answer.json["nextToken"]]
        assert raw.connections == 1 + codes["RequestUriTooLongException"]
        assert raw.send("GET", "/health", b"", [("Host", HOST)]).status == 200
    late = local_server.resident()
    print(f"{REQUESTS} requests, {early >> 20} MiB after a fifth, {late >> 20} MiB at the end", dict(codes))
    assert late - early <= GROWTH
    assert canary.keys(names) == {f"k{n}" for n in range(20)}
    assert canary.nearest(names, [7, 1], 3, filter={"n": {"$gte": 7}}) == ["k7", "k8", "k9"]
    if REQUESTS >= 3000:  # the mutations neither miss an operation nor drown it in one kind of answer
        assert {name for name, ok in answered if ok} == set(OPERATIONS)
        assert {name for name, ok in answered if not ok} == set(OPERATIONS)
        assert {"ValidationException", "SerializationException", "NotFoundException", "ConflictException"} <= set(
            codes
        )
        assert codes["OK"] > REQUESTS / 10
