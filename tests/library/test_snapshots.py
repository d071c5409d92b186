"""Snapshots and clones through the library, over the real engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import quiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "data")


@pytest.fixture
def index(root: str) -> Iterator[Any]:
    with quiver.connect(root) as db:
        made = db.create_bucket("demo").create_index("words", dimension=2, metric="euclidean")
        made.put(["a", "b"], [[1, 0], [2, 0]])
        yield made


def test_a_snapshot_is_made_shown_cloned_and_deleted(index: Any) -> None:
    made = index.snapshot("monday")
    assert (made.name, made.vectors, made.created > 1e9, made.nbytes > 0) == ("monday", 2, True, True)
    index.delete(["a"])
    assert index.snapshots() == [made]
    clone = index.clone("demo", "words-on-monday", snapshot="monday")
    assert (sorted(clone), sorted(index)) == (["a", "b"], ["b"])
    index.delete_snapshot("monday")
    assert index.snapshots() == []
    assert sorted(clone) == ["a", "b"]


def test_a_clone_of_the_present_is_written_on_its_own(index: Any) -> None:
    clone = index.clone("demo", "copy")
    clone.put(["c"], [[3, 0]])
    index.put(["d"], [[4, 0]])
    assert (sorted(clone), sorted(index)) == (["a", "b", "c"], ["a", "b", "d"])
    assert clone.query([3, 0], k=1).keys == ["c"]


def test_errors_are_those_of_the_service(index: Any) -> None:
    index.snapshot("one")
    with pytest.raises(quiver.errors.ConflictError):
        index.snapshot("one")
    with pytest.raises(quiver.errors.NotFoundError):
        index.delete_snapshot("two")
    with pytest.raises(quiver.errors.NotFoundError):
        index.clone("demo", "new", snapshot="two")
    with pytest.raises(quiver.errors.ConflictError):
        index.clone("demo", "words")
    with pytest.raises(quiver.errors.ValidationError):
        index.snapshot("No Such Name")


def test_snapshots_outlive_the_process(index: Any, root: str) -> None:
    index.snapshot("one")
    index.delete(["a", "b"])
    with quiver.connect(root) as db:
        again = db.bucket("demo").index("words")
        assert [each.name for each in again.snapshots()] == ["one"]
        assert sorted(again.clone("demo", "old", snapshot="one")) == ["a", "b"]
