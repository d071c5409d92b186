"""Which roots beside a directory and a bucket the API is tried over, as the environment says.

API_ROOTS names them: `commit` (S3 and DynamoDB of moto), `azurite` (after `make azurite`), `ceph` (with the
environment that scripts/ceph_rgw.sh prints), `encrypted` (a directory), separated by commas, or `all`.
"""

from __future__ import annotations

import os

from objectstore import azurite

CEPH_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
CEPH_BUCKET = os.environ.get("BUCKET", "quiver-ceph")  # the script's default

_ASKED = set(os.environ.get("API_ROOTS", "").split(",")) - {""}
if unknown := _ASKED - {"all", "commit", "azurite", "ceph", "encrypted"}:
    raise ValueError(
        f"API_ROOTS names {', '.join(sorted(unknown))}: there are commit, azurite, ceph and encrypted, or all"
    )


def reason_to_skip(root: str) -> str:
    """Why the whole suite is not run over a root; empty when it is."""
    if not _ASKED & {root, "all"}:
        return f"API_ROOTS does not name {root}"
    if root == "azurite":
        return azurite.missing()
    if root == "ceph" and not all(map(os.environ.get, CEPH_VARIABLES)):
        return "no Ceph gateway in the environment: scripts/ceph_rgw.sh start"
    return ""
