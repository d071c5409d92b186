"""What `quiver key status` and `rewrap` do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from quiver.assemble import encrypt, load_keys, open_store
from quiver.cli.output import Exit, progress, show_json, show_table
from quiver.format import paths
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.encryption.usage import survey
from quiver.settings import SettingsError

if TYPE_CHECKING:
    from quiver.objectstore.encryption.usage import KeyUse
    from quiver.settings import Settings


async def status(settings: Settings, *, as_json: bool) -> Exit:
    """Show the data keys of a root. Raises QuiverError, SettingsError, as `rewrap` does."""
    runtime = SystemRuntime()
    try:
        store = open_store(settings.root, runtime)
        try:
            with progress("Looking at every object"):
                found = await survey(store, _is_index_key)
        finally:
            await store.close()
    finally:
        runtime.close()
    keys = load_keys(settings)
    needed = {master.rpartition(":key/")[2] for use in found for master in use.masters}
    unneeded = sorted(keys.keys.keys() - needed - {keys.current}) if keys else []
    if as_json:
        show_json({"root": settings.root, "data_keys": [use._asdict() for use in found], "not_needed": unneeded})
        return Exit.OK
    _show(found, unneeded)
    return Exit.OK


def _show(found: list[KeyUse], unneeded: list[str]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "data key": use.key_id or "(not encrypted)",
            "wrapped by": ", ".join(use.masters),
            "objects": use.objects,
            "bytes": use.nbytes,
        }
        for use in found
    ]
    if rows:
        show_table(rows)
    else:
        typer.echo("nothing is stored")
    for key_id in unneeded:
        typer.echo(f"the key {key_id} of the file is not needed here")


async def rewrap(settings: Settings, *, as_json: bool) -> Exit:
    """Wrap the data keys of a root by the current key."""
    keys = load_keys(settings)
    if keys is None:
        raise SettingsError("QUIVER_ENCRYPTION_KEY_FILE must name the key file")
    runtime = SystemRuntime()
    try:
        store = encrypt(open_store(settings.root, runtime), keys, settings, runtime)
        try:
            done, removed = await store.root_keys.rewrap()
        finally:
            await store.close()
    finally:
        runtime.close()
    if as_json:
        show_json({"root": settings.root, "wrapped": done, "removed": [wrap._asdict() for wrap in removed]})
        return Exit.OK
    typer.echo(f"{len(done)} data keys wrapped by {keys.current}, {len(removed)} earlier wraps removed")
    return Exit.OK


def _is_index_key(name: str) -> bool:
    owner = paths.index_of(name)
    return owner is not None and name == paths.index_key_name(owner)
