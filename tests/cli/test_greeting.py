"""The greeting: a snippet that runs, and secrets shown once only."""

import os
from pathlib import Path
from typing import Any

import boto3
import pytest

from quiver.cli.credentials import KeyPair, Source
from quiver.cli.greeting import endpoint, greeting, snippet
from quiver.settings import Settings

SECRET = "a-secret-of-a-sensible-length"
SETTINGS = Settings(root="/data", port=9999)


class Recorder:
    """Stands in for a boto3 client and remembers the calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(**arguments: Any) -> dict[str, Any]:
            self.calls.append(name)
            return {"vectors": []}

        return call


@pytest.fixture
def pasted(monkeypatch: pytest.MonkeyPatch) -> Any:
    def paste(text: str) -> tuple[dict[str, Any], list[str]]:
        recorder, made = Recorder(), []
        monkeypatch.setattr(boto3, "client", lambda name, **given: made.append((name, given)) or recorder)
        exec(compile(text, "snippet", "exec"), {})  # the point of a snippet
        assert made[0][0] == "s3vectors"
        return made[0][1], recorder.calls

    return paste


def test_the_snippet_of_generated_credentials_holds_them(pasted: Any) -> None:
    given, calls = pasted(snippet(SETTINGS, KeyPair("KEY", SECRET, Source.GENERATED)))
    assert given == {
        "endpoint_url": "http://127.0.0.1:9999",
        "region_name": "us-east-1",
        "aws_access_key_id": "KEY",
        "aws_secret_access_key": SECRET,
    }
    assert calls == ["create_vector_bucket", "create_index", "put_vectors", "query_vectors"]


def test_the_snippet_of_the_environment_looks_them_up(pasted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "QUIVER_ACCESS_KEY_ID", "KEY")
    monkeypatch.setitem(os.environ, "QUIVER_SECRET_ACCESS_KEY", SECRET)
    text = snippet(SETTINGS, KeyPair("KEY", SECRET, Source.ENVIRONMENT))
    assert SECRET not in text
    given, _ = pasted(text)
    assert (given["aws_access_key_id"], given["aws_secret_access_key"]) == ("KEY", SECRET)


def test_the_snippet_of_a_file_of_principals_takes_the_first_key(pasted: Any, tmp_path: Path) -> None:
    file = tmp_path / "it's.toml"
    keys = f'[{{id = "KEY", secret = "{SECRET}", token = "T"}}, {{id = "OTHER", secret = "x"}}]'
    file.write_text(f'[[principals]]\nname = "a"\nroot = true\nkeys = {keys}\n')
    text = snippet(SETTINGS, KeyPair("KEY", SECRET, Source.PRINCIPALS, file))
    assert SECRET not in text
    given, _ = pasted(text)
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    assert tuple(given[name] for name in names) == ("KEY", SECRET, "T")


def test_the_snippet_of_a_file_reads_it(pasted: Any, tmp_path: Path) -> None:
    file = tmp_path / "it's.credentials"
    file.write_text(f"# comment\n[default]\naws_access_key_id = KEY\naws_secret_access_key = {SECRET}%\n")
    text = snippet(SETTINGS, KeyPair("KEY", SECRET, Source.FILE, file))
    assert SECRET not in text
    given, _ = pasted(text)
    assert (given["aws_access_key_id"], given["aws_secret_access_key"]) == ("KEY", f"{SECRET}%")


def test_only_the_start_that_generated_a_secret_shows_it() -> None:
    shown = {source: SECRET in greeting(SETTINGS, KeyPair("KEY", SECRET, source, Path("/f"))) for source in Source}
    assert shown == {source: source is Source.GENERATED for source in Source}


def test_a_weak_secret_is_warned_about() -> None:
    assert "Warning: the secret access key is shorter" in greeting(
        SETTINGS, KeyPair("KEY", "x", Source.ENVIRONMENT)
    )
    assert "Warning" not in greeting(SETTINGS, KeyPair("KEY", SECRET, Source.ENVIRONMENT))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9999"),
        ("0.0.0.0", "http://127.0.0.1:9999"),
        ("::1", "http://[::1]:9999"),
        ("::", "http://[::1]:9999"),
        ("quiver.example.org", "http://quiver.example.org:9999"),
    ],
)
def test_the_url_is_one_a_client_can_use(host: str, url: str) -> None:
    assert endpoint(Settings(host=host, port=9999)) == url
