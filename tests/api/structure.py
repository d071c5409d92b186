"""What the tags that choose an index structure do, through any client."""

from __future__ import annotations

import pytest

from api.workbench import Workbench, bucket_arn, not_found, record, refusal

KNOWN = "quiver:partitioner, quiver:codec, quiver:recall"
FIXED = "Tags that begin with quiver: are fixed when the index is created"


class StructureContract:
    """CreateIndex with tags of our name space, and what becomes of them."""

    def test_the_tags_that_choose_a_structure_are_shown_like_others(self, bench: Workbench) -> None:
        tags = {"quiver:partitioner": "single", "quiver:codec": "flat", "quiver:recall": "1", "team": "red"}
        names = bench.filled(record("a", [1, 0]), record("b", [0, 1]), tags=tags)
        arn = f"{bucket_arn(bench.bucket)}/index/{names['indexName']}"
        assert bench.client.list_tags_for_resource(resourceArn=arn)["tags"] == tags
        assert bench.nearest(names, [0, 2]) == ["b", "a"]

    @pytest.mark.parametrize(
        ("tag", "value", "problem"),
        [
            ("quiver:partitioner", "tree", "must be one of kmeans, kdtree, single"),
            ("quiver:codec", "RaBitQ", "must be one of rabitq, sq8, pq, lsh, flat"),
            ("quiver:codec", "", "must be one of rabitq, sq8, pq, lsh, flat"),
            ("quiver:recall", "0.49", "must be a number from 0.5 to 1"),
            ("quiver:recall", "high", "must be a number from 0.5 to 1"),
            ("quiver:code", "flat", f"is not one of the tags that choose an index structure: {KNOWN}"),
        ],
    )
    def test_a_structure_that_does_not_exist_is_refused_and_nothing_created(
        self, bench: Workbench, tag: str, value: str, problem: str
    ) -> None:
        names = bench.in_bucket | {"indexName": "abc"}
        error = refusal(
            bench.client.create_index,
            **names,
            dataType="float32",
            dimension=2,
            distanceMetric="cosine",
            tags={"team": "red", tag: value},
        )
        message = f"{tag} {problem}"
        assert error == ("ValidationException", 400, message, [(f"tags.{tag}", message)])
        assert not_found(bench.client.get_index, **names) == "The specified index could not be found"

    def test_the_choice_cannot_be_changed_afterwards(self, bench: Workbench) -> None:
        client, names = bench.client, bench.index(tags={"quiver:codec": "flat", "team": "red"})
        arn = f"{bucket_arn(bench.bucket)}/index/{names['indexName']}"
        for tag in ("quiver:codec", "quiver:recall"):
            error = refusal(client.tag_resource, resourceArn=arn, tags={"team": "blue", tag: "1"})
            assert error == ("ValidationException", 400, FIXED, [(f"tags.{tag}", FIXED)])
            error = refusal(client.untag_resource, resourceArn=arn, tagKeys=["team", tag])
            assert error == ("ValidationException", 400, FIXED, [("tagKeys[1]", FIXED)])
        assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"quiver:codec": "flat", "team": "red"}
