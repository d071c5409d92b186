"""`quiver texts`: the text fields of an index listed, added and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from quiver.cli import output
from quiver.cli.arguments import AsJson, Bucket, IndexName, RootOption  # noqa: TC001 - typer reads them

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quiver.cli.output import Exit
    from quiver.library.texts import TextInfo

_STATES = {True: "active", False: "being built"}


def texts(
    bucket: Bucket,
    index: IndexName,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY[:LANGUAGE]", help="Make a metadata key searchable by words, as of create-index --text."
        ),
    ] = None,
    delete: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Make one searchable by words no more.")
    ] = None,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """List the metadata keys of an index that are searched by words, after what --delete and --add change.

    Both may be repeated; all of --delete are done at once, then all of --add. Deleting and adding a key changes
    its language. Servers may go on serving the root.
    """
    from quiver.cli.texts import read_languages  # noqa: PLC0415 - loaded by the command that needs it

    languages = read_languages(add or (), "--add")

    async def work(url: str) -> Exit:
        shown = await _change(url, bucket, index, languages, delete or ())
        if as_json:
            fields = [{"key": text.key, "language": text.language, "active": text.active} for text in shown]
            output.show_json({"bucket": bucket, "index": index, "texts": fields})
        elif shown:
            output.show_table(
                [{"key": text.key, "language": text.language, "state": _STATES[text.active]} for text in shown]
            )
        else:
            typer.echo(f"index {bucket}/{index} has no text fields")
        return output.Exit.OK

    output.run(work, root)


async def _change(
    url: str, bucket: str, index: str, add: Mapping[str, str], delete: Sequence[str]
) -> Sequence[TextInfo]:
    """The text fields after the change. Raises QuiverError, SettingsError."""
    from quiver.cli.opening import opened  # noqa: PLC0415
    from quiver.library.connection import AsyncBucket  # noqa: PLC0415

    async with opened(url) as open_root:
        opened_index = AsyncBucket(open_root, bucket).index(index)
        if delete:
            await opened_index.delete_texts(delete)
        if add:
            await opened_index.add_texts(add)
        return (await opened_index.info()).texts
