"""The real `aws s3vectors` command: every operation it knows, and those of botocore's newer model.

The command line carries a service model of its own. One that lacks the newest operations learns them as
`aws configure add-model` would teach it, from the model of the installed botocore.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import botocore
import pytest

from api.model import API_VERSION
from api.texts import wait_until_active
from api.workbench import REGION, Workbench, bucket_arn, fresh_name, record
from cli.running import KEYS
from quiver.service.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.processes import Server


MODEL = Path(botocore.__file__).parent / "data" / "s3vectors"
LACKING = {"PutVectorBucketDefaultIndexMode", "UpdateIndexMode", "UpdateMetadataConfiguration"}
"""Operations that the command does not know by itself. When they come, this test says so."""
LACKING_IN_QUERIES = {"queryTexts", "queryMode", "returnScores"}
NURSERY = """
import contextlib, io, json, os, sys, tempfile
import awscli.clidriver

driver = awscli.clidriver.create_clidriver()
with contextlib.redirect_stderr(io.StringIO()):
    driver.main(["s3vectors", "get-index", "--endpoint-url", "none"])  # so that the models are read

def run(words):
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        if (child := os.fork()) == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            code = driver.main(words)
            sys.stdout.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (output, errors):
            file.seek(0)
        return code, output.read().decode(), errors.read().decode()

for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
"""
"""Each command is run by the tool's own driver in a process of its own, but imports and models are read once."""


class Aws:
    """`aws s3vectors`, configured by a home and an environment of its own, pointed at a server."""

    def __init__(self, url: str, home: Path) -> None:
        (home / ".aws").mkdir(parents=True)
        (home / ".aws" / "config").write_text(f"[default]\nregion = {REGION}\noutput = json\ncli_pager =\n")
        (home / ".aws" / "credentials").write_text(
            f"[default]\naws_access_key_id = {KEYS['QUIVER_ACCESS_KEY_ID']}\n"
            f"aws_secret_access_key = {KEYS['QUIVER_SECRET_ACCESS_KEY']}\n"
        )
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "AWS_ENDPOINT_URL_S3VECTORS": url,
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PYTHONUTF8": "1",
        }
        self.used: set[str] = set()
        self._nursery: subprocess.Popen[str] | None = None

    def learn_the_newest_operations(self) -> None:
        self.close()  # it has read the models
        shutil.copytree(MODEL, Path(self.environment["HOME"]) / ".aws" / "models" / "s3vectors")

    def run(self, command: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
        """One command. A value that is no string is passed as JSON; True is a bare flag."""
        self.used.add(command)
        words = ["s3vectors", command]
        for name, value in arguments.items():
            words.append("--" + name.replace("_", "-"))
            if value is not True:
                words.append(value if isinstance(value, str) else json.dumps(value))
        return self._start(words)

    def _start(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """`aws WORDS` in a process of its own, a fork of one that has imported what all of them need."""
        if self._nursery is None:
            self._nursery = subprocess.Popen(
                [sys.executable, "-c", NURSERY],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        self._nursery.stdin.write(json.dumps(words) + "\n")
        self._nursery.stdin.flush()
        return subprocess.CompletedProcess(words, *json.loads(self._nursery.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.communicate(timeout=60)
            self._nursery = None

    def __call__(self, command: str, **arguments: Any) -> Any:
        done = self.run(command, **arguments)
        assert done.returncode == 0, (command, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, command: str, **arguments: Any) -> str:
        done = self.run(command, **arguments)
        assert done.returncode in (254, 255), (command, done.stdout, done.stderr)
        return done.stderr.strip()


def bundled_model() -> dict[str, Any]:
    """The service model that came with the command."""
    (folder,) = importlib.util.find_spec("awscli").submodule_search_locations
    file = Path(folder) / "botocore" / "data" / "s3vectors" / API_VERSION / "service-2.json"
    return json.loads(file.read_text())


def test_what_the_command_does_not_know_yet() -> None:
    model = bundled_model()
    assert set(OPERATIONS) - set(model["operations"]) == LACKING
    query = model["shapes"][model["operations"]["QueryVectors"]["input"]["shape"]]["members"]
    assert set(OPERATIONS["QueryVectors"].input.members) - set(query) == LACKING_IN_QUERIES


@pytest.fixture
def aws(local_server: Server, tmp_path: Path) -> Iterator[Aws]:
    with Aws(local_server.url, tmp_path) as command:
        yield command


@pytest.mark.slow
def test_paging(aws: Aws, local_client: Any) -> None:
    """All pages by itself, and by hand with --max-items and --starting-token."""
    bench = Workbench(local_client)
    names = bench.filled(*(record(f"k{n}", [n, 0]) for n in range(120)))
    index = {"vector_bucket_name": names["vectorBucketName"], "index_name": names["indexName"]}
    assert len(aws("list-vectors", **index, page_size="50")["vectors"]) == 120
    first = aws("list-vectors", **index, page_size="50", max_items="70")
    rest = aws("list-vectors", **index, page_size="50", starting_token=first["NextToken"])
    keys = [vector["key"] for part in (first, rest) for vector in part["vectors"]]
    assert (len(first["vectors"]), len(keys), len(set(keys))) == (70, 120, 120)
    bucket = {"vector_bucket_name": bench.bucket}
    assert [found["indexName"] for found in aws("list-indexes", **bucket, page_size="1")["indexes"]] == [
        names["indexName"]
    ]
    found = aws("list-vector-buckets", prefix=bench.bucket, page_size="1")["vectorBuckets"]
    assert [each["vectorBucketName"] for each in found] == [bench.bucket]


@pytest.mark.slow
def test_every_operation(aws: Aws, local_client: Any) -> None:
    bucket = {"vector_bucket_name": fresh_name()}
    arn = bucket_arn(bucket["vector_bucket_name"])

    assert aws("create-vector-bucket", **bucket, tags={"made": "by cli"})["vectorBucketArn"] == arn
    assert aws("get-vector-bucket", vector_bucket_arn=arn)["vectorBucket"]["vectorBucketArn"] == arn
    listed = aws("list-vector-buckets", prefix=bucket["vector_bucket_name"])["vectorBuckets"]
    assert [found["vectorBucketArn"] for found in listed] == [arn]
    aws("put-vector-bucket-policy", **bucket, policy='{"Statement": []}')
    assert json.loads(aws("get-vector-bucket-policy", **bucket)["policy"]) == {"Statement": []}
    aws("delete-vector-bucket-policy", **bucket)
    assert "(NotFoundException)" in aws.refused("get-vector-bucket-policy", **bucket)

    index = bucket | {"index_name": "words"}
    created = aws(
        "create-index",
        **index,
        data_type="float32",
        dimension="3",
        distance_metric="cosine",
        metadata_configuration={"nonFilterableMetadataKeys": ["text"]},
    )
    assert created["indexArn"] == f"{arn}/index/words"
    assert aws("get-index", index_arn=created["indexArn"])["index"]["dimension"] == 3
    assert [found["indexName"] for found in aws("list-indexes", **bucket)["indexes"]] == ["words"]

    vectors = [
        {"key": f"k{n}", "data": {"float32": [1, n, 0.5]}, "metadata": {"n": n, "text": "\u00e9"}}
        for n in range(120)
    ]
    aws("put-vectors", **index, vectors=vectors)
    got = aws("get-vectors", **index, keys=["k7"], return_data=True, return_metadata=True)["vectors"]
    assert got == [vectors[7]]
    assert len(aws("list-vectors", **index, segment_count="1", segment_index="0")["vectors"]) == 120
    query = {"query_vector": {"float32": [1, 7, 0.5]}, "return_distance": True}
    hit = aws("query-vectors", **index, **query, top_k="1", filter={"n": {"$gt": 5}})["vectors"][0]
    assert hit["key"] == "k7"
    assert abs(hit["distance"]) < 1e-5
    aws("delete-vectors", **index, keys=["k7", "unknown"])
    assert aws("get-vectors", **index, keys=["k7"])["vectors"] == []
    assert "(ValidationException)" in aws.refused("query-vectors", **index, **query, top_k="1", filter={})

    aws("tag-resource", resource_arn=created["indexArn"], tags={"a b": "c", "d": "\u00e9"})
    aws("untag-resource", resource_arn=created["indexArn"], tag_keys=["a b"])
    assert aws("list-tags-for-resource", resource_arn=created["indexArn"])["tags"] == {"d": "\u00e9"}
    assert aws("list-tags-for-resource", resource_arn=arn)["tags"] == {"made": "by cli"}

    aws.learn_the_newest_operations()
    aws("put-vector-bucket-default-index-mode", **bucket, default_index_mode="ENHANCED")
    assert aws("get-vector-bucket", **bucket)["vectorBucket"]["defaultIndexMode"] == "ENHANCED"
    aws("update-index-mode", **index, index_mode="ENHANCED")
    searchable = {"textSearchConfigurations": [{"metadataKey": "text", "language": "fr"}]}
    assert aws("update-metadata-configuration", **index, add=searchable)["indexArn"] == created["indexArn"]
    wait_until_active(Workbench(local_client), {"indexArn": created["indexArn"]})
    shown = aws("get-index", **index)["index"]["metadataConfiguration"]
    assert shown == {
        "nonFilterableMetadataKeys": ["text"],
        "textSearchConfigurations": [{"metadataKey": "text", "language": "fr", "status": "ACTIVE"}],
    }
    vectors[3]["metadata"]["text"] = "fl\u00e8che"
    aws("put-vectors", **index, vectors=[vectors[3]])
    words = {"query_texts": [{"metadataKey": "text", "text": "Fl\u00e8ches"}], "return_scores": True}
    (found,) = aws("query-vectors", **index, **words, top_k="9")["vectors"]
    assert (found["key"], found["scores"]["bm25Scores"][0]["metadataKey"]) == ("k3", "text")
    aws("update-metadata-configuration", **index, delete={"textSearchConfigurations": [{"metadataKey": "text"}]})
    assert len(aws("query-vectors", **index, **query, top_k="110")["vectors"]) == 110  # pages by itself

    assert "(ConflictException)" in aws.refused("delete-vector-bucket", **bucket)
    aws("delete-index", **index)
    aws("delete-vector-bucket", **bucket)
    assert "The specified vector bucket could not be found" in aws.refused("get-vector-bucket", **bucket)
    assert {word.replace("-", "") for word in aws.used} == {name.lower() for name in OPERATIONS}
