"""What full-text and hybrid search do, through any client."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from api.workbench import Workbench, invalid, record, refusal
from engine.text_reference import bm25
from quiver.model.types import TextField

POEMS: dict[str, dict[str, Any]] = {
    "storm": {"body": "the storm at sea", "title": "storm", "n": 1},
    "calm": {"body": "a calm sea, the wide sea", "title": "calm weather", "n": 2},
    "desert": {"body": ["sand", "a storm of sand"], "n": 3},
    "blank": {"body": "", "n": 4},
    "other": {"body": 5, "title": ["sea", 7][:1], "n": 5},
}
ORIGIN = {"float32": [0, 0]}


def configured(*keys: str, **languages: str) -> dict[str, Any]:
    """Text search configurations: of the standard analyzer, then with a language."""
    plain = [{"metadataKey": key} for key in keys]
    return {
        "textSearchConfigurations": plain
        + [{"metadataKey": key, "language": language} for key, language in languages.items()]
    }


def asked(**words: str) -> list[dict[str, str]]:
    return [{"metadataKey": key, "text": text} for key, text in words.items()]


def poems(bench: Workbench, *keys: str, **languages: str) -> dict[str, str]:
    """An index of `POEMS` at distances 1, 2, 3, ... of the origin, with text fields."""
    vectors = (record(key, [n, 0], metadata) for n, (key, metadata) in enumerate(POEMS.items(), 1))
    return bench.filled(*vectors, metadataConfiguration=configured(*keys, **languages))


def query(bench: Workbench, names: dict[str, str], top_k: int = 10, **params: Any) -> list[dict[str, Any]]:
    return bench.client.query_vectors(**names, topK=top_k, **params)["vectors"]


def found(bench: Workbench, names: dict[str, str], **words: str) -> list[str]:
    """The keys that words find, best first."""
    return [hit["key"] for hit in query(bench, names, queryTexts=asked(**words))]


def fields(bench: Workbench, names: dict[str, str]) -> list[tuple[str, str | None, str]]:
    """Key, language and status of the text fields."""
    shown = bench.client.get_index(**names)["index"].get("metadataConfiguration", {})
    return [
        (each["metadataKey"], each.get("language"), each["status"])
        for each in shown.get("textSearchConfigurations", ())
    ]


def scores(documents: dict[str, Any], key: str, text: str) -> dict[str, float]:
    """BM25 of the rows with any of the words."""
    return bm25({name: orjson.dumps(each) for name, each in documents.items()}, TextField(key), text)


def wait_until_active(bench: Workbench, names: dict[str, str]) -> None:
    end = time.monotonic() + 120
    while any(status == "BUILDING" for _, _, status in fields(bench, names)):
        assert time.monotonic() < end, "the fields are still being built"
        time.sleep(0.05)


class TextContract:
    """Text search configurations, and QueryVectors with queryTexts."""

    def test_words_find_by_relevance_and_scores_are_those_of_bm25(self, bench: Workbench) -> None:
        names = poems(bench, "body", "title")
        words = {"body": "Sea storm, sea!", "title": "storm"}
        hits = query(bench, names, queryTexts=asked(**words), returnScores=True, returnDistance=True)
        expected = {key: scores(POEMS, key, text) for key, text in words.items()}
        shown = {
            hit["key"]: {each["metadataKey"]: each["score"] for each in hit["scores"]["bm25Scores"]}
            for hit in hits
        }
        assert shown == {
            vector: {
                key: pytest.approx(expected[key][vector], rel=1e-9) for key in words if vector in expected[key]
            }
            for vector in ("storm", "calm", "desert")
        }
        sums = [sum(shown[hit["key"]].values()) for hit in hits]
        assert sums == sorted(sums, reverse=True)
        assert all(hit.keys() == {"key", "scores"} for hit in hits)
        assert all(hit["scores"].keys() == {"bm25Scores"} for hit in hits)

    def test_arrays_are_one_text_and_other_values_none(self, bench: Workbench) -> None:
        names = poems(bench, "body", "title")
        assert found(bench, names, body="sand") == ["desert"]
        assert found(bench, names, title="sea") == ["other"]
        assert found(bench, names, body="5") == []

    def test_a_hybrid_query_fuses_the_ranks_of_its_lists(self, bench: Workbench) -> None:
        names = poems(bench, "body")
        hybrid = {"queryVector": ORIGIN, "queryTexts": asked(body="sand"), "returnScores": True}
        answer = bench.client.query_vectors(**names, topK=10, **hybrid, returnDistance=True, returnMetadata=True)
        assert answer["distanceMetric"] == "euclidean"
        hits = answer["vectors"]
        assert [hit["key"] for hit in hits] == ["desert", "storm", "calm", "blank", "other"]
        assert [hit["scores"]["fused"] for hit in hits] == pytest.approx(
            [1 / 61 + 1 / 63, 1 / 61, 1 / 62, 1 / 64, 1 / 65]
        )
        assert [hit["scores"]["vectorDistance"] for hit in hits] == [3, 1, 2, 4, 5]
        assert [hit["distance"] for hit in hits] == [3, 1, 2, 4, 5]
        assert [len(hit["scores"]["bm25Scores"]) for hit in hits] == [1, 0, 0, 0, 0]
        assert hits[0]["metadata"] == POEMS["desert"]

    def test_a_hit_that_only_words_led_to_has_no_distance(self, bench: Workbench) -> None:
        near = (record(f"near-{n:03}", [n, 0]) for n in range(100))
        names = bench.filled(
            *near, record("far", [1e6, 0], {"body": "needle"}), metadataConfiguration=configured("body")
        )
        hits = query(
            bench,
            names,
            3,
            queryVector=ORIGIN,
            queryTexts=asked(body="needle"),
            returnDistance=True,
            returnScores=True,
        )
        assert [hit["key"] for hit in hits] == ["far", "near-000", "near-001"]
        assert hits[0].keys() == {"key", "scores"}
        assert hits[0]["scores"].keys() == {"fused", "bm25Scores"}
        assert hits[1]["distance"] == 0

    def test_scores_come_only_when_asked_for_and_only_with_texts(self, bench: Workbench) -> None:
        names = poems(bench, "body")
        assert query(bench, names, queryTexts=asked(body="sand")) == [{"key": "desert"}]
        for hit in query(bench, names, queryVector=ORIGIN, returnScores=True):
            assert hit.keys() == {"key"}

    def test_filters_hold_for_every_leg_and_leave_scores_alone(self, bench: Workbench) -> None:
        names = poems(bench, "body")
        texts = {"queryTexts": asked(body="storm"), "returnScores": True}
        free = {hit["key"]: hit["scores"] for hit in query(bench, names, **texts)}
        assert free.keys() == {"storm", "desert"}
        (only,) = query(bench, names, **texts, filter={"n": {"$gte": 2}})
        assert (only["key"], only["scores"]) == ("desert", free["desert"])
        hybrid = query(bench, names, **texts, queryVector=ORIGIN, filter={"n": {"$lte": 2}})
        assert [hit["key"] for hit in hybrid] == ["storm", "calm"]
        assert query(bench, names, **texts, filter={"n": 9}) == []

    def test_overwrites_and_deletions_show_at_once(self, bench: Workbench) -> None:
        names = poems(bench, "body")
        bench.client.put_vectors(**names, vectors=[record("desert", [1, 1], {"body": "dunes"})])
        assert (found(bench, names, body="sand"), found(bench, names, body="dunes")) == ([], ["desert"])
        bench.client.delete_vectors(**names, keys=["storm"])
        assert found(bench, names, body="storm") == []
        (hit,) = query(bench, names, queryTexts=asked(body="sea"), returnScores=True)
        left = {"calm": POEMS["calm"], "desert": {"body": "dunes"}}
        assert hit["scores"]["bm25Scores"][0]["score"] == pytest.approx(
            scores(left, "body", "sea")["calm"], rel=1e-9
        )

    @pytest.mark.parametrize("words", ["!?", " ", "unknown"])
    def test_words_that_are_nowhere_match_nothing_in_their_leg(self, bench: Workbench, words: str) -> None:
        names = poems(bench, "body")
        assert found(bench, names, body=words) == []
        hybrid = query(bench, names, queryVector=ORIGIN, queryTexts=asked(body=words))
        assert [hit["key"] for hit in hybrid] == bench.nearest(names, [0, 0])

    def test_non_filterable_keys_can_be_searched(self, bench: Workbench) -> None:
        hidden = {"nonFilterableMetadataKeys": ["body"]} | configured("body")
        names = bench.filled(
            record("a", [1, 0], {"body": "word " * 5_000}), record("b", [2, 0]), metadataConfiguration=hidden
        )
        assert found(bench, names, body="Word") == ["a"]
        text = "Invalid use of non-filterable metadata in filter"
        error = refusal(
            bench.client.query_vectors, **names, topK=1, queryTexts=asked(body="word"), filter={"body": "x"}
        )
        assert error == ("ValidationException", 400, text, [("filter", text)])

    def test_a_language_knows_the_forms_of_its_words(self, bench: Workbench) -> None:
        rows = {"one": "the cats were running", "two": "an empty house"}
        vectors = [record(key, [1, 0], {"plain": text, "english": text}) for key, text in rows.items()]
        names = bench.filled(*vectors, metadataConfiguration=configured("plain", english="en"))
        assert (found(bench, names, plain="cat runs"), found(bench, names, english="cat runs")) == ([], ["one"])
        assert (found(bench, names, plain="the"), found(bench, names, english="the")) == (["one"], [])

    def test_pages_hold_the_whole_ranking_once(self, bench: Workbench) -> None:
        rows = ({"body": "word " * (n % 5 + 1) + "rare " * (n % 30 == 0)} for n in range(250))
        names = bench.filled(
            *(record(f"k{n:03}", [n, 0], row) for n, row in enumerate(rows)),
            metadataConfiguration=configured("body"),
        )
        for question in ({}, {"queryVector": ORIGIN}):
            question |= {"queryTexts": asked(body="rare word")}
            pages = list(
                bench.client.get_paginator("query_vectors").paginate(
                    **names, **question, topK=230, returnScores=True
                )
            )
            assert [len(page["vectors"]) for page in pages] == [100, 100, 30]
            hits = [hit for page in pages for hit in page["vectors"]]
            assert len({hit["key"] for hit in hits}) == 230
            places = [hit["scores"].get("fused") or hit["scores"]["bm25Scores"][0]["score"] for hit in hits]
            assert places == sorted(places, reverse=True)
            if "queryVector" not in question:
                assert {hit["key"] for hit in hits[:9]} == {f"k{n:03}" for n in range(0, 250, 30)}

    def test_a_field_added_later_finds_what_was_there_before(self, bench: Workbench) -> None:
        names = poems(bench, "title")
        arn = bench.client.get_index(**names)["index"]["indexArn"]
        added = bench.client.update_metadata_configuration(**names, add=configured(body="en"))
        assert added["indexArn"] == arn
        wait_until_active(bench, names)
        assert fields(bench, names) == [("title", None, "ACTIVE"), ("body", "en", "ACTIVE")]
        assert found(bench, names, body="Storm") == ["storm", "desert"]
        assert bench.client.update_metadata_configuration(indexArn=arn, delete=configured("body", "title"))
        assert "metadataConfiguration" not in bench.client.get_index(**names)["index"]
        message = invalid(bench.client.query_vectors, **names, topK=1, queryTexts=asked(body="sea"))
        assert message == "The metadata key 'body' is not configured for text search"

    def test_a_field_may_come_back_in_another_language(self, bench: Workbench) -> None:
        names = poems(bench, "body")
        change = bench.client.update_metadata_configuration
        error = refusal(change, **names, add=configured(body="en"))
        text = "A text search configuration of the metadata key 'body' already exists"
        assert error == ("ConflictException", 409, text, [])
        change(**names, delete=configured("body"))
        change(**names, add=configured(body="en"))
        wait_until_active(bench, names)
        assert found(bench, names, body="Storm") == ["storm", "desert"]

    def test_a_new_index_shows_its_fields_as_active(self, bench: Workbench) -> None:
        given = {"nonFilterableMetadataKeys": ["x"]} | configured("a", b="ja")
        names = bench.index(metadataConfiguration=given)
        assert bench.client.get_index(**names)["index"]["metadataConfiguration"] == {
            "nonFilterableMetadataKeys": ["x"],
            "textSearchConfigurations": [
                {"metadataKey": "a", "status": "ACTIVE"},
                {"metadataKey": "b", "language": "ja", "status": "ACTIVE"},
            ],
        }
