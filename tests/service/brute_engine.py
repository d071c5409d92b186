"""An engine of dictionaries: exact, without I/O, shared by several nodes. The oracle of service tests."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import orjson
import xxhash

from engine.reference import Model, Stored, distance
from quiver.engine.engine import (
    MAX_TEXT_FIELDS,
    STRONG,
    Count,
    Deleted,
    Engine,
    Freshness,
    Hits,
    Index,
    IndexSealedError,
    Listing,
    ListPosition,
    Loaded,
    Lookup,
    Query,
    Row,
    SourceWork,
    TextFieldBuildingError,
    TextFieldConflictError,
    TextFieldStatus,
    TooManyTextFieldsError,
    UnknownTextFieldError,
)
from quiver.model.filter import matches
from quiver.model.progress import no_progress
from quiver.model.types import VectorBatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Sequence

    from quiver.engine.engine import Decide
    from quiver.model.filter import Filter
    from quiver.model.progress import Progress
    from quiver.model.types import IndexSpec, TextField


@dataclass
class Content:
    """What is stored of one index."""

    rows: dict[str, tuple[np.ndarray, bytes]] = field(default_factory=dict)
    commit: int = 0
    sealed: bool = False
    asked: list[Freshness] = field(default_factory=list)
    texts: list[TextField] | None = None
    building: set[str] = field(default_factory=set)

    def check_open(self) -> None:
        if self.sealed:
            raise IndexSealedError


Shelf = dict[str, Content]


def key_hash(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode())


class BruteIndex(Index):
    """One index of a shelf."""

    def __init__(self, index_id: str, spec: IndexSpec, content: Content) -> None:
        self.index_id = index_id
        self.spec = spec
        self._content = content
        if content.texts is None:
            content.texts = list(spec.texts)
        self.asked = content.asked

    async def put(self, batch: VectorBatch) -> int:
        self._content.check_open()
        assert len(set(batch.keys)) == len(batch.keys) == len(batch.vectors) == len(batch.metadata)
        assert batch.vectors.dtype == np.float32
        assert batch.vectors.shape[1] == self.spec.dimension
        for key, vector, metadata in zip(batch.keys, batch.vectors, batch.metadata, strict=True):
            self._content.rows[key] = (vector.copy(), metadata)
        self._content.commit += 1
        return self._content.commit

    async def delete(self, keys: Sequence[str]) -> int:
        self._content.check_open()
        for key in keys:
            self._content.rows.pop(key, None)
        self._content.commit += 1
        return self._content.commit

    async def get(
        self, keys: Sequence[str], *, vectors: bool, metadata: bool, freshness: Freshness = STRONG
    ) -> Lookup:
        self._content.check_open()
        self.asked.append(freshness)
        assert len(set(keys)) == len(keys)
        found = [
            self._row(key, vectors, metadata) for key in sorted(keys, reverse=True) if key in self._content.rows
        ]
        return Lookup(found, self._content.commit)

    async def list(
        self,
        *,
        limit: int,
        max_bytes: int,
        after: ListPosition | None = None,
        segment: int = 0,
        segment_count: int = 1,
        vectors: bool = False,
        metadata: bool = False,
        condition: Filter | None = None,
        freshness: Freshness = STRONG,
    ) -> Listing:
        self._content.check_open()
        self.asked.append(freshness)
        places = sorted(ListPosition(key_hash(key), key) for key in self._matching(condition))
        places = [
            p for p in places if (p.key_hash * segment_count) >> 64 == segment and (after is None or p > after)
        ]
        page, processed = [], 0
        for place in places[:limit]:
            page.append(place)
            vector, document = self._content.rows[place.key]
            processed += len(place.key.encode()) + vector.nbytes + len(document)
            if processed > max_bytes:
                break
        position = page[-1] if len(page) < len(places) else None
        return Listing([self._row(p.key, vectors, metadata) for p in page], position, self._content.commit)

    async def query(self, query: Query, freshness: Freshness = STRONG) -> Hits:
        self._content.check_open()
        self.asked.append(freshness)
        if query.texts:
            return self._by_texts(query)
        ranking = sorted(
            (self._distance(query.vector, vector), key)
            for key, (vector, metadata) in self._content.rows.items()
            if query.filter is None or matches(query.filter, orjson.loads(metadata))
        )
        hits = [hit for hit in ranking if query.after is None or hit > query.after[:2]][: query.limit]
        metadata = [self._content.rows[key][1] for _, key in hits] if query.metadata else None
        vectors = self._vectors([key for _, key in hits]) if query.vectors else None
        distances = np.array([distance for distance, _ in hits], np.float32)
        held = len(self._content.rows)
        work = SourceWork("dictionary", "rows", "scan", held, len(ranking), 1, 1, 0, held, 0)
        return Hits([key for _, key in hits], distances, metadata, self._content.commit, [work], vectors=vectors)

    async def query_many(self, queries: Sequence[Query], freshness: Freshness = STRONG) -> Sequence[Hits]:
        return [await self.query(query, freshness) for query in queries]

    async def count(self, condition: Filter | None = None, freshness: Freshness = STRONG) -> Count:
        self._content.check_open()
        self.asked.append(freshness)
        return Count(len(self._matching(condition)), self._content.commit)

    async def amend(
        self, keys: Sequence[str], decide: Decide, *, vectors: bool = False, metadata: bool = False
    ) -> int:
        batch = decide((await self.get(keys, vectors=vectors, metadata=metadata)).rows)
        assert set(batch.keys) <= set(keys)
        return await self.put(batch) if batch.keys else self._content.commit

    async def delete_matching(
        self, condition: Filter, *, limit: int, after: ListPosition | None = None
    ) -> Deleted:
        page = await self.list(limit=limit, max_bytes=sys.maxsize, after=after, condition=condition)
        commit = await self.delete([row.key for row in page.rows]) if page.rows else page.commit
        return Deleted(len(page.rows), page.position, commit)

    def _vectors(self, keys: Sequence[str]) -> np.ndarray:
        rows = [self._content.rows[key][0] for key in keys]
        return np.array(rows, np.float32).reshape(len(keys), self.spec.dimension)

    def _matching(self, condition: Filter | None) -> list[str]:
        return [
            key
            for key, (_, metadata) in self._content.rows.items()
            if condition is None or matches(condition, orjson.loads(metadata))
        ]

    def _by_texts(self, query: Query) -> Hits:
        keys = [field.key for field in self._content.texts]
        for text in query.texts:
            if text.key not in keys:
                raise UnknownTextFieldError(text.key)
            if text.key in self._content.building:
                raise TextFieldBuildingError(text.key)
        rows = {key: Stored(*row) for key, row in self._content.rows.items()}
        hits = Model(self.spec.metric, rows, self._content.texts).answer(query)[: query.limit]
        distances = [np.nan if hit.scores.distance is None else hit.scores.distance for hit in hits]
        held = len(rows)
        return Hits(
            [hit.key for hit in hits],
            np.array(distances, np.float32),
            [rows[hit.key].metadata for hit in hits] if query.metadata else None,
            self._content.commit,
            [SourceWork("dictionary", "rows", "text", held, held, 1, 1, 0, held, 0)],
            [hit.scores for hit in hits],
            self._vectors([hit.key for hit in hits]) if query.vectors else None,
        )

    async def text_fields(self, freshness: Freshness = STRONG) -> list[TextFieldStatus]:
        self._content.check_open()
        self.asked.append(freshness)
        building = self._content.building
        return [TextFieldStatus(field, field.key not in building) for field in self._content.texts]

    async def configure_texts(self, add: Sequence[TextField] = (), delete: Sequence[str] = ()) -> int:
        self._content.check_open()
        fields = {field.key: field for field in self._content.texts}
        for key in delete:
            if fields.pop(key, None) is None:
                raise UnknownTextFieldError(key)
        for each in add:
            if each.key in fields:
                raise TextFieldConflictError(each.key)
            fields[each.key] = each
        if len(fields) > MAX_TEXT_FIELDS:
            raise TooManyTextFieldsError
        self._content.texts = list(fields.values())
        self._content.commit += 1
        return self._content.commit

    async def load(self, batches: AsyncIterable[VectorBatch], progress: Progress = no_progress) -> Loaded:
        rows: dict[str, tuple[np.ndarray, bytes]] = {}
        async for batch in batches:
            for key, vector, metadata in zip(batch.keys, batch.vectors, batch.metadata, strict=True):
                rows[key] = (vector.copy(), metadata)
            progress("read", len(rows), len(rows))
        self._content.check_open()
        self._content.rows.update(rows)
        return Loaded(len(rows), self._content.commit)

    async def scan(self, rows: int = 4096) -> AsyncIterator[VectorBatch]:
        self._content.check_open()
        held = list(self._content.rows.items())
        for start in range(0, len(held), rows):
            part = held[start : start + rows]
            vectors = np.stack([vector for _, (vector, _) in part])
            yield VectorBatch([key for key, _ in part], vectors, [document for _, (_, document) in part])

    def _row(self, key: str, vectors: bool, metadata: bool) -> Row:
        vector, document = self._content.rows[key]
        return Row(key, vector if vectors else None, document if metadata else None)

    def _distance(self, left: np.ndarray, right: np.ndarray) -> float:
        return distance(left, right, self.spec.metric)


class BruteEngine(Engine):
    """One node's engine."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def open(self, index_id: str, spec: IndexSpec) -> BruteIndex:
        return BruteIndex(index_id, spec, self._shelf.setdefault(index_id, Content()))

    async def seal(self, index_id: str, spec: IndexSpec) -> None:
        content = self._shelf.setdefault(index_id, Content())
        content.sealed = True
        content.rows.clear()

    async def close(self) -> None:
        return
