"""The `quiver` command. Each command loads what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated, Literal

import typer

from quiver.cli import key, output, principals, snapshot
from quiver.cli.arguments import AsJson, Bucket, FilterOption, IndexName, Limit, Root, RootOption, read_json
from quiver.cli.cost import cost
from quiver.cli.leaving import run_and_leave
from quiver.cli.matching import count, delete
from quiver.cli.openapi import openapi
from quiver.cli.recall import recall
from quiver.cli.stats import stats
from quiver.cli.text_fields import texts
from quiver.cli.warm import warm
from quiver.model.structure import (
    DEFAULT_CODEC,
    DEFAULT_PARTITIONER,
    DEFAULT_RECALL,
    MAX_RECALL,
    MIN_RECALL,
    CodecName,
    PartitionerName,
)
from quiver.model.threads import loading_for_one_thread

EXIT_CODES = "Exit codes: 0 fine, 1 a problem was found or the work failed, 2 wrong usage."

app = typer.Typer(
    name="quiver",
    help=f"Amazon S3 Vectors on storage you own.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def serve(
    url: Root = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. [default: $QUIVER_HOST, 127.0.0.1]")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. [default: $QUIVER_PORT, else 8080]")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Server processes. [default: $QUIVER_WORKERS, else 1]")
    ] = None,
    role: Annotated[
        Literal["all", "reader", "writer", "maintainer"] | None,
        typer.Option(help="What it does for the root. [default: $QUIVER_ROLE, else all]"),
    ] = None,
) -> None:
    """Serve the S3 Vectors API until SIGTERM or Ctrl-C.

    Credentials come from QUIVER_ACCESS_KEY_ID and QUIVER_SECRET_ACCESS_KEY, else from a file
    (QUIVER_CREDENTIALS_FILE, or the root's name with .credentials beside a local root). On the first start on
    a loopback address they are generated, kept in that file and shown once.
    """
    from quiver import settings  # noqa: PLC0415 - loaded by the command that needs it
    from quiver.cli.serve import serve as run_server  # noqa: PLC0415

    with output.reporting():
        run_server(settings.load(os.environ, root=url, host=host, port=port, workers=workers, role=role))


@app.command()
def create_bucket(bucket: Bucket, root: RootOption = None, as_json: AsJson = False) -> None:
    """Create a vector bucket. Servers may go on serving the root, and see it at once."""
    from quiver.cli.create import create_bucket as work  # noqa: PLC0415

    output.run(lambda url: work(url, bucket, as_json=as_json), root)


PartitionerOption = Annotated[
    PartitionerName | None, typer.Option(help=f"How a segment is divided. [default: {DEFAULT_PARTITIONER}]")
]
CodecOption = Annotated[
    CodecName | None, typer.Option(help=f"How its vectors are shortened. [default: {DEFAULT_CODEC}]")
]
RecallOption = Annotated[
    float | None,
    typer.Option(
        min=MIN_RECALL,
        max=MAX_RECALL,
        help=f"Part of the true nearest neighbours a query should find. [default: {DEFAULT_RECALL}]",
    ),
]


@app.command()
def create_index(
    bucket: Bucket,
    index: Annotated[str, typer.Argument(metavar="INDEX", help="Name of the new index.")],
    dimension: Annotated[int, typer.Option(min=1, help="Components of each vector.")],
    metric: Annotated[Literal["cosine", "euclidean"], typer.Option(help="How far two vectors are apart.")],
    non_filterable: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A metadata key that filters may not name. May be repeated."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY[:LANGUAGE]",
            help="A metadata key to search by words, in en, fr, es, pt, it, de, nl, zh, ja, ko, or standard, the "
            "default. May be repeated.",
        ),
    ] = None,
    partitioner: PartitionerOption = None,
    codec: CodecOption = None,
    recall: RecallOption = None,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Create an index. What is chosen here is fixed, texts apart.

    Servers may go on serving the root, and see it at once.
    """
    from quiver.cli.create import create_index as work  # noqa: PLC0415
    from quiver.cli.texts import read_languages  # noqa: PLC0415

    options = {
        "dimension": dimension,
        "metric": metric,
        "non_filterable": non_filterable or (),
        "texts": read_languages(text or ()),
        "partitioner": partitioner,
        "codec": codec,
        "recall": recall,
    }
    output.run(lambda url: work(url, bucket, index, options, as_json=as_json), root)


Key = Annotated[str | None, typer.Option(metavar="KEY", help="Ask with the vector stored under this key.")]
Components = Annotated[
    str | None, typer.Option("--vector", metavar="JSON", help="Ask with this vector, a JSON array of numbers.")
]
TextOption = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="KEY=WORDS", help="Look for words in a metadata key's texts. May be repeated."),
]


@app.command()
def explain(
    bucket: Bucket,
    index: IndexName,
    key: Key = None,
    vector: Components = None,
    text: TextOption = None,
    filter_: FilterOption = None,
    top_k: Limit = 10,
    root: RootOption = None,
    as_json: AsJson = False,
) -> None:
    """Answer one query and show how: plans, partitions probed, codes and rows scored, bytes, requests, time."""
    from quiver.cli.insight import Asked  # noqa: PLC0415
    from quiver.cli.insight import explain as work  # noqa: PLC0415
    from quiver.cli.texts import read_texts  # noqa: PLC0415

    asked = Asked(
        key, read_json("--vector", vector), read_texts(text or ()), read_json("--filter", filter_), top_k
    )
    output.run(lambda url: work(url, bucket, index, asked, as_json=as_json), root)


@app.command("import")
def import_(
    bucket: Bucket,
    index: IndexName,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            exists=True,
            help="Parquet, JSON Lines (perhaps .gz), Arrow, NumPy (.npy), or a directory of Parquet.",
        ),
    ],
    root: RootOption = None,
    key: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of keys. [default: key, else id]")
    ] = None,
    vector: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of vectors. [default: vector, else data]")
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column of metadata. [default: metadata, if there is one]"),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Columns that become metadata fields. [default: all that are left]"),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create bucket and index when they are missing.")
    ] = False,
    metric: Annotated[
        Literal["cosine", "euclidean"] | None,
        typer.Option(help="The distance of an index that is created. [default: cosine]"),
    ] = None,
    partitioner: PartitionerOption = None,
    codec: CodecOption = None,
    recall: RecallOption = None,
    as_json: AsJson = False,
) -> None:
    """Load files into an index: all rows are visible at the end, or none. Servers may go on serving the root."""
    with loading_for_one_thread():  # building divides its work itself
        from quiver.bulk.columns import Columns  # noqa: PLC0415
        from quiver.cli.bulk import load as work  # noqa: PLC0415

    if metadata is not None and fields is not None:
        raise typer.BadParameter("--metadata and --fields exclude each other")
    chosen = {"metric": metric, "partitioner": partitioner, "codec": codec, "recall": recall}
    if not create and any(value is not None for value in chosen.values()):
        raise typer.BadParameter(
            "--metric, --partitioner, --codec and --recall are for an index that --create creates"
        )
    names = None if fields is None else tuple(name for name in fields.split(",") if name)
    columns = Columns(key, vector, metadata if names is None else names)
    options = {name: value for name, value in chosen.items() if value is not None}
    output.run(
        lambda url: work(url, bucket, index, files, columns, options if create else None, as_json=as_json), root
    )


@app.command()
def export(
    bucket: Bucket,
    index: IndexName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The Parquet file; one that exists is replaced.")],
    root: RootOption = None,
    compression: Annotated[Literal["zstd", "none"], typer.Option(help="Of the file.")] = "zstd",
    as_json: AsJson = False,
) -> None:
    """Write every vector of an index, as of one moment, to a Parquet file. Servers may go on serving the root."""
    from quiver.cli.bulk import export as work  # noqa: PLC0415

    output.run(lambda url: work(url, bucket, index, file, compression, as_json=as_json), root)


@app.command()
def doctor(
    url: Root = None,
    rounds: Annotated[int, typer.Option(min=1, help="Races to run; more find rarer faults.")] = 60,
    create_table: Annotated[
        bool, typer.Option("--create-table", help="First create the URL's commit table, unless it exists.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Probe the store: does it keep the promises that Quiver builds on?

    Writes a thousand small objects under a prefix of its own and removes them again. Exit code 1 when a promise
    is broken: such a store must not be used.
    """
    from quiver.cli.doctor import doctor as work  # noqa: PLC0415

    output.run(lambda root: work(root, rounds=rounds, create_table=create_table, as_json=as_json), url)


@app.command()
def inspect(url: Root = None, as_json: AsJson = False) -> None:
    """Show what is stored: every index with its log, checkpoint, segments and sizes."""
    from quiver.cli.upkeep import inspect as work  # noqa: PLC0415

    output.run(lambda root: work(root, as_json=as_json), url)


@app.command()
def fsck(
    url: Root = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First rebuild segments whose index is missing or damaged.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read everything that is stored and check it. Exit code 1 when anything is wrong.

    Run it on a root that nobody writes to: what changes meanwhile may be reported.
    """
    from quiver.cli.upkeep import fsck as work  # noqa: PLC0415

    output.run(lambda root: work(root, rebuild=rebuild, as_json=as_json), url)


@app.command()
def compact(url: Root = None, as_json: AsJson = False) -> None:
    """Flush and merge every index, then return. Servers may go on serving the root."""
    with loading_for_one_thread():
        from quiver.cli.upkeep import compact as work  # noqa: PLC0415

    output.run(lambda root: work(root, as_json=as_json), url)


@app.command()
def gc(
    url: Root = None,
    age: Annotated[float, typer.Option(min=0, help="Leave objects younger than this many seconds alone.")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Remove objects that nothing names any more. Servers may go on serving the root.

    An age of 0 is for a root that nobody uses at the moment: with a shorter age than the longest query takes,
    a query under way may fail and have to be sent again.
    """
    from quiver.cli.upkeep import collect as work  # noqa: PLC0415

    output.run(lambda root: work(root, age=age, as_json=as_json), url)


@app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The root to copy: a directory or a URL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where to: an empty or new place.")],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted copy that no other process is at.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Read back and compare what was written.")
    ] = True,
    decrypt: Annotated[
        bool, typer.Option("--decrypt", help="Leave TO unencrypted, though there is a key file.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy every bucket and index to another root: migration, backup, restore. Servers may go on serving FROM.

    TO can be used when the command has ended well, and by nobody before.
    """
    from quiver.cli.copy import copy as work  # noqa: PLC0415

    output.run(
        lambda root: work(root, target, resume=resume, verify=verify, decrypt=decrypt, as_json=as_json), source
    )


snapshot.register(app)
key.register(app)
principals.register(app)
app.command()(count)
app.command()(delete)
app.command()(cost)
app.command()(openapi)
app.command()(recall)
app.command()(stats)
app.command()(texts)
app.command()(warm)


def run() -> None:
    """The entry point of the installed command."""
    run_and_leave(app)


if __name__ == "__main__":
    run()
