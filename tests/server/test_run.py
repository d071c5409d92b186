"""The whole server as `quiver serve` starts it: real workers over a real directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from server.fakes import KEY, SECRET
from server.processes import free_port

PROGRAM = """
import os, sys
from quiver.server.run import run
from quiver.settings import load
if __name__ == "__main__":
    run(load(os.environ), on_ready=lambda: print("ready", flush=True))
"""


@pytest.fixture
def running(tmp_path):
    port, program = free_port(), tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
        "QUIVER_ROOT": str(tmp_path / "data"),
        "QUIVER_PORT": str(port),
        "QUIVER_ADMIN_PORT": str(free_port()),
        "QUIVER_WORKERS": "2",
        "QUIVER_REGION": "eu-west-1",
        "QUIVER_ACCESS_KEY_ID": KEY,
        "QUIVER_SECRET_ACCESS_KEY": SECRET,
    }
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    yield process, port, log
    if process.poll() is None:
        process.terminate()
        process.wait(30)
    process.stdout.close()


def test_workers_serve_one_directory_and_log_json(running):
    process, port, log = running
    assert process.stdout.readline() == "ready\n", log.read_text()
    client = boto3.client(
        "s3vectors",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="eu-west-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.create_vector_bucket(vectorBucketName="bucket-1")
    name = {"vectorBucketName": "bucket-1", "indexName": "index-1"}
    client.create_index(**name, dataType="float32", dimension=2, distanceMetric="euclidean")
    vectors = [{"key": str(n), "data": {"float32": [n, 0.5]}, "metadata": {"n": n}} for n in range(10)]
    client.put_vectors(**name, vectors=vectors)
    hits = client.query_vectors(**name, topK=2, queryVector={"float32": [7, 0.5]}, returnMetadata=True)
    assert hits["vectors"][0] == {"key": "7", "metadata": {"n": 7}}
    with pytest.raises(client.exceptions.ValidationException, match="vector contains NaNs or Infs"):
        client.put_vectors(**name, vectors=[{"key": "x", "data": {"float32": [float("nan"), 1]}}])
    process.terminate()
    assert process.wait(30) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"CreateVectorBucket", "PutVectors", "QueryVectors"} <= {line["operation"] for line in lines}
    assert SECRET not in log.read_text()
