"""The `quiver` command. Each command loads what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import os
from typing import Annotated, Optional

import typer

from quiver.cli import output

EXIT_CODES = "Exit codes: 0 fine, 1 a problem was found or the work failed, 2 wrong usage."

app = typer.Typer(
    name="quiver",
    help=f"Amazon S3 Vectors on storage you own.\n\n{EXIT_CODES}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Root = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this at run time
    typer.Argument(
        metavar="URL",
        help="Where the data are: a directory, or a URL: file:///path, memory:, s3://bucket/prefix, "
        "gs://bucket/prefix, az://account/container/prefix. [default: $QUIVER_ROOT, else ./quiver-data]",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


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
) -> None:
    """Serve the S3 Vectors API until SIGTERM or Ctrl-C.

    Credentials come from QUIVER_ACCESS_KEY_ID and QUIVER_SECRET_ACCESS_KEY, else from a file
    (QUIVER_CREDENTIALS_FILE, or the root's name with .credentials beside a local root). On the first start on
    a loopback address they are generated, kept in that file and shown once.
    """
    from quiver import settings  # noqa: PLC0415 - loaded by the command that needs it
    from quiver.cli.serve import serve as run_server  # noqa: PLC0415

    with output.reporting():
        run_server(settings.load(os.environ, root=url, host=host, port=port, workers=workers))


@app.command()
def doctor(
    url: Root = None,
    rounds: Annotated[int, typer.Option(min=1, help="Races to run; more find rarer faults.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Probe the store: does it keep the promises that Quiver builds on?

    Writes a thousand small objects under a prefix of its own and removes them again. Exit code 1 when a promise
    is broken: such a store must not be used.
    """
    from quiver.cli.doctor import doctor as work  # noqa: PLC0415

    output.run(lambda root: work(root, rounds=rounds, as_json=as_json), url)


@app.command()
def inspect(url: Root = None, as_json: AsJson = False) -> None:
    """Show what is stored: every index with its log, checkpoint, segments and sizes."""
    from quiver.cli.upkeep import inspect as work  # noqa: PLC0415

    output.run(lambda root: work(root, as_json=as_json), url)


@app.command()
def fsck(url: Root = None, as_json: AsJson = False) -> None:
    """Read everything that is stored and check it. Exit code 1 when anything is wrong.

    Run it on a root that nobody writes to: what changes meanwhile may be reported.
    """
    from quiver.cli.upkeep import fsck as work  # noqa: PLC0415

    output.run(lambda root: work(root, as_json=as_json), url)


@app.command()
def compact(url: Root = None, as_json: AsJson = False) -> None:
    """Flush and merge every index, then return. Servers may go on serving the root."""
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


def run() -> None:
    """The entry point of the installed command."""
    app()


if __name__ == "__main__":
    run()
