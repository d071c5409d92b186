"""The Pythonic face: buckets and indexes as objects, NumPy arrays in and out.

Written once, asynchronously; the synchronous classes at the end are derived. Everything goes through the same
service as HTTP does, so the rules of S3 Vectors (names, limits, filters, errors) are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import orjson

from quiver.bulk.columns import Columns
from quiver.bulk.sources import open_source
from quiver.engine.engine import Hits
from quiver.library.batches import batches, by_count
from quiver.library.extended_index import ExtendedIndex
from quiver.library.plain import components, to_model
from quiver.library.structure import as_tags
from quiver.library.sync import at_once, synchronous
from quiver.library.texts import asked_texts, configurations_of, scores_of, texts_of
from quiver.model.progress import no_progress
from quiver.service.reading import AS_SET, Reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from os import PathLike

    from numpy.typing import ArrayLike, NDArray

    from quiver.bulk.parquet import Compression
    from quiver.engine.pinning import Pinned
    from quiver.library.caller import Caller, Root
    from quiver.library.texts import HitScores, TextInfo
    from quiver.model.progress import Progress
    from quiver.model.types import Float32Matrix, Metadata
    from quiver.service.service import Response

GET_LIMIT = 100
"""Vectors per GetVectors call (S3 Vectors quota)."""


class VectorRow(NamedTuple):
    """One stored vector; `vector` (float32) and `metadata` are None unless asked for."""

    key: str
    vector: NDArray[np.float32] | None
    metadata: Metadata | None


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer to a query, best first.

    Attributes:
        keys: n vector keys.
        distances: n float32 distances (cosine: 1 - cos; euclidean: the root); NaN for hits that only texts led to.
        metadata: n dictionaries, or None when not asked for.
        commit: the commit that the answer reflects; the earliest when it took several requests.
        scores: n of them; None for a query without texts.
        vectors: float32 of shape (n, dimension), or None when not asked for.
    """

    keys: list[str]
    distances: NDArray[np.float32]
    metadata: list[Metadata] | None
    commit: int
    scores: list[HitScores] | None = None
    vectors: Float32Matrix | None = None

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class VectorRows:
    """Vectors by key, in the order asked for; keys that do not exist are left out.

    Attributes:
        keys: n vector keys.
        vectors: float32 of shape (n, dimension), or None when not asked for.
        metadata: n dictionaries, or None when not asked for.
        commit: the commit that the answer reflects, the earliest when it took several requests; 0 when not known.
    """

    keys: list[str]
    vectors: Float32Matrix | None
    metadata: list[Metadata] | None
    commit: int = 0

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index is. All but `texts` is fixed when it is created."""

    arn: str
    dimension: int
    metric: str
    non_filterable: tuple[str, ...]
    texts: tuple[TextInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """An index as it was when the snapshot was made.

    Attributes:
        created: by the store's clock, in seconds since the epoch.
        vectors: how many it shows.
        nbytes: of the segments kept for it.
    """

    name: str
    created: float
    vectors: int
    nbytes: int


class AsyncIndex(ExtendedIndex[QueryResult]):
    """One vector index: a handle, made without asking whether the index exists."""

    def __init__(self, root: Root, bucket: str, name: str) -> None:
        self._root = root
        self.bucket_name = bucket
        self.name = name

    def __repr__(self) -> str:
        return f"<Quiver index {self.bucket_name}/{self.name}>"

    async def info(self) -> IndexInfo:
        """What the index is. Raises NotFoundError, UnavailableError, DataError."""
        index = (await self._call("GetIndex"))["index"]
        configuration = index.get("metadataConfiguration", {})
        non_filterable = tuple(configuration.get("nonFilterableMetadataKeys", ()))
        texts = texts_of(configuration)
        return IndexInfo(index["indexArn"], index["dimension"], index["distanceMetric"], non_filterable, texts)

    async def add_texts(self, texts: Mapping[str, str]) -> None:
        """Make metadata keys searchable by words, all or none; `texts` maps each to a language.

        Languages are en, fr, es, pt, it, de, nl, zh, ja, ko, or "standard". Rows stored before are indexed in the
        background; until that is done, queries of the key are refused (`info().texts`).
        Raises: ConflictError when a key is searchable already, ValidationError, NotFoundError, UnavailableError.
        """
        change = {"textSearchConfigurations": configurations_of(texts)}
        await self._call("UpdateMetadataConfiguration", add=change)

    async def delete_texts(self, keys: Iterable[str]) -> None:
        """Make metadata keys searchable by words no more, all or none; the metadata stay as they are.

        Raises: ValidationError when one is not searchable, NotFoundError, UnavailableError.
        """
        change = {"textSearchConfigurations": [{"metadataKey": key} for key in keys]}
        await self._call("UpdateMetadataConfiguration", delete=change)

    async def put(
        self, keys: Sequence[str], vectors: ArrayLike, metadata: Sequence[Mapping[str, Any] | None] | None = None
    ) -> int:
        """Insert or replace vectors; the commit number, for reads that must not miss them.

        Args:
            keys: n distinct keys.
            vectors: shape (n, dimension), converted to float32.
            metadata: n dictionaries, or None for none.

        More than 500 vectors, or very large ones, are sent as several batches, each all or nothing, in order.
        Raises: ValidationError, NotFoundError, BusyError, UnavailableError; batches before the failing one stay.
        """
        commit = 0
        for batch in batches(keys, vectors, metadata):
            commit = (await self._ask("PutVectors", AS_SET, vectors=batch)).commit or 0
        return commit

    async def put_many(
        self,
        source: Any,
        *,
        key: str | None = None,
        vector: str | None = None,
        metadata: str | Sequence[str] | None = None,
        progress: Progress = no_progress,
    ) -> int:
        """Insert or replace any number of vectors at once: all of them become visible at the end, or none.

        Args:
            source: a tuple (keys, array of shape (n, dimension)) or (keys, array, metadata); Arrow data (a table,
                a record batch, a reader, or what another library exports as an Arrow stream); the path of a
                .parquet, .jsonl (perhaps .gz), .arrow or .feather file, of a .npy file, whose rows are keyed by
                their numbers, or of a directory of Parquet files; or a list of paths.
            key: the column of keys; by default "key", else "id".
            vector: the column of vectors; by default "vector", else "data".
            metadata: the column of metadata (JSON text, structures or maps), or the names of columns that become
                metadata fields; by default the column "metadata", without one every column not named above.
            progress: told the stage, rows done and rows in all.

        Memory stays bounded. Of several rows with one key the last one counts. Returns: how many distinct keys.
        Raises: ValidationError, which names the row; NotFoundError, BusyError, UnavailableError, OSError,
        TypeError.
        """
        rows = open_source(source, Columns(key, vector, metadata))
        return int((await self._root.bulk.load(self._named({}), rows, progress)).body["rows"])

    async def export(
        self,
        path: str | PathLike[str],
        *,
        compression: Compression = "zstd",
        progress: Progress = no_progress,
    ) -> int:
        """Write every vector, as of one moment, to a Parquet file; one that exists is replaced at the end.

        Columns: `key`, `vector` (fixed-size list of float32) and `metadata` (JSON text), as `put_many` reads them.
        Returns: how many rows.
        Raises: ValidationError: the name does not end in .parquet; NotFoundError, UnavailableError, DataError,
        OSError.
        """
        from quiver.bulk.parquet import ParquetSink  # noqa: PLC0415 - Arrow is slow to load

        answer = await self._root.bulk.export(
            self._named({}), lambda dimension: ParquetSink(Path(path), dimension, compression), progress
        )
        return int(answer.body["rows"])

    async def batches(self, rows: int = 4096) -> AsyncIterator[VectorRows]:
        """Every vector, as of one moment, at most `rows` at a time and in no promised order.

        Raises: NotFoundError, UnavailableError, DataError.
        """
        async for batch in self._root.bulk.scan(self._named({}), rows):
            yield VectorRows(list(batch.keys), batch.vectors, [orjson.loads(text) for text in batch.metadata])

    async def snapshot(self, name: str) -> SnapshotInfo:
        """Keep every vector as it is now under a name, until the snapshot or the index is deleted.

        To read a snapshot, clone it. Raises: ConflictError when the name is taken, ValidationError, NotFoundError,
        QuotaExceededError, UnavailableError, DataError.
        """
        return _snapshot(await self._root.snapshots.create(self.bucket_name, self.name, name))

    async def snapshots(self) -> list[SnapshotInfo]:
        """The snapshots, by name. Raises: NotFoundError, UnavailableError, DataError."""
        return [_snapshot(each) for each in await self._root.snapshots.list(self.bucket_name, self.name)]

    async def delete_snapshot(self, name: str) -> None:
        """Keep a snapshot no longer; clones of it stay.

        Raises: NotFoundError, ValidationError, UnavailableError, DataError.
        """
        await self._root.snapshots.delete(self.bucket_name, self.name, name)

    async def clone(self, bucket: str, name: str, *, snapshot: str | None = None) -> AsyncIndex:
        """Create an index with the vectors of this one, now or at a snapshot, sharing what is stored.

        The bucket must exist. From then on the two go their own ways.
        Raises: ConflictError when the name is taken, NotFoundError, ValidationError, UnavailableError, DataError.
        """
        await self._root.snapshots.clone(self.bucket_name, self.name, bucket, name, snapshot)
        return AsyncIndex(self._root, bucket, name)

    async def warm(self, *, whole: bool = False, progress: Progress = no_progress) -> int:
        """Have this process hold what queries of a remote index begin with, before they come.

        Args:
            whole: fetch the segments' indexes completely, not only their ends. Rows are never fetched.
            progress: told bytes.

        Returns: bytes that are at hand now; 0 for a root that needs no caches, such as a directory.
        Raises: NotFoundError, UnavailableError, DataError.
        """
        warmed = await self._root.administration.warm(self.bucket_name, self.name, whole=whole, progress=progress)
        return warmed.nbytes if warmed else 0

    @at_once
    async def query(
        self,
        vector: ArrayLike | None = None,
        k: int = 10,
        *,
        texts: Mapping[str, str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the word of S3 Vectors
        metadata: bool = True,
        vectors: bool = False,
        recall: float | None = None,
        consistency: str | None = None,
        at_least: int = 0,
    ) -> QueryResult:
        """The k best vectors (k up to 10,000) whose metadata match the filter, in S3 Vectors' filter language.

        With a vector these are the nearest; with texts those with the words, by BM25; with both, those that stand
        high in either ranking.

        Args:
            texts: words to look for, by the metadata key to look in; any of them suffices.
            metadata, vectors: what to return of the hits.
            recall: the part of the true nearest to find, 0.5..1; by default what the index is set to.
            consistency: "strong", the answer reflects every write acknowledged before, by whatever process; or
                "eventual", it may lag behind by `staleness_seconds`. By default what the root was opened with.
            at_least: a commit that the answer has to reflect; waits for it.

        Raises: ValidationError, NotFoundError, RequestTimeoutError, UnavailableError, DataError.
        """
        asked: dict[str, Any] = {
            "vectorBucketName": self.bucket_name,
            "indexName": self.name,
            "topK": to_model(k),
            "returnDistance": True,
            "returnMetadata": to_model(metadata),
        }
        if vector is not None:
            asked["queryVector"] = {"float32": components(vector)}
        if texts is not None:
            asked["queryTexts"] = to_model(asked_texts(texts))
            asked["returnScores"] = True
        if filter is not None:
            asked["filter"] = to_model(dict(filter))
        operation = "QueryVectors"
        if vectors or recall is not None:
            operation = "QueryVectorsWithData"
            asked |= {"returnData": to_model(vectors), "recall": to_model(recall)}
        reading = _reading(consistency, at_least)
        page = await self._root.call(operation, asked, reading)
        pages = list(page.hits)
        while page.next_token is not None:  # what `_pages` does, which would ask for the body
            page = await self._root.call(operation, {**asked, "nextToken": page.next_token}, reading)
            pages += page.hits
        return self._result(_join(pages))

    def _result(self, hits: Hits) -> QueryResult:
        metadata = None if hits.metadata is None else [orjson.loads(document) for document in hits.metadata]
        scores = None if hits.scores is None else [scores_of(each) for each in hits.scores]
        return QueryResult(hits.keys, hits.distances, metadata, hits.commit, scores, hits.vectors)

    @at_once
    async def get(
        self,
        keys: Sequence[str],
        *,
        vectors: bool = True,
        metadata: bool = True,
        consistency: str | None = None,
        at_least: int = 0,
    ) -> VectorRows:
        """Vectors by key; `consistency` and `at_least` as for `query`, and the same errors."""
        reading = _reading(consistency, at_least)
        found: dict[str, VectorRow] = {}
        commits = []
        for some in by_count(keys, GET_LIMIT):
            answer = await self._ask("GetVectors", reading, keys=some, returnData=vectors, returnMetadata=metadata)
            commits.append(answer.commit or 0)
            shown = answer.body["vectors"]
            found.update((row["key"], _row(row, vectors=vectors, metadata=metadata)) for row in shown)
        rows = [found[key] for key in dict.fromkeys(keys) if key in found]
        return VectorRows(
            [row.key for row in rows],
            np.array([row.vector for row in rows], dtype=np.float32) if vectors else None,
            [row.metadata or {} for row in rows] if metadata else None,
            min(commits, default=0),
        )

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove vectors; unknown keys are ignored. More than 500 go as several batches, in order.

        Returns: the commit number, as `put`.
        """
        commit = 0
        for some in by_count(keys, 500):
            commit = (await self._ask("DeleteVectors", AS_SET, keys=some)).commit or 0
        return commit

    async def rows(
        self,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the word of S3 Vectors
        vectors: bool = False,
        metadata: bool = False,
        consistency: str | None = None,
        at_least: int = 0,
    ) -> AsyncIterator[VectorRow]:
        """Every vector, or those that match, in no promised order. One that exists throughout is listed once.

        `consistency` and `at_least` as for `query`, for each page.
        """
        asked: dict[str, Any] = {"maxResults": 1000, "returnData": vectors, "returnMetadata": metadata}
        operation = "ListVectors"
        if filter is not None:
            operation, asked["filter"] = "ListVectorsByFilter", dict(filter)
        async for page in self._pages(operation, asked, _reading(consistency, at_least)):
            for row in page.body["vectors"]:
                yield _row(row, vectors=vectors, metadata=metadata)

    def __aiter__(self) -> AsyncIterator[str]:
        """The keys of every vector."""
        return (row.key async for row in self.rows())

    async def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return (await self._ask(operation, AS_SET, **parameters)).body

    async def _ask(self, operation: str, reading: Reading, **parameters: Any) -> Response:
        return await self._root.call(operation, to_model(self._named(parameters)), reading)

    def _pages(self, operation: str, parameters: dict[str, Any], reading: Reading) -> AsyncIterator[Response]:
        return _pages(self._root.call, operation, self._named(parameters), reading)

    def _named(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"vectorBucketName": self.bucket_name, "indexName": self.name, **parameters}


class AsyncBucket:
    """One vector bucket: a handle, made without asking whether the bucket exists."""

    def __init__(self, root: Root, name: str) -> None:
        self._root = root
        self.name = name

    def __repr__(self) -> str:
        return f"<Quiver bucket {self.name}>"

    def index(self, name: str) -> AsyncIndex:
        """A handle of an index."""
        return AsyncIndex(self._root, self.name, name)

    async def create_index(
        self,
        name: str,
        *,
        dimension: int,
        metric: str = "cosine",
        non_filterable: Iterable[str] = (),
        texts: Mapping[str, str] | None = None,
        partitioner: str | None = None,
        codec: str | None = None,
        recall: float | None = None,
    ) -> AsyncIndex:
        """Create an index.

        Args:
            name: unique in the bucket.
            dimension: components of each vector, 1..4096.
            metric: cosine or euclidean.
            non_filterable: metadata keys that may hold long text but cannot be used in filters.
            texts: metadata keys to search by words, each with its language as in `AsyncIndex.add_texts`.
            partitioner: kmeans, kdtree or single.
            codec: rabitq, sq8, pq, lsh or flat.
            recall: the part of the true nearest neighbours that a query should find, 0.5..1.

        The last three choose the structure of its segments; None leaves the choice to Quiver (docs/operations.md).
        Raises: ConflictError when it exists, NotFoundError without the bucket, ValidationError.
        """
        asked: dict[str, Any] = {"dataType": "float32", "dimension": dimension, "distanceMetric": metric}
        configuration: dict[str, Any] = {}
        if keys := list(non_filterable):
            configuration["nonFilterableMetadataKeys"] = keys
        if texts:
            configuration["textSearchConfigurations"] = configurations_of(texts)
        if configuration:
            asked["metadataConfiguration"] = configuration
        structure = as_tags({"partitioner": partitioner, "codec": codec, "recall": recall})
        await self._root.call(
            "CreateIndex", {"vectorBucketName": self.name, "indexName": name, **asked, **structure}
        )
        return self.index(name)

    async def delete_index(self, name: str) -> None:
        """Delete an index with all its vectors. Raises NotFoundError."""
        await self._root.call("DeleteIndex", {"vectorBucketName": self.name, "indexName": name})

    async def indexes(self, prefix: str = "") -> AsyncIterator[str]:
        """Names of the bucket's indexes."""
        asked = {"vectorBucketName": self.name, **({"prefix": prefix} if prefix else {})}
        async for page in _pages(self._root.call, "ListIndexes", asked):
            for index in page.body["indexes"]:
                yield index["indexName"]


class AsyncConnection:
    """An open root: the buckets in it. Close it, or use it as a context manager."""

    def __init__(self, root: Root, close: Callable[[], Awaitable[None]]) -> None:
        self._root = root
        self._close = close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish background work and release everything."""
        await self._close()

    def bucket(self, name: str) -> AsyncBucket:
        """A handle of a bucket."""
        return AsyncBucket(self._root, name)

    async def create_bucket(self, name: str) -> AsyncBucket:
        """Create a bucket. Raises: ConflictError when it exists, ValidationError."""
        await self._root.call("CreateVectorBucket", {"vectorBucketName": name})
        return self.bucket(name)

    async def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket. Raises: NotFoundError, ConflictError while it has indexes."""
        await self._root.call("DeleteVectorBucket", {"vectorBucketName": name})

    async def buckets(self, prefix: str = "") -> AsyncIterator[str]:
        """Names of the buckets."""
        asked = {"prefix": prefix} if prefix else {}
        async for page in _pages(self._root.call, "ListVectorBuckets", asked):
            for bucket in page.body["vectorBuckets"]:
                yield bucket["vectorBucketName"]


async def _pages(
    caller: Caller, operation: str, parameters: dict[str, Any], reading: Reading = AS_SET
) -> AsyncIterator[Response]:
    asked: dict[str, Any] | None = to_model(parameters)
    while asked is not None:
        page = await caller(operation, asked, reading)
        yield page
        token = page.body.get("nextToken")
        asked = None if token is None else {**asked, "nextToken": token}


def _join(pages: Sequence[Hits]) -> Hits:
    """What several requests of one query found, one after the other."""
    first, every = pages[0], chain.from_iterable
    if len(pages) == 1:
        return first
    return Hits(
        list(every(page.keys for page in pages)),
        np.concatenate([page.distances for page in pages]),
        None if first.metadata is None else list(every(page.metadata or () for page in pages)),
        min(page.commit for page in pages),
        list(every(page.work for page in pages)),
        None if first.scores is None else list(every(page.scores or () for page in pages)),
        None
        if first.vectors is None
        else np.concatenate([page.vectors for page in pages if page.vectors is not None]),
    )


def _reading(consistency: str | None, at_least: int) -> Reading:
    """What a read asks for; as the root was opened, unless it says."""
    as_set = consistency is None and type(at_least) is int and at_least == 0
    return AS_SET if as_set else Reading(consistency, at_least)


def _snapshot(pinned: Pinned) -> SnapshotInfo:
    return SnapshotInfo(pinned.name, pinned.created, pinned.rows, pinned.nbytes)


def _row(row: dict[str, Any], *, vectors: bool, metadata: bool) -> VectorRow:
    return VectorRow(
        row["key"],
        np.asarray(row["data"]["float32"], dtype=np.float32) if vectors else None,
        _decoded(row.get("metadata")) if metadata else None,
    )


def _decoded(metadata: Any) -> Metadata:
    """Metadata as the service answers it: already JSON text, or a dictionary, or absent when empty."""
    if metadata is None:
        return {}
    decoded: Metadata = orjson.loads(orjson.dumps(metadata))
    return decoded


Index = synchronous(AsyncIndex, "Index")
Bucket = synchronous(AsyncBucket, "Bucket")
Connection = synchronous(AsyncConnection, "Connection")
