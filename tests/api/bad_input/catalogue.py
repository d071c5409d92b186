"""The lines of the bad-input catalogue, and where those are tested that one request cannot show."""

from __future__ import annotations

FRAMING = "both lengths, two lengths, broken chunks, folded lines, a space before the colon, bare CR or LF"
HEADS = "a header block over 16 KiB, more than 100 headers, a URI over 8 KiB"
BODY_SIZE = "a body over 20 MiB"
NO_BODY = "a POST without Content-Length and chunks"
ENCODINGS = "any Content-Encoding but identity"
TYPES = "a Content-Type that is not JSON"
PATHS = "unknown paths and wrong methods, with and without credentials"
HOSTS = "a Host with separators or spaces, or two of them"
SLOW = "a body that comes too slowly, or not at all"
SHORT = "a body shorter than its Content-Length"
ANONYMOUS = "no credentials"
MALFORMED = "credentials malformed, incomplete, twice, in the query, or of another signing method"
STRANGER = "an unknown access key"
SIGNATURE = "a wrong signature, region, service or day"
DATES = "a date that is missing, doubled or more than 15 minutes off"
UNSIGNED = "host, x-amz-date or any other x-amz header not signed"
BODY_HASH = "x-amz-content-sha256 of another body, or of none"
SESSION = "an expired or unknown session token"
FOREIGN = "ARNs of another account, region or service, of both kinds, or none"
PERMISSION = "a valid signature without permission"
JSON = "empty, truncated, trailing bytes, BOM, UTF-16, invalid UTF-8, control characters, commas, zeros, comments"
NESTING = "nesting beyond 32 levels"
DUPLICATES = "duplicate members"
SURROGATES = "half of a surrogate pair"
NUMBERS = "numbers that JSON, a double or 64 bits cannot hold"
MANY_ARRAYS = "megabytes of empty arrays"
ROOTS = "a root that is not an object, members nobody knows"
KINDS = "values of another JSON type"
NAMES = "bucket and index names outside the rules"
KEYS = "vector keys that are too short or too long, and any Unicode"
TWICE = "a key twice in one PutVectors"
COUNTS = "none or too many vectors or keys"
ABSENT = "keys that do not exist"
COMPONENTS = "vectors of another dimension, or with components that are no numbers"
FINITE = "components that are not finite in float32"
ZEROS = "zero vectors under the cosine metric, after rounding to float32"
OVERFLOW = "components whose squares overflow"
MINUS_ZERO = "minus zero"
TOP_K = "topK outside 1 to 10,000"
METADATA_SIZE = "metadata of more than 50 keys, 40,960 bytes, 2,048 filterable bytes; key names"
METADATA_VALUES = "nested, null, mixed and empty metadata values"
EXACT = "integers beyond 2^53, and true beside 1"
FILTERS = "filters outside the language, too large or too deep, of a non-filterable key"
TEXTS = "text search configurations and texts to ask with"
MODES = "index modes"
TOKENS = "page tokens that nobody issued"
SEGMENTS = "segmentCount without segmentIndex, and an index beyond it"
EXISTS = "creating what exists"
IN_USE = "deleting a bucket with indexes, naming what does not exist"
REPLACED = "an index deleted and made again under a write or a query"
BUSY = "writes faster than they can be flushed, or slots contended past the deadline"
STORE_DOWN = "a store that cannot be reached"
DAMAGED = "a damaged or missing segment"
DISK_FULL = "a full disk"
UNFORESEEN = "an error nobody foresaw"

LINES = (
    FRAMING, HEADS, BODY_SIZE, NO_BODY, ENCODINGS, TYPES, PATHS, HOSTS, SLOW, SHORT,
    ANONYMOUS, MALFORMED, STRANGER, SIGNATURE, DATES, UNSIGNED, BODY_HASH, SESSION, FOREIGN, PERMISSION,
    JSON, NESTING, DUPLICATES, SURROGATES, NUMBERS, MANY_ARRAYS, ROOTS, KINDS,
    NAMES, KEYS, TWICE, COUNTS, ABSENT,
    COMPONENTS, FINITE, ZEROS, OVERFLOW, MINUS_ZERO, TOP_K,
    METADATA_SIZE, METADATA_VALUES, EXACT, FILTERS, TEXTS, MODES,
    TOKENS, SEGMENTS,
    EXISTS, IN_USE, REPLACED, BUSY, STORE_DOWN, DAMAGED, DISK_FULL, UNFORESEEN,
)  # fmt: skip
"""Every line of the catalogue."""

ELSEWHERE = {
    FRAMING: ("tests/server/test_serve.py::test_broken_chunks_get_400_and_the_connection_ends",),
    BODY_SIZE: (
        "tests/server/test_serve.py::test_a_chunked_body_over_the_quota_is_not_read_to_its_end",
        "tests/api/test_bad_input.py::test_a_request_of_exactly_20_mib_is_read",
    ),
    SLOW: (
        "tests/server/test_serve.py::test_a_silent_client_gets_408",
        "tests/server/test_serve.py::test_a_dripping_client_gets_408",
    ),
    SHORT: (
        "tests/server/test_serve.py::test_a_client_that_goes_away_mid_body_commits_nothing",
        "tests/api/test_bad_input.py::test_a_body_cut_short_commits_nothing",
    ),
    PERMISSION: (
        "tests/api/test_isolation.py::test_what_is_not_yours_is_the_same_403_whether_it_exists_or_not",
        "tests/service/test_authorization.py::test_who_may_do_nothing_learns_nothing",
    ),
    SESSION: ("tests/server/test_sigv4.py::test_a_key_with_a_session_token_needs_it_in_every_request",),
    STRANGER: ("tests/api/test_bad_input.py::test_who_may_not_call_learns_nothing",),
    MANY_ARRAYS: ("tests/server/test_memory.py::test_bodies_of_20_mib_at_once_keep_memory_bounded",),
    KEYS: ("tests/api/vectors.py::test_keys_of_any_unicode_stay_as_they_are",),
    TWICE: ("tests/api/vectors.py::test_of_one_key_twice_in_a_request_the_last_counts",),
    OVERFLOW: ("tests/api/vectors.py::test_distances_of_extreme_vectors_are_numbers",),
    METADATA_SIZE: (
        "tests/api/vectors.py::test_filterable_metadata_have_2048_bytes",
        "tests/api/vectors.py::test_all_metadata_have_40960_bytes",
    ),
    EXACT: ("tests/api/test_bad_input.py::test_integers_stay_exact_and_true_is_not_one",),
    FILTERS: (
        "tests/api/queries.py::test_refused",
        "tests/model/test_filter_parser.py::test_everything_else_is_an_invalid_filter",
    ),
    TOKENS: (
        "tests/api/queries.py::test_a_query_token_fits_its_query_only",
        "tests/api/vectors.py::test_a_token_fits_its_index_and_segment_only",
        "tests/service/test_query_operation.py::test_a_token_lives_a_quarter_of_an_hour",
    ),
    TEXTS: ("tests/service/test_text_search.py::test_a_bad_change_is_refused_and_changes_nothing",),
    REPLACED: (
        "tests/service/test_context.py::test_an_index_deleted_and_created_again_elsewhere_is_found",
        "tests/engine/contract.py::test_a_sealed_index_is_not_found_on_any_node",
    ),
    BUSY: (
        "tests/engine/native/test_maintenance.py::test_too_long_a_tail_refuses_writes_until_it_is_flushed",
        "tests/server/test_app.py::test_errors_of_the_service",
    ),
    STORE_DOWN: (
        "tests/cluster/test_http_faults.py::"
        "test_a_store_that_is_down_is_503_and_what_was_acknowledged_is_there_when_it_is_back",
    ),
    DAMAGED: ("tests/engine/native/test_corruption.py::test_a_missing_object_is_an_error_or_makes_no_difference",),
    DISK_FULL: ("tests/cluster/test_full_disk.py::test_a_full_disk_refuses_writes_serves_reads_and_recovers",),
    UNFORESEEN: (
        "tests/server/test_app.py::test_an_unforeseen_error_is_logged_by_request_id_without_its_message",
    ),
}
"""Tests of lines that one request and its answer cannot show, or that hold for the library, too."""
