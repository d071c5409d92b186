"""What each operation needs permission for: one table of actions and of the resources they are judged on.

An operation that is missing here fails for everybody. A test compares the table with all operations and routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from quiver.service.arn import BucketRef, IndexRef
from quiver.service.extensions import EXTENSIONS
from quiver.service.names import (
    check_bucket_name,
    check_index_name,
    resolve_bucket,
    resolve_index,
    resolve_resource,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quiver.service.arn import Home

    Params: TypeAlias = Mapping[str, Any]
    Resource: TypeAlias = BucketRef | IndexRef | None

PREFIX = "s3vectors:"
GET_VECTORS = "s3vectors:GetVectors"
TAG_RESOURCE = "s3vectors:TagResource"
LOAD = "LoadVectors"


def _nothing_more(_: Params) -> tuple[str, ...]:
    return ()


class Rule(NamedTuple):
    """What an operation needs.

    Attributes:
        actions: all of which have to be allowed.
        resource: the bucket or index they are judged on, whether it exists or not; None for the account.
        more: further actions, by what a request asks for.
    """

    actions: tuple[str, ...]
    resource: Callable[[Params, Home], Resource]
    more: Callable[[Params], tuple[str, ...]] = _nothing_more

    def needed(self, params: Params) -> tuple[str, ...]:
        """Every action that this request needs."""
        return self.actions + self.more(params)


def _account(_: Params, __: Home) -> Resource:
    return None


def _new_bucket(params: Params, _: Home) -> Resource:
    check_bucket_name(params["vectorBucketName"])
    return BucketRef(params["vectorBucketName"])


def _new_index(params: Params, home: Home) -> Resource:
    bucket = resolve_bucket(params, home).bucket
    check_index_name(params["indexName"])
    return IndexRef(bucket, params["indexName"])


def _tags(params: Params) -> tuple[str, ...]:
    return (TAG_RESOURCE,) if params.get("tags") else ()


def _listed(params: Params) -> tuple[str, ...]:
    return (GET_VECTORS,) if params.get("returnData") or params.get("returnMetadata") else ()


def _queried(params: Params) -> tuple[str, ...]:
    reads = (
        params.get("filter") is not None or params.get("queryTexts") is not None or params.get("returnMetadata")
    )
    return (GET_VECTORS,) if reads else ()


def _rules(resource: Callable[[Params, Home], Resource], *operations: str) -> dict[str, Rule]:
    """Rules of operations that need the action of their name and no other."""
    return {operation: Rule((PREFIX + operation,), resource) for operation in operations}


RULES: dict[str, Rule] = {
    **_rules(_account, "ListVectorBuckets"),
    **_rules(resolve_bucket, "GetVectorBucket", "DeleteVectorBucket", "PutVectorBucketDefaultIndexMode"),
    **_rules(resolve_bucket, "PutVectorBucketPolicy", "GetVectorBucketPolicy", "DeleteVectorBucketPolicy"),
    **_rules(resolve_bucket, "ListIndexes"),
    **_rules(resolve_index, "GetIndex", "DeleteIndex", "UpdateIndexMode", "UpdateMetadataConfiguration"),
    **_rules(resolve_index, "PutVectors", "GetVectors", "DeleteVectors"),
    **_rules(resolve_resource, "TagResource", "UntagResource", "ListTagsForResource"),
    "CreateVectorBucket": Rule((PREFIX + "CreateVectorBucket",), _new_bucket, _tags),
    "CreateIndex": Rule((PREFIX + "CreateIndex",), _new_index, _tags),
    "ListVectors": Rule((PREFIX + "ListVectors",), resolve_index, _listed),
    "QueryVectors": Rule((PREFIX + "QueryVectors",), resolve_index, _queried),
    LOAD: Rule(("quiver:LoadVectors", "s3vectors:PutVectors"), resolve_index),
    **{name: Rule(extension.actions, resolve_index) for name, extension in EXTENSIONS.items()},
}
"""The rule of every operation, by name."""

ACTIONS = frozenset(action for rule in RULES.values() for action in rule.actions)
"""Every action there is."""
