"""The 22 operations of S3 Vectors: their routes and the shapes of their input, one table.

Agrees with the service model of botocore, member by member (a test compares them); where it asks for more than
the model, the constant says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quiver.service.arn import BUCKET_ARN, INDEX_ARN
from quiver.service.shapes import (
    Boolean,
    Document,
    FloatList,
    Integer,
    ListOf,
    MapOf,
    String,
    Structure,
    Union,
    categories,
    regex,
)

if TYPE_CHECKING:
    from quiver.service.shapes import Shape

MAX_DIMENSION = 4096
MAX_TOP_K = 10_000
"""Largest topK. Not in the model, which knows only the minimum; the user guide states it."""
MAX_TAGS = 50
"""Tags of one resource. Not in the model; the user guide states it."""
TOO_MANY_TAGS = "Too many tags specified"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation on the wire. Its answer, when all goes well, has status 200.

    Attributes:
        name: of the operation, and the action policies name.
        method: HTTP method.
        path: route; a part in braces stands for a percent-encoded member of that name.
        input: the request.
        uri: input members taken from the path.
        query: input members taken from the query string, all of them repeatable.
    """

    name: str
    method: str
    path: str
    input: Structure
    uri: tuple[str, ...] = ()
    query: tuple[str, ...] = ()

    @property
    def has_body(self) -> bool:
        """Whether any member travels as a member of the JSON body."""
        return len(self.input.members) > len(self.uri) + len(self.query)


LANGUAGES = ("en", "fr", "es", "pt", "it", "de", "nl", "zh", "ja", "ko")
"""Languages of text search; without one the standard analyzer is used."""

_INDEX_MODE = String(enum=("CLASSIC", "ENHANCED"))
_METADATA_KEY = String(1, 63)
VECTOR_KEY = String(1, 1024)
VECTOR_DATA = Union({"float32": FloatList()})

_TAG_TEXT = categories(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", general="LZN", literal="_.:/=+-@")
_TAG_KEY = String(1, 128, _TAG_TEXT)
_TAGS = MapOf(_TAG_KEY, String(0, 256, _TAG_TEXT), MAX_TAGS, TOO_MANY_TAGS)
_RESOURCE_ARN = String(0, 1011)

_ENCRYPTION = Structure(
    {
        "sseType": String(enum=("AES256", "aws:kms")),
        "kmsKeyArn": String(1, 2048, regex("(arn:aws[-a-z0-9]*:kms:[-a-z0-9]*:[0-9]{12}:key/.+)")),
    }
)
_TEXT_SEARCH = Structure(
    {
        "metadataKey": _METADATA_KEY,
        "language": String(enum=LANGUAGES),
        "status": String(enum=("ACTIVE", "BUILDING")),
    },
    required=("metadataKey",),
)
_TEXT_SEARCH_KEY = Structure({"metadataKey": _METADATA_KEY}, required=("metadataKey",))
_METADATA_CONFIGURATION = Structure(
    {
        "nonFilterableMetadataKeys": ListOf(_METADATA_KEY, 0, 10),
        "textSearchConfigurations": ListOf(_TEXT_SEARCH, 0, 10),
    }
)
RECORD = Structure(
    {"key": VECTOR_KEY, "data": VECTOR_DATA, "metadata": Document()},
    required=("key", "data"),
)
QUERY_TEXT = Structure(
    {"text": String(1, 1024), "metadataKey": _METADATA_KEY},
    required=("text", "metadataKey"),
)

_BUCKET_NAME: dict[str, Shape] = {"vectorBucketName": String(3, 63)}
_INDEX_NAME: dict[str, Shape] = {"indexName": String(3, 63)}
_BUCKET = _BUCKET_NAME | {"vectorBucketArn": String(pattern=regex(BUCKET_ARN))}
INDEX_MEMBERS = _BUCKET_NAME | _INDEX_NAME | {"indexArn": String(pattern=regex(INDEX_ARN))}
_RETURN: dict[str, Shape] = {"returnData": Boolean(), "returnMetadata": Boolean()}


def _page(max_results: int, max_token: int) -> dict[str, Shape]:
    return {"maxResults": Integer(1, max_results), "nextToken": String(1, max_token)}


def _post(name: str, members: dict[str, Shape], *required: str) -> Operation:
    return Operation(name, "POST", f"/{name}", Structure(members, required))


def _tags(name: str, method: str, query: tuple[str, ...] = (), **members: Shape) -> Operation:
    shape = Structure({"resourceArn": _RESOURCE_ARN, **members}, ("resourceArn", *members))
    return Operation(name, method, "/tags/{resourceArn}", shape, uri=("resourceArn",), query=query)


_ALL = (
    _post(
        "CreateVectorBucket",
        _BUCKET_NAME | {"encryptionConfiguration": _ENCRYPTION, "tags": _TAGS},
        "vectorBucketName",
    ),
    _post("GetVectorBucket", _BUCKET),
    _post("ListVectorBuckets", _page(500, 512) | {"prefix": String(1, 63)}),
    _post("DeleteVectorBucket", _BUCKET),
    _post("PutVectorBucketPolicy", _BUCKET | {"policy": String()}, "policy"),
    _post("GetVectorBucketPolicy", _BUCKET),
    _post("DeleteVectorBucketPolicy", _BUCKET),
    _post("PutVectorBucketDefaultIndexMode", _BUCKET | {"defaultIndexMode": _INDEX_MODE}, "defaultIndexMode"),
    _post(
        "CreateIndex",
        _BUCKET
        | _INDEX_NAME
        | {
            "dataType": String(enum=("float32",)),
            "dimension": Integer(1, MAX_DIMENSION),
            "distanceMetric": String(enum=("euclidean", "cosine")),
            "metadataConfiguration": _METADATA_CONFIGURATION,
            "encryptionConfiguration": _ENCRYPTION,
            "tags": _TAGS,
        },
        "indexName",
        "dataType",
        "dimension",
        "distanceMetric",
    ),
    _post("GetIndex", INDEX_MEMBERS),
    _post("ListIndexes", _BUCKET | _page(500, 512) | {"prefix": String(1, 63)}),
    _post("DeleteIndex", INDEX_MEMBERS),
    _post("UpdateIndexMode", INDEX_MEMBERS | {"indexMode": _INDEX_MODE}, "indexMode"),
    _post(
        "UpdateMetadataConfiguration",
        INDEX_MEMBERS
        | {
            "add": Structure({"textSearchConfigurations": ListOf(_TEXT_SEARCH, 0, 10)}),
            "delete": Structure({"textSearchConfigurations": ListOf(_TEXT_SEARCH_KEY, 1, 10)}),
        },
    ),
    _post("PutVectors", INDEX_MEMBERS | {"vectors": ListOf(RECORD, 1, 500)}, "vectors"),
    _post("GetVectors", INDEX_MEMBERS | {"keys": ListOf(VECTOR_KEY, 1, 100)} | _RETURN, "keys"),
    _post(
        "ListVectors",
        INDEX_MEMBERS
        | _page(1000, 2048)
        | {"segmentCount": Integer(1, 16), "segmentIndex": Integer(0, 15)}
        | _RETURN,
    ),
    _post("DeleteVectors", INDEX_MEMBERS | {"keys": ListOf(VECTOR_KEY, 1, 500)}, "keys"),
    _post(
        "QueryVectors",
        INDEX_MEMBERS
        | {
            "topK": Integer(1, MAX_TOP_K),
            "queryVector": VECTOR_DATA,
            "filter": Document(),
            "queryMode": _INDEX_MODE,
            "returnMetadata": Boolean(),
            "returnDistance": Boolean(),
            "queryTexts": ListOf(QUERY_TEXT, 1, 10),
            "returnScores": Boolean(),
            "nextToken": String(1, 4096),
        },
        "topK",
    ),
    _tags("TagResource", "POST", tags=_TAGS),
    _tags("UntagResource", "DELETE", query=("tagKeys",), tagKeys=ListOf(_TAG_KEY)),
    _tags("ListTagsForResource", "GET"),
)

OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _ALL}
"""Every operation by name."""
