"""`quiver snapshot` and `quiver clone`: keep an index as it is, and make another of it without copying."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quiver.cli import output
from quiver.cli.arguments import AsJson, Bucket, IndexName, RootOption  # noqa: TC001 - typer reads them

if TYPE_CHECKING:
    from quiver.cli.output import Exit
    from quiver.engine.pinning import Pinned

Snapshot = Annotated[str, typer.Argument(metavar="NAME", help="Name of the snapshot.")]
Source = Annotated[
    str, typer.Argument(metavar="INDEX[@SNAPSHOT]", help="Name of the index, perhaps of a snapshot of it.")
]

snapshot = typer.Typer(
    name="snapshot",
    help="Keep an index as it is now. To read a snapshot, clone it. Servers may go on serving the root.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(snapshot)
    app.command()(clone)


@snapshot.command()
def create(
    bucket: Bucket, index: IndexName, name: Snapshot, root: RootOption = None, as_json: AsJson = False
) -> None:
    """Keep every vector as it is now, until the snapshot or the index is deleted."""

    async def work(url: str) -> Exit:
        return await _create(url, bucket, index, name, as_json=as_json)

    output.run(work, root)


@snapshot.command("list")
def list_(bucket: Bucket, index: IndexName, root: RootOption = None, as_json: AsJson = False) -> None:
    """Show the snapshots of an index."""

    async def work(url: str) -> Exit:
        return await _list(url, bucket, index, as_json=as_json)

    output.run(work, root)


@snapshot.command()
def delete(
    bucket: Bucket, index: IndexName, name: Snapshot, root: RootOption = None, as_json: AsJson = False
) -> None:
    """Delete a snapshot; clones of it stay. `quiver gc` then removes what only it needed."""

    async def work(url: str) -> Exit:
        return await _delete(url, bucket, index, name, as_json=as_json)

    output.run(work, root)


def clone(
    bucket: Bucket,
    source: Source,
    new_bucket: Annotated[str, typer.Argument(metavar="NEWBUCKET", help="Vector bucket of the new index.")],
    new_index: Annotated[str, typer.Argument(metavar="NEWINDEX", help="Name of the new index.")],
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Create an index with the vectors of another, sharing what is stored. Servers may go on serving the root.

    From then on the two go their own ways.
    """
    index, _, name = source.partition("@")
    if "@" in source and not name:
        raise typer.BadParameter("the name of the snapshot is missing", param_hint="INDEX[@SNAPSHOT]")

    async def work(url: str) -> Exit:
        return await _clone(url, (bucket, index), name or None, (new_bucket, new_index), as_json=as_json)

    output.run(work, root)


async def _create(root: str, bucket: str, index: str, name: str, *, as_json: bool) -> Exit:
    """Raises QuiverError, SettingsError, as all work here does."""
    from quiver.cli.opening import opened  # noqa: PLC0415 - loaded by the command that needs it

    async with opened(root) as open_root:
        made = await open_root.snapshots.create(bucket, index, name)
    if as_json:
        output.show_json(_described(made) | {"root": root, "bucket": bucket, "index": index})
    else:
        typer.echo(f"snapshot {bucket}/{index}@{name}: {made.rows:,} vectors as of commit {made.commit}")
    return output.Exit.OK


async def _list(root: str, bucket: str, index: str, *, as_json: bool) -> Exit:
    from quiver.cli.opening import opened  # noqa: PLC0415

    async with opened(root) as open_root:
        found = [_described(each) for each in await open_root.snapshots.list(bucket, index)]
    if as_json:
        output.show_json({"root": root, "bucket": bucket, "index": index, "snapshots": found})
    elif found:
        output.show_table(found)
    else:
        typer.echo("no snapshots")
    return output.Exit.OK


async def _delete(root: str, bucket: str, index: str, name: str, *, as_json: bool) -> Exit:
    from quiver.cli.opening import opened  # noqa: PLC0415

    async with opened(root) as open_root:
        await open_root.snapshots.delete(bucket, index, name)
    if as_json:
        output.show_json({"root": root, "bucket": bucket, "index": index, "snapshot": name})
    else:
        typer.echo(f"snapshot {bucket}/{index}@{name} deleted")
    return output.Exit.OK


async def _clone(
    root: str, source: tuple[str, str], name: str | None, target: tuple[str, str], *, as_json: bool
) -> Exit:
    from quiver.cli.opening import opened  # noqa: PLC0415

    async with opened(root) as open_root:
        made = await open_root.snapshots.clone(*source, *target, name)
    if as_json:
        shown = {
            "root": root,
            "bucket": target[0],
            "index": target[1],
            "vectors": made.rows,
            "commit": made.commit,
        }
        output.show_json(shown)
    else:
        shared = f"{made.rows:,} vectors, {made.nbytes:,} bytes shared"
        typer.echo(f"index {target[0]}/{target[1]} created: {shared} with {source[0]}/{source[1]}")
    return output.Exit.OK


def _described(made: Pinned) -> dict[str, object]:
    from datetime import UTC, datetime  # noqa: PLC0415

    return {
        "snapshot": made.name,
        "created": datetime.fromtimestamp(made.created, UTC).isoformat(timespec="seconds"),
        "commit": made.commit,
        "vectors": made.rows,
        "nbytes": made.nbytes,
    }
