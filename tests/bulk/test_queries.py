"""Queries from files: any form, without keys, checked, and sampled in bounded memory."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.bulk.reading import refusal

from quiver.bulk.queries import read_queries
from quiver.model.types import DistanceMetric, IndexSpec

if TYPE_CHECKING:
    from pathlib import Path

SPEC = IndexSpec(2, DistanceMetric.COSINE)


def numbers(count: int) -> Any:
    return np.array([[n + 1, 1] for n in range(count)], np.float32)


def test_only_the_column_of_vectors_is_needed(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "embedding": numbers(2).astype(np.float64).tolist(), "metadata": [1, 2]})
    pq.write_table(table, tmp_path / "q.parquet")
    assert read_queries(tmp_path / "q.parquet", SPEC, column="embedding").tolist() == [[1, 1], [2, 1]]
    (tmp_path / "q.jsonl").write_text('{"data": {"float32": [1, 2]}, "metadata": 3}\n\n{"data": [3, 4]}\n')
    assert read_queries(tmp_path / "q.jsonl", SPEC).tolist() == [[1, 2], [3, 4]]
    assert "there is no column 'vector' or 'data'" in refusal(lambda: read_queries(tmp_path / "q.parquet", SPEC))


def test_every_query_is_checked_also_when_it_is_not_chosen(tmp_path: Path) -> None:
    lines = [json.dumps({"vector": vector}) for vector in [*numbers(5).tolist(), [0, 0]]]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    message = refusal(lambda: read_queries(tmp_path / "q.jsonl", SPEC, sample=2))
    assert message.startswith(f"{tmp_path}/q.jsonl: vectors[5]")
    assert "zero norm" in message


def test_a_file_without_vectors_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", numbers(0).reshape(0, 2))
    assert refusal(lambda: read_queries(tmp_path / "q.npy", SPEC)) == f"{tmp_path}/q.npy: there are no vectors"


def test_a_sample_is_in_order_the_same_for_a_seed_and_of_all_rows_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", numbers(3_000))  # read in three parts
    once = read_queries(tmp_path / "q.npy", SPEC, sample=100, seed=4)[:, 0].tolist()
    assert once == sorted(set(once))
    assert len(once) == 100
    assert once == read_queries(tmp_path / "q.npy", SPEC, sample=100, seed=4)[:, 0].tolist()
    thirds = Counter[int]()
    for seed in range(30):
        thirds.update(
            int(n - 1) // 1000 for n in read_queries(tmp_path / "q.npy", SPEC, sample=100, seed=seed)[:, 0]
        )
    assert all(900 <= thirds[part] <= 1100 for part in range(3)), thirds


def test_a_sample_of_fewer_is_all(tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", numbers(4))
    assert len(read_queries(tmp_path / "q.npy", SPEC, sample=4)) == 4
    assert len(read_queries(tmp_path / "q.npy", SPEC, sample=9)) == 4
