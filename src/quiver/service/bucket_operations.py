"""The operations on vector buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.model.errors import NotFoundError, ValidationError
from quiver.service.arn import BucketRef
from quiver.service.catalog_commands import CreateBucket, DeleteBucket
from quiver.service.catalog_state import NO_BUCKET
from quiver.service.context import Response
from quiver.service.names import check_bucket_name, resolve_bucket
from quiver.service.page_tokens import Scope
from quiver.service.tag_rules import check_tags

if TYPE_CHECKING:
    from quiver.service.catalog_state import Bucket
    from quiver.service.context import Context

INDEX_MODE = "ENHANCED"
"""The only index mode. The service itself gives no other to buckets created since 2026-09-30."""
MAX_RESULTS = 500

_NO_CLASSIC = "defaultIndexMode cannot be set to CLASSIC because this vector bucket does not support CLASSIC mode"


class BucketOperations:
    """One method per operation: parameters that were validated in, a response out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, params: dict[str, Any]) -> Response:
        """CreateVectorBucket."""
        name, tags = params["vectorBucketName"], params.get("tags") or {}
        check_bucket_name(name)
        check_tags(tags)
        encryption = await self._context.encryption.of_bucket(name, params.get("encryptionConfiguration"))
        created = int(self._context.runtime.time())
        await self._context.catalog.execute(CreateBucket(name, created, encryption, tags))
        return Response({"vectorBucketArn": self._arn(name)})

    async def get(self, params: dict[str, Any]) -> Response:
        """GetVectorBucket."""
        bucket = await self._find(params)
        shown = self._summary(bucket) | {
            "encryptionConfiguration": bucket.encryption,
            "defaultIndexMode": INDEX_MODE,
        }
        return Response({"vectorBucket": shown})

    async def list(self, params: dict[str, Any]) -> Response:
        """ListVectorBuckets, in the order of names."""
        limit, prefix = params.get("maxResults") or MAX_RESULTS, params.get("prefix") or ""
        scope = Scope("ListVectorBuckets", "", prefix.encode())
        token, tokens = params.get("nextToken"), self._context.tokens
        after = "" if token is None else tokens.open(scope, token, str)
        found = await self._context.catalog.read(lambda state: state.list_buckets(prefix, after, limit + 1))
        body: dict[str, Any] = {"vectorBuckets": [self._summary(bucket) for bucket in found[:limit]]}
        if len(found) > limit:
            body["nextToken"] = tokens.seal(scope, found[limit - 1].name)
        return Response(body)

    async def delete(self, params: dict[str, Any]) -> Response:
        """DeleteVectorBucket."""
        ref = resolve_bucket(params, self._context.home)
        await self._context.catalog.execute(DeleteBucket(ref.bucket))
        return Response()

    async def put_default_index_mode(self, params: dict[str, Any]) -> Response:
        """PutVectorBucketDefaultIndexMode."""
        await self._find(params)
        if params["defaultIndexMode"] != INDEX_MODE:
            raise ValidationError(_NO_CLASSIC)
        return Response()

    async def _find(self, params: dict[str, Any]) -> Bucket:
        ref = resolve_bucket(params, self._context.home)
        bucket = await self._context.catalog.read(lambda state: state.bucket(ref.bucket))
        if bucket is None:
            raise NotFoundError(NO_BUCKET)
        return bucket

    def _summary(self, bucket: Bucket) -> dict[str, Any]:
        return {
            "vectorBucketName": bucket.name,
            "vectorBucketArn": self._arn(bucket.name),
            "creationTime": bucket.created,
        }

    def _arn(self, name: str) -> str:
        return self._context.home.arn(BucketRef(name))
