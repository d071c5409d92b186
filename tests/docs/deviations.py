"""Where Quiver differs from Amazon S3 Vectors, and which test pins each choice of decision 4.

For docs/compatibility.md; test_compatibility.py checks that the tests exist and that no choice lacks one.
"""

from __future__ import annotations

from typing import NamedTuple

BUCKETS, INDEXES = "tests/api/buckets.py", "tests/api/indexes.py"
VECTORS, QUERIES = "tests/api/vectors.py", "tests/api/queries.py"
TEXTS, WIRE = "tests/api/texts.py::TextContract", "tests/api/wire.py"
BAD_INPUT = "tests/api/test_bad_input.py::test_the_answer_to"
KMS, ISOLATION = "tests/api/test_encrypted_root.py::TestKmsKeys", "tests/api/test_isolation.py"
SEARCH, POLICIES = "tests/service/test_text_search.py", "tests/service/policy/test_evaluation.py"


class Deviation(NamedTuple):
    """One difference.

    `test` is "file::test" or "file::class::test". A line of the bad-input catalogue may follow in brackets.
    """

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
        "tags choose nothing",
        "tags that begin with `quiver:` choose the index structure, and are fixed",
        "S3 Vectors has no parameter for it",
        "tests/api/structure.py::StructureContract::test_the_choice_cannot_be_changed_afterwards",
    ),
    Deviation(
        "PutVectors",
        "a rate limit of each index (2,500 vectors a second, softly)",
        "TooManyRequestsException when an index has more unflushed rows than it may have; rates where asked for",
        "the limit is the machine's, or the operator's (`QUIVER_THROTTLE`)",
        "tests/server/test_app.py::test_errors_of_the_service",
    ),
    Deviation(
        "PutVectors, QueryVectors",
        "what JSON numbers outside 64-bit integers and doubles become is not known",
        "refused: SerializationException or ValidationException",
        "no value is stored as another",
        f"{BAD_INPUT}[NUMBERS]",
    ),
    Deviation(
        "PutVectorBucketPolicy",
        "the limit of a policy is not known",
        "20,480 bytes, that of S3 bucket policies",
        "the catalog needs one",
        f"{BUCKETS}::PolicyContract::test_a_policy_is_sound_and_of_bounded_size",
    ),
    Deviation(
        "all",
        "JSON with a member twice: not known",
        "SerializationException",
        "two readers of one request must not see different values",
        f"{BAD_INPUT}[DUPLICATES]",
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
    # vectors, filters, queries
    "`$ne`, `$nin` on an absent field or an array": f"{QUERIES}::FilterContract::test_accepted",
    "range operators and `$startsWith` on arrays": f"{QUERIES}::FilterContract::test_accepted",
    "`$startsWith` with the empty string": f"{QUERIES}::FilterContract::test_accepted",
    "constraints of a filter": f"{QUERIES}::FilterContract::test_at_most_100_constraints",
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
    "several validation errors at once": f"{INDEXES}::IndexContract::test_all_that_is_wrong_is_said_at_once",
    "request body over 20 MiB": f"{BAD_INPUT}[BODY_SIZE]",
    "operations that users ask for": (
        "tests/service/test_extensions.py::test_no_operation_of_s3_vectors_is_touched"
    ),
    "lenient filters and metadata": (
        "tests/service/test_leniency.py::test_several_keys_of_a_filter_all_have_to_match"
    ),
    # texts
    "words of a query": f"{TEXTS}::test_words_find_by_relevance_and_scores_are_those_of_bm25",
    "BM25": f"{TEXTS}::test_words_find_by_relevance_and_scores_are_those_of_bm25",
    "several texts without a vector": (
        "tests/engine/text_contract.py::TextContract::test_texts_rank_by_the_sum_of_their_scores"
    ),
    "fusion": "tests/engine/text_contract.py::TextContract::test_a_hybrid_query_fuses_ranks",
    "`returnDistance` of a hit that only texts led to": (
        f"{TEXTS}::test_a_hit_that_only_words_led_to_has_no_distance"
    ),
    "`scores`": f"{TEXTS}::test_scores_come_only_when_asked_for_and_only_with_texts",
    "a text without any word (punctuation, stop words)": (
        f"{TEXTS}::test_words_that_are_nowhere_match_nothing_in_their_leg"
    ),
    "a metadata value that is an array": f"{TEXTS}::test_arrays_are_one_text_and_other_values_none",
    "a key twice in `textSearchConfigurations` or `queryTexts`": f"{BAD_INPUT}[TEXTS]",
    "adding a key that is configured, in whatever language": (
        f"{SEARCH}::test_adding_a_key_that_is_configured_conflicts_whatever_its_language"
    ),
    "deleting a key that is not configured; more than 10 in all": (
        f"{SEARCH}::test_a_bad_change_is_refused_and_changes_nothing"
    ),
    "UpdateMetadataConfiguration with both, neither, or a kind without `textSearchConfigurations`": (
        f"{SEARCH}::test_a_bad_change_is_refused_and_changes_nothing"
    ),
    "an empty list to add": f"{SEARCH}::test_an_update_answers_with_its_commit_and_one_of_nothing_makes_none",
    "`status` in a request": f"{SEARCH}::test_a_new_index_shows_its_text_fields_as_active",
    "a query of a key that is BUILDING or not configured": (
        f"{SEARCH}::test_a_field_that_is_being_built_is_shown_so_and_not_searched"
    ),
    "text fields in GetIndex": f"{SEARCH}::test_text_fields_come_and_go_and_keep_their_order",
    "writes between the pages of a query with texts": (
        f"{SEARCH}::test_each_page_is_of_the_newest_commit_and_so_are_its_scores"
    ),
    "words of a text, analyzer `standard`": "tests/text/test_words.py::test_words_of_examples",
    "analyzers `en fr es pt it de nl`": "tests/text/test_analysis.py::test_terms_of_examples",
    "analyzers `zh ja ko`": "tests/text/test_words.py::test_neighbouring_characters_are_pairs",
    "long words": "tests/text/test_words.py::test_of_a_long_word_the_first_64_characters_remain",
    # encryption
    "encryption with a KMS key, where there is no key provider": (
        f"{BUCKETS}::BucketContract::test_encryption_is_that_of_the_store"
    ),
    "a KMS key that exists and cannot be used, at CreateVectorBucket and CreateIndex": (
        "tests/service/test_encryption.py::test_nothing_is_created_with_a_key_that_cannot_be_used"
    ),
    "the same at DeleteIndex, ListVectors": (
        "tests/test_encrypted_root.py::test_an_index_with_a_kms_key_cannot_be_read_without_it_and_others_can"
    ),
    "a KMS key that was disabled or removed": (
        "tests/objectstore/encryption/test_aws_kms.py::test_a_disabled_key_stops_an_index_when_it_is_asked_again"
    ),
    "encryption of an index that does not say": (
        f"{KMS}::test_an_index_has_its_buckets_key_unless_it_says_otherwise"
    ),
    "an index cloned from one with a KMS key": (
        "tests/test_encrypted_root.py::test_an_index_with_a_kms_key_cannot_be_read_without_it_and_others_can"
    ),
    "aws:s3vectors:resource-id": (
        "tests/objectstore/encryption/test_keys_of_a_root.py::test_an_index_gets_one_key"
    ),
    # who may do what
    "a malformed policy": f"{BUCKETS}::PolicyContract::test_a_policy_is_sound_and_of_bounded_size",
    "an empty `Statement`; a Resource that does not name the bucket": (
        f"{BUCKETS}::PolicyContract::test_a_policy_is_returned_as_it_was_put_until_it_is_deleted"
    ),
    "principals in a policy that do not exist": (
        "tests/service/policy/test_document.py::test_principals_of_bucket_policies"
    ),
    "actions of other services, unknown actions and condition keys in a bucket policy": (
        "tests/service/policy/test_document.py::test_names_that_could_only_be_mistakes_are_refused"
    ),
    "an account as principal in an Allow": f"{POLICIES}::test_identity_and_bucket_policies_together",
    "NotPrincipal with a user": f"{POLICIES}::test_identity_and_bucket_policies_together",
    "keys with several values without ForAllValues or ForAnyValue": (
        "tests/service/policy/test_conditions.py::test_keys_with_several_values"
    ),
    "a principal of another account": (
        "tests/service/test_authorization.py::test_another_account_needs_both_sides_and_has_no_buckets_of_its_own"
    ),
    "the message of a denial": f"{ISOLATION}::test_what_is_not_yours_is_the_same_403_whether_it_exists_or_not",
    "ARNs of others for a principal without permissions": (
        f"{ISOLATION}::test_names_of_other_accounts_and_regions_are_nobodys"
    ),
    "page tokens of another principal": f"{ISOLATION}::test_page_tokens_of_others_open_nothing",
    "`s3vectors:sseType` when a request names no encryption": (
        "tests/service/test_authorization.py::test_conditions_on_what_a_request_does_not_have"
    ),
    "a stored policy that cannot be read": f"{POLICIES}::test_identity_and_bucket_policies_together",
    "an ARN of another region or account": (
        f"{BUCKETS}::BucketContract::test_arns_of_others_are_denied_whether_they_exist_or_not"
    ),
    # throttling
    "reads per second of an index": "tests/service/test_rates.py::test_aws_has_the_quotas_of_s3_vectors",
    "message and headers of a throttled request": (
        "tests/server/test_throttle.py::test_the_answer_to_too_many_requests_says_when_to_come_back"
    ),
    "what counts as a vector written": "tests/service/test_pace.py::test_vectors_count_whether_they_come_or_go",
}
"""The test that pins each row of docs/decisions/0004-where-the-contract-is-silent.md, by its question."""
