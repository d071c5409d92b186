"""An encrypted root as a whole: nothing in it or its cache folder is plain; missing keys; KMS keys of indexes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from objectstore.encryption.sealing import new_keys
from quiver.assemble import open_service
from quiver.model.errors import AccessDeniedError, DataError
from quiver.model.runtime import SystemRuntime
from quiver.objectstore.encryption.key_file import key_id_of, write_key_file
from quiver.objectstore.encryption.layout import NotEncryptedError, is_encrypted
from quiver.objectstore.encryption.provider import KmsNotFoundError, MissingKeyError
from quiver.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from quiver.assemble import OpenRoot

ROWS, DIMENSION = 3_000, 16
MARKER = "marker-in-clear"
VECTOR = np.frombuffer(b"VECTORINTHECLEAR" * 4, np.float32)
INDEX = {"vectorBucketName": "demo-bucket", "indexName": "words"}
CREATE = INDEX | {"dataType": "float32", "dimension": DIMENSION, "distanceMetric": "euclidean"}


@pytest.fixture
def runtime() -> Iterator[SystemRuntime]:
    runtime = SystemRuntime(threads=4)
    yield runtime
    runtime.close()


class Deployment:
    """A directory with a root, a cache folder and a key file."""

    def __init__(self, directory: Path, runtime: SystemRuntime) -> None:
        self.directory = directory
        self.runtime = runtime
        self.keys = new_keys(runtime)
        self.save()

    def save(self) -> None:
        write_key_file(self.directory / "keys", self.keys, "draft", replace=True)

    def add(self, *, current: bool) -> str:
        """Another key in the file."""
        name = key_id_of(self.runtime.new_id())
        self.keys = self.keys.with_key(name, bytes.fromhex(self.runtime.new_id() * 2), current=current)
        self.save()
        return name

    def settings(self, **changes: Any) -> Settings:
        given = {
            "root": str(self.directory / "root"),
            "encryption_key_file": str(self.directory / "keys"),
            "cache_folder": str(self.directory / "cache"),
        }
        return Settings(**given | changes)

    async def open(self, **changes: Any) -> OpenRoot:
        return await open_service(self.settings(**changes), self.runtime, background=False)

    def files(self) -> dict[str, bytes]:
        """Everything on the disk but the key file."""
        found = (path for folder in ("root", "cache") for path in (self.directory / folder).rglob("*"))
        return {str(path.relative_to(self.directory)): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def deployment(tmp_path: Path, runtime: SystemRuntime) -> Deployment:
    return Deployment(tmp_path, runtime)


async def fill(root: OpenRoot, **create: Any) -> None:
    await root.call("CreateVectorBucket", {"vectorBucketName": "demo-bucket", "tags": {"tag": MARKER}})
    await root.call("CreateIndex", CREATE | create)
    for first in range(0, ROWS, 500):
        rows = [
            {
                "key": f"{MARKER}-{number}",
                "data": {"float32": VECTOR},
                "metadata": {"text": f"{MARKER} {number}"},
            }
            for number in range(first, first + 500)
        ]
        await root.call("PutVectors", INDEX | {"vectors": rows})


async def ask(root: OpenRoot) -> list[str]:
    found = await root.call(
        "QueryVectors", INDEX | {"topK": 3, "queryVector": {"float32": VECTOR}, "returnMetadata": True}
    )
    return [each["key"] for each in found.body["vectors"]]


def test_nothing_in_a_root_or_its_cache_folder_is_plain(deployment: Deployment) -> None:
    async def work() -> None:
        root = await deployment.open()
        await fill(root)
        index = await root.administration.index("demo-bucket", "words")
        await root.engine.compact(index.index_id, index.spec)
        await root.call("PutVectors", INDEX | {"vectors": [{"key": MARKER, "data": {"float32": VECTOR}}]})
        assert len(await ask(root)) == 3
        await root.close()
        again = await deployment.open()
        assert len(await ask(again)) == 3
        await again.close()
        assert again.cache_counts().disk.hits > 0

    asyncio.run(work())
    files = deployment.files()
    kinds = ("root/format", "root/catalog/log/", "/checkpoint/", "/log/", "/rows.parquet", "/index")
    assert all(any(kind in name for name in files) for kind in (*kinds, "cache/", "root/key/", "/published"))
    for name, body in files.items():
        assert MARKER.encode() not in body, name
        assert b"VECTORINTHECLEAR" not in body, name
        assert b"PAR1" not in body, name
        if name.startswith("root/") and not name.startswith(("root/key/", "root/.tmp/")):
            assert is_encrypted(body), name


def test_a_root_is_opened_with_its_keys_only_and_the_message_names_them(deployment: Deployment) -> None:
    async def work() -> None:
        await (await deployment.open()).close()
        key = deployment.keys.current
        with pytest.raises(MissingKeyError, match=f"{key}.*QUIVER_ENCRYPTION_KEY_FILE"):
            await deployment.open(encryption_key_file="")
        before = deployment.files()
        deployment.keys = new_keys(deployment.runtime)
        deployment.save()
        with pytest.raises(MissingKeyError, match=key):
            await deployment.open()
        assert {name for name in deployment.files() if "cache" not in name} == {
            n for n in before if "cache" not in n
        }
        with pytest.raises(SettingsError, match="QUIVER_ENCRYPTION_KEY_FILE: cannot read"):
            await deployment.open(encryption_key_file=str(deployment.directory / "none"))

    asyncio.run(work())


def test_a_plain_root_is_not_opened_with_a_key_and_stays_as_it_is(deployment: Deployment) -> None:
    async def work() -> None:
        await (await deployment.open(encryption_key_file="")).close()
        before = deployment.files()
        with pytest.raises(NotEncryptedError, match="quiver copy"):
            await deployment.open()
        assert deployment.files() == before

    asyncio.run(work())


def test_a_reader_reads_and_creates_nothing(deployment: Deployment) -> None:
    async def work() -> None:
        root = await deployment.open()
        await fill(root)
        await root.close()
        before = {name for name in deployment.files() if name.startswith("root/")}
        deployment.add(current=True)
        reader = await deployment.open(role="reader")
        assert len(await ask(reader)) == 3
        await reader.close()
        assert {name for name in deployment.files() if name.startswith("root/")} == before

    asyncio.run(work())


def test_compaction_brings_segments_under_the_current_key(deployment: Deployment) -> None:
    async def compacted() -> set[str]:
        root = await deployment.open(garbage_age_seconds=1)
        index = await root.administration.index("demo-bucket", "words")
        await root.engine.compact(index.index_id, index.spec)
        assert len(await ask(root)) == 3
        summary = await root.engine.inspect(index.index_id)
        await root.close()
        return {each.id for each in summary.segments}

    async def work() -> None:
        root = await deployment.open()
        await fill(root)
        await root.close()
        first = await compacted()
        assert await compacted() == first
        deployment.add(current=True)
        second = await compacted()
        assert not second & first
        assert await compacted() == second
        bodies = {name: body[8:24] for name, body in deployment.files().items() if name.endswith("rows.parquet")}
        old, new = (next(b for n, b in bodies.items() if next(iter(ids)) in n) for ids in (first, second))
        assert old != new

    asyncio.run(work())


def kms(name: str) -> dict[str, str]:
    return {"sseType": "aws:kms", "kmsKeyArn": f"arn:aws:kms:us-east-1:000000000000:key/{name}"}


def test_an_index_with_a_kms_key_cannot_be_read_without_it_and_others_can(deployment: Deployment) -> None:
    async def work() -> None:
        name = deployment.add(current=False)
        root = await deployment.open()
        await fill(root, encryptionConfiguration=kms(name))
        index = await root.administration.index("demo-bucket", "words")
        await root.engine.compact(index.index_id, index.spec)
        await root.call("CreateIndex", CREATE | {"indexName": "plain"})
        clone = await root.snapshots.clone("demo-bucket", "words", "demo-bucket", "clone")
        assert clone.rows == ROWS
        of_clone = (await root.call("GetIndex", INDEX | {"indexName": "clone"})).body["index"]
        assert of_clone["encryptionConfiguration"] == kms(name)
        wrapped = [body for file, body in deployment.files().items() if file.endswith("/key")]
        assert len(set(wrapped)) == len(wrapped) == 2
        await root.close()
        again = await deployment.open()
        assert len(await ask(again)) == 3
        assert (await again.call("GetIndex", INDEX)).body["index"]["encryptionConfiguration"] == kms(name)
        checks = [finding async for _, found in again.administration.check() for finding in found]
        assert checks == []
        await again.close()
        whole = deployment.keys
        deployment.keys = whole.without_key(name)
        deployment.save()
        without = await deployment.open(cache_folder="")
        for named in ("words", "clone"):
            for operation, params in (
                ("QueryVectors", {"topK": 1, "queryVector": {"float32": VECTOR}}),
                ("PutVectors", {"vectors": [{"key": "a", "data": {"float32": VECTOR}}]}),
                ("GetVectors", {"keys": ["a"]}),
                ("DeleteVectors", {"keys": ["a"]}),
                ("ListVectors", {}),
                ("DeleteIndex", {}),
            ):
                with pytest.raises(KmsNotFoundError, match=name) as caught:
                    await without.call(operation, INDEX | {"indexName": named} | params)
                assert (caught.value.code, caught.value.status) == ("KmsNotFoundException", 400)
        await upkeep_goes_on(without, name)
        put = {"vectors": [{"key": "a", "data": {"float32": VECTOR}}]}
        await without.call("PutVectors", INDEX | {"indexName": "plain"} | put)
        await without.close()

    asyncio.run(work())


async def upkeep_goes_on(root: OpenRoot, missing: str) -> None:
    """An index that cannot be read keeps nobody from looking after the others, nor loses anything."""
    before = {info.key for info in await root.store.list("index/")}
    assert [index.name async for index in root.administration.compact()] == ["plain"]
    cleaned = [title async for title, _ in root.administration.collect(0)]
    assert cleaned == ["catalog", "demo-bucket/plain"]
    assert before <= {info.key for info in await root.store.list("index/")}
    found = {name: findings async for name, findings in root.administration.check()}
    assert {name for name, findings in found.items() if findings} == {"demo-bucket/words", "demo-bucket/clone"}
    assert all(missing in findings[0].problem for findings in found.values() if findings)


@pytest.mark.parametrize("given", [True, False], ids=["key file", "no key file"])
def test_a_kms_key_that_is_not_there_is_refused(deployment: Deployment, given: bool) -> None:
    async def work() -> None:
        root = await deployment.open(**({} if given else {"encryption_key_file": ""}))
        await root.call("CreateVectorBucket", {"vectorBucketName": "demo-bucket"})
        before = deployment.files()
        message = rf"Key '{kms('none')['kmsKeyArn']}' does not exist \(kms_request_id=[0-9a-f-]+\)"
        with pytest.raises(AccessDeniedError, match=message):
            await root.call("CreateIndex", CREATE | {"encryptionConfiguration": kms("none")})
        bucket = {"vectorBucketName": "other", "encryptionConfiguration": kms("none")}
        with pytest.raises(AccessDeniedError, match=message):
            await root.call("CreateVectorBucket", bucket)
        assert deployment.files() == before
        await root.close()

    asyncio.run(work())


def test_an_index_that_cannot_be_created_gets_no_key(deployment: Deployment) -> None:
    async def work() -> None:
        name = deployment.add(current=False)
        root = await deployment.open()
        await root.call("CreateVectorBucket", {"vectorBucketName": "demo-bucket"})
        await root.call("CreateIndex", CREATE)
        before = deployment.files()
        for params in ({}, {"vectorBucketName": "missing"}):
            with pytest.raises(Exception, match=r"already exists|could not be found"):
                await root.call("CreateIndex", CREATE | params | {"encryptionConfiguration": kms(name)})
        assert deployment.files() == before
        await root.close()

    asyncio.run(work())


def test_damage_of_any_object_is_an_error_and_never_another_answer(deployment: Deployment) -> None:
    async def work() -> None:
        root = await deployment.open(cache_folder="")
        await fill(root)
        index = await root.administration.index("demo-bucket", "words")
        await root.engine.compact(index.index_id, index.spec)
        right = await ask(root)
        await root.close()
        for name, body in deployment.files().items():
            if not name.endswith(("/opening", "/published")) and ".tmp" not in name:
                path = deployment.directory / name
                path.write_bytes(
                    body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1 :]
                )
                try:
                    opened = await deployment.open(cache_folder="")
                    try:
                        assert await ask(opened) == right, name
                    finally:
                        await opened.close()
                except DataError:
                    pass
                path.write_bytes(body)
        opened = await deployment.open(cache_folder="")
        assert await ask(opened) == right
        await opened.close()

    asyncio.run(work())


def test_a_kms_service_needs_a_key_for_the_root(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="QUIVER_KMS"):
        Settings(root=str(tmp_path), kms="aws")
    with pytest.raises(SettingsError, match="QUIVER_KMS"):
        Settings(root=str(tmp_path), kms="vault", encryption_key_file="x")
