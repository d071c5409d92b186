"""`quiver recall`: how much of the true nearest neighbours queries of an index find."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from quiver.cli import output
from quiver.cli.arguments import (
    AsJson,
    Bucket,
    FilterOption,
    IndexName,
    Limit,
    RootOption,
    read_json,
)

if TYPE_CHECKING:
    from quiver.assemble import OpenRoot
    from quiver.cli.output import Exit
    from quiver.engine.upkeep import RecallReport
    from quiver.model.types import Float32Matrix

_SAMPLE = 200


class _Asked(NamedTuple):
    """What is measured; without a file rows of the index are the queries."""

    file: Path | None
    column: str | None
    sample: int | None
    seed: int
    limit: int
    document: Any


def recall(
    bucket: Bucket,
    index: IndexName,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            help="Ask with the vectors of a file, of any kind that can be imported. "
            "[default: rows of the index, chosen at random]",
        ),
    ] = None,
    vector: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The file's column of vectors. [default: vector, else data]"),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=2, help=f"How many to ask with, chosen at random. [default: all of a file, else {_SAMPLE}]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Chooses them.")] = 0,
    top_k: Limit = 10,
    filter_: FilterOption = None,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Measure an index's recall against exact search, with its 95 % interval. Servers may go on serving.

    Users' queries may be unlike the rows, as short questions are unlike documents: measure with your own.
    """
    if vector is not None and queries is None:
        raise typer.BadParameter("--vector names a column of the file that --queries names")
    asked = _Asked(queries, vector, sample, seed, top_k, read_json("--filter", filter_))

    async def work(url: str) -> Exit:
        return await _recall(url, bucket, index, asked, as_json=as_json)

    output.run(work, root)


async def _recall(root: str, bucket: str, name: str, asked: _Asked, *, as_json: bool) -> Exit:
    """Measure and show. Raises QuiverError, SettingsError."""
    from quiver.cli.opening import opened  # noqa: PLC0415 - loaded by the command that needs it

    async with opened(root) as open_root:
        with output.progress("Measuring"):
            report = await open_root.administration.recall(
                bucket,
                name,
                queries=await _queries(open_root, bucket, name, asked),
                limit=asked.limit,
                document=asked.document,
                seed=asked.seed,
            )
    if as_json:
        output.show_json(report._asdict())
    else:
        typer.echo(_text(report, "rows of its own" if asked.file is None else asked.file.name))
    return output.Exit.OK


async def _queries(open_root: OpenRoot, bucket: str, name: str, asked: _Asked) -> int | Float32Matrix:
    """What the engine is to ask with. Raises NotFoundError, ValidationError."""
    from quiver.bulk.queries import read_queries  # noqa: PLC0415
    from quiver.model.errors import ValidationError  # noqa: PLC0415

    if asked.file is None:
        return asked.sample or _SAMPLE
    spec = (await open_root.administration.index(bucket, name)).spec
    try:
        return read_queries(asked.file, spec, column=asked.column, sample=asked.sample, seed=asked.seed)
    except OSError as error:
        raise ValidationError(f"{asked.file}: {error.strerror or error}") from error


def _text(report: RecallReport, asked_with: str) -> str:
    if not report.queries:
        return f"nothing to measure at commit {report.commit}: no query has neighbours"
    return (
        f"recall@{report.limit} {report.mean:.4f} (95 % interval {report.low:.4f} to {report.high:.4f}), "
        f"target {report.target:g}, {report.queries} queries ({asked_with}), commit {report.commit}"
    )
