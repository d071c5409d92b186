"""What stores charge: a table in a file that users can replace (prices.toml), and sums by it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from quiver.objectstore.location import parse
from quiver.settings import SettingsError, local_directory

if TYPE_CHECKING:
    from collections.abc import Mapping

GB = 2**30
TB = 2**40
MILLION = 1_000_000
COMPARED = "s3-vectors"

_OWN_FILE = Path(__file__).with_name("prices.toml")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class Asked(Protocol):
    """Requests to a store, and bytes sent and received; see `metered_store.Spent`."""

    @property
    def puts(self) -> float: ...
    @property
    def gets(self) -> float: ...
    @property
    def lists(self) -> float: ...
    @property
    def deletes(self) -> float: ...
    @property
    def sent(self) -> float: ...
    @property
    def received(self) -> float: ...
    @property
    def table_writes(self) -> float: ...
    @property
    def table_reads(self) -> float: ...


class StorePrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars that an object store charges, by month and GB, by a million requests, by GB sent and received.

    `table_...` are for a commit store: by a million request units of its table.
    """

    title: str
    as_of: str
    storage_gb_month: float
    put_million: float
    list_million: float
    get_million: float
    delete_million: float
    upload_gb: float
    download_gb: float
    table_write_million: float = 0.0
    table_read_million: float = 0.0

    def dollars(self, asked: Asked) -> float:
        """What requests and their bytes cost; storage apart."""
        requests = (
            asked.puts * self.put_million
            + asked.lists * self.list_million
            + asked.gets * self.get_million
            + asked.deletes * self.delete_million
            + asked.table_writes * self.table_write_million
            + asked.table_reads * self.table_read_million
        )
        return requests / MILLION + (asked.sent * self.upload_gb + asked.received * self.download_gb) / GB


class Processed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Dollars for each TB of the vectors of an index up to this number that a query passes over."""

    vectors: int
    tb: float


class VectorsPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the managed service charges; `put_least_bytes` are counted for a smaller request."""

    title: str
    as_of: str
    storage_gb_month: float
    put_gb: float
    put_least_bytes: int
    query_million: float
    query_page: int
    returned_gb: float
    returned_free_bytes: int
    processed: list[Processed]

    def processing(self, vectors: int, nbytes: float) -> float:
        """Dollars for one query of an index of so many vectors, of so many bytes each that it passes over."""
        dollars, passed = 0.0, 0
        for tier in self.processed:
            part = max(0, min(vectors, tier.vectors) - passed)
            dollars += part * nbytes / TB * tier.tb
            passed += part
        return dollars


class Prices(msgspec.Struct, frozen=True):
    """All tables: of stores by name, and of the service to compare with."""

    stores: dict[str, StorePrices]
    vectors: VectorsPrices


def load_prices(file: str = "") -> Prices:
    """The prices that come with Quiver, with those of a file in their place. Raises: SettingsError."""
    tables = _read(_OWN_FILE) | (_read(Path(file).expanduser()) if file else {})
    try:
        vectors = msgspec.convert(tables.pop(COMPARED), VectorsPrices)
        return Prices(msgspec.convert(tables, dict[str, StorePrices]), vectors)
    except msgspec.ValidationError as error:
        raise SettingsError(f"the prices in {file} cannot be used: {error}") from error


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"the prices in {file} cannot be read: {error}") from error


def store_of(root: str, environment: Mapping[str, str]) -> str:
    """The name of the table for a root.

    `own` for directories, memory and buckets behind an endpoint that was configured, `s3-express` for directory
    buckets, `s3-standard` for other buckets of Amazon's; `gs` or `az` for Google and Azure, for which a file of
    prices may have a table. Raises: SettingsError.
    """
    if local_directory(root) is not None or root.startswith("memory:"):
        return "own"
    try:
        location = parse(root)
    except ValueError as error:
        raise SettingsError(f"QUIVER_ROOT cannot be used: {error}") from error
    if location.scheme != "s3":
        return "gs" if location.scheme == "gs" else "az"
    if "endpoint" in location.options or any(environment.get(name) for name in _ENDPOINTS):
        return "own"
    return "s3-express" if location.express else "s3-standard"
