"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

Root = Annotated[
    Optional[str],  # noqa: UP045 - typer reads this at run time
    typer.Argument(
        metavar="URL",
        help="Where the data are: a directory, or a URL: file:///path, memory:, s3://bucket/prefix, "
        "gs://bucket/prefix, az://container/prefix. [default: $QUIVER_ROOT, else ./quiver-data]",
        show_default=False,
    ),
]
RootOption = Annotated[
    str | None,
    typer.Option("--root", metavar="URL", help="Where the data are. [default: $QUIVER_ROOT, else ./quiver-data]"),
]
Bucket = Annotated[str, typer.Argument(metavar="BUCKET", help="Name of the vector bucket.")]
IndexName = Annotated[str, typer.Argument(metavar="INDEX", help="Name of the index.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
