"""What the suites share: buckets of their own on the server that the environment names."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def client() -> Any:
    """boto3 as everybody has it, configured by the environment alone."""
    assert os.environ["AWS_ENDPOINT_URL_S3VECTORS"].startswith("http://127.0.0.1:")
    return boto3.client("s3vectors")


@pytest.fixture
def bucket(client: Any) -> Iterator[str]:
    """The name of a new vector bucket, which goes with all its indexes in the end."""
    name = f"c-{secrets.token_hex(6)}"
    client.create_vector_bucket(vectorBucketName=name)
    yield name
    for page in client.get_paginator("list_indexes").paginate(vectorBucketName=name):
        for index in page["indexes"]:
            client.delete_index(indexArn=index["indexArn"])
    client.delete_vector_bucket(vectorBucketName=name)


@pytest.fixture
def index_name() -> str:
    return f"i-{secrets.token_hex(6)}"
