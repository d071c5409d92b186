"""The Pythonic face, over a real service: NumPy arrays in and out, sync and async alike."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quiver
from quiver.library.connection import Bucket, Connection, Index
from quiver.settings import SettingsError


@pytest.fixture
def db() -> Iterator[Any]:
    with quiver.connect("memory:") as connection:
        yield connection


@pytest.fixture
def index(db: Any) -> Any:
    return db.create_bucket("demo").create_index("words", dimension=4, metric="euclidean", non_filterable=["text"])


def random_vectors(count: int, dimension: int = 4) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((count, dimension)).astype(np.float32)


def test_objects_are_of_the_derived_classes(db: Any, index: Any) -> None:
    assert (type(db), type(db.bucket("demo")), type(index)) == (Connection, Bucket, Index)
    assert repr(index) == "<Quiver index demo/words>"


def test_a_query_gives_the_nearest_with_distances_and_metadata(index: Any) -> None:
    vectors = random_vectors(50)
    index.put([f"k{i}" for i in range(50)], vectors, [{"n": i} for i in range(50)])
    query = vectors[17] + 0.01
    result = index.query(query, k=5)
    expected = np.linalg.norm(vectors - query, axis=1)
    order = np.argsort(expected)[:5]
    assert result.keys == [f"k{i}" for i in order]
    assert result.distances.dtype == np.float32
    np.testing.assert_allclose(result.distances, expected[order], rtol=1e-5)
    assert result.metadata == [{"n": int(i)} for i in order]
    assert len(result) == 5


def test_a_filter_restricts_and_metadata_can_be_left_out(index: Any) -> None:
    index.put(["a", "b"], random_vectors(2), [{"kind": "x"}, {"kind": "y"}])
    result = index.query([0, 0, 0, 0], k=10, filter={"kind": "y"}, metadata=False)
    assert (result.keys, result.metadata) == (["b"], None)


def test_more_vectors_than_a_request_or_a_page_holds_go_in_and_come_out(index: Any) -> None:
    count = 1_234
    vectors = random_vectors(count)
    keys = [f"k{i}" for i in range(count)]
    index.put(keys, vectors, [{"n": i} for i in range(count)])
    assert sorted(index) == sorted(keys)
    result = index.query(np.zeros(4), k=count)
    assert len(result.keys) == count
    assert np.all(np.diff(result.distances) >= 0)
    found = index.get(keys)
    assert found.keys == keys
    np.testing.assert_array_equal(found.vectors, vectors)
    index.delete(keys[:600])
    assert sorted(index) == sorted(keys[600:])


def test_get_keeps_the_order_asked_for_and_leaves_out_what_is_absent(index: Any) -> None:
    index.put(["a", "b", "c"], random_vectors(3), [None, {"n": 1}, None])
    found = index.get(["c", "nope", "b", "c", "a"])
    assert found.keys == ["c", "b", "a"]
    assert found.metadata == [{}, {"n": 1}, {}]
    assert found.vectors.shape == (3, 4)
    bare = index.get(["a"], vectors=False, metadata=False)
    assert (bare.keys, bare.vectors, bare.metadata) == (["a"], None, None)


def test_rows_carry_what_was_asked_for(index: Any) -> None:
    vectors = random_vectors(1)
    index.put(["a"], vectors, [{"tags": ["x", "y"]}])
    (row,) = index.rows(vectors=True, metadata=True)
    assert (row.key, row.metadata) == ("a", {"tags": ["x", "y"]})
    np.testing.assert_array_equal(row.vector, vectors[0])
    (bare,) = index.rows()
    assert (bare.vector, bare.metadata) == (None, None)


def test_integers_and_numpy_scalars_are_accepted(index: Any) -> None:
    index.put(np.array(["a"]), np.array([[1, 2, 3, 4]]), [{"n": np.int64(3), "xs": np.array([1.5])}])
    assert index.get(["a"]).metadata == [{"n": 3, "xs": [1.5]}]
    assert index.query(np.array([1, 2, 3, 4]), k=np.int64(1)).distances.tolist() == [0.0]


def test_information_about_an_index(index: Any) -> None:
    info = index.info()
    assert (info.dimension, info.metric, info.non_filterable) == (4, "euclidean", ("text",))
    assert info.arn == "arn:aws:s3vectors:us-east-1:000000000000:bucket/demo/index/words"


def test_buckets_and_indexes_are_listed_and_deleted(db: Any, index: Any) -> None:
    db.create_bucket("other")
    db.bucket("demo").create_index("wings", dimension=1)
    assert list(db.buckets()) == ["demo", "other"]
    assert list(db.buckets(prefix="o")) == ["other"]
    assert list(db.bucket("demo").indexes()) == ["wings", "words"]
    assert list(db.bucket("demo").indexes(prefix="wo")) == ["words"]
    with pytest.raises(quiver.errors.ConflictError):
        db.delete_bucket("demo")
    for name in ("words", "wings"):
        db.bucket("demo").delete_index(name)
    db.delete_bucket("demo")
    assert list(db.buckets()) == ["other"]


def test_the_index_structure_is_chosen_when_an_index_is_created(tmp_path: Path) -> None:
    with quiver.connect(str(tmp_path / "data")) as db:
        bucket = db.create_bucket("demo")
        bucket.create_index("plain", dimension=2)
        bucket.create_index("chosen", dimension=2, partitioner="kdtree", codec="lsh", recall=1)
        for wrong in ({"partitioner": "tree"}, {"codec": "ivf"}, {"recall": 0.2}):
            ((name, _),) = wrong.items()
            with pytest.raises(quiver.errors.ValidationError, match=f"quiver:{name} must be ") as invalid:
                bucket.create_index("refused", dimension=2, **wrong)
            assert [field.path for field in invalid.value.fields] == [f"tags.quiver:{name}"]
        assert list(bucket.indexes()) == ["chosen", "plain"]
        arn = bucket.index("chosen").info().arn
    with quiver.client(str(tmp_path / "data")) as client:
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {
            "quiver:partitioner": "kdtree",
            "quiver:codec": "lsh",
            "quiver:recall": "1",
        }
        plain = client.list_tags_for_resource(resourceArn=arn.replace("chosen", "plain"))
        assert plain["tags"] == {}


def test_errors_are_those_of_the_core(db: Any, index: Any) -> None:
    with pytest.raises(quiver.errors.NotFoundError):
        db.bucket("demo").index("nope").query([0, 0, 0, 1])
    with pytest.raises(quiver.errors.ValidationError, match="length 4"):
        index.put(["a"], [[1.0, 2.0]])
    with pytest.raises(quiver.errors.ValidationError, match="NaN"):
        index.put(["a"], [[np.nan, 0, 0, 0]])
    with pytest.raises(quiver.errors.ConflictError):
        db.create_bucket("demo")


def test_the_asynchronous_twin_does_the_same(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with await quiver.async_connect(str(tmp_path / "data")) as db:
            bucket = await db.create_bucket("demo")
            index = await bucket.create_index("words", dimension=2)
            await index.put(["a", "b"], [[1, 0], [0, 1]])
            result = await index.query([1, 0.1], k=1)
            assert result.keys == ["a"]
            assert sorted([key async for key in index]) == ["a", "b"]
            assert [name async for name in bucket.indexes()] == ["words"]

    asyncio.run(scenario())


def test_what_was_put_is_there_after_opening_again(tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    with quiver.connect(root) as db:
        db.create_bucket("demo").create_index("words", dimension=2).put(["a"], [[1, 0]])
    with quiver.connect(f"file://{root}") as db:
        assert list(db.bucket("demo").index("words")) == ["a"]


def test_two_connections_see_each_others_writes_at_once(tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    with quiver.connect(root) as one, quiver.connect(root) as two:
        index = one.create_bucket("demo").create_index("words", dimension=2)
        same = two.bucket("demo").index("words")
        for i in range(5):
            (index, same)[i % 2].put([f"k{i}"], [[1, i]])
            assert sorted((same, index)[i % 2]) == [f"k{n}" for n in range(i + 1)]


def test_settings_are_given_by_name_and_unknown_ones_refused() -> None:
    with quiver.connect("memory:", region="eu-west-1") as db:
        arn = db.create_bucket("demo").create_index("words", dimension=2).info().arn
    assert arn.startswith("arn:aws:s3vectors:eu-west-1:")
    with pytest.raises(SettingsError, match="regoin"):
        quiver.connect("memory:", regoin="eu-west-1")


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["numpy", "pyarrow", "asyncio", "obstore", "botocore", "typer", "orjson"]
    program = f"import sys, quiver; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_package_says_what_it_offers() -> None:
    assert set(dir(quiver)) >= {"client", "connect", "async_client", "async_connect", "errors", "ClientError"}
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = quiver.nothing_like_it


def test_writes_and_reads_say_which_commit_they_are(index: Any) -> None:
    assert index.put(["a"], random_vectors(1)) == 1
    assert index.put([f"k{i}" for i in range(600)], random_vectors(600)) == 3  # two batches
    assert index.delete(["a"]) == 4
    assert index.query([0, 0, 0, 0], k=1).commit == 4
    assert index.get(["k1", "k2"]).commit == 4
    assert index.put([], np.zeros((0, 4), np.float32)) == 0


def test_reads_may_lag_behind_but_not_behind_what_they_have_to_reflect(tmp_path: Path) -> None:
    url = str(tmp_path)
    with quiver.connect(url) as here, quiver.connect(url, staleness_seconds=1000, consistency="eventual") as there:
        written = here.create_bucket("demo").create_index("words", dimension=4)
        read = there.bucket("demo").index("words")
        vectors = random_vectors(2)
        written.put(["a"], vectors[:1])
        assert read.query(vectors[0]).keys == ["a"]
        commit = written.put(["b"], vectors[1:])
        assert read.query(vectors[1]).keys == ["a"]
        assert read.get(["a", "b"]).keys == ["a"]
        assert [row.key for row in read.rows()] == ["a"]
        assert read.query(vectors[1], at_least=commit).keys == ["b", "a"]
        written.delete(["a"])
        assert read.get(["a", "b"]).keys == ["a", "b"]
        assert read.get(["a", "b"], consistency="strong").keys == ["b"]
        assert [row.key for row in read.rows(consistency="strong")] == ["b"]


def test_a_reader_reads_and_changes_nothing(tmp_path: Path) -> None:
    url = str(tmp_path)
    with pytest.raises(quiver.errors.UnavailableError, match="holds no Quiver root"):
        quiver.connect(url, role="reader")
    assert list(tmp_path.iterdir()) == []
    with quiver.connect(url) as here:
        here.create_bucket("demo").create_index("words", dimension=4).put(["a"], random_vectors(1))
    before = sorted(tmp_path.rglob("*"))
    with quiver.connect(url, role="reader") as there:
        index = there.bucket("demo").index("words")
        assert index.query([1, 0, 0, 0]).keys == ["a"]
        for change in (
            lambda: index.put(["b"], random_vectors(1)),
            lambda: index.delete(["a"]),
            lambda: index.put_many((["b"], random_vectors(1))),
            lambda: there.create_bucket("other"),
        ):
            with pytest.raises(quiver.errors.AccessDeniedError, match="only reads"):
                change()
        with pytest.raises(quiver.errors.UnavailableError, match="only reads"):
            index.snapshot("snap")
    assert sorted(tmp_path.rglob("*")) == before
