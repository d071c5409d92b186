"""The native engine as a replica: batches become vectors, answers are compared with brute force on the spot."""

from __future__ import annotations

import zlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import orjson

from engine.text_reference import bm25
from quiver.engine.engine import Freshness, ListPosition, Query, TextQuery
from quiver.engine.native.state import decode_checkpoint
from quiver.format import checkpoint as checkpoint_format
from quiver.format import log_entry, paths, rows
from quiver.format.envelope import Kind as EnvelopeKind
from quiver.format.envelope import decode
from quiver.format.log_entry import PartKind
from quiver.model.filter import In
from quiver.model.types import DistanceMetric, IndexSpec, TextField, VectorBatch
from quiver.storage.segment_reader import SegmentReader
from simulation.checkers.history import Violation
from simulation.replica import CLASSES, Answer, Replica
from simulation.timeline import Load, Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from random import Random
    from typing import Any

    from quiver.engine.engine import Row
    from quiver.engine.native.index import NativeIndex
    from simulation.store import Backing

INDEX_ID = "b" * 32
ROOT = paths.index_root(INDEX_ID)
EVERYTHING = 1_000
NOTE, WORD = "note", "batch"
"""A metadata key, and a word that every row has there."""
NEVER = 0
"""The value of no batch that counts."""
PAGES = 40
"""More pages than a listing two by two can have."""


def draw_spec(random: Random) -> IndexSpec:
    return IndexSpec(random.randint(2, 4), random.choice(list(DistanceMetric)), (NOTE,))


def vector_of(key: str, value: int, dimension: int) -> np.ndarray:
    """The vector that batch `value` gives to `key`: another one for each pair, never zero."""
    seed = zlib.crc32(f"{key} {value}".encode())
    return np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)


def batch_of(keys: Sequence[str], value: int, dimension: int) -> VectorBatch:
    metadata = orjson.dumps({"class": value % CLASSES, "value": value, NOTE: f"{WORD} {value}"})
    return VectorBatch(
        list(keys), np.stack([vector_of(key, value, dimension) for key in keys]), [metadata] * len(keys)
    )


def base_of(document: Mapping[str, Any]) -> int:
    """The batch that put the vector of a row: its metadata may have been rewritten since."""
    return int(document.get("base", document["value"]))


def brute_force(vector: np.ndarray, key: str, value: int, spec: IndexSpec) -> float:
    """The distance in float64, from the definition."""
    stored = vector_of(key, value, spec.dimension).astype(np.float64)
    asked = vector.astype(np.float64)
    if spec.metric is DistanceMetric.EUCLIDEAN:
        return float(np.sqrt(((stored - asked) ** 2).sum()))
    return float(1 - stored @ asked / (np.linalg.norm(stored) * np.linalg.norm(asked)))


class VectorReplica(Replica):
    """One open index of a native engine."""

    loads = True

    def __init__(self, index: NativeIndex, random: Random) -> None:
        self.index = index
        self._spec = index.spec
        self._random = random
        self.lag = index.settings.staleness

    async def put(self, keys: Sequence[str], value: int) -> int:
        return await self.index.put(batch_of(keys, value, self._spec.dimension))

    async def delete(self, keys: Sequence[str]) -> int:
        return await self.index.delete(list(keys))

    async def get(self, keys: Sequence[str]) -> Answer:
        found = await self.index.get(list(keys), vectors=True, metadata=True)
        return self._answer(found.rows, found.commit)

    async def glance(self, keys: Sequence[str], at_least: int) -> Answer:
        freshness = Freshness(eventual=True, at_least=at_least)
        found = await self.index.get(list(keys), vectors=True, metadata=True, freshness=freshness)
        return self._answer(found.rows, found.commit)

    async def list(self) -> Answer:
        if self._random.random() < 0.3:
            await self._list_by_pages()
        page = await self.index.list(limit=EVERYTHING, max_bytes=1 << 20, vectors=True, metadata=True)
        if page.position is not None:
            raise Violation("a listing that fits on one page has another")
        return self._answer(page.rows, page.commit)

    async def _list_by_pages(self) -> None:
        """Pages are taken at different commits, but no key may come twice."""
        segment_count = self._random.randint(1, 3)
        seen: list[str] = []
        for segment in range(segment_count):
            position: ListPosition | None = None
            for _ in range(PAGES):
                page = await self.index.list(
                    limit=2, max_bytes=1 << 20, after=position, segment=segment, segment_count=segment_count
                )
                seen += [row.key for row in page.rows]
                position = page.position
                if position is None:
                    break
        if len(seen) != len(set(seen)):
            raise Violation(f"a listing shows a key twice: {seen}")

    async def load(self, keys: Sequence[str], value: int) -> None:
        """The keys one by one, each once more with another value before, which must not be seen."""

        async def batches() -> AsyncIterator[VectorBatch]:
            yield batch_of(keys, NEVER, self._spec.dimension)
            for key in keys:
                yield batch_of([key], value, self._spec.dimension)

        await self.index.load(batches())

    async def put_absent(self, keys: Sequence[str], value: int) -> dict[str, int]:
        written: dict[str, int] = {}

        def decide(found: Sequence[Row]) -> VectorBatch:
            written.clear()
            written.update(dict.fromkeys(keys, value))
            for row in found:
                del written[row.key]
            return batch_of(list(written), value, self._spec.dimension) if written else self._nothing()

        await self.index.amend(list(keys), decide)
        return written

    async def rewrite(self, keys: Sequence[str], value: int) -> dict[str, int]:
        """Of the metadata only: the vectors stay those of the batch that put them."""
        before: dict[str, int] = {}

        def decide(found: Sequence[Row]) -> VectorBatch:
            documents = {row.key: orjson.loads(row.metadata) for row in found}
            before.clear()
            before.update({key: document["value"] for key, document in documents.items()})
            if not found:
                return self._nothing()
            changes = {"class": value % CLASSES, "value": value}
            rewritten = [
                orjson.dumps({**document, "base": base_of(document), **changes}) for document in documents.values()
            ]
            return VectorBatch(list(documents), np.stack([row.vector for row in found]), rewritten)

        await self.index.amend(list(keys), decide, vectors=True, metadata=True)
        return before

    def _nothing(self) -> VectorBatch:
        return VectorBatch([], np.zeros((0, self._spec.dimension), np.float32), [])

    async def query(self, value_class: int | None, limit: int | None = None) -> Answer:
        asked = np.array([self._random.gauss(0, 1) for _ in range(self._spec.dimension)], np.float32)
        condition = None if value_class is None else In("class", (value_class,))
        hits = await self.index.query(Query(asked, limit or EVERYTHING, condition, metadata=True))
        values, bases = {}, {}
        for key, metadata in zip(hits.keys, hits.metadata or [], strict=True):
            if key in values:
                raise Violation(f"a query returns {key} twice")
            document = orjson.loads(metadata)
            values[key], bases[key] = document["value"], base_of(document)
        self._check_ranking(asked, bases, hits.distances.tolist())
        return Answer(values, hits.commit)

    async def configure(self, language: str | None) -> int:
        """Add the text field `note` in a language, or delete it."""
        if language is None:
            return await self.index.configure_texts(delete=[NOTE])
        return await self.index.configure_texts(add=[TextField(NOTE, language)])

    async def search(self, value_class: int | None) -> Answer:
        """Everything, or all of one class, by a word that all rows have."""
        condition = None if value_class is None else In("class", (value_class,))
        texts = (TextQuery(NOTE, WORD),)
        hits = await self.index.query(Query(None, EVERYTHING, condition, metadata=True, texts=texts))
        documents = dict(zip(hits.keys, hits.metadata or [], strict=True))
        if len(documents) < len(hits.keys):
            raise Violation(f"a search by text returns a row twice: {hits.keys}")
        if value_class is None:
            due = bm25(documents, TextField(NOTE), WORD)
            found = {
                key: sum(scores.bm25[0][1:]) for key, scores in zip(hits.keys, hits.scores or [], strict=True)
            }
            if not np.allclose(list(found.values()), [due[key] for key in found], rtol=1e-9):
                raise Violation(f"scores {found}, the definition says {due}")
        return Answer({key: orjson.loads(text)["value"] for key, text in documents.items()}, hits.commit)

    def _check_ranking(self, asked: np.ndarray, values: dict[str, int], distances: list[float]) -> None:
        due = [brute_force(asked, key, value, self._spec) for key, value in values.items()]
        if not np.allclose(distances, due, rtol=1e-5, atol=1e-6):
            raise Violation(f"distances {distances}, brute force says {due}")
        ranked = list(zip(distances, values, strict=True))
        if ranked != sorted(ranked):
            raise Violation(f"hits out of order: {ranked}")

    def _answer(self, found: Sequence, commit: int) -> Answer:
        values = {}
        for row in found:
            if row.key in values:
                raise Violation(f"{row.key} is answered twice")
            document = orjson.loads(row.metadata)
            base = base_of(document)
            if not np.array_equal(row.vector, vector_of(row.key, base, self._spec.dimension)):
                raise Violation(f"{row.key} has the metadata of batch {base} but another vector")
            values[row.key] = document["value"]
        return Answer(values, commit)

    async def flush(self) -> None:
        await self.index.maintenance.flush()

    async def compact(self) -> None:
        if self._random.random() < 0.5:
            await self.index.maintenance.compact_all()
        else:
            await self.index.maintenance.compact_tier()

    async def collect_garbage(self) -> None:
        await self.index.maintenance.collect()


def replay(backing: Backing, dimension: int) -> Timeline:
    """What every log object and every checkpoint ever created says."""
    changes = [partial(after_parts, parts, dimension) for _, parts in entries(backing, ROOT, INDEX_ID)]
    return Timeline(changes, loads(backing))


def loads(backing: Backing) -> list[Load]:
    """The loads that checkpoints published. Of several objects under one name, the first counts: those that come
    after it was collected are drafts that stalled."""
    found = []
    known: set[str] = set()
    for key in sorted(key for key in backing.first if key.startswith(paths.checkpoint_prefix(ROOT))):
        body, created = backing.first[key]
        _, payload = decode(EnvelopeKind.CHECKPOINT, key, INDEX_ID, body)
        checkpoint = checkpoint_format.decode(key, payload)
        reserved = decode_checkpoint(checkpoint.state).reserved if checkpoint.state else []
        for one in reserved:
            if one.published and one.segment not in known:
                known.add(one.segment)
                found.append(Load(checkpoint.slot, created, values_of(backing, one.segment)))
    return found


def values_of(backing: Backing, segment: str) -> dict[str, int]:
    """The values by key of a segment that may be gone."""
    bodies = (
        backing.first[paths.segment_key(ROOT, segment, part)][0] for part in (paths.SEGMENT_INDEX, paths.ROWS)
    )
    reader = SegmentReader.over(ROOT, INDEX_ID, segment, *map(memoryview, bodies))
    texts = zip(reader.keys_of(range(reader.rows)), reader.metadata_of(range(reader.rows)), strict=True)
    return {key: orjson.loads(document)["value"] for key, document in texts}


def entries(backing: Backing, root: str, owner: str) -> Iterator[tuple[int, list[log_entry.Part]]]:
    """The slots of a log in order, with the parts that count: none where a writer repeated itself."""
    applied: dict[str, int] = {}
    prefix = paths.log_prefix(root)
    for slot in range(1, sum(key.startswith(prefix) for key in backing.log) + 1):
        key = paths.log_key(root, slot)
        if key not in backing.log:
            raise Violation(f"slot {slot} of the log {root} was skipped")
        identity, payload = decode(EnvelopeKind.LOG_ENTRY, key, owner, backing.log[key][0])
        repeated = applied.get(identity.writer, 0) >= identity.sequence
        applied[identity.writer] = max(identity.sequence, applied.get(identity.writer, 0))
        yield slot, [] if repeated else log_entry.decode(key, payload)


def after_parts(parts: Sequence[log_entry.Part], dimension: int, values: Mapping[str, int]) -> Mapping[str, int]:
    """What one log entry makes of the values."""
    for part in parts:
        values = after_part(values, part, dimension)
    return values


def after_part(values: Mapping[str, int], part: log_entry.Part, dimension: int) -> Mapping[str, int]:
    """What one part of a log entry makes of the values."""
    if part.kind is PartKind.PUT:
        batch = rows.decode_put(part.body, dimension)
        put = {key: orjson.loads(text)["value"] for key, text in zip(batch.keys, batch.metadata, strict=True)}
        return {**values, **put}
    if part.kind is PartKind.DELETE:
        gone = set(rows.decode_delete(part.body))
        return {key: value for key, value in values.items() if key not in gone}
    return values


def dangling(backing: Backing) -> list[str]:
    """Objects that the newest checkpoint needs and the store does not have."""
    newest = max((key for key in backing.objects if key.startswith(paths.checkpoint_prefix(ROOT))), default=None)
    if newest is None:
        return []
    _, payload = decode(EnvelopeKind.CHECKPOINT, newest, INDEX_ID, backing.objects[newest].body)
    state = checkpoint_format.decode(newest, payload).state
    needed = {
        paths.segment_key(ROOT, segment.id, part)
        for segment in (decode_checkpoint(state).segments if state else [])
        for part in (paths.ROWS, paths.SEGMENT_INDEX)
    }
    return sorted(needed - backing.objects.keys())
