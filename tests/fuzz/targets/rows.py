"""The Arrow streams of put and delete parts."""

from __future__ import annotations

import numpy as np

from quiver.format.rows import decode_delete, decode_put, encode_delete, encode_put
from quiver.model.errors import DataError
from quiver.model.types import VectorBatch

DIMENSION = 3
BATCH = VectorBatch(["a", "\u00e9"], np.arange(6, dtype=np.float32).reshape(2, 3), [b'{"n":1}', b"{}"])
SEEDS = [bytes(encode_put(BATCH)), bytes(encode_delete(["a", "", "\U0001f600" * 9]))]


def run(data: bytes) -> None:
    """One body, as either."""
    try:
        batch = decode_put(data, DIMENSION)
    except DataError:
        pass
    else:
        assert batch.vectors.shape == (len(batch.keys), DIMENSION)
        assert len(batch.metadata) == len(batch.keys)
        assert all(isinstance(key, str) for key in batch.keys)
        batch.vectors.tobytes()  # touches every row
    try:
        keys = decode_delete(data)
    except DataError:
        return
    assert all(isinstance(key, str) for key in keys)
