"""The commands: what they print, and their exit codes."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import quiver
from quiver.cli.main import app

Invoke = Callable[..., Result]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    monkeypatch.chdir(tmp_path)
    for name in ("QUIVER_ROOT", "QUIVER_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A root with two indexes: one of 30 vectors of which 10 were overwritten and 5 deleted, one empty."""
    with quiver.connect(str(tmp_path / "data")) as db:
        bucket = db.create_bucket("demo")
        bucket.create_index("empty", dimension=2)
        words = bucket.create_index("words", dimension=2)
        words.put([f"k{i}" for i in range(30)], [[1, i] for i in range(30)])
        words.put([f"k{i}" for i in range(10)], [[2, i] for i in range(10)])
        words.delete([f"k{i}" for i in range(25, 30)])
    return str(tmp_path / "data")


def by_name(result: Result, index: str = "demo/words") -> dict:
    return {each["name"]: each for each in json.loads(result.stdout)["indexes"]}[index]


def test_without_arguments_there_is_help_and_exit_code_2(invoke: Invoke) -> None:
    result = invoke()
    assert result.exit_code == 2
    assert all(name in result.output for name in ("serve", "doctor", "inspect", "fsck", "compact", "gc"))


@pytest.mark.parametrize("command", ["serve", "doctor", "inspect", "fsck", "compact", "gc"])
def test_every_command_explains_itself(invoke: Invoke, command: str) -> None:
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert "[URL]" in result.output
    assert len(result.output) > 300


@pytest.mark.parametrize(
    "arguments", [("inspect", "--nope"), ("nothing",), ("gc", "--age", "-1"), ("serve", "--port", "x")]
)
def test_wrong_usage_is_exit_code_2(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_a_root_that_cannot_be_used_is_exit_code_2_and_one_line(invoke: Invoke) -> None:
    result = invoke("inspect", "ftp://host/x")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("quiver: QUIVER_ROOT ")


def test_the_root_comes_from_the_environment_when_it_is_not_given(
    invoke: Invoke, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUIVER_ROOT", root)
    assert by_name(invoke("inspect", "--json"))["objects"] > 0


def test_doctor_finds_a_good_store_good(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("doctor", str(tmp_path / "data"), "--rounds", "2", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (0, True)
    assert len(report["checks"]) > 8
    assert all(check["ok"] for check in report["checks"])
    assert not [p for p in (tmp_path / "data").rglob("*") if p.is_file() and "probe" in str(p)]


def test_inspect_shows_logs_segments_and_what_is_deleted(invoke: Invoke, root: str) -> None:
    before = by_name(invoke("inspect", root, "--json"))
    assert (before["tail"], before["segments"]) == (3, [])
    assert invoke("compact", root).exit_code == 0
    after = by_name(invoke("inspect", root, "--json"))
    assert (after["tail"], [s["rows"] - s["deleted"] for s in after["segments"]]) == (0, [25])
    assert after["garbage"] == 3
    text = invoke("inspect", root).stdout
    assert "demo/words" in text
    assert "demo/empty" in text
    assert "2 indexes" in text


def test_compact_changes_nothing_visible(invoke: Invoke, root: str) -> None:
    def contents() -> dict[str, list[float]]:
        with quiver.connect(root) as db:
            return {row.key: row.vector.tolist() for row in db.bucket("demo").index("words").rows(vectors=True)}

    before = contents()
    result = invoke("compact", root, "--json")
    assert json.loads(result.stdout)["compacted"] == ["demo/empty", "demo/words"]
    assert contents() == before
    assert len(before) == 25


def test_gc_leaves_young_objects_and_takes_old_ones(invoke: Invoke, root: str) -> None:
    invoke("compact", root)
    young = json.loads(invoke("gc", root, "--json").stdout)
    assert (young["objects"], by_name(invoke("inspect", root, "--json"))["garbage"]) == (0, 3)
    time.sleep(0.05)
    old = json.loads(invoke("gc", root, "--age", "0", "--json").stdout)
    assert old["objects"] >= 3
    assert old["nbytes"] > 0
    assert by_name(invoke("inspect", root, "--json"))["garbage"] == 0


def test_fsck_finds_a_sound_root_sound(invoke: Invoke, root: str) -> None:
    for _ in range(2):
        result = invoke("fsck", root)
        assert (result.exit_code, result.stdout) == (0, "2 indexes checked, all sound\n")
        invoke("compact", root)


def test_fsck_names_the_object_that_is_damaged(invoke: Invoke, root: str) -> None:
    invoke("compact", root)
    invoke("gc", root, "--age", "0")
    (rows,) = Path(root).rglob("rows.parquet")
    rows.chmod(0o600)
    data = bytearray(rows.read_bytes())
    data[len(data) // 2] ^= 1
    rows.write_bytes(data)
    result = invoke("fsck", root)
    assert result.exit_code == 1
    assert "demo/words: index/" in result.stdout
    assert "problems found" in result.stdout
    report = json.loads(invoke("fsck", root, "--json").stdout)
    assert report["ok"] is False
    assert [len(each["findings"]) > 0 for each in report["checked"]] == [False, False, True]


@pytest.mark.parametrize("key", ["format", "catalog/log/0000000000000002"])
@pytest.mark.parametrize("cut", [0, 100])
def test_fsck_names_what_the_root_and_the_catalog_are_told_by(
    invoke: Invoke, root: str, key: str, cut: int
) -> None:
    damaged = Path(root) / key
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:cut])
    result = invoke("fsck", root)
    assert result.exit_code == 1
    assert f"{key}: truncated" in result.output or f"{key}: {cut} bytes where" in result.output
    assert "Traceback" not in result.output


def test_fsck_names_a_log_entry_that_is_missing(invoke: Invoke, root: str) -> None:
    (log,) = {path.parent for path in Path(root).rglob("index/*/log/*")}
    (log / f"{2:016x}").unlink()
    result = invoke("fsck", root)
    shown = f"demo/words: {log.relative_to(root)}/{2:016x}: missing, and slot 3 was used\n"
    assert (result.exit_code, result.stdout) == (1, shown + "2 indexes checked, 1 problems found\n")


def test_fsck_rebuilds_segments_from_their_rows_when_it_is_told_to(invoke: Invoke, root: str) -> None:
    invoke("compact", root)
    (index,) = Path(root).rglob("segment/*/index")
    index.chmod(0o600)
    index.write_bytes(index.read_bytes()[:-1] + b"?")
    assert invoke("fsck", root).exit_code == 1
    result = invoke("fsck", root, "--rebuild")
    assert result.exit_code == 0
    assert f"demo/words: segment {index.parent.name} was rebuilt from its rows" in result.stdout
    assert "all sound" in result.stdout
    assert json.loads(invoke("fsck", root, "--rebuild", "--json").stdout)["rebuilt"] == []
    with quiver.connect(root) as db:
        assert len(list(db.bucket("demo").index("words").rows())) == 25


def test_fsck_does_not_rebuild_from_damaged_rows(invoke: Invoke, root: str) -> None:
    invoke("compact", root)
    for path in Path(root).rglob("segment/*/*"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    report = json.loads(invoke("fsck", root, "--rebuild", "--json").stdout)
    assert (report["ok"], report["rebuilt"]) == (False, [])
    keys = [finding["key"] for each in report["checked"] for finding in each["findings"]]
    assert sorted(key.rsplit("/", maxsplit=1)[-1] for key in keys) == ["index", "rows.parquet"]


def test_a_damaged_root_is_exit_code_1_and_one_line(invoke: Invoke, root: str) -> None:
    (Path(root) / "format").chmod(0o600)
    (Path(root) / "format").write_bytes(b"not what it was")
    result = invoke("inspect", root)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("quiver: format: ")
    assert result.stderr.count("\n") == 1
