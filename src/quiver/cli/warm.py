"""`quiver warm`: fill the disk cache with an index before the server that will use it starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from quiver.cli import output
from quiver.cli.arguments import AsJson, Bucket, IndexName, RootOption  # noqa: TC001 - typer reads them

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.cli.output import Exit


def warm(
    bucket: Bucket,
    index: IndexName,
    whole: Annotated[
        bool, typer.Option("--all", help="Fetch the segments' indexes completely, not only their ends.")
    ] = False,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Fetch what queries of a remote index begin with into the disk cache: footers and centroids.

    A server that starts later, with the same QUIVER_CACHE_FOLDER, finds it there. One that is running has its own
    part of that folder, and is not helped.
    """

    async def work(url: str) -> Exit:
        return await _warm(url, bucket, index, whole=whole, as_json=as_json)

    output.run(work, root)


async def _warm(root: str, bucket: str, name: str, *, whole: bool, as_json: bool) -> Exit:
    """Raises QuiverError, SettingsError."""
    from quiver.cli.opening import opened  # noqa: PLC0415 - loaded by the command that needs it

    async with opened(root) as open_root:
        with output.progress("Warming") as say:
            warmed = await open_root.administration.warm(bucket, name, whole=whole, progress=_telling(say))
        counts = open_root.cache_counts()
    if warmed is None or counts is None:
        if as_json:
            output.show_json({"root": root, "bucket": bucket, "index": name, "cached": False})
        else:
            typer.echo(f"nothing to do: {root} is at hand and needs no caches")
        return output.Exit.OK
    kept = None if counts.disk is None else counts.disk.nbytes
    if as_json:
        shown = {"segments": warmed.segments, "nbytes": warmed.nbytes, "disk_bytes": kept}
        fetched = {"requests": counts.requests, "fetched_bytes": counts.fetched_bytes}
        output.show_json({"root": root, "bucket": bucket, "index": name, "cached": True, **shown, **fetched})
        return output.Exit.OK
    typer.echo(
        f"{warmed.segments} segments, {warmed.nbytes:,} bytes of their indexes; "
        f"{counts.fetched_bytes:,} bytes fetched with {counts.requests:,} requests"
    )
    if kept is None:
        typer.echo("Nothing of it lasts: QUIVER_CACHE_FOLDER is not set.", err=True)
    else:
        typer.echo(f"The disk cache in {os.environ.get('QUIVER_CACHE_FOLDER')} has {kept:,} bytes.")
    return output.Exit.OK


def _telling(say: Callable[[str], None]) -> Callable[[str, int, int], None]:
    def tell(_: str, done: int, total: int) -> None:
        say(f"{done:,} of {total:,} bytes")

    return tell
