"""`quiver stats`: what a running server did, as its admin listener tells it."""

from __future__ import annotations

import http.client
import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quiver.cli import output
from quiver.cli.arguments import AsJson  # noqa: TC001 - typer reads it
from quiver.model.errors import UnavailableError

if TYPE_CHECKING:
    from quiver.settings import Settings

_TIMEOUT = 10
_LONGEST = 4 << 20  # bytes of an answer

Address = Annotated[
    str | None,
    typer.Option(
        "--admin",
        metavar="HOST:PORT",
        help="Where its /stats is. [default: $QUIVER_ADMIN_HOST and $QUIVER_ADMIN_PORT, "
        "else 127.0.0.1 and $QUIVER_PORT + 1]",
    ),
]


def stats(address: Address = None, as_json: AsJson = False) -> None:
    """Show what a running server did since it started: requests, latency, caches, requests to the store."""
    from quiver.settings import load  # noqa: PLC0415 - loaded by the command that needs it

    with output.reporting():
        host, port = _default(load(os.environ)) if address is None else _parsed(address)
        found = _ask(host, port)
        if as_json:
            output.show_json(found)
        else:
            _show(found)


def _default(settings: Settings) -> tuple[str, int]:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.admin_host, settings.admin_host)  # noqa: S104
    return host.strip("[]"), settings.admin_port or settings.port + 1


def _parsed(address: str) -> tuple[str, int]:
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise typer.BadParameter(f"{address!r} is not HOST:PORT", param_hint="--admin")
    return host.strip("[]"), int(port)


def _ask(host: str, port: int) -> dict[str, Any]:
    """Raises UnavailableError."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/stats")
        answer = connection.getresponse()
        if answer.status == http.HTTPStatus.OK:
            found = json.loads(answer.read(_LONGEST))
            if isinstance(found, dict) and "uptimeSeconds" in found:
                return found
        raise UnavailableError(f"what answers at {host} port {port} is not the admin listener of a server")
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(f"no server answers at {host} port {port}: {error}") from error
    except ValueError as error:
        raise UnavailableError(f"{host} port {port} answers something else: {error}") from error
    finally:
        connection.close()


def _show(found: dict[str, Any]) -> None:
    typer.echo(
        f"up for {found['uptimeSeconds']:,.0f} s, {found['workers']} workers, "
        f"{found.get('requestsInFlight', 0)} requests in flight"
    )
    tables = _requests(found), _caches(found.get("cache")), _store(found["store"]), _maintenance(found)
    for rows in (*tables, _problems(found)):
        if rows:
            typer.echo()
            output.show_table(rows)
    if "cache" in found:
        typer.echo(_cache_line(found["cache"]))
    if found.get("pace"):
        typer.echo(_pace_line(found["pace"]))


def _requests(found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for operation, codes in sorted(found["requests"].items()):
        latency = found["latency"].get(operation, {})
        milliseconds = {f"{name} ms": _milliseconds(latency.get(name)) for name in ("mean", "p50", "p99")}
        others = ", ".join(f"{code} {count:,}" for code, count in sorted(codes.items()) if code != "OK")
        rows.append({"operation": operation, "OK": codes.get("OK", 0), "other": others, **milliseconds})
    return rows


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e3 * seconds:.1f}"


def _caches(cache: dict[str, Any] | None) -> list[dict[str, Any]]:
    if cache is None:
        return []
    return [
        {
            "cache": tier,
            "hits": cache.get("hits", {}).get(tier, 0),
            "evictions": cache.get("evictions", {}).get(tier, 0),
            "bytes": cache.get("bytes", {}).get(tier, 0),
            "of": budget,
        }
        for tier, budget in sorted(cache["budgetBytes"].items(), reverse=True)
        if budget
    ]


def _cache_line(cache: dict[str, Any]) -> str:
    rate = cache["hitRate"]
    known = "no block was needed" if rate is None else f"hit rate {rate:.1%}"
    return (
        f"{known}, {cache.get('misses', 0):,} misses, {cache.get('requests', 0):,} requests for "
        f"{cache.get('fetchedBytes', 0):,} bytes, {cache.get('damagedBlocks', 0):,} damaged blocks"
    )


def _pace_line(pace: dict[str, float]) -> str:
    """What was measured of the store."""
    figures = (
        ("latencySeconds", 1e3, "ms a request"),
        ("connectionBytesPerSecond", 1e-6, "MB/s a connection"),
        ("bytesPerSecond", 1e-6, "MB/s over all connections"),
    )
    told = [f"{factor * pace[name]:,.1f} {unit}" for name, factor, unit in figures if name in pace]
    return f"measured of the store: {', '.join(told)}"


def _store(store: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    return [
        {
            "store": operation,
            "requests": counts.get("requests", 0),
            "errors": counts.get("errors", 0),
            "sent bytes": counts.get("sent_bytes", 0),
            "received bytes": counts.get("received_bytes", 0),
        }
        for operation, counts in sorted(store.items())
    ]


def _maintenance(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "upkeep": job,
            "done": counts.get("done", 0),
            "failed": counts.get("failed", 0),
            "seconds": counts.get("seconds", 0.0),
        }
        for job, counts in sorted(found.get("maintenance", {}).items())
    ]


def _problems(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "problem": problem["event"],
            "last": datetime.fromtimestamp(problem["last"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "times": problem["count"],
            "index": problem["index"],
            "error": f"{problem['error']}: {problem['message']}",
        }
        for problem in found.get("problems", [])
    ]
