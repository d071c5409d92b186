"""What the index operations do, through any client."""

from __future__ import annotations

from typing import Any

import pytest

from api.buckets import KMS_KEY, just_now
from api.workbench import Workbench, bucket_arn, fresh_name, invalid, not_found, record, refusal

NO_INDEX = "The specified index could not be found"
INDEX_ARGUMENTS = "Must specify either indexArn or both vectorBucketName and indexName"
CREATE = {"dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}


def of_one_index(client: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Every operation that names an index, with the other arguments it needs."""
    return [
        (client.get_index, {}),
        (client.delete_index, {}),
        (client.update_index_mode, {"indexMode": "ENHANCED"}),
        (client.update_metadata_configuration, {"delete": {"textSearchConfigurations": [{"metadataKey": "a"}]}}),
        (client.put_vectors, {"vectors": [record("a", [1, 2])]}),
        (client.get_vectors, {"keys": ["a"]}),
        (client.list_vectors, {}),
        (client.delete_vectors, {"keys": ["a"]}),
        (client.query_vectors, {"topK": 1, "queryVector": {"float32": [1, 2]}}),
    ]


class IndexContract:
    """CreateIndex, GetIndex, ListIndexes, DeleteIndex, UpdateIndexMode and UpdateMetadataConfiguration."""

    @pytest.mark.parametrize("way", ["name", "arn"])
    def test_a_new_index_is_shown_as_it_was_asked_for(self, bench: Workbench, way: str) -> None:
        client, arn = bench.client, bucket_arn(bench.bucket)
        in_bucket = bench.in_bucket if way == "name" else {"vectorBucketArn": arn}
        created = client.create_index(
            **in_bucket,
            indexName="my.index-1",
            dataType="float32",
            dimension=4096,
            distanceMetric="euclidean",
            metadataConfiguration={"nonFilterableMetadataKeys": ["b", "a"]},
        )
        assert created["indexArn"] == f"{arn}/index/my.index-1"
        names = (
            bench.in_bucket | {"indexName": "my.index-1"} if way == "name" else {"indexArn": created["indexArn"]}
        )
        shown = client.get_index(**names)["index"]
        assert just_now(shown.pop("creationTime"))
        assert shown == {
            "vectorBucketName": bench.bucket,
            "indexName": "my.index-1",
            "indexArn": created["indexArn"],
            "dataType": "float32",
            "dimension": 4096,
            "distanceMetric": "euclidean",
            "metadataConfiguration": {"nonFilterableMetadataKeys": ["b", "a"]},
            "encryptionConfiguration": {"sseType": "AES256"},
            "indexMode": "ENHANCED",
        }

    def test_no_metadata_configuration_is_shown_when_none_was_given(self, bench: Workbench) -> None:
        assert "metadataConfiguration" not in bench.client.get_index(**bench.index())["index"]

    def test_an_index_is_created_once_even_with_the_same_parameters(self, bench: Workbench) -> None:
        names = bench.index(metric="cosine")
        error = refusal(bench.client.create_index, **names, **CREATE)
        assert error == ("ConflictException", 409, "An index with the specified name already exists", [])

    def test_operations_on_an_unknown_index_or_bucket_name_the_index(self, bench: Workbench) -> None:
        unknown = [
            bench.in_bucket | {"indexName": "unknown"},
            {"vectorBucketName": fresh_name(), "indexName": "unknown"},
            {"indexArn": f"{bucket_arn(bench.bucket)}/index/unknown"},
        ]
        for call, more in of_one_index(bench.client):
            for names in unknown:
                assert not_found(call, **names, **more) == NO_INDEX

    def test_an_index_is_named_in_exactly_one_way(self, bench: Workbench) -> None:
        names = bench.index()
        arn = f"{bucket_arn(bench.bucket)}/index/{names['indexName']}"
        ways = [
            {},
            bench.in_bucket,
            {"indexName": names["indexName"]},
            bench.in_bucket | {"indexArn": arn},
            names | {"indexArn": arn},
        ]
        for call, more in of_one_index(bench.client):
            for arguments in ways:
                assert invalid(call, **arguments, **more) == INDEX_ARGUMENTS

    @pytest.mark.parametrize("name", ["Abc", "a_b", "-abc", "abc.", ".abc", "a..b", "1.2.3.4", "xn--abc", "abc\n"])
    def test_index_names_may_hold_single_dots_besides(self, bench: Workbench, name: str) -> None:
        assert (
            invalid(bench.client.create_index, **bench.in_bucket, indexName=name, **CREATE) == "Invalid index name"
        )

    @pytest.mark.parametrize(
        ("change", "path", "constraint"),
        [
            ({"dimension": 0}, "/dimension", "Member must be between 1 and 4096, inclusive"),
            ({"dimension": 4097}, "/dimension", "Member must be between 1 and 4096, inclusive"),
            ({"dimension": 99999}, "/dimension", "Member must be between 1 and 4096, inclusive"),
            ({"dataType": "int"}, "/dataType", "Member must satisfy enum value set: [float32]"),
            (
                {"distanceMetric": "dot"},
                "/distanceMetric",
                "Member must satisfy enum value set: [euclidean, cosine]",
            ),
            ({"dimension": None}, "/dimension", "Member must not be null"),
            ({"dataType": None}, "/dataType", "Member must not be null"),
        ],
    )
    def test_values_out_of_range(
        self, bench: Workbench, change: dict[str, Any], path: str, constraint: str
    ) -> None:
        error = refusal(bench.client.create_index, **bench.in_bucket, indexName="abc", **CREATE | change)
        detail = f"Value at '{path}' failed to satisfy constraint: {constraint}"
        assert error == (
            "ValidationException",
            400,
            f"1 validation error detected. {detail}",
            [(path, detail)],
        )

    def test_all_that_is_wrong_is_said_at_once(self, bench: Workbench) -> None:
        error = refusal(bench.client.create_index, **bench.in_bucket, indexName="ab", dimension=0)
        assert error.message.startswith("4 validation errors detected. Value with length 2 at '/indexName'")
        paths = ["/indexName", "/dataType", "/dimension", "/distanceMetric"]
        assert [path for path, _ in error.fields] == paths
        assert all(text in error.message for _, text in error.fields)

    def test_upper_case_spellings_of_older_clients(self, bench: Workbench) -> None:
        names = bench.index(metric="COSINE", dataType="FLOAT32")
        shown = bench.client.get_index(**names)["index"]
        assert (shown["dataType"], shown["distanceMetric"]) == ("float32", "cosine")

    def test_at_most_10_non_filterable_keys_of_63_characters(self, bench: Workbench) -> None:
        def configuration(*keys: str) -> dict[str, Any]:
            return {"metadataConfiguration": {"nonFilterableMetadataKeys": list(keys)}}

        ten = [str(n) * 63 for n in range(10)]
        assert bench.client.get_index(**bench.index(**configuration(*ten)))["index"]["metadataConfiguration"] == {
            "nonFilterableMetadataKeys": ten
        }
        for keys, path in ((("a",) * 11, ""), (("a" * 64,), "/0"), (("",), "/0")):
            error = refusal(
                bench.client.create_index, **bench.in_bucket, indexName="abc", **CREATE, **configuration(*keys)
            )
            assert error.fields[0][0] == f"/metadataConfiguration/nonFilterableMetadataKeys{path}"

    def test_encryption_is_that_of_the_store(self, bench: Workbench) -> None:
        for encryption, code in (
            ({"kmsKeyArn": KMS_KEY}, "ValidationException"),
            ({"sseType": "aws:kms"}, "ValidationException"),
            ({"sseType": "aws:kms", "kmsKeyArn": KMS_KEY}, "AccessDeniedException"),
        ):
            arguments = bench.in_bucket | CREATE | {"indexName": "abc", "encryptionConfiguration": encryption}
            assert refusal(bench.client.create_index, **arguments).code == code

    def test_listing_indexes_page_by_page_with_a_prefix(self, bench: Workbench) -> None:
        names = [bench.index(name=f"i-{n}")["indexName"] for n in range(5)]
        bench.index(name="other")
        pages = list(
            bench.client.get_paginator("list_indexes").paginate(
                **bench.in_bucket, prefix="i-", PaginationConfig={"PageSize": 2}
            )
        )
        assert [len(page["indexes"]) for page in pages] == [2, 2, 1]
        listed = [index for page in pages for index in page["indexes"]]
        assert all(just_now(index.pop("creationTime")) for index in listed)
        arn = bucket_arn(bench.bucket)
        assert listed == [
            {"vectorBucketName": bench.bucket, "indexName": name, "indexArn": f"{arn}/index/{name}"}
            for name in names
        ]
        everything = bench.client.list_indexes(vectorBucketArn=arn)["indexes"]
        assert [index["indexName"] for index in everything] == [*names, "other"]

    def test_a_page_token_of_indexes_fits_its_bucket_only(self, bench: Workbench) -> None:
        other = Workbench(bench.client)
        for _ in range(2):
            bench.index()
            other.index()
        token = bench.client.list_indexes(**bench.in_bucket, maxResults=1)["nextToken"]
        assert len(bench.client.list_indexes(**bench.in_bucket, nextToken=token)["indexes"]) == 1
        assert invalid(bench.client.list_indexes, **other.in_bucket, nextToken=token) == "Invalid page token"
        for length in (0, 513):
            message = invalid(bench.client.list_indexes, **bench.in_bucket, nextToken="x" * length)
            assert message.endswith("Member must have length between 1 and 512, inclusive")

    def test_deleting_an_index_deletes_its_vectors(self, bench: Workbench) -> None:
        names = bench.filled(record("a", [1, 2]))
        bench.client.delete_index(**names)
        for call, more in of_one_index(bench.client):
            assert not_found(call, **names, **more) == NO_INDEX
        assert bench.client.list_indexes(**bench.in_bucket)["indexes"] == []

    def test_an_index_of_the_same_name_starts_empty_with_another_dimension(self, bench: Workbench) -> None:
        client, names = bench.client, bench.filled(record("a", [1, 2], {"n": 1}), record("b", [1, 3]))
        token = client.list_vectors(**names, maxResults=1)["nextToken"]
        client.delete_index(**names)
        bench.index(3, "cosine", names["indexName"])
        assert bench.keys(names) == set()
        assert client.get_vectors(**names, keys=["a"])["vectors"] == []
        assert bench.nearest(names, [1, 2, 3]) == []
        assert invalid(client.list_vectors, **names, nextToken=token) == "Invalid page token"
        assert invalid(client.put_vectors, **names, vectors=[record("a", [1, 2])]).endswith(
            "vector must have length 3, but has length 2"
        )
        client.put_vectors(**names, vectors=[record("a", [1, 2, 3])])
        assert bench.nearest(names, [1, 2, 3]) == ["a"]

    def test_every_index_stays_enhanced(self, bench: Workbench) -> None:
        client, names = bench.client, bench.index()
        client.update_index_mode(**names, indexMode="ENHANCED")
        assert invalid(client.update_index_mode, **names, indexMode="CLASSIC") == (
            "indexMode cannot be set to CLASSIC because the vector bucket does not support CLASSIC mode"
        )
        assert client.get_index(**names)["index"]["indexMode"] == "ENHANCED"
        query = {"topK": 1, "queryVector": {"float32": [1, 2]}}
        assert invalid(client.query_vectors, **names, **query, queryMode="CLASSIC") == (
            "queryMode cannot be CLASSIC when indexMode is ENHANCED"
        )
        assert client.query_vectors(**names, **query, queryMode="ENHANCED")["vectors"] == []
