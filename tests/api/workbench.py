"""What API tests work with: an unmodified client, names of their own, and errors taken apart."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cli.running import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REGION = "us-east-1"
ACCOUNT = "000000000000"


def connect(url: str, **options: Any) -> Any:
    """A boto3 client that checks nothing by itself and sends every request once, unless told otherwise."""
    settings = {"parameter_validation": False, "retries": {"total_max_attempts": 1}, "proxies": {}} | options
    return boto3.client(
        "s3vectors",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=KEYS["QUIVER_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["QUIVER_SECRET_ACCESS_KEY"],
        config=Config(**settings),
    )


class Refusal(NamedTuple):
    """An error as the client reports it. `fields` are the fieldList's (path, message) pairs."""

    code: str
    status: int
    message: str
    fields: list[tuple[str, str]]


def refusal(call: Callable[..., Any], **arguments: Any) -> Refusal:
    """The error that a call ends in."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return refusal_of(caught.value)


def refusal_of(error: ClientError) -> Refusal:
    """What a client was told."""
    response = error.response
    fields = [(field["path"], field["message"]) for field in response.get("fieldList", ())]
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    return Refusal(response["Error"]["Code"], status, response["Error"]["Message"], fields)


def invalid(call: Callable[..., Any], **arguments: Any) -> str:
    """The message of the ValidationException that a call ends in."""
    error = refusal(call, **arguments)
    assert (error.code, error.status) == ("ValidationException", 400), error
    return error.message


def not_found(call: Callable[..., Any], **arguments: Any) -> str:
    """The message of the NotFoundException that a call ends in."""
    error = refusal(call, **arguments)
    assert (error.code, error.status, error.fields) == ("NotFoundException", 404, []), error
    return error.message


def fresh_name() -> str:
    return f"t-{secrets.token_hex(6)}"


def bucket_arn(bucket: str) -> str:
    return f"arn:aws:s3vectors:{REGION}:{ACCOUNT}:bucket/{bucket}"


def record(key: str, vector: Iterable[float], metadata: Any = None) -> dict[str, Any]:
    """One member of `vectors`, without metadata when there are none."""
    made = {"key": key, "data": {"float32": list(vector)}}
    return made if metadata is None else made | {"metadata": metadata}


class Workbench:
    """A client and a vector bucket of its own.

    Attributes:
        client: boto3's client, or the library's.
        bucket: the name of the bucket.
        in_bucket: the arguments that name it.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.bucket = fresh_name()
        self.in_bucket = {"vectorBucketName": self.bucket}
        client.create_vector_bucket(**self.in_bucket)

    def index(
        self, dimension: int = 2, metric: str = "euclidean", name: str | None = None, **more: Any
    ) -> dict[str, str]:
        """A new index; returns the arguments that name it."""
        names = self.in_bucket | {"indexName": name or fresh_name()}
        self.client.create_index(
            **names, **{"dataType": "float32", "dimension": dimension, "distanceMetric": metric} | more
        )
        return names

    def filled(self, *records: dict[str, Any], dimension: int = 2, **more: Any) -> dict[str, str]:
        """A new index that holds these records."""
        names = self.index(dimension, **more)
        self.client.put_vectors(**names, vectors=list(records))
        return names

    def keys(self, names: dict[str, str]) -> set[str]:
        """The keys of all vectors of an index."""
        pages = self.client.get_paginator("list_vectors").paginate(**names)
        return {vector["key"] for page in pages for vector in page["vectors"]}

    def nearest(self, names: dict[str, str], vector: Iterable[float], top_k: int = 10, **more: Any) -> list[str]:
        """The keys that a query finds, nearest first."""
        found = self.client.query_vectors(**names, queryVector={"float32": list(vector)}, topK=top_k, **more)
        return [hit["key"] for hit in found["vectors"]]

    def matching(self, names: dict[str, str], condition: Any) -> set[str]:
        """The keys of the vectors that a filter lets through (up to 100), in an index of dimension 2."""
        return set(self.nearest(names, [1, 1], 100, filter=condition))
