"""What went wrong lately: upkeep that failed, damaged objects that requests met. For the log and for /stats."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from quiver.model.errors import QuiverError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT = 20
"""Problems that are remembered, the latest."""
_LONGEST = 300  # characters of a message
_NAME = "problems-{}.json"


@dataclass(slots=True)
class Problem:
    """Something that went wrong, once or again and again in the same way.

    Attributes:
        event: what was being done: an operation, or `flush failed` and the like.
        index: id of the index, "" when it is not known.
        error: type of the error.
        message: what it says; it names the object at fault. "" when it may quote what is stored.
        count: how many times.
        first, last: when, seconds since the epoch.
    """

    event: str
    index: str
    error: str
    message: str
    count: int
    first: float
    last: float


class Problems:
    """Those of this process.

    Args:
        clock: seconds since the epoch.
        directory: where the admin listener finds them; None when there is none.
    """

    def __init__(self, clock: Callable[[], float], directory: Path | None = None) -> None:
        self._clock = clock
        self._file = None if directory is None else directory / _NAME.format(os.getpid())
        self._known: dict[tuple[str, str, str, str], Problem] = {}

    def note(self, event: str, index: str, error: BaseException) -> Problem:
        """Remember that something failed; what is remembered of it."""
        message = message_of(error)
        key = (event, index, type(error).__name__, message)
        now = self._clock()
        problem = self._known.pop(key, None) or Problem(*key, 0, now, now)
        problem.count += 1
        problem.last = now
        self._known[key] = problem
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        self._write()
        return problem

    def _write(self) -> None:
        """A full disk must not fail a request: then what was written before stays."""
        if self._file is None:
            return
        fresh = self._file.with_suffix(".new")
        try:
            fresh.write_bytes(orjson.dumps([asdict(problem) for problem in self._known.values()]))
            fresh.replace(self._file)
        except OSError:
            return


def message_of(error: BaseException) -> str:
    """What an error that was raised on purpose says; of any other the message may quote what is stored."""
    return error.message[:_LONGEST] if isinstance(error, QuiverError) else ""


def read_problems(directory: Path) -> list[dict[str, Any]]:
    """Those of all processes that write to a directory, the latest first."""
    found: list[dict[str, Any]] = []
    for file in directory.glob(_NAME.format("*")):
        found += orjson.loads(file.read_bytes())
    return sorted(found, key=lambda problem: -problem["last"])[:KEPT]
