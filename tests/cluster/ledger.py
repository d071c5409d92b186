"""The ledger: what clients meant to write and what they were told, on disk outside the system under test."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from cluster.requests import Outcome
from simulation.checkers.history import UNKNOWN, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from cluster.requests import Answer


class Write(NamedTuple):
    """One batch. `items` is value by key, None for keys to delete."""

    call: float
    end: float
    kind: Kind
    items: Mapping[str, int | None]
    outcome: Outcome
    commit: int | None


class Ledger:
    """One client's pages: an intent is on disk before the request leaves, its outcome before the next one does."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def record(self, kind: Kind, items: Mapping[str, int | None], send: Callable[[], Answer]) -> Answer:
        """Send a batch between two lines of the ledger."""
        self._append({"call": time.monotonic(), "kind": kind.value, "items": dict(items)})
        answer = send()
        outcome = {"end": time.monotonic(), "outcome": answer.outcome.value, "commit": answer.commit}
        self._append(outcome)
        return answer

    def _append(self, line: dict[str, object]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")
        os.fdatasync(self._file)


def read(path: Path) -> Iterator[Write]:
    """The batches of a ledger. One without an outcome, or with an unknown one, has no end."""
    intent = None
    for line in path.read_bytes().splitlines():
        entry = json.loads(line)
        if "call" in entry:
            assert intent is None, "an intent follows an intent"
            intent = entry
            continue
        assert intent is not None, "an outcome without an intent"
        yield _write(intent, entry)
        intent = None
    if intent is not None:
        yield _write(intent, {"end": UNKNOWN, "outcome": Outcome.UNKNOWN.value, "commit": None})


def _write(intent: dict[str, object], entry: dict[str, object]) -> Write:
    outcome = Outcome(entry["outcome"])
    end = UNKNOWN if outcome is Outcome.UNKNOWN else entry["end"]
    return Write(intent["call"], end, Kind(intent["kind"]), intent["items"], outcome, entry["commit"])
