"""Authorization: whether a caller may do what a request asks, before anything is done or looked up for it.

Who may not learns nothing: the answer is the same whether what was asked for exists or not.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from quiver.model.errors import AccessDeniedError, QuiverError
from quiver.service.arn import IndexRef
from quiver.service.permissions import RULES
from quiver.service.policy.evaluation import Request, is_allowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quiver.model.runtime import Runtime
    from quiver.service.arn import BucketRef, Home
    from quiver.service.caller import Caller
    from quiver.service.catalog import Catalog
    from quiver.service.catalog_state import Bucket, CatalogState, Index
    from quiver.service.policy.patterns import Context

    Resource = BucketRef | IndexRef | None
    Standing = tuple[Bucket | None, Index | None]


class Staleness(NamedTuple):
    """How old the catalog may be that policies and tags are taken from, in seconds.

    Attributes:
        refresh: from then on it is read again, which the request does not wait for.
        wait: from then on the request waits for that.
    """

    refresh: float
    wait: float


OTHERS = Staleness(1.0, 2.0)
"""For everybody but the owner: so a policy, or a tag, counts on every node two seconds after it was stored."""
OWNER = Staleness(30.0, inf)
"""For the owner of the deployment, whose requests never wait for it."""


class Authorizer:
    """Judges callers by their own policies and those in the catalog.

    Args:
        catalog: where the policies and tags of buckets and indexes are.
        home: region and account of all resources.
        runtime: time, and a task to refresh the catalog.
    """

    def __init__(self, catalog: Catalog, home: Home, runtime: Runtime) -> None:
        self._catalog = catalog
        self._home = home
        self._runtime = runtime
        self._refreshing = False

    async def check(self, operation: str, params: Mapping[str, Any], caller: Caller | None) -> None:
        """Return when the caller may do it. None is whoever opened the root: he may do everything.

        Args:
            operation: a key of `RULES`.
            params: validated input.
            caller: who asks.

        Raises:
            AccessDeniedError: he may not; or the request names a resource of another account or region.
            ValidationError: the request does not name a resource as it has to.
            StoreUnavailableError, DataError: of reading the catalog.
        """
        if caller is None:
            return
        rule = RULES[operation]
        resource = rule.resource(params, self._home)
        bucket, index = await self._standing(resource, OWNER if caller.principal.root else OTHERS)
        policy = bucket.policy if bucket is not None else None
        if caller.principal.root and policy is None:
            return
        arn = "*" if resource is None else self._home.arn(resource)

        def describe() -> Context:
            return self._context(caller, params, bucket, index, of_index=isinstance(resource, IndexRef))

        for action in rule.needed(params):
            if not is_allowed(Request(caller.principal, action, arn, describe), policy, self._home.account):
                name = caller.principal.arn
                raise AccessDeniedError(f"User: {name} is not authorized to perform: {action} on resource: {arn}")

    # ---------------------------------------------------------------- the catalog

    async def _standing(self, resource: Resource, staleness: Staleness) -> Standing:
        """The bucket and the index, as far as they exist."""
        if resource is None:
            return None, None
        state = self._catalog.known(staleness.refresh)
        if state is None:
            state = self._catalog.known(staleness.wait)
            if state is None:
                return await self._catalog.look_up(resource)
            self._refresh()
        return _find(state, resource)

    def _refresh(self) -> None:
        if not self._refreshing:
            self._refreshing = True
            self._runtime.spawn(self._refresh_catalog(), "policies refresh")

    async def _refresh_catalog(self) -> None:
        """When the store fails, the next request tries again, and waits when it has to."""
        try:
            with suppress(QuiverError):
                await self._catalog.refresh()
        finally:
            self._refreshing = False

    # ---------------------------------------------------------------- conditions

    def _context(
        self,
        caller: Caller,
        params: Mapping[str, Any],
        bucket: Bucket | None,
        index: Index | None,
        *,
        of_index: bool,
    ) -> Context:
        now = self._runtime.time()
        found: dict[str, tuple[str, ...]] = {
            "aws:principalarn": (caller.principal.arn,),
            "aws:principalaccount": (caller.principal.account,),
            "aws:principaltype": ("Account" if caller.principal.root else "User",),
            "aws:resourceaccount": (self._home.account,),
            "aws:requestedregion": (self._home.region,),
            "aws:currenttime": (datetime.fromtimestamp(now, UTC).isoformat(),),
            "aws:epochtime": (str(int(now)),),
            "aws:securetransport": ("true" if caller.secure else "false",),
        }
        if caller.principal.name:
            found["aws:username"] = (caller.principal.name,)
        if caller.source_ip:
            found["aws:sourceip"] = (caller.source_ip,)
        tagged = index if of_index else bucket
        _add_tags(found, "aws:resourcetag/", {} if tagged is None else tagged.tags)
        if of_index and bucket is not None:
            _add_tags(found, "s3vectors:vectorbuckettag/", bucket.tags)
        _add_request(found, params)
        return found


def _find(state: CatalogState, resource: BucketRef | IndexRef) -> Standing:
    index = state.index(resource.bucket, resource.index) if isinstance(resource, IndexRef) else None
    return state.bucket(resource.bucket), index


def _add_tags(found: dict[str, tuple[str, ...]], prefix: str, tags: Mapping[str, str]) -> None:
    """Tags by key. Keys that differ in case only are one condition key, with several values."""
    for key, value in tags.items():
        name = prefix + key.lower()
        found[name] = (*found.get(name, ()), value)


def _add_request(found: dict[str, tuple[str, ...]], params: Mapping[str, Any]) -> None:
    """What the request itself would set."""
    tags = params.get("tags") or {}
    _add_tags(found, "aws:requesttag/", tags)
    keys = tuple(tags) or tuple(params.get("tagKeys") or ())
    if keys:
        found["aws:tagkeys"] = keys
    for member, value in (params.get("encryptionConfiguration") or {}).items():
        if value is not None:
            found[f"s3vectors:{member.lower()}"] = (value,)
