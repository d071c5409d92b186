"""The name of every object: one place, built from ids, slots and random parts, never from user strings.

    format                                     what the store is, created once
    copied                                     that the store is a whole copy of another
    catalog/log/<slot>                         one catalog entry
    catalog/checkpoint/<generation>            the catalog as of a slot
    index/<id>/log/<slot>                      one log entry: acknowledged batches
    index/<id>/checkpoint/<generation>         the index as of a slot
    index/<id>/published                       that there has been a checkpoint; of the catalog, too
    index/<id>/opening                         copies of what a new node reads first; may go and come again
    index/<id>/segment/<generation>-<slot>-<random>/rows.parquet
    index/<id>/segment/<generation>-<slot>-<random>/index
    index/<id>/key                             the data key of an index with a KMS key of its own, wrapped
    index/<id>/mark/<random>                   asks the store's clock; lives for a moment
    key/<id>/<master key id>                   a data key of an encrypted root, wrapped

Slots and generations are written with 16 hexadecimal digits, so that the order of names is their order.
"""

from __future__ import annotations

import re
from typing import NamedTuple

STORE_FORMAT = "format"
COPIED = "copied"
CATALOG_ROOT = "catalog/"
CATALOG_OWNER = "catalog"
INDEX_ROOT = "index/"
ROWS = "rows.parquet"
SEGMENT_INDEX = "index"

_INDEX_KEY = re.compile(r"index/([0-9a-f]{32})/(.+)")
_NUMBER = re.compile(r"[0-9a-f]{16}")
_TOKEN = re.compile(r"[0-9a-f]{32}")
_SEGMENT_ID = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})-[0-9a-f]{32}")


def index_root(index_id: str) -> str:
    """The prefix of everything an index owns."""
    return f"{INDEX_ROOT}{index_id}/"


def log_prefix(root: str) -> str:
    """The prefix of a log's entries."""
    return f"{root}log/"


def log_key(root: str, slot: int) -> str:
    """The name of one log entry."""
    return f"{log_prefix(root)}{slot:016x}"


def checkpoint_prefix(root: str) -> str:
    """The prefix of a log's checkpoints."""
    return f"{root}checkpoint/"


def checkpoint_key(root: str, generation: int) -> str:
    """The name of a checkpoint: its place in the chain, from 1."""
    return f"{checkpoint_prefix(root)}{generation:016x}"


def published_key(root: str) -> str:
    """The name of the object that says that a log has had a checkpoint since it was created."""
    return f"{root}published"


def opening_key(root: str) -> str:
    """The name of an index's opening."""
    return f"{root}opening"


def index_key_name(index_id: str) -> str:
    """The name of the wrapped data key of an index; see `quiver.objectstore.encryption.index_keys`."""
    return f"{index_root(index_id)}key"


def segment_id(generation: int, slot: int, token: str) -> str:
    """The id of a segment that the checkpoint `generation`, as of `slot`, will be the first to name.

    `token` is 32 hexadecimal digits.
    """
    return f"{generation:016x}-{slot:016x}-{token}"


def segment_key(root: str, segment: str, part: str) -> str:
    """The name of one object (`ROWS` or `SEGMENT_INDEX`) of a segment."""
    return f"{root}segment/{segment}/{part}"


def mark_key(root: str, token: str) -> str:
    """The name of a short-lived object whose creation time tells what the store's clock says."""
    return f"{root}mark/{token}"


class ObjectName(NamedTuple):
    """What an object under a log's root is.

    Attributes:
        kind: "log", "checkpoint", "segment", "opening", "published", "key", "mark" or "unknown".
        slot: of log entries and segments, otherwise -1.
        generation: of checkpoints and segments, otherwise -1.
        segment: the id of the segment.
    """

    kind: str
    slot: int = -1
    generation: int = -1
    segment: str = ""


def classify(root: str, key: str) -> ObjectName:
    """Tell the objects under `root` apart."""
    kind, slash, rest = key[len(root) :].partition("/")
    if kind == "log" and _NUMBER.fullmatch(rest):
        return ObjectName(kind, slot=int(rest, 16))
    if kind == "checkpoint" and _NUMBER.fullmatch(rest):
        return ObjectName(kind, generation=int(rest, 16))
    if kind == "segment":
        segment, _, part = rest.partition("/")
        match = _SEGMENT_ID.fullmatch(segment)
        if match and part in {ROWS, SEGMENT_INDEX}:
            return ObjectName(kind, int(match[2], 16), int(match[1], 16), segment)
    if not slash and kind in {"published", "opening", "key"}:
        return ObjectName(kind)
    if kind == "mark" and _TOKEN.fullmatch(rest):
        return ObjectName(kind)
    return ObjectName("unknown")


def index_of(key: str) -> str | None:
    """The id of the index that owns an object, or None."""
    match = _INDEX_KEY.fullmatch(key)
    return match[1] if match else None
