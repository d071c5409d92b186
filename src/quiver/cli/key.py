"""`quiver key`: files of encryption keys, and which of them a root needs."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quiver.cli import output
from quiver.cli.arguments import AsJson, Root  # noqa: TC001 - typer reads them

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quiver.objectstore.encryption.key_file import KeyFile
    from quiver.settings import Settings

File = Annotated[Path, typer.Argument(metavar="FILE", help="The key file.")]

key = typer.Typer(
    name="key",
    help="Files of encryption keys, and which of them a root needs. QUIVER_ENCRYPTION_KEY_FILE names the file.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.add_typer(key)


@key.command()
def new(
    file: File,
    kms: Annotated[
        bool, typer.Option("--kms", help="A key for indexes with aws:kms: not the current one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key. It becomes the current one of the file, which is created if need be.

    Keep copies of the file in safe places apart from the root: without the key nothing in the root can be read.
    """
    from quiver.model.runtime import SystemRuntime  # noqa: PLC0415 - loaded by the command that needs it
    from quiver.objectstore.encryption.key_file import KeyFile, key_id_of, write_key_file  # noqa: PLC0415

    with _usable():
        runtime = SystemRuntime(threads=1)
        there = _read(file) if file.exists() else None
        if kms and there is None:
            raise typer.BadParameter("make the file with a key for the root first", param_hint="--kms")
        key_id, secret = key_id_of(runtime.new_id()), bytes.fromhex(runtime.new_id() + runtime.new_id())
        keys = (
            KeyFile(key_id, {key_id: secret}) if there is None else there.with_key(key_id, secret, current=not kms)
        )
        write_key_file(file, keys, runtime.new_id(), replace=there is not None)
        runtime.close()
        _show_made(file, key_id, kms=kms, as_json=as_json)


@key.command("list")
def list_(file: File, as_json: AsJson = False) -> None:
    """Show the ids of the keys in a file."""
    with _usable():
        keys = _read(file)
        if as_json:
            output.show_json({"current": keys.current, "keys": list(keys.keys)})
            return
        for key_id in keys.keys:
            typer.echo(key_id + (" (current)" if key_id == keys.current else ""))


@key.command()
def remove(file: File, key_id: Annotated[str, typer.Argument(metavar="ID", help="Of the key.")]) -> None:
    """Take a key out of a file: one that `quiver key status` says no root needs."""
    from quiver.model.runtime import SystemRuntime  # noqa: PLC0415
    from quiver.objectstore.encryption.key_file import write_key_file  # noqa: PLC0415

    with _usable():
        runtime = SystemRuntime(threads=1)
        write_key_file(file, _read(file).without_key(key_id), runtime.new_id(), replace=True)
        runtime.close()


@key.command()
def status(url: Root = None, as_json: AsJson = False) -> None:
    """Show the data keys of a root, what is encrypted under each, and which keys of the file it does not need.

    Reads the first bytes of every object.
    """
    from quiver.cli.key_work import status as work  # noqa: PLC0415

    output.run(lambda root: work(_settings(root), as_json=as_json), url)


@key.command()
def rewrap(url: Root = None, as_json: AsJson = False) -> None:
    """Wrap the data keys of a root by the current key of the file, so that it needs no earlier one.

    No object is written again: `quiver compact` does that. Servers may go on serving the root when they were
    started with the current key. The keys of indexes with aws:kms stay under their KMS keys.
    """
    from quiver.cli.key_work import rewrap as work  # noqa: PLC0415

    output.run(lambda root: work(_settings(root), as_json=as_json), url)


def _show_made(file: Path, key_id: str, *, kms: bool, as_json: bool) -> None:
    from quiver.settings import load  # noqa: PLC0415

    settings = load(os.environ)
    arn = f"arn:aws:kms:{settings.region}:{settings.account_id}:key/{key_id}"
    if as_json:
        output.show_json({"file": str(file), "key": key_id, "current": not kms, "arn": arn})
    elif kms:
        typer.echo(f"{file}: the key {key_id} was made; indexes name it by its ARN\n{arn}")
    else:
        typer.echo(f"{file}: the key {key_id} was made and is the current one")


def _settings(root: str) -> Settings:
    from quiver.settings import load  # noqa: PLC0415

    return load(os.environ, root=root)


def _read(file: Path) -> KeyFile:
    from quiver.objectstore.encryption.key_file import read_key_file  # noqa: PLC0415

    return read_key_file(file)


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    """Leaves with one line when the file cannot be used."""
    from quiver.objectstore.encryption.key_file import KeyFileError  # noqa: PLC0415
    from quiver.settings import SettingsError  # noqa: PLC0415

    with output.reporting():
        try:
            yield
        except KeyFileError as error:
            raise SettingsError(str(error)) from error
