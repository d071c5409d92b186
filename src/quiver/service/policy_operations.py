"""The operations on vector bucket policies: stored and returned as the text they came as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quiver.model.errors import NotFoundError, ValidationError
from quiver.service.catalog_commands import DeletePolicy, PutPolicy
from quiver.service.catalog_state import NO_BUCKET, NO_POLICY
from quiver.service.context import Response
from quiver.service.names import resolve_bucket
from quiver.service.permissions import ACTIONS
from quiver.service.policy.document import Kind, check_names, read_policy
from quiver.service.policy.errors import PolicyError

if TYPE_CHECKING:
    from quiver.service.context import Context


class PolicyOperations:
    """One method per operation: parameters that were validated in, a response out."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def put(self, params: dict[str, Any]) -> Response:
        """PutVectorBucketPolicy."""
        ref, policy = resolve_bucket(params, self._context.home), params["policy"]
        _check_policy(policy)
        await self._context.catalog.execute(PutPolicy(ref.bucket, policy))
        return Response()

    async def get(self, params: dict[str, Any]) -> Response:
        """GetVectorBucketPolicy."""
        ref = resolve_bucket(params, self._context.home)
        bucket = await self._context.catalog.read(lambda state: state.bucket(ref.bucket))
        if bucket is None:
            raise NotFoundError(NO_BUCKET)
        if bucket.policy is None:
            raise NotFoundError(NO_POLICY)
        return Response({"policy": bucket.policy})

    async def delete(self, params: dict[str, Any]) -> Response:
        """DeleteVectorBucketPolicy; succeeds also when there is none."""
        ref = resolve_bucket(params, self._context.home)
        await self._context.catalog.execute(DeletePolicy(ref.bucket))
        return Response()


def _check_policy(text: str) -> None:
    """Raises ValidationError: the model of the service has no error of its own for a malformed policy."""
    try:
        check_names(read_policy(text, Kind.BUCKET), ACTIONS, Kind.BUCKET)
    except PolicyError as error:
        raise ValidationError.at("policy", str(error)) from None
