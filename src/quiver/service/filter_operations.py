"""Extensions that act on all vectors that match a filter: count, list, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.engine.engine import STRONG
from quiver.service.context import Response
from quiver.service.names import resolve_index
from quiver.service.page_tokens import Scope, digest
from quiver.service.vector_operations import ListPart, list_page

if TYPE_CHECKING:
    from quiver.engine.engine import Freshness
    from quiver.service.catalog_state import Index
    from quiver.service.context import Context

DELETED_AT_ONCE = 10_000
"""Vectors that one entry of the log deletes. A deletion of more is atomic entry by entry."""


class FilterOperations:
    """One method per operation: parameters that were validated in, a response out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def count(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """CountVectors: how many there are, or match, at one commit."""
        document = params.get("filter")

        async def count(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            condition = None if document is None else self._context.condition(document, index.spec)
            opened = await self._context.engine.open(index.index_id, index.spec)
            found = await opened.count(condition, freshness)
            return Response({"count": found.rows}, found.commit)

        return await self._context.on_index(resolve_index(params, self._context.home), count)

    async def list(self, params: dict[str, Any], freshness: Freshness = STRONG) -> Response:
        """ListVectorsByFilter: as ListVectors, those that match. A token fits the same index and filter."""

        async def page(index: Index) -> Response:
            self._context.pace.read(index.index_id)
            condition = self._context.condition(params["filter"], index.spec)
            scope = Scope("ListVectorsByFilter", index.index_id, digest(params["filter"]))
            return await list_page(self._context, index, scope, params, ListPart(condition=condition), freshness)

        return await self._context.on_index(resolve_index(params, self._context.home), page)

    async def delete(self, params: dict[str, Any]) -> Response:
        """DeleteVectorsByFilter, in entries of up to `DELETED_AT_ONCE` vectors, in the order of a listing.

        What matches throughout is deleted; what never matches, or was overwritten so that it no longer does, is
        not. A call that breaks off leaves the entries so far.
        """
        if params.get("dryRun"):
            counted = await self.count(params)
            return Response({"matchingCount": counted.body["count"], "deletedCount": 0}, counted.commit)

        async def delete(index: Index) -> Response:
            self._context.pace.write(index.index_id, 1)  # how many vectors it deletes is not known before
            condition = self._context.condition(params["filter"], index.spec)
            opened = await self._context.engine.open(index.index_id, index.spec)
            rows, after = 0, None
            while True:
                deleted = await opened.delete_matching(condition, limit=DELETED_AT_ONCE, after=after)
                rows, after = rows + deleted.rows, deleted.position
                if after is None:
                    return Response({"matchingCount": rows, "deletedCount": rows}, deleted.commit)

        return await self._context.on_index(resolve_index(params, self._context.home), delete)
