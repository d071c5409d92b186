"""`quiver principals`: check a file of principals, and make keys for one more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quiver.cli import output
from quiver.cli.arguments import AsJson  # noqa: TC001 - typer reads it
from quiver.settings import SettingsError, load

if TYPE_CHECKING:
    from typing import Any

    from quiver.server.principals_file import Principals

principals = typer.Typer(
    name="principals",
    help="Who may call a server, with which keys and policies: the file that QUIVER_CREDENTIALS_FILE names.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(principals)


@principals.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file. [default: $QUIVER_CREDENTIALS_FILE]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a file as the server would, and list its principals. Shows no secret."""
    from quiver.server.principals_file import read_principals  # noqa: PLC0415 - loaded when it is needed

    with output.reporting():
        settings = load(os.environ)
        if file is None and not settings.credentials_file:
            raise SettingsError("name a file, or set QUIVER_CREDENTIALS_FILE")
        found = read_principals(file or Path(settings.credentials_file), settings.account_id)
        rows = _rows(found)
        if as_json:
            output.show_json(rows)
        else:
            output.show_table([{name: _shown(value) for name, value in row.items()} for row in rows])


@principals.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the principal.")],
    policy: Annotated[
        list[str] | None, typer.Option(metavar="POLICY", help="Name of a policy of the file. May be repeated.")
    ] = None,
    owner: Annotated[bool, typer.Option("--owner", help="Who may do everything.")] = False,
) -> None:
    """Print a principal with new keys, to be appended to a file of principals."""
    import orjson  # noqa: PLC0415 - loaded when it is needed

    from quiver.cli.credentials import new_pair  # noqa: PLC0415

    def quoted(value: object) -> str:  # a JSON string, or a list of them, is also one of TOML
        return orjson.dumps(value).decode()

    pair = new_pair()
    what = "root = true" if owner else f"policies = {quoted(policy or [])}"
    key = f"{{id = {quoted(pair.access_key_id)}, secret = {quoted(pair.secret_access_key)}}}"
    typer.echo(f"\n[[principals]]\nname = {quoted(name)}\n{what}\nkeys = [{key}]")


def _rows(found: Principals) -> list[dict[str, Any]]:
    return [
        {
            "arn": principal.arn,
            "root": principal.root,
            "keys": [key.key_id for key in found.keys if key.holder.principal is principal],
            "policies": found.policies[principal.arn],
        }
        for principal in found.principals
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
