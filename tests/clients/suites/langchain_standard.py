"""LangChain's standard suite for vector stores, sync and async, over langchain-aws's AmazonS3Vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_aws.vectorstores.s3_vectors import AmazonS3Vectors
from langchain_tests.integration_tests.vectorstores import EMBEDDING_SIZE, VectorStoreIntegrationTests

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore


class TestAmazonS3Vectors(VectorStoreIntegrationTests):
    """The suite unchanged. It reads before it writes, so the index that the first texts make is made here."""

    @pytest.fixture
    def vectorstore(self, client: Any, bucket: str, index_name: str) -> VectorStore:
        client.create_index(
            vectorBucketName=bucket,
            indexName=index_name,
            dataType="float32",
            dimension=EMBEDDING_SIZE,
            distanceMetric="cosine",
        )
        return AmazonS3Vectors(vector_bucket_name=bucket, index_name=index_name, embedding=self.get_embeddings())
