"""The name of every object: one place, built from ids, slots and random parts, never from user strings.

    format                                     what the store is, created once
    catalog/log/<slot>                         one catalog entry
    catalog/checkpoint/<slot>                  the catalog as of that slot
    index/<id>/log/<slot>                      one log entry: acknowledged batches
    index/<id>/checkpoint/<slot>               the index as of that slot
    index/<id>/segment/<slot>-<random>/rows.parquet
    index/<id>/segment/<slot>-<random>/index
    index/<id>/mark/<random>                   asks the store's clock; lives for a moment

Slots are written with 16 hexadecimal digits, so that the order of names is the order of slots.
"""

from __future__ import annotations

import re
from typing import NamedTuple

STORE_FORMAT = "format"
CATALOG_ROOT = "catalog/"
CATALOG_OWNER = "catalog"
INDEX_ROOT = "index/"
ROWS = "rows.parquet"
SEGMENT_INDEX = "index"

_INDEX_KEY = re.compile(r"index/([0-9a-f]{32})/(.+)")
_SLOT = re.compile(r"[0-9a-f]{16}")
_TOKEN = re.compile(r"[0-9a-f]{32}")
_SEGMENT_ID = re.compile(r"([0-9a-f]{16})-[0-9a-f]{32}")


def index_root(index_id: str) -> str:
    """The prefix of everything an index owns."""
    return f"{INDEX_ROOT}{index_id}/"


def log_prefix(root: str) -> str:
    """The prefix of a log's entries."""
    return f"{root}log/"


def log_key(root: str, slot: int) -> str:
    """The name of one log entry."""
    return f"{root}log/{slot:016x}"


def checkpoint_prefix(root: str) -> str:
    """The prefix of a log's checkpoints."""
    return f"{root}checkpoint/"


def checkpoint_key(root: str, slot: int) -> str:
    """The name of the checkpoint as of `slot`."""
    return f"{root}checkpoint/{slot:016x}"


def segment_id(slot: int, token: str) -> str:
    """The id of a segment first referenced by the checkpoint at `slot`; `token` is 32 hexadecimal digits."""
    return f"{slot:016x}-{token}"


def segment_key(root: str, segment: str, part: str) -> str:
    """The name of one object (`ROWS` or `SEGMENT_INDEX`) of a segment."""
    return f"{root}segment/{segment}/{part}"


def mark_key(root: str, token: str) -> str:
    """The name of a short-lived object whose creation time tells what the store's clock says."""
    return f"{root}mark/{token}"


def segment_slot(segment: str) -> int | None:
    """The slot in a segment id, or None when it is not one."""
    match = _SEGMENT_ID.fullmatch(segment)
    return int(match[1], 16) if match else None


class ObjectName(NamedTuple):
    """What an object under a log's root is. `kind` is "log", "checkpoint", "segment", "mark" or "unknown"."""

    kind: str
    slot: int
    segment: str = ""


def classify(root: str, key: str) -> ObjectName:
    """Tell log entries, checkpoints and segment parts under `root` apart."""
    kind, _, rest = key[len(root) :].partition("/")
    if kind in {"log", "checkpoint"} and _SLOT.fullmatch(rest):
        return ObjectName(kind, int(rest, 16))
    if kind == "segment":
        segment, _, part = rest.partition("/")
        slot = segment_slot(segment)
        if slot is not None and part in {ROWS, SEGMENT_INDEX}:
            return ObjectName(kind, slot, segment)
    if kind == "mark" and _TOKEN.fullmatch(rest):
        return ObjectName(kind, -1)
    return ObjectName("unknown", -1)


def index_of(key: str) -> str | None:
    """The id of the index that owns an object, or None."""
    match = _INDEX_KEY.fullmatch(key)
    return match[1] if match else None
