"""`quiver import` and `export`: rows from files into an index, and back."""

from __future__ import annotations

import contextlib
import sys
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import typer

from quiver.bulk.sources import open_source
from quiver.cli.opening import opened
from quiver.cli.output import Exit, show_json
from quiver.library.connection import AsyncBucket, AsyncConnection
from quiver.model.errors import ConflictError, ValidationError
from quiver.model.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from quiver.assemble import OpenRoot
    from quiver.bulk.columns import Columns
    from quiver.bulk.parquet import Compression
    from quiver.model.progress import Progress
    from quiver.model.types import IndexSpec


async def load(
    root: str,
    bucket: str,
    index: str,
    files: Sequence[Path],
    columns: Columns,
    options: Mapping[str, Any] | None,
    *,
    as_json: bool,
) -> Exit:
    """Put every row of the files, all of them or none.

    With options, those of the library's `create_index` but for the dimension, create what is missing; an index
    that exists has to be as they say.

    Raises QuiverError, SettingsError, as all commands here do.
    """
    paths = list(files)
    async with _opened(root, create=options is not None) as open_root:
        if options is not None:
            db = AsyncConnection(open_root, open_root.close)
            asked = {"dimension": _dimension(paths, columns), **options}
            if not await _created(db, bucket, index, asked):
                _check((await open_root.administration.index(bucket, index)).spec, f"{bucket}/{index}", asked)
        with _bar(f"{bucket}/{index}") as progress:
            rows = (
                await AsyncBucket(open_root, bucket)
                .index(index)
                .put_many(
                    paths, key=columns.key, vector=columns.vector, metadata=columns.metadata, progress=progress
                )
            )
    _show(f"{rows:,} rows imported into {bucket}/{index}", rows, bucket, index, as_json=as_json)
    return Exit.OK


async def export(
    root: str, bucket: str, index: str, file: Path, compression: Compression, *, as_json: bool
) -> Exit:
    """Write every row to a Parquet file."""
    async with _opened(root) as open_root:
        with _bar(f"{bucket}/{index}") as progress:
            handle = AsyncBucket(open_root, bucket).index(index)
            rows = await handle.export(file, compression=compression, progress=progress)
    _show(f"{rows:,} rows exported to {file}", rows, bucket, index, as_json=as_json)
    return Exit.OK


def _dimension(paths: list[Path], columns: Columns) -> int:
    """Components of the first vector. Raises ValidationError: there is none."""
    for batch in open_source(paths, columns).batches(1):
        return len(batch.vectors[0])
    raise ValidationError("there are no rows, so the dimension of a new index is not known")


async def _created(db: AsyncConnection, bucket: str, index: str, options: Mapping[str, Any]) -> bool:
    """Create the bucket and the index, as far as they do not exist; whether the index did not."""
    with suppress(ConflictError):
        await db.create_bucket(bucket)
    try:
        await db.bucket(bucket).create_index(index, **options)
    except ConflictError:
        return False
    return True


def _check(spec: IndexSpec, name: str, asked: Mapping[str, Any]) -> None:
    """Raises ConflictError: an index that exists is not as it would be created."""
    differing = [
        f"{option} {getattr(spec, option)}, not {value}"
        for option, value in asked.items()
        if getattr(spec, option) != value
    ]
    if differing:
        raise ConflictError(f"the index {name} exists, and has {' and '.join(differing)}: nothing was imported")


def _show(text: str, rows: int, bucket: str, index: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"bucket": bucket, "index": index, "rows": rows})
    else:
        typer.echo(text)


@contextlib.asynccontextmanager
async def _opened(root: str, *, create: bool = False) -> AsyncIterator[OpenRoot]:
    """The root; and files that cannot be read or written end as everything else that goes wrong does."""
    try:
        async with opened(root, create=create) as open_root:
            yield open_root
    except OSError as error:
        raise ValidationError(f"{error.filename or 'file'}: {error.strerror or error}") from error


@contextlib.contextmanager
def _bar(description: str) -> Iterator[Progress]:
    """A progress bar on standard error, only when that is a terminal: stage, rows, rows per second."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console  # noqa: PLC0415 - only on a terminal
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    count = TextColumn("{task.completed:,.0f} rows, {task.fields[rate]:,.0f}/s")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None, rate=0.0)
        stage, known, begun, latest = "", 0, monotonic(), monotonic()

        def progress(now: str, done: int, total: int) -> None:
            nonlocal stage, known, begun, latest
            if now != stage:  # a stage begins when the one before it was last heard of
                stage, known, begun = now, 0, latest
            known, latest = max(known, total), monotonic()
            rate = done / max(latest - begun, 1e-3)
            bar.update(task, description=f"{description}: {now}", completed=done, total=known or None, rate=rate)

        yield progress
