"""What a process and its maintenance process say to each other: one JSON document a line."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from quiver.engine.native.workshop import Job
from quiver.model.types import IndexSpec


class Order(msgspec.Struct, frozen=True):
    """To the maintenance process: do a job. `number` is new for each order."""

    number: int
    job: Job
    index_id: str
    spec: IndexSpec


class Ready(msgspec.Struct, frozen=True, tag=True):
    """From it, once and first: the root is open."""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """A job goes on: `done` of `total` rows of a stage."""

    number: int
    stage: str
    done: int
    total: int


class Done(msgspec.Struct, frozen=True, tag=True):
    """A job was done."""

    number: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """A job failed. `message` is empty unless Quiver raised the error on purpose."""

    number: int
    error: str
    message: str


Report: TypeAlias = Ready | Progress | Done | Failed
"""Anything the maintenance process says."""


def encode(message: Order | Report) -> bytes:
    """A line."""
    return msgspec.json.encode(message) + b"\n"


def decode_order(line: bytes) -> Order:
    """Raises msgspec.MsgspecError."""
    return msgspec.json.decode(line, type=Order)


def decode_report(line: bytes) -> Report:
    """Raises msgspec.MsgspecError."""
    report: Report = msgspec.json.decode(line, type=Report)
    return report
