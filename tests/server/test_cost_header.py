"""What each answer says it cost, of real requests."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from asynchronous import asynchronous
from cli.running import KEYS, RunningServer
from engine.reference import make_batch
from quiver.engine.engine import Query
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.model.runtime import SystemRuntime
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.objectstore.metered_store import MeteredStore, metered
from service.deployment import CountingStore
from test_prices import MINE

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"vectorBucketName": "demo", "indexName": "words"}
SHAPE = {"dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
ONE = [{"key": "a", "data": {"float32": [1, 2]}}]


def told(answer: dict[str, Any]) -> dict[str, str]:
    header = answer["ResponseMetadata"]["HTTPHeaders"]["x-quiver-work"]
    return dict(re.findall(r"(\w+)=([^;]+)", header))


@pytest.mark.slow
def test_every_answer_says_what_it_asked_of_the_store_and_what_that_costs(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text(MINE.replace("[minio]", "[own]"))
    with RunningServer(str(tmp_path / "data"), QUIVER_PRICES=str(prices), **KEYS) as server:
        client = server.client()
        client.create_vector_bucket(vectorBucketName="demo")
        created = told(client.create_index(**NAMES, **SHAPE))
        assert (created["puts"], "plan" in created) == ("1", False)
        put = told(client.put_vectors(**NAMES, vectors=ONE))
        assert put["puts"] == "1"
        assert int(put["sent"]) > 8
        assert float(put["usd"]) > 1e-6
        query = {"queryVector": {"float32": [1, 2]}, "topK": 1}
        client.query_vectors(**NAMES, **query)
        warm = told(client.query_vectors(**NAMES, **query))
        assert (warm["plan"], warm["puts"], warm["sent"]) == ("scan", "0", "0")
        requests = int(warm["gets"]) * 3e-6 + int(warm["lists"]) * 2e-6
        assert float(warm["usd"]) == pytest.approx(requests + int(warm["received"]) * 6 / 2**30, rel=1e-2)
        with pytest.raises(client.exceptions.NotFoundException) as missing:
            client.get_index(**NAMES | {"indexName": "none"})
        assert "lists" in told(missing.value.response)
        with pytest.raises(client.exceptions.ClientError) as unknown:
            server.client(secret="another-secret-of-a-length").list_vector_buckets()
        assert "x-quiver-work" not in unknown.value.response["ResponseMetadata"]["HTTPHeaders"]


@asynchronous
async def test_requests_that_share_a_replay_are_told_of_it_once() -> None:
    runtime = SystemRuntime(threads=1)
    store = MeteredStore(CountingStore(runtime))
    engine = NativeEngine(store, runtime, NativeSettings(background=False))
    index = await engine.open("a" * 32, IndexSpec(2, DistanceMetric.EUCLIDEAN))
    await index.put(make_batch(["a"], np.ones((1, 2))))

    async def ask() -> int:
        with metered() as spent:
            await index.query(Query(np.ones(2, np.float32), 1))
        return spent.requests

    try:
        alone = await ask()
        store.reset()
        asked = await asyncio.gather(*(ask() for _ in range(8)))
        counts = store.snapshot()
        assert sum(asked) == counts.get.requests + counts.list.requests
        assert 0 < sum(asked) <= 2 * alone
    finally:
        await engine.close()
        runtime.close()
