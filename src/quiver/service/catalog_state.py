"""The catalog as a pure state machine: vector buckets, indexes, policies and tags.

Deterministic: the same commands in the same order give the same state and the same outcomes on every node.
Records are never changed in place, so whoever got one may keep it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from quiver.format.msgpack import unpack
from quiver.model.errors import (
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    QuotaExceededError,
    ValidationError,
)
from quiver.model.types import IndexSpec
from quiver.service.catalog_commands import (
    AbandonIndex,
    CreateBucket,
    CreateIndex,
    DeleteBucket,
    DeletePolicy,
    DropIndex,
    PutPolicy,
    TagResource,
    UntagResource,
)
from quiver.service.operations import MAX_TAGS, TOO_MANY_TAGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quiver.model.errors import QuiverError
    from quiver.service.catalog_commands import Command

Failure: TypeAlias = tuple[str, str]
"""Error code and message. Travels through the log's session table, where it becomes a list."""

MAX_BUCKETS = 10_000
MAX_INDEXES = 10_000
"""Indexes of one bucket."""

NO_BUCKET = "The specified vector bucket could not be found"
NO_INDEX = "The specified index could not be found"
NO_POLICY = "The specified vector bucket policy could not be found"
NO_RESOURCE = "The specified resource could not be found"
BUCKET_EXISTS = "A vector bucket with the specified name already exists"
INDEX_EXISTS = "An index with the specified name already exists"
INDEX_NAMED = "The index has a name"
INDEX_ABANDONED = "The index was given up while it was being made; try again"
NOT_EMPTY = "The specified vector bucket is not empty"
TOO_MANY_BUCKETS = f"An account can have at most {MAX_BUCKETS} vector buckets"
TOO_MANY_INDEXES = f"A vector bucket can have at most {MAX_INDEXES} indexes"

_ERRORS: dict[str, type[QuiverError]] = {
    error.code: error for error in (ConflictError, NotFoundError, QuotaExceededError, ValidationError)
}


class Bucket(msgspec.Struct, frozen=True):
    """A vector bucket. `created` is seconds since the epoch; `encryption` is as GetVectorBucket shows it."""

    name: str
    created: int
    encryption: dict[str, str]
    tags: dict[str, str]
    policy: str | None = None


class Index(msgspec.Struct, frozen=True):
    """An index. `index_id` names its log and segments and is never used again."""

    bucket: str
    name: str
    index_id: str
    spec: IndexSpec
    created: int
    encryption: dict[str, str]
    metadata_configuration: dict[str, list[str]] | None
    tags: dict[str, str]


class _Image(msgspec.Struct, frozen=True):
    """The whole state, sorted by name, as checkpoints hold it. `abandoned`: ids that no index will ever have."""

    buckets: list[Bucket]
    indexes: list[Index]
    abandoned: list[str] = []


Record = TypeVar("Record", Bucket, Index)


class CatalogState:
    """All buckets and indexes as of one place in the catalog's log."""

    def __init__(
        self, buckets: Iterable[Bucket] = (), indexes: Iterable[Index] = (), abandoned: Iterable[str] = ()
    ) -> None:
        self._abandoned = set(abandoned)
        self._buckets: dict[str, Bucket] = {bucket.name: bucket for bucket in buckets}
        self._indexes: dict[str, dict[str, Index]] = {name: {} for name in self._buckets}
        self._by_id: dict[str, Index] = {}
        for index in indexes:
            self._store_index(index)

    # ---------------------------------------------------------------- reading

    def bucket(self, name: str) -> Bucket | None:
        """The bucket of this name."""
        return self._buckets.get(name)

    def index(self, bucket: str, name: str) -> Index | None:
        """The index of this name; None also when the bucket does not exist."""
        return self._indexes.get(bucket, {}).get(name)

    def indexes(self) -> Iterable[Index]:
        """All indexes, in no promised order."""
        return self._by_id.values()

    def list_buckets(self, prefix: str, after: str, limit: int) -> list[Bucket]:
        """At most `limit` buckets in the order of their names, strictly after `after`."""
        return _page(self._buckets, prefix, after, limit)

    def list_indexes(self, bucket: str, prefix: str, after: str, limit: int) -> list[Index]:
        """The same for the indexes of an existing bucket."""
        return _page(self._indexes[bucket], prefix, after, limit)

    # ---------------------------------------------------------------- changing

    def check(self, command: Command) -> Failure | None:
        """How `apply` would fail now; None when it would not."""
        match command:
            case CreateBucket():
                return self._check_create_bucket(command)
            case CreateIndex():
                return self._check_create_index(command)
            case DropIndex() | AbandonIndex():
                return self._check_named(command)
            case TagResource() | UntagResource():
                return self._check_tags(command)
            case DeleteBucket() if self._indexes.get(command.bucket):
                return ConflictError.code, NOT_EMPTY
            case DeleteBucket() | PutPolicy() | DeletePolicy():
                return None if command.bucket in self._buckets else _not_found(NO_BUCKET)

    def apply(self, command: Command) -> Failure | None:
        """Change the state, or answer why it stays as it is."""
        failure = self.check(command)
        if failure is None:
            self._change(command)
        return failure

    def _check_create_bucket(self, command: CreateBucket) -> Failure | None:
        if command.bucket in self._buckets:
            return ConflictError.code, BUCKET_EXISTS
        if len(self._buckets) >= MAX_BUCKETS:
            return QuotaExceededError.code, TOO_MANY_BUCKETS
        return _check_tag_count(command.tags)

    def _check_create_index(self, command: CreateIndex) -> Failure | None:
        if command.bucket not in self._buckets:
            return _not_found(NO_BUCKET)
        if command.index in self._indexes[command.bucket] or command.index_id in self._by_id:
            return ConflictError.code, INDEX_EXISTS
        if command.index_id in self._abandoned:
            return ConflictError.code, INDEX_ABANDONED
        if len(self._indexes[command.bucket]) >= MAX_INDEXES:
            return QuotaExceededError.code, TOO_MANY_INDEXES
        return _check_tag_count(command.tags)

    def _check_named(self, command: DropIndex | AbandonIndex) -> Failure | None:
        named = command.index_id in self._by_id
        if isinstance(command, DropIndex):
            return None if named else _not_found(NO_INDEX)
        return (ConflictError.code, INDEX_NAMED) if named else None

    def _check_tags(self, command: TagResource | UntagResource) -> Failure | None:
        record = self._tagged(command)
        if record is None:
            return _not_found(NO_RESOURCE)
        return _check_tag_count(record.tags | command.tags) if isinstance(command, TagResource) else None

    def _tagged(self, command: TagResource | UntagResource) -> Bucket | Index | None:
        if command.index is None:
            return self.bucket(command.bucket)
        return self.index(command.bucket, command.index)

    def _change(self, command: Command) -> None:
        """Apply a command that was checked."""
        match command:
            case CreateBucket(bucket, created, encryption, tags):
                self._indexes[bucket] = {}
                self._store_bucket(Bucket(bucket, created, encryption, tags))
            case DeleteBucket(bucket):
                del self._buckets[bucket], self._indexes[bucket]
            case CreateIndex():
                self._store_index(_new_index(command))
            case DropIndex(index_id):
                dropped = self._by_id.pop(index_id)
                del self._indexes[dropped.bucket][dropped.name]
            case AbandonIndex(index_id):
                self._abandoned.add(index_id)
            case PutPolicy(bucket, policy):
                self._store_bucket(replace(self._buckets[bucket], policy=policy))
            case DeletePolicy(bucket):
                self._store_bucket(replace(self._buckets[bucket], policy=None))
            case TagResource() | UntagResource():
                self._change_tags(command)

    def _change_tags(self, command: TagResource | UntagResource) -> None:
        record = self._tagged(command)
        if isinstance(record, Index):
            self._store_index(_with_tags(record, command))
        elif record is not None:
            self._store_bucket(_with_tags(record, command))

    def _store_bucket(self, bucket: Bucket) -> None:
        self._buckets[bucket.name] = bucket

    def _store_index(self, index: Index) -> None:
        self._indexes[index.bucket][index.name] = index
        self._by_id[index.index_id] = index

    # ---------------------------------------------------------------- checkpoints

    def encode(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        buckets = sorted(self._buckets.values(), key=lambda bucket: bucket.name)
        indexes = sorted(self._by_id.values(), key=lambda index: (index.bucket, index.name))
        return msgspec.msgpack.encode(_Image(buckets, indexes, sorted(self._abandoned)), order="deterministic")

    @classmethod
    def decode(cls, data: bytes) -> CatalogState:
        """The state that `encode` wrote. Raises CorruptObjectError."""
        image = unpack(data, _Image, "the catalog's checkpoint")
        try:
            return cls(image.buckets, image.indexes, image.abandoned)
        except KeyError as error:
            raise CorruptObjectError("the catalog's checkpoint has an index without a bucket") from error


def raise_failure(failure: Failure | list[str] | None) -> None:
    """Raise the error an outcome stands for; nothing when it stands for success."""
    if failure is not None:
        code, message = failure
        raise _ERRORS[code](message)


def _not_found(message: str) -> Failure:
    return NotFoundError.code, message


def _check_tag_count(tags: dict[str, str]) -> Failure | None:
    return (ValidationError.code, TOO_MANY_TAGS) if len(tags) > MAX_TAGS else None


def _new_index(command: CreateIndex) -> Index:
    return Index(
        command.bucket,
        command.index,
        command.index_id,
        command.spec,
        command.created,
        command.encryption,
        command.metadata_configuration,
        command.tags,
    )


def _with_tags(record: Record, command: TagResource | UntagResource) -> Record:
    if isinstance(command, TagResource):
        return replace(record, tags=record.tags | command.tags)
    return replace(record, tags={key: text for key, text in record.tags.items() if key not in command.keys})


def _page(records: dict[str, Record], prefix: str, after: str, limit: int) -> list[Record]:
    names = sorted(name for name in records if name.startswith(prefix) and name > after)
    return [records[name] for name in names[:limit]]
