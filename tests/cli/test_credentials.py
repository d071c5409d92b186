"""Credentials: the order of sources, what is refused where, and that files are private and created once."""

import stat
import threading
from pathlib import Path

import boto3
import pytest

from quiver.cli.credentials import Source, credentials_file, resolve
from quiver.server.credentials import weakness
from quiver.settings import Settings, SettingsError

SECRET = "a-secret-of-a-sensible-length"
EXAMPLE = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def settings(tmp_path: Path, **changes: str) -> Settings:
    return Settings(**{"root": str(tmp_path / "data"), **changes})


def test_the_first_start_generates_and_keeps_credentials_and_the_second_reads_them(tmp_path: Path) -> None:
    first = resolve(settings(tmp_path))
    second = resolve(settings(tmp_path))
    assert (first.source, second.source) == (Source.GENERATED, Source.FILE)
    assert first[:2] == second[:2]
    assert weakness(*first[:2]) is None


def test_generated_credentials_differ_from_root_to_root(tmp_path: Path) -> None:
    assert resolve(settings(tmp_path))[:2] != resolve(settings(tmp_path, root=str(tmp_path / "other")))[:2]


def test_the_file_lies_beside_the_root_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    made = resolve(settings(tmp_path))
    assert made.file == tmp_path / "data.credentials"
    assert stat.S_IMODE(made.file.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["data.credentials"]


def test_boto3_reads_the_file_as_a_shared_credentials_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = resolve(settings(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(made.file))
    read = boto3.Session().get_credentials()
    assert read is not None
    assert (read.access_key, read.secret_key) == made[:2]


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    resolve(settings(tmp_path))
    found = resolve(settings(tmp_path, access_key_id="mine", secret_access_key=SECRET))
    assert found[:3] == ("mine", SECRET, Source.ENVIRONMENT)


def test_a_named_file_comes_before_the_one_beside_the_root(tmp_path: Path) -> None:
    resolve(settings(tmp_path))
    named = tmp_path / "secrets" / "quiver.ini"
    made = resolve(settings(tmp_path, credentials_file=str(named)))
    assert made.source is Source.GENERATED
    assert named.exists()


@pytest.mark.parametrize("root", ["memory:", "s3://bucket/prefix", "gs://bucket", "az://container"])
def test_credentials_of_a_root_without_a_directory_are_kept_in_memory_only(root: str) -> None:
    made = resolve(Settings(root=root))
    assert (made.source, made.file) == (Source.GENERATED, None)


def test_a_file_url_names_the_same_file_as_its_path(tmp_path: Path) -> None:
    url = credentials_file(Settings(root=f"file://{tmp_path}/my%20data"))
    assert url == credentials_file(Settings(root=f"{tmp_path}/my data")) == tmp_path / "my data.credentials"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "quiver.example.org"])
def test_nothing_is_generated_for_an_address_others_can_reach(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="credentials somebody chose"):
        resolve(settings(tmp_path, host=host))
    assert not list(tmp_path.iterdir())


def test_chosen_credentials_may_listen_anywhere(tmp_path: Path) -> None:
    chosen = {"access_key_id": "mine", "secret_access_key": SECRET}
    assert resolve(settings(tmp_path, host="0.0.0.0", **chosen)).access_key_id == "mine"
    resolve(settings(tmp_path))
    assert resolve(settings(tmp_path, host="0.0.0.0")).source is Source.FILE


@pytest.mark.parametrize("secret", ["Sh0rt", "x" * 15, EXAMPLE, "minioadmin"])
def test_a_weak_secret_is_refused_off_loopback_and_never_repeated(tmp_path: Path, secret: str) -> None:
    weak = {"access_key_id": "mine", "secret_access_key": secret}
    with pytest.raises(SettingsError, match="loopback") as refusal:
        resolve(settings(tmp_path, host="0.0.0.0", **weak))
    assert secret not in str(refusal.value)
    assert resolve(settings(tmp_path, **weak)).secret_access_key == secret


def test_a_file_others_can_read_is_refused(tmp_path: Path) -> None:
    made = resolve(settings(tmp_path))
    assert made.file is not None
    made.file.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        resolve(settings(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[other]\naws_access_key_id = a\naws_secret_access_key = b\n",
        f"[default]\naws_secret_access_key = {SECRET}\n",
        f"[default]\naws_access_key_id =\naws_secret_access_key = {SECRET}\n",
        f"{SECRET}\n",
        "[default]\naws_access_key_id = \udcff\n",
    ],
)
def test_a_damaged_file_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "data.credentials"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="credentials file") as refusal:
        resolve(settings(tmp_path))
    assert SECRET not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_the_secret_is_not_in_the_repr(tmp_path: Path) -> None:
    made = resolve(settings(tmp_path))
    assert made.secret_access_key not in repr(made)
    assert made.access_key_id in repr(made)


def test_servers_that_start_at_once_agree_on_one_pair(tmp_path: Path) -> None:
    found = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        found.append(resolve(settings(tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({pair[:2] for pair in found}) == 1
    assert sum(pair.source is Source.GENERATED for pair in found) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["data.credentials"]
