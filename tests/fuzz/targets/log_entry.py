"""Log entries: the directory of parts, and each part as the catalog and an index apply it."""

from __future__ import annotations

import numpy as np

from quiver.engine.native.state import IndexState
from quiver.format.log_entry import Part, PartKind, decode, encode
from quiver.format.rows import encode_delete, encode_put
from quiver.format.text_change import encode as encode_change
from quiver.model.errors import DataError
from quiver.model.types import DistanceMetric, IndexSpec, TextField, VectorBatch
from quiver.service import catalog_commands
from quiver.service.catalog_state import CatalogState

SPEC = IndexSpec(2, DistanceMetric.COSINE)
BATCH = VectorBatch(["a", "\u00e9"], np.array([[1, 2], [3, 4]], np.float32), [b'{"n":1}', b"{}"])
COMMANDS = [
    catalog_commands.encode(command)
    for command in (
        catalog_commands.CreateBucket("bucket", 5, {"sseType": "AES256"}, {"a": "b"}),
        catalog_commands.CreateIndex("bucket", "index", "c" * 32, SPEC, 6, {"sseType": "AES256"}, None, {}),
        catalog_commands.DropIndex("c" * 32),
    )
]
SEEDS = [
    b"".join(encode(parts))
    for parts in (
        [Part(PartKind.PUT, bytes(encode_put(BATCH))), Part(PartKind.DELETE, bytes(encode_delete(["a", "b"])))],
        [Part(PartKind.CATALOG, command) for command in COMMANDS],
        [Part(PartKind.CONFIGURE, encode_change([TextField("title", "en")], ["body"]))],
        [Part(PartKind.NOTHING, b""), Part(PartKind.SEAL, b"")],
    )
]


def run(data: bytes) -> None:
    """The payload of a log entry."""
    try:
        parts = decode("key", memoryview(data))
    except DataError:
        return
    assert sum(len(part.body) for part in parts) <= len(data)
    index, catalog = IndexState(SPEC), CatalogState()
    for part in parts[:50]:
        try:
            if part.kind == PartKind.CATALOG:
                catalog.apply(catalog_commands.decode(part.body))
            else:
                index.apply(1, part)
        except DataError:
            continue
