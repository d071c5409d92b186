"""Progress of long work, as whoever does it reports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called now and then, from any thread, with a stage, how much of it is done and how much there is
(rows; 0 when that is not known)."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Report to nobody."""
