"""`quiver copy`: everything from one root to another."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from quiver.cli.output import Exit, show_json
from quiver.library.copying import async_copy
from quiver.model.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiver.model.progress import Progress


async def copy(source: str, target: str, *, resume: bool, verify: bool, decrypt: bool, as_json: bool) -> Exit:
    """Copy and say what was copied. Raises QuiverError, SettingsError."""
    with _bar(f"{source} to {target}") as progress:
        report = await async_copy(source, target, resume=resume, verify=verify, decrypt=decrypt, progress=progress)
    if as_json:
        show_json({"from": source, "to": target, "verified": verify, **report._asdict()})
        return Exit.OK
    if report.found:
        finished = datetime.fromtimestamp(report.finished, UTC).isoformat(" ")
        typer.echo(f"{target} was a whole copy already, finished at {finished}: nothing was done")
        return Exit.OK
    kept = f", of them {report.kept:,} objects brought by an earlier run" if report.kept else ""
    typer.echo(
        f"{report.indexes:,} indexes, {report.objects:,} objects, {report.nbytes:,} bytes copied to {target}{kept}"
    )
    return Exit.OK


@contextlib.contextmanager
def _bar(description: str) -> Iterator[Progress]:
    """A progress bar on standard error, only when that is a terminal: bytes, bytes per second, time left."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console  # noqa: PLC0415 - only on a terminal
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None)

        def progress(_stage: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        yield progress
