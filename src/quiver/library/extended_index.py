"""What an index object does beyond S3 Vectors: by filter, depending on what is there, many queries at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

from quiver.library.batches import batches
from quiver.library.texts import asked_texts
from quiver.model.errors import ValidationError
from quiver.service.reading import AS_SET, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from quiver.engine.engine import Hits
    from quiver.service.service import Response

Result = TypeVar("Result")

_UPDATES = 500
"""Vectors of one UpdateMetadata."""
_QUERIES = 100
_RESULTS = 10_000
"""Queries of one BatchQueryVectors, and their results together."""
_NO_QUESTION = "query_many needs vectors, texts, or both"
_SHAPE = "vectors must have the shape (n, dimension), and there must be as many texts and as many filters"
_ONE_REQUEST = "all_or_nothing needs a single batch: at most 500 vectors and about 16 MiB"


@dataclass(frozen=True, slots=True)
class PutOutcome:
    """Which keys were written, which existed already, and the commit that shows it."""

    written: list[str]
    existing: list[str]
    commit: int


@dataclass(frozen=True, slots=True)
class UpdateOutcome:
    """How many vectors were updated, which keys do not exist, and the commit that shows it."""

    updated: int
    missing: list[str]
    commit: int


class DeleteOutcome(NamedTuple):
    """How many vectors matched and how many were deleted, none in a dry run; and the commit that shows it."""

    matching: int
    deleted: int
    commit: int


class ExtendedIndex(ABC, Generic[Result]):
    """Mixed into the index object, whose requests these are. `Result` is what a query gives."""

    @abstractmethod
    async def _ask(self, operation: str, reading: Reading, **parameters: Any) -> Response: ...

    @abstractmethod
    def _result(self, hits: Hits) -> Result: ...

    async def count(
        self,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the word of S3 Vectors
        *,
        consistency: str | None = None,
        at_least: int = 0,
    ) -> int:
        """How many vectors there are, or match a filter, at one moment; exact.

        `consistency` and `at_least` as for `query`.
        Raises: ValidationError, NotFoundError, UnavailableError, DataError.
        """
        asked = {} if filter is None else {"filter": dict(filter)}
        answer = await self._ask("CountVectors", Reading(consistency, at_least), **asked)
        return int(answer.body["count"])

    async def delete_matching(
        self,
        filter: Mapping[str, Any],  # noqa: A002 - the word of S3 Vectors
        *,
        dry_run: bool = False,
    ) -> DeleteOutcome:
        """Delete every vector that matches a filter; a dry run only counts them.

        Up to 10,000 vectors go at one instant, more in several such steps. What is written meanwhile and does not
        match is never deleted. After an error the steps before it stay: call it again.
        Raises: ValidationError, NotFoundError, BusyError, UnavailableError, DataError.
        """
        answer = await self._ask("DeleteVectorsByFilter", AS_SET, filter=dict(filter), dryRun=dry_run)
        body = answer.body
        return DeleteOutcome(body["matchingCount"], body["deletedCount"], answer.commit or 0)

    async def update_metadata(
        self,
        updates: Mapping[str, Mapping[str, Any]],
        *,
        mode: Literal["merge", "replace"] = "merge",
        all_or_nothing: bool = False,
    ) -> UpdateOutcome:
        """Change the metadata of vectors that exist, and nothing else of them.

        Args:
            updates: metadata by key.
            mode: "merge" sets the fields given and takes away those given as None; "replace" sets all metadata.
            all_or_nothing: write nothing when a key does not exist; for at most 500 keys.

        Every 500 are one write, in which none of the vectors changed since its metadata were read. A deleted
        vector does not come back.
        Raises: ConflictError, ValidationError, NotFoundError, BusyError, UnavailableError, DataError; writes
        before the failing one stay.
        """
        items = [{"key": key, "metadata": dict(metadata)} for key, metadata in updates.items()]
        if all_or_nothing and len(items) > _UPDATES:
            raise ValidationError(_ONE_REQUEST)
        updated, missing, commit = 0, [], 0
        for start in range(0, len(items), _UPDATES):
            some = items[start : start + _UPDATES]
            answer = await self._ask(
                "UpdateMetadata", AS_SET, updates=some, mode=mode.upper(), allOrNothing=all_or_nothing
            )
            updated += answer.body["updatedCount"]
            missing += answer.body["missingKeys"]
            commit = answer.commit or 0
        return UpdateOutcome(updated, missing, commit)

    async def put_absent(
        self,
        keys: Sequence[str],
        vectors: ArrayLike,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        *,
        all_or_nothing: bool = False,
    ) -> PutOutcome:
        """Insert those vectors whose keys do not exist; arguments and batches as for `put`.

        Args:
            keys: n distinct keys.
            vectors: shape (n, dimension), converted to float32.
            metadata: n dictionaries, or None for none.
            all_or_nothing: write nothing when a key exists; for what fits into one batch.

        Of several who put one key at the same time, on whatever nodes, one does.
        Raises: ConflictError, ValidationError, NotFoundError, BusyError, UnavailableError, DataError; batches
        before the failing one stay.
        """
        requests = list(batches(keys, vectors, metadata))
        if all_or_nothing and len(requests) > 1:
            raise ValidationError(_ONE_REQUEST)
        written, existing, commit = [], [], 0
        for batch in requests:
            answer = await self._ask("PutVectorsIfAbsent", AS_SET, vectors=batch, allOrNothing=all_or_nothing)
            written += answer.body["writtenKeys"]
            existing += answer.body["existingKeys"]
            commit = answer.commit or 0
        return PutOutcome(written, existing, commit)

    async def query_many(
        self,
        vectors: ArrayLike | None = None,
        k: int = 10,
        *,
        texts: Sequence[Mapping[str, str] | None] | None = None,
        filters: Sequence[Mapping[str, Any] | None] | None = None,
        metadata: bool = True,
        data: bool = False,
        recall: float | None = None,
        consistency: str | None = None,
        at_least: int = 0,
    ) -> list[Result]:
        """The k best vectors of each of several queries, in their order: by vector, by texts, or by both.

        Args:
            vectors: shape (n, dimension); None to search texts only.
            texts: n mappings as for `query`; with vectors, None for a query without texts.
            filters: n filters, or None for none.
            data: return the vectors of the hits, too.
            recall: the part of the true nearest to find, 0.5..1; by default what the index is set to.
            metadata, consistency, at_least: as for `query`.

        As many queries as fit into one request (100, and 10,000 results) are answered as of one moment.
        Raises: as `query`.
        """
        asked = _queries(None if vectors is None else np.asarray(vectors), k, texts, filters, recall)
        shown = {"returnMetadata": metadata, "returnDistance": True, "returnData": data}
        if texts is not None:
            shown["returnScores"] = True
        results: list[Result] = []
        count = max(1, min(_QUERIES, _RESULTS // max(k, 1)))
        for start in range(0, len(asked), count):
            queries = asked[start : start + count]
            answer = await self._ask("BatchQueryVectors", Reading(consistency, at_least), queries=queries, **shown)
            results += map(self._result, answer.hits)
        return results


def _queries(
    matrix: NDArray[Any] | None,
    k: int,
    texts: Sequence[Mapping[str, str] | None] | None,
    filters: Sequence[Mapping[str, Any] | None] | None,
    recall: float | None,
) -> list[dict[str, Any]]:
    """The queries as the service takes them. Raises: ValidationError: the arguments differ in length."""
    if matrix is None and texts is None:
        raise ValidationError(_NO_QUESTION)
    if matrix is not None and matrix.ndim != 2:
        raise ValidationError(_SHAPE)
    lengths = {len(given) for given in (matrix, texts, filters) if given is not None}
    if len(lengths) > 1:
        raise ValidationError(_SHAPE)
    queries = []
    for number in range(lengths.pop()):
        query: dict[str, Any] = {"topK": k}
        if matrix is not None:
            query["queryVector"] = {"float32": matrix[number]}
        if texts is not None and (words := texts[number]) is not None:
            query["queryTexts"] = asked_texts(words)
        if filters is not None and (condition := filters[number]) is not None:
            query["filter"] = dict(condition)
        if recall is not None:
            query["recall"] = recall
        queries.append(query)
    return queries
