"""Settings: where values come from, which are refused, and that secrets stay out of sight."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quiver.settings import SETTINGS, Settings, SettingsError, is_loopback, load, local_directory, to_environment

SECRET = "a-secret-of-a-sensible-length"


def test_defaults_hold_without_environment_and_options() -> None:
    assert load({}) == Settings()
    assert (load({}).host, load({}).port, load({}).region) == ("127.0.0.1", 8080, "us-east-1")


def test_environment_overrides_defaults_and_options_override_the_environment() -> None:
    environment = {"QUIVER_PORT": "9001", "QUIVER_ROOT": "/data", "QUIVER_WORKERS": " 3 "}
    settings = load(environment, port=9002, root=None)
    assert (settings.port, settings.root, settings.workers) == (9002, "/data", 3)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(SettingsError, match="'prot'"):
        load({}, prot=9000)


def test_an_empty_variable_counts_as_absent() -> None:
    assert load({"QUIVER_HOST": "", "QUIVER_PORT": " "}) == Settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QUIVER_PORT", "0"),
        ("QUIVER_PORT", "65536"),
        ("QUIVER_PORT", "http"),
        ("QUIVER_WORKERS", "0"),
        ("QUIVER_ACCOUNT_ID", "12345678901"),
        ("QUIVER_REGION", "US EAST"),
        ("QUIVER_LOG_LEVEL", "loud"),
        ("QUIVER_MEMORY_BUDGET_BYTES", "1000"),
        ("QUIVER_BUFFERED_BYTES", "1000"),
        ("QUIVER_FLUSH_ROWS", "0"),
        ("QUIVER_GARBAGE_AGE_SECONDS", "0"),
        ("QUIVER_MAINTENANCE", "thread"),
        ("QUIVER_ROLE", "leader"),
        ("QUIVER_CONSISTENCY", "Strong"),
        ("QUIVER_STALENESS_SECONDS", "-0.1"),
        ("QUIVER_STALENESS_SECONDS", "nan"),
        ("QUIVER_STALENESS_SECONDS", "inf"),
        ("QUIVER_STALENESS_SECONDS", "soon"),
        ("QUIVER_PATROL_SECONDS", "0"),
        ("QUIVER_THROTTLE", "fast"),
        ("QUIVER_THROTTLE", "key_requests=-1"),
        ("QUIVER_ADMIN_PORT", "8080"),
        ("QUIVER_ADMIN_PORT", "-1"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable} "):
        load({variable: value})


def test_processes_do_not_share_memory() -> None:
    assert load({}, root="memory:").workers == 1
    with pytest.raises(SettingsError, match="QUIVER_WORKERS must be 1"):
        load({}, root="memory:", workers=2)


def test_a_maintainer_is_one_process_and_a_root_in_memory_has_no_other_roles() -> None:
    with pytest.raises(SettingsError, match="QUIVER_WORKERS must be 1 for a maintainer"):
        load({}, role="maintainer", workers=2)
    with pytest.raises(SettingsError, match="QUIVER_ROLE must be all"):
        load({}, root="memory:", role="reader")


def test_fractions_of_a_second_are_read() -> None:
    assert load({"QUIVER_STALENESS_SECONDS": "0.25"}).staleness_seconds == 0.25


def test_an_access_key_with_a_slash_is_refused() -> None:
    with pytest.raises(SettingsError, match="QUIVER_ACCESS_KEY_ID"):
        load({"QUIVER_ACCESS_KEY_ID": "a/b", "QUIVER_SECRET_ACCESS_KEY": SECRET})


@pytest.mark.parametrize("name", ["QUIVER_ACCESS_KEY_ID", "QUIVER_SECRET_ACCESS_KEY"])
def test_half_a_key_pair_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="go together") as refusal:
        load({name: "only_one_half"})
    assert "only_one_half" not in str(refusal.value)


def test_the_secret_is_not_in_the_repr() -> None:
    settings = load({"QUIVER_ACCESS_KEY_ID": "key", "QUIVER_SECRET_ACCESS_KEY": SECRET})
    assert settings.secret_access_key == SECRET
    assert SECRET not in repr(settings)


def test_the_table_describes_every_field() -> None:
    assert [s.name for s in SETTINGS] == [f.name for f in dataclasses.fields(Settings)]
    assert all(s.help and s.variable == f"QUIVER_{s.name.upper()}" for s in SETTINGS)


@given(st.integers(1, 65535), st.integers(1, 256), st.sampled_from(["/data", "s3://b/p"]))
def test_another_process_loads_equal_settings_from_the_environment(port: int, workers: int, root: str) -> None:
    settings = Settings(port=port, workers=workers, root=root, access_key_id="key", secret_access_key=SECRET)
    assert load(to_environment(settings)) == settings


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback_addresses_are_told_from_reachable_ones(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("root", "directory"),
    [
        ("/data", "/data"),
        ("file:///data/my%20vectors", "/data/my vectors"),
        ("file://localhost/data", "/data"),
        ("/data/a:b", "/data/a:b"),
        ("data", str(Path.cwd() / "data")),
        ("./data:1", str(Path.cwd() / "data:1")),
        ("memory:", None),
        ("memory://", None),
        ("s3://bucket/prefix", None),
        ("az://account/container", None),
    ],
)
def test_roots_that_are_directories_are_told_from_others(root: str, directory: str | None) -> None:
    assert local_directory(root) == (None if directory is None else Path(directory))


@pytest.mark.parametrize("root", ["file://other/data", "file:data", "file://"])
def test_a_file_url_of_another_machine_is_refused(root: str) -> None:
    with pytest.raises(SettingsError, match="file:///path"):
        local_directory(root)


def test_a_disk_cache_has_something_for_each_worker() -> None:
    assert load({}, workers=8, cache_folder_bytes=128 << 20).workers == 8
    with pytest.raises(SettingsError, match="QUIVER_CACHE_FOLDER_BYTES must be at least 16777216"):
        load({}, workers=9, cache_folder_bytes=128 << 20)
