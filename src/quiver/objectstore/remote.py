"""An object store in the cloud or on your own servers: S3 and what speaks its protocol, Google, Azure.

The client library repeats reads, listings and deletions that failed. It never repeats a put: a repeated put
may meet what its own first try created, and what became of a put is the caller's to find out.

ObjectExistsError needs the caller's read-back even more here than elsewhere. S3 answers 409 when another
conditional request or a delete of the same key is under way, and the client library reports that as "exists"
although the key may be free: a caller that then reads the key and finds nothing knows nothing, and has to
send the same put again.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import from_url

from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.keys import check_key, check_keys, check_prefix, check_range, is_key
from quiver.objectstore.store import (
    Buffer,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreRefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Client

SCHEMES = ("s3", "gs", "az")

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_READ_RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
_PUT_RETRY: RetryConfig = {"max_retries": 0}
_FAILURES = (BaseError, OSError, ValueError)
_REFUSALS = (
    FileNotFoundError,  # of the bucket
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
_REFUSING_STATUS = {400, 401, 403, 404, 405, 411, 413, 501}
_RANGE_STATUS = 416
_STATUS = re.compile(r"status code: (\d{3})")
_QUERY = re.compile(r"\?\S*")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|specified bucket does not exist")
_MESSAGE_LENGTH = 300


class RemoteStore(ObjectStore):
    """Objects under the URL's path in a bucket, over HTTP.

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://account/container/prefix`.
        endpoint: base URL of an S3-compatible server; default AWS_ENDPOINT_URL_S3, then AWS_ENDPOINT_URL.
        options: further configuration by the client library's names (`region`, `access_key_id`, ...).
            Whatever is not here comes from the environment: AWS_*, GOOGLE_*, AZURE_*.
        timeout: seconds for one HTTP request with its whole body.

    Raises: ValueError, when the URL or the configuration makes no sense.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint: str | None = None,
        options: Mapping[str, Any] | None = None,
        timeout: float = 60.0,
    ) -> None:
        parsed = urlsplit(url)
        if parsed.scheme not in SCHEMES or not parsed.hostname or "@" in parsed.netloc or parsed.query:
            raise ValueError("the store's URL must be s3://bucket/prefix, gs://... or az://..., without secrets")
        self.url = url.rstrip("/")
        config = dict(options or {})
        if endpoint is not None:
            config["endpoint"] = endpoint
        client: ClientConfig = {"timeout": timedelta(seconds=timeout), "allow_http": _allows_http(endpoint)}
        self._reader = _connect(self.url, config, client, _READ_RETRY)
        self._writer = _connect(self.url, config, client, _PUT_RETRY)

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        check_key(key)
        body = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
        try:
            await obstore.put_async(self._writer, key, body, mode="create", use_multipart=False)
        except AlreadyExistsError as error:
            raise ObjectExistsError(key) from error
        except _FAILURES as error:
            if isinstance(error, _REFUSALS) or _status(error) in _REFUSING_STATUS:
                raise StoreRefusedError(f"cannot create {key}: {_describe(error)}") from error
            raise StoreUnavailableError(f"cannot tell whether {key} exists: {_describe(error)}") from error

    async def get(self, key: str, start: int = 0, length: int | None = None) -> Buffer:
        check_key(key)
        check_range(start, length)
        try:
            # An empty range is no HTTP range: ask for a byte to learn whether the object exists.
            data = await self._fetch(key, start, None if length is None else max(length, 1))
        except FileNotFoundError as error:
            if _NO_BUCKET.search(str(error)):
                raise StoreUnavailableError(f"cannot read {key}: {_describe(error)}") from error
            raise ObjectNotFoundError(key) from error
        except _FAILURES as error:
            if _status(error) == _RANGE_STATUS:
                return b""
            raise StoreUnavailableError(f"cannot read {key}: {_describe(error)}") from error
        return b"" if length == 0 else data

    async def _fetch(self, key: str, start: int, length: int | None) -> memoryview:
        """Raises: OSError, when the answer is not the bytes asked for."""
        options: GetOptions = {}
        if length is not None:
            options["range"] = (start, start + length)
        elif start:
            options["range"] = {"offset": start}
        answer = await obstore.get_async(self._reader, key, options=options)
        data = memoryview(await answer.bytes_async())
        size = answer.meta["size"]
        expected = size - start if length is None else min(length, size - start)
        if answer.range[0] != start or data.nbytes != expected:
            raise OSError(f"got {data.nbytes} bytes from {answer.range[0]}, not {expected} from {start}")
        return data

    async def list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        directory = check_prefix(prefix).rpartition("/")[0]
        try:
            stream = obstore.list(
                self._reader, directory or None, offset=after if is_key(after) else None, chunk_size=1000
            )
            entries = await stream.collect_async()
        except _FAILURES as error:
            raise StoreUnavailableError(f"cannot list {prefix}: {_describe(error)}") from error
        # The service need not sort, nor start in the middle, and lists by whole directories.
        return sorted(
            ObjectInfo(entry["path"], entry["size"], entry["last_modified"].timestamp())
            for entry in entries
            if entry["path"].startswith(prefix) and entry["path"] > after and is_key(entry["path"])
        )

    async def delete(self, keys: Sequence[str]) -> None:
        paths = check_keys(keys)
        try:
            try:
                await obstore.delete_async(self._reader, paths)
            except FileNotFoundError:
                # Google and Azure stop at an absent key.
                for path in paths:
                    with suppress(FileNotFoundError):
                        await obstore.delete_async(self._reader, path)
        except _FAILURES as error:
            raise StoreUnavailableError(f"cannot delete: {_describe(error)}") from error


def _connect(url: str, config: Mapping[str, Any], client: ClientConfig, retry: RetryConfig) -> Client:
    try:
        # The overloads want one provider's configuration; which one the URL decides.
        make = cast("Any", from_url)
        return cast("Client", make(url, config=config, client_options=client, retry_config=retry))
    except (BaseError, OSError, ValueError) as error:
        raise ValueError(f"cannot use {url} as a store: {_describe(error)}") from error


def _allows_http(endpoint: str | None) -> bool:
    """Plain HTTP is used only for an endpoint somebody wrote as http://."""
    configured = [endpoint] if endpoint is not None else [os.environ.get(name) for name in _ENDPOINT_VARIABLES]
    return next((value for value in configured if value), "").startswith("http://")


def _status(error: Exception) -> int | None:
    """The HTTP status the service answered with, if it answered."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _describe(error: Exception) -> str:
    """The first line of a message, without query strings, which may carry signatures."""
    lines = str(error).splitlines() or [type(error).__name__]
    return _QUERY.sub("?...", lines[0])[:_MESSAGE_LENGTH]
