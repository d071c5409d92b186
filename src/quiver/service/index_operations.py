"""The operations on indexes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from quiver.engine.engine import UnknownTextFieldError
from quiver.model.errors import NotFoundError, ValidationError
from quiver.model.types import DistanceMetric, IndexSpec
from quiver.service.arn import IndexRef
from quiver.service.bucket_operations import INDEX_MODE, MAX_RESULTS
from quiver.service.catalog_commands import CreateIndex, DropIndex
from quiver.service.catalog_state import NO_BUCKET, raise_failure
from quiver.service.context import Response
from quiver.service.encryption import choose_encryption
from quiver.service.names import check_index_name, resolve_bucket, resolve_index
from quiver.service.page_tokens import Scope
from quiver.service.structure_tags import choose
from quiver.service.tag_rules import check_tags
from quiver.service.text_search import TEXTS_TO_DELETE, change_of_index, fields_of_index, refusal_of, shown_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quiver.engine.engine import TextFieldStatus
    from quiver.model.types import TextField
    from quiver.service.catalog_state import CatalogState, Index
    from quiver.service.context import Context

_NO_CLASSIC = "indexMode cannot be set to CLASSIC because the vector bucket does not support CLASSIC mode"


class IndexOperations:
    """One method per operation: parameters that were validated in, a response out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def create(self, params: dict[str, Any]) -> Response:
        """CreateIndex."""
        bucket, name = resolve_bucket(params, self._context.home).bucket, params["indexName"]
        tags = params.get("tags") or {}
        check_index_name(name)
        check_tags(tags)
        given = params.get("metadataConfiguration")
        configuration, texts = _fixed_configuration(given), fields_of_index(given)
        command = CreateIndex(
            bucket,
            name,
            self._context.runtime.new_id(),
            choose(_spec(params, configuration, texts), tags),
            int(self._context.runtime.time()),
            await self._encryption(bucket, params.get("encryptionConfiguration")),
            configuration,
            tags,
        )
        await self._give_key(command)
        await self._context.catalog.execute(command)
        return Response({"indexArn": self._context.home.arn(IndexRef(bucket, name))})

    async def _encryption(self, bucket: str, given: dict[str, Any] | None) -> dict[str, str]:
        """What was asked for, else what the bucket has."""
        chosen = choose_encryption(given)
        found = None if given is not None else await self._context.catalog.read(lambda state: state.bucket(bucket))
        return chosen if found is None else found.encryption

    async def _give_key(self, command: CreateIndex) -> None:
        """Before anybody can write to the index; not for one that cannot be created."""
        if "kmsKeyArn" in command.encryption:
            raise_failure(await self._context.catalog.read(lambda state: state.check(command)))
            ref = IndexRef(command.bucket, command.index)
            await self._context.encryption.give(command.index_id, ref, command.encryption)

    async def get(self, params: dict[str, Any]) -> Response:
        """GetIndex. Which text fields there are is for the index itself to say."""

        async def show(index: Index) -> Response:
            opened = await self._context.engine.open(index.index_id, index.spec)
            return Response({"index": self._details(index, await opened.text_fields())})

        return await self._context.on_index_now(resolve_index(params, self._context.home), show)

    def _details(self, index: Index, texts: Sequence[TextFieldStatus]) -> dict[str, Any]:
        shown = self._summary(index) | {
            "dataType": "float32",
            "dimension": index.spec.dimension,
            "distanceMetric": index.spec.metric.value,
            "encryptionConfiguration": index.encryption,
            "indexMode": INDEX_MODE,
        }
        configuration: dict[str, Any] | None = index.metadata_configuration
        if texts:
            configuration = (configuration or {}) | {"textSearchConfigurations": shown_fields(texts)}
        if configuration is not None:
            shown["metadataConfiguration"] = configuration
        return shown

    async def list(self, params: dict[str, Any]) -> Response:
        """ListIndexes, in the order of names."""
        bucket = resolve_bucket(params, self._context.home).bucket
        limit, prefix = params.get("maxResults") or MAX_RESULTS, params.get("prefix") or ""
        scope = Scope("ListIndexes", bucket, prefix.encode())
        token, tokens = params.get("nextToken"), self._context.tokens
        after = "" if token is None else tokens.open(scope, token, str)

        def page(state: CatalogState) -> list[Index]:
            if state.bucket(bucket) is None:
                raise NotFoundError(NO_BUCKET)
            return state.list_indexes(bucket, prefix, after, limit + 1)

        found = await self._context.catalog.read(page)
        body: dict[str, Any] = {"indexes": [self._summary(index) for index in found[:limit]]}
        if len(found) > limit:
            body["nextToken"] = tokens.seal(scope, found[limit - 1].name)
        return Response(body)

    async def delete(self, params: dict[str, Any]) -> Response:
        """DeleteIndex."""
        index = await self._find(params)
        # The seal comes first. A node that resolved the name earlier asks the catalog nothing on its way to the
        # index: with the name gone but the log still open it would go on acknowledging writes that nobody can
        # ever read. Cut short between the two steps, the deletion is finished by the next request (on_index).
        await self._context.engine.seal(index.index_id, index.spec)
        self._context.runtime.reach("service:index_sealed")
        with suppress(NotFoundError):  # a request that met the seal has taken the name away: it is done
            await self._context.catalog.execute(DropIndex(index.index_id))
        return Response()

    async def update_mode(self, params: dict[str, Any]) -> Response:
        """UpdateIndexMode."""
        await self._find(params)
        if params["indexMode"] != INDEX_MODE:
            raise ValidationError(_NO_CLASSIC)
        return Response()

    async def update_metadata_configuration(self, params: dict[str, Any]) -> Response:
        """UpdateMetadataConfiguration, which only ever changes text search configurations.

        A key added is searchable when the vectors stored before are, too: until then GetIndex calls it BUILDING.
        """
        ref = resolve_index(params, self._context.home)
        add, delete = change_of_index(params)

        async def change(index: Index) -> Response:
            opened = await self._context.engine.open(index.index_id, index.spec)
            try:
                commit = await opened.configure_texts(add, delete) if add or delete else None
            except UnknownTextFieldError as error:
                raise refusal_of(error, TEXTS_TO_DELETE, delete) from error
            return Response({"indexArn": self._context.home.arn(ref)}, commit)

        return await self._context.on_index_now(ref, change)

    async def _find(self, params: dict[str, Any]) -> Index:
        return await self._context.catalog.index(resolve_index(params, self._context.home))

    def _summary(self, index: Index) -> dict[str, Any]:
        return {
            "vectorBucketName": index.bucket,
            "indexName": index.name,
            "indexArn": self._context.home.arn(IndexRef(index.bucket, index.name)),
            "creationTime": index.created,
        }


def _fixed_configuration(given: dict[str, Any] | None) -> dict[str, list[str]] | None:
    """The part of a metadata configuration that never changes, to keep and to show; None when it is not there."""
    if given is None:
        return None
    keys = given.get("nonFilterableMetadataKeys")
    if keys is None:
        return None if given.get("textSearchConfigurations") else {}
    return {"nonFilterableMetadataKeys": list(keys)}


def _spec(
    params: dict[str, Any], configuration: dict[str, list[str]] | None, texts: tuple[TextField, ...]
) -> IndexSpec:
    keys = (configuration or {}).get("nonFilterableMetadataKeys", ())
    metric = DistanceMetric(params["distanceMetric"])
    return IndexSpec(params["dimension"], metric, tuple(dict.fromkeys(keys)), texts=texts)
