"""Logs: one JSON object per line on standard error, never with vectors, metadata, bodies or secrets."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any, TextIO

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

MAX_FIELD = 256


def make_logger(level: str = "info", stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger of JSON lines, independent of the process-wide logging configuration.

    Args:
        level: "debug", "info", "warning" or "error".
        stream: where lines go; standard error when None.
    """
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _shorten,
            structlog.processors.JSONRenderer(_render),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    return logger


def describe(error: BaseException) -> dict[str, Any]:
    """An unforeseen error as log fields: its type and where it happened.

    Its message is left out, for it may quote what a client stored.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__name__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]],
    }


def _shorten(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {k: v[:MAX_FIELD] if isinstance(v, str) else v for k, v in event.items()}


def _render(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()
