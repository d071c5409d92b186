"""Where a remote store is: the URL of a root taken apart and checked, with the options behind its `?`.

    s3://bucket/prefix?endpoint=https://s3.example.org&ca_file=/etc/ssl/our-ca.pem
    s3://bucket/prefix?commit=dynamodb://table&region=eu-west-1
    gs://bucket/prefix
    az://container/prefix?account=name, abfss://container@account.dfs.core.windows.net/prefix

Secrets are no options: messages and logs may show a URL as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from quiver.objectstore.keys import is_key

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES = ("s3", "gs", "az", "abfss")
COMMIT_SCHEME = "dynamodb"

_COMMON = {"endpoint", "ca_file"}
_OPTIONS = {
    "s3": _COMMON | {"region", "profile", "style", "commit", "commit_region", "commit_endpoint", "commit_profile"},
    "gs": _COMMON,
    "az": _COMMON | {"account"},
    "abfss": _COMMON,
}
_FORMS = {
    "s3": "s3://bucket/prefix",
    "gs": "gs://bucket/prefix",
    "az": "az://container/prefix",
    "abfss": "abfss://container@account.dfs.core.windows.net/prefix",
}
_CONTAINER = {
    "s3": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,221}"),
    "az": re.compile(r"\$?[a-z0-9][a-z0-9-]{2,62}"),
    "abfss": re.compile(r"[a-z0-9][a-z0-9-]{2,62}@[a-z0-9]{3,24}\.(dfs|blob)\.[a-z0-9.-]+"),
}
_RULES = {
    "s3": "up to 255 letters, digits, `.`, `_` and `-`",
    "gs": "2 to 222 lower-case letters, digits, `.`, `_` and `-`",
    "az": "3 to 63 lower-case letters, digits and `-`",
}
_ANY_NAME = re.compile(r"[A-Za-z0-9._$-]+")
_MEANT = {
    "http": "s3://bucket/prefix?endpoint=http://host:port",
    "https": "s3://bucket/prefix?endpoint=https://host",
    "minio": "s3://bucket/prefix?endpoint=https://host",
    "ceph": "s3://bucket/prefix?endpoint=https://host",
    "s3a": "s3://bucket/prefix",
    "s3n": "s3://bucket/prefix",
    "gcs": "gs://bucket/prefix",
    "azure": "az://container/prefix",
    "wasb": "abfss://container@account.dfs.core.windows.net/prefix",
    "wasbs": "abfss://container@account.dfs.core.windows.net/prefix",
    "abfs": "abfss://container@account.dfs.core.windows.net/prefix",
}
_EXPRESS = re.compile(r".+--[a-z0-9-]+-az[0-9]+--x-s3")
_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_NAME = re.compile(r"[A-Za-z0-9 _.@/+=-]{1,128}")


@dataclass(frozen=True, slots=True)
class Location:
    """A URL that makes sense.

    Attributes:
        url: without the options and without a slash at the end.
        scheme: one of `SCHEMES`.
        bucket: bucket or container.
        prefix: what every key of the root begins with, without slashes around it; "" for none.
        options: what stood behind the `?`, by name; `account` also where the host names it.
        table: the DynamoDB table that decides who creates a key; None when the store itself does.
    """

    url: str
    scheme: str
    bucket: str
    prefix: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    table: str | None = None

    @property
    def express(self) -> bool:
        """Whether this is a directory bucket of S3 Express One Zone, which its name tells."""
        return self.scheme == "s3" and _EXPRESS.fullmatch(self.bucket) is not None


def meant(url: str) -> str | None:
    """The form that a URL of a scheme we do not have was probably meant to be; None when that is not known."""
    return _MEANT.get(url.partition(":")[0].lower())


def parse(url: str) -> Location:
    """Raises ValueError; the message says what to write, and repeats neither values of options nor user names."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"the store's URL must begin with one of {', '.join(s + '://' for s in SCHEMES)}")
    form = _FORMS[parts.scheme]
    if not _CONTAINER[parts.scheme].fullmatch(parts.netloc):
        if parts.scheme in _RULES and _ANY_NAME.fullmatch(parts.netloc):
            kind = "container" if parts.scheme == "az" else "bucket"
            raise ValueError(f"the {kind} in the store's URL {form} must have {_RULES[parts.scheme]} in its name")
        raise ValueError(f"the store's URL must be {form}, without secrets")
    prefix = parts.path.strip("/")
    if parts.fragment or "//" in prefix or any(not is_plain(name) for name in prefix.split("/") if prefix):
        raise ValueError(
            f"the prefix in the store's URL {form} must be names of letters, digits, `.`, `_` and `-`"
        )
    options = _options(parts.scheme, parts.query)
    bucket, _, host = parts.netloc.partition("@")
    if host:
        options["account"] = host.partition(".")[0]
    url = f"{parts.scheme}://{parts.netloc}" + (f"/{prefix}" if prefix else "")
    return Location(url, parts.scheme, bucket, prefix, options, _table(options))


def is_plain(name: str) -> bool:
    """Whether a name of a prefix reads the same everywhere, whatever has to be escaped."""
    return is_key(name.lower())


def _options(scheme: str, query: str) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    known = _OPTIONS[scheme]
    for name, value in pairs:
        if name not in known:
            shown = name if re.fullmatch(r"[a-z_]{1,20}", name) else "it"
            raise ValueError(f"option {shown} in the store's URL: {scheme} knows {', '.join(sorted(known))}")
        if problem := _problem(name, value):
            raise ValueError(f"option {name} in the store's URL must be {problem}")
    if len(dict(pairs)) != len(pairs):
        raise ValueError("an option stands in the store's URL twice")
    return dict(pairs)


def _problem(name: str, value: str) -> str:
    if name in ("endpoint", "commit_endpoint"):
        parts = urlsplit(value)
        fine = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.query
        return "" if fine else "http://host or https://host, without secrets"
    if name == "style":
        return "" if value in ("path", "virtual") else "path or virtual"
    if name == "commit":
        return "" if _TABLE.fullmatch(value.removeprefix(f"{COMMIT_SCHEME}://")) else "dynamodb://table"
    if name == "ca_file":
        return "" if value else "the path of a PEM file"
    return "" if _NAME.fullmatch(value) else "a name"


def _table(options: Mapping[str, str]) -> str | None:
    commit = options.get("commit")
    if commit is None:
        if any(name.startswith("commit_") for name in options):
            raise ValueError("options commit_... in the store's URL need commit=dynamodb://table")
        return None
    scheme, separator, table = commit.partition("://")
    if scheme != COMMIT_SCHEME or not separator:
        raise ValueError("option commit in the store's URL must be dynamodb://table")
    return table
