"""`quiver inspect`, `fsck`, `compact` and `gc`: what an operator does with a whole root."""

from __future__ import annotations

from typing import Any

import msgspec
import typer

from quiver.cli.opening import opened
from quiver.cli.output import Exit, progress, show_json, show_table


async def inspect(root: str, *, as_json: bool) -> Exit:
    """Show every index. Raises QuiverError, SettingsError, as all commands here do."""
    found: list[dict[str, Any]] = []
    async with opened(root) as open_root:
        with progress("Inspecting") as say:
            async for stored, summary in open_root.administration.inspect():
                say(stored.title)
                found.append({"name": stored.title, **msgspec.to_builtins(summary)})
    if as_json:
        show_json({"root": root, "indexes": found})
        return Exit.OK
    rows = [
        {
            "index": index["name"],
            "in segments": sum(s["rows"] - s["deleted"] for s in index["segments"]),
            "deleted": sum(s["deleted"] for s in index["segments"]),
            "segments": len(index["segments"]),
            "pins": len(index["pins"]),
            "log tail": index["tail"],
            "objects": index["objects"],
            "garbage": index["garbage"],
            "bytes": index["nbytes"],
            "written/accepted": f"{index['written'] / index['accepted']:.2f}" if index["accepted"] else "",
        }
        for index in found
    ]
    if rows:
        show_table(rows)
    typer.echo(f"{len(found)} indexes, {sum(index['nbytes'] for index in found):,} bytes")
    return Exit.OK


async def fsck(root: str, *, rebuild: bool, as_json: bool) -> Exit:
    """Check everything and show what is wrong, after rebuilding what can be."""
    checked: list[dict[str, Any]] = []
    rebuilt: list[dict[str, str]] = []
    async with opened(root) as open_root:
        if rebuild:
            with progress("Rebuilding") as say:
                async for name, segments in open_root.administration.rebuild():
                    say(name)
                    rebuilt += [{"name": name, "segment": segment} for segment in segments]
        with progress("Checking") as say:
            async for name, findings in open_root.administration.check():
                say(name)
                checked.append({"name": name, "findings": [finding._asdict() for finding in findings]})
    wrong = sum(len(each["findings"]) for each in checked)
    if as_json:
        show_json({"root": root, "ok": wrong == 0, "rebuilt": rebuilt, "checked": checked})
        return Exit.PROBLEM if wrong else Exit.OK
    for one in rebuilt:
        typer.echo(f"{one['name']}: segment {one['segment']} was rebuilt from its rows")
    for each in checked:
        for finding in each["findings"]:
            typer.echo(f"{each['name']}: {finding['key']}: {finding['problem']}")
    typer.echo(f"{len(checked) - 1} indexes checked, " + (f"{wrong} problems found" if wrong else "all sound"))
    return Exit.PROBLEM if wrong else Exit.OK


async def compact(root: str, *, as_json: bool) -> Exit:
    """Flush and merge every index."""
    done: list[str] = []
    async with opened(root) as open_root:
        with progress("Compacting") as say:
            async for index in open_root.administration.compact():
                done.append(f"{index.bucket}/{index.name}")
                say(f"{done[-1]} done")
    if as_json:
        show_json({"root": root, "compacted": done})
    else:
        typer.echo(f"{len(done)} indexes compacted")
    return Exit.OK


async def collect(root: str, *, age: float, as_json: bool) -> Exit:
    """Remove garbage."""
    removed: list[dict[str, Any]] = []
    async with opened(root) as open_root:
        with progress("Collecting garbage") as say:
            async for name, collected in open_root.administration.collect(age):
                say(name)
                removed.append({"name": name, **collected._asdict()})
    objects, nbytes = (sum(each[key] for each in removed) for key in ("objects", "nbytes"))
    if as_json:
        show_json({"root": root, "objects": objects, "nbytes": nbytes, "removed": removed})
    else:
        typer.echo(f"{objects:,} objects removed, {nbytes:,} bytes")
    return Exit.OK
