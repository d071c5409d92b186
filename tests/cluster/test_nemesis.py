"""Three servers, four clients and a nemesis, for a short while: linearizable keys, whole batches, nothing lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cli.running import KEYS
from cluster import nemesis_clients
from cluster.campaign import ROLES, SERVERS, Campaign, Settings
from cluster.nemesis_actions import Pace

if TYPE_CHECKING:
    from pathlib import Path

OPERATIONS, SECONDS = 600, 60
KINDS = ("kills of a server", "stops of a server", "jumps of a clock")


@pytest.mark.slow
def test_a_nemesis_breaks_no_promise(tmp_path: Path) -> None:
    pace = Pace(server=2.0, door=2.0, pause=2.0)
    with Campaign(tmp_path, Settings(OPERATIONS, SECONDS, SECONDS, pace, seed=1)) as campaign:
        campaign.run()
        done, store = campaign.totals, campaign.counts()
    assert done["undecided keys"] == 0
    assert done["clean checks"] == campaign.periods == 1
    assert campaign.requests >= OPERATIONS
    assert done["writes ok"] > 50
    assert done["answers of GetVectors"] > 50
    assert done["answers of QueryVectors"] > 20
    assert done["answers of ListVectors"] > 5
    assert all(done[kind] for kind in KINDS), done
    assert sum(count for name, count in store.items() if "fault" in name) > 20, store
    assert done["writes unknown"] < done["writes ok"]


def test_some_server_takes_writes_and_some_role_is_tried_in_every_period() -> None:
    assert all(len(roles) == SERVERS and {"all", "writer"} & set(roles) for roles in ROLES)
    assert {role for roles in ROLES for role in roles} == {"all", "writer", "reader", "maintainer"}


def test_requests_are_signed_as_botocore_signs_them() -> None:
    body, host, now = b'{"a": 1}', "127.0.0.1:8080", time.time()
    ours = nemesis_clients.headers(host, "PutVectors", body, now)
    request = AWSRequest("POST", f"http://{host}/PutVectors", {}, body)
    for name in ("content-type", "x-amz-content-sha256"):
        request.headers[name] = ours[name]
    keys = Credentials(KEYS["QUIVER_ACCESS_KEY_ID"], KEYS["QUIVER_SECRET_ACCESS_KEY"])
    signer = SigV4Auth(keys, "s3vectors", "us-east-1")
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:  # botocore signs at its own time, in whole seconds
        signer.add_auth(request)
        ours = nemesis_clients.headers(host, "PutVectors", body, time.time())
        if request.headers["x-amz-date"] == ours["x-amz-date"]:
            break
    assert ours["authorization"] == request.headers["authorization"]
