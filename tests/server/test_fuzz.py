"""No request, however malformed, gets a 5xx or an answer that clients cannot read."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from server.fakes import Client
from server.fuzz import fuzzed

SEEDS = 2000


@pytest.fixture(scope="module")
def answers():
    client = Client()

    async def run():
        results = []
        for seed in range(SEEDS):
            case = fuzzed(seed)
            calls = len(client.service.calls)
            result = await client.exchange(case.method, case.target, [case.body], case.headers)
            results.append((seed, case, result, len(client.service.calls) - calls))
        return results

    return asyncio.run(run())


def test_no_request_gets_a_5xx(answers):
    assert [(seed, case.done) for seed, case, result, _ in answers if result.status >= 500] == []


def test_every_answer_is_readable(answers):
    for _, case, result, _ in answers:
        body = json.loads(result.body)
        if result.status != 200:
            assert isinstance(body["message"], str), case
            assert result.headers["x-amzn-errortype"], case


def test_only_accepted_requests_reach_the_service_and_untouched_ones_do(answers):
    for seed, case, result, calls in answers:
        assert calls == (1 if result.status == 200 else 0), (seed, case.done)
        if not case.done and case.method == fuzzed(seed).method and result.status != 200:
            assert result.status in (404, 405), (seed, result)


def test_the_mutations_reach_every_kind_of_answer(answers):
    codes = Counter(result.headers.get("x-amzn-errortype", "OK") for _, _, result, _ in answers)
    assert codes["OK"] > SEEDS / 10
    expected = {"SerializationException", "InvalidSignatureException", "IncompleteSignatureException"}
    expected |= {"AccessDeniedException", "UnknownOperationException", "MethodNotAllowedException"}
    expected |= {"BadRequestException", "UnsupportedMediaTypeException", "MissingAuthenticationTokenException"}
    assert expected <= set(codes)
