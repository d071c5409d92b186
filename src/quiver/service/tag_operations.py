"""The operations on tags of vector buckets and indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.model.errors import NotFoundError
from quiver.service.arn import IndexRef
from quiver.service.catalog_commands import TagResource, UntagResource
from quiver.service.catalog_state import NO_RESOURCE
from quiver.service.context import Response
from quiver.service.names import resolve_resource
from quiver.service.structure_tags import refuse_change
from quiver.service.tag_rules import check_tags

if TYPE_CHECKING:
    from quiver.service.catalog_state import Bucket, CatalogState, Index
    from quiver.service.context import Context


class TagOperations:
    """One method per operation: parameters that were validated in, a response out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def tag(self, params: dict[str, Any]) -> Response:
        """TagResource."""
        bucket, index = self._names(params)
        check_tags(params["tags"])
        if index is not None:
            refuse_change({key: f"tags.{key}" for key in params["tags"]})
        await self._context.catalog.execute(TagResource(bucket, index, params["tags"]))
        return Response()

    async def untag(self, params: dict[str, Any]) -> Response:
        """UntagResource; keys that are not there are ignored."""
        bucket, index = self._names(params)
        if index is not None:
            refuse_change({key: f"tagKeys[{place}]" for place, key in enumerate(params["tagKeys"])})
        await self._context.catalog.execute(UntagResource(bucket, index, list(params["tagKeys"])))
        return Response()

    async def list(self, params: dict[str, Any]) -> Response:
        """ListTagsForResource."""
        bucket, index = self._names(params)

        def find(state: CatalogState) -> Bucket | Index | None:
            return state.bucket(bucket) if index is None else state.index(bucket, index)

        record = await self._context.catalog.read(find)
        if record is None:
            raise NotFoundError(NO_RESOURCE)
        return Response({"tags": record.tags})

    def _names(self, params: dict[str, Any]) -> tuple[str, str | None]:
        ref = resolve_resource(params, self._context.home)
        return ref.bucket, ref.index if isinstance(ref, IndexRef) else None
