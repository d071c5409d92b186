"""What the bucket, policy and tag operations do, through any client."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.workbench import Workbench, bucket_arn, fresh_name, invalid, not_found, refusal

NO_BUCKET = "The specified vector bucket could not be found"
NO_RESOURCE = "The specified resource could not be found"
BUCKET_ARGUMENTS = "Must specify either vectorBucketName or vectorBucketArn but not both"
KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
TAG_PATTERN = r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"


def just_now(time: datetime) -> bool:
    """Whether an aware time of whole seconds lies within the last minutes."""
    return time.microsecond == 0 and timedelta(minutes=-5) <= time - datetime.now(UTC) <= timedelta(seconds=2)


class BucketContract:
    """CreateVectorBucket, GetVectorBucket, ListVectorBuckets, DeleteVectorBucket and the default index mode."""

    def test_a_new_bucket_is_shown_with_its_defaults(self, client: Any) -> None:
        name = fresh_name()
        created = client.create_vector_bucket(vectorBucketName=name)
        assert created["vectorBucketArn"] == bucket_arn(name)
        for way in ({"vectorBucketName": name}, {"vectorBucketArn": bucket_arn(name)}):
            shown = client.get_vector_bucket(**way)["vectorBucket"]
            assert just_now(shown.pop("creationTime"))
            assert shown == {
                "vectorBucketName": name,
                "vectorBucketArn": bucket_arn(name),
                "encryptionConfiguration": {"sseType": "AES256"},
                "defaultIndexMode": "ENHANCED",
            }

    def test_a_bucket_is_created_once_even_with_the_same_parameters(self, bench: Workbench) -> None:
        error = refusal(bench.client.create_vector_bucket, **bench.in_bucket)
        assert error == ("ConflictException", 409, "A vector bucket with the specified name already exists", [])

    def test_a_deleted_bucket_is_gone_and_its_name_is_free(self, bench: Workbench) -> None:
        bench.client.delete_vector_bucket(vectorBucketArn=bucket_arn(bench.bucket))
        assert not_found(bench.client.get_vector_bucket, **bench.in_bucket) == NO_BUCKET
        assert not_found(bench.client.delete_vector_bucket, **bench.in_bucket) == NO_BUCKET
        bench.client.create_vector_bucket(**bench.in_bucket)
        assert (
            bench.client.get_vector_bucket(**bench.in_bucket)["vectorBucket"]["vectorBucketName"] == bench.bucket
        )

    def test_a_bucket_with_an_index_is_not_deleted(self, bench: Workbench) -> None:
        names = bench.index()
        error = refusal(bench.client.delete_vector_bucket, **bench.in_bucket)
        assert error == ("ConflictException", 409, "The specified vector bucket is not empty", [])
        bench.client.delete_index(**names)
        bench.client.delete_vector_bucket(**bench.in_bucket)

    def test_operations_on_an_unknown_bucket_name_the_bucket(self, client: Any) -> None:
        unknown = {"vectorBucketName": fresh_name()}
        index = {"indexName": "abc", "dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
        for call, more in [
            (client.get_vector_bucket, {}),
            (client.delete_vector_bucket, {}),
            (client.list_indexes, {}),
            (client.create_index, index),
            (client.put_vector_bucket_policy, {"policy": '{"Statement":[]}'}),
            (client.get_vector_bucket_policy, {}),
            (client.delete_vector_bucket_policy, {}),
            (client.put_vector_bucket_default_index_mode, {"defaultIndexMode": "ENHANCED"}),
        ]:
            assert not_found(call, **unknown, **more) == NO_BUCKET

    @pytest.mark.parametrize(
        "name",
        ["Abc", "a_b", "a&b", "a/b", "-abc", "abc-", "a..b", "a b", "..a", "abc\n", "xn--abc", "a\u00e9c", "a.b"],
    )
    def test_bucket_names_have_small_letters_digits_and_hyphens(self, client: Any, name: str) -> None:
        assert invalid(client.create_vector_bucket, vectorBucketName=name) == "Invalid vector bucket name"

    @pytest.mark.parametrize("name", ["", "ab", "a" * 64])
    def test_bucket_names_have_3_to_63_characters(self, client: Any, name: str) -> None:
        error = refusal(client.create_vector_bucket, vectorBucketName=name)
        detail = (
            f"Value with length {len(name)} at '/vectorBucketName' failed to satisfy constraint: "
            "Member must have length between 3 and 63, inclusive"
        )
        assert error.message == f"1 validation error detected. {detail}"
        assert error.fields == [("/vectorBucketName", detail)]

    def test_names_of_3_and_of_63_characters_are_accepted(self, client: Any) -> None:
        short, long = fresh_name()[-3:], fresh_name().ljust(63, "9")
        for name in (short, long):
            client.create_vector_bucket(vectorBucketName=name)
            client.delete_vector_bucket(vectorBucketName=name)

    def test_a_bucket_is_named_in_exactly_one_way(self, bench: Workbench) -> None:
        for call in (bench.client.get_vector_bucket, bench.client.list_indexes, bench.client.delete_vector_bucket):
            assert invalid(call) == BUCKET_ARGUMENTS
            assert invalid(call, **bench.in_bucket, vectorBucketArn=bucket_arn(bench.bucket)) == BUCKET_ARGUMENTS

    def test_arns_of_others_are_denied_whether_they_exist_or_not(self, bench: Workbench) -> None:
        own = bucket_arn(bench.bucket)
        for foreign in (own.replace("us-east-1", "eu-west-1"), own.replace("000000000000", "123456789012")):
            for arn in (foreign, foreign[:-1] + "x"):
                error = refusal(bench.client.get_vector_bucket, vectorBucketArn=arn)
                assert (error.code, error.status) == ("AccessDeniedException", 403)

    @pytest.mark.parametrize("arn", ["", "x", "arn:aws:s3:::abc", "arn:aws:s3vectors:us-east-1:1:bucket/abc"])
    def test_what_is_no_arn_is_refused(self, client: Any, arn: str) -> None:
        assert "Member must satisfy regular expression pattern" in invalid(
            client.get_vector_bucket, vectorBucketArn=arn
        )

    def test_listing_buckets_page_by_page_with_a_prefix(self, client: Any) -> None:
        prefix = fresh_name()
        names = [f"{prefix}-{n}" for n in range(5)]
        for name in names:
            client.create_vector_bucket(vectorBucketName=name)
        pages = list(
            client.get_paginator("list_vector_buckets").paginate(prefix=prefix, PaginationConfig={"PageSize": 2})
        )
        assert [len(page["vectorBuckets"]) for page in pages] == [2, 2, 1]
        listed = [bucket for page in pages for bucket in page["vectorBuckets"]]
        assert [bucket["vectorBucketName"] for bucket in listed] == names
        assert [bucket["vectorBucketArn"] for bucket in listed] == [bucket_arn(name) for name in names]
        assert all(just_now(bucket["creationTime"]) and len(bucket) == 3 for bucket in listed)
        assert client.list_vector_buckets(prefix=fresh_name())["vectorBuckets"] == []

    def test_a_page_token_of_buckets_fits_its_prefix_only(self, bench: Workbench) -> None:
        more = bench.bucket + "-2"
        bench.client.create_vector_bucket(vectorBucketName=more)
        token = bench.client.list_vector_buckets(prefix=bench.bucket, maxResults=1)["nextToken"]
        rest = bench.client.list_vector_buckets(prefix=bench.bucket, nextToken=token)["vectorBuckets"]
        assert [bucket["vectorBucketName"] for bucket in rest] == [more]
        for arguments in ({"nextToken": token}, {"prefix": bench.bucket, "nextToken": token[:-1]}):
            assert invalid(bench.client.list_vector_buckets, **arguments) == "Invalid page token"

    @pytest.mark.parametrize("count", [0, 501, -1])
    def test_a_page_of_buckets_has_1_to_500(self, client: Any, count: int) -> None:
        assert invalid(client.list_vector_buckets, maxResults=count) == (
            "1 validation error detected. Value at '/maxResults' failed to satisfy constraint: "
            "Member must be between 1 and 500, inclusive"
        )

    def test_every_bucket_stays_enhanced(self, bench: Workbench) -> None:
        change = bench.client.put_vector_bucket_default_index_mode
        assert invalid(change, **bench.in_bucket, defaultIndexMode="CLASSIC") == (
            "defaultIndexMode cannot be set to CLASSIC because this vector bucket does not support CLASSIC mode"
        )
        change(**bench.in_bucket, defaultIndexMode="ENHANCED")
        assert invalid(change, **bench.in_bucket, defaultIndexMode="enhanced").endswith(
            "Member must satisfy enum value set: [CLASSIC, ENHANCED]"
        )
        assert bench.client.get_vector_bucket(**bench.in_bucket)["vectorBucket"]["defaultIndexMode"] == "ENHANCED"

    def test_encryption_is_that_of_the_store(self, client: Any) -> None:
        def create(**encryption: str) -> Any:
            return {"vectorBucketName": fresh_name(), "encryptionConfiguration": encryption}

        path = "EncryptionConfiguration"
        name = create(sseType="AES256")
        client.create_vector_bucket(**name)
        for pair in ({"kmsKeyArn": KMS_KEY}, {"sseType": "AES256", "kmsKeyArn": KMS_KEY}):
            text = "kmsKeyArn must not be specified when sseType is AES256."
            assert refusal(client.create_vector_bucket, **create(**pair))[2:] == (text, [(path, text)])
        text = "kmsKeyArn must be specified when sseType is set to aws:kms"
        assert refusal(client.create_vector_bucket, **create(sseType="aws:kms"))[2:] == (text, [(path, text)])
        missing = refusal(client.create_vector_bucket, **create(sseType="aws:kms", kmsKeyArn=KMS_KEY))
        assert missing[:2] == ("AccessDeniedException", 403)
        assert missing.message.startswith(f"Key '{KMS_KEY}' does not exist (kms_request_id=")


class PolicyContract:
    """PutVectorBucketPolicy, GetVectorBucketPolicy and DeleteVectorBucketPolicy."""

    def test_a_policy_is_returned_as_it_was_put_until_it_is_deleted(self, bench: Workbench) -> None:
        client = bench.client
        missing = "The specified vector bucket policy could not be found"
        assert not_found(client.get_vector_bucket_policy, **bench.in_bucket) == missing
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3vectors:*", "Resource": "*"}
        of_another = statement | {
            "Resource": "arn:aws:s3vectors:aws-region:111122223333:bucket/amzn-s3-demo-bucket"
        }
        for policy in (
            {"Version": "2012-10-17", "Statement": [statement]},
            {"Statement": [], "Id": "\u00e9"},
            {"Statement": [of_another]},
        ):
            client.put_vector_bucket_policy(**bench.in_bucket, policy=json.dumps(policy))
            answer = client.get_vector_bucket_policy(vectorBucketArn=bucket_arn(bench.bucket))
            assert json.loads(answer["policy"]) == policy
        for _ in range(2):
            client.delete_vector_bucket_policy(**bench.in_bucket)
        assert not_found(client.get_vector_bucket_policy, **bench.in_bucket) == missing

    @pytest.mark.parametrize(
        "policy", ["", "{", "[]", "1", "{}", '{"a":1}x', '{"Statement":[],"Id":"' + "x" * 21_000 + '"}']
    )
    def test_a_policy_is_sound_and_of_bounded_size(self, bench: Workbench, policy: str) -> None:
        error = refusal(bench.client.put_vector_bucket_policy, **bench.in_bucket, policy=policy)
        assert (error.code, error.status) == ("ValidationException", 400)
        assert [field for field, _ in error.fields] == ["policy"]


class TagContract:
    """TagResource, UntagResource and ListTagsForResource, on buckets and indexes."""

    @pytest.mark.parametrize("kind", ["bucket", "index"])
    def test_tags_are_added_replaced_and_removed(self, bench: Workbench, kind: str) -> None:
        client, arn = bench.client, bucket_arn(bench.bucket)
        if kind == "index":
            arn = f"{arn}/index/{bench.index()['indexName']}"
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {}
        client.tag_resource(resourceArn=arn, tags={"a b": "1", "c+d/\u00e9": "", " lead": "aws:x"})
        client.tag_resource(resourceArn=arn, tags={"a b": "2", "e": "3"})
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {
            "a b": "2",
            "c+d/\u00e9": "",
            " lead": "aws:x",
            "e": "3",
        }
        client.untag_resource(resourceArn=arn, tagKeys=["a b", "c+d/\u00e9", "unknown"])
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {" lead": "aws:x", "e": "3"}

    def test_resources_are_created_with_tags(self, client: Any) -> None:
        bucket, index = fresh_name(), fresh_name()
        client.create_vector_bucket(vectorBucketName=bucket, tags={"of": "bucket"})
        client.create_index(
            vectorBucketName=bucket,
            indexName=index,
            dataType="float32",
            dimension=2,
            distanceMetric="cosine",
            tags={"of": "index"},
        )
        arn = bucket_arn(bucket)
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"of": "bucket"}
        assert client.list_tags_for_resource(resourceArn=f"{arn}/index/{index}")["tags"] == {"of": "index"}

    def test_a_resource_has_at_most_50_tags(self, bench: Workbench) -> None:
        client, arn = bench.client, bucket_arn(bench.bucket)
        client.tag_resource(resourceArn=arn, tags={f"k{n}": "v" for n in range(50)})
        for tags in ({"k50": "v"}, {f"k{n}": "v" for n in range(51)}):
            assert invalid(client.tag_resource, resourceArn=arn, tags=tags) == "Too many tags specified"
        client.tag_resource(resourceArn=arn, tags={"k49": "w"})
        assert client.list_tags_for_resource(resourceArn=arn)["tags"]["k49"] == "w"

    def test_system_tags_are_not_for_requesters(self, bench: Workbench) -> None:
        client, arn = bench.client, bucket_arn(bench.bucket)
        assert invalid(client.tag_resource, resourceArn=arn, tags={"aws:a": "b"}) == (
            "System tags cannot be added/updated by requester"
        )
        assert invalid(client.tag_resource, resourceArn=arn, tags={"AWS:owner": "b"}) == (
            'Invalid System Tag: AWS:owner must be prefixed with "aws:" in lowercase.'
        )

    @pytest.mark.parametrize(
        ("tags", "path", "text"),
        [
            ({"": "v"}, "/tags", "Member must have length between 1 and 128, inclusive"),
            ({"k" * 129: "v"}, "/tags", "Member must have length between 1 and 128, inclusive"),
            ({"k": "v" * 257}, "/tags/k", "Member must have length between 0 and 256, inclusive"),
            ({"k?": "v"}, "/tags", f"Member must satisfy regular expression pattern: {TAG_PATTERN}"),
            ({"k": "v\n"}, "/tags/k", f"Member must satisfy regular expression pattern: {TAG_PATTERN}"),
        ],
    )
    def test_keys_and_values_of_tags(self, bench: Workbench, tags: dict[str, str], path: str, text: str) -> None:
        error = refusal(bench.client.tag_resource, resourceArn=bucket_arn(bench.bucket), tags=tags)
        assert (error.code, [field for field, _ in error.fields]) == ("ValidationException", [path])
        assert error.message.endswith(text)
        assert bench.client.list_tags_for_resource(resourceArn=bucket_arn(bench.bucket))["tags"] == {}

    def test_tags_of_what_does_not_exist(self, bench: Workbench) -> None:
        client, arn = bench.client, bucket_arn(bench.bucket)
        for unknown in (bucket_arn(fresh_name()), f"{arn}/index/unknown"):
            assert not_found(client.list_tags_for_resource, resourceArn=unknown) == NO_RESOURCE
            assert not_found(client.tag_resource, resourceArn=unknown, tags={"a": "b"}) == NO_RESOURCE
            assert not_found(client.untag_resource, resourceArn=unknown, tagKeys=["a"]) == NO_RESOURCE
        assert invalid(client.list_tags_for_resource, resourceArn=f"{arn}/other") == "Invalid resource ARN"
