"""Any sequence of writes, reads and maintenance on two nodes, against a dict."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import structs

from engine.conditional_contract import absent, chosen, counted, list_matching
from engine.contract import all_pages, as_ranking, assert_holds, list_all
from engine.native.nodes import SPEC, open_index
from engine.reference import Model, make_batch
from engine.text_contract import all_text_pages, assert_answers
from quiver.engine.engine import (
    Query,
    Row,
    TextFieldBuildingError,
    TextFieldConflictError,
    TextQuery,
    UnknownTextFieldError,
)
from quiver.model.filter_parser import parse_filter
from quiver.model.runtime import SystemRuntime
from quiver.model.types import TextField
from quiver.objectstore.memory import MemoryStore

KEYS = [f"key{number}" for number in range(14)]
NODE = st.integers(0, 1)
SOME_KEYS = st.lists(st.sampled_from(KEYS), min_size=1, max_size=8, unique=True)
POINT = st.tuples(st.integers(-3, 3), st.integers(-3, 3))
FILTERS = st.sampled_from(
    [
        None,
        {"g": 0},
        {"g": {"$ne": 0}},
        {"g": {"$gte": 1}},
        {"h": {"$exists": True}},
        {"$or": [{"g": 2}, {"h": "x"}]},
    ]
)
METADATA = st.sampled_from(
    [
        {},
        {"g": 0},
        {"g": 1, "h": "x", "t": "one two two"},
        {"g": 2, "t": ["three", "one"]},
        {"g": [0, 2], "h": "y x", "t": "two"},
        {"t": "four one one one", "u": "y"},
    ]
)
FIELDS = st.sampled_from([TextField("t"), TextField("t", "en"), TextField("h"), TextField("u", "fr")])
WORDS = st.sampled_from(["one", "two", "two one one", "three x", "y", "x four", "nowhere"])


class TwoNodes(RuleBasedStateMachine):
    """Integer points, so that distances are exact and ties are many."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.runtime = SystemRuntime(threads=1)
        self.store = MemoryStore(self.runtime)
        self.model = Model(SPEC.metric)
        self.nodes = [self.open(), self.open()]

    def open(self):
        return self.loop.run(open_index(self.store, self.runtime, merge_bytes=1 << 16))

    def teardown(self) -> None:
        self.loop.run(self.finish())
        self.loop.close()
        self.runtime.close()

    async def finish(self) -> None:
        for node in self.nodes:
            await assert_holds(node, self.model)
            await node.maintenance.compact_all()
            assert all(status.active for status in await node.text_fields())
            await node.maintenance.collect()
            await assert_holds(node, self.model)

    @rule(node=NODE, keys=SOME_KEYS, points=st.lists(POINT, min_size=8, max_size=8), metadata=METADATA)
    def put(self, node, keys, points, metadata):
        batch = make_batch(keys, [points[n] for n in range(len(keys))], [metadata] * len(keys))
        self.loop.run(self.nodes[node].put(batch))
        self.model.put(batch)

    @rule(node=NODE, keys=SOME_KEYS)
    def delete(self, node, keys):
        self.loop.run(self.nodes[node].delete(keys))
        self.model.delete(keys)

    @rule(node=NODE, keys=SOME_KEYS)
    def get(self, node, keys):
        rows = self.loop.run(self.nodes[node].get(keys, vectors=True, metadata=True)).rows
        assert sorted(row.key for row in rows) == sorted(key for key in keys if key in self.model.rows)
        for row in rows:
            assert row.vector.tolist() == self.model.rows[row.key].vector.tolist()
            assert row.metadata == self.model.rows[row.key].metadata

    @rule(node=NODE, limit=st.integers(1, 6), parts=st.integers(1, 3))
    def list(self, node, limit, parts):
        async def read():
            return [
                await list_all(self.nodes[node], limit=limit, segment=n, segment_count=parts) for n in range(parts)
            ]

        rows = [row.key for part in self.loop.run(read()) for row in part]
        assert sorted(rows) == sorted(self.model.rows)

    @rule(node=NODE, point=POINT, limit=st.integers(1, 20), condition=FILTERS)
    def query(self, node, point, limit, condition):
        parsed = parse_filter(condition) if condition else None
        target = np.array(point, np.float32)
        expected = self.model.ranking(target, parsed)
        hits = self.loop.run(self.nodes[node].query(Query(target, limit, parsed, metadata=True)))
        assert as_ranking(hits) == expected[:limit]
        assert hits.metadata == [self.model.rows[key].metadata for key in hits.keys]
        assert self.loop.run(all_pages(self.nodes[node], Query(target, limit, parsed))) == expected

    @rule(node=NODE, keys=SOME_KEYS, point=POINT)
    def put_absent(self, node, keys, point):
        batch = make_batch(keys, [point] * len(keys), [{"g": 1}] * len(keys))
        self.loop.run(self.nodes[node].amend(keys, absent(batch)))
        self.model.put(absent(batch)([Row(key, None, None) for key in keys if key in self.model.rows]))

    @rule(node=NODE, keys=SOME_KEYS)
    def rewrite(self, node, keys):
        self.loop.run(self.nodes[node].amend(keys, counted, vectors=True, metadata=True))
        rows = [Row(key, *self.model.rows[key]) for key in keys if key in self.model.rows]
        if rows:
            self.model.put(counted(rows))

    @rule(node=NODE, condition=FILTERS.filter(bool), limit=st.integers(1, 6))
    def delete_matching(self, node, condition, limit):
        parsed = parse_filter(condition)
        assert self.loop.run(self.nodes[node].count(parsed)).rows == len(chosen(self.model, parsed))
        page = self.loop.run(list_matching(self.nodes[node], parsed, 1000))
        assert {row.key for row in page} == chosen(self.model, parsed)
        deleted = self.loop.run(self.nodes[node].delete_matching(parsed, limit=limit))
        assert deleted.rows == min(limit, len(page))
        self.model.delete([row.key for row in page[:limit]])

    @rule(node=NODE, field=FIELDS)
    def add_text_field(self, node, field):
        if field.key in {each.key for each in self.model.texts}:
            with pytest.raises(TextFieldConflictError):
                self.loop.run(self.nodes[node].configure_texts(add=[field]))
        else:
            self.loop.run(self.nodes[node].configure_texts(add=[field]))
            self.model.texts.append(field)

    @rule(node=NODE, key=st.sampled_from("thu"))
    def delete_text_field(self, node, key):
        if key in {each.key for each in self.model.texts}:
            self.loop.run(self.nodes[node].configure_texts(delete=[key]))
            self.model.texts[:] = [each for each in self.model.texts if each.key != key]
        else:
            with pytest.raises(UnknownTextFieldError):
                self.loop.run(self.nodes[node].configure_texts(delete=[key]))

    @rule(
        node=NODE,
        keys=st.lists(st.sampled_from("thu"), min_size=1, max_size=3, unique=True),
        words=st.lists(WORDS, min_size=3, max_size=3),
        point=st.none() | POINT,
        limit=st.integers(1, 20),
        condition=FILTERS,
    )
    def search(self, node, keys, words, point, limit, condition):
        """What the model finds, or the refusal that the state of the text fields calls for."""
        index = self.nodes[node]
        texts = tuple(map(TextQuery, keys, words))
        target = None if point is None else np.array(point, np.float32)
        parsed = parse_filter(condition) if condition else None
        query = Query(target, limit, parsed, metadata=True, texts=texts)
        fields = self.loop.run(index.text_fields())
        assert [status.field for status in fields] == self.model.texts
        active = {status.field.key for status in fields if status.active}
        if active.issuperset(keys):
            assert_answers(self.loop.run(index.query(query)), self.model.answer(query)[:limit], self.model)
            pages = self.loop.run(all_text_pages(index, structs.replace(query, total=1000)))
            assert pages == [hit[:2] for hit in self.model.answer(structs.replace(query, limit=1000))]
        else:
            with pytest.raises((UnknownTextFieldError, TextFieldBuildingError)):
                self.loop.run(index.query(query))

    @rule(node=NODE)
    def flush(self, node):
        self.loop.run(self.nodes[node].maintenance.flush())

    @rule(node=NODE)
    def compact_tier(self, node):
        self.loop.run(self.nodes[node].maintenance.compact_tier())

    @rule(node=NODE)
    def compact_all(self, node):
        self.loop.run(self.nodes[node].maintenance.compact_all())

    @rule(node=NODE)
    def collect(self, node):
        self.loop.run(self.nodes[node].maintenance.collect())

    @rule(node=NODE)
    def reopen(self, node):
        self.nodes[node] = self.open()

    @rule()
    def race(self):
        """Both nodes maintain at once."""

        async def both():
            one, other = (node.maintenance for node in self.nodes)
            await asyncio.gather(one.flush(), other.compact_all(), one.collect(), other.collect())

        self.loop.run(both())

    @invariant()
    def no_row_is_alive_twice(self):
        rows = sum(ref.rows - len(ref.dead()) for ref in self.nodes[0].state.segments)
        tail = self.nodes[0].state.tail.rows
        assert rows <= len(KEYS) + tail


TestTwoNodes = TwoNodes.TestCase
TestTwoNodes.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
