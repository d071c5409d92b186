"""What every engine does with texts; part of `EngineContract`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec import structs

from engine.contract_nodes import asynchronous
from engine.reference import Model, make_batch
from quiver.engine.engine import (
    MAX_TEXT_FIELDS,
    Cursor,
    Freshness,
    IndexSealedError,
    Query,
    TextFieldConflictError,
    TextFieldStatus,
    TextQuery,
    TooManyTextFieldsError,
    UnknownTextFieldError,
)
from quiver.model.filter_parser import parse_filter
from quiver.model.types import DistanceMetric, IndexSpec, TextField, VectorBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.text_reference import Ranked
    from quiver.engine.engine import Hits, Index
TITLE, BODY = TextField("title"), TextField("body", "en")
WORDS = [f"word{number}" for number in range(24)]
CONDITIONS = [None, {"group": 1}, {"group": {"$ne": 0}}, {"absent": "x"}]
PATIENCE = 20.0  # seconds that a backfill may take


def text_spec(dimension: int = 2, texts: Sequence[TextField] = (TITLE, BODY)) -> IndexSpec:
    return IndexSpec(dimension, DistanceMetric.EUCLIDEAN, ("body",), texts=tuple(texts))


def some_words(rng: np.random.Generator, most: int) -> str:
    """Words, some of them in most texts, some in few."""
    numbers = np.minimum(rng.geometric(0.15, rng.integers(0, most + 1)) - 1, len(WORDS) - 1)
    return " ".join(WORDS[number] for number in numbers)


def text_batch(rng: np.random.Generator, names: Sequence[str], dimension: int = 2) -> VectorBatch:
    """Rows with and without texts, of which many are alike."""
    documents = []
    for _ in names:
        document: dict[str, object] = {"group": int(rng.integers(3))}
        kind = rng.integers(8)
        if kind:
            document["title"] = some_words(rng, 4) if kind > 1 else [some_words(rng, 2), "7", some_words(rng, 1)]
        if rng.integers(6):
            document["body"] = some_words(rng, 30)
        documents.append(document)
    return make_batch(names, rng.integers(-6, 7, (len(names), dimension)), documents)


async def filled_with_texts(
    index: Index, seed: int, steps: int = 8, names: int = 60
) -> tuple[Model, np.random.Generator]:
    """Put, overwrite and delete at random."""
    rng = np.random.default_rng(seed)
    model = Model(index.spec.metric, texts=list(index.spec.texts))
    for _ in range(steps):
        await change(index, model, rng, names)
    return model, rng


async def change(index: Index, model: Model, rng: np.random.Generator, names: int = 60) -> None:
    chosen = [f"k{number}" for number in rng.choice(names, rng.integers(1, 20), replace=False)]
    batch = text_batch(rng, chosen, index.spec.dimension)
    await index.put(batch)
    model.put(batch)
    gone = [f"k{number}" for number in rng.choice(names, 4, replace=False)]
    await index.delete(gone)
    model.delete(gone)


def some_texts(rng: np.random.Generator) -> tuple[TextQuery, ...]:
    """Of one field or both; a word may come twice, and may be one that no row has."""
    texts = [TextQuery(key, f"{some_words(rng, 4)} {some_words(rng, 1)} nowhere") for key in ("title", "body")]
    return tuple(texts[: rng.integers(1, 3)]) if rng.integers(2) else (texts[1],)


def assert_answers(hits: Hits, expected: Sequence[Ranked], model: Model) -> None:
    """The same hits in the same order, with the same scores to the last bit."""
    assert hits.keys == [hit.key for hit in expected]
    assert hits.scores == [hit.scores for hit in expected]
    assert hits.places.tolist() == [hit.place for hit in expected]
    assert hits.distances.dtype == np.float32
    for distance, hit in zip(hits.distances.tolist(), expected, strict=True):
        assert np.isnan(distance) if hit.scores.distance is None else distance == hit.scores.distance
    if hits.metadata is not None:
        assert hits.metadata == [model.rows[key].metadata for key in hits.keys]


async def assert_finds(index: Index, model: Model, query: Query) -> None:
    """What the model finds, whole and page by page."""
    assert_answers(await index.query(query), model.answer(query)[: query.limit], model)


async def all_text_pages(index: Index, query: Query) -> list[tuple[float, str]]:
    """Page through a ranking by cursor, `query.limit` at a time."""
    found: list[tuple[float, str]] = []
    after = None
    while True:
        hits = await index.query(structs.replace(query, after=after))
        found += zip(hits.places.tolist(), hits.keys, strict=True)
        if len(hits.keys) < query.limit:
            return found
        after = Cursor(float(hits.places[-1]), hits.keys[-1], len(found))


async def until_active(index: Index) -> None:
    """Until every text field can be searched."""
    async with asyncio.timeout(PATIENCE):
        while not all(status.active for status in await index.text_fields()):
            await asyncio.sleep(0.01)


class TextContract:
    """Inherited by EngineContract."""

    @asynchronous
    async def test_texts_rank_by_the_sum_of_their_scores(self, nodes):
        index = await nodes.open(text_spec())
        model, rng = await filled_with_texts(index, seed=51)
        for document in CONDITIONS:
            condition = parse_filter(document) if document else None
            for limit in (1, 5, 1000):
                texts = some_texts(rng)
                await assert_finds(index, model, Query(None, limit, condition, metadata=True, texts=texts))
        hits = await index.query(Query(None, 5, texts=(TextQuery("body", WORDS[0]),)))
        assert hits.metadata is None
        assert np.isnan(hits.distances).all()
        assert (np.diff(hits.places) >= 0).all()

    @asynchronous
    async def test_scores_do_not_depend_on_how_rows_came(self, nodes):
        one, other = await nodes.open(text_spec()), await nodes.open(text_spec(), "1" * 32)
        model, rng = await filled_with_texts(one, seed=52)
        keys = list(model.rows)
        for number in rng.permutation(len(keys)).tolist():
            row = model.rows[keys[number]]
            await other.put(VectorBatch([keys[number]], row.vector[None], [row.metadata]))
        for _ in range(4):
            query = Query(None, 30, texts=some_texts(rng))
            first, second = await one.query(query), await other.query(query)
            assert (first.keys, first.scores) == (second.keys, second.scores)

    @asynchronous
    async def test_a_hybrid_query_fuses_ranks(self, nodes):
        index = await nodes.open(text_spec())
        model, rng = await filled_with_texts(index, seed=53, steps=3)
        batch = text_batch(rng, [f"many{number}" for number in range(150)])
        await index.put(batch)
        model.put(batch)
        for document in CONDITIONS:
            condition = parse_filter(document) if document else None
            for limit in (3, 1000):
                vector = rng.integers(-6, 7, 2).astype(np.float32)
                query = Query(vector, limit, condition, metadata=True, texts=some_texts(rng))
                await assert_finds(index, model, query)
                await assert_finds(index, model, structs.replace(query, total=120))

    @asynchronous
    async def test_pages_of_texts_make_the_whole_ranking(self, nodes):
        index = await nodes.open(text_spec())
        model, rng = await filled_with_texts(index, seed=54)
        vector = rng.integers(-6, 7, 2).astype(np.float32)
        for query in (
            Query(None, 4, texts=(TextQuery("title", "word0 word1"),)),
            Query(None, 7, parse_filter({"group": {"$ne": 2}}), texts=some_texts(rng)),
            Query(None, 3, texts=(TextQuery("title", "word1"), TextQuery("body", "word0 word2"))),
            Query(vector, 6, texts=(TextQuery("body", "word0 word3"), TextQuery("title", "word2")), total=1000),
        ):
            expected = [hit[:2] for hit in model.answer(structs.replace(query, limit=1000))]
            assert await all_text_pages(index, query) == expected
            assert await all_text_pages(index, structs.replace(query, limit=1000)) == expected

    @asynchronous
    async def test_a_text_cursor_need_not_be_a_row_of_the_index(self, nodes):
        index = await nodes.open(text_spec())
        model, _ = await filled_with_texts(index, seed=55)
        for place in (-1e9, -1.0, -0.5, 0.0):
            for key in ("", "k3", "\U0010ffff"):
                query = Query(None, 4, after=Cursor(place, key, 0), texts=(TextQuery("body", "word0 word1"),))
                await assert_finds(index, model, query)

    @asynchronous
    async def test_copies_of_a_text_tie_and_order_by_key(self, nodes):
        index = await nodes.open(text_spec())
        names = [f"k{number:03}" for number in range(150)]
        for start in range(0, 150, 50):
            part = [str(name) for name in np.random.default_rng(7).permutation(names)[start : start + 50]]
            await index.put(make_batch(part, [[1, 1]] * 50, [{"title": "one two"}] * 50))
        await index.put(make_batch(["best"], [[1, 1]], [{"title": "one"}]))
        query = Query(None, 20, texts=(TextQuery("title", "one"),))
        hits = await index.query(query)
        assert hits.keys == ["best", *names[:19]]
        assert [key for _, key in await all_text_pages(index, query)] == ["best", *names]

    @asynchronous
    async def test_only_strings_are_texts(self, nodes):
        index = await nodes.open(text_spec())
        documents = [
            {"title": "red"},
            {"title": ["blue", 7, "red"]},
            {"title": 7},
            {"title": True},
            {"title": ""},
            {},
            {"body": "red"},
            {"title": "seven 7"},
        ]
        names = [f"k{number}" for number in range(len(documents))]
        batch = make_batch(names, np.ones((len(names), 2)), documents)
        await index.put(batch)
        model = Model(DistanceMetric.EUCLIDEAN, texts=[TITLE, BODY])
        model.put(batch)
        for text, found in (("red", ["k0", "k1"]), ("7", ["k7"]), ("true", []), ("blue", ["k1"]), ("...", [])):
            query = Query(None, 10, texts=(TextQuery("title", text),))
            assert (await index.query(query)).keys == found
            await assert_finds(index, model, query)

    @asynchronous
    async def test_a_load_is_searchable(self, nodes):
        index = await nodes.open(text_spec())
        model, rng = await filled_with_texts(index, seed=56, steps=3)
        batches = [text_batch(rng, [f"k{n}" for n in range(start, start + 40)]) for start in (0, 30)]

        async def in_turn():
            for batch in batches:
                yield batch

        await index.load(in_turn())
        for batch in batches:
            model.put(batch)
        for _ in range(3):
            await assert_finds(index, model, Query(None, 50, texts=some_texts(rng)))
        await change(index, model, rng)
        await assert_finds(index, model, Query(None, 50, texts=some_texts(rng)))

    @asynchronous
    async def test_a_query_without_texts_has_no_scores(self, nodes):
        index = await nodes.open(text_spec())
        await filled_with_texts(index, seed=57, steps=2)
        hits = await index.query(Query(np.ones(2, np.float32), 5))
        assert hits.scores is None
        assert hits.places.tolist() == hits.distances.tolist()

    @asynchronous
    async def test_an_empty_index_has_text_fields_and_no_hits(self, nodes):
        index = await nodes.open(text_spec())
        assert list(await index.text_fields()) == [TextFieldStatus(TITLE, True), TextFieldStatus(BODY, True)]
        texts = (TextQuery("title", "word"),)
        assert (await index.query(Query(None, 5, texts=texts))).keys == []
        await index.put(make_batch(["a"], [[1, 1]], [{"title": "word"}]))
        assert (await index.query(Query(None, 5, texts=texts))).keys == ["a"]
        await index.delete(["a"])
        assert (await index.query(Query(np.ones(2, np.float32), 5, texts=texts))).keys == []

    @asynchronous
    async def test_text_fields_come_and_go(self, nodes):
        spec = text_spec(texts=[TITLE])
        index, other = await nodes.open(spec), await nodes.open(spec)
        model, rng = await filled_with_texts(index, seed=58, steps=4)
        with pytest.raises(UnknownTextFieldError):
            await other.query(Query(None, 5, texts=(TextQuery("body", "word1"),)))
        commit = await index.configure_texts(add=[BODY])
        model.texts.append(BODY)
        assert [each.field for each in await other.text_fields(Freshness(at_least=commit))] == [TITLE, BODY]
        await change(other, model, rng)
        await until_active(other)
        for node in (index, other):
            await assert_finds(node, model, Query(None, 50, texts=(TextQuery("body", "word0 word4"),)))
        assert await index.configure_texts(delete=["title"]) > commit
        model.texts.remove(TITLE)
        for text in (TextQuery("title", "word1"), TextQuery("no such key", "word1")):
            with pytest.raises(UnknownTextFieldError):
                await other.query(Query(None, 5, texts=(TextQuery("body", "x"), text)))
        for _ in range(3):
            await change(index, model, rng)
            await assert_finds(other, model, Query(None, 50, texts=(TextQuery("body", "word0 word2"),)))
        late = await nodes.open(spec)
        assert list(await late.text_fields()) == [TextFieldStatus(BODY, True)]
        await assert_finds(late, model, Query(None, 50, texts=(TextQuery("body", "word0 word2"),)))

    @asynchronous
    async def test_a_field_that_comes_back_may_have_another_language(self, nodes):
        index = await nodes.open(text_spec(texts=[TITLE]))
        model, rng = await filled_with_texts(index, seed=59, steps=3)
        for field in (TextField("title", "en"), TextField("title", "de"), TITLE):
            await index.configure_texts([field], ["title"])
            model.texts[:] = [field]
            await until_active(index)
            assert [each.field for each in await index.text_fields()] == [field]
            await assert_finds(index, model, Query(None, 50, texts=(TextQuery("title", "word0 word1"),)))
            await change(index, model, rng)

    @asynchronous
    async def test_a_refused_change_of_text_fields_changes_nothing(self, nodes):
        spec = text_spec(texts=[TITLE])
        index, other = await nodes.open(spec), await nodes.open(spec)
        many = [TextField(f"more{number}") for number in range(MAX_TEXT_FIELDS)]
        for error, add, delete in (
            (TextFieldConflictError, [BODY, TITLE], []),
            (TextFieldConflictError, [BODY, BODY], []),
            (TextFieldConflictError, [BODY, TextField("title", "en")], []),
            (UnknownTextFieldError, [BODY], ["body"]),
            (UnknownTextFieldError, [], ["title", "title"]),
            (TooManyTextFieldsError, many, []),
        ):
            with pytest.raises(error):
                await index.configure_texts(add, delete)
            for node in (index, other):
                assert [each.field for each in await node.text_fields()] == [TITLE]
        await other.configure_texts(many[1:])
        assert [each.field for each in await index.text_fields()] == [TITLE, *many[1:]]

    @asynchronous
    async def test_a_sealed_index_has_no_text_fields(self, nodes):
        engine = nodes.start()
        index, other = await engine.open("2" * 32, text_spec()), await nodes.open(text_spec(), "2" * 32)
        await index.put(make_batch(["a"], [[1, 1]], [{"title": "word"}]))
        await engine.seal("2" * 32, text_spec())
        for node in (index, other):
            for attempt in (
                node.text_fields(),
                node.configure_texts([TextField("more")]),
                node.query(Query(None, 5, texts=(TextQuery("title", "word"),))),
            ):
                with pytest.raises(IndexSealedError):
                    await attempt
