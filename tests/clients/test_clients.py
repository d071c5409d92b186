"""Other people's S3 Vectors clients, unmodified, against `quiver serve`; needs `make clients` to have been run.

Each runs the tests that its makers wrote for AWS, where they publish any, and else a suite of ours in `suites/`.
A test that fails is listed with the reason; one that no longer does is noticed, too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from api.workbench import connect
from clients.catalogue import CLIENTS
from clients.neighbours import Neighbours
from clients.running import (
    NODE,
    SUITES,
    VENV,
    client_environment,
    requests_in,
    run_node,
    run_suite,
    source_distribution,
)
from cluster.processes import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clients.running import Outcome

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not (VENV / "bin" / "python").exists(), reason="make clients has not been run"),
]
OWN_CONFIGURATION = ("-c", str(SUITES / "pytest.ini"))
BUCKET = "clients-own-tests"


class World(NamedTuple):
    """A running server, its log, and the environment that leads clients to it."""

    server: Server
    log: Path
    variables: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("clients")
    log = directory / "log"
    with (
        Neighbours() as neighbours,
        Server(directory / "root", workers=2, log=log, QUIVER_LOG_LEVEL="info") as server,
    ):
        connect(server.url).create_vector_bucket(vectorBucketName=BUCKET)
        yield World(server, log, client_environment(server.url, directory / "home", neighbours.variables))
        assert server.stop() == 0
    assert "unforeseen" not in log.read_text()


def run(name: str, world: World, tmp_path: Path, *arguments: str, directory: Path = SUITES, **more: str) -> None:
    """pytest, with the clients' Python."""
    start = world.log.stat().st_size
    outcome = run_suite(arguments, directory, world.variables | more, tmp_path / "report.xml")
    prove(name, world, outcome, start)


def prove(name: str, world: World, outcome: Outcome, start: int) -> None:
    """A run came out as the catalogue has it, and what it asked since a byte of the log was answered."""
    expected = CLIENTS[name]
    assert outcome.failed == set(expected.failing), outcome.output
    assert outcome.skipped == set(), outcome.output
    assert len(outcome.passed) == expected.passing, outcome.output
    requests = requests_in(world.log, start)
    assert {operation for operation, _ in requests} >= set(CLIENTS[name].operations), requests
    assert [status for _, status in requests if status >= 500] == []


def test_langchain_standard_suite(world: World, tmp_path: Path) -> None:
    run("langchain-tests", world, tmp_path, *OWN_CONFIGURATION, "langchain_standard.py")


def test_langchain_store(world: World, tmp_path: Path) -> None:
    run("langchain-aws", world, tmp_path, *OWN_CONFIGURATION, "langchain_store.py")


def test_langchain_aws_own_tests(world: World, tmp_path: Path) -> None:
    source = source_distribution("langchain_aws", tmp_path)
    tests = "tests/integration_tests/vectorstores/test_s3_vectors.py"
    bucket = {"INTEGRATION_TEST_S3_VECTORS_VECTOR_BUCKET_NAME": BUCKET}
    run("langchain-aws (its own tests)", world, tmp_path, tests, directory=source, **bucket)


def test_llama_index_store(world: World, tmp_path: Path) -> None:
    run("llama-index", world, tmp_path, *OWN_CONFIGURATION, "llama_index_store.py")


@pytest.mark.skipif("LLAMA_INDEX_TESTS" not in os.environ, reason="LLAMA_INDEX_TESTS names no file of its tests")
def test_llama_index_own_tests(world: World, tmp_path: Path) -> None:
    """Those of a checkout: no package holds them. LLAMA_INDEX_TESTS is the path of its test_s3_vector_store.py."""
    tests = os.environ["LLAMA_INDEX_TESTS"]
    bucket = {"S3_BUCKET_NAME": BUCKET}
    run("llama-index (its own tests)", world, tmp_path, *OWN_CONFIGURATION, tests, **bucket)


def test_mem0_store(world: World, tmp_path: Path) -> None:
    run("mem0", world, tmp_path, *OWN_CONFIGURATION, "mem0_store.py")


@pytest.mark.skipif(not (NODE / "node_modules").exists(), reason="make clients found no npm")
def test_javascript_sdk(world: World, tmp_path: Path) -> None:
    start = world.log.stat().st_size
    prove("javascript", world, run_node(NODE, world.variables, tmp_path / "report.xml"), start)


def test_moto_tests_verified_against_aws(world: World, tmp_path: Path) -> None:
    """In the mode its maintainers use to run them on AWS itself, so nothing of moto's own answers."""
    source = source_distribution("moto", tmp_path)
    really = {"MOTO_TEST_ALLOW_AWS_REQUEST": "true"}
    run("moto", world, tmp_path, "tests/test_s3vectors", "-m", "aws_verified", directory=source, **really)
