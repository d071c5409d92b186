"""Eight bodies of almost 20 MiB at once into little memory: bounded, and refused only as documented."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from botocore.exceptions import ClientError

from scale.serving import Peak, Server

DIMENSION, ROWS, REQUESTS = 4096, 235, 8
BUFFERED = 48 << 20
SLACK = 260 << 20
"""What one body costs beyond its weight while it is parsed and encoded, and the vectors kept of all of them."""

pytestmark = [pytest.mark.slow, pytest.mark.soak]


def test_large_bodies_at_once_keep_memory_bounded(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(ROWS, DIMENSION)).astype(np.float32)
    records = [{"key": f"key-{row}", "data": {"float32": vector.tolist()}} for row, vector in enumerate(vectors)]
    with Server(tmp_path, QUIVER_BUFFERED_BYTES=str(BUFFERED)) as server:
        client = server.client(REQUESTS)
        client.create_vector_bucket(vectorBucketName="large")
        where = {"vectorBucketName": "large", "indexName": "index"}
        client.create_index(**where, dataType="float32", dimension=DIMENSION, distanceMetric="cosine")
        sizes: list[int] = []
        client.meta.events.register(
            "before-send.s3vectors.PutVectors", lambda request, **_: sizes.append(len(request.body))
        )

        def put(_: int) -> int:
            try:
                return client.put_vectors(**where, vectors=records)["ResponseMetadata"]["HTTPStatusCode"]
            except ClientError as error:
                return error.response["ResponseMetadata"]["HTTPStatusCode"]

        before = server.resident()
        with Peak(server) as peak, ThreadPoolExecutor(REQUESTS) as pool:
            statuses = list(pool.map(put, range(REQUESTS)))
        assert min(sizes) > 18 << 20
        assert len(sizes) == REQUESTS
        assert set(statuses) <= {200, 429, 503}
        assert statuses.count(200) > 0
        assert peak.most - before < BUFFERED + SLACK
        found = client.query_vectors(**where, topK=1, queryVector={"float32": vectors[7].tolist()})
        assert [vector["key"] for vector in found["vectors"]] == ["key-7"]
