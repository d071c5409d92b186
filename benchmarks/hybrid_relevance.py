"""Benchmark of relevance: words, vectors, and both, for known items among 20,000 package descriptions.

Run: python -m benchmarks.hybrid_relevance. Each of 250 short texts, with its embedding, has one right package.
The index has the packages' embeddings (384 dimensions, cosine) and one text field, synopsis and description. The
measures are the mean reciprocal rank within the first ten (MRR@10) and the share of texts whose package is among
them (hit@10). Everything goes through the library, as a user would ask.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np

import quiver
from benchmarks.common import data_folder, describe_machine, show
from benchmarks.text_relevance import documents, known_items

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quiver.library.connection import Index

K = 10


def embeddings(folder: Path, name: str) -> np.ndarray:
    """Float32 of unit length."""
    rows = np.load(folder / name).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(index: Index, folder: Path) -> None:
    """Load every package with its text."""
    texts = [{"text": text} for text in documents(folder)]
    index.put_many(([str(row) for row in range(len(texts))], embeddings(folder, "base.f16.npy"), texts))


def measure(find: Callable[[int, str], list[str]], items: list[tuple[str, int]]) -> dict[str, float]:
    """MRR@10 and hit@10 of a way to ask."""
    ranks = []
    for number, (text, target) in enumerate(items):
        keys = find(number, text)
        ranks.append(keys.index(str(target)) + 1 if str(target) in keys else 0)
    return {
        "mrr@10": round(sum(1 / rank for rank in ranks if rank) / len(ranks), 4),
        "hit@10": round(sum(rank > 0 for rank in ranks) / len(ranks), 4),
    }


def main() -> None:
    """Print a line for each language and way to ask."""
    folder = data_folder("debian")
    if folder is None:
        raise SystemExit("the data are not here (QUIVER_BENCH_DATA)")
    print(describe_machine(("numpy", "pystemmer")), flush=True)
    items, vectors = known_items(folder), embeddings(folder, "known_item.f16.npy")
    with tempfile.TemporaryDirectory() as root, quiver.connect(root) as connection:
        bucket = connection.create_bucket("packages")
        for language in ("standard", "en"):
            index = bucket.create_index(
                f"words-{language}",
                dimension=vectors.shape[1],
                non_filterable=["text"],
                texts={"text": language},
            )
            fill(index, folder)
            ways: dict[str, Callable[[int, str], list[str]]] = {
                "vector": lambda number, _, at=index: at.query(vectors[number], K, metadata=False).keys,
                "words": lambda _, text, at=index: at.query(k=K, texts={"text": text}, metadata=False).keys,
                "both": lambda number, text, at=index: (
                    at.query(vectors[number], K, texts={"text": text}, metadata=False).keys
                ),
            }
            for name, find in ways.items():
                show({"analyzer": language, "asked by": name} | measure(find, items))


if __name__ == "__main__":
    main()
