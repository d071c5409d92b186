"""The contract on a server of two workers over an encrypted directory, and KMS keys of buckets and indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from api.contract import ApiContract
from api.roots import reason_to_skip
from api.vectors import VectorContract
from api.wire import WireContract
from api.workbench import connect, fresh_name, record

if TYPE_CHECKING:
    from api.conftest import Encrypted
    from api.workbench import Workbench
    from cluster.processes import Server

PATHS = [{"path": "EncryptionConfiguration"}]


@pytest.fixture(scope="module")
def server(encrypted: Encrypted) -> Server:
    return encrypted.server


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    return connect(server.url)


SHARE = (VectorContract,)
WHOLE = (ApiContract, WireContract)


@pytest.mark.slow
class TestEncryptedRoot(*(SHARE if reason_to_skip("encrypted") else WHOLE)):
    """Everything where it is asked for; otherwise that what is written is what is read."""


@pytest.mark.slow
class TestKmsKeys:
    def test_an_index_has_its_buckets_key_unless_it_says_otherwise(
        self, client: Any, encrypted: Encrypted
    ) -> None:
        kms = {"sseType": "aws:kms", "kmsKeyArn": encrypted.kms_key}
        bucket = fresh_name()
        client.create_vector_bucket(vectorBucketName=bucket, encryptionConfiguration=kms)
        shown = client.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]
        assert shown["encryptionConfiguration"] == kms
        rest = {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
        for name, given in (
            ("inherits", {}),
            ("own", {"encryptionConfiguration": {"sseType": "AES256"}}),
            ("empty", {"encryptionConfiguration": {}}),
        ):
            client.create_index(vectorBucketName=bucket, indexName=name, **rest, **given)
            found = client.get_index(vectorBucketName=bucket, indexName=name)["index"]["encryptionConfiguration"]
            assert found == (kms if name == "inherits" else {"sseType": "AES256"})
            client.put_vectors(vectorBucketName=bucket, indexName=name, vectors=[record("a", [1, 2])])
            answer = client.query_vectors(
                vectorBucketName=bucket, indexName=name, topK=1, queryVector={"float32": [1, 2]}
            )
            assert [hit["key"] for hit in answer["vectors"]] == ["a"]
            client.delete_index(vectorBucketName=bucket, indexName=name)
        client.delete_vector_bucket(vectorBucketName=bucket)

    @pytest.mark.parametrize("known", [True, False], ids=["a key that is there", "a key that is not"])
    def test_key_and_type_go_together(self, bench: Workbench, encrypted: Encrypted, known: bool) -> None:
        key = encrypted.kms_key if known else f"{encrypted.kms_key[:-1]}x"
        create = bench.in_bucket | {
            "indexName": "abc",
            "dataType": "float32",
            "dimension": 2,
            "distanceMetric": "cosine",
        }
        refused = (
            ({"kmsKeyArn": key}, "ValidationException", "kmsKeyArn must not be specified when sseType is AES256."),
            (
                {"sseType": "AES256", "kmsKeyArn": key},
                "ValidationException",
                "kmsKeyArn must not be specified when sseType is AES256.",
            ),
            (
                {"sseType": "aws:kms"},
                "ValidationException",
                "kmsKeyArn must be specified when sseType is set to aws:kms",
            ),
            *(
                ()
                if known
                else (
                    (
                        {"sseType": "aws:kms", "kmsKeyArn": key},
                        "AccessDeniedException",
                        f"Key '{key}' does not exist (kms_request_id=",
                    ),
                )
            ),
        )
        for given, code, message in refused:
            with pytest.raises(ClientError) as caught:
                bench.client.create_index(**create, encryptionConfiguration=given)
            error = caught.value.response
            assert error["Error"]["Code"] == code
            assert error["Error"]["Message"].startswith(message)
            assert error.get("fieldList", []) == (
                [PATHS[0] | {"message": message}] if code == "ValidationException" else []
            )
