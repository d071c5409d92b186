"""Which credentials for S3 the client library finds by itself, and which boto3 has to find for it.

The order is that of the AWS SDKs: a profile named in the URL; keys in the environment; AWS_PROFILE; a web
identity; the shared files; the container's role; the instance's role. The client library knows all but profiles
and shared files: for those the extra `aws` is needed.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_WEB_IDENTITY = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")
_SHARED_FILES = (
    ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ("AWS_CONFIG_FILE", "~/.aws/config"),
)
# As long as botocore vouches for credentials it hands out: it renews them when less than this is left.
_TIME_TO_LIVE = timedelta(minutes=10)


def boto3_provider(profile: str | None, environment: Mapping[str, str]) -> Any:
    """A credential provider for the client library, or None when it finds the credentials alone.

    Raises: ValueError, when a profile is asked for that boto3 does not find, or boto3 is not there.
    """
    if profile is None:
        if environment.get("AWS_SKIP_SIGNATURE") or all(environment.get(name) for name in _KEYS):
            return None
        profile = environment.get("AWS_PROFILE") or None
    if profile is None:
        if all(environment.get(name) for name in _WEB_IDENTITY) or not _has_shared_file(environment):
            return None
        return _provider(None)
    provider = _provider(profile)
    if provider is None:
        raise ValueError(f"profile {profile!r} holds no credentials")
    return provider


def _has_shared_file(environment: Mapping[str, str]) -> bool:
    return any(Path(environment.get(name) or usual).expanduser().is_file() for name, usual in _SHARED_FILES)


def _provider(profile: str | None) -> Any:
    """None when the default profile has nothing, or there is no boto3 to read it: roles are tried then."""
    try:
        import boto3  # noqa: PLC0415 - an extra
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
    except ImportError as error:
        if profile is None:
            return None
        raise ValueError(f"profile {profile!r} needs boto3: install quiverdb[aws]") from error
    try:
        session = boto3.session.Session(profile_name=profile)
        if session.get_credentials() is None:
            return None
        return Boto3CredentialProvider(session, ttl=_TIME_TO_LIVE)
    except BotoCoreError as error:
        raise ValueError(f"no credentials from the shared AWS files: {error}") from error
