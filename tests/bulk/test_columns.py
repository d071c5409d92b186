"""Which columns hold what, when the user says so and when not."""

from __future__ import annotations

from typing import Any

import pytest

from quiver.bulk.columns import Chosen, Columns
from quiver.model.errors import ValidationError


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["key", "vector"], Chosen("key", "vector", None, ())),
        (["id", "data", "metadata"], Chosen("id", "data", "metadata", ())),
        (["id", "key", "data", "vector"], Chosen("key", "vector", None, ("id", "data"))),
        (["a", "vector", "b", "key"], Chosen("key", "vector", None, ("a", "b"))),
        (["a", "vector", "metadata", "key"], Chosen("key", "vector", "metadata", ())),
    ],
)
def test_defaults(names: list[str], chosen: Chosen) -> None:
    assert Columns().choose(names) == chosen


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (Columns(key="a"), Chosen("a", "vector", None, ("b", "key"))),
        (Columns(vector="b"), Chosen("key", "b", None, ("a", "vector"))),
        (Columns(metadata="a"), Chosen("key", "vector", "a", ())),
        (Columns(metadata=("b", "a")), Chosen("key", "vector", None, ("b", "a"))),
        (Columns(metadata=()), Chosen("key", "vector", None, ())),
        (Columns("a", "b", "key"), Chosen("a", "b", "key", ())),
    ],
)
def test_choices(columns: Columns, chosen: Chosen) -> None:
    assert columns.choose(["a", "b", "key", "vector"]) == chosen


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        (Columns(), ["vector"], "there is no column 'key' or 'id'"),
        (Columns(), ["key"], "there is no column 'vector' or 'data'"),
        (Columns(key="x"), ["key", "vector"], "there is no column 'x'"),
        (Columns(metadata="x"), ["key", "vector"], "there is no column 'x'"),
        (Columns(metadata=["key", "x"]), ["key", "vector"], "there is no column 'x'"),
        (Columns(), ["key", "vector", "a", "a"], "there is more than one column 'a'"),
    ],
)
def test_columns_that_are_missing_or_ambiguous(columns: Columns, names: list[str], message: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        columns.choose(names, "rows.parquet")
    assert caught.value.message == f"rows.parquet: {message}"
