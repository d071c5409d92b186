"""Text search through the service: configurations, questions, answers, pages, and every error about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from engine.text_reference import bm25
from quiver.model.errors import ConflictError, NotFoundError, ValidationError
from quiver.model.types import TextField
from service.deployment import ARN, NAMES, on_node

if TYPE_CHECKING:
    from service.deployment import Node

UPDATE = "UpdateMetadataConfiguration"
INDEX_ARN = f"{ARN}:bucket/bucket/index/index"
EITHER = "Specify either add or delete, but not both"
CONFIGURED_TWICE = "Each text search configuration must have a distinct metadataKey"
ASKED_TWICE = "Each entry of queryTexts must have a distinct metadataKey"
ORIGIN = {"float32": [0, 0]}


def constraint(path: str, must: str, length: int | None = None) -> str:
    """The message about a value that violates one constraint of the model."""
    value = "Value" if length is None else f"Value with length {length}"
    return f"1 validation error detected. {value} at '{path}' failed to satisfy constraint: Member must {must}"


def texts(*keys: str, **languages: str) -> dict[str, Any]:
    """Text search configurations: of the standard analyzer, then with a language."""
    plain = [{"metadataKey": key} for key in keys]
    return {
        "textSearchConfigurations": plain
        + [{"metadataKey": key, "language": language} for key, language in languages.items()]
    }


def asked(**words: str) -> list[dict[str, str]]:
    return [{"metadataKey": key, "text": text} for key, text in words.items()]


def with_texts(scenario: Any, configuration: dict[str, Any] | None = None) -> None:
    """Run a scenario on a node with the index of `NAMES`, whose `body` and `title` are searchable unless said."""

    async def run(node: Node) -> None:
        await node.create_index(metadataConfiguration=configuration or texts("body", title="en"))
        await scenario(node)

    on_node(run)


async def configured(node: Node) -> Any:
    return (await node.call("GetIndex", **NAMES))["index"].get("metadataConfiguration")


async def query(node: Node, top_k: int = 10, **params: Any) -> list[dict[str, Any]]:
    return (await node.call("QueryVectors", **NAMES, topK=top_k, **params))["vectors"]


async def keys(node: Node, top_k: int = 10, **params: Any) -> list[str]:
    return [hit["key"] for hit in await query(node, top_k, **params)]


# ---------------------------------------------------------------- configurations


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (texts("a"), texts("a")),
        (texts("a", b="en"), texts("a", b="en")),
        ({"nonFilterableMetadataKeys": ["a"], **texts("a")}, {"nonFilterableMetadataKeys": ["a"], **texts("a")}),
        ({"nonFilterableMetadataKeys": [], **texts("a")}, {"nonFilterableMetadataKeys": [], **texts("a")}),
        ({"textSearchConfigurations": []}, {}),
        (texts(*"abcdefghij"), texts(*"abcdefghij")),
        ({"textSearchConfigurations": [{"metadataKey": "a", "status": "BUILDING"}]}, texts("a")),
    ],
)
def test_a_new_index_shows_its_text_fields_as_active(given: dict[str, Any], shown: dict[str, Any]) -> None:
    async def scenario(node: Node) -> None:
        expected = dict(shown)
        if "textSearchConfigurations" in shown:
            expected["textSearchConfigurations"] = [
                each | {"status": "ACTIVE"} for each in shown["textSearchConfigurations"]
            ]
        assert await configured(node) == expected

    with_texts(scenario, given)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            texts("a", "b", a="en"),
            (CONFIGURED_TWICE, "metadataConfiguration.textSearchConfigurations[2].metadataKey"),
        ),
        (
            texts(a="sv"),
            (
                constraint(
                    "/metadataConfiguration/textSearchConfigurations/0/language",
                    "satisfy enum value set: [en, fr, es, pt, it, de, nl, zh, ja, ko]",
                ),
                "/metadataConfiguration/textSearchConfigurations/0/language",
            ),
        ),
        (
            texts(*"abcdefghijk"),
            (
                constraint(
                    "/metadataConfiguration/textSearchConfigurations",
                    "have length between 0 and 10, inclusive",
                    11,
                ),
                "/metadataConfiguration/textSearchConfigurations",
            ),
        ),
        (
            {"textSearchConfigurations": [{"language": "en"}]},
            (
                constraint("/metadataConfiguration/textSearchConfigurations/0/metadataKey", "not be null"),
                "/metadataConfiguration/textSearchConfigurations/0/metadataKey",
            ),
        ),
        (
            texts("a" * 64),
            (
                constraint(
                    "/metadataConfiguration/textSearchConfigurations/0/metadataKey",
                    "have length between 1 and 63, inclusive",
                    64,
                ),
                "/metadataConfiguration/textSearchConfigurations/0/metadataKey",
            ),
        ),
    ],
    ids=["twice", "language", "eleven", "no key", "long key"],
)
def test_an_index_with_bad_text_fields_is_not_created(given: dict[str, Any], error: tuple[str, str]) -> None:
    async def scenario(node: Node) -> None:
        await node.call("CreateVectorBucket", vectorBucketName="bucket")
        create = {"dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
        raised = await node.fails(
            "CreateIndex", ValidationError, error[0], **NAMES, **create, metadataConfiguration=given
        )
        assert [field.path for field in raised.fields] == [error[1]]
        assert (await node.call("ListIndexes", vectorBucketName="bucket"))["indexes"] == []

    on_node(scenario)


def test_text_fields_come_and_go_and_keep_their_order() -> None:
    async def scenario(node: Node) -> None:
        assert await node.call(UPDATE, **NAMES, add=texts("tags", summary="ja")) == {"indexArn": INDEX_ARN}
        await node.call(UPDATE, indexArn=INDEX_ARN, delete=texts("title", "tags"))
        active = {"status": "ACTIVE"}
        assert await configured(node) == {
            "textSearchConfigurations": [
                {"metadataKey": "body"} | active,
                {"metadataKey": "summary", "language": "ja"} | active,
            ]
        }
        await node.call(UPDATE, **NAMES, delete=texts("body", "summary"))
        assert await configured(node) is None
        await node.call(UPDATE, **NAMES, add=texts(body="de"))
        assert await configured(node) == {
            "textSearchConfigurations": [{"metadataKey": "body", "language": "de"} | active]
        }

    with_texts(scenario)


def test_non_filterable_keys_stay_when_text_fields_go() -> None:
    async def scenario(node: Node) -> None:
        await node.call(UPDATE, **NAMES, delete=texts("body"))
        assert await configured(node) == {"nonFilterableMetadataKeys": ["body"]}

    with_texts(scenario, {"nonFilterableMetadataKeys": ["body"], **texts("body")})


def test_an_update_answers_with_its_commit_and_one_of_nothing_makes_none() -> None:
    async def scenario(node: Node) -> None:
        await node.put(("a", [1, 2]))
        response = await node.service.call(UPDATE, {**NAMES, "add": texts("tags")})
        assert response.commit == 2
        response = await node.service.call(UPDATE, {**NAMES, "add": {"textSearchConfigurations": []}})
        assert (response.body, response.commit) == ({"indexArn": INDEX_ARN}, None)

    with_texts(scenario)


@pytest.mark.parametrize(
    ("change", "message", "path"),
    [
        ({}, EITHER, None),
        ({"add": {}}, EITHER, None),
        ({"add": {}, "delete": {}}, EITHER, None),
        ({"add": texts("new"), "delete": texts("body")}, EITHER, None),
        ({"add": {"textSearchConfigurations": []}, "delete": texts("body")}, EITHER, None),
        ({"add": texts("new", new="en")}, CONFIGURED_TWICE, "add.textSearchConfigurations[1].metadataKey"),
        ({"delete": texts("body", "body")}, CONFIGURED_TWICE, "delete.textSearchConfigurations[1].metadataKey"),
        (
            {"delete": texts("body", "new")},
            "The metadata key 'new' is not configured for text search",
            "delete.textSearchConfigurations[1].metadataKey",
        ),
        ({"add": texts(*"abcdefghi")}, "An index can have at most 10 text search configurations", None),
        (
            {"delete": {"textSearchConfigurations": []}},
            constraint("/delete/textSearchConfigurations", "have length between 1 and 10, inclusive", 0),
            "/delete/textSearchConfigurations",
        ),
    ],
)
def test_a_bad_change_is_refused_and_changes_nothing(
    change: dict[str, Any], message: str, path: str | None
) -> None:
    async def scenario(node: Node) -> None:
        before = await configured(node)
        error = await node.fails(UPDATE, ValidationError, message, **NAMES, **change)
        assert [field.path for field in error.fields] == ([] if path is None else [path])
        assert await configured(node) == before

    with_texts(scenario)


@pytest.mark.parametrize("language", [{"new": "en"}, {"new": "en", "body": "en"}, {"title": "en"}])
def test_adding_a_key_that_is_configured_conflicts_whatever_its_language(language: dict[str, str]) -> None:
    async def scenario(node: Node) -> None:
        await node.call(UPDATE, **NAMES, add=texts("new"))
        first = next(key for key in language if key in ("body", "new", "title"))
        message = f"A text search configuration of the metadata key '{first}' already exists"
        await node.fails(UPDATE, ConflictError, message, **NAMES, add=texts(**language))
        assert len((await configured(node))["textSearchConfigurations"]) == 3

    with_texts(scenario)


def test_ten_text_fields_are_the_most() -> None:
    async def scenario(node: Node) -> None:
        await node.call(UPDATE, **NAMES, add=texts(*"abcdefgh"))
        await node.fails(
            UPDATE,
            ValidationError,
            "An index can have at most 10 text search configurations",
            **NAMES,
            add=texts("i"),
        )
        await node.call(UPDATE, **NAMES, delete=texts("h"))
        await node.call(UPDATE, **NAMES, add=texts("i"))
        assert len((await configured(node))["textSearchConfigurations"]) == 10

    with_texts(scenario)


def test_a_deleted_index_has_no_text_fields() -> None:
    async def scenario(node: Node) -> None:
        await node.call("DeleteIndex", **NAMES)
        message = "The specified index could not be found"
        for operation, params in (("GetIndex", {}), (UPDATE, {"add": texts("new")})):
            await node.fails(operation, NotFoundError, message, **NAMES, **params)

    with_texts(scenario)


def test_a_field_that_is_being_built_is_shown_so_and_not_searched() -> None:
    async def scenario(node: Node) -> None:
        await configured(node)
        (content,) = node.deployment.shelf.values()
        content.building.add("title")
        shown = (await configured(node))["textSearchConfigurations"]
        assert [each["status"] for each in shown] == ["ACTIVE", "BUILDING"]
        message = "The text search configuration of the metadata key 'title' isn't yet serving queries"
        params = {"topK": 1, "queryTexts": asked(body="x", title="x")}
        error = await node.fails("QueryVectors", ValidationError, message, **NAMES, **params)
        assert error.fields == (("queryTexts[1].metadataKey", message),)
        content.building.clear()
        assert await query(node, queryTexts=asked(body="x", title="x")) == []

    with_texts(scenario)


# ---------------------------------------------------------------- questions


async def fill(node: Node) -> None:
    await node.put(
        ("storm", [9, 0], {"body": "the storm at sea", "title": "storm", "n": 1}),
        ("calm", [1, 0], {"body": "a calm sea, the sea", "n": 2}),
        ("desert", [2, 0], {"body": ["sand", "storm"], "n": 3}),
        ("blank", [0, 0], {"body": "", "n": 4}),
    )


def test_a_text_alone_ranks_by_relevance_and_has_no_distance() -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        body = await node.call(
            "QueryVectors",
            **NAMES,
            topK=10,
            queryTexts=asked(body="Sea!"),
            returnDistance=True,
            returnMetadata=True,
        )
        assert body["distanceMetric"] == "euclidean"
        assert body["vectors"] == [
            {"key": "calm", "metadata": {"body": "a calm sea, the sea", "n": 2}},
            {"key": "storm", "metadata": {"body": "the storm at sea", "title": "storm", "n": 1}},
        ]

    with_texts(scenario)


def test_scores_of_texts_alone_are_those_of_each_key_that_matched() -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        hits = await query(node, queryTexts=asked(body="storm", title="storm"), returnScores=True)
        assert [hit["key"] for hit in hits] == ["storm", "desert"]
        first, second = (hit["scores"]["bm25Scores"] for hit in hits)
        assert [score["metadataKey"] for score in first] == ["body", "title"]
        assert [score["metadataKey"] for score in second] == ["body"]
        assert all(score["score"] > 0 for score in first + second)
        assert all(hit["scores"].keys() == {"bm25Scores"} for hit in hits)
        assert sum(score["score"] for score in first) > second[0]["score"]

    with_texts(scenario)


def test_a_hybrid_hit_shows_why_it_is_there() -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        hits = await query(
            node, queryVector=ORIGIN, queryTexts=asked(body="storm"), returnScores=True, returnDistance=True
        )
        by_key = {hit["key"]: hit for hit in hits}
        assert hits[0]["key"] == "desert"  # first of the text's list, third of the nearest
        assert by_key["desert"]["scores"]["fused"] == pytest.approx(1 / 61 + 1 / 63)
        assert by_key["storm"]["scores"]["fused"] == pytest.approx(1 / 62 + 1 / 64)
        assert by_key["storm"]["distance"] == by_key["storm"]["scores"]["vectorDistance"] == 9.0
        assert by_key["blank"]["scores"] == {"bm25Scores": [], "fused": 1 / 61, "vectorDistance": 0.0}
        assert len(hits) == 4

    with_texts(scenario)


def test_a_hit_that_only_words_led_to_has_no_distance() -> None:
    async def scenario(node: Node) -> None:
        await node.put(*((f"near-{n:03}", [n, 0]) for n in range(100)), ("far", [1e6, 0], {"body": "needle"}))
        hits = await query(
            node, queryVector=ORIGIN, queryTexts=asked(body="needle"), returnScores=True, returnDistance=True
        )
        shown = {hit["key"]: hit for hit in hits}
        assert shown["far"].keys() == {"key", "scores"}
        assert shown["far"]["scores"].keys() == {"bm25Scores", "fused"}
        assert shown["near-000"]["distance"] == 0.0
        assert len(hits) == 10

    with_texts(scenario)


def test_scores_and_distances_are_shown_only_when_asked_for() -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        for question in (
            {"queryTexts": asked(body="sea")},
            {"queryVector": ORIGIN, "queryTexts": asked(body="sea")},
        ):
            assert all(hit.keys() == {"key"} for hit in await query(node, **question))
        alone = await query(node, queryVector=ORIGIN, returnScores=True, returnDistance=True)
        assert all(hit.keys() == {"key", "distance"} for hit in alone)

    with_texts(scenario)


def test_a_filter_holds_for_every_leg_but_counts_not_in_relevance() -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        question = {"queryTexts": asked(body="storm"), "returnScores": True}
        free = {hit["key"]: hit["scores"] for hit in await query(node, **question)}
        (only,) = await query(node, **question, filter={"n": {"$gt": 1}})
        assert (only["key"], only["scores"]) == ("desert", free["desert"])
        hybrid = await keys(node, queryVector=ORIGIN, queryTexts=asked(body="storm"), filter={"n": {"$lt": 3}})
        assert hybrid == ["storm", "calm"]

    with_texts(scenario)


@pytest.mark.parametrize("words", ["!?", " ", "unknown"])
def test_words_that_are_nowhere_match_nothing_in_their_leg(words: str) -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        assert await query(node, queryTexts=asked(body=words)) == []
        nearest = await keys(node, queryVector=ORIGIN)
        assert await keys(node, queryVector=ORIGIN, queryTexts=asked(body=words)) == nearest

    with_texts(scenario)


def test_the_words_of_a_non_filterable_key_can_be_searched() -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        assert await keys(node, queryTexts=asked(body="sea")) == ["calm", "storm"]
        message = "Invalid use of non-filterable metadata in filter"
        await node.fails(
            "QueryVectors",
            ValidationError,
            message,
            **NAMES,
            topK=1,
            queryTexts=asked(body="sea"),
            filter={"body": "x"},
        )

    with_texts(scenario, {"nonFilterableMetadataKeys": ["body"], **texts("body")})


@pytest.mark.parametrize(
    ("params", "message", "path"),
    [
        ({}, "At least one of queryVector and queryTexts must be specified", "queryVector"),
        ({"queryTexts": asked(body="a") * 2}, ASKED_TWICE, "queryTexts[1].metadataKey"),
        (
            {"queryTexts": asked(body="a", n="a")},
            "The metadata key 'n' is not configured for text search",
            "queryTexts[1].metadataKey",
        ),
        (
            {"queryTexts": []},
            constraint("/queryTexts", "have length between 1 and 10, inclusive", 0),
            "/queryTexts",
        ),
        (
            {"queryTexts": asked(**dict.fromkeys("abcdefghijk", "a"))},
            constraint("/queryTexts", "have length between 1 and 10, inclusive", 11),
            "/queryTexts",
        ),
        (
            {"queryTexts": asked(body="")},
            constraint("/queryTexts/0/text", "have length between 1 and 1024, inclusive", 0),
            "/queryTexts/0/text",
        ),
        (
            {"queryTexts": asked(body="a" * 1025)},
            constraint("/queryTexts/0/text", "have length between 1 and 1024, inclusive", 1025),
            "/queryTexts/0/text",
        ),
        (
            {"queryTexts": [{"text": "a"}]},
            constraint("/queryTexts/0/metadataKey", "not be null"),
            "/queryTexts/0/metadataKey",
        ),
        (
            {"queryTexts": asked(body="a"), "queryVector": {"float32": [1]}},
            "Query vector contains invalid values or is invalid for this index",
            "vector",
        ),
        (
            {"queryTexts": asked(body="a"), "queryMode": "CLASSIC"},
            "queryMode cannot be CLASSIC when indexMode is ENHANCED",
            None,
        ),
    ],
)
def test_a_bad_question_is_refused(params: dict[str, Any], message: str, path: str | None) -> None:
    async def scenario(node: Node) -> None:
        error = await node.fails("QueryVectors", ValidationError, message, **NAMES, topK=1, **params)
        assert [field.path for field in error.fields] == ([] if path is None else [path])

    with_texts(scenario)


def test_a_text_of_1024_characters_is_fine() -> None:
    async def scenario(node: Node) -> None:
        await fill(node)
        assert await keys(node, queryTexts=asked(body="\U0001f30a" * 1020 + " sea")) == ["calm", "storm"]

    with_texts(scenario)


# ---------------------------------------------------------------- pages

QUESTIONS = {
    "text": {"queryTexts": asked(body="word rare")},
    "two texts": {"queryTexts": asked(body="word", title="rare")},
    "hybrid": {"queryTexts": asked(body="rare"), "queryVector": ORIGIN},
}


async def fill_pages(node: Node) -> None:
    for start in (0, 200):
        await node.put(
            *(
                (
                    f"k{n * 7919 % 400:03}",
                    [n, 0],
                    {"body": "word " * (n % 3) + "rare " * (n % 7 == 0), "title": "rare"},
                )
                for n in range(start, start + 200)
            )
        )


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("top_k", [100, 250])
def test_all_pages_together_are_the_ranking(question: str, top_k: int) -> None:
    async def scenario(node: Node) -> None:
        await fill_pages(node)
        params = {**NAMES, "topK": top_k, **QUESTIONS[question], "returnScores": True}
        pages = await node.pages("QueryVectors", "vectors", **params)
        assert {len(page) for page in pages[:-1]} <= {100}
        hits = [hit for page in pages for hit in page]
        assert len({hit["key"] for hit in hits}) == len(hits) == top_k
        ranks = [
            (-hit["scores"].get("fused", sum(s["score"] for s in hit["scores"]["bm25Scores"])), hit["key"])
            for hit in hits
        ]
        assert ranks == sorted(ranks)

    with_texts(scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"queryTexts": asked(body="rare!")},
        {"queryTexts": asked(title="rare")},
        {"queryTexts": asked(body="rare", title="rare")},
        {"queryTexts": None},
        {"queryVector": None},
        {"queryVector": {"float32": [0, 1]}},
        {"topK": 151},
        {"filter": {"body": {"$exists": True}}},
    ],
)
def test_a_token_fits_only_the_same_question(change: dict[str, Any]) -> None:
    async def scenario(node: Node) -> None:
        await fill_pages(node)
        same = {"topK": 150, **QUESTIONS["hybrid"]}
        token = (await node.call("QueryVectors", **NAMES, **same))["nextToken"]
        await node.fails(
            "QueryVectors", ValidationError, "Invalid page token", **NAMES, **same | change, nextToken=token
        )
        rest = await node.call("QueryVectors", **NAMES, **same, nextToken=token, returnScores=True)
        assert len(rest["vectors"]) == 50

    with_texts(scenario)


def test_each_page_is_of_the_newest_commit_and_so_are_its_scores() -> None:
    async def scenario(node: Node) -> None:
        written = {f"k{n:03}": {"body": "word" + " more" * n} for n in range(150)}
        await node.put(*((key, [1, 1], metadata) for key, metadata in written.items()))
        question = NAMES | {"topK": 150, "queryTexts": asked(body="word"), "returnScores": True}
        first = await node.call("QueryVectors", **question)
        assert [hit["key"] for hit in first["vectors"]] == list(written)[:100]
        written["late"] = {"body": "word" + " more" * 130}
        await node.put(("late", [1, 1], written["late"]))
        await node.call("DeleteVectors", **NAMES, keys=["k120"])
        del written["k120"]
        second = await node.call("QueryVectors", **question, nextToken=first["nextToken"])
        found = {hit["key"]: hit["scores"]["bm25Scores"][0]["score"] for hit in second["vectors"]}
        documents = {key: orjson.dumps(metadata) for key, metadata in written.items()}
        scores = bm25(documents, TextField("body"), "word")
        assert {"late", "k149"} <= found.keys()
        assert "k120" not in found
        assert found == {key: pytest.approx(scores[key], rel=1e-9) for key in found}

    with_texts(scenario)
