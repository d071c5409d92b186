"""Text search between the wire and the engine: configurations of metadata keys, texts to ask with, scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.engine.engine import TextQuery
from quiver.model.errors import ValidationError
from quiver.model.types import TextField

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quiver.engine.engine import Scores, TextFieldBuildingError, TextFieldStatus, UnknownTextFieldError

STANDARD_LANGUAGE = "standard"
"""What a text search configuration without a language is analysed in; on the wire it has no name."""

_EITHER = "Specify either add or delete, but not both"
_CONFIGURED_TWICE = "Each text search configuration must have a distinct metadataKey"
_ASKED_TWICE = "Each entry of queryTexts must have a distinct metadataKey"
_MEMBER = "textSearchConfigurations"
TEXTS_TO_ASK = "queryTexts"
TEXTS_TO_DELETE = f"delete.{_MEMBER}"


def fields_of_index(configuration: dict[str, Any] | None) -> tuple[TextField, ...]:
    """The text fields that a metadata configuration of CreateIndex asks for.

    Raises: ValidationError: a metadata key is named twice.
    """
    return _fields((configuration or {}).get(_MEMBER) or (), f"metadataConfiguration.{_MEMBER}")


def change_of_index(params: dict[str, Any]) -> tuple[tuple[TextField, ...], tuple[str, ...]]:
    """What UpdateMetadataConfiguration asks for: fields to add, keys to delete; one of them is empty.

    An empty list to add is what the model allows, and changes nothing.

    Raises: ValidationError: both kinds of change or neither; or a metadata key is named twice.
    """
    add, delete = ((params.get(kind) or {}).get(_MEMBER) for kind in ("add", "delete"))
    if (add is None) == (delete is None):
        raise ValidationError(_EITHER)
    fields = _fields(add or (), f"add.{_MEMBER}")
    return fields, tuple(field.key for field in _fields(delete or (), TEXTS_TO_DELETE))


def queries_of(texts: Sequence[dict[str, str]] | None, member: str = TEXTS_TO_ASK) -> tuple[TextQuery, ...]:
    """The texts of a query, whose path is `member`. Raises: ValidationError: a metadata key is named twice."""
    if texts is None:
        return ()
    queries = tuple(TextQuery(entry["metadataKey"], entry["text"]) for entry in texts)
    _check_distinct([query.key for query in queries], member, _ASKED_TWICE)
    return queries


def refusal_of(
    error: UnknownTextFieldError | TextFieldBuildingError, member: str, keys: Sequence[str]
) -> ValidationError:
    """The same refusal, with the path of the entry of `member` that it is about."""
    return ValidationError.at(f"{member}[{keys.index(error.key)}].metadataKey", error.message)


def shown_fields(fields: Iterable[TextFieldStatus]) -> list[dict[str, str]]:
    """Text fields as GetIndex shows them; the standard analyzer has no language."""
    shown = []
    for (key, language), active in fields:
        named = {} if language == STANDARD_LANGUAGE else {"language": language}
        shown.append({"metadataKey": key, **named, "status": "ACTIVE" if active else "BUILDING"})
    return shown


def shown_scores(scores: Scores) -> dict[str, Any]:
    """The scores of one hit as QueryVectors shows them."""
    shown: dict[str, Any] = {
        "bm25Scores": [{"metadataKey": key, "score": score} for key, score in scores.bm25],
    }
    if scores.fused is not None:
        shown["fused"] = scores.fused
    if scores.distance is not None:
        shown["vectorDistance"] = scores.distance
    return shown


def _fields(configurations: Sequence[dict[str, str]], path: str) -> tuple[TextField, ...]:
    fields = tuple(
        TextField(entry["metadataKey"], entry.get("language") or STANDARD_LANGUAGE) for entry in configurations
    )
    _check_distinct([field.key for field in fields], path, _CONFIGURED_TWICE)
    return fields


def _check_distinct(keys: list[str], path: str, message: str) -> None:
    for place, key in enumerate(keys):
        if key in keys[:place]:
            raise ValidationError.at(f"{path}[{place}].metadataKey", message)
