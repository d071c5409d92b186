"""Assembly: each form of a root opens the right store, and an opened root works until it is closed."""

import ast
import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from distant import DistantDirectory
from objectstore.conftest import BUCKET, Moto, fresh_path, moto  # noqa: F401 - fixtures
from objectstore.test_probe import IgnoresTheCondition
from quiver import assemble
from quiver.assemble import create_commit_table, open_service, open_store
from quiver.model.errors import NotFoundError, UnavailableError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.metered_store import MeteredStore
from quiver.settings import Settings, SettingsError
from quiver.storage.store_format import open_store_format


@pytest.fixture
def runtime() -> Any:
    made = SystemRuntime()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough configuration for the clients to be made; nothing is called."""
    for name, value in {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_ACCOUNT_KEY": "a2V5",
        "GOOGLE_SKIP_SIGNATURE": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("root", "url"),
    [
        ("memory:", "memory://"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("s3://bucket/prefix/", "s3://bucket/prefix"),
        ("gs://bucket/prefix", "gs://bucket/prefix"),
        ("s3://bucket/prefix?endpoint=http://127.0.0.1:9&style=virtual", "s3://bucket/prefix"),
        ("s3://bucket--use1-az4--x-s3/prefix", "s3://bucket--use1-az4--x-s3/prefix"),
        ("s3://bucket/prefix?commit=dynamodb://table", "s3://bucket/prefix"),
        ("az://container/prefix", "az://container/prefix"),
        ("abfss://container@account.dfs.core.windows.net/p", "abfss://container@account.dfs.core.windows.net/p"),
    ],
)
def test_each_form_of_a_root_opens_its_store(root: str, url: str, runtime: SystemRuntime) -> None:
    assert open_store(root, runtime).url == url


def test_paths_and_file_urls_open_the_same_directory(tmp_path: Path, runtime: SystemRuntime) -> None:
    urls = {open_store(root, runtime).url for root in (f"{tmp_path}/my data", f"file://{tmp_path}/my%20data")}
    assert urls == {f"file://{tmp_path}/my data"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "root", ["ftp://host/x", "http://host/x", "s3://", "s3://key:secret@bucket/x", "s3://b?k=secret@", "memory:x"]
)
def test_other_roots_are_refused_without_their_secrets(root: str, runtime: SystemRuntime) -> None:
    with pytest.raises(SettingsError, match="QUIVER_ROOT") as refusal:
        open_store(root, runtime)
    assert "secret@" not in str(refusal.value)


def test_requests_to_the_store_are_counted(tmp_path: Path, runtime: SystemRuntime) -> None:
    async def scenario() -> None:
        opened = await open_service(Settings(root=str(tmp_path / "data")), runtime)
        assert isinstance(opened.store, MeteredStore)
        before = opened.store.snapshot().put_new.items
        await opened.call("CreateVectorBucket", {"vectorBucketName": "demo"})
        assert opened.store.snapshot().put_new.items == before + 1
        await opened.close()

    asyncio.run(scenario())


def test_what_one_opening_stored_the_next_one_finds(tmp_path: Path, runtime: SystemRuntime) -> None:
    settings = Settings(root=str(tmp_path / "data"), region="eu-west-1", account_id="123456789012")
    name = {"vectorBucketName": "demo"}

    async def scenario() -> dict[str, Any]:
        first = await open_service(settings, runtime)
        with pytest.raises(NotFoundError):
            await first.call("GetVectorBucket", name)
        await first.call("CreateVectorBucket", name)
        await first.close()
        second = await open_service(settings, runtime)
        answer = await second.call("GetVectorBucket", name)
        await second.close()
        return answer.body["vectorBucket"]

    assert asyncio.run(scenario())["vectorBucketArn"] == "arn:aws:s3vectors:eu-west-1:123456789012:bucket/demo"


def test_the_memory_budget_reaches_the_engine(runtime: SystemRuntime) -> None:
    async def scenario() -> None:
        opened = await open_service(
            Settings(root="memory:", memory_budget_bytes=64 << 20), runtime, background=False
        )
        settings = opened.engine._settings
        assert (settings.memory_bytes, settings.background) == (64 << 20, False)
        await opened.close()

    asyncio.run(scenario())


def test_no_other_file_names_a_concrete_class() -> None:
    source = Path(assemble.__file__).parent
    stores = {"LocalStore", "MemoryStore", "RemoteStore", "MeteredStore", "RetryingStore", "CommitStore"}
    chosen = stores | {"DynamoTable", "NativeEngine"}
    importing = [
        str(file.relative_to(source))
        for file in source.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and chosen & {name.name for name in node.names}
    ]
    assert set(importing) == {"assemble.py"}


def test_a_new_root_on_a_store_that_breaks_its_promises_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        assemble, "open_metered_store", lambda _root, runtime: MeteredStore(IgnoresTheCondition(runtime))
    )
    with pytest.raises(UnavailableError, match="cannot be trusted with data: a taken key is refused"):
        asyncio.run(opened("s3://bucket"))


def test_a_root_in_use_is_not_probed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        runtime = SystemRuntime()
        store = MeteredStore(IgnoresTheCondition(runtime))
        await open_store_format(store, runtime)
        monkeypatch.setattr(assemble, "open_metered_store", lambda _root, _runtime: store)
        await opened("s3://bucket")
        runtime.close()

    asyncio.run(scenario())


async def opened(root: str) -> None:
    runtime = SystemRuntime()
    try:
        await (await assemble.open_service(Settings(root=root), runtime)).close()
    finally:
        runtime.close()


def test_a_commit_store_without_boto3_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, runtime: SystemRuntime
) -> None:
    monkeypatch.delitem(sys.modules, "quiver.objectstore.dynamodb", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SettingsError, match=r"quiverdb\[aws\]"):
        open_store("s3://bucket?commit=dynamodb://table", runtime)


def test_a_root_opened_through_a_commit_store_works(
    moto: Moto,  # noqa: F811
    fresh_path: Any,  # noqa: F811
    runtime: SystemRuntime,
) -> None:
    options = f"endpoint={moto.endpoint}&commit=dynamodb://assembled&commit_endpoint={moto.endpoint}"
    root = f"s3://{BUCKET}/{fresh_path()}?{options}"
    name = {"vectorBucketName": "demo"}

    async def scenario() -> None:
        with pytest.raises(UnavailableError, match="--create-table"):
            await assemble.open_metered_store(root, runtime).get("format")
        assert await create_commit_table(root, runtime) is True
        assert await create_commit_table(root, runtime) is False
        first = await open_service(Settings(root=root), runtime)
        await first.call("CreateVectorBucket", name)
        await first.close()
        second = await open_service(Settings(root=root), runtime)
        assert (await second.call("GetVectorBucket", name)).body["vectorBucket"]["vectorBucketName"] == "demo"
        await second.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("root", ["memory:", "s3://bucket/prefix", "./directory"])
def test_only_a_root_that_names_one_has_a_commit_table(root: str, runtime: SystemRuntime) -> None:
    assert asyncio.run(create_commit_table(root, runtime)) is None


def test_caches_are_for_stores_that_are_not_at_hand(
    tmp_path: Path, runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        settings = Settings(root=str(tmp_path / "data"), cache_folder=str(tmp_path / "cache"))
        local = await open_service(settings, runtime, background=False)
        assert (local.cache, local.cache_counts()) == (None, None)
        await local.close()
        assert not (tmp_path / "cache").exists()
        monkeypatch.setattr(assemble, "LocalStore", DistantDirectory)
        distant = await open_service(settings, runtime, background=False)
        counts = distant.cache_counts()
        assert counts is not None
        assert counts == distant.engine.cache_counts()
        assert (counts.budget, counts.fetched) == (settings.cache_bytes, 0)
        await distant.call("CreateVectorBucket", {"vectorBucketName": "demo"})
        await distant.close()
        again = await open_service(settings, runtime, background=False)
        await again.call("ListVectorBuckets", {})
        counts = again.cache_counts()
        assert counts is not None
        assert counts.pace.seconds is not None  # from the catalog, before any block came
        assert counts.pace.rate is None
        await again.close()

    asyncio.run(scenario())


def test_workers_share_the_disk_cache_and_a_closed_root_leaves_its_part_to_the_next(
    tmp_path: Path, runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "LocalStore", DistantDirectory)
    folder = tmp_path / "cache"
    settings = Settings(
        root=str(tmp_path / "data"), cache_folder=str(folder), cache_folder_bytes=100 << 20, workers=4
    )

    async def scenario() -> None:
        for _ in range(2):
            opened = await open_service(settings, runtime, background=False)
            counts = opened.cache_counts()
            assert counts is not None
            assert counts.disk is not None
            assert counts.disk.budget == 25 << 20
            await opened.close()
        assert [path.name for path in folder.iterdir()] == ["0"]

    asyncio.run(scenario())
