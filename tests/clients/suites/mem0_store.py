"""mem0's S3 Vectors store by itself and under its Memory; its own tests ask a mock, never a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from mem0 import Memory
from mem0.vector_stores.s3_vectors import S3Vectors

if TYPE_CHECKING:
    from pathlib import Path

PAYLOADS = [{"user_id": "ann", "data": "likes tea"}, {"user_id": "bob", "data": "likes coffee"}]


@pytest.fixture(params=["cosine", "euclidean"])
def store(request: pytest.FixtureRequest, bucket: str, index_name: str) -> S3Vectors:
    made = S3Vectors(bucket, index_name, 3, request.param, "us-east-1")
    made.insert([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], PAYLOADS, ["a", "b"])
    return made


def test_a_missing_bucket_and_index_are_made(client: Any, index_name: str) -> None:
    name = f"{index_name}-bucket"
    for _ in range(2):  # the second finds both
        store = S3Vectors(name, index_name, 5, "euclidean")
    assert store.list_cols() == [index_name]
    assert store.col_info()["dimension"] == 5
    store.delete_col()
    assert store.list_cols() == []
    client.delete_vector_bucket(vectorBucketName=name)


def test_search_with_scores_and_a_filter(store: S3Vectors) -> None:
    first, second = store.search("", [1.0, 0.1, 0.0], top_k=5)
    assert (first.id, first.payload, second.id) == ("a", PAYLOADS[0], "b")
    assert 0 <= second.score < first.score <= 1
    assert [hit.id for hit in store.search("", [1.0, 0.1, 0.0], filters={"user_id": "bob"})] == ["b"]


def test_two_keys_in_one_filter_are_refused_as_aws_does(store: S3Vectors) -> None:
    with pytest.raises(ClientError, match="Invalid filter"):
        store.search("", [1.0, 0.1, 0.0], filters={"user_id": "bob", "data": "likes coffee"})


def test_get_update_and_delete(store: S3Vectors) -> None:
    assert store.get("absent") is None
    store.update("a", payload={"user_id": "ann", "data": "likes milk"})
    assert store.get("a").payload["data"] == "likes milk"
    assert store.search("", [1.0, 0.0, 0.0], top_k=1)[0].score == pytest.approx(1)
    store.update("a", vector=[0.0, 0.0, 1.0])
    assert store.search("", [0.0, 0.0, 1.0], top_k=1)[0].id == "a"
    store.delete("a")
    assert store.get("a") is None


def test_listing_all_pages(store: S3Vectors) -> None:
    for start in range(0, 600, 300):
        keys = [f"k{n}" for n in range(start, start + 300)]
        store.insert([[1.0, float(n), 0.5] for n in range(300)], [{"user_id": "eve"}] * 300, keys)
    assert len(store.list()[0]) == 602
    assert len(store.list(filters={"user_id": "eve"})[0]) == 600
    assert len(store.list(top_k=10)[0]) == 10


def test_reset_empties_it(store: S3Vectors) -> None:
    store.reset()
    assert store.list()[0] == []


def test_memory_over_it(bucket: str, index_name: str, tmp_path: Path) -> None:
    store = {"vector_bucket_name": bucket, "collection_name": index_name, "embedding_model_dims": 1536}
    unused = {"api_key": "none", "openai_base_url": "http://127.0.0.1:9"}  # facts are given, not inferred
    memory = Memory.from_config(
        {
            "vector_store": {"provider": "s3_vectors", "config": store},
            "embedder": {"provider": "aws_bedrock", "config": {"model": "amazon.titan-embed-text-v1"}},
            "llm": {"provider": "openai", "config": unused},
            "history_db_path": str(tmp_path / "history.db"),
        }
    )
    for user, text in (("ann", "likes tea"), ("ann", "lives in Rome"), ("bob", "likes coffee")):
        memory.add(text, user_id=user, infer=False)
    mine = memory.get_all(filters={"user_id": "ann"})["results"]
    assert {each["memory"] for each in mine} == {"likes tea", "lives in Rome"}
    hits = memory.search("likes tea", filters={"user_id": "ann"}, top_k=1)["results"]
    assert [hit["memory"] for hit in hits] == ["likes tea"]
    memory.update(hits[0]["id"], "likes milk")
    assert memory.get(hits[0]["id"])["memory"] == "likes milk"
    memory.delete_all(user_id="ann")
    assert memory.get_all(filters={"user_id": "ann"})["results"] == []
    assert [each["memory"] for each in memory.get_all(filters={"user_id": "bob"})["results"]] == ["likes coffee"]
