"""Benchmark of full-text search in one segment against tantivy: the same words, one process and one thread each.

Run: python -m benchmarks.text_qps [documents]. Documents are 10 to 50 words, drawn independently of each other
from a Zipf law over 500,000 words: as frequent as words of a language, and like them in nothing else.
Quiver is its text floor alone (analysis, postings, search of one segment in memory), tantivy an index in memory of
one segment; both take every word as it stands, have BM25 with k1 1.2 and b 0.75, and queries of which any word
suffices. Quiver's scores are exact float64 and hits include all that tie with the last; tantivy's are float32 with
lengths rounded. Times are of the thread's processor, the least of five; medians over the queries.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.common import describe_machine, show
from quiver.text.analysis import analyzer
from quiver.text.bm25 import distinct, weights
from quiver.text.postings import BytesBody, Postings
from quiver.text.postings_builder import PostingsBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTS, VOCABULARY, EXPONENT = 1_000_000, 500_000, 1.07
CHUNK, QUERIES, REPEATS = 10_000, 40, 5
RANKS = {"common": (10, 300), "rare": (5_000, 100_000)}
"""From which ranks of frequency the words of a query come."""


class Shape(NamedTuple):
    """How many words of a query are common, and how many rare."""

    common: int
    rare: int


SHAPES = (Shape(1, 0), Shape(0, 1), Shape(2, 0), Shape(1, 1), Shape(0, 2), Shape(4, 0), Shape(2, 2), Shape(0, 4))


def texts(count: int) -> Iterator[str]:
    """Texts of the corpus, always the same."""
    rng = np.random.default_rng(1)
    cumulative = np.cumsum(np.arange(1, VOCABULARY + 1) ** -EXPONENT)
    names = [f"w{rank}" for rank in range(VOCABULARY)]
    for first in range(0, count, CHUNK):
        lengths = rng.integers(10, 51, min(CHUNK, count - first))
        drawn = np.searchsorted(cumulative, rng.random(lengths.sum()) * cumulative[-1])
        for numbers in np.split(drawn, np.cumsum(lengths)[:-1]):
            yield " ".join([names[number] for number in numbers.tolist()])


def queries(shape: Shape) -> list[list[str]]:
    """Queries of distinct words."""
    rng = np.random.default_rng(2)
    return [
        [
            f"w{rank}"
            for kind, words in shape._asdict().items()
            for rank in rng.choice(np.arange(*RANKS[kind]), words, replace=False).tolist()
        ]
        for _ in range(QUERIES)
    ]


class QuiverText:
    """The text floor of Quiver."""

    def __init__(self, count: int) -> None:
        words, builder = analyzer("standard"), PostingsBuilder()
        before = memory()
        for row, text in enumerate(texts(count)):
            builder.add(row, words.terms(text))
        self.builder_bytes = memory() - before
        head, body = builder.finish(count)
        self.nbytes = len(head) + len(body)
        self._postings = Postings(head, BytesBody(body))

    def search(self, words: list[str], limit: int) -> list[int]:
        """The rows of the best documents."""
        repeats = distinct(words)
        lists = self._postings.find(list(repeats))
        statistics = self._postings.statistics(lists, np.zeros(0, np.int64))
        weighted = weights(statistics.documents, statistics.frequencies.tolist(), repeats.values())
        average = statistics.tokens / statistics.documents
        return self._postings.search(lists, weighted, average, None, limit).rows[:limit].tolist()


class Tantivy:
    """An index in memory, of one segment."""

    def __init__(self, count: int) -> None:
        import tantivy

        schema = tantivy.SchemaBuilder().add_unsigned_field("row", stored=True)
        schema = schema.add_text_field("text", tokenizer_name="whitespace", index_option="freq").build()
        self._tantivy, self._schema = tantivy, schema
        self._index = tantivy.Index(schema)
        writer = self._index.writer(heap_size=3_000_000_000, num_threads=1)
        for row, text in enumerate(texts(count)):
            writer.add_document(tantivy.Document(row=row, text=text))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()
        self.segments = self._searcher.num_segments

    def query(self, words: list[str]) -> object:
        """A query, as tantivy has it."""
        make = self._tantivy.Query
        terms = [make.term_query(self._schema, "text", word, index_option="freq") for word in words]
        return (
            terms[0]
            if len(terms) == 1
            else make.boolean_query([(self._tantivy.Occur.Should, each) for each in terms])
        )

    def search(self, words: list[str], limit: int) -> list:
        """The addresses of the best documents."""
        return self._searcher.search(self.query(words), limit, count=False).hits


def memory() -> int:
    """The most that this process has had, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def median_ms(index: QuiverText | Tantivy, asked: list[list[str]], limit: int) -> float:
    """Milliseconds of a query."""

    def once(words: list[str]) -> float:
        begun = time.thread_time()
        index.search(words, limit)
        return time.thread_time() - begun

    return 1e3 * statistics.median(min(once(words) for _ in range(REPEATS)) for words in asked)


def timed(kind: type[QuiverText] | type[Tantivy], count: int) -> tuple[QuiverText | Tantivy, float]:
    """A built index, and processor seconds that it took, those of making the texts left out."""
    begun = time.process_time()
    for _ in texts(count):
        pass
    made = time.process_time() - begun
    index = kind(count)
    return index, time.process_time() - begun - 2 * made


def main() -> None:
    """Build both, and print medians and their ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS
    print(describe_machine(("numpy", "pystemmer", "tantivy")), flush=True)
    quiver, seconds = timed(QuiverText, count)
    show(
        {
            "build": "quiver",
            "cpu_s": round(seconds, 1),
            "mb": quiver.nbytes // 10**6,
            "builder_mb": quiver.builder_bytes // 10**6,
        }
    )
    tantivy, seconds = timed(Tantivy, count)
    show({"build": "tantivy", "cpu_s": round(seconds, 1), "segments": tantivy.segments})
    for shape in SHAPES:
        for limit in (10, 100):
            ours, theirs = (median_ms(index, queries(shape), limit) for index in (quiver, tantivy))
            figures = {
                "quiver_ms": round(ours, 3),
                "tantivy_ms": round(theirs, 3),
                "ratio": round(theirs / ours, 2),
            }
            show(shape._asdict() | {"top": limit} | figures)


if __name__ == "__main__":
    main()
