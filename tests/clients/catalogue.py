"""Which clients are run, and what is to come of each: for test_clients.py, and for docs/compatibility.md."""

from __future__ import annotations

from dataclasses import dataclass, field

VECTORS = ("CreateVectorBucket", "CreateIndex", "GetIndex", "PutVectors", "GetVectors", "QueryVectors")


@dataclass(frozen=True, slots=True)
class Client:
    """One client and its tests.

    Attributes:
        package: what is locked in requirements/clients.txt, or for names with @ in tests/clients/node.
        tests: whose tests they are, in words.
        passing: how many pass.
        operations: what they are seen to call, at least.
        failing: names of tests that fail, each with the reason.
    """

    package: str
    tests: str
    passing: int
    operations: tuple[str, ...]
    failing: dict[str, str] = field(default_factory=dict)


_RAISES = (
    "the client raises ValueError for keys that are absent (so it does with AWS); the suite wants an empty list"
)

CLIENTS: dict[str, Client] = {
    "langchain-tests": Client(
        "langchain-aws",
        "the standard suite of langchain-tests for vector stores, sync and async",
        23,
        ("PutVectors", "GetVectors", "QueryVectors", "DeleteVectors"),
        {
            "TestAmazonS3Vectors::test_get_by_ids_missing": _RAISES,
            "TestAmazonS3Vectors::test_get_by_ids_missing_async": _RAISES,
        },
    ),
    "langchain-aws": Client(
        "langchain-aws", "ours: filters, scores, retrievers, batches", 13, (*VECTORS, "DeleteIndex")
    ),
    "langchain-aws (its own tests)": Client(
        "langchain-aws", "its makers' integration tests, with embeddings of a stand-in for Bedrock", 2, VECTORS[1:]
    ),
    "llama-index": Client(
        "llama-index-vector-stores-s3",
        "ours, covering its makers' (which no package holds)",
        17,
        ("CreateIndex", "PutVectors", "GetVectors", "ListVectors", "QueryVectors", "DeleteVectors", "DeleteIndex"),
    ),
    "llama-index (its own tests)": Client(
        "llama-index-vector-stores-s3",
        "its makers' tests from a checkout, when there is one",
        4,
        ("CreateIndex", "PutVectors", "GetVectors", "QueryVectors", "DeleteIndex"),
    ),
    "mem0": Client(
        "mem0ai", "ours: the store, and a Memory over it", 12, (*VECTORS, "ListVectors", "DeleteVectors")
    ),
    "javascript": Client(
        "@aws-sdk/client-s3vectors",
        "ours: AWS's SDK for JavaScript, which shares nothing with boto3",
        12,
        (*VECTORS, "ListVectors", "DeleteVectors", "TagResource", "UntagResource", "PutVectorBucketPolicy"),
    ),
    "moto": Client(
        "moto",
        "the tests its maintainers verified against AWS, in the mode in which they run there",
        53,
        (*VECTORS[:-1], "PutVectorBucketPolicy", "TagResource", "UntagResource", "ListTagsForResource"),
    ),
}
"""By name."""
