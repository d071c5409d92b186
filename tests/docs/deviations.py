"""Where Quiver differs from Amazon S3 Vectors, and which test pins each choice of decision 4.

For docs/compatibility.md; test_compatibility.py checks that the tests exist and that no choice lacks one.
"""

from __future__ import annotations

from typing import NamedTuple

BUCKETS, INDEXES = "tests/api/buckets.py", "tests/api/indexes.py"
VECTORS, QUERIES = "tests/api/vectors.py", "tests/api/queries.py"
BAD_INPUT, WIRE = "tests/api/test_bad_input.py", "tests/api/wire.py"


class Deviation(NamedTuple):
    """One difference. `test` is "file::test" or "file::class::test"."""

    operations: str
    aws: str
    here: str
    reason: str
    test: str


DEVIATIONS = [
    Deviation(
        "QueryVectors",
        "approximate, of unstated recall; distances were seen to be off by 5e-6",
        "distances are exact, recall is what the index was asked for",
        "there is no reason to be worse",
        f"{QUERIES}::QueryContract::test_cosine_distance_is_one_minus_the_cosine",
    ),
    Deviation(
        "QueryVectors",
        "measured: with ENHANCED, a query with a rare filter may find fewer than topK of the vectors that match",
        "finds topK whenever that many match",
        "the documented behaviour",
        (
            "tests/engine/native/test_segment_search.py"
            "::test_a_filter_that_pushes_the_matches_away_finds_them_all_the_same"
        ),
    ),
    Deviation(
        "QueryVectors",
        "no limit of nesting known",
        "filters nest at most 16 levels and have at most 1,024 nodes",
        "the parser is bounded; with 100 constraints nobody needs more",
        f"{QUERIES}::FilterContract::test_at_most_16_levels",
    ),
    Deviation(
        "CreateIndex",
        "a loser of a race may get InternalServerException",
        "ConflictException, always",
        "there is one winner, and the others are told so",
        "tests/service/test_catalog.py::test_of_racing_creations_exactly_one_wins",
    ),
    Deviation(
        "CreateIndex",
        "`dataType` and `distanceMetric` in small letters",
        "`FLOAT32` and `COSINE`, too",
        "spellings of the preview, which older clients still send",
        f"{INDEXES}::IndexContract::test_upper_case_spellings_of_older_clients",
    ),
    Deviation(
        "CreateIndex, TagResource, UntagResource",
        "tags mean nothing",
        "tags that begin with `quiver:` choose the index structure, and are fixed",
        "S3 Vectors has no parameter for it",
        "tests/api/structure.py::StructureContract::test_the_choice_cannot_be_changed_afterwards",
    ),
    Deviation(
        "PutVectors",
        "a rate limit of each index (2,500 vectors a second, softly)",
        "TooManyRequestsException when an index has more unflushed rows than it may have",
        "the limit is the machine's",
        "tests/server/test_app.py::test_errors_of_the_service",
    ),
    Deviation(
        "PutVectors, QueryVectors",
        "what JSON numbers outside 64-bit integers and doubles become is not known",
        "refused: SerializationException or ValidationException",
        "no value is stored as another",
        f"{BAD_INPUT}::TestVectors::test_metadata_outside_the_rules",
    ),
    Deviation(
        "PutVectorBucketPolicy",
        "the limit of a policy is not known",
        "20,480 bytes, that of S3 bucket policies",
        "the catalog needs one",
        f"{BUCKETS}::PolicyContract::test_a_policy_is_a_json_object_of_bounded_size",
    ),
    Deviation(
        "all",
        "JSON with a member twice: not known",
        "SerializationException",
        "two readers of one request must not see different values",
        f"{BAD_INPUT}::TestJson::test_requests",
    ),
    Deviation(
        "all",
        "HTTPS, at the address of a region",
        "HTTP at any address; the prefix `/s3-vectors` is accepted",
        "TLS is for a proxy before it; the prefix is that of older clients",
        f"{WIRE}::WireContract::test_the_path_prefix_of_older_clients",
    ),
    Deviation(
        "all",
        "headers of AWS",
        "headers `x-quiver-commit`, `x-quiver-consistency` and `x-quiver-work` besides",
        "they say what an answer reflects and what it cost",
        f"{VECTORS}::VectorContract::test_commits_increase",
    ),
]
"""Differences that are known, or possible where AWS was not observed."""

CHOICES: dict[str, str] = {
    "`$ne`, `$nin` on an absent field or an array": f"{QUERIES}::FilterContract::test_accepted",
    "range operators and `$startsWith` on arrays": f"{QUERIES}::FilterContract::test_accepted",
    "the same key twice in one PutVectors": (
        f"{VECTORS}::VectorContract::test_of_one_key_twice_in_a_request_the_last_counts"
    ),
    "a batch with one bad record": f"{VECTORS}::VectorContract::test_one_bad_record_refuses_the_whole_request",
    "metadata size": "tests/service/test_metadata_rules.py::test_size_is_that_of_the_bson_document",
    "dots in bucket names": f"{BUCKETS}::BucketContract::test_bucket_names_have_small_letters_digits_and_hyphens",
    "euclidean zero vector": f"{VECTORS}::NumberContract::test_euclidean_has",
    "order of equal distances": f"{QUERIES}::QueryContract::test_ties_rank_by_key",
    "writes between the pages of a query": (
        "tests/service/test_query_operation.py::test_inserts_between_pages_neither_hide_nor_repeat_the_others"
    ),
    "a page token": f"{QUERIES}::QueryContract::test_a_query_token_fits_its_query_only",
    "several DeleteIndex of one index at the same time": (
        "tests/service/test_context.py::test_two_nodes_may_finish_one_deletion"
    ),
    "index modes": f"{INDEXES}::IndexContract::test_every_index_stays_enhanced",
    "encryption with a KMS key": f"{BUCKETS}::BucketContract::test_encryption_is_that_of_the_store",
    "`queryTexts`, UpdateMetadataConfiguration": (
        f"{INDEXES}::IndexContract::test_text_search_is_refused_in_words"
    ),
    "several validation errors at once": f"{INDEXES}::IndexContract::test_all_that_is_wrong_is_said_at_once",
    "an ARN of another region or account": (
        f"{BUCKETS}::BucketContract::test_arns_of_others_are_denied_whether_they_exist_or_not"
    ),
    "request body over 20 MiB": (f"{BAD_INPUT}::TestHttp::test_a_body_over_20_mib_is_refused_before_it_is_sent"),
    "reads per second of an index": "tests/service/test_rates.py::test_aws_has_the_quotas_of_s3_vectors",
    "message and headers of a throttled request": (
        "tests/server/test_throttle.py::test_the_answer_to_too_many_requests_says_when_to_come_back"
    ),
    "what counts as a vector written": ("tests/service/test_pace.py::test_vectors_count_whether_they_come_or_go"),
}
"""The test that pins each row of docs/decisions/0004-where-the-contract-is-silent.md, by its question."""
