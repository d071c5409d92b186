"""langchain-aws's AmazonS3Vectors as applications use it: filters, scores, retrievers, batches, long texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from langchain_aws.vectorstores.s3_vectors import AmazonS3Vectors
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

if TYPE_CHECKING:
    from collections.abc import Callable

FILMS = [
    Document("Star Wars", id="sw", metadata={"genre": "scifi", "year": 1977, "cast": ["Ford", "Fisher"]}),
    Document("Jurassic Park", id="jp", metadata={"genre": "scifi", "year": 1993}),
    Document("Finding Nemo", id="fn", metadata={"genre": "family", "year": 2003}),
]


@pytest.fixture
def store(bucket: str, index_name: str) -> Callable[..., AmazonS3Vectors]:
    """Makes a store in the bucket; the same index each time."""

    def make(**options: Any) -> AmazonS3Vectors:
        embedding = DeterministicFakeEmbedding(size=16)
        return AmazonS3Vectors(vector_bucket_name=bucket, index_name=index_name, embedding=embedding, **options)

    return make


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (None, {"sw", "jp", "fn"}),
        ({"genre": "scifi"}, {"sw", "jp"}),
        ({"genre": {"$eq": "family"}}, {"fn"}),
        ({"$and": [{"genre": {"$in": ["scifi", "drama"]}}, {"year": {"$gte": 1990}}]}, {"jp"}),
        ({"$or": [{"cast": "Ford"}, {"year": {"$gt": 2000, "$lt": 2010}}]}, {"sw", "fn"}),
        ({"cast": {"$exists": False}}, {"jp", "fn"}),
    ],
    ids=repr,
)
def test_filters(store: Callable[..., AmazonS3Vectors], condition: Any, expected: set[str]) -> None:
    films = store()
    films.add_documents(FILMS)
    assert {found.id for found in films.similarity_search("space", k=10, filter=condition)} == expected


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_text_itself_is_nearest_with_distance_zero(store: Callable[..., AmazonS3Vectors], metric: str) -> None:
    films = store(distance_metric=metric)
    films.add_documents(FILMS)
    found = films.similarity_search_with_score("Finding Nemo", k=3)
    assert found[0][0] == FILMS[2]
    assert found[0][1] == pytest.approx(0, abs=1e-3)
    assert [score for _, score in found] == sorted(score for _, score in found)
    assert films.similarity_search_with_relevance_scores("Finding Nemo", k=1)[0][1] == pytest.approx(1, abs=1e-3)


def test_the_first_texts_make_the_index(
    bucket: str, index_name: str, store: Callable[..., AmazonS3Vectors], client: Any
) -> None:
    AmazonS3Vectors.from_texts(
        ["one", "two"],
        DeterministicFakeEmbedding(size=16),
        [{"n": 1}, {"n": 2}],
        ids=["1", "2"],
        vector_bucket_name=bucket,
        index_name=index_name,
        non_filterable_metadata_keys=["_page_content"],
    )
    made = client.get_index(vectorBucketName=bucket, indexName=index_name)["index"]
    assert made["dimension"] == 16
    assert made["metadataConfiguration"]["nonFilterableMetadataKeys"] == ["_page_content"]
    assert store().get_by_ids(["2", "1"]) == [
        Document("two", id="2", metadata={"n": 2}),
        Document("one", id="1", metadata={"n": 1}),
    ]


async def test_a_retriever(store: Callable[..., AmazonS3Vectors]) -> None:
    films = store()
    await films.aadd_documents(FILMS)
    retriever = films.as_retriever(search_kwargs={"k": 1, "filter": {"genre": "scifi"}})
    assert [found.id for found in await retriever.ainvoke("Star Wars")] == ["sw"]


def test_batches_and_what_follows_them(store: Callable[..., AmazonS3Vectors]) -> None:
    texts = store()
    ids = texts.add_texts([f"text {n}" for n in range(650)], [{"n": n} for n in range(650)], batch_size=500)
    assert len(set(ids)) == 650
    assert [found.page_content for found in texts.get_by_ids(ids)] == [f"text {n}" for n in range(650)]
    assert len(texts.similarity_search("text 1", k=100)) == 100
    texts.delete(ids[:600])
    assert {found.id for found in texts.similarity_search("text 1", k=100)} == set(ids[600:])


def test_a_long_text_needs_a_non_filterable_key(store: Callable[..., AmazonS3Vectors]) -> None:
    with pytest.raises(ClientError, match="Filterable metadata must have at most 2048 bytes"):
        store().add_texts(["x" * 3000])
    store().delete()
    texts = store(non_filterable_metadata_keys=["_page_content"])
    (key,) = texts.add_texts(["x" * 3000])
    assert len(texts.get_by_ids([key])[0].page_content) == 3000


def test_deleting_without_keys_deletes_the_index(store: Callable[..., AmazonS3Vectors]) -> None:
    films = store()
    films.add_documents(FILMS)
    films.delete()
    with pytest.raises(ClientError, match="The specified index could not be found"):
        films.similarity_search("space")
