"""Settings: plain values from the environment (`QUIVER_*`) and the command line, checked once at the start.

One table is the source of everything: the fields of `Settings`. `SETTINGS` derives names, variables, defaults
and help from it, and docs/operations.md is tested against it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from quiver.service.leniency import read_leniency
from quiver.service.rates import parse_rates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIB = 2**20
MAINTENANCE = ("process", "inline")
ROLES = ("all", "reader", "writer", "maintainer")
CONSISTENCIES = ("strong", "eventual")
KEY_PROVIDERS = ("file", "aws")
LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """A setting has a value that cannot be used. The message names the variable, never a secret."""


class Setting(NamedTuple):
    """One line of the settings table. `default` is None where there is none."""

    name: str
    variable: str
    default: str | int | float | None
    help: str


def _setting(default: Any, help_text: str, *, secret: bool = False) -> Any:
    return field(default=default, repr=not secret, metadata={"help": help_text})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a Quiver process can be told. Secrets are left out of its repr."""

    root: str = _setting(
        "./quiver-data", "where the data are: a directory, or a URL of memory, file, s3, gs or az"
    )
    role: str = _setting("all", "what the process does for the root: all, reader, writer or maintainer")
    consistency: str = _setting("strong", "of reads that do not say: strong or eventual")
    staleness_seconds: float = _setting(1.0, "how far an eventual read may lag behind")
    region: str = _setting("us-east-1", "the region in ARNs and in signatures")
    account_id: str = _setting("000000000000", "the 12-digit account id in ARNs")
    host: str = _setting("127.0.0.1", "the address the server listens on")
    port: int = _setting(8080, "the port the server listens on")
    workers: int = _setting(1, "server processes, all over the same root")
    admin_host: str = _setting("127.0.0.1", "the address of the listener for /metrics and /stats")
    admin_port: int = _setting(0, "the port of the listener for /metrics and /stats; 0 is QUIVER_PORT + 1")
    memory_budget_bytes: int = _setting(512 * MIB, "memory for open indexes, per process")
    cache_bytes: int = _setting(512 * MIB, "memory for blocks of a remote root, per process")
    cache_folder: str = _setting(
        "", "a directory for more blocks of a remote root, kept over restarts; none if empty"
    )
    cache_folder_bytes: int = _setting(10240 * MIB, "how much may be kept there, by all workers together")
    buffered_bytes: int = _setting(256 * MIB, "request bodies held in memory at once, per process")
    load_bytes: int = _setting(4096 * MIB, "body of a bulk load over HTTP, kept in a temporary file; 0 for none")
    throttle: str = _setting("off", "limits per second: off, aws, or numbers by name")
    flush_rows: int = _setting(32_768, "rows an index takes in before they are flushed to a segment")
    maintenance: str = _setting(
        "process", "where indexes are flushed, merged and collected: process, one of its own, or inline"
    )
    patrol_seconds: int = _setting(30, "how long a maintainer rests before it looks at every index again")
    garbage_age_seconds: int = _setting(600, "how long objects that nothing names any more are kept")
    prices: str = _setting("", "a file of prices of stores, for `quiver cost` and the header x-quiver-work")
    encryption_key_file: str = _setting(
        "", "a file of keys, made by `quiver key new`: the root is encrypted under them; not encrypted if empty"
    )
    kms: str = _setting("file", "where KMS keys of indexes are: file, among the keys above, or aws")
    lenient: str = _setting(
        "", "what is accepted beyond S3 Vectors: 1, or a list of filters and metadata or metadata:<bytes>"
    )
    log_level: str = _setting("info", "debug, info, warning or error")
    credentials_file: str = _setting("", "a file of credentials, used when the two below are not set")
    access_key_id: str = _setting("", "access key id of the owner")
    secret_access_key: str = _setting("", "secret access key of the owner", secret=True)

    def __post_init__(self) -> None:
        """Raises SettingsError for the first value out of range."""
        for name, problem in _problems(self):
            raise SettingsError(f"{variable(name)} {problem}")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"QUIVER_{name.upper()}"


def _described() -> tuple[Setting, ...]:
    defaults: list[Any] = [f.default for f in dataclasses.fields(Settings)]
    return tuple(
        Setting(f.name, variable(f.name), None if default == "" else default, f.metadata["help"])
        for f, default in zip(dataclasses.fields(Settings), defaults, strict=True)
    )


SETTINGS = _described()


def load(environment: Mapping[str, str], **given: str | float | None) -> Settings:
    """Settings from the command line (`given`, where not None), else the environment, else the defaults.

    Raises: SettingsError.
    """
    values: dict[str, Any] = {}
    fields = dataclasses.fields(Settings)
    if unknown := given.keys() - {f.name for f in fields}:
        raise SettingsError(f"there is no setting {min(unknown)!r}")
    for f in fields:
        raw = given.get(f.name)
        if raw is None:
            raw = environment.get(variable(f.name), "").strip() or None
        if raw is not None:
            values[f.name] = _READERS[type(f.default)](f.name, raw)
    return Settings(**values)


def to_environment(settings: Settings) -> dict[str, str]:
    """The variables that make another process of this host load equal settings."""
    return {variable(f.name): str(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def local_directory(root: str) -> Path | None:
    """The directory that a root names, absolute; None for a root that is no directory.

    Raises: SettingsError for a file URL of another machine.
    """
    scheme, separator, rest = root.partition(":")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        return Path(root).expanduser().absolute()
    if scheme != "file":
        return None
    parts = urlsplit(root)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise SettingsError(f"QUIVER_ROOT {rest!r} is not on this machine: write file:///path")
    return Path(unquote(parts.path))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listener on `host`. Unknown names count as not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _text(_: str, raw: str | float) -> str:
    return str(raw)


def _integer(name: str, raw: str | float) -> int:
    try:
        return int(raw)
    except ValueError:
        raise SettingsError(f"{variable(name)} must be a whole number") from None


def _number(name: str, raw: str | float) -> float:
    try:
        return float(raw)
    except ValueError:
        raise SettingsError(f"{variable(name)} must be a number") from None


_READERS: dict[type, Callable[[str, str | float], str | float]] = {str: _text, int: _integer, float: _number}


def _leniency_problem(text: str) -> str:
    try:
        read_leniency(text)
    except ValueError as error:
        return str(error)
    return ""


def _throttle(text: str) -> tuple[bool, str]:
    try:
        parse_rates(text)
    except ValueError as error:
        return False, f"cannot be used: {error}"
    return True, ""


def _problems(s: Settings) -> list[tuple[str, str]]:
    access_key = re.fullmatch(r"([A-Za-z0-9_]{3,128})?", s.access_key_id)
    pair = bool(s.secret_access_key) == bool(s.access_key_id)
    rules = [
        ("root", bool(s.root), "must not be empty"),
        ("role", s.role in ROLES, f"must be one of {', '.join(ROLES)}"),
        ("role", s.role == "all" or not s.root.startswith("memory:"), "must be all for a root in memory"),
        ("consistency", s.consistency in CONSISTENCIES, f"must be one of {', '.join(CONSISTENCIES)}"),
        ("staleness_seconds", 0 <= s.staleness_seconds <= 3600, "must be between 0 and 3600"),
        ("patrol_seconds", 1 <= s.patrol_seconds <= 86_400, "must be between 1 and 86400"),
        ("region", re.fullmatch(r"[a-z0-9-]{1,32}", s.region), "must be lower-case letters, digits, hyphens"),
        ("account_id", re.fullmatch(r"[0-9]{12}", s.account_id), "must be 12 digits"),
        ("host", bool(s.host), "must not be empty"),
        ("port", 0 < s.port < 65536, "must be between 1 and 65535"),
        ("workers", 1 <= s.workers <= 256, "must be between 1 and 256"),
        ("workers", s.workers == 1 or s.role != "maintainer", "must be 1 for a maintainer"),
        ("workers", s.workers == 1 or not s.root.startswith("memory:"), "must be 1 for a root in memory"),
        ("admin_host", bool(s.admin_host), "must not be empty"),
        ("admin_port", 0 <= s.admin_port < 65536, "must be between 0 and 65535"),
        ("admin_port", s.admin_port != s.port, "must differ from QUIVER_PORT"),
        ("memory_budget_bytes", s.memory_budget_bytes >= 16 * MIB, "must be at least 16777216 (16 MiB)"),
        ("cache_bytes", s.cache_bytes >= 16 * MIB, "must be at least 16777216 (16 MiB)"),
        ("cache_folder_bytes", s.cache_folder_bytes >= 64 * MIB, "must be at least 67108864 (64 MiB)"),
        (
            "cache_folder_bytes",
            s.cache_folder_bytes >= 16 * MIB * s.workers,
            "must be at least 16777216 (16 MiB) for each worker",
        ),
        ("buffered_bytes", s.buffered_bytes >= 20 * MIB, "must be at least 20971520 (one whole request)"),
        ("load_bytes", s.load_bytes >= 0, "must not be negative"),
        ("throttle", *_throttle(s.throttle)),
        ("flush_rows", 1 <= s.flush_rows <= 10**6, "must be between 1 and 1000000"),
        ("maintenance", s.maintenance in MAINTENANCE, f"must be one of {', '.join(MAINTENANCE)}"),
        ("garbage_age_seconds", s.garbage_age_seconds >= 1, "must be at least 1"),
        ("kms", s.kms in KEY_PROVIDERS, f"must be one of {', '.join(KEY_PROVIDERS)}"),
        ("kms", s.kms == "file" or s.encryption_key_file, "other than file needs QUIVER_ENCRYPTION_KEY_FILE"),
        ("lenient", not (wrong := _leniency_problem(s.lenient)), wrong),
        ("log_level", s.log_level in LOG_LEVELS, f"must be one of {', '.join(LOG_LEVELS)}"),
        ("access_key_id", access_key, "must be 3 to 128 letters, digits or underscores"),
        ("secret_access_key", pair, "and QUIVER_ACCESS_KEY_ID go together"),
    ]
    return [(name, problem) for name, ok, problem in rules if not ok]
