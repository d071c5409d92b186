"""How commands answer: text or JSON on standard output, problems and progress on standard error, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import typer

from quiver.model.errors import QuiverError
from quiver.settings import SettingsError, load

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    PROBLEM = 1
    USAGE = 2


def show_json(value: object) -> None:
    """One JSON document on standard output."""
    import orjson  # noqa: PLC0415 - only commands that print JSON pay for it

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))


def show_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table of one or more rows that have the same columns; as wide as it needs to be when piped."""
    from rich.console import Console  # noqa: PLC0415 - only commands that print tables pay for it
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for column, value in rows[0].items():
        table.add_column(column, justify="right" if isinstance(value, int) else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 300, highlight=False).print(table)


@contextlib.contextmanager
def progress(description: str) -> Iterator[Callable[[str], None]]:
    """A spinner on standard error, only when that is a terminal; the function it yields changes its text."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console  # noqa: PLC0415 - only on a terminal

    with Console(stderr=True).status(description) as status:
        yield lambda text: status.update(f"{description} {text}")


def run(work: Callable[[str], Coroutine[Any, Any, Exit]], url: str | None) -> None:
    """Run a command's coroutine on a root and leave with its exit code; errors are one line on standard error."""
    with reporting():
        root = load(os.environ, root=url).root
        raise typer.Exit(asyncio.run(work(root)))


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Turn the errors a user can do something about into one line and an exit code."""
    try:
        yield
    except SettingsError as error:
        _leave(str(error), Exit.USAGE)
    except QuiverError as error:
        _leave(error.message, Exit.PROBLEM)


def _leave(message: str, code: Exit) -> None:
    typer.echo(f"quiver: {message}", err=True)
    raise typer.Exit(code)
