"""Texts through the library: fields with an index and later, questions of words, and of words and a vector."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

import quiver
from quiver.library.texts import TextInfo
from quiver.model.errors import ConflictError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 600
KEYS = [f"k{n:03}" for n in range(ROWS)]
METADATA = [{"body": f"common word{n % 7}" + (" rare" if n % 100 == 0 else ""), "n": n} for n in range(ROWS)]
RARE = KEYS[::100]


def vectors() -> np.ndarray:
    return np.stack([np.arange(ROWS), np.zeros(ROWS)], axis=1).astype(np.float32)


@pytest.fixture
def bucket() -> Iterator[object]:
    with quiver.connect("memory:") as connection:
        yield connection.create_bucket("demo")


@pytest.fixture
def loaded(bucket):
    """An index whose rows are all in a segment, without text fields."""
    index = bucket.create_index("plain", dimension=2, metric="euclidean")
    index.put_many((KEYS, vectors(), METADATA))
    return index


def wait_until_active(index) -> None:
    end = time.monotonic() + 120
    while not all(text.active for text in index.info().texts):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_index_is_made_with_texts_and_shows_them(bucket) -> None:
    texts = {"body": "standard", "title": "en"}
    index = bucket.create_index("texts", dimension=2, non_filterable=["body"], texts=texts)
    info = index.info()
    assert info.texts == (TextInfo("body", "standard", True), TextInfo("title", "en", True))
    assert info.non_filterable == ("body",)


def test_words_find_by_relevance(bucket) -> None:
    index = bucket.create_index("texts", dimension=2, metric="euclidean", texts={"body": "standard"})
    index.put(KEYS[:200], vectors()[:200], METADATA[:200])
    found = index.query(texts={"body": "rare"}, k=5)
    assert (found.keys, len(found)) == (["k000", "k100"], 2)
    assert np.isnan(found.distances).all()
    assert [score.bm25.keys() for score in found.scores] == [{"body"}, {"body"}]
    assert found.scores[0].fused is None
    assert found.metadata == [METADATA[0], METADATA[100]]
    assert index.query(texts={"body": "rare"}, filter={"n": {"$gt": 5}}).keys == ["k100"]


def test_words_and_a_vector_are_fused(bucket) -> None:
    index = bucket.create_index("texts", dimension=2, metric="euclidean", texts={"body": "standard"})
    index.put(KEYS[:200], vectors()[:200], METADATA[:200])
    found = index.query([3, 0], k=4, texts={"body": "rare"})
    assert found.keys == ["k000", "k003", "k002", "k100"]
    assert found.scores[0].fused == pytest.approx(1 / 61 + 1 / 66)
    assert found.scores[0].distance == found.distances[0] == 3
    assert found.scores[1].bm25 == {}


def test_a_query_without_texts_has_no_scores(loaded) -> None:
    found = loaded.query([0, 0], k=2)
    assert (found.keys, found.scores) == (["k000", "k001"], None)


def test_more_hits_than_a_page_come_together(loaded) -> None:
    loaded.add_texts({"body": "standard"})
    wait_until_active(loaded)
    found = loaded.query(texts={"body": "common rare"}, k=450)
    assert (len(set(found.keys)), found.keys[:6]) == (450, RARE)
    assert len(found.scores) == 450


def test_rows_loaded_before_are_found_once_the_field_is_built(loaded) -> None:
    loaded.add_texts({"body": "en"})
    wait_until_active(loaded)
    assert loaded.info().texts == (TextInfo("body", "en", True),)
    assert loaded.query(texts={"body": "rare"}).keys == RARE
    loaded.delete(["k000"])
    loaded.put(["new"], [[0, 0]], [{"body": "rare rare"}])
    assert set(loaded.query(texts={"body": "rare"}).keys) == {*RARE[1:], "new"}
    loaded.delete_texts(["body"])
    assert loaded.info().texts == ()
    with pytest.raises(ValidationError, match="'body' is not configured"):
        loaded.query(texts={"body": "rare"})


def test_refusals_name_the_key(loaded) -> None:
    loaded.add_texts({"body": "standard"})
    with pytest.raises(ConflictError, match="'body' already exists"):
        loaded.add_texts({"other": "en", "body": "en"})
    with pytest.raises(ValidationError, match="'other' is not configured"):
        loaded.delete_texts(["body", "other"])
    with pytest.raises(ValidationError, match="enum value set"):
        loaded.add_texts({"other": "xx"})
    with pytest.raises(ValidationError, match="At least one of"):
        loaded.query()
    assert [text.key for text in loaded.info().texts] == ["body"]
