"""Sample rows that every partitioner and every codec has to survive, and states they have to refuse."""

from __future__ import annotations

import numpy as np
import pytest

from quiver.model.errors import CorruptObjectError
from quiver.model.types import DistanceMetric

METRICS = pytest.mark.parametrize("metric", list(DistanceMetric), ids=str)
HOSTILE = [b"\0", b"x", bytes(64), b"\xff" * 64, bytes(range(256)) * 16]
DIMENSIONS = [1, 2, 7, 64, 300]


def gaussian(rows: int, dimension: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)


def clustered(rows: int, dimension: int, clusters: int, seed: int = 0, skew: float = 0.0) -> np.ndarray:
    """Rows round `clusters` centres; the share of the i-th cluster falls with i to the power of `skew`."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1, clusters + 1) ** -skew
    members = rng.choice(clusters, size=rows, p=shares / shares.sum())
    centres = rng.normal(size=(clusters, dimension))
    return (centres[members] + 0.2 * rng.normal(size=(rows, dimension))).astype(np.float32)


def tame_samples() -> dict[str, np.ndarray]:
    """Training sets whose squared distances float32 can hold (`space.is_tame`)."""
    return {
        "one row": gaussian(1, 8),
        "fewer rows than partitions": gaussian(3, 8),
        "copies of one row": np.repeat(gaussian(1, 8), 50, axis=0),
        "two directions": np.repeat(np.eye(2, 8, dtype=np.float32), 25, axis=0),
        "many rows": gaussian(500, 8),
        "clusters": clustered(400, 16, 12, skew=1.0),
        "a third of copies": np.concatenate([gaussian(200, 8), np.repeat(gaussian(1, 8, seed=1), 100, axis=0)]),
        "dimension one": gaussian(100, 1),
        "mixed magnitudes": gaussian(60, 8) * np.logspace(-6, 6, 60, dtype=np.float32)[:, None],
    }


def samples() -> dict[str, np.ndarray]:
    """Training sets of every finite magnitude."""
    return tame_samples() | {
        "huge": gaussian(60, 8) * np.float32(1e38 / 5),
        "tiny": gaussian(60, 8) * np.float32(1e-30),
        "all magnitudes": gaussian(60, 8) * np.logspace(-30, 30, 60, dtype=np.float32)[:, None],
    }


SAMPLES = pytest.mark.parametrize("sample", samples().values(), ids=samples().keys())
TAME_SAMPLES = pytest.mark.parametrize("sample", tame_samples().values(), ids=tame_samples().keys())


def assert_hostile_states_are_refused(kind, state):
    """`state` is what a `kind` trained on 8 dimensions stores."""
    broken = [*HOSTILE, state + b"\0", state[:-1]] if state else [*HOSTILE]
    for each in broken:
        with pytest.raises(CorruptObjectError):
            kind.decode(memoryview(each), 8)
    if state:
        with pytest.raises(CorruptObjectError):
            kind.decode(memoryview(state), 9)
