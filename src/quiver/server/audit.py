"""Audit: one log line for each request that would change who may do what, or which buckets and indexes there are.

Also for those that were refused. Lines have the level warning, so that they stay when requests are not logged.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from quiver.service.operations import OPERATIONS
from quiver.service.roles import WRITES

if TYPE_CHECKING:
    from collections.abc import Mapping

AUDITED = (WRITES & OPERATIONS.keys()) - {"PutVectors", "DeleteVectors"}
"""The operations that leave a line: extensions change vectors only."""

EVENT = "audit"
_NAMES = ("vectorBucketName", "vectorBucketArn", "indexName", "indexArn", "resourceArn")


def describe_change(operation: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a request is about, as log fields; None for an operation that is not audited.

    Of a policy only the hash, by which it can be told whether a certain text was stored.
    """
    if operation not in AUDITED:
        return None
    fields: dict[str, Any] = {name: params[name] for name in _NAMES if isinstance(params.get(name), str)}
    policy = params.get("policy")
    if isinstance(policy, str):
        fields["policy_sha256"] = hashlib.sha256(policy.encode("utf-8", "replace")).hexdigest()
    return fields
