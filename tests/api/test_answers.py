"""The bodies of answers of all 22 operations have the members of the service model, and no others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from api.model import MODEL, conform, members, output_of
from api.workbench import Workbench, connect, record

if TYPE_CHECKING:
    from cluster.processes import Server

ALL = {path for operation in MODEL["operations"] for path in members(operation, output_of(operation))}
NOT_SHOWN_HERE = {path for path in ALL if path.endswith("/kmsKeyArn")}
"""The ARN of a KMS key, which is there only where there are KMS keys: see test_encrypted_root.py."""
TEXTS = [{"metadataKey": "s", "language": "en"}]


class Witness:
    """A boto3 client whose answers are compared with the model as they come. `seen` are the members."""

    def __init__(self, url: str) -> None:
        self.seen: set[str] = set()
        self.operations: set[str] = set()
        self.client = connect(url)
        self.client.meta.events.register("before-parse.s3vectors", self._look)

    def _look(self, operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
        operation = operation_model.name
        body = json.loads(response_dict["body"] or b"{}")
        assert response_dict["status_code"] == 200, body
        self.operations.add(operation)
        conform(operation, output_of(operation), body, self.seen)


def tour(client: Any) -> None:
    """Calls of every operation that can succeed, with as much in the answers as there can be."""
    bench = Workbench(client)
    client.put_vector_bucket_default_index_mode(**bench.in_bucket, defaultIndexMode="ENHANCED")
    arn = client.get_vector_bucket(**bench.in_bucket)["vectorBucket"]["vectorBucketArn"]
    client.put_vector_bucket_policy(**bench.in_bucket, policy='{"Statement":[]}')
    client.get_vector_bucket_policy(**bench.in_bucket)
    client.delete_vector_bucket_policy(**bench.in_bucket)
    configuration = {"nonFilterableMetadataKeys": ["hidden"], "textSearchConfigurations": TEXTS}
    names = bench.index(metadataConfiguration=configuration, tags={"a": "b"})
    bench.index()
    client.create_vector_bucket(vectorBucketName=f"{bench.bucket}-2")
    client.list_vector_buckets(prefix=bench.bucket, maxResults=1)
    client.list_indexes(**bench.in_bucket, maxResults=1)
    client.update_index_mode(**names, indexMode="ENHANCED")
    client.get_index(**names)
    vectors = [record(f"k{n}", [n, 1], {"n": n, "s": "x", "l": [1.5], "b": True}) for n in range(120)]
    client.put_vectors(**names, vectors=vectors)
    everything = {"returnData": True, "returnMetadata": True}
    client.get_vectors(**names, keys=["k0", "absent"], **everything)
    client.list_vectors(**names, maxResults=5, **everything)
    query = {"topK": 110, "queryVector": {"float32": [0, 1]}, "returnDistance": True, "returnMetadata": True}
    client.query_vectors(**names, **query)
    client.query_vectors(**names, **query, queryTexts=[{"metadataKey": "s", "text": "x"}], returnScores=True)
    client.update_metadata_configuration(**names, delete={"textSearchConfigurations": [{"metadataKey": "s"}]})
    client.delete_vectors(**names, keys=["k0"])
    client.tag_resource(resourceArn=arn, tags={"c": "d"})
    client.list_tags_for_resource(resourceArn=arn)
    client.untag_resource(resourceArn=arn, tagKeys=["c"])
    client.delete_index(**names)
    client.delete_vector_bucket(vectorBucketName=f"{bench.bucket}-2")


@pytest.fixture(scope="module")
def witness(local_server: Server) -> Witness:
    witness = Witness(local_server.url)
    tour(witness.client)
    return witness


def test_every_operation_answers_in_the_shape_of_the_model(witness: Witness) -> None:
    assert set(MODEL["operations"]) == witness.operations


def test_every_member_of_every_answer_is_seen(witness: Witness) -> None:
    assert ALL - witness.seen == NOT_SHOWN_HERE
