"""IAM policies judged the slow and obvious way, straight from their JSON: what the evaluator is compared with."""

from __future__ import annotations

from typing import Any

CASELESS = ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase")


def glob_fits(pattern: str, value: str) -> bool:
    """Every way of matching, row by row."""
    reached = {0}
    for sign in pattern:
        if sign == "*":
            reached = set(range(min(reached), len(value) + 1)) if reached else set()
        else:
            reached = {n + 1 for n in reached if n < len(value) and sign in ("?", value[n])}
    return len(value) in reached


def arn_fits(pattern: str, value: str) -> bool:
    patterns, values = pattern.split(":", 5), value.split(":", 5)
    return len(patterns) == len(values) and all(map(glob_fits, patterns, values))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def value_fits(operator: str, wanted: str, given: str) -> bool:
    base = operator.replace("Not", "")
    if base == "StringEqualsIgnoreCase":
        return wanted.lower() == given.lower()
    if base == "StringEquals":
        return wanted == given
    if base == "StringLike":
        return glob_fits(wanted, given)
    if base == "ArnLike":
        return arn_fits(wanted, given)
    if base == "NumericLessThan":
        return given.isdigit() and int(given) < int(wanted)
    raise AssertionError(base)


def condition_holds(name: str, key: str, wanted: Any, context: dict[str, tuple[str, ...]]) -> bool:
    values = context.get(key.lower(), ())
    if name == "Null":
        return (wanted == "true") == (len(values) == 0)
    quantifier, _, operator = name.rpartition(":")
    optional = operator.endswith("IfExists")
    operator = operator.removesuffix("IfExists")
    negated = "Not" in operator
    if not values and optional:
        return True
    fits = [any(value_fits(operator, w, v) for w in listed(wanted)) for v in values]
    if quantifier == "ForAllValues":
        return all(fit != negated for fit in fits)
    if quantifier == "ForAnyValue":
        return any(fit != negated for fit in fits)
    return any(fits) != negated


def named(principal: Any, who: dict[str, Any]) -> str:
    """nobody, account or self."""
    if principal == "*":
        return "self"
    names = listed(principal.get("AWS", []))
    if "*" in names or who["arn"] in names:
        return "self"
    root = f"arn:aws:iam::{who['account']}:root"
    if who["account"] in names or root in names:
        return "self" if who["root"] else "account"
    return "nobody"


def says(policy: Any, who: dict[str, Any], action: str, resource: str, context: dict[str, Any]) -> set[str]:
    """All of allow, delegate and deny that any statement says."""
    found = set()
    for statement in listed(policy["Statement"]):
        acts = listed(statement.get("Action", statement.get("NotAction")))
        if any(glob_fits(a.lower(), action.lower()) for a in acts) != ("Action" in statement):
            continue
        things = listed(statement.get("Resource", statement.get("NotResource")))
        if any(r == "*" or arn_fits(r, resource) for r in things) != ("Resource" in statement):
            continue
        blocks = statement.get("Condition", {}).items()
        if not all(condition_holds(n, k, w, context) for n, keys in blocks for k, w in keys.items()):
            continue
        how = "self"
        if "Principal" in statement:
            how = named(statement["Principal"], who)
        elif "NotPrincipal" in statement:
            how = "self" if named(statement["NotPrincipal"], who) == "nobody" else "nobody"
        if how != "nobody":
            found.add("deny" if statement["Effect"] == "Deny" else "allow" if how == "self" else "delegate")
    return found


def allowed(
    who: dict[str, Any], policies: list[Any], bucket: Any, owner: str, action: str, resource: str, context: Any
) -> bool:
    theirs = says(bucket, who, action, resource, context) if bucket is not None else set()
    if who["root"]:
        own_policy = action in ("s3vectors:GetVectorBucketPolicy", "s3vectors:PutVectorBucketPolicy")
        return own_policy or action == "s3vectors:DeleteVectorBucketPolicy" or "deny" not in theirs
    own = set().union(*(says(policy, who, action, resource, context) for policy in policies))
    if "deny" in own | theirs:
        return False
    if who["account"] == owner:
        return "allow" in own | theirs
    return "allow" in own and bool(theirs)
