"""`quiver count` and `delete`: how many vectors there are or match, and what matches removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quiver.cli import output
from quiver.cli.arguments import (
    AsJson,
    Bucket,
    FilterOption,
    IndexName,
    RootOption,
    read_json,
)

if TYPE_CHECKING:
    from quiver.cli.output import Exit


def count(
    bucket: Bucket,
    index: IndexName,
    filter_: FilterOption = None,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Count the vectors of an index, or those that match a filter. Exact. Servers may go on serving the root."""
    document = read_json("--filter", filter_)

    async def work(url: str) -> Exit:
        asked = {} if document is None else {"filter": document}
        answer = await _ask(url, "CountVectors", bucket, index, asked)
        if as_json:
            output.show_json({"bucket": bucket, "index": index, "count": answer["count"]})
        else:
            typer.echo(answer["count"])
        return output.Exit.OK

    output.run(work, root)


def delete(
    bucket: Bucket,
    index: IndexName,
    filter_: Annotated[
        str, typer.Option("--filter", metavar="JSON", help="The vectors whose metadata match are deleted.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Delete every vector that matches a filter. Servers may go on serving the root, and see it at once."""
    document = read_json("--filter", filter_)

    async def work(url: str) -> Exit:
        asked = {"filter": document, "dryRun": dry_run}
        answer = await _ask(url, "DeleteVectorsByFilter", bucket, index, asked)
        if as_json:
            output.show_json({"bucket": bucket, "index": index, "dryRun": dry_run, **answer})
        elif dry_run:
            typer.echo(f"{answer['matchingCount']:,} vectors of {bucket}/{index} match; none was deleted")
        else:
            typer.echo(f"{answer['deletedCount']:,} vectors of {bucket}/{index} deleted")
        return output.Exit.OK

    output.run(work, root)


async def _ask(root: str, operation: str, bucket: str, index: str, asked: dict[str, Any]) -> dict[str, Any]:
    """Raises QuiverError, SettingsError."""
    from quiver.cli.opening import opened  # noqa: PLC0415 - loaded by the command that needs it

    async with opened(root) as open_root:
        names = {"vectorBucketName": bucket, "indexName": index}
        return (await open_root.call(operation, names | asked)).body
