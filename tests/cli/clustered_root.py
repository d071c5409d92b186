"""A root that commands are tried on: an index that is partitioned and a small one, of rows in clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from typer.testing import CliRunner

import quiver
from quiver.cli.main import app

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ROWS, DIMENSION = 6_000, 384  # just more than a segment that is scanned whole holds
SPREAD = 0.7  # of rows about their centre


def centres() -> NDArray[np.float64]:
    """Of the clusters, shape (40, DIMENSION)."""
    return np.random.default_rng(5).normal(size=(40, DIMENSION))


def make_root(path: Path, **spec: Any) -> str:
    """A new root whose bucket `demo` has `coded` (of this specification), `small` (50 rows) and `empty`."""
    rng = np.random.default_rng(6)
    rows = centres()[rng.integers(0, 40, ROWS)] + SPREAD * rng.normal(size=(ROWS, DIMENSION))
    vectors, keys = rows.astype(np.float32), [f"k{number}" for number in range(ROWS)]
    with quiver.connect(str(path)) as connection:
        coded = connection.create_bucket("demo").create_index("coded", dimension=DIMENSION, **spec)
        coded.put_many((keys, vectors, [{"part": number % 100} for number in range(ROWS)]))
    assert CliRunner().invoke(app, ["compact", str(path)]).exit_code == 0
    with quiver.connect(str(path)) as connection:
        bucket = connection.bucket("demo")
        bucket.create_index("small", dimension=DIMENSION).put(keys[:50], vectors[:50])
        bucket.create_index("empty", dimension=DIMENSION)
    return str(path)
