"""The service: what S3 Vectors means, operation by operation, without HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.engine.engine import STRONG
from quiver.service.authorization import Authorizer
from quiver.service.bucket_operations import BucketOperations
from quiver.service.bulk_operations import BulkOperations
from quiver.service.conditional_operations import ConditionalOperations
from quiver.service.context import Context, Response
from quiver.service.encryption import Encryption
from quiver.service.extended_queries import BatchQuery, QueryWithData
from quiver.service.extensions import SERVED
from quiver.service.filter_operations import FilterOperations
from quiver.service.index_operations import IndexOperations
from quiver.service.leniency import STRICT
from quiver.service.pace import Pace
from quiver.service.page_tokens import HOLDER, PageTokens
from quiver.service.policy_operations import PolicyOperations
from quiver.service.query_operation import QueryOperation
from quiver.service.rates import Rates
from quiver.service.reading import AS_SET, freshness_of
from quiver.service.roles import WRITES, Role
from quiver.service.tag_operations import TagOperations
from quiver.service.validation import normalise, validate
from quiver.service.vector_operations import VectorOperations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quiver.engine.engine import Engine, Freshness
    from quiver.model.runtime import Runtime
    from quiver.service.arn import Home
    from quiver.service.caller import Caller
    from quiver.service.catalog import Catalog
    from quiver.service.leniency import Leniency
    from quiver.service.reading import Reading
    from quiver.storage.store_format import StoreFormat

__all__ = ["Response", "Service"]


class Service:
    """Every operation over one catalog and one engine. Neither is closed here: whoever made them closes them.

    `bulk` loads and exports, which S3 Vectors has no operation for.

    Args:
        catalog: buckets and indexes.
        engine: vectors.
        store_format: holds the key that seals page tokens.
        runtime: time, chance and threads.
        home: the region and account of this deployment's ARNs.
        role: which operations there are; of the others each is refused with AccessDeniedError.
        freshness: of reads that do not say.
        pace: how much may be asked of an index per second; None for no limits.
        encryption: of buckets and indexes; None where no KMS key exists.
        leniency: what is accepted beyond S3 Vectors.
    """

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        store_format: StoreFormat,
        runtime: Runtime,
        home: Home,
        role: Role = Role.ALL,
        freshness: Freshness = STRONG,
        pace: Pace | None = None,
        encryption: Encryption | None = None,
        leniency: Leniency = STRICT,
    ) -> None:
        tokens = PageTokens(store_format.token_key, runtime)
        pace = pace or Pace(Rates(), runtime)
        encryption = encryption or Encryption(None, home, runtime)
        context = Context(catalog, engine, tokens, runtime, home, pace, role, encryption, leniency)
        self._authorizer = Authorizer(catalog, home, runtime)
        self._role = role
        self._freshness = freshness
        self._methods = _methods(context)
        self._reads = _reads(context)
        self.bulk = BulkOperations(context, self._authorizer)

    async def call(
        self, operation: str, params: dict[str, Any], reading: Reading = AS_SET, caller: Caller | None = None
    ) -> Response:
        """Do one operation of `SERVED`, of S3 Vectors or an extension.

        Args:
            operation: such as "PutVectors".
            params: input members as decoded JSON; a float list may also be a float32 or float64 array.
            reading: how fresh a read has to be.
            caller: who asks; None for whoever opened the root, who may do everything.

        Raises: the errors of `quiver.model.errors`.
        """
        if self._role is not Role.ALL:
            self._role.check(write=operation in WRITES)
        shape = SERVED[operation]
        normal = normalise(shape, params)
        validate(shape, normal)
        if caller is None:
            return await self._do(operation, normal, reading)
        await self._authorizer.check(operation, normal, caller)
        if caller.principal.root:
            return await self._do(operation, normal, reading)
        token = HOLDER.set(caller.principal.arn)
        try:
            return await self._do(operation, normal, reading)
        finally:
            HOLDER.reset(token)

    def _do(self, operation: str, normal: dict[str, Any], reading: Reading) -> Awaitable[Response]:
        read = self._reads.get(operation)
        if read is not None:
            return read(normal, freshness_of(reading, self._freshness))
        return self._methods[operation](normal)


def _reads(context: Context) -> dict[str, Callable[[dict[str, Any], Freshness], Awaitable[Response]]]:
    """The methods of the operations that read vectors."""
    vectors, matching = VectorOperations(context), FilterOperations(context)
    return {
        "GetVectors": vectors.get,
        "ListVectors": vectors.list,
        "QueryVectors": QueryOperation(context).query,
        "CountVectors": matching.count,
        "ListVectorsByFilter": matching.list,
        "QueryVectorsWithData": QueryWithData(context).query,
        "BatchQueryVectors": BatchQuery(context).query,
    }


def _methods(context: Context) -> dict[str, Callable[[dict[str, Any]], Awaitable[Response]]]:
    """The method of every operation that reads no vectors."""
    buckets, indexes = BucketOperations(context), IndexOperations(context)
    vectors, tags, policies = VectorOperations(context), TagOperations(context), PolicyOperations(context)
    conditional = ConditionalOperations(context)
    return {
        "CreateVectorBucket": buckets.create,
        "GetVectorBucket": buckets.get,
        "ListVectorBuckets": buckets.list,
        "DeleteVectorBucket": buckets.delete,
        "PutVectorBucketDefaultIndexMode": buckets.put_default_index_mode,
        "PutVectorBucketPolicy": policies.put,
        "GetVectorBucketPolicy": policies.get,
        "DeleteVectorBucketPolicy": policies.delete,
        "CreateIndex": indexes.create,
        "GetIndex": indexes.get,
        "ListIndexes": indexes.list,
        "DeleteIndex": indexes.delete,
        "UpdateIndexMode": indexes.update_mode,
        "UpdateMetadataConfiguration": indexes.update_metadata_configuration,
        "PutVectors": vectors.put,
        "DeleteVectors": vectors.delete,
        "TagResource": tags.tag,
        "UntagResource": tags.untag,
        "ListTagsForResource": tags.list,
        "DeleteVectorsByFilter": FilterOperations(context).delete,
        "UpdateMetadata": conditional.update_metadata,
        "PutVectorsIfAbsent": conditional.put_if_absent,
    }
