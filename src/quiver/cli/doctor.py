"""`quiver doctor`: does the store keep the promises that Quiver builds on?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from quiver.assemble import create_commit_table, open_store
from quiver.cli.output import Exit, progress, show_json
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.probe import probe
from quiver.settings import SettingsError

if TYPE_CHECKING:
    from quiver.objectstore.probe import ProbeReport

PEERS = 1
"""Further connections to the same store, so that its answers to different clients are compared."""


async def doctor(root: str, *, rounds: int, create_table: bool, as_json: bool) -> Exit:
    """Probe the store and print what was found, after making its commit table when told to.

    Raises: SettingsError, UnavailableError.
    """
    runtime = SystemRuntime()
    try:
        if create_table and await create_commit_table(root, runtime) is None:
            raise SettingsError("--create-table is for roots with ?commit=dynamodb://table")
        report = await _examine(root, runtime, rounds)
    finally:
        runtime.close()
    _show(report, as_json=as_json)
    return Exit.OK if report.ok else Exit.PROBLEM


async def _examine(root: str, runtime: SystemRuntime, rounds: int) -> ProbeReport:
    store = open_store(root, runtime)
    # A second connection to memory would be another store.
    peers = [] if root.startswith("memory:") else [open_store(root, runtime) for _ in range(PEERS)]
    try:
        with progress(f"Probing {store.url}"):
            return await probe(store, runtime, peers, rounds=rounds)
    finally:
        for each in (store, *peers):
            await each.close()


def _show(report: ProbeReport, *, as_json: bool) -> None:
    if as_json:
        checks = [{"name": check.name, "ok": check.ok, "message": check.message} for check in report.checks]
        show_json({"url": report.url, "ok": report.ok, "checks": checks})
        return
    for check in report.checks:
        typer.echo(f"{'ok  ' if check.ok else 'FAIL'}  {check.name}{': ' if check.message else ''}{check.message}")
    kept = "keeps every promise that was probed" if report.ok else "must not be used: it would lose data"
    typer.echo(f"\n{report.url} {kept}.")
