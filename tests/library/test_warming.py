"""`index.warm`: what it fetches ahead, and that it does nothing where nothing is cached."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import quiver
from distant import DistantDirectory
from quiver import assemble
from quiver.model.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> str:
    path = str(tmp_path / "data")
    with quiver.connect(path) as db:
        index = db.create_bucket("demo").create_index("words", dimension=4)
        index.put_many(([f"k{n}" for n in range(20_000)], np.ones((20_000, 4), np.float32)))
    return path


def test_a_directory_needs_no_warming(root: str) -> None:
    with quiver.connect(root) as db:
        assert db.bucket("demo").index("words").warm(whole=True) == 0
        with pytest.raises(NotFoundError):
            db.bucket("demo").index("nothing").warm()


def test_a_remote_index_is_at_hand_afterwards(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "LocalStore", DistantDirectory)
    told: list[tuple[str, int, int]] = []
    with quiver.connect(root) as db:
        index = db.bucket("demo").index("words")
        nbytes = index.warm(whole=True, progress=lambda *what: told.append(what))
        assert nbytes > 0
        assert told[-1] == ("warm", nbytes, nbytes)
