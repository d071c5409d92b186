"""`quiver openapi`: the HTTP API as an OpenAPI document, on standard output."""

from __future__ import annotations

import json

import typer


def openapi() -> None:
    """Print the OpenAPI 3.1 description of the API that `quiver serve` answers, in JSON."""
    from quiver.server.openapi import describe  # noqa: PLC0415 - loaded by the command that needs it
    from quiver.service.extensions import SERVED  # noqa: PLC0415

    typer.echo(json.dumps(describe(SERVED.values()), indent=2))
