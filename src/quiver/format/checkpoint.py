"""A checkpoint: the state of a log's machine as of one slot, and the session table that makes retries safe."""

from __future__ import annotations

from typing import Any

import msgspec

from quiver.format.msgpack import unpack


class Session(msgspec.Struct, frozen=True, array_like=True):
    """The last entry of one writer that was applied.

    Attributes:
        sequence: the writer's own number of that entry.
        slot: where it stands in the log.
        results: what applying each of its parts answered (None, or an outcome the machine defines).
    """

    sequence: int
    slot: int
    results: list[Any]


class Checkpoint(msgspec.Struct, frozen=True):
    """The log as of `slot`, inclusive.

    Attributes:
        generation: its place in the chain of checkpoints, from 1: each was made from the one before.
        slot: every entry up to here is in `state`.
        sealed: the log takes no more entries.
        sessions: by writer id. Writers whose last entry lies below `horizon` have been dropped.
        horizon: whoever asks about a slot below it gets no answer from `sessions`.
        state: the machine's own encoding.
    """

    generation: int
    slot: int
    sealed: bool
    sessions: dict[str, Session]
    horizon: int
    state: bytes


def encode(checkpoint: Checkpoint) -> bytes:
    """The payload of a checkpoint object."""
    return msgspec.msgpack.encode(checkpoint)


def decode(key: str, payload: memoryview) -> Checkpoint:
    """Raises CorruptObjectError."""
    return unpack(payload, Checkpoint, f"{key}: unreadable checkpoint")
