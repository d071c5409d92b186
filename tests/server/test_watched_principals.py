"""A file of principals that changes under a running server: which version counts, when, and what the log says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from cli.running import RunningServer
from quiver.model.runtime import SystemRuntime
from quiver.server.errors import Refusal
from quiver.server.logs import make_logger
from quiver.server.principals_file import read_fit, read_principals
from quiver.server.sigv4 import Authenticator, RequestParts
from quiver.server.watched_principals import WatchedPrincipals
from quiver.settings import SettingsError
from server.fakes import REGION, signed_headers

if TYPE_CHECKING:
    from pathlib import Path

    from quiver.server.credentials import Credentials

HOME = "000000000000"
SECRET = "a-secret-of-a-sensible-length"
BODY_HASH = hashlib.sha256(b"{}").hexdigest()
OTHER = "another-secret-of-that-length"


class MovedClock(SystemRuntime):
    """The system's clocks, ahead by as much as a test says."""

    passed = 0.0
    wall = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.passed

    def time(self) -> float:
        return super().time() + self.wall

    def wait(self, seconds: float) -> None:
        self.passed += seconds
        self.wall += seconds


class Watch:
    """A file of principals, the watch over it, and what it logged."""

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self.file = directory / "principals.toml"
        self.reads = 0
        self._host = host
        self._stream = io.StringIO()
        self.runtime = MovedClock(1)

    def begin(self, text: str, age: float = 10) -> None:
        self.replace(text)
        self.runtime.wait(age)
        log = make_logger(stream=self._stream)
        self.principals = WatchedPrincipals(self.file, self._read, self.runtime, log)
        self.reads = 0

    def _read(self) -> Credentials:
        self.reads += 1
        return read_fit(self.file, HOME, self._host).credentials()

    def replace(self, text: str, mode: int = 0o600) -> None:
        draft = self.file.with_suffix(".draft")
        draft.write_text(text)
        draft.chmod(mode)
        draft.rename(self.file)

    def keys(self, *asked: str, after: float = 0) -> list[str]:
        """Those of the keys asked about that count, some seconds later."""
        self.runtime.wait(after)
        current = self.principals.current()
        return [key for key in asked if current.secret(key) is not None]

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


def person(*keys: str, secret: str = SECRET, name: str = "ann") -> str:
    listed = ", ".join(f'{{id = "{key}", secret = "{secret}"}}' for key in keys)
    return f'[[principals]]\nname = "{name}"\nkeys = [{listed}]\n'


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path)


def test_a_key_is_revoked_and_another_given_two_seconds_after_the_change(watch: Watch) -> None:
    watch.begin(person("ONE", "TWO"))
    assert watch.keys("ONE", "TWO", "NEW") == ["ONE", "TWO"]
    watch.replace(person("TWO", "NEW"))
    assert watch.keys("ONE", "TWO", "NEW", after=2) == ["TWO", "NEW"]
    (line,) = watch.lines()
    assert (line["level"], line["event"], line["keys"]) == ("info", "principals read again", 2)


def test_a_file_that_stays_as_it_is_is_read_once_and_looked_at_once_a_second(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch.begin(person("ONE"))
    looks = 0
    real = os.stat

    def counted(*args: object, **named: object) -> os.stat_result:
        nonlocal looks
        looks += 1
        return real(*args, **named)

    monkeypatch.setattr(os, "stat", counted)
    for _ in range(50):
        watch.keys(after=0.1)
    assert (4 <= looks <= 6, watch.reads, watch.lines()) == (True, 0, [])


def test_a_change_just_made_may_be_half_of_one_and_waits(watch: Watch) -> None:
    """A file written in place can look whole while it is not: half a list of principals is good TOML."""
    watch.begin(person("ONE") + person("TWO", name="bob"))
    watch.runtime.wall = 0  # the clock of the file's times
    watch.runtime.passed += 1
    watch.file.write_text(person("NEW"))
    assert watch.keys("ONE", "TWO", "NEW") == ["ONE", "TWO"]
    assert watch.reads == 0
    watch.file.write_text(person("NEW") + person("TWO", name="bob"))
    assert watch.keys("ONE", "TWO", "NEW", after=1.5) == ["TWO", "NEW"]


def test_what_changes_while_it_is_read_is_not_taken(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.begin(person("ONE"))
    real = watch._read

    def read_slowly() -> Credentials:
        found = real()
        watch.replace(person("THREE", "FOUR"))
        return found

    monkeypatch.setattr(watch.principals, "_read", read_slowly)
    watch.replace(person("TWO"))
    assert watch.keys("ONE", "TWO", after=2) == ["ONE"]
    monkeypatch.undo()
    assert watch.keys("ONE", "TWO", "THREE", "FOUR", after=2) == ["THREE", "FOUR"]


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        (f'[[principals]]\nname = "ann"\nkeys = [{{id = "TWO", secret = "{OTHER}"', 0o600, "is not TOML"),
        (person("TWO", secret=OTHER).replace("name", "nmae"), 0o600, "unknown member 'nmae'"),
        ("", 0o600, "principals must be a list"),
        (person("TWO", secret=OTHER), 0o644, "is open to others"),
        (None, 0, "cannot read"),
    ],
    ids=["torn", "misspelled", "empty", "readable by others", "gone"],
)
def test_a_broken_file_keeps_the_old_principals_and_is_one_line(
    watch: Watch, text: str | None, mode: int, reason: str
) -> None:
    watch.begin(person("ONE"))
    if text is None:
        watch.file.unlink()
    else:
        watch.replace(text, mode)
    for _ in range(5):
        assert watch.keys("ONE", "TWO", after=2) == ["ONE"]
    (line,) = watch.lines()
    assert (line["level"], line["event"]) == ("error", "principals not read again: the old ones stay")
    assert reason in str(line["message"])
    assert OTHER not in json.dumps(line)
    watch.replace(person("TWO"))
    assert watch.keys("ONE", "TWO", after=2) == ["TWO"]


def test_a_weak_key_does_not_come_in_later_either(tmp_path: Path) -> None:
    watch = Watch(tmp_path, host="0.0.0.0")
    watch.begin(person("ONE"))
    watch.replace(person("TWO", secret="short"))
    assert watch.keys("ONE", "TWO", after=2) == ["ONE"]
    assert "shorter than 16" in str(watch.lines()[0]["message"])


def test_an_unforeseen_error_keeps_the_old_ones_and_is_not_quoted(watch: Watch) -> None:
    watch.begin(person("ONE"))
    watch.principals._read = partial(int, OTHER)
    watch.replace(person("TWO"))
    assert watch.keys("ONE", "TWO", after=2) == ["ONE"]
    (line,) = watch.lines()
    assert (line["error"], OTHER in json.dumps(line)) == ("ValueError", False)


def test_a_file_written_just_before_the_start_is_read_again(watch: Watch) -> None:
    """Its next change may leave the times as they are, where those are whole seconds."""
    watch.begin(person("ONE"), age=0)
    assert watch.keys("ONE", after=2) == ["ONE"]
    assert watch.reads == 1


def test_a_clock_behind_that_of_the_file_only_makes_it_wait_for_a_second_look(watch: Watch) -> None:
    watch.begin(person("ONE"))
    watch.replace(person("TWO"))
    ahead = time.time() + 3600
    os.utime(watch.file, (ahead, ahead))
    assert watch.keys("ONE", "TWO", after=1) == ["ONE"]
    assert watch.keys("ONE", "TWO", after=1) == ["TWO"]


def test_a_file_that_is_wrong_from_the_start_is_refused(watch: Watch) -> None:
    with pytest.raises(SettingsError, match="principals must be a list"):
        watch.begin("")


def test_a_key_whose_secret_changed_is_not_judged_by_the_old_one(watch: Watch) -> None:
    watch.begin(person("ONE"))
    judge = Authenticator(watch.principals, REGION, time.time)

    def accepted(secret: str) -> bool:
        sent = signed_headers("POST", "/ListVectorBuckets", b"{}", key="ONE", secret=secret)
        headers = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
        try:
            judge.open(RequestParts("POST", b"/ListVectorBuckets", b"", headers)).verify(BODY_HASH)
        except Refusal:
            return False
        return True

    assert (accepted(SECRET), accepted(OTHER)) == (True, False)
    watch.replace(person("ONE", secret=OTHER))
    watch.runtime.wait(2)
    assert (accepted(SECRET), accepted(OTHER)) == (False, True)


def test_every_worker_of_a_server_revokes_a_key(tmp_path: Path) -> None:
    file = tmp_path / "principals.toml"
    file.write_text(person("OWNER", name="op").replace('name = "op"', 'name = "op"\nroot = true') + person("GONE"))
    file.chmod(0o600)
    assert len(read_principals(file, HOME).keys) == 2
    setting = {"QUIVER_CREDENTIALS_FILE": str(file)}
    with RunningServer(str(tmp_path / "data"), "--workers", "2", **setting) as server:
        with pytest.raises(ClientError, match="not authorized"):
            server.client("GONE", SECRET).list_vector_buckets()
        draft = tmp_path / "draft.toml"
        draft.write_text(file.read_text().replace(person("GONE"), person("NEW")))
        draft.chmod(0o600)
        draft.rename(file)
        time.sleep(2.1)
        for _ in range(6):  # each on a connection of its own, so on either worker
            with pytest.raises(ClientError, match="UnrecognizedClientException"):
                server.client("GONE", SECRET).list_vector_buckets()
            with pytest.raises(ClientError, match="not authorized"):
                server.client("NEW", SECRET).list_vector_buckets()
            assert server.client("OWNER", SECRET).list_vector_buckets()["vectorBuckets"] == []
