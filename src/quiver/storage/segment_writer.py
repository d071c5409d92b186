"""Writes a segment: its rows as Parquet, then the index derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from quiver.ann import registry
from quiver.ann.distance import norms
from quiver.format import paths, rows_parquet, segment_index
from quiver.format.keys import key_hashes
from quiver.format.metadata_columns import MetadataColumns
from quiver.objectstore.store import ObjectExistsError, ObjectNotFoundError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from quiver.ann.codec import Codec
    from quiver.ann.partitioner import Partitioner
    from quiver.model.runtime import Runtime
    from quiver.model.types import IndexSpec, VectorBatch
    from quiver.objectstore.store import Buffer, ObjectStore

_SEED = 7  # partitioners and codecs learn the same from the same rows on every node


class BuiltSegment(NamedTuple):
    """A segment in memory, before it has a name.

    Attributes:
        order: for each row of the segment, its row in the batch it was built from. Shape (rows,).
        nbytes: size of both objects, about.
    """

    rows_file: rows_parquet.RowsFile
    footer: segment_index.Footer
    sections: dict[str, bytes | NDArray[np.generic]]
    order: NDArray[np.int64]
    nbytes: int


def build_segment(batch: VectorBatch, spec: IndexSpec) -> BuiltSegment:
    """Partition, encode and lay out rows with distinct keys. CPU only; may take seconds."""
    partitioner = registry.partitioner(spec.partitioner).train(batch.vectors, 1, _SEED)
    assigned = partitioner.assign(batch.vectors)
    order = np.argsort(assigned, kind="stable")
    ends = np.cumsum(np.bincount(assigned, minlength=partitioner.count))
    keys = [batch.keys[row] for row in order]
    metadata = [batch.metadata[row] for row in order]
    vectors = batch.vectors[order]
    rows_file = rows_parquet.build(keys, vectors, metadata)
    codec, codes = _encode(vectors, partitioner, ends.tolist(), spec)
    hashes = key_hashes(keys)
    by_hash = np.argsort(hashes, kind="stable")
    sections: dict[str, bytes | NDArray[np.generic]] = {
        "key_hashes": hashes[by_hash],
        "key_rows": by_hash.astype(np.uint32),
        "key_offsets": rows_file.keys,
        "metadata_offsets": rows_file.metadata,
        "norms": norms(vectors),
        "columns": MetadataColumns.build(metadata, spec.non_filterable).encode(),
        "blocks": np.array(segment_index.block_digests(rows_file.data), np.uint64),
    }
    if codes is not None:
        sections["codes"] = codes
    footer = segment_index.Footer(
        version=segment_index.VERSION,
        key="",
        owner="",
        rows=len(keys),
        dimension=spec.dimension,
        metric=spec.metric.value,
        partitioner=partitioner.name,
        partitioner_state=partitioner.encode(),
        codec=codec.name,
        codec_state=codec.encode(),
        partition_ends=ends.tolist(),
        rows_size=len(rows_file.data),
        runs=rows_file.runs,
        sections={},
    )
    nbytes = len(rows_file.data) + sum(
        part.nbytes if isinstance(part, np.ndarray) else len(part) for part in sections.values()
    )
    return BuiltSegment(rows_file, footer, sections, order, nbytes)


def _encode(
    vectors: NDArray[np.float32], partitioner: Partitioner, ends: Sequence[int], spec: IndexSpec
) -> tuple[Codec, NDArray[np.uint8] | None]:
    """The trained codec, and the codes in row order unless the rows are the codes."""
    starts = [0, *ends[:-1]]
    sizes = [end - start for start, end in zip(starts, ends, strict=True)]
    origins = np.stack([partitioner.origin(number) for number in range(partitioner.count)])
    codec = registry.codec(spec.codec).train(vectors, np.repeat(origins, sizes, axis=0), _SEED)
    if codec.codes_are_rows:
        return codec, None
    parts = [
        codec.encode_rows(vectors[start:end], origins[number])
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    return codec, np.concatenate(parts)


async def write_segment(
    store: ObjectStore, runtime: Runtime, root: str, owner: str, segment: str, built: BuiltSegment
) -> None:
    """Create both objects of segment `segment` under `root`.

    The name is new and random, so an object found there is our own earlier attempt.
    Raises StoreRefusedError, StoreUnavailableError.
    """
    key = paths.segment_key(root, segment, paths.SEGMENT_INDEX)
    footer = msgspec.structs.replace(built.footer, key=key, owner=owner)
    await _create(store, runtime, paths.segment_key(root, segment, paths.ROWS), [built.rows_file.data])
    runtime.reach("segment:rows_written")
    await _create(store, runtime, key, segment_index.encode(footer, built.sections))
    runtime.reach("segment:written")


async def _create(store: ObjectStore, runtime: Runtime, key: str, parts: Sequence[Buffer]) -> None:
    for attempt in range(6):
        try:
            await store.put_new(key, parts)
        except ObjectExistsError:
            try:
                await store.get(key, 0, 1)
            except ObjectNotFoundError:
                pass  # a conflict reported as existence: try again
            else:
                return
        except StoreUnavailableError:
            pass
        else:
            return
        await runtime.sleep(0.05 * 2**attempt * (0.5 + runtime.random()))
    raise StoreUnavailableError(f"{key}: not written after several attempts")
