"""The boto3-like client, over a real service, compared with boto3's own model of the client."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import numpy as np
import pytest
from botocore.validate import ParamValidator

import quiver
from quiver.library.client import PAGINATED, AsyncClient, method_name
from quiver.service.extensions import EXTENSIONS
from quiver.service.operations import OPERATIONS

BOTO3 = boto3.client("s3vectors", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
INDEX = {"vectorBucketName": "demo", "indexName": "words"}


@pytest.fixture
def client() -> Iterator[Any]:
    with quiver.client("memory:") as made:
        made.create_vector_bucket(vectorBucketName="demo")
        made.create_index(**INDEX, dataType="float32", dimension=2, distanceMetric="cosine")
        yield made


def put(client: Any, count: int) -> None:
    vectors = [{"key": f"k{i}", "data": {"float32": [1.0, i]}, "metadata": {"n": i}} for i in range(count)]
    client.put_vectors(**INDEX, vectors=vectors)


def test_every_method_of_boto3s_client_exists_and_no_other_but_the_extensions() -> None:
    ours = {method_name(name) for name in OPERATIONS}
    assert ours == set(BOTO3.meta.method_to_api_mapping)
    added = {method_name(name) for name in EXTENSIONS}
    assert all(inspect.iscoroutinefunction(getattr(AsyncClient, name)) for name in ours | added)


def test_the_paginated_methods_are_boto3s() -> None:
    names = BOTO3.meta.method_to_api_mapping
    assert {name for name in names if BOTO3.can_paginate(name)} == set(PAGINATED)


def test_results_fit_boto3s_model(client: Any) -> None:
    """Every member of an answer is one that boto3 would give, with the type it would have."""
    put(client, 3)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_vector_bucket", {"vectorBucketName": "demo"}),
        ("list_vector_buckets", {}),
        ("get_index", INDEX),
        ("list_indexes", {"vectorBucketName": "demo"}),
        ("get_vectors", {**INDEX, "keys": ["k1"], "returnData": True, "returnMetadata": True}),
        ("list_vectors", {**INDEX, "returnData": True, "returnMetadata": True}),
        (
            "query_vectors",
            {
                **INDEX,
                "topK": 2,
                "queryVector": {"float32": [1, 1]},
                "returnDistance": True,
                "returnMetadata": True,
            },
        ),
    ]
    for name, arguments in calls:
        answer = getattr(client, name)(**arguments)
        assert answer.pop("ResponseMetadata")["HTTPStatusCode"] == 200
        shape = BOTO3.meta.service_model.operation_model(BOTO3.meta.method_to_api_mapping[name]).output_shape
        report = ParamValidator().validate(answer, shape)
        assert not report.has_errors(), f"{name}: {report.generate_report()}"


def test_the_main_job(client: Any) -> None:
    put(client, 5)
    answer = client.query_vectors(
        **INDEX,
        topK=2,
        queryVector={"float32": [1.0, 3.0]},
        filter={"n": {"$lt": 3}},
        returnDistance=True,
        returnMetadata=True,
    )
    assert [hit["key"] for hit in answer["vectors"]] == ["k2", "k1"]
    assert answer["vectors"][0]["metadata"] == {"n": 2}
    assert answer["vectors"][0]["distance"] == pytest.approx(1 - 7 / np.sqrt(50), abs=1e-6)
    assert answer["distanceMetric"] == "cosine"
    client.delete_vectors(**INDEX, keys=["k2"])
    assert client.get_vectors(**INDEX, keys=["k2", "k1"])["vectors"] == [{"key": "k1"}]


def test_numpy_arrays_stand_for_lists_of_floats(client: Any) -> None:
    vector = np.array([0.25, 0.5], np.float32)
    client.put_vectors(**INDEX, vectors=[{"key": "a", "data": {"float32": vector}}])
    found = client.get_vectors(**INDEX, keys=["a"], returnData=True)["vectors"][0]["data"]["float32"]
    assert found == [0.25, 0.5]
    assert client.query_vectors(**INDEX, topK=1, queryVector={"float32": vector})["vectors"] == [{"key": "a"}]


def test_times_are_aware_and_commits_are_in_the_headers(client: Any) -> None:
    created = client.get_index(**INDEX)["index"]["creationTime"]
    assert timedelta(0) <= datetime.now(UTC) - created < timedelta(minutes=1)
    put(client, 1)
    headers = client.list_vectors(**INDEX)["ResponseMetadata"]["HTTPHeaders"]
    assert headers == {"x-quiver-commit": "1"}


def test_errors_are_boto3s(client: Any) -> None:
    with pytest.raises(client.exceptions.NotFoundException) as missing:
        client.get_index(vectorBucketName="demo", indexName="nope")
    assert missing.value.response["Error"] == {
        "Code": "NotFoundException",
        "Message": "The specified index could not be found",
    }
    with pytest.raises(botocore.exceptions.ClientError) as invalid:
        client.create_index(
            vectorBucketName="demo", indexName="x" * 64, dataType="float32", dimension=2, distanceMetric="cosine"
        )
    assert invalid.value.response["Error"]["Code"] == "ValidationException"
    assert invalid.value.response["fieldList"][0]["path"] == "/indexName"
    assert invalid.value.operation_name == "CreateIndex"


def test_create_index_takes_the_index_structure_as_arguments(client: Any) -> None:
    create = {"vectorBucketName": "demo", "dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
    chosen = {"partitioner": "kdtree", "codec": "lsh", "recall": 0.9}
    arn = client.create_index(**create, indexName="chosen", tags={"team": "red"}, **chosen)["indexArn"]
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {
        "team": "red",
        "quiver:partitioner": "kdtree",
        "quiver:codec": "lsh",
        "quiver:recall": "0.9",
    }
    for wrong in ({"partitioner": "tree"}, {"codec": 8}, {"recall": 2}, {"recall": True}):
        with pytest.raises(client.exceptions.ValidationException) as invalid:
            client.create_index(**create, indexName="refused", **wrong)
        ((name, _),) = wrong.items()
        assert [field["path"] for field in invalid.value.response["fieldList"]] == [f"tags.quiver:{name}"]
    with pytest.raises(TypeError, match="both as an argument and as a tag"):
        client.create_index(**create, indexName="refused", codec="pq", tags={"quiver:codec": "pq"})
    with pytest.raises(TypeError, match="unexpected argument 'codec'"):
        client.get_index(**INDEX, codec="pq")
    listed = client.list_indexes(vectorBucketName="demo")["indexes"]
    assert [index["indexName"] for index in listed] == ["chosen", "words"]


def test_an_unknown_argument_is_a_type_error_that_names_the_known_ones(client: Any) -> None:
    with pytest.raises(TypeError, match=r"get_index\(\).*'indexname'.*indexName"):
        client.get_index(vectorBucketName="demo", indexname="words")
    with pytest.raises(TypeError):
        client.get_index("demo", "words")


def test_paginators_walk_every_page(client: Any) -> None:
    put(client, 250)
    pages = list(client.get_paginator("list_vectors").paginate(**INDEX, PaginationConfig={"PageSize": 100}))
    assert [len(page["vectors"]) for page in pages] == [100, 100, 50]
    assert {v["key"] for page in pages for v in page["vectors"]} == {f"k{i}" for i in range(250)}
    found = client.get_paginator("query_vectors").paginate(**INDEX, topK=250, queryVector={"float32": [1.0, 0.0]})
    assert [v["key"] for page in found for v in page["vectors"]] == [f"k{i}" for i in range(250)]


def test_a_walk_can_start_where_another_ended(client: Any) -> None:
    put(client, 20)
    paginator = client.get_paginator("list_vectors")
    first = next(iter(paginator.paginate(**INDEX, PaginationConfig={"PageSize": 15})))
    rest = list(paginator.paginate(**INDEX, PaginationConfig={"StartingToken": first["nextToken"]}))
    keys = [v["key"] for page in [first, *rest] for v in page["vectors"]]
    assert sorted(keys) == sorted(f"k{i}" for i in range(20))


def test_a_method_without_pages_has_no_paginator(client: Any) -> None:
    assert client.can_paginate("list_indexes")
    assert not client.can_paginate("get_index")
    with pytest.raises(ValueError, match="get_index has no pages"):
        client.get_paginator("get_index")


def test_methods_are_documented() -> None:
    assert (
        AsyncClient.put_vectors.__doc__ == "PutVectors. Arguments: vectorBucketName, indexName, indexArn, vectors."
    )
    assert str(AsyncClient.create_index.__doc__).endswith(", tags, partitioner, codec, recall.")
    assert AsyncClient.put_vectors.__qualname__ == "AsyncClient.put_vectors"


def test_the_asynchronous_twin_does_the_same(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        async with await quiver.async_client(str(tmp_path / "data")) as client:
            one = await client.create_vector_bucket(vectorBucketName="one")
            index = await client.create_index(
                vectorBucketName="one",
                indexName="abc",
                dataType="float32",
                dimension=2,
                distanceMetric="cosine",
                codec="flat",
            )
            assert index["indexArn"] == f"{one['vectorBucketArn']}/index/abc"
            tags = await client.list_tags_for_resource(resourceArn=index["indexArn"])
            assert tags["tags"] == {"quiver:codec": "flat"}
            await client.create_vector_bucket(vectorBucketName="two")
            pages = client.get_paginator("list_vector_buckets").paginate(PaginationConfig={"PageSize": 1})
            return [b["vectorBucketName"] async for page in pages for b in page["vectorBuckets"]]

    assert asyncio.run(scenario()) == ["one", "two"]


def test_closing_leaves_no_thread_behind() -> None:
    before = {thread.name for thread in threading.enumerate()}
    with quiver.client("memory:") as client:
        client.create_vector_bucket(vectorBucketName="demo")
    assert {thread.name for thread in threading.enumerate()} <= before
