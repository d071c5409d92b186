"""Prices: those that come with Quiver, those of a file, and which a root has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from quiver.objectstore.metered_store import Spent
from quiver.prices import GB, TB, load_prices, store_of
from quiver.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

MINE = """
[minio]
title = "the cellar"
as_of = "2026-01"
storage_gb_month = 0.01
put_million = 1
list_million = 2
get_million = 3
delete_million = 4
upload_gb = 5
download_gb = 6
table_write_million = 7
table_read_million = 8
"""


def test_each_kind_of_request_and_byte_has_its_price(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    prices = load_prices(str(file)).stores
    assert set(prices) == {"s3-standard", "s3-express", "own", "minio"}
    minio = prices["minio"]
    assert minio.storage_gb_month == 0.01
    parts = {"puts": 1e-6, "lists": 2e-6, "gets": 3e-6, "deletes": 4e-6, "sent": 5 / GB, "received": 6 / GB}
    parts |= {"table_writes": 7e-6, "table_reads": 8e-6}
    for part, price in parts.items():
        assert minio.dollars(Spent(**{part: 10})) == pytest.approx(10 * price)
    assert minio.dollars(Spent(1, 1, 1, 1, 1, 1, 1, 1)) == pytest.approx(sum(parts.values()))


def test_a_file_may_leave_the_prices_of_tables_out(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("\n".join(line for line in MINE.splitlines() if not line.startswith("table_")))
    assert load_prices(str(file)).stores["minio"].dollars(Spent(table_writes=1e6, table_reads=1e6)) == 0


def test_a_file_takes_the_place_of_single_tables(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE.replace("[minio]", "[own]"))
    mine, default = load_prices(str(file)), load_prices()
    assert mine.stores["own"].title == "the cellar"
    assert default.stores["own"].dollars(Spent(9, 9, 9, 9, 9, 9)) == 0
    assert mine.stores["s3-standard"] == default.stores["s3-standard"]
    assert mine.vectors == default.vectors


@pytest.mark.parametrize(
    "text", ["[own", "[own]\nput_million = 1", MINE + "postage = 1", MINE.replace("= 3", "= 'three'"), "own = 1"]
)
def test_a_file_that_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=r"mine\.toml"):
        load_prices(str(file))


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml"):
        load_prices(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("root", "environment", "name"),
    [
        ("./data", {}, "own"),
        ("file:///data", {}, "own"),
        ("memory:", {}, "own"),
        ("s3://bucket/prefix", {}, "s3-standard"),
        ("s3://bucket/prefix?region=eu-west-1", {}, "s3-standard"),
        ("s3://bucket--use1-az4--x-s3/prefix", {}, "s3-express"),
        ("s3://bucket/prefix", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}, "own"),
        ("s3://bucket/prefix", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000"}, "own"),
        ("s3://bucket/prefix?endpoint=https://minio.internal", {}, "own"),
        ("gs://bucket/prefix", {}, "gs"),
        ("az://container/prefix?account=name", {}, "az"),
        ("abfss://container@account.dfs.core.windows.net/prefix", {}, "az"),
    ],
)
def test_the_prices_of_a_root_follow_from_its_url(root: str, environment: dict[str, str], name: str) -> None:
    assert store_of(root, environment) == name


def test_a_root_that_is_none_has_no_prices() -> None:
    with pytest.raises(SettingsError):
        store_of("ftp://bucket", {})


def test_a_query_passes_over_vectors_by_tiers() -> None:
    prices = load_prices().vectors
    assert prices.processing(50_000, TB) == pytest.approx(50_000 * 0.004)
    assert prices.processing(250_000, TB) == pytest.approx(100_000 * 0.004 + 150_000 * 0.002)
    assert prices.processing(12_000_000, TB) == pytest.approx(100_000 * 0.004 + 9_900_000 * 0.002 + 2e6 * 0.0004)
