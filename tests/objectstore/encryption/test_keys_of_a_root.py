"""Tests of the data keys of a root and of its indexes: rotation, loss, forgery, and requests that fail."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from objectstore.contract import run
from objectstore.encryption.sealing import INDEX, encrypting, new_keys
from quiver.format import paths
from quiver.model.errors import CorruptObjectError, MissingObjectError, UnsupportedFormatError
from quiver.objectstore.encryption import wrapped_keys
from quiver.objectstore.encryption.provider import KmsNotFoundError, MissingKeyError
from quiver.objectstore.encryption.root_keys import Wrap, list_wraps
from quiver.objectstore.encryption.usage import KeyUse, survey
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.metered_store import MeteredStore
from quiver.objectstore.store import ObjectExistsError, StoreUnavailableError

if TYPE_CHECKING:
    from quiver.model.runtime import SystemRuntime
    from quiver.objectstore.encryption.key_file import KeyFile

ARN = "arn:aws:s3vectors:us-east-1:000000000000:bucket/b/index/i"
NAME = f"index/{INDEX}/log/0000000000000001"
KEY_NAME = f"index/{INDEX}/key"


@pytest.fixture
def inner(runtime: SystemRuntime) -> MemoryStore:
    return MemoryStore(runtime)


@pytest.fixture
def keys(runtime: SystemRuntime) -> KeyFile:
    return new_keys(runtime)


def replace(inner: MemoryStore, name: str, body: bytes) -> None:
    run(inner.delete([name]))
    run(inner.put_new(name, [body]))


def kms_arn(keys: KeyFile) -> str:
    return f"arn:aws:kms:us-east-1:000000000000:key/{keys.current}"


# ---------------------------------------------------------------- of the root


def test_rewrapping_makes_the_old_key_dispensable_and_can_be_repeated(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime
) -> None:
    run(encrypting(inner, keys, runtime).put_new("x/a", [b"text"]))
    before = run(list_wraps(inner))
    new = new_keys(runtime)
    both = keys.with_key(new.current, new.keys[new.current], current=True)
    store = encrypting(inner, both, runtime)
    done, removed = run(store.root_keys.rewrap())
    assert (done, removed) == ([before[0].key_id], before)
    assert run(list_wraps(inner)) == [Wrap(before[0].key_id, new.current)]
    assert run(store.root_keys.rewrap()) == ([], [])
    only = encrypting(inner, both.without_key(keys.current), runtime)
    assert bytes(run(only.get("x/a"))) == b"text"
    with pytest.raises(MissingKeyError, match=new.current):
        run(encrypting(inner, keys, runtime).get("x/a"))


def test_rewrapping_that_was_cut_short_is_finished_by_the_next(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(encrypting(inner, keys, runtime).put_new("x/a", [b"text"]))
    new = new_keys(runtime)
    both = keys.with_key(new.current, new.keys[new.current], current=True)

    async def fail(names: list[str]) -> None:
        raise StoreUnavailableError("down")

    with monkeypatch.context() as patch:
        patch.setattr(inner, "delete", fail)
        with pytest.raises(StoreUnavailableError):
            run(encrypting(inner, both, runtime).root_keys.rewrap())
    assert len(run(list_wraps(inner))) == 2
    for given in (keys, both, both.without_key(keys.current)):
        assert bytes(run(encrypting(inner, given, runtime).get("x/a"))) == b"text"
    assert len(run(encrypting(inner, both, runtime).root_keys.rewrap())[1]) == 1
    assert [wrap.master for wrap in run(list_wraps(inner))] == [new.current]


def test_nothing_is_rewrapped_without_the_key_it_is_wrapped_by(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime
) -> None:
    run(encrypting(inner, keys, runtime).put_new("x/a", [b"text"]))
    before = run(list_wraps(inner))
    with pytest.raises(MissingKeyError, match=keys.current):
        run(encrypting(inner, new_keys(runtime), runtime).root_keys.rewrap())
    assert run(list_wraps(inner)) == before


def test_a_lost_data_key_is_told(inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime) -> None:
    run(encrypting(inner, keys, runtime).put_new("x/a", [b"text"]))
    wrap = run(list_wraps(inner))[0]
    run(inner.delete([wrap.name]))
    with pytest.raises(MissingObjectError, match=wrap.key_id):
        run(encrypting(inner, keys, runtime).get("x/a"))


@pytest.mark.parametrize("change", ["id", "master", "context", "wrapped", "version", "not json", "not UTF-8"])
def test_a_forged_data_key_is_noticed(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime, change: str
) -> None:
    run(encrypting(inner, keys, runtime).put_new("x/a", [b"text"]))
    name = run(list_wraps(inner))[0].name
    record = wrapped_keys.decode(name, bytes(run(inner.get(name))))
    changes: dict[str, object] = {
        "id": "1" * 32,
        "master": "other",
        "context": {"quiver:root-key": "1" * 32},
        "wrapped": bytes(72),
        "version": 2,
    }
    fields = {each: getattr(record, each) for each in record.__struct_fields__}
    forged = wrapped_keys.WrappedKey(**fields | {key: value for key, value in changes.items() if key == change})
    damaged = {"not json": b"{}", "not UTF-8": b'{"version":1,"id":"\x9c"}'}
    replace(inner, name, damaged.get(change) or wrapped_keys.encode(forged))
    with pytest.raises((CorruptObjectError, UnsupportedFormatError)):
        run(encrypting(inner, keys, runtime).get("x/a"))


def test_a_put_fails_cleanly_when_the_data_key_could_not_be_kept(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(name: str, parts: object) -> None:
        raise ObjectExistsError(name)  # as S3 answers to a conflict

    with monkeypatch.context() as patch:
        patch.setattr(inner, "put_new", refuse)
        store = encrypting(inner, keys, runtime)
        with pytest.raises(StoreUnavailableError):
            run(store.put_new("x/a", [b"text"]))
        with pytest.raises(StoreUnavailableError):
            run(store.index_keys.give(INDEX, kms_arn(keys), ARN))
    run(store.put_new("x/a", [b"text"]))
    assert bytes(run(store.get("x/a"))) == b"text"


# ---------------------------------------------------------------- of indexes


def test_the_key_of_an_index_is_asked_for_once(inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime) -> None:
    run(encrypting(inner, keys, runtime).index_keys.give(INDEX, kms_arn(keys), ARN))
    meter = MeteredStore(inner)
    store = encrypting(meter, keys, runtime)

    async def work() -> None:
        await asyncio.gather(*(store.put_new(paths.log_key(f"index/{INDEX}/", n), [b"1"]) for n in range(1, 9)))
        await asyncio.gather(*(store.put_new(paths.log_key(f"index/{'6' * 32}/", n), [b"1"]) for n in range(1, 9)))

    run(work())
    counts = meter.snapshot()
    assert counts.get.requests == 2
    assert counts.put_new.requests == 16 + 1  # the root's data key


@pytest.mark.parametrize("known", [True, False], ids=["after a read", "at once"])
def test_an_index_whose_key_is_not_there_cannot_be_used(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime, known: bool
) -> None:
    kms = new_keys(runtime)
    both = keys.with_key(kms.current, kms.keys[kms.current], current=False)
    store = encrypting(inner, both, runtime)
    run(store.index_keys.give(INDEX, kms_arn(kms), ARN))
    run(store.put_new(NAME, [b"text"]))
    run(store.put_new("x/a", [b"text"]))
    without = encrypting(inner, keys, runtime)
    if known:
        assert bytes(run(without.get("x/a"))) == b"text"
    with pytest.raises(KmsNotFoundError, match=kms.current):
        run(without.get(NAME))
    with pytest.raises(KmsNotFoundError, match=kms.current):
        run(without.put_new(NAME[:-1] + "2", [b"text"]))


def test_the_key_of_another_index_is_noticed(inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime) -> None:
    store, other = encrypting(inner, keys, runtime), "6" * 32
    run(store.index_keys.give(INDEX, kms_arn(keys), ARN))
    run(store.index_keys.give(other, kms_arn(keys), ARN))
    run(store.put_new(NAME, [b"text"]))
    replace(inner, KEY_NAME, bytes(run(inner.get(paths.index_key_name(other)))))
    with pytest.raises(CorruptObjectError, match="another index"):
        run(encrypting(inner, keys, runtime).get(NAME))


def test_an_index_gets_one_key(inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime) -> None:
    store = encrypting(inner, keys, runtime)
    run(store.index_keys.give(INDEX, kms_arn(keys), ARN))
    with pytest.raises(StoreUnavailableError):
        run(store.index_keys.give(INDEX, kms_arn(keys), ARN))
    record = wrapped_keys.decode(KEY_NAME, bytes(run(inner.get(KEY_NAME))))
    assert record.master == kms_arn(keys)
    assert record.context == {"aws:s3vectors:arn": ARN, "aws:s3vectors:resource-id": INDEX}


# ---------------------------------------------------------------- what is in use


def test_a_survey_counts_objects_by_the_key_they_are_under(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime
) -> None:
    store = encrypting(inner, keys, runtime)
    run(store.put_new("x/a", [b"text"]))
    run(store.put_new("x/b", [bytes(70_000)]))
    run(store.index_keys.give(INDEX, kms_arn(keys), ARN))
    run(store.put_new(NAME, [b"text"]))
    run(inner.put_new("x/plain", [b"text"]))
    found = run(survey(inner, store.index_keys.holds))
    root = run(list_wraps(inner))[0]
    of_index = wrapped_keys.decode(KEY_NAME, bytes(run(inner.get(KEY_NAME)))).id
    assert sorted(found) == sorted(
        [
            KeyUse("", (), 1, 4),
            KeyUse(root.key_id, (keys.current,), 2, 68 + 70_128),
            KeyUse(of_index, (kms_arn(keys),), 1, 68),
        ]
    )


def test_what_is_under_an_earlier_key_is_not_current(
    inner: MemoryStore, keys: KeyFile, runtime: SystemRuntime
) -> None:
    run(encrypting(inner, keys, runtime).put_new("x/a", [b"text"]))
    new = new_keys(runtime)
    store = encrypting(inner, keys.with_key(new.current, new.keys[new.current], current=True), runtime)
    run(store.put_new("x/b", [b"text"]))
    assert [run(store.is_current(name)) for name in ("x/a", "x/b")] == [False, True]
    assert run(inner.is_current("x/a"))
