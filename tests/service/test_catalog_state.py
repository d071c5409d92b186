"""The catalog state behaves like plain dictionaries, and replays to the same bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quiver.model.errors import (
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    QuotaExceededError,
    UnsupportedFormatError,
    ValidationError,
)
from quiver.model.structure import DEFAULT_RECALL
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service import catalog_commands
from quiver.service.catalog_commands import (
    AbandonIndex,
    CreateBucket,
    CreateIndex,
    DeleteBucket,
    DeletePolicy,
    DropIndex,
    PutPolicy,
    TagResource,
    UntagResource,
)
from quiver.service.catalog_state import CatalogState, raise_failure

SPEC = IndexSpec(3, DistanceMetric.COSINE, ("a", "b"))
AES = {"sseType": "AES256"}
BUCKETS = st.sampled_from(["red", "green", "blue"])
INDEXES = st.sampled_from(["one", "two", "three"])
TAGS = st.dictionaries(st.text("xyz", min_size=1, max_size=2), st.text("v", max_size=2), max_size=4)


def create_bucket(name: str, **changes: Any) -> CreateBucket:
    return CreateBucket(**({"bucket": name, "created": 7, "encryption": AES, "tags": {}} | changes))


def create_index(bucket: str, name: str, index_id: str, **changes: Any) -> CreateIndex:
    plain = {"created": 8, "encryption": AES, "metadata_configuration": None, "tags": {}}
    return CreateIndex(**({"bucket": bucket, "index": name, "index_id": index_id, "spec": SPEC} | plain | changes))


class AgainstDictionaries(RuleBasedStateMachine):
    """The state machine beside a model; every command also goes through its bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.state = CatalogState()
        self.buckets: dict[str, dict[str, Any]] = {}
        self.log: list[bytes] = []
        self.outcomes: list[Any] = []
        self.ids: list[str] = []
        self.abandoned: set[str] = set()

    def apply(self, command: Any, error: tuple[type, str] | None) -> bool:
        body = catalog_commands.encode(command)
        assert catalog_commands.decode(body) == command
        before = self.state.encode()
        foreseen = self.state.check(command)
        assert self.state.encode() == before
        outcome = self.state.apply(catalog_commands.decode(memoryview(body)))
        assert outcome == foreseen
        assert outcome == (None if error is None else (error[0].code, error[1]))
        assert outcome is None or self.state.encode() == before
        self.log.append(body)
        self.outcomes.append(outcome)
        return error is None

    def bucket_error(self, bucket: str) -> tuple[type, str] | None:
        return (
            None if bucket in self.buckets else (NotFoundError, "The specified vector bucket could not be found")
        )

    @rule(bucket=BUCKETS, tags=TAGS, at=st.integers(0, 9))
    def create_bucket(self, bucket: str, tags: dict[str, str], at: int) -> None:
        error = (ConflictError, "A vector bucket with the specified name already exists")
        if self.apply(create_bucket(bucket, created=at, tags=tags), error if bucket in self.buckets else None):
            self.buckets[bucket] = {"created": at, "tags": tags, "policy": None, "indexes": {}}

    @rule(bucket=BUCKETS)
    def delete_bucket(self, bucket: str) -> None:
        error = self.bucket_error(bucket)
        if error is None and self.buckets[bucket]["indexes"]:
            error = (ConflictError, "The specified vector bucket is not empty")
        if self.apply(DeleteBucket(bucket), error):
            del self.buckets[bucket]

    @rule(bucket=BUCKETS, index=INDEXES, tags=TAGS)
    def create_index(self, bucket: str, index: str, tags: dict[str, str]) -> None:
        error = self.bucket_error(bucket)
        if error is None and index in self.buckets[bucket]["indexes"]:
            error = (ConflictError, "An index with the specified name already exists")
        index_id = f"{len(self.ids):032x}"
        if error is None and index_id in self.abandoned:
            error = (ConflictError, "The index was given up while it was being made; try again")
        self.ids.append(index_id)
        if self.apply(create_index(bucket, index, index_id, tags=tags), error):
            self.buckets[bucket]["indexes"][index] = {"id": index_id, "tags": tags}

    @rule(data=st.data())
    def drop_index(self, data: st.DataObject) -> None:
        index_id = data.draw(st.sampled_from([*self.ids, "f" * 32]))
        owners = [
            (bucket, name)
            for bucket, content in self.buckets.items()
            for name, index in content["indexes"].items()
            if index["id"] == index_id
        ]
        error = (NotFoundError, "The specified index could not be found")
        if self.apply(DropIndex(index_id), None if owners else error):
            ((bucket, name),) = owners
            del self.buckets[bucket]["indexes"][name]

    @rule(data=st.data())
    def abandon_index(self, data: st.DataObject) -> None:
        """Beforehand, or for one that was dropped; one that has a name keeps it."""
        index_id = data.draw(st.sampled_from([*self.ids, f"{len(self.ids):032x}"]))
        named = {index["id"] for content in self.buckets.values() for index in content["indexes"].values()}
        error = (ConflictError, "The index has a name")
        if self.apply(AbandonIndex(index_id), error if index_id in named else None):
            self.abandoned.add(index_id)

    @rule(bucket=BUCKETS, policy=st.text(max_size=3))
    def put_policy(self, bucket: str, policy: str) -> None:
        if self.apply(PutPolicy(bucket, policy), self.bucket_error(bucket)):
            self.buckets[bucket]["policy"] = policy

    @rule(bucket=BUCKETS)
    def delete_policy(self, bucket: str) -> None:
        if self.apply(DeletePolicy(bucket), self.bucket_error(bucket)):
            self.buckets[bucket]["policy"] = None

    def tagged(self, bucket: str, index: str | None) -> dict[str, Any] | None:
        content = self.buckets.get(bucket)
        return content if content is None or index is None else content["indexes"].get(index)

    @rule(bucket=BUCKETS, index=st.none() | INDEXES, tags=TAGS)
    def tag(self, bucket: str, index: str | None, tags: dict[str, str]) -> None:
        found = self.tagged(bucket, index)
        error = (NotFoundError, "The specified resource could not be found") if found is None else None
        if self.apply(TagResource(bucket, index, tags), error) and found is not None:
            found["tags"] = found["tags"] | tags

    @rule(bucket=BUCKETS, index=st.none() | INDEXES, keys=st.lists(st.text("xyz", min_size=1, max_size=2)))
    def untag(self, bucket: str, index: str | None, keys: list[str]) -> None:
        found = self.tagged(bucket, index)
        error = (NotFoundError, "The specified resource could not be found") if found is None else None
        if self.apply(UntagResource(bucket, index, keys), error) and found is not None:
            found["tags"] = {key: value for key, value in found["tags"].items() if key not in keys}

    @rule()
    def restart_from_checkpoint(self) -> None:
        self.state = CatalogState.decode(self.state.encode())

    @invariant()
    def agrees_with_the_model(self) -> None:
        listed = self.state.list_buckets("", "", 10)
        assert [bucket.name for bucket in listed] == sorted(self.buckets)
        for bucket in listed:
            content = self.buckets[bucket.name]
            assert (bucket.created, bucket.tags, bucket.policy) == tuple(
                content[name] for name in ("created", "tags", "policy")
            )
            indexes = self.state.list_indexes(bucket.name, "", "", 10)
            assert [index.name for index in indexes] == sorted(content["indexes"])
            for index in indexes:
                assert {"id": index.index_id, "tags": index.tags} == content["indexes"][index.name]
                assert index.spec == SPEC
                assert self.state.index(bucket.name, index.name) == index
        live = {index["id"] for content in self.buckets.values() for index in content["indexes"].values()}
        assert {index.index_id for index in self.state.indexes()} == live

    def teardown(self) -> None:
        again = CatalogState()
        assert [again.apply(catalog_commands.decode(body)) for body in self.log] == self.outcomes
        assert again.encode() == self.state.encode()


TestAgainstDictionaries = AgainstDictionaries.TestCase


def state_of(*commands: Any) -> CatalogState:
    state = CatalogState()
    assert [state.apply(command) for command in commands] == [None] * len(commands)
    return state


def test_a_listing_page_starts_after_a_name_and_keeps_to_the_prefix() -> None:
    state = state_of(*(create_bucket(name) for name in ("b3", "a1", "b1", "b4", "b2", "c1")))
    assert [bucket.name for bucket in state.list_buckets("b", "b1", 2)] == ["b2", "b3"]
    assert [bucket.name for bucket in state.list_buckets("b", "b9", 2)] == []


def test_an_index_of_the_same_name_may_exist_in_two_buckets() -> None:
    state = state_of(
        create_bucket("a"), create_bucket("b"), create_index("a", "i", "1"), create_index("b", "i", "2")
    )
    assert state.index("a", "i") != state.index("b", "i")


def test_an_index_id_is_never_given_twice() -> None:
    state = state_of(create_bucket("a"), create_index("a", "i", "1"))
    assert state.check(create_index("a", "j", "1")) is not None


def test_tags_are_counted_after_merging() -> None:
    state = state_of(create_bucket("a", tags={f"k{i}": "" for i in range(50)}))
    assert state.check(TagResource("a", None, {"k0": "new"})) is None
    assert state.check(TagResource("a", None, {"k50": ""})) == ("ValidationException", "Too many tags specified")


def test_quotas_hold_at_ten_thousand_buckets_and_indexes() -> None:
    state = state_of(*(create_bucket(f"b{i}") for i in range(10_000)))
    assert state.check(create_bucket("one-more"))[0] == "ServiceQuotaExceededException"
    assert state.check(create_bucket("b7"))[0] == "ConflictException"
    for i in range(10_000):
        assert state.apply(create_index("b0", f"i{i}", f"{i:032x}")) is None
    assert state.check(create_index("b0", "one-more", "x"))[0] == "ServiceQuotaExceededException"
    assert state.check(create_index("b1", "one-more", "x")) is None


def test_a_specification_stored_before_recall_and_texts_were_chosen_is_read_as_it_says() -> None:
    """In the log and in a checkpoint alike: what is stored counts, not what a new index would get."""
    command = create_index("a", "i", "1", spec=IndexSpec(3, DistanceMetric.COSINE, (), "single", "flat"))
    old_spec = {"dimension": 3, "metric": "cosine", "non_filterable": [], "partitioner": "single", "codec": "flat"}
    old_command = msgspec.to_builtins(command) | {"spec": old_spec}
    assert catalog_commands.decode(msgspec.msgpack.encode(old_command)) == command

    image = msgspec.msgpack.decode(state_of(create_bucket("a"), command).encode())
    assert image["indexes"][0]["spec"].pop("recall") == DEFAULT_RECALL
    assert image["indexes"][0]["spec"].pop("texts") == []
    assert image["indexes"][0]["spec"] == old_spec
    assert CatalogState.decode(msgspec.msgpack.encode(image)).index("a", "i").spec == command.spec


def test_the_chosen_structure_survives_a_checkpoint() -> None:
    chosen = IndexSpec(3, DistanceMetric.COSINE, (), "kdtree", "lsh", 1.0)
    state = state_of(create_bucket("a"), create_index("a", "i", "1", spec=chosen))
    assert CatalogState.decode(state.encode()).index("a", "i").spec == chosen


def test_records_handed_out_do_not_change_later() -> None:
    state = state_of(create_bucket("a", tags={"k": "1"}))
    before = state.bucket("a")
    state.apply(TagResource("a", None, {"k": "2"}))
    state.apply(PutPolicy("a", "{}"))
    assert (before.tags, before.policy) == ({"k": "1"}, None)


@pytest.mark.parametrize(
    "error", [ConflictError, NotFoundError, QuotaExceededError, ValidationError], ids=lambda error: error.code
)
def test_a_failure_survives_the_session_table_and_raises_its_error(error: type) -> None:
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode((error.code, "why")))
    with pytest.raises(error, match="why"):
        raise_failure(stored)


def test_success_raises_nothing() -> None:
    raise_failure(None)


def test_an_unknown_command_is_of_a_newer_version() -> None:
    with pytest.raises(UnsupportedFormatError):
        catalog_commands.decode(msgspec.msgpack.encode({"do": "rename-bucket", "bucket": "a"}))
    with pytest.raises(UnsupportedFormatError):
        catalog_commands.decode(b"\x82\xa2do\xaddelete-bucket\xa6bucket\xa2\xe3\x80")  # a name not in UTF-8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x83\xa7buckets\x90\xa7indexes\x90\xa9abandoned\x91\xa1\x80",
        msgspec.msgpack.encode({"buckets": 1, "indexes": []}),
        msgspec.msgpack.encode(
            {
                "buckets": [],
                "indexes": [
                    msgspec.to_builtins(state_of(create_bucket("a"), create_index("a", "i", "1")).index("a", "i"))
                ],
            }
        ),
    ],
    ids=["empty", "no msgpack", "not in UTF-8", "wrong type", "index without bucket"],
)
def test_damaged_state_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptObjectError):
        CatalogState.decode(data)
