"""What the operations under /quiver/ do: over HTTP, signed as boto3 signs, and as methods of the library."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from api.workbench import REGION, Workbench, fresh_name, record, refusal
from cli.running import KEYS
from quiver.library.client import method_name

if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def extension(client: Any, name: str) -> Callable[..., dict[str, Any]]:
    """An extension as a function: the library has them as methods, boto3's client signs requests of its own."""
    if hasattr(client, method_name(name)):
        return getattr(client, method_name(name))
    return lambda **params: _post(client.meta.endpoint_url, name, params)


def _post(url: str, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """One signed request; errors as those of boto3."""
    body = json.dumps(params).encode()
    request = AWSRequest("POST", f"{url}/quiver/{name}", {"content-type": "application/json"}, body)
    keys = Credentials(KEYS["QUIVER_ACCESS_KEY_ID"], KEYS["QUIVER_SECRET_ACCESS_KEY"])
    SigV4Auth(keys, "s3vectors", REGION).add_auth(request)
    sent = urllib.request.Request(request.url, body, dict(request.headers.items()), method="POST")
    try:
        with _DIRECT.open(sent, timeout=60) as answer:
            headers = {key.lower(): value for key, value in answer.headers.items()}
            return {"ResponseMetadata": {"HTTPHeaders": headers}, **json.load(answer)}
    except HTTPError as error:
        told = json.load(error)
        answer = {
            "Error": {"Code": error.headers["x-amzn-errortype"], "Message": told["message"]},
            "ResponseMetadata": {"HTTPStatusCode": error.code},
            "fieldList": told.get("fieldList", []),
        }
        raise ClientError(answer, name) from None


def body_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


class ExtendedBench:
    """Extensions by name, over an index of ten vectors."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.names = bench.filled(*(record(f"k{n}", [n, 1], {"n": n, "odd": n % 2 == 1}) for n in range(10)))

    def __call__(self, name: str, **params: Any) -> dict[str, Any]:
        return body_of(extension(self.bench.client, name)(**self.names, **params))

    def refused(self, name: str, **params: Any) -> tuple[str, int]:
        error = refusal(extension(self.bench.client, name), **{**self.names, **params})
        return error.code, error.status


class ExtensionContract:
    """One index, strong reads, on whatever root."""

    def test_count_list_and_delete_by_filter(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)
        assert do("CountVectors") == {"count": 10}
        assert do("CountVectors", filter={"odd": True}) == {"count": 5}
        page = do("ListVectorsByFilter", filter={"odd": True}, maxResults=3, returnMetadata=True)
        rest = do("ListVectorsByFilter", filter={"odd": True}, nextToken=page["nextToken"], returnMetadata=True)
        rows = page["vectors"] + rest["vectors"]
        assert (len(page["vectors"]), "nextToken" in rest) == (3, False)
        assert {row["key"]: row["metadata"] for row in rows} == {
            f"k{n}": {"n": n, "odd": True} for n in range(1, 10, 2)
        }
        assert do("DeleteVectorsByFilter", filter={"n": {"$lt": 4}}, dryRun=True)["matchingCount"] == 4
        assert do("DeleteVectorsByFilter", filter={"n": {"$lt": 4}}) == {"matchingCount": 4, "deletedCount": 4}
        assert bench.keys(do.names) == {f"k{n}" for n in range(4, 10)}
        assert do("CountVectors") == {"count": 6}

    def test_metadata_are_updated_and_queries_see_it_at_once(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)
        updates = [{"key": "k1", "metadata": {"odd": None, "new": "x"}}, {"key": "none", "metadata": {}}]
        assert do("UpdateMetadata", updates=updates) == {"updatedCount": 1, "missingKeys": ["none"]}
        assert bench.matching(do.names, {"new": "x"}) == {"k1"}
        (found,) = do("ListVectorsByFilter", filter={"new": "x"}, returnData=True, returnMetadata=True)["vectors"]
        assert found == record("k1", [1, 1], {"n": 1, "new": "x"})
        do("UpdateMetadata", updates=[{"key": "k1", "metadata": {"only": 1}}], mode="REPLACE")
        (found,) = do("ListVectorsByFilter", filter={"only": 1}, returnMetadata=True)["vectors"]
        assert found == {"key": "k1", "metadata": {"only": 1}}
        assert do.refused("UpdateMetadata", updates=updates, allOrNothing=True) == ("ConflictException", 409)

    def test_only_what_is_absent_is_put(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)
        vectors = [record("k1", [9, 9]), record("new", [3, 3], {"n": 99})]
        assert do.refused("PutVectorsIfAbsent", vectors=vectors, allOrNothing=True) == ("ConflictException", 409)
        assert do("PutVectorsIfAbsent", vectors=vectors) == {"writtenKeys": ["new"], "existingKeys": ["k1"]}
        assert do("CountVectors") == {"count": 11}
        assert bench.matching(do.names, {"n": 99}) == {"new"}

    def test_of_many_clients_who_put_one_key_one_does(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)

        def attempt(number: int) -> list[str]:
            return do("PutVectorsIfAbsent", vectors=[record("one", [number, 1], {"by": number})])["writtenKeys"]

        with ThreadPoolExecutor(6) as pool:
            written = list(pool.map(attempt, range(12)))
        (winner,) = [number for number, keys in enumerate(written) if keys]
        assert bench.matching(do.names, {"by": winner}) == {"one"}

    def test_no_update_of_many_clients_is_lost(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)
        with ThreadPoolExecutor(6) as pool:
            updates = ([{"key": "k0", "metadata": {f"by{n}": n}}] for n in range(12))
            list(pool.map(lambda update: do("UpdateMetadata", updates=update), updates))
        (found,) = do("ListVectorsByFilter", filter={"n": 0}, returnMetadata=True)["vectors"]
        assert found["metadata"] == {"n": 0, "odd": False} | {f"by{n}": n for n in range(12)}

    def test_queries_with_data_and_many_at_once(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)
        near = {"queryVector": {"float32": [7, 1]}, "topK": 2}
        found = do("QueryVectorsWithData", **near, recall=1.0, returnDistance=True)
        assert found["vectors"][0] == record("k7", [7, 1]) | {"distance": 0.0}
        assert found["distanceMetric"] == "euclidean"
        queries = [near, {**near, "topK": 1, "filter": {"odd": False}}, {**near, "filter": {"n": 77}}]
        batch = do("BatchQueryVectors", queries=queries)
        assert [[hit["key"] for hit in one["vectors"]] for one in batch["results"]] == [["k7", "k6"], ["k6"], []]

    def test_a_batch_asks_with_texts_too(self, bench: Workbench) -> None:
        names = bench.filled(
            record("a", [1, 1], {"t": "red bird"}),
            record("b", [5, 5], {"t": "blue bird"}),
            metadataConfiguration={"textSearchConfigurations": [{"metadataKey": "t"}]},
        )
        words = {"queryTexts": [{"metadataKey": "t", "text": "blue"}], "topK": 2}
        queries = [words, words | {"queryVector": {"float32": [1, 1]}}]
        batch = extension(bench.client, "BatchQueryVectors")(**names, queries=queries, returnScores=True)
        assert [[hit["key"] for hit in one["vectors"]] for one in batch["results"]] == [["b"], ["b", "a"]]
        assert batch["results"][0]["vectors"][0]["scores"]["bm25Scores"][0]["metadataKey"] == "t"

    def test_the_commit_of_an_extension_can_be_asked_for(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)
        put = extension(bench.client, "PutVectorsIfAbsent")(**do.names, vectors=[record("new", [1, 1])])
        count = extension(bench.client, "CountVectors")(**do.names)
        first, second = (int(each["ResponseMetadata"]["HTTPHeaders"]["x-quiver-commit"]) for each in (put, count))
        assert first == second

    def test_errors_have_the_shapes_of_s3_vectors(self, bench: Workbench) -> None:
        do = ExtendedBench(bench)
        error = refusal(extension(bench.client, "CountVectors"), **do.names, filter={})
        assert error == ("ValidationException", 400, "Invalid filter", [("filter", "Invalid filter")])
        missing = do.names | {"indexName": fresh_name()}
        error = refusal(extension(bench.client, "CountVectors"), **missing)
        assert error == ("NotFoundException", 404, "The specified index could not be found", [])
        error = refusal(extension(bench.client, "UpdateMetadata"), **do.names, updates=[], mode="SWAP")
        assert (error.code, [path for path, _ in error.fields]) == ("ValidationException", ["/updates", "/mode"])
