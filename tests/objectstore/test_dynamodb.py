"""Tests of the commit table in DynamoDB: what it asks of the service, and how it takes failures."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from objectstore.commit_tables import dynamo_table, open_commit_store
from objectstore.contract import run
from objectstore.raw_server import with_raw_server
from quiver.model.errors import CorruptObjectError, StoreUnavailableError
from quiver.objectstore.commit_table import OBJECTS, UPLOADS, Item
from quiver.objectstore.dynamodb import DynamoTable
from quiver.objectstore.retrying_store import RetryingStore
from quiver.objectstore.spending import Spent, metered
from quiver.objectstore.store import StoreMisconfiguredError, StoreRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from objectstore.conftest import Moto
    from quiver.model.runtime import SystemRuntime

pytestmark = pytest.mark.usefixtures("aws_keys")

TOKENS = ["1" * 32, "2" * 32, "3" * 32]


def small(name: str, token: str = TOKENS[0], body: bytes = b"body") -> Item:
    return Item(name, token, len(body), 1.5, body)


def large(name: str, token: str = TOKENS[0]) -> Item:
    return Item(name, token, 10**9, 1.5)


@pytest.fixture
def table(moto: Moto, commit_table: str, fresh_path: Callable[[], str], runtime: SystemRuntime) -> DynamoTable:
    return dynamo_table(moto, commit_table, f"s3://b/{fresh_path()}", runtime)


@pytest.fixture
def requests(table: DynamoTable) -> list[tuple[str, dict[str, Any]]]:
    """What the table asks of DynamoDB, as (operation, parameters)."""
    asked: list[tuple[str, dict[str, Any]]] = []
    table._client.meta.events.register(
        "provide-client-params.dynamodb",
        lambda params, model, **_: asked.append((model.name, params)),
    )
    return asked


def client(moto: Moto) -> Any:
    return boto3.client("dynamodb", endpoint_url=moto.endpoint, region_name="us-east-1")


def test_an_item_comes_back_as_it_was(table: DynamoTable) -> None:
    async def work() -> None:
        assert await table.create(small("a")) is None
        assert await table.read("a") == small("a")
        assert await table.read("b") is None
        assert await table.list(OBJECTS, "") == [Item("a", TOKENS[0], 4, 1.5)]

    run(work())


def test_a_conflict_tells_who_has_the_name_in_the_same_request(table: DynamoTable, requests: list[Any]) -> None:
    async def work() -> None:
        await table.create(small("a"))
        await table.announce(large(TOKENS[1], TOKENS[1]))
        del requests[:]
        assert await table.create(small("a", TOKENS[2])) == small("a")
        assert await table.publish(large("a", TOKENS[1])) == small("a")
        assert [name for name, _ in requests] == ["PutItem", "TransactWriteItems"]
        assert [item.name for item in await table.list(UPLOADS, "")] == [TOKENS[1]]

    run(work())


def test_publishing_ends_the_announcement(table: DynamoTable) -> None:
    async def work() -> None:
        await table.announce(large(TOKENS[0]))
        assert await table.publish(large("a")) is None
        assert await table.read("a") == large("a")
        assert await table.list(UPLOADS, "") == []

    run(work())


@pytest.mark.parametrize(
    ("told", "units"),
    [
        (None, 1.0),
        ({}, 1.0),
        ({"ConsumedCapacity": {"CapacityUnits": 16.0}}, 16.0),
        ({"ConsumedCapacity": [{"CapacityUnits": 4.0}, {"CapacityUnits": 0.5}]}, 4.5),
        ({"ConsumedCapacity": []}, 1.0),
    ],
)
def test_the_units_of_a_request_are_those_that_the_answer_tells(
    table: DynamoTable, monkeypatch: pytest.MonkeyPatch, told: Any, units: float
) -> None:
    def put_item(**request: Any) -> Any:
        assert request["ReturnConsumedCapacity"] == "TOTAL"
        return told

    async def work() -> Spent:
        monkeypatch.setattr(table._client, "put_item", put_item)
        with metered() as spent:
            await table.announce(large(TOKENS[0]))
        return spent

    assert run(work()) == Spent(table_writes=units)


def test_a_renewal_changes_the_time_and_nothing_else(table: DynamoTable) -> None:
    later = replace(large(TOKENS[0]), modified=99.5)

    async def work() -> None:
        await table.announce(large(TOKENS[0]))
        assert await table.renew(later)
        assert await table.list(UPLOADS, "") == [later]
        assert await table.publish(large("a")) is None

    run(work())


@pytest.mark.parametrize("removal", ["none", "begun", "finished"])
def test_a_renewal_brings_nothing_back(table: DynamoTable, removal: str) -> None:
    async def work() -> None:
        if removal != "none":
            await table.announce(large(TOKENS[0]))
            leaving = await table.begin_removal(UPLOADS, TOKENS[0])
            assert leaving is not None
            if removal == "finished":
                await table.finish_removal(UPLOADS, leaving)
        before = await table.list(UPLOADS, "")
        assert not await table.renew(large(TOKENS[0]))
        assert await table.list(UPLOADS, "") == before
        with pytest.raises(StoreUnavailableError, match="took too long"):
            await table.publish(large("a"))

    run(work())


@pytest.mark.parametrize("removal", ["none", "begun", "finished"])
def test_without_an_announcement_nothing_is_published(table: DynamoTable, removal: str) -> None:
    async def work() -> None:
        if removal != "none":
            await table.announce(large(TOKENS[0]))
            leaving = await table.begin_removal(UPLOADS, TOKENS[0])
            assert leaving is not None
            if removal == "finished":
                await table.finish_removal(UPLOADS, leaving)
        with pytest.raises(StoreUnavailableError, match="took too long"):
            await table.publish(large("a"))
        assert await table.read("a") is None

    run(work())


def test_removals_go_by_the_token(table: DynamoTable) -> None:
    async def work() -> None:
        await table.announce(large(TOKENS[0]))
        await table.publish(large("a"))
        marked = await table.begin_removal(OBJECTS, "a")
        assert marked is not None
        found = await table.read("a")
        assert found is not None
        assert found.leaving
        await table.finish_removal(OBJECTS, large("a", TOKENS[1]))
        assert await table.read("a") == found
        await table.finish_removal(OBJECTS, marked)
        assert await table.read("a") is None
        await table.finish_removal(OBJECTS, marked)
        assert await table.begin_removal(OBJECTS, "a") is None

    run(work())


def test_what_is_small_goes_in_one_request(table: DynamoTable, requests: list[Any]) -> None:
    async def work() -> None:
        await table.create(small("a"))
        del requests[:]
        assert await table.begin_removal(OBJECTS, "a") is None
        assert [name for name, _ in requests] == ["DeleteItem"]
        assert await table.read("a") is None

    run(work())


def test_roots_in_one_table_do_not_see_each_other(
    moto: Moto, commit_table: str, fresh_path: Callable[[], str], runtime: SystemRuntime
) -> None:
    path = fresh_path()

    async def work() -> None:
        first, second = (dynamo_table(moto, commit_table, f"s3://b/{path}{n}", runtime) for n in ("", "/x"))
        assert await first.create(small("a")) is None
        assert await second.create(small("a", TOKENS[1])) is None
        assert [item.token for item in await first.list(OBJECTS, "")] == [TOKENS[0]]
        assert await first.list(UPLOADS, "") == []

    run(work())


def test_listings_pass_the_megabyte_of_a_page(table: DynamoTable, requests: list[Any]) -> None:
    names = [f"log/{number:04d}" for number in range(90)]

    async def work() -> None:
        await asyncio.gather(*(table.create(small(name, body=b"x" * 16_384)) for name in names))
        del requests[:]
        assert [item.name for item in await table.list(OBJECTS, "log/", names[4])] == names[5:]
        assert len(requests) > 1

    run(work())


def test_reads_are_strongly_consistent_and_nothing_expires(table: DynamoTable, requests: list[Any]) -> None:
    async def work() -> None:
        await table.now()
        await table.create(small("a"))
        await table.read("a")
        await table.list(OBJECTS, "")

    run(work())
    asked = dict(requests)
    assert asked["GetItem"]["ConsistentRead"] is True
    assert asked["Query"]["ConsistentRead"] is True
    assert set(asked["PutItem"]["Item"]) == {"root", "name", "token", "size", "modified", "body"}


def test_time_is_that_of_the_service(table: DynamoTable, runtime: SystemRuntime) -> None:
    assert abs(run(table.now()) - runtime.time()) < 5


def test_a_missing_table_is_named_with_the_command_that_makes_it(moto: Moto, runtime: SystemRuntime) -> None:
    missing = dynamo_table(moto, "no-such-table", "s3://b", runtime)
    with pytest.raises(StoreRefusedError, match=r"'no-such-table'.*--create-table"):
        run(missing.create(small("a")))
    with pytest.raises(StoreRefusedError, match=r"'no-such-table'.*--create-table"):
        run(missing.now())
    for work in (missing.read("a"), missing.list(OBJECTS, ""), missing.begin_removal(OBJECTS, "a")):
        with pytest.raises(StoreMisconfiguredError, match=r"'no-such-table'.*--create-table"):
            run(work)


def test_a_root_without_its_table_is_refused_at_once(moto: Moto, runtime: SystemRuntime) -> None:
    store = RetryingStore(open_commit_store(moto, "no-such-table", "root", runtime), runtime, patience=1000)
    began = runtime.monotonic()
    for work in (store.get("format"), store.list("index/")):
        with pytest.raises(StoreUnavailableError, match=r"'no-such-table'.*--create-table"):
            run(work)
    assert runtime.monotonic() - began < 100


def test_the_table_is_created_once_and_cannot_be_deleted_by_mistake(moto: Moto, runtime: SystemRuntime) -> None:
    table = dynamo_table(moto, "quiver-made", "s3://b", runtime)
    assert run(table.create_table()) is True
    assert run(table.create_table()) is False
    described = client(moto).describe_table(TableName="quiver-made")["Table"]
    assert described["DeletionProtectionEnabled"] is True
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_a_table_that_expires_items_is_refused(moto: Moto, runtime: SystemRuntime) -> None:
    table = dynamo_table(moto, "quiver-expiring", "s3://b", runtime)
    run(table.create_table())
    client(moto).update_time_to_live(
        TableName="quiver-expiring", TimeToLiveSpecification={"Enabled": True, "AttributeName": "modified"}
    )
    with pytest.raises(StoreRefusedError, match="expires"):
        run(dynamo_table(moto, "quiver-expiring", "s3://b", runtime).now())


def test_a_table_of_something_else_is_refused(moto: Moto, runtime: SystemRuntime) -> None:
    client(moto).create_table(
        TableName="other",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(StoreRefusedError, match="'other' has other keys"):
        run(dynamo_table(moto, "other", "s3://b", runtime).now())


@pytest.mark.parametrize(
    "damage",
    [
        {"token": {"S": "../../etc"}},
        {"token": {"N": "1"}},
        {"size": {"N": "99"}},
        {"size": {"S": "x"}},
        {"modified": {"BOOL": True}},
    ],
)
def test_items_that_make_no_sense_are_damage(
    moto: Moto, commit_table: str, table: DynamoTable, damage: dict[str, Any]
) -> None:
    run(table.create(small("a")))
    key = {"root": {"S": f"{table._root} {OBJECTS}"}, "name": {"S": "a"}}
    whole = client(moto).get_item(TableName=commit_table, Key=key)["Item"]
    client(moto).put_item(TableName=commit_table, Item=whole | damage)
    with pytest.raises(CorruptObjectError):
        run(table.read("a"))


def answer(status: str, code: str = ""):
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "told"})

    async def write(writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.0\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()

    return write


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer("400 Bad Request", "AccessDeniedException"), StoreRefusedError),
        (answer("400 Bad Request", "ResourceNotFoundException"), StoreRefusedError),
        (answer("400 Bad Request", "ValidationException"), StoreRefusedError),
        (answer("400 Bad Request", "UnrecognizedClientException"), StoreRefusedError),
        (answer("400 Bad Request", "ProvisionedThroughputExceededException"), StoreUnavailableError),
        (answer("400 Bad Request", "ThrottlingException"), StoreUnavailableError),
        (answer("400 Bad Request", "TransactionConflictException"), StoreUnavailableError),
        (answer("500 Internal Server Error", "InternalServerError"), StoreUnavailableError),
        (answer("503 Service Unavailable"), StoreUnavailableError),
        (hang_up, StoreUnavailableError),
    ],
)
def test_a_decision_is_asked_for_once_and_its_answer_told_apart(
    runtime: SystemRuntime, reply: Any, expected: type[Exception]
) -> None:
    async def work(endpoint: str, requests: list[str]) -> None:
        table = DynamoTable("commits", "s3://b", runtime, region="us-east-1", endpoint=endpoint)
        with pytest.raises(expected):
            await table.create(small("a"))
        assert len(requests) == 1
        await table.close()

    with_raw_server(reply, work)


def test_without_a_region_nothing_is_guessed(
    runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="region"):
        DynamoTable("commits", "s3://b", runtime)


def test_without_credentials_it_says_so(
    runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    table = DynamoTable("commits", "s3://b", runtime, region="us-east-1", endpoint="http://127.0.0.1:9")
    with pytest.raises(StoreRefusedError, match="no credentials"):
        run(table.create(small("a")))
