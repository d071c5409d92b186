"""`quiver key`: making, rotating and retiring keys, and copies between plain and encrypted roots."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

import quiver
from quiver.cli.main import app
from quiver.objectstore.encryption.layout import is_encrypted

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

MARKER = "marker-in-clear"
NAMES = ("demo", "words")


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments: Any) -> Any:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key file that the environment names; it is made by the first `quiver key new`."""
    monkeypatch.setenv("QUIVER_ENCRYPTION_KEY_FILE", str(tmp_path / "keys"))
    return tmp_path / "keys"


def fill(root: Path, rows: int = 2_000, **configuration: str) -> None:
    with quiver.client(str(root), maintenance="inline") as client:
        client.create_vector_bucket(vectorBucketName="demo", encryptionConfiguration=configuration)
        names = {"vectorBucketName": "demo", "indexName": "words"}
        client.create_index(**names, dataType="float32", dimension=8, distanceMetric="cosine")
    with quiver.connect(str(root), maintenance="inline") as db:
        index = db.bucket("demo").index("words")
        vectors = np.random.default_rng(1).normal(size=(rows, 8)).astype(np.float32)
        index.put_many(([f"{MARKER}{n}" for n in range(rows)], vectors, [{"text": MARKER}] * rows))


def is_sound(root: Path) -> bool:
    report = answer("fsck", root)
    exported = root.with_suffix(".parquet")
    assert answer("export", *NAMES, exported, "--root", root)["rows"] == 2_000
    return report["ok"]


def bodies(root: Path) -> list[bytes]:
    kept = [path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(root / ".tmp")]
    return [path.read_bytes() for path in kept if not path.is_relative_to(root / "key")]


def test_a_key_file_is_made_and_grows(file: Path) -> None:
    first = answer("key", "new", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (first["file"], first["current"]) == (str(file), True)
    second, third = answer("key", "new", file), answer("key", "new", file, "--kms")
    assert third["current"] is False
    assert third["arn"] == f"arn:aws:kms:us-east-1:000000000000:key/{third['key']}"
    listed = answer("key", "list", file)
    assert listed == {"current": second["key"], "keys": [each["key"] for each in (first, second, third)]}
    shown = invoke("key", "list", file).stdout.split("\n")
    assert shown == [first["key"], f"{second['key']} (current)", third["key"], ""]
    assert invoke("key", "remove", file, first["key"]).exit_code == 0
    assert answer("key", "list", file)["keys"] == [second["key"], third["key"]]
    for wrong in (second["key"], first["key"], "x"):
        refused = invoke("key", "remove", file, wrong)
        assert (refused.exit_code, wrong in refused.stderr) == (2, True)
    secrets = json.loads(file.read_text())["keys"].values()
    everything = "".join(invoke("key", *each, file).output for each in (("list",), ("new",), ("new", "--kms")))
    assert not any(secret in everything for secret in secrets)


def test_what_is_no_key_file_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    other.chmod(0o600)
    assert invoke("key", "new", other).exit_code == 2
    assert invoke("key", "list", other).exit_code == 2
    assert other.read_text() == "precious"
    assert invoke("key", "new", tmp_path / "keys", "--kms").exit_code == 2
    assert not (tmp_path / "keys").exists()


def test_a_key_is_rotated_and_retired(tmp_path: Path, file: Path) -> None:
    root = tmp_path / "root"
    old = answer("key", "new", file)["key"]
    fill(root)
    assert not any(MARKER.encode() in body for body in bodies(root))
    status = answer("key", "status", root)
    assert [use["masters"] for use in status["data_keys"]] == [[old]]
    assert status["data_keys"][0]["objects"] == len(bodies(root))

    new = answer("key", "new", file)["key"]
    assert invoke("compact", root).exit_code == 0
    status = answer("key", "status", root)
    assert sorted(use["masters"] for use in status["data_keys"]) == sorted([[old], [new]])
    assert status["not_needed"] == []
    assert "not needed" not in invoke("key", "status", root).stdout
    without = json.loads(file.read_text())
    kept = without["keys"].pop(old)
    file.write_text(json.dumps(without))
    refused = invoke("inspect", root)
    assert (refused.exit_code, old in refused.stderr) == (1, True)
    without["keys"][old] = kept
    file.write_text(json.dumps(without))

    assert len(answer("key", "rewrap", root)["wrapped"]) == 1
    assert answer("key", "status", root)["not_needed"] == [old]
    assert f"the key {old} of the file is not needed here" in invoke("key", "status", root).stdout
    assert invoke("key", "remove", file, old).exit_code == 0
    assert invoke("gc", root, "--age", 0).exit_code == 0
    assert is_sound(root)


def test_rewrapping_needs_a_key_file(tmp_path: Path) -> None:
    refused = invoke("key", "rewrap", tmp_path / "root")
    assert (refused.exit_code, "QUIVER_ENCRYPTION_KEY_FILE" in refused.stderr) == (2, True)


def test_a_copy_encrypts_and_decrypts(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, encrypted, again, back = (tmp_path / name for name in ("plain", "encrypted", "again", "back"))
    answer("key", "new", file)
    with monkeypatch.context() as patch:
        patch.delenv("QUIVER_ENCRYPTION_KEY_FILE")
        fill(plain)
        assert any(MARKER.encode() in body for body in bodies(plain))
    for source, target in ((plain, encrypted), (encrypted, again)):
        assert answer("copy", source, target)["indexes"] == 1
        assert all(map(is_encrypted, bodies(target)))
        assert is_sound(target)
    assert (
        answer("copy", "--decrypt", encrypted, back)["objects"]
        == answer("copy", "--resume", plain, encrypted)["objects"]
    )
    monkeypatch.delenv("QUIVER_ENCRYPTION_KEY_FILE")
    assert is_sound(back)
    assert not any(map(is_encrypted, bodies(back)))
    refused = invoke("copy", encrypted, tmp_path / "none")
    assert (refused.exit_code, "QUIVER_ENCRYPTION_KEY_FILE" in refused.stderr) == (1, True)


def test_the_kms_key_of_an_index_goes_with_its_copy(tmp_path: Path, file: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    answer("key", "new", file)
    arn = answer("key", "new", file, "--kms")["arn"]
    fill(source, sseType="aws:kms", kmsKeyArn=arn)
    assert invoke("clone", *NAMES, "demo", "other", "--root", source).exit_code == 0
    answer("copy", source, target)
    for root in (source, target):
        masters = [use["masters"] for use in answer("key", "status", root)["data_keys"]]
        assert masters.count([arn]) == 2
        assert is_sound(root)
    assert all(map(is_encrypted, (path.read_bytes() for path in target.glob("index/*/log/*"))))
