"""The commands of the catalog: what a catalog log entry says, and its bytes.

A command carries everything that applying it needs, also the proposer's time and the new index's id, so that
every node that replays it arrives at the same state.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from quiver.model.errors import UnsupportedFormatError
from quiver.model.types import IndexSpec


class _Command(msgspec.Struct, frozen=True, tag_field="do"):
    """Base of all commands."""


class CreateBucket(_Command, frozen=True, tag="create-bucket"):
    """`created`: seconds since the epoch, by the proposer's clock. `encryption`: as GetVectorBucket shows it."""

    bucket: str
    created: int
    encryption: dict[str, str]
    tags: dict[str, str]


class DeleteBucket(_Command, frozen=True, tag="delete-bucket"):
    """Remove an empty bucket, with its policy and tags."""

    bucket: str


class CreateIndex(_Command, frozen=True, tag="create-index"):
    """`index_id`: never used before. `metadata_configuration`: as GetIndex shows it, None when it does not."""

    bucket: str
    index: str
    index_id: str
    spec: IndexSpec
    created: int
    encryption: dict[str, str]
    metadata_configuration: dict[str, list[str]] | None
    tags: dict[str, str]


class DropIndex(_Command, frozen=True, tag="drop-index"):
    """Remove the name of an index whose log was sealed."""

    index_id: str


class AbandonIndex(_Command, frozen=True, tag="abandon-index"):
    """Never let an index get a name: its maker went away before giving it one. Fails when it has one."""

    index_id: str


class PutPolicy(_Command, frozen=True, tag="put-policy"):
    """Set or replace a bucket's policy text."""

    bucket: str
    policy: str


class DeletePolicy(_Command, frozen=True, tag="delete-policy"):
    """Remove a bucket's policy, if it has one."""

    bucket: str


class TagResource(_Command, frozen=True, tag="tag"):
    """Add or replace tags of a bucket, or of an index of it."""

    bucket: str
    index: str | None
    tags: dict[str, str]


class UntagResource(_Command, frozen=True, tag="untag"):
    """Remove tags of a bucket, or of an index of it; absent keys are ignored."""

    bucket: str
    index: str | None
    keys: list[str]


Command: TypeAlias = (
    CreateBucket
    | DeleteBucket
    | CreateIndex
    | DropIndex
    | AbandonIndex
    | PutPolicy
    | DeletePolicy
    | TagResource
    | UntagResource
)

_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)


def encode(command: Command) -> bytes:
    """The body of a log part."""
    return msgspec.msgpack.encode(command)


def decode(body: bytes | memoryview) -> Command:
    """The command in a log part whose checksum was verified.

    Raises: UnsupportedFormatError: not one of these commands, so a newer Quiver wrote it.
    """
    try:
        return _decoder.decode(body)
    except (ValueError, RecursionError) as error:  # a string that is not UTF-8 is no error of msgspec's own
        raise UnsupportedFormatError(f"The catalog holds a command this Quiver does not know: {error}") from error
