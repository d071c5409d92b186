"""Tests of URLs of remote stores: what is understood, and that refusals help without repeating secrets."""

from __future__ import annotations

import pytest

from quiver.objectstore.location import meant, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket", ("s3://bucket", "bucket", "")),
        ("s3://bucket/", ("s3://bucket", "bucket", "")),
        ("s3://My.Bucket_1/a/B-c/", ("s3://My.Bucket_1/a/B-c", "My.Bucket_1", "a/B-c")),
        ("gs://bucket/p", ("gs://bucket/p", "bucket", "p")),
        ("az://container/p/q", ("az://container/p/q", "container", "p/q")),
        (
            "abfss://files@account.dfs.core.windows.net/p",
            ("abfss://files@account.dfs.core.windows.net/p", "files", "p"),
        ),
    ],
)
def test_bucket_and_prefix_are_told_apart(url: str, expected: tuple[str, str, str]) -> None:
    where = parse(url)
    assert (where.url, where.bucket, where.prefix) == expected
    assert where.table is None


def test_options_are_taken_off_the_url() -> None:
    where = parse(
        "s3://b/p?endpoint=https://s3.example.org:9000&region=eu-west-1&style=virtual&ca_file=/etc/my%20ca"
    )
    assert where.url == "s3://b/p"
    assert where.options == {
        "endpoint": "https://s3.example.org:9000",
        "region": "eu-west-1",
        "style": "virtual",
        "ca_file": "/etc/my ca",
    }


def test_a_commit_table_may_have_options_of_its_own() -> None:
    where = parse("s3://b/p?commit=dynamodb://commits.1&region=eu-west-1&commit_endpoint=http://127.0.0.1:8000")
    assert where.table == "commits.1"
    assert where.options["commit_endpoint"] == "http://127.0.0.1:8000"


def test_the_account_of_a_file_system_is_in_its_host() -> None:
    assert parse("abfss://files@account.dfs.core.windows.net").options == {"account": "account"}
    assert parse("az://files?account=other").options == {"account": "other"}


@pytest.mark.parametrize(
    ("url", "express"),
    [
        ("s3://name--use1-az4--x-s3/p", True),
        ("s3://my-name--usw2-las1-az1--x-s3", True),
        ("s3://name--x-s3", False),
        ("s3://name--use1-az4--x-s3x", False),
        ("gs://name--use1-az4--x-s3", False),
    ],
)
def test_directory_buckets_are_known_by_their_names(url: str, *, express: bool) -> None:
    assert parse(url).express is express


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://host/x", "s3://, gs://, az://, abfss://"),
        ("bucket/x", "must begin with"),
        ("s3://", "s3://bucket/prefix"),
        ("s3:///prefix", "s3://bucket/prefix"),
        ("s3://key:hidden@bucket/x", "s3://bucket/prefix"),
        ("s3://bucket:9000/x", "s3://bucket/prefix"),
        ("az://account@container/x", "az://container/prefix"),
        ("abfss://container/x", "abfss://container@account.dfs.core.windows.net/prefix"),
        ("az://c/x", "the container in the store's URL az://container/prefix must have 3 to 63 lower-case"),
        ("gs://Bucket/x", "the bucket in the store's URL gs://bucket/prefix must have 2 to 222 lower-case"),
        ("s3://-bucket/x", "the bucket in the store's URL s3://bucket/prefix must have up to 255 letters"),
        ("s3://b/a//b", "prefix"),
        ("s3://b/a/../b", "prefix"),
        ("s3://b/%2e%2e/b", "prefix"),
        ("s3://b/a b", "prefix"),
        ("s3://b/a#hidden", "prefix"),
        ("s3://b?sig=hidden", "option sig in the store's URL: s3 knows ca_file, commit"),
        ("s3://b?X-Amz-Signature=hidden", "option it in the store's URL"),
        ("s3://b?account=hidden", "s3 knows"),
        ("gs://bucket?commit=dynamodb://hidden", "gs knows ca_file, endpoint"),
        ("s3://b?region", "a name"),
        ("s3://b?region=a&region=hidden", "twice"),
        ("s3://b?endpoint=https://me:hidden@host", "without secrets"),
        ("s3://b?endpoint=https://host?hidden=1", "without secrets"),
        ("s3://b?endpoint=host:9000", "http://host or https://host"),
        ("s3://b?style=dns", "path or virtual"),
        ("s3://b?commit=table-hidden", "dynamodb://table"),
        ("s3://b?commit=dynamodb://", "dynamodb://table"),
        ("s3://b?commit=dynamodb://a/hidden", "dynamodb://table"),
        ("s3://b?commit_region=eu-hidden-1", "need commit=dynamodb://table"),
        ("s3://b?region=%00hidden", "a name"),
    ],
)
def test_a_refusal_says_what_to_write_and_keeps_secrets(url: str, told: str) -> None:
    with pytest.raises(ValueError, match="URL") as refusal:
        parse(url)
    assert told in str(refusal.value)
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("http://127.0.0.1:9000/bucket", "s3://bucket/prefix?endpoint=http://host:port"),
        ("https://minio.example.org/bucket", "s3://bucket/prefix?endpoint=https://host"),
        ("minio://bucket/x", "s3://bucket/prefix?endpoint=https://host"),
        ("S3A://bucket/x", "s3://bucket/prefix"),
        ("gcs://bucket/x", "gs://bucket/prefix"),
        ("azure://container/x", "az://container/prefix"),
        ("wasbs://c@a.blob.core.windows.net/x", "abfss://container@account.dfs.core.windows.net/prefix"),
        ("hdfs://name/x", None),
    ],
)
def test_what_other_schemes_mean_is_told(url: str, form: str | None) -> None:
    assert meant(url) == form
    if form is not None:
        assert parse(form.replace("account.", "acc0unt.").replace("host:port", "host")).prefix == "prefix"
