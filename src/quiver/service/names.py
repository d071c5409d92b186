"""How a request names a bucket, an index or a snapshot, and which names are legal.

Names have 3 to 63 characters of a-z, 0-9 and hyphen, and begin and end with a letter or a digit. An index name may
also hold single dots. A bucket name may not: the user guide lists only letters, digits and hyphens, although the
pattern of the ARN has the dot for both, and a dot refused today can be allowed tomorrow. Names that look like an
IPv4 address or begin with `xn--` are refused, as S3 refuses them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from quiver.model.errors import AccessDeniedError, ValidationError
from quiver.service import arn
from quiver.service.arn import BucketRef, Home, IndexRef

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUCKET_NAME = re.compile(r"(?!xn--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_INDEX_NAME = re.compile(
    r"(?!xn--)(?!\d+\.\d+\.\d+\.\d+\Z)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
)

_KNOWN_NAMES = 4096  # of indexes, kept so that a name asked for again is not judged again

BUCKET_ARGUMENTS = "Must specify either vectorBucketName or vectorBucketArn but not both"
INDEX_ARGUMENTS = "Must specify either indexArn or both vectorBucketName and indexName"

_SNAPSHOT_NAME = (
    "Invalid snapshot name: 3 to 63 lower-case letters, digits, `-` and `.`, these two not at its ends"
)


def check_bucket_name(name: str) -> None:
    """Raise ValidationError unless `name` may name a vector bucket."""
    if not _BUCKET_NAME.fullmatch(name):
        raise ValidationError.at("vectorBucketName", "Invalid vector bucket name")


def check_index_name(name: str) -> None:
    """Raise ValidationError unless `name` may name an index."""
    if not _INDEX_NAME.fullmatch(name):
        raise ValidationError.at("indexName", "Invalid index name")


def check_snapshot_name(name: str) -> None:
    """Raise ValidationError unless `name` may name a snapshot of an index; the rules are those of index names."""
    if not _INDEX_NAME.fullmatch(name):
        raise ValidationError.at("snapshotName", _SNAPSHOT_NAME)


def resolve_bucket(params: Mapping[str, Any], home: Home) -> BucketRef:
    """The bucket a validated request names by `vectorBucketName` or by `vectorBucketArn`.

    Raises:
        ValidationError: neither or both are given, or the name is not legal.
        AccessDeniedError: the ARN is of another region or account.
    """
    name, text = params.get("vectorBucketName"), params.get("vectorBucketArn")
    if (name is None) == (text is None):
        raise ValidationError(BUCKET_ARGUMENTS)
    if text is not None:
        ref = _own(text, "vectorBucketArn", home)
        return BucketRef(ref.bucket)
    check_bucket_name(str(name))
    return BucketRef(str(name))


def resolve_index(params: Mapping[str, Any], home: Home) -> IndexRef:
    """The index a validated request names by `indexArn` or by `vectorBucketName` and `indexName`.

    Raises:
        ValidationError: not exactly one of the two ways, or a name is not legal.
        AccessDeniedError: the ARN is of another region or account.
    """
    bucket, index, text = params.get("vectorBucketName"), params.get("indexName"), params.get("indexArn")
    if text is not None and bucket is None and index is None:
        ref = _own(text, "indexArn", home)
        if isinstance(ref, IndexRef):
            return ref
    if text is not None or bucket is None or index is None:
        raise ValidationError(INDEX_ARGUMENTS)
    return _index_named(bucket, index)


@lru_cache(_KNOWN_NAMES)
def _index_named(bucket: str, index: str) -> IndexRef:
    """Raises ValidationError."""
    check_bucket_name(bucket)
    check_index_name(index)
    return IndexRef(bucket, index)


def resolve_resource(params: Mapping[str, Any], home: Home) -> BucketRef | IndexRef:
    """The bucket or index a validated tag request names by `resourceArn`.

    Raises:
        ValidationError: it is not the ARN of a bucket or an index.
        AccessDeniedError: the ARN is of another region or account.
    """
    return _own(params["resourceArn"], "resourceArn", home)


def _own(text: str, path: str, home: Home) -> BucketRef | IndexRef:
    """The resource behind an ARN of ours. A foreign one is denied before anything is looked up."""
    parsed = arn.parse(text)
    if parsed is None:
        raise ValidationError.at(path, "Invalid resource ARN")
    if parsed.home != home:
        raise AccessDeniedError("Access denied")
    return parsed.ref
