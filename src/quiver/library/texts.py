"""Text search in the library: what is asked for as plain mappings, and what is found as records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.service.text_search import STANDARD_LANGUAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.engine.engine import Scores


class TextInfo(NamedTuple):
    """A metadata key that texts are searched in; `active` when it serves queries, else it is being built."""

    key: str
    language: str
    active: bool


class HitScores(NamedTuple):
    """Why a hit of a query with texts stands where it does.

    Attributes:
        bm25: BM25 scores by the metadata keys in which the hit matched.
        fused: the sum of reciprocal ranks; None without a vector.
        distance: from the vector asked with; None for a hit that only texts led to.
    """

    bm25: dict[str, float]
    fused: float | None
    distance: float | None


def configurations_of(texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Languages by metadata key as S3 Vectors takes them; the standard analyzer has no name there."""
    return [
        {"metadataKey": key} | ({} if language == STANDARD_LANGUAGE else {"language": language})
        for key, language in texts.items()
    ]


def asked_texts(texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Words to look for by metadata key, as S3 Vectors takes them."""
    return [{"metadataKey": key, "text": text} for key, text in texts.items()]


def texts_of(configuration: Mapping[str, Any]) -> tuple[TextInfo, ...]:
    """The text fields that a metadata configuration of GetIndex shows."""
    return tuple(
        TextInfo(each["metadataKey"], each.get("language", STANDARD_LANGUAGE), each["status"] == "ACTIVE")
        for each in configuration.get("textSearchConfigurations", ())
    )


def scores_of(scores: Scores) -> HitScores:
    """The scores of one hit."""
    return HitScores(dict(scores.bm25), scores.fused, scores.distance)
