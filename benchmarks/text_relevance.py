"""Benchmark of relevance: known items among 20,000 package descriptions, beside bm25s and tantivy.

Run: python -m benchmarks.text_relevance. Each of 250 short texts has one right package; the measure is the mean
reciprocal rank within the first ten (MRR@10), ties broken by row. The text of a package is its synopsis and its
description. All three get the terms of Quiver's analyzers, so that only ranking differs; bm25s (method lucene) and
tantivy have k1 1.2 and b 0.75, too. Also shown: how often the first hit is the same, and the largest difference
between a score of Quiver and one of bm25s, which has float32.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.common import data_folder, describe_machine, show
from quiver.text.analysis import analyzer
from quiver.text.bm25 import distinct, weights
from quiver.text.postings import BytesBody, Postings
from quiver.text.postings_builder import PostingsBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

K = 10

Hits = list[tuple[int, float]]
"""Row and score, best first."""


def documents(folder: Path) -> Iterator[str]:
    """The texts of the packages, in the order of rows."""
    with gzip.open(folder / "docs.jsonl.gz", "rt") as lines:
        for line in lines:
            package = json.loads(line)
            yield f"{package['synopsis']}. {package['description']}"


def known_items(folder: Path) -> list[tuple[str, int]]:
    """Query and the row of the right package."""
    with (folder / "known_item.jsonl").open() as lines:
        return [(item["text"], item["target"]) for item in map(json.loads, lines)]


def quiver(rows: list[list[str]], queries: list[list[str]]) -> list[Hits]:
    """Quiver's hits."""
    builder = PostingsBuilder()
    for row, terms in enumerate(rows):
        builder.add(row, terms)
    head, body = builder.finish(len(rows))
    postings = Postings(head, BytesBody(body))
    found = []
    for query in queries:
        repeats = distinct(query)
        lists = postings.find(list(repeats))
        weighted = weights(postings.documents, lists.frequencies.tolist(), repeats.values())
        hits = postings.search(lists, weighted, postings.tokens / postings.documents, None, K)
        found.append(list(zip(hits.rows.tolist(), hits.scores.tolist(), strict=True))[:K])
    return found


def bm25s(rows: list[list[str]], queries: list[list[str]]) -> list[Hits]:
    """Those of bm25s, whose order of ties is replaced by that of rows."""
    import bm25s

    index = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    index.index(rows, show_progress=False)
    found = []
    for query in queries:
        scores = index.get_scores(query)
        order = np.lexsort((np.arange(len(scores)), -scores))[:K]
        found.append([(int(row), float(scores[row])) for row in order if scores[row] > 0])
    return found


def tantivy(rows: list[list[str]], queries: list[list[str]]) -> list[Hits]:
    """Those of tantivy."""
    import tantivy

    builder = tantivy.SchemaBuilder().add_unsigned_field("row", stored=True)
    schema = builder.add_text_field("text", tokenizer_name="whitespace", index_option="freq").build()
    index = tantivy.Index(schema)
    writer = index.writer(heap_size=500_000_000, num_threads=1)
    for row, terms in enumerate(rows):
        writer.add_document(tantivy.Document(row=row, text=" ".join(terms)))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    found = []
    for query in queries:
        terms = [
            (tantivy.Occur.Should, tantivy.Query.term_query(schema, "text", term, index_option="freq"))
            for term in query
        ]
        hits = searcher.search(tantivy.Query.boolean_query(terms), K).hits
        found.append([(searcher.doc(address)["row"][0], score) for score, address in hits])
    return found


def reciprocal_rank(hits: Hits, target: int) -> float:
    """1 / rank of the target among the hits, 0 when it is not there."""
    rows = [row for row, _ in hits]
    return 1 / (1 + rows.index(target)) if target in rows else 0.0


def largest_difference(one: list[Hits], other: list[Hits]) -> float:
    """Of scores of the same rank."""
    pairs = (pair for hits in zip(one, other, strict=True) for pair in zip(*hits, strict=True))
    return max(abs(left - right) for (_, left), (_, right) in pairs)


def main() -> None:
    """Print a line for each analyzer and system."""
    folder = data_folder("debian")
    if folder is None:
        raise SystemExit("the data are not here (QUIVER_BENCH_DATA)")
    print(describe_machine(("numpy", "pystemmer", "bm25s", "tantivy")), flush=True)
    items, texts = known_items(folder), list(documents(folder))
    for language in ("standard", "en"):
        analyze = analyzer(language).terms
        rows, queries = [analyze(text) for text in texts], [analyze(text) for text, _ in items]
        ours = quiver(rows, queries)
        for name, hits in (("quiver", ours), ("bm25s", bm25s(rows, queries)), ("tantivy", tantivy(rows, queries))):
            ranks = [reciprocal_rank(each, target) for each, (_, target) in zip(hits, items, strict=True)]
            same = sum(one[:1] and one[0][0] == other[0][0] for one, other in zip(ours, hits, strict=True))
            figures = {"mrr@10": round(sum(ranks) / len(ranks), 4), "same_first": int(same)}
            if name == "bm25s":
                figures["score_difference"] = float(f"{largest_difference(ours, hits):.1e}")
            show({"analyzer": language, "system": name} | figures)


if __name__ == "__main__":
    main()
