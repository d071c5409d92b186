"""Schemathesis makes requests from the OpenAPI document; a real server answers all of them as the document says.

`QUIVER_TEST_SCHEMATHESIS` sets how many examples are tried for each operation (5).
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.workbench import REGION, Workbench, record
from cli.running import KEYS
from quiver.server.openapi import describe
from quiver.service.extensions import SERVED

if TYPE_CHECKING:
    from cluster.processes import Server

EXAMPLES = int(os.environ.get("QUIVER_TEST_SCHEMATHESIS", "5"))
SCHEMA = schemathesis.openapi.from_dict(describe(SERVED.values()))
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
SIGNATURE_ERRORS = ("InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException")


class Signed(requests.auth.AuthBase):
    """Signs a prepared request as botocore does, over whatever schemathesis made."""

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        body = prepared.body or b""
        data = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": prepared.headers.get("Content-Type", "application/json")}
        request = AWSRequest(prepared.method, prepared.url, headers, data)
        keys = Credentials(KEYS["QUIVER_ACCESS_KEY_ID"], KEYS["QUIVER_SECRET_ACCESS_KEY"])
        SigV4Auth(keys, "s3vectors", REGION).add_auth(request)
        prepared.headers.update(dict(request.headers.items()))
        return prepared


@pytest.fixture(scope="module")
def session() -> Any:
    with requests.Session() as session:
        session.auth = Signed()
        yield session


@pytest.fixture(scope="module")
def names(local_client: Any) -> dict[str, str]:
    """An index with vectors."""
    return Workbench(local_client).filled(*(record(f"k{n}", [n, 1], {"n": n}) for n in range(5)))


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVED)
def test_every_answer_is_one_that_the_document_names(
    name: str, local_server: Server, session: Any, names: dict[str, str]
) -> None:
    """Half of the requests keep to their schemas, half do not; half of them are about an index that exists."""
    described = SCHEMA[SERVED[name].path][SERVED[name].method]
    made = st.one_of(described.as_strategy(generation_mode=mode) for mode in MODES)
    statuses: Counter[int] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=made, existing=st.booleans())
    def send(case: schemathesis.Case, existing: bool) -> None:
        if existing and isinstance(case.body, dict) and not name.startswith("Delete"):
            rest = {member: value for member, value in case.body.items() if not member.endswith("Arn")}
            known = {member: names[member] for member in names if member in SERVED[name].input.members}
            case.body = rest | known
        answer = case.call(base_url=local_server.url, session=session)
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)
        assert answer.headers.get("x-amzn-errortype") not in SIGNATURE_ERRORS, answer.json()

    send()
    print(name, dict(statuses))
    assert statuses.total() >= EXAMPLES


@pytest.mark.slow
def test_a_request_of_schemathesis_does_what_it_says(
    local_server: Server, session: Any, names: dict[str, str]
) -> None:
    case = SCHEMA["/GetIndex"]["POST"].Case(body=names, media_type="application/json")
    answer = case.call_and_validate(base_url=local_server.url, session=session, checks=CHECKS)
    assert (answer.status_code, answer.json()["index"]["dimension"]) == (200, 2)
