"""What the server does for HTTP clients beyond the operations: headers, ids, spellings, boto3's own checks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from api.workbench import Workbench, connect, fresh_name, record

if TYPE_CHECKING:
    from cluster.processes import Server

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class WireContract:
    """Behaviour of a server; `server` is the running one."""

    def test_every_answer_has_a_request_id_of_its_own(self, bench: Workbench) -> None:
        answers = [bench.client.list_indexes(**bench.in_bucket)["ResponseMetadata"] for _ in range(2)]
        with pytest.raises(ClientError) as caught:
            bench.client.get_vector_bucket(vectorBucketName="unknown-bucket")
        answers.append(caught.value.response["ResponseMetadata"])
        ids = [answer["RequestId"] for answer in answers]
        assert all(UUID.fullmatch(request_id) for request_id in ids)
        assert len(set(ids)) == 3
        assert [answer["HTTPHeaders"]["content-type"] for answer in answers] == ["application/json"] * 3

    def test_errors_name_their_type_in_a_header(self, bench: Workbench) -> None:
        with pytest.raises(bench.client.exceptions.ConflictException) as caught:
            bench.client.create_vector_bucket(**bench.in_bucket)
        headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
        assert headers["x-amzn-errortype"] == "ConflictException"

    def test_boto3_with_its_own_validation_refuses_what_it_knows_and_sends_the_rest(
        self, bench: Workbench, server: Server
    ) -> None:
        client, names = connect(server.url, parameter_validation=True), bench.index()
        client.put_vectors(**names, vectors=[record("a", [1, 2], {"n": [1, 2]})])
        found = client.query_vectors(**names, topK=1, queryVector={"float32": [1, 2]}, filter={"n": 2})
        assert found["vectors"] == [{"key": "a"}]
        with pytest.raises(ParamValidationError):
            client.query_vectors(**names, queryVector={"float32": [1, 2]})
        with pytest.raises(ParamValidationError):
            client.create_vector_bucket(vectorBucketName="ab")
        create = bench.in_bucket | {"indexName": "abc", "distanceMetric": "cosine"}
        for change in ({"dataType": "int", "dimension": 2}, {"dataType": "float32", "dimension": 99999}):
            with pytest.raises(client.exceptions.ValidationException) as caught:
                client.create_index(**create, **change)
            assert len(caught.value.response["fieldList"]) == 1

    def test_non_finite_components_travel_as_strings(self, bench: Workbench, server: Server) -> None:
        client, names = connect(server.url, parameter_validation=True), bench.index()
        for bad in (float("nan"), float("inf"), float("-inf")):
            with pytest.raises(client.exceptions.ValidationException, match="vector contains NaNs or Infs"):
                client.put_vectors(**names, vectors=[record("a", [1, bad])])

    def test_the_path_prefix_of_older_clients(self, bench: Workbench, server: Server) -> None:
        client, names = connect(f"{server.url}/s3-vectors"), bench.filled(record("a", [1, 2]))
        assert client.get_vectors(**names, keys=["a"])["vectors"] == [{"key": "a"}]
        arn = client.get_index(**names)["index"]["indexArn"]
        client.tag_resource(resourceArn=arn, tags={"a b": "c"})
        client.untag_resource(resourceArn=arn, tagKeys=["x y", "a b"])
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {}

    def test_both_workers_see_a_write_at_once(self, bench: Workbench, server: Server) -> None:
        clients: list[Any] = [connect(server.url) for _ in range(6)]  # connections spread over the workers
        names = bench.index()
        for n, writer in enumerate(clients):
            writer.put_vectors(**names, vectors=[record(f"k{n}", [n, 1])])
            writer.create_vector_bucket(vectorBucketName=(bucket := fresh_name()))
            for reader in clients:
                assert reader.get_vectors(**names, keys=[f"k{n}"])["vectors"] == [{"key": f"k{n}"}]
                assert (
                    reader.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]["vectorBucketName"] == bucket
                )
                found = reader.query_vectors(**names, topK=10, queryVector={"float32": [n, 1]})["vectors"]
                assert len(found) == n + 1
