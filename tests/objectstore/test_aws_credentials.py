"""Tests of where credentials for S3 come from: the order of the AWS SDKs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from quiver.objectstore.aws_credentials import boto3_provider

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "from-environment", "AWS_SECRET_ACCESS_KEY": "hidden"}
ROLE = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Shared files with a default and another profile, also in this process's environment, as boto3 needs it."""
    for name in (*KEYS, *ROLE, "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    credentials, config = tmp_path / "credentials", tmp_path / "config"
    credentials.write_text(
        "[default]\naws_access_key_id = from-default\naws_secret_access_key = hidden\n"
        "[other]\naws_access_key_id = from-other\naws_secret_access_key = hidden\n"
    )
    config.write_text("[profile other]\nregion = eu-west-3\n[profile empty]\nregion = eu-west-3\n")
    made = {"AWS_SHARED_CREDENTIALS_FILE": str(credentials), "AWS_CONFIG_FILE": str(config)}
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.mark.parametrize(
    ("profile", "environment", "key"),
    [
        (None, {}, "from-default"),
        (None, {"AWS_PROFILE": "other"}, "from-other"),
        ("other", {}, "from-other"),
        ("other", KEYS | {"AWS_PROFILE": "default"}, "from-other"),
        (None, KEYS, None),
        (None, KEYS | {"AWS_PROFILE": "other"}, None),
        (None, ROLE, None),
        (None, {"AWS_SKIP_SIGNATURE": "true"}, None),
    ],
)
def test_the_order_is_that_of_the_sdks(
    files: dict[str, str], profile: str | None, environment: dict[str, str], key: str | None
) -> None:
    provider = boto3_provider(profile, files | environment)
    assert (provider and provider()["access_key_id"]) == key


def test_the_region_of_a_profile_is_taken_over(files: dict[str, str]) -> None:
    assert boto3_provider("other", files).config == {"region": "eu-west-3"}


def test_without_shared_files_the_client_library_looks_alone(tmp_path: Path) -> None:
    nowhere = {name: str(tmp_path / "none") for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")}
    assert boto3_provider(None, nowhere) is None


@pytest.mark.parametrize("profile", ["missing", "empty"])
def test_a_profile_without_credentials_is_named(files: dict[str, str], profile: str) -> None:
    with pytest.raises(ValueError, match=profile) as refusal:
        boto3_provider(profile, files)
    assert "hidden" not in str(refusal.value)


def test_without_boto3_a_profile_needs_the_extra(files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ValueError, match=r"quiverdb\[aws\]"):
        boto3_provider("other", files)
    assert boto3_provider(None, files) is None
