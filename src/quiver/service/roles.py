"""What a process does for a root: everything, or a part of it.

A writer flushes only before an index would refuse writes, merges and collects nothing. A reader never writes to
the store. A maintainer flushes, merges and collects, and answers no operation.
"""

from __future__ import annotations

from enum import StrEnum

from quiver.model.errors import AccessDeniedError

WRITES = frozenset(
    {
        "CreateVectorBucket",
        "DeleteVectorBucket",
        "PutVectorBucketDefaultIndexMode",
        "PutVectorBucketPolicy",
        "DeleteVectorBucketPolicy",
        "CreateIndex",
        "DeleteIndex",
        "UpdateIndexMode",
        "UpdateMetadataConfiguration",
        "PutVectors",
        "DeleteVectors",
        "TagResource",
        "UntagResource",
        "DeleteVectorsByFilter",
        "UpdateMetadata",
        "PutVectorsIfAbsent",
    }
)
"""The operations that change something, those of extensions.py included."""

_ONLY_READS = "This server only reads (its role is reader): send the request to one that writes"
_ONLY_MAINTAINS = "This server only maintains (its role is maintainer): send the request to another"


class Role(StrEnum):
    """The part of a process."""

    ALL = "all"
    READER = "reader"
    WRITER = "writer"
    MAINTAINER = "maintainer"

    @property
    def writes(self) -> bool:
        """Whether operations may write to the store."""
        return self in (Role.ALL, Role.WRITER)

    def check(self, *, write: bool) -> None:
        """Raises AccessDeniedError when the role has no such operations."""
        if self is Role.MAINTAINER:
            raise AccessDeniedError(_ONLY_MAINTAINS)
        if self is Role.READER and write:
            raise AccessDeniedError(_ONLY_READS)
