"""The catalogue of errors: one row for each situation, for test_error_catalogue.py and docs/compatibility.md.

Where AWS was seen to say something, the row has its exact words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from api.workbench import bucket_arn, record

if TYPE_CHECKING:
    from collections.abc import Callable

KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
AWS, MANUAL, EMULATOR, HERE = "AWS", "AWS's manual", "an emulator", "here"
"""Where the words of a row come from. AWS: seen in a live answer."""
ONE = "1 validation error detected. "
FAILED = " failed to satisfy constraint: Member must "


class Scene(NamedTuple):
    """What there is for a row.

    `index` is cosine, of dimension 2, with the non-filterable key `hidden` and the text field `body`.
    """

    bucket: str
    index: str

    @property
    def arn(self) -> str:
        return f"{bucket_arn(self.bucket)}/index/{self.index}"

    @property
    def names(self) -> dict[str, Any]:
        return {"vectorBucketName": self.bucket, "indexName": self.index}


class Row(NamedTuple):
    """One situation.

    Attributes:
        situation: in words.
        source: whose words the message are.
        operation: that is called.
        arguments: of the call, made for a scene.
        code, status, message: of the error; `...` at the end of a message stands for more.
        path: of the only entry of its fieldList; empty when there is no list.
        detail: the text of that entry when it is not the message without "1 validation error detected. ".
    """

    situation: str
    source: str
    operation: str
    arguments: Callable[[Scene], dict[str, Any]]
    message: str
    path: str = ""
    detail: str = ""
    code: str = "ValidationException"
    status: int = 400

    @property
    def field(self) -> str:
        """The text of the entry of the fieldList."""
        return self.detail or self.message.removeprefix(ONE)


def _of_bucket(**more: Any) -> Callable[[Scene], dict[str, Any]]:
    return lambda scene: {"vectorBucketName": scene.bucket} | more


def _of_index(**more: Any) -> Callable[[Scene], dict[str, Any]]:
    return lambda scene: scene.names | more


def _create(**more: Any) -> Callable[[Scene], dict[str, Any]]:
    given = {"indexName": "new", "dataType": "float32", "dimension": 2, "distanceMetric": "cosine"} | more
    return lambda scene: {"vectorBucketName": scene.bucket} | {k: v for k, v in given.items() if v is not None}


def _put(vector: list[float], metadata: Any = None, key: str = "K") -> Callable[[Scene], dict[str, Any]]:
    return _of_index(vectors=[record(key, vector, metadata)])


def _query(vector: list[float], **more: Any) -> Callable[[Scene], dict[str, Any]]:
    return _of_index(topK=1, queryVector={"float32": vector}, **more)


def _unknown(**more: Any) -> Callable[[Scene], dict[str, Any]]:
    return lambda scene: {"vectorBucketName": f"{scene.bucket}-unknown"} | more


def _tag(**tags: str) -> Callable[[Scene], dict[str, Any]]:
    return lambda scene: {"resourceArn": scene.arn, "tags": tags}


def _fields(*keys: str) -> dict[str, Any]:
    return {"textSearchConfigurations": [{"metadataKey": key} for key in keys]}


def _ask(*keys: str) -> Callable[[Scene], dict[str, Any]]:
    return _of_index(topK=1, queryTexts=[{"metadataKey": key, "text": "word"} for key in keys])


def _policy(**statement: Any) -> Callable[[Scene], dict[str, Any]]:
    made = {"Effect": "Allow", "Principal": "*", "Action": "s3vectors:*", "Resource": "*"} | statement
    return _of_bucket(policy=json.dumps({"Statement": made}))


def _text(length: int, path: str, low: int, high: int) -> tuple[str, str]:
    detail = f"Value with length {length} at '{path}'{FAILED}have length between {low} and {high}, inclusive"
    return ONE + detail, path


def _value(path: str, constraint: str) -> tuple[str, str]:
    return f"{ONE}Value at '{path}'{FAILED}{constraint}", path


_NOT_FOUND: dict[str, Any] = {"code": "NotFoundException", "status": 404}
_CONFLICT: dict[str, Any] = {"code": "ConflictException", "status": 409}
_DENIED: dict[str, Any] = {"code": "AccessDeniedException", "status": 403}
_RECORD = "Invalid record for key 'K': "
_IN_METADATA = "vectors[0].metadata"
_BAD_QUERY = "Query vector contains invalid values or is invalid for this index"
_TAG_TEXT = r"satisfy regular expression pattern: ^([\p{L}\p{Z}\p{N}_.:/=+\-@]*)$"

# fmt: off
RESOURCES = [
    Row("unknown bucket", AWS, "GetVectorBucket", _unknown(), "The specified vector bucket could not be found",
        **_NOT_FOUND),
    Row("unknown index", AWS, "GetIndex", _of_bucket(indexName="unknown"),
        "The specified index could not be found", **_NOT_FOUND),
    Row("index of an unknown bucket", AWS, "GetIndex", _unknown(indexName="unknown"),
        "The specified index could not be found", **_NOT_FOUND),
    Row("no policy", AWS, "GetVectorBucketPolicy", _of_bucket(),
        "The specified vector bucket policy could not be found", **_NOT_FOUND),
    Row("tags of what does not exist", EMULATOR, "ListTagsForResource",
        lambda scene: {"resourceArn": scene.arn + "-unknown"}, "The specified resource could not be found",
        **_NOT_FOUND),
    Row("bucket exists", AWS, "CreateVectorBucket", _of_bucket(),
        "A vector bucket with the specified name already exists", **_CONFLICT),
    Row("index exists", AWS, "CreateIndex", lambda scene: _create(indexName=scene.index)(scene),
        "An index with the specified name already exists", **_CONFLICT),
    Row("bucket with indexes", EMULATOR, "DeleteVectorBucket", _of_bucket(),
        "The specified vector bucket is not empty", **_CONFLICT),
]

ARGUMENTS = [
    Row("characters of a bucket name", AWS, "CreateVectorBucket", lambda _: {"vectorBucketName": "my_bucket"},
        "Invalid vector bucket name", "vectorBucketName"),
    Row("characters of an index name", HERE, "CreateIndex", _create(indexName="my_index"), "Invalid index name",
        "indexName"),
    Row("length of a bucket name", AWS, "CreateVectorBucket", lambda _: {"vectorBucketName": "ab"},
        *_text(2, "/vectorBucketName", 3, 63)),
    Row("length of a vector key", AWS, "PutVectors", _put([1, 2], key=""), *_text(0, "/vectors/0/key", 1, 1024)),
    Row("bytes of a vector key", AWS, "PutVectors", _put([1, 2], key="\u4e2d" * 342),
        "Record key length exceeds the maximum allowed", "vectors[0].key"),
    Row("unknown data type", AWS, "CreateIndex", _create(dataType="int"),
        *_value("/dataType", "satisfy enum value set: [float32]")),
    Row("unknown metric", AWS, "CreateIndex", _create(distanceMetric="dot"),
        *_value("/distanceMetric", "satisfy enum value set: [euclidean, cosine]")),
    Row("dimension", AWS, "CreateIndex", _create(dimension=4097),
        *_value("/dimension", "be between 1 and 4096, inclusive")),
    Row("missing topK", AWS, "QueryVectors", _of_index(queryVector={"float32": [1, 2]}),
        *_value("/topK", "not be null")),
    Row("topK", HERE, "QueryVectors", _of_index(topK=10_001, queryVector={"float32": [1, 2]}),
        *_value("/topK", "be between 1 and 10000, inclusive")),
    Row("maxResults", AWS, "ListVectors", _of_index(maxResults=1001),
        *_value("/maxResults", "be between 1 and 1000, inclusive")),
    Row("vectors of a request", HERE, "PutVectors", _of_index(vectors=[]), *_text(0, "/vectors", 1, 500)),
    Row("an index named in two ways", AWS, "GetIndex",
        lambda scene: {"vectorBucketName": scene.bucket, "indexArn": scene.arn},
        "Must specify either indexArn or both vectorBucketName and indexName"),
    Row("an index not named", AWS, "PutVectors", lambda _: {"vectors": [record("K", [1, 2])]},
        "Must specify either indexArn or both vectorBucketName and indexName"),
    Row("a bucket named in two ways", AWS, "ListIndexes",
        lambda scene: {"vectorBucketName": scene.bucket, "vectorBucketArn": bucket_arn(scene.bucket)},
        "Must specify either vectorBucketName or vectorBucketArn but not both"),
    Row("an ARN of another account", HERE, "GetVectorBucket",
        lambda scene: {"vectorBucketArn": bucket_arn(scene.bucket).replace("000000000000", "123456789012")},
        "Access denied", **_DENIED),
    Row("segmentIndex without segmentCount", HERE, "ListVectors", _of_index(segmentIndex=0),
        "Must specify either both segmentCount and segmentIndex or neither"),
    Row("page token", AWS, "ListVectors", _of_index(nextToken="x"), "Invalid page token", "nextToken"),
    Row("page token of a query", AWS, "QueryVectors", _query([1, 2], nextToken="x"), "Invalid page token",
        "nextToken"),
]

RECORDS = [
    Row("dimension of a vector", AWS, "PutVectors", _put([1]),
        _RECORD + "vector must have length 2, but has length 1", "vectors[0]"),
    Row("NaN or infinity", AWS, "PutVectors", _put([1, 1e39]), _RECORD + "vector contains NaNs or Infs",
        "vectors[0]"),
    Row("zero vector", AWS, "PutVectors", _put([0, 0]),
        _RECORD + "cosine distance does not support vectors with zero norm", "vectors[0]"),
    Row("zero vector of a query", AWS, "QueryVectors", _query([0, 0]), _BAD_QUERY, "vector",
        "Invalid input: cosine distance does not support vectors with zero norm"),
    Row("dimension of a query", HERE, "QueryVectors", _query([1]), _BAD_QUERY, "vector",
        "Invalid input: vector must have length 2, but has length 1"),
    Row("filterable metadata over 2 KB", AWS, "PutVectors", _put([1, 2], {"f": "x" * 2036}),
        _RECORD + "Filterable metadata must have at most 2048 bytes", _IN_METADATA),
    Row("metadata over 40 KB", AWS, "PutVectors", _put([1, 2], {"hidden": "x" * 41_000}),
        _RECORD + "Metadata object must have at most 40960 bytes", _IN_METADATA),
    Row("more than 50 keys", AWS, "PutVectors", _put([1, 2], {f"k{n}": n for n in range(51)}),
        _RECORD + "Metadata object must have at most 50 keys", _IN_METADATA),
    Row("null or nested value", AWS, "PutVectors", _put([1, 2], {"n": None}),
        _RECORD + "Metadata values must be strings, numbers, booleans, or arrays", _IN_METADATA),
    Row("element of an array", AWS, "PutVectors", _put([1, 2], {"n": [True]}),
        _RECORD + "Metadata array values must be strings or numbers", _IN_METADATA),
    Row("empty array", AWS, "PutVectors", _put([1, 2], {"n": []}),
        _RECORD + "Empty arrays are not allowed in metadata", _IN_METADATA),
]

FILTERS = [
    Row("two keys in one condition", AWS, "QueryVectors", _query([1, 2], filter={"a": 1, "b": 2}),
        "Invalid filter", "filter"),
    Row("empty filter", AWS, "QueryVectors", _query([1, 2], filter={}), "Invalid filter", "filter"),
    Row("unknown operator", AWS, "QueryVectors", _query([1, 2], filter={"a": {"$not": 1}}), "Invalid filter",
        "filter"),
    Row("operand of a range", AWS, "QueryVectors", _query([1, 2], filter={"a": {"$gt": "1"}}), "Invalid filter",
        "filter"),
    Row("non-filterable key", AWS, "QueryVectors", _query([1, 2], filter={"hidden": "x"}),
        "Invalid use of non-filterable metadata in filter", "filter"),
]

TEXTS = [
    Row("neither vector nor texts", HERE, "QueryVectors", _of_index(topK=1),
        "At least one of queryVector and queryTexts must be specified", "queryVector"),
    Row("texts for a key that is no text field", HERE, "QueryVectors", _ask("body", "other"),
        "The metadata key 'other' is not configured for text search", "queryTexts[1].metadataKey"),
    Row("two texts for a key", HERE, "QueryVectors", _ask("body", "body"),
        "Each entry of queryTexts must have a distinct metadataKey", "queryTexts[1].metadataKey"),
    Row("text fields added and deleted at once, or neither", MANUAL, "UpdateMetadataConfiguration",
        _of_index(add=_fields("other"), delete=_fields("body")), "Specify either add or delete, but not both"),
    Row("text field twice", HERE, "CreateIndex", _create(metadataConfiguration=_fields("a", "a")),
        "Each text search configuration must have a distinct metadataKey",
        "metadataConfiguration.textSearchConfigurations[1].metadataKey"),
    Row("text field exists", HERE, "UpdateMetadataConfiguration", _of_index(add=_fields("body")),
        "A text search configuration of the metadata key 'body' already exists", **_CONFLICT),
    Row("deleting what is no text field", HERE, "UpdateMetadataConfiguration", _of_index(delete=_fields("other")),
        "The metadata key 'other' is not configured for text search",
        "delete.textSearchConfigurations[0].metadataKey"),
    Row("more than 10 text fields", HERE, "UpdateMetadataConfiguration", _of_index(add=_fields(*"abcdefghij")),
        "An index can have at most 10 text search configurations"),
    Row("language", HERE, "CreateIndex", _create(metadataConfiguration={
            "textSearchConfigurations": [{"metadataKey": "a", "language": "sv"}]}),
        *_value("/metadataConfiguration/textSearchConfigurations/0/language",
        "satisfy enum value set: [en, fr, es, pt, it, de, nl, zh, ja, ko]")),
]

POLICIES = [
    Row("policy that is no JSON object", HERE, "PutVectorBucketPolicy", _of_bucket(policy="[]"),
        "Policy must be a JSON object", "policy"),
    Row("policy over 20,480 bytes", HERE, "PutVectorBucketPolicy",
        _of_bucket(policy='{"Statement":[],"Id":"' + "x" * 20_480 + '"}'),
        "Policy exceeds the maximum size of 20480 bytes", "policy"),
    Row("policy of another form", HERE, "PutVectorBucketPolicy", _policy(Effect="Permit"),
        "Statement[0].Effect must be Allow or Deny", "policy"),
    Row("policy with an action that does not exist", HERE, "PutVectorBucketPolicy",
        _policy(Action="s3vectors:GetIndx"), "Action 's3vectors:GetIndx' is no action of this service", "policy"),
    Row("policy with a condition key that does not exist", HERE, "PutVectorBucketPolicy",
        _policy(Condition={"Bool": {"s3vectors:sse": "true"}}),
        "Condition key 's3vectors:sse' is not known to this service", "policy"),
]

MODES = [
    Row("CLASSIC query of an ENHANCED index", AWS, "QueryVectors", _query([1, 2], queryMode="CLASSIC"),
        "queryMode cannot be CLASSIC when indexMode is ENHANCED"),
    Row("CLASSIC index", AWS, "UpdateIndexMode", _of_index(indexMode="CLASSIC"),
        "indexMode cannot be set to CLASSIC because the vector bucket does not support CLASSIC mode"),
    Row("CLASSIC as the default", AWS, "PutVectorBucketDefaultIndexMode", _of_bucket(defaultIndexMode="CLASSIC"),
        "defaultIndexMode cannot be set to CLASSIC because this vector bucket does not support CLASSIC mode"),
]

ENCRYPTION = [
    Row("key without aws:kms", AWS, "CreateIndex",
        _create(encryptionConfiguration={"sseType": "AES256", "kmsKeyArn": KMS_KEY}),
        "kmsKeyArn must not be specified when sseType is AES256.", "EncryptionConfiguration"),
    Row("aws:kms without key", AWS, "CreateIndex", _create(encryptionConfiguration={"sseType": "aws:kms"}),
        "kmsKeyArn must be specified when sseType is set to aws:kms", "EncryptionConfiguration"),
    Row("unknown KMS key", AWS, "CreateIndex",
        _create(encryptionConfiguration={"sseType": "aws:kms", "kmsKeyArn": KMS_KEY}),
        f"Key '{KMS_KEY}' does not exist (kms_request_id=...", **_DENIED),
]

TAGS = [
    Row("more than 50 tags", AWS, "TagResource", _tag(**{f"k{n}": "v" for n in range(51)}),
        "Too many tags specified", "/tags"),
    Row("tag key of the system", AWS, "TagResource", _tag(**{"aws:a": "b"}),
        "System tags cannot be added/updated by requester"),
    Row("the same in capitals", AWS, "TagResource", _tag(**{"AWS:owner": "b"}),
        'Invalid System Tag: AWS:owner must be prefixed with "aws:" in lowercase.'),
    Row("characters of a tag key", AWS, "TagResource", _tag(**{"k?": "v"}), *_value("/tags", _TAG_TEXT)),
    Row("characters of a tag value", AWS, "TagResource", _tag(k="v?"), *_value("/tags/k", _TAG_TEXT)),
]

# fmt: on
ROWS: list[Row] = [*RESOURCES, *ARGUMENTS, *RECORDS, *FILTERS, *TEXTS, *MODES, *ENCRYPTION, *TAGS, *POLICIES]
"""Every situation that a client can bring about."""


class Elsewhere(NamedTuple):
    """A situation that takes more than one call of a client. `test` shows it."""

    situation: str
    source: str
    code: str
    status: int
    message: str
    test: str


_BAD_INPUT = "tests/api/test_bad_input.py::test_the_answer_to"

# fmt: off
ELSEWHERE = [
    Elsewhere("request body over 20 MiB", AWS, "ValidationException", 400,
        "Request body exceeds max allowed size",
        f"{_BAD_INPUT}[BODY_SIZE]"),
    Elsewhere("text that is not Unicode, JSON that is none, a member of another type", AWS,
        "SerializationException", 400, "...", f"{_BAD_INPUT}[JSON]"),
    Elsewhere("10,000 buckets, or indexes of a bucket", HERE, "ServiceQuotaExceededException", 402, "...",
        "tests/service/test_catalog_state.py::test_quotas_hold_at_ten_thousand_buckets_and_indexes"),
    Elsewhere("no signature", HERE, "MissingAuthenticationTokenException", 403, "...",
        f"{_BAD_INPUT}[ANONYMOUS]"),
    Elsewhere("malformed signature", HERE, "IncompleteSignatureException", 403, "...",
        f"{_BAD_INPUT}[MALFORMED]"),
    Elsewhere("unknown access key", HERE, "UnrecognizedClientException", 403, "...",
        f"{_BAD_INPUT}[STRANGER]"),
    Elsewhere("wrong secret, another date, region or service", HERE, "InvalidSignatureException", 403, "...",
        f"{_BAD_INPUT}[SIGNATURE]"),
    Elsewhere("session token missing, or another", HERE, "UnrecognizedClientException", 403, "...",
        f"{_BAD_INPUT}[SESSION]"),
    Elsewhere("session token with a key that has none", HERE, "ExpiredTokenException", 403, "...",
        f"{_BAD_INPUT}[SESSION]"),
    Elsewhere("no permission, whether it exists or not", HERE, "AccessDeniedException", 403,
        "User: <ARN> is not authorized to perform: <action> on resource: <ARN>", f"{_BAD_INPUT}[PERMISSION]"),
    Elsewhere("server of another role", HERE, "AccessDeniedException", 403, "...",
        "tests/service/test_roles.py::test_a_role_refuses_its_operations_and_no_other"),
    Elsewhere("text field that is being built", HERE, "ValidationException", 400,
        "The text search configuration of the metadata key '<key>' isn't yet serving queries",
        "tests/service/test_text_search.py::test_a_field_that_is_being_built_is_shown_so_and_not_searched"),
    Elsewhere("creating with a KMS key that cannot be used", HERE, "AccessDeniedException", 403, "...",
        "tests/service/test_encryption.py::test_nothing_is_created_with_a_key_that_cannot_be_used"),
    *(
        Elsewhere(f"index whose KMS key {what}", HERE, code, 400, "...",
            "tests/objectstore/encryption/test_aws_kms.py"
            "::test_what_the_service_refuses_becomes_an_error_of_the_model")
        for what, code in (
            ("is disabled", "KmsDisabledException"),
            ("is not for encryption", "KmsInvalidKeyUsageException"),
            ("is pending deletion", "KmsInvalidStateException"),
            ("is gone", "KmsNotFoundException"),
        )
    ),
    Elsewhere("unknown path", HERE, "UnknownOperationException", 404, "...",
        f"{_BAD_INPUT}[PATHS]"),
    Elsewhere("wrong method", HERE, "MethodNotAllowedException", 405, "...",
        f"{_BAD_INPUT}[PATHS]"),
    Elsewhere("body that comes too slowly", HERE, "RequestTimeoutException", 408, "...",
        "tests/server/test_body.py::test_silence_ends_in_408"),
    Elsewhere("body of another kind than JSON", HERE, "UnsupportedMediaTypeException", 415, "...",
        f"{_BAD_INPUT}[TYPES]"),
    Elsewhere("too many writes for the moment", HERE, "TooManyRequestsException", 429, "...",
        "tests/server/test_app.py::test_errors_of_the_service"),
    Elsewhere("a rate is exceeded", HERE, "TooManyRequestsException", 429, "Rate exceeded: <limit>",
        "tests/server/test_throttle.py::test_the_answer_to_too_many_requests_says_when_to_come_back"),
    Elsewhere("a fault of the server", AWS, "InternalServerException", 500, "Internal server error",
        "tests/server/test_app.py::test_an_unforeseen_error_is_logged_by_request_id_without_its_message"),
    Elsewhere("the store does not answer, or has no space left", HERE, "ServiceUnavailableException", 503, "...",
        "tests/cluster/test_full_disk.py::test_a_full_disk_refuses_writes_serves_reads_and_recovers"),
]
# fmt: on
"""Every other situation."""
