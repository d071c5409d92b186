"""Search the documentation of Python's standard library by topic, through boto3, against a running Quiver.

Each documented function, class and method of some sixty modules becomes one vector: TF-IDF over its docstring,
reduced by SVD (latent semantic analysis). That is an honest embedding that needs no model and no network; a real
application would put a better one in its place and change nothing else.

    make serve                                                      # in another terminal
    export AWS_SHARED_CREDENTIALS_FILE=quiver-data.credentials
    .venv/bin/python examples/search_stdlib_docs.py "compress bytes"

It needs boto3 and scikit-learn, which `make venv` installs. QUIVER_ENDPOINT names another server; arguments are
questions, and without any a few are asked.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.exceptions import ClientError, EndpointConnectionError
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = """
argparse array ast asyncio base64 bisect bz2 calendar cmath collections concurrent.futures configparser
contextlib copy csv dataclasses datetime decimal difflib email.message enum fileinput fractions functools ftplib
getpass glob gzip hashlib heapq hmac html http.client imaplib inspect io ipaddress itertools json locale logging
lzma mailbox math mimetypes operator os pathlib pickle platform pprint queue random re sched secrets shelve
shlex shutil signal smtplib socket sqlite3 ssl statistics string struct subprocess tarfile tempfile textwrap
threading time timeit tokenize traceback types unittest urllib.parse urllib.request uuid weakref zipfile zlib
"""
QUESTIONS = [
    "compress data",
    "find files matching a pattern",
    "binary search in a sorted list",
    "extract all members of an archive",
]
BUCKET, INDEX, DIMENSION = "examples", "stdlib-docs", 256
BATCH = 500  # PutVectors takes at most this many


class Entry(NamedTuple):
    """One documented thing."""

    name: str
    module: str
    kind: str
    summary: str
    text: str


def documented() -> list[Entry]:
    """Everything public in MODULES that has a docstring of its own."""
    found: dict[str, Entry] = {}
    for module_name in MODULES.split():
        module = importlib.import_module(module_name)
        for name, value in public(module):
            found.setdefault(f"{module_name}.{name}", entry(module_name, name, value))
            for member, method in public(value) if inspect.isclass(value) else ():
                full = f"{name}.{member}"
                found.setdefault(f"{module_name}.{full}", entry(module_name, full, method))
    return [e for e in found.values() if e.summary]


def public(owner: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of an object's own public functions and classes, not of what it imports."""
    home = (owner.__name__ if inspect.ismodule(owner) else owner.__module__).split(".")[0]
    for name, value in vars(owner).items():
        made_in = (getattr(value, "__module__", None) or home).split(".")[0]
        documentable = inspect.isroutine(value) or inspect.isclass(value)
        if documentable and not name.startswith("_") and made_in.lstrip("_") == home.lstrip("_"):
            yield name, value


def entry(module: str, name: str, value: Any) -> Entry:
    """The entry of one function or class; its name is part of its text."""
    words = f"{module} {name}".replace(".", " ").replace("_", " ")
    doc = inspect.getdoc(value) or ""
    kind = "class" if inspect.isclass(value) else "function"
    return Entry(f"{module}.{name}", module, kind, doc[:300], f"{words}. {doc}")


def stems(text: str) -> list[str]:
    """The words that carry meaning, cut to six letters so that compress, compressed and compression are one."""
    return [word[:6] for word in re.findall(r"[a-z]{2,}", text.lower()) if word not in ENGLISH_STOP_WORDS]


def embedding() -> Pipeline:
    """Text to unit vectors of DIMENSION components."""
    words = TfidfVectorizer(analyzer=stems, sublinear_tf=True, min_df=2)
    return make_pipeline(words, TruncatedSVD(DIMENSION, random_state=0), Normalizer())


def create(s3vectors: Any) -> None:
    """Bucket and index, unless they exist. The summary is too long to filter by, so it is not filterable."""
    with suppress(s3vectors.exceptions.ConflictException):
        s3vectors.create_vector_bucket(vectorBucketName=BUCKET)
    with suppress(s3vectors.exceptions.ConflictException):
        s3vectors.create_index(
            vectorBucketName=BUCKET,
            indexName=INDEX,
            dataType="float32",
            dimension=DIMENSION,
            distanceMetric="cosine",
            metadataConfiguration={"nonFilterableMetadataKeys": ["summary"]},
        )


def store(s3vectors: Any, entries: list[Entry], vectors: Any) -> None:
    """Put every entry, in batches."""
    for start in range(0, len(entries), BATCH):
        batch = [
            {
                "key": e.name,
                "data": {"float32": vector.tolist()},
                "metadata": {"module": e.module, "kind": e.kind, "summary": e.summary},
            }
            for e, vector in zip(entries[start : start + BATCH], vectors[start : start + BATCH], strict=True)
            if vector.any()
        ]
        s3vectors.put_vectors(vectorBucketName=BUCKET, indexName=INDEX, vectors=batch)


def ask(s3vectors: Any, model: Pipeline, question: str) -> list[dict[str, Any]]:
    """The five nearest functions; none when no word of the question occurs in the documentation."""
    vector = model.transform([question])[0]
    if not vector.any():
        return []
    answer = s3vectors.query_vectors(
        vectorBucketName=BUCKET,
        indexName=INDEX,
        topK=5,
        queryVector={"float32": vector.tolist()},
        filter={"kind": "function"},
        returnDistance=True,
        returnMetadata=True,
    )
    return list(answer["vectors"])


def main(questions: list[str]) -> int:
    """Index everything, then answer."""
    s3vectors = boto3.client(
        "s3vectors",
        endpoint_url=os.environ.get("QUIVER_ENDPOINT", "http://127.0.0.1:8080"),
        region_name=os.environ.get("QUIVER_REGION", "us-east-1"),
        aws_access_key_id=os.environ.get("QUIVER_ACCESS_KEY_ID"),
        aws_secret_access_key=os.environ.get("QUIVER_SECRET_ACCESS_KEY"),
    )
    model = embedding()
    try:
        create(s3vectors)
        entries = documented()
        store(s3vectors, entries, model.fit_transform([e.text for e in entries]))
    except (ClientError, EndpointConnectionError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Stored {len(entries)} docstrings.")
    for question in questions:
        print(f"\n{question}")
        for hit in ask(s3vectors, model, question):
            print(f"  {hit['distance']:.3f}  {hit['key']:40} {hit['metadata']['summary'].splitlines()[0][:60]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or QUESTIONS))
