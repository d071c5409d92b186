"""Whether a request is allowed: identity policies and the policy of a bucket, by the rules of IAM.

Nothing is allowed unless a policy allows it, and what any policy denies is denied. Within the account that owns
the bucket it is enough that either side allows; a principal of another account needs both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from quiver.service.policy.document import Kind, Policy, Statement, read_policy
from quiver.service.policy.errors import PolicyError
from quiver.service.policy.principals import Named

if TYPE_CHECKING:
    from collections.abc import Callable

    from quiver.service.policy.patterns import Context
    from quiver.service.policy.principals import Principal

UNDENIABLE = frozenset(f"s3vectors:{verb}VectorBucketPolicy" for verb in ("Get", "Put", "Delete"))
"""What no policy can keep from the owner of the deployment: so nobody locks himself out."""


class Verdict(IntEnum):
    """What one policy says of a request."""

    NOTHING = 0
    ALLOWED_TO_ACCOUNT = 1
    """It leaves it to the account of the principal."""
    ALLOWED = 2
    DENIED = 3


@dataclass
class Request:
    """A principal that wants to do something to one resource.

    Attributes:
        principal: who.
        action: such as "s3vectors:GetIndex".
        resource: an ARN, or "*" for the account.
        describe: makes the context for conditions and variables; called once at most, when it is needed.
    """

    principal: Principal
    action: str
    resource: str
    describe: Callable[[], Context]

    @cached_property
    def context(self) -> Context:
        """What the request says of itself."""
        return self.describe()


def is_allowed(request: Request, bucket_policy: str | None, account: str) -> bool:
    """Whether policies allow a request.

    Args:
        request: the request.
        bucket_policy: the text of the policy of the bucket it is about, if there is one. One that cannot be read
            denies everything to everybody but the owner of the deployment.
        account: the account that owns the resource.
    """
    principal = request.principal
    policy = None if bucket_policy is None else bucket_policy_of(bucket_policy)
    if principal.root:
        return policy is None or request.action in UNDENIABLE or judge(policy, request) is not Verdict.DENIED
    if policy is None and bucket_policy is not None:
        return False
    own = max((judge(each, request) for each in principal.policies), default=Verdict.NOTHING)
    theirs = Verdict.NOTHING if policy is None else judge(policy, request)
    if Verdict.DENIED in (own, theirs):
        return False
    if principal.account == account:
        return Verdict.ALLOWED in (own, theirs)
    return own is Verdict.ALLOWED and theirs is not Verdict.NOTHING


@lru_cache(maxsize=1024)
def bucket_policy_of(text: str) -> Policy | None:
    """The policy in a stored text; None for one that cannot be read."""
    try:
        return read_policy(text, Kind.BUCKET)
    except PolicyError:
        return None


def judge(policy: Policy, request: Request) -> Verdict:
    """What one policy says of a request."""
    verdict = Verdict.NOTHING
    for statement, says in _relevant(policy, request):
        if says > verdict and _applies(statement, request):
            verdict = says
            if says is Verdict.DENIED:
                break
    return verdict


def _relevant(policy: Policy, request: Request) -> list[tuple[Statement, Verdict]]:
    """The statements about this principal and action, denials first, and what each says when it applies.

    Remembered, which takes little: there are as many principals and actions as an operator and Quiver have named.
    """
    found: list[tuple[Statement, Verdict]] | None
    place = (request.principal.arn, request.action)
    found = policy.relevant.get(place)
    if found is None:
        said = ((statement, _says(statement, request)) for statement in policy.statements)
        found = sorted((pair for pair in said if pair[1]), key=lambda pair: -pair[1])
        policy.relevant[place] = found
    return found


def _says(statement: Statement, request: Request) -> Verdict:
    if not statement.actions.covers(request.action, {}):
        return Verdict.NOTHING
    named = Named.ITSELF
    if statement.principals is not None:
        named = statement.principals.names(request.principal)
    if statement.excepted:
        named = Named.NOT_AT_ALL if named else Named.ITSELF
    if named is Named.NOT_AT_ALL:
        return Verdict.NOTHING
    if statement.denies:
        return Verdict.DENIED
    return Verdict.ALLOWED if named is Named.ITSELF else Verdict.ALLOWED_TO_ACCOUNT


def _applies(statement: Statement, request: Request) -> bool:
    resources = statement.resources
    context = request.context if resources.varies else {}
    if not resources.covers(request.resource, context):
        return False
    if resources.negated and resources.varies and not statement.denies and not resources.is_filled(context):
        return False  # "all but what a missing value names" allows nothing
    return not statement.conditions or all(condition.holds(request.context) for condition in statement.conditions)
