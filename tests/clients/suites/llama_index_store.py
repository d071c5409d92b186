"""LlamaIndex's S3VectorStore: nodes in and out, filters, deletion, and an index built over it, sync and async.

Covers what its maintainers' own tests check (nodes there and back, two nearest of three, a text field, a filter),
which no published package holds. With LLAMA_INDEX_TESTS those run, too: see test_clients.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.s3 import S3VectorStore

if TYPE_CHECKING:
    from llama_index.core.vector_stores.types import VectorStoreQueryResult

DIMENSION = 8


def node(number: int, **metadata: Any) -> TextNode:
    """A node of document `doc-<number>` in a direction of its own."""
    made = TextNode(
        id_=f"n{number}",
        text=f"text {number}",
        metadata=metadata,
        embedding=[float(position == number) + 0.01 for position in range(DIMENSION)],
    )
    made.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"doc-{number}")
    return made


NODES = [
    node(0, year=1977, genre="scifi"),
    node(1, year=1993, genre="scifi"),
    node(2, year=2003, genre="family"),
    node(3, genre="none"),
]


@pytest.fixture
def store(bucket: str, index_name: str) -> S3VectorStore:
    return S3VectorStore.create_index_from_bucket(
        bucket_name_or_arn=bucket, index_name=index_name, dimension=DIMENSION, sync_session=boto3.Session()
    )


def query(number: int, top_k: int = 10, filters: MetadataFilters | None = None) -> VectorStoreQuery:
    return VectorStoreQuery(query_embedding=NODES[number].embedding, similarity_top_k=top_k, filters=filters)


def found(result: VectorStoreQueryResult) -> list[str]:
    return list(result.ids or [])


def test_nodes_there_and_back(store: S3VectorStore) -> None:
    assert store.add(NODES) == ["n0", "n1", "n2", "n3"]
    got = {each.node_id: each for each in store.get_nodes(node_ids=["n0", "n2", "absent"])}
    assert set(got) == {"n0", "n2"}
    assert got["n2"].get_content() == "text 2"
    assert got["n2"].metadata == {"year": 2003, "genre": "family"}
    assert got["n2"].ref_doc_id == "doc-2"


def test_the_nearest_with_similarities(store: S3VectorStore) -> None:
    store.add(NODES)
    result = store.query(query(1, top_k=2))
    assert found(result)[0] == "n1"
    assert len(result.nodes) == 2
    assert result.similarities[0] == pytest.approx(1, abs=1e-5)
    assert result.similarities[0] > result.similarities[1]


async def test_the_same_by_its_asynchronous_methods(store: S3VectorStore) -> None:
    await store.async_add(NODES)
    assert len(await store.aget_nodes(node_ids=["n0", "n1"])) == 2
    assert found(await store.aquery(query(3, top_k=1))) == ["n3"]
    await store.adelete_nodes(node_ids=["n3"])
    assert "n3" not in found(await store.aquery(query(3)))


@pytest.mark.parametrize(
    ("operator", "key", "value", "expected"),
    [
        (FilterOperator.EQ, "genre", "scifi", {"n0", "n1"}),
        (FilterOperator.NE, "genre", "scifi", {"n2", "n3"}),
        (FilterOperator.GT, "year", 1977, {"n1", "n2"}),
        (FilterOperator.GTE, "year", 1993, {"n1", "n2"}),
        (FilterOperator.LT, "year", 1993, {"n0"}),
        (FilterOperator.LTE, "year", 1993, {"n0", "n1"}),
        (FilterOperator.IN, "genre", ["family", "none"], {"n2", "n3"}),
        (FilterOperator.NIN, "genre", ["family", "none"], {"n0", "n1"}),
        (FilterOperator.IS_EMPTY, "year", None, {"n3"}),
    ],
)
def test_filters(store: S3VectorStore, operator: FilterOperator, key: str, value: Any, expected: set[str]) -> None:
    store.add(NODES)
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    assert set(found(store.query(query(0, filters=filters)))) == expected


def test_nested_filters(store: S3VectorStore) -> None:
    store.add(NODES)
    early = MetadataFilter(key="year", value=1990, operator=FilterOperator.LT)
    family = MetadataFilter(key="genre", value="family")
    either = MetadataFilters(filters=[early, family], condition=FilterCondition.OR)
    both = MetadataFilters(filters=[either, MetadataFilter(key="genre", value="scifi")])
    assert set(found(store.query(query(0, filters=either)))) == {"n0", "n2"}
    assert found(store.query(query(0, filters=both))) == ["n0"]


def test_a_text_field_of_other_writers(store: S3VectorStore, client: Any, bucket: str) -> None:
    vector = {"key": "k", "data": {"float32": [1.0] * DIMENSION}, "metadata": {"my_text": "hello", "n": 1}}
    client.put_vectors(vectorBucketName=bucket, indexName=store.index_name_or_arn, vectors=[vector])
    store.text_field = "my_text"
    (got,) = store.get_nodes(node_ids=["k"])
    assert (got.get_content(), got.metadata) == ("hello", {"n": 1})


def test_deleting_a_document_scans_the_index(store: S3VectorStore) -> None:
    store.add(NODES)
    store.delete("doc-1")
    assert set(found(store.query(query(0)))) == {"n0", "n2", "n3"}


def test_a_bucket_named_by_arn(client: Any, bucket: str, index_name: str) -> None:
    arn = client.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]["vectorBucketArn"]
    S3VectorStore.create_index_from_bucket(bucket_name_or_arn=arn, index_name=index_name, dimension=DIMENSION)
    assert client.get_index(vectorBucketName=bucket, indexName=index_name)["index"]["dimension"] == DIMENSION


def test_an_index_of_llama_index_over_it(store: S3VectorStore, client: Any, bucket: str) -> None:
    index = VectorStoreIndex(
        NODES,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=MockEmbedding(embed_dim=DIMENSION),
    )
    answers = index.as_retriever(similarity_top_k=3).retrieve("anything")
    assert len(answers) == 3
    assert {answer.node.node_id for answer in answers} <= {"n0", "n1", "n2", "n3"}
    store.clear()
    assert client.list_indexes(vectorBucketName=bucket)["indexes"] == []
