"""`quiver explain`: how a query of an index is answered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import typer
from msgspec.structs import asdict

from quiver.cli.opening import opened
from quiver.cli.output import Exit, show_json, show_table
from quiver.engine.engine import Query, TextQuery
from quiver.model.errors import NotFoundError, ValidationError
from quiver.model.filter_parser import parse_filter
from quiver.service.vector_rules import check_query_vector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from quiver.engine.engine import Hits, Index

_REPETITIONS = 5


class Asked(NamedTuple):
    """One query: the key of a stored vector, or a JSON array, or words by metadata key, or a vector and words."""

    key: str | None
    vector: Any
    texts: Mapping[str, str]
    document: Any
    limit: int


async def explain(root: str, bucket: str, name: str, asked: Asked, *, as_json: bool) -> Exit:
    """Show how one query is answered: the first time, as it was after opening, and the median of some more."""
    async with opened(root) as open_root:
        stored = await open_root.administration.index(bucket, name)
        index = await open_root.engine.open(stored.index_id, stored.spec)
        condition = None if asked.document is None else parse_filter(asked.document, stored.spec.non_filterable)
        texts = tuple(TextQuery(key, words) for key, words in asked.texts.items())
        query = Query(await _vector(index, asked), asked.limit, condition, texts=texts)
        before = open_root.store_counts()
        hits, first = await _timed(index, query)
        after = open_root.store_counts()
        again = [(await _timed(index, query))[1] for _ in range(_REPETITIONS)]
    requests = after.get.requests + after.list.requests - before.get.requests - before.list.requests
    received = after.get.bytes_out - before.get.bytes_out
    shown = {
        "commit": hits.commit,
        "recall": stored.spec.recall,
        "hits": len(hits.keys),
        "first_ms": round(1e3 * first, 3),
        "median_ms": round(1e3 * float(np.median(again)), 3),
        "requests": requests,
        "received_bytes": received,
        "work": [asdict(work) for work in hits.work],
    }
    if as_json:
        show_json(shown)
        return Exit.OK
    if hits.work:
        show_table([asdict(work) for work in hits.work])
    typer.echo(
        f"{len(hits.keys)} hits at commit {hits.commit}, recall target {stored.spec.recall:g}: "
        f"{shown['first_ms']} ms after opening ({requests} store requests, {received:,} bytes), "
        f"then {shown['median_ms']} ms"
    )
    return Exit.OK


async def _vector(index: Index, asked: Asked) -> NDArray[np.float32] | None:
    """The vector to ask with; None when only words were given."""
    if asked.vector is None and asked.key is None and asked.texts:
        return None
    point = await _stored_vector(index, asked.key) if asked.vector is None else _given_vector(asked.vector)
    return check_query_vector(point, index.spec.dimension, index.spec.metric)


def _given_vector(document: Any) -> list[float]:
    if not isinstance(document, list) or any(type(number) not in (int, float) for number in document):
        raise ValidationError("the vector is not a JSON array of numbers")
    return document


async def _stored_vector(index: Index, key: str | None) -> NDArray[np.float32]:
    if key is None:
        raise ValidationError("name a stored vector with --key, give one with --vector, or words with --text")
    found = (await index.get([key], vectors=True, metadata=False)).rows
    if not found or found[0].vector is None:
        raise NotFoundError(f"there is no vector with the key {key}")
    return found[0].vector


async def _timed(index: Index, query: Query) -> tuple[Hits, float]:
    began = time.perf_counter()
    return await index.query(query), time.perf_counter() - began
