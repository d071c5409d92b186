"""The structure of an index as arguments of the library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quiver.library.structure import as_tags


def test_choices_become_tags_beside_the_others() -> None:
    given = {"indexName": "a", "tags": {"team": "red"}, "codec": "sq8", "recall": 0.95, "partitioner": "single"}
    assert as_tags(given) == {
        "indexName": "a",
        "tags": {
            "team": "red",
            "quiver:partitioner": "single",
            "quiver:codec": "sq8",
            "quiver:recall": "0.95",
        },
    }
    assert given["tags"] == {"team": "red"}


def test_none_stands_for_the_default() -> None:
    assert as_tags({"indexName": "a", "codec": None, "recall": None, "partitioner": None}) == {"indexName": "a"}
    assert as_tags({"tags": None, "codec": "pq"}) == {"tags": {"quiver:codec": "pq"}}


@pytest.mark.parametrize("recall", [1, 1.0, 0.9, np.float64(0.9), np.float32(0.9), "0.9"])
def test_the_target_recall_may_be_any_number(recall: Any) -> None:
    text = as_tags({"recall": recall})["tags"]["quiver:recall"]
    assert text in ("1", "1.0", "0.9")
    assert float(text) == pytest.approx(float(recall))


def test_what_is_chosen_twice_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="'quiver:codec' both as an argument and as a tag"):
        as_tags({"codec": "pq", "tags": {"quiver:codec": "pq"}})
    assert as_tags({"recall": 1, "tags": {"quiver:codec": "pq"}})["tags"] == {
        "quiver:codec": "pq",
        "quiver:recall": "1",
    }


def test_tags_of_a_wrong_type_are_left_for_the_service_to_refuse() -> None:
    assert as_tags({"codec": "pq", "tags": ["a"]}) == {"tags": ["a"]}
