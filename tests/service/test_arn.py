"""ARNs of buckets and indexes, both ways."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.service.arn import BUCKET_ARN, INDEX_ARN, Arn, BucketRef, Home, IndexRef, parse

HOME = Home("us-east-1", "123456789012")
BUCKET = "arn:aws:s3vectors:us-east-1:123456789012:bucket/my-bucket"

NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", fullmatch=True)
HOMES = st.builds(
    Home,
    st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True),
    st.from_regex(r"[0-9]{12}", fullmatch=True),
    st.from_regex(r"aws[-a-z0-9]{0,8}", fullmatch=True),
)
REFS = st.builds(BucketRef, NAMES) | st.builds(IndexRef, NAMES, NAMES)


def test_text_form():
    assert HOME.arn(BucketRef("my-bucket")) == BUCKET
    assert HOME.arn(IndexRef("my-bucket", "idx.1")) == f"{BUCKET}/index/idx.1"
    assert Home("cn-north-1", "000000000000", "aws-cn").arn(BucketRef("abc")) == (
        "arn:aws-cn:s3vectors:cn-north-1:000000000000:bucket/abc"
    )


@given(home=HOMES, ref=REFS)
def test_parsing_undoes_formatting(home: Home, ref: BucketRef | IndexRef):
    text = home.arn(ref)
    assert parse(text) == Arn(home, ref)
    assert re.fullmatch(INDEX_ARN if isinstance(ref, IndexRef) else BUCKET_ARN, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "my-bucket",
        BUCKET + "\n",
        BUCKET + "/",
        BUCKET + "/index",
        BUCKET + "/index/",
        BUCKET + "/index/ab",
        BUCKET + "/index/abc/def",
        BUCKET + "/object/abc",
        BUCKET.upper(),
        BUCKET.replace("s3vectors", "s3"),
        BUCKET.replace("123456789012", "12345678901"),
        BUCKET.replace("123456789012", "\uff1123456789012"),
        BUCKET.replace("us-east-1", ""),
        BUCKET.replace("my-bucket", "My-Bucket"),
        BUCKET.replace("my-bucket", "-bucket"),
        BUCKET.replace("my-bucket", "ab"),
        BUCKET.replace("my-bucket", "a" * 64),
        BUCKET.replace("arn:aws:", "arn:gcp:"),
        BUCKET.replace("bucket/", "bucket:"),
    ],
)
def test_anything_else_is_not_an_arn(text: str):
    assert parse(text) is None
