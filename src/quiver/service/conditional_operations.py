"""Extensions that write depending on what is there: put if absent, update of metadata alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from quiver.model.errors import ConflictError, ValidationError
from quiver.model.types import VectorBatch
from quiver.service.context import Response
from quiver.service.metadata_rules import encode_all
from quiver.service.names import resolve_index
from quiver.service.vector_operations import build_batch
from quiver.service.vector_rules import check_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.engine import Row
    from quiver.model.types import IndexSpec
    from quiver.service.catalog_state import Index
    from quiver.service.context import Context

_TWICE = "The key is given more than once"
_MOST_NAMED = 10
"""Keys that an error names."""


class ConditionalOperations:
    """One method per operation: parameters that were validated in, a response out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def put_if_absent(self, params: dict[str, Any]) -> Response:
        """PutVectorsIfAbsent: the vectors whose keys do not exist, in one write."""
        keys = _distinct("vectors", params["vectors"])
        existing: set[str] = set()

        async def put(index: Index) -> Response:
            self._context.pace.write(index.index_id, len(keys))
            limit = self._context.leniency.filterable_bytes
            batch = await self._context.runtime.offload(build_batch, params["vectors"], index.spec, limit)

            def decide(rows: Sequence[Row]) -> VectorBatch:
                existing.clear()
                existing.update(row.key for row in rows)
                if existing and params.get("allOrNothing"):
                    raise _conflict("exist already", [key for key in keys if key in existing])
                return _without(batch, existing)

            opened = await self._context.engine.open(index.index_id, index.spec)
            commit = await opened.amend(keys, decide)
            body = {
                "writtenKeys": [key for key in keys if key not in existing],
                "existingKeys": [key for key in keys if key in existing],
            }
            return Response(body, commit)

        return await self._context.on_index(resolve_index(params, self._context.home), put)

    async def update_metadata(self, params: dict[str, Any]) -> Response:
        """UpdateMetadata: of the vectors that exist, in one write; vectors stay as they are."""
        keys = _distinct("updates", params["updates"])
        merge = (params.get("mode") or "MERGE") == "MERGE"
        missing: list[str] = []

        async def update(index: Index) -> Response:
            self._context.pace.write(index.index_id, len(keys))

            def decide(rows: Sequence[Row]) -> VectorBatch:
                found = {row.key: row for row in rows}
                missing[:] = [key for key in keys if key not in found]
                if missing and params.get("allOrNothing"):
                    raise _conflict("do not exist", missing)
                return self._updated(params["updates"], found, index.spec, merge=merge)

            opened = await self._context.engine.open(index.index_id, index.spec)
            commit = await opened.amend(keys, decide, vectors=True, metadata=merge)
            return Response({"updatedCount": len(keys) - len(missing), "missingKeys": missing}, commit)

        return await self._context.on_index(resolve_index(params, self._context.home), update)

    def _updated(
        self, updates: Sequence[dict[str, Any]], found: dict[str, Row], spec: IndexSpec, *, merge: bool
    ) -> VectorBatch:
        """The rows with their new metadata. Raises ValidationError, for missing rows, too."""
        documents = [_new_metadata(update, found.get(update["key"]), merge=merge) for update in updates]
        encoded = encode_all(
            [update["key"] for update in updates],
            documents,
            spec.non_filterable,
            filterable_bytes=self._context.leniency.filterable_bytes,
            path="updates[{}].metadata",
        )
        kept = [number for number, update in enumerate(updates) if update["key"] in found]
        keys = [updates[number]["key"] for number in kept]
        vectors = np.array([found[key].vector for key in keys], np.float32).reshape(len(keys), spec.dimension)
        return VectorBatch(keys, vectors, [encoded[number] for number in kept])


def _new_metadata(update: dict[str, Any], row: Row | None, *, merge: bool) -> Any:
    """What a row's metadata become, not yet judged; in a merge null takes a key away."""
    given = update["metadata"]
    if not merge or not isinstance(given, dict):
        return given
    old = orjson.loads(row.metadata) if row is not None and row.metadata is not None else {}
    return {key: value for key, value in {**old, **given}.items() if value is not None}


def _distinct(member: str, records: Sequence[dict[str, Any]]) -> list[str]:
    """The keys of records. Raises ValidationError: one is too long, or comes twice."""
    keys = [record["key"] for record in records]
    check_keys(member + "[{}].key", keys)
    seen: set[str] = set()
    for number, key in enumerate(keys):
        if key in seen:
            raise ValidationError.at(f"{member}[{number}].key", _TWICE)
        seen.add(key)
    return keys


def _without(batch: VectorBatch, existing: set[str]) -> VectorBatch:
    if not existing:
        return batch
    return batch.take([number for number, key in enumerate(batch.keys) if key not in existing])


def _conflict(what: str, keys: Sequence[str]) -> ConflictError:
    named = ", ".join(repr(key) for key in keys[:_MOST_NAMED])
    more = "" if len(keys) <= _MOST_NAMED else f" and {len(keys) - _MOST_NAMED} more"
    return ConflictError(f"Nothing was written, because vectors {what}: {named}{more}")
