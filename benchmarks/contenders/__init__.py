"""What is compared: Quiver and its peers behind one contract, imported when asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.contenders.contract import Contender


class Place(NamedTuple):
    """Where a contender is written, and the packages it needs."""

    module: str
    classname: str
    packages: tuple[str, ...]


CONTENDERS = {
    "quiver": Place("quiver_library", "QuiverLibrary", ("quiver",)),
    "quiver-kdtree-lsh": Place("quiver_library", "QuiverTree", ("quiver",)),
    "quiver-server": Place("quiver_server", "QuiverServer", ("quiver", "boto3")),
    "quiver-arrow-server": Place("quiver_arrow", "QuiverArrowServer", ("quiver", "boto3")),
    "faiss-flat": Place("faiss_flat", "FaissFlat", ("faiss",)),
    "faiss-rabitq": Place("faiss_rabitq", "FaissRabitq", ("faiss",)),
    "hnswlib": Place("hnsw", "Hnswlib", ("hnswlib",)),
    "lancedb-ivf-pq": Place("lance", "LanceIvfPq", ("lancedb",)),
    "lancedb-hnsw-sq": Place("lance", "LanceHnswSq", ("lancedb",)),
    "chroma": Place("chroma", "ChromaEmbedded", ("chromadb",)),
    "chroma-server": Place("chroma", "ChromaServer", ("chromadb",)),
    "zvec": Place("zvec_hnsw", "Zvec", ("zvec",)),
    "milvus-lite": Place("milvus", "MilvusLite", ("milvus_lite", "pymilvus")),
}

EMBEDDED = tuple(name for name in CONTENDERS if not name.endswith("-server"))
SEARCHED = tuple(name for name in CONTENDERS if name != "quiver-arrow-server")
"""Where queries are compared: by Arrow rows are put faster, but not found faster."""
SERVERS = tuple(name for name in CONTENDERS if name.endswith("-server"))


def missing(name: str) -> str | None:
    """Why a contender cannot run here; None when it can. Raises KeyError for an unknown name."""
    absent = [package for package in CONTENDERS[name].packages if find_spec(package) is None]
    return f"not installed: {', '.join(absent)} (make peers)" if absent else None


def find(name: str) -> type[Contender]:
    """A contender's class. Raises: KeyError, ImportError."""
    place = CONTENDERS[name]
    return getattr(import_module(f"benchmarks.contenders.{place.module}"), place.classname)
