"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated, Any, Optional

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
FilterOption = Annotated[
    str | None, typer.Option("--filter", metavar="JSON", help="Only vectors whose metadata match.")
]
Limit = Annotated[int, typer.Option("--top-k", min=1, max=10_000, help="Neighbours asked for.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def read_json(option: str, text: str | None) -> Any:
    """An option's JSON document; leaves with a usage error when it is none."""
    import orjson  # noqa: PLC0415 - loaded by the command that needs it

    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None
