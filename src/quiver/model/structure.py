"""The names an index structure is chosen by, its defaults and its limits.

Apart from the other records because command-line parsing needs them and must not wait for NumPy to load.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

PartitionerName: TypeAlias = Literal["kmeans", "kdtree", "single"]
CodecName: TypeAlias = Literal["rabitq", "sq8", "pq", "lsh", "flat"]

PARTITIONERS: tuple[str, ...] = get_args(PartitionerName)
CODECS: tuple[str, ...] = get_args(CodecName)

DEFAULT_PARTITIONER: PartitionerName = "kmeans"
DEFAULT_CODEC: CodecName = "rabitq"
DEFAULT_RECALL = 0.98

MIN_RECALL, MAX_RECALL = 0.5, 1.0
"""The target recall at `MAX_RECALL` has every segment searched exactly."""
