"""Amazon resource names of vector buckets and indexes: their text form, both ways."""

from __future__ import annotations

import re
from typing import NamedTuple

from quiver.model.record import Record

_NAME = "[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]"
BUCKET_ARN = f"arn:aws[-a-z0-9]*:s3vectors:[a-z0-9-]+:[0-9]{{12}}:bucket/{_NAME}"
"""Regular expression of a vector bucket's ARN, as the service model spells it."""
INDEX_ARN = f"{BUCKET_ARN}/index/{_NAME}"
"""Regular expression of an index's ARN, as the service model spells it."""

_ANY_ARN = re.compile(f"{BUCKET_ARN}(/index/{_NAME})?")


class BucketRef(Record, frozen=True):
    """A vector bucket of this deployment, by name. Nothing says that it exists."""

    bucket: str


class IndexRef(Record, frozen=True):
    """An index of this deployment, by name. Nothing says that it exists."""

    bucket: str
    index: str


class Home(NamedTuple):
    """Whose resources these are: the region and 12-digit account every ARN of a deployment carries."""

    region: str
    account: str
    partition: str = "aws"

    def arn(self, ref: BucketRef | IndexRef) -> str:
        """The ARN of a bucket or an index."""
        bucket = f"arn:{self.partition}:s3vectors:{self.region}:{self.account}:bucket/{ref.bucket}"
        return f"{bucket}/index/{ref.index}" if isinstance(ref, IndexRef) else bucket


class Arn(NamedTuple):
    """An ARN taken apart."""

    home: Home
    ref: BucketRef | IndexRef


def parse(text: str) -> Arn | None:
    """Take an ARN apart; None when it is not the ARN of a vector bucket or an index."""
    if not _ANY_ARN.fullmatch(text):
        return None
    _, partition, _, region, account, resource = text.split(":")
    _, bucket, *index = resource.split("/")
    ref = IndexRef(bucket, index[1]) if index else BucketRef(bucket)
    return Arn(Home(region, account, partition), ref)
