"""An object store in the cloud or on your own servers: S3 and what speaks its protocol, Google, Azure.

The client library repeats reads, listings, deletions and parts of large objects that failed. It never repeats a
put: a repeated put may meet what its own first try created, and what became of a put is the caller's to find out.

ObjectExistsError needs the caller's read-back even more here than elsewhere. S3 answers 409 when another
conditional request or a delete of the same key is under way, and the client library reports that as "exists"
although the key may be free: a caller that then reads the key and finds nothing knows nothing, and has to
send the same put again.

Large objects go in parts, and become visible when the last request of an upload puts these together. The client
library cannot make that request conditional (docs/decisions/0010-large-objects.md): hence `put_large`.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
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
from obstore.store import AzureStore, GCSStore, S3Store

from quiver.model.errors import StoreUnavailableError
from quiver.objectstore.aws_credentials import boto3_provider
from quiver.objectstore.keys import check_key, check_keys, check_prefix, check_range, is_key
from quiver.objectstore.location import Location, parse
from quiver.objectstore.spending import Spent, tell
from quiver.objectstore.store import (
    Buffer,
    ObjectExistsError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    StoreRefusedError,
    nbytes_of,
)
from quiver.objectstore.upload_parts import LargePuts, pieces, slice_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Client

_CLIENTS = {"s3": S3Store, "gs": GCSStore, "az": AzureStore, "abfss": AzureStore}
_ENDPOINT_VARIABLES = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "abfss": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
# For S3 the name that comes before AWS_ENDPOINT_URL_S3 in the environment.
_ENDPOINT_OPTION = {"s3": "aws_endpoint_url_s3", "gs": "base_url", "az": "endpoint", "abfss": "endpoint"}
_READ_RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
_PUT_RETRY: RetryConfig = {"max_retries": 0}
_PART_RETRY: RetryConfig = {"max_retries": 8, "retry_timeout": timedelta(minutes=10)}
_PART_PATIENCE = 5  # times the usual time: parts are large, and putting thousands of them together takes a while
_COMPARED_BYTES = 64 << 10  # of each end of an object, to tell whose it is
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
# A service that tells the size instead, as Azurite does; of an empty object by a range that ends before its begin.
_PAST_THE_END = re.compile(r'but object was only|CONTENT_RANGE header: "bytes 0--1/0"')
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_QUERY = re.compile(r"\?\S*")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|specified bucket does not exist")
_METADATA_SERVICES = ("http://169.254.169.254", "http://metadata.google.internal", "http://metadata/")
# Errors that blame the request and yet pass when it is made anew: a body that came too slowly, an upload or parts
# that the service has forgotten.
_PASSING = {"RequestTimeout", "NoSuchUpload", "InvalidPart", "InvalidBlockList"}
_MESSAGE_LENGTH = 300

LARGE = LargePuts()


class RemoteStore(ObjectStore):
    """Objects under the URL's path in a bucket, over HTTP.

    Args:
        location: bucket, prefix and options, or the URL that says them; see `quiver.objectstore.location`.
        endpoint: base URL of the service, before what the URL or the environment say.
        options: further configuration by the client library's names (`region`, `access_key_id`, ...).
            Whatever is not here comes from the environment: AWS_*, GOOGLE_*, AZURE_*.
        timeout: seconds for one HTTP request with its whole body.
        conditional: puts ask the service to refuse a taken key. False for a service that cannot: then put_new
            overwrites, and may only be given keys that nobody else uses.
        large: which bodies are uploaded in parts, and how; `LARGE` when None.

    Raises: ValueError, when the URL or the configuration makes no sense.
    """

    def __init__(
        self,
        location: Location | str,
        *,
        endpoint: str | None = None,
        options: Mapping[str, Any] | None = None,
        timeout: float = 60.0,
        conditional: bool = True,
        large: LargePuts | None = None,
    ) -> None:
        where = parse(location) if isinstance(location, str) else location
        self.url = where.url
        self._mode: Literal["create", "overwrite"] = "create" if conditional else "overwrite"
        endpoint = endpoint or where.options.get("endpoint")
        config = _configuration(where, endpoint) | dict(options or {})
        client: ClientConfig = {
            "timeout": timedelta(seconds=timeout),
            "allow_http": _allows_http(where.scheme, endpoint),
        }
        if certificates := _certificates(where):
            client["root_certificate"] = certificates
        profile = where.options.get("profile")
        keys = where.scheme != "s3" or "access_key_id" in config
        provider = None if keys else boto3_provider(profile, os.environ)
        self._reader = _connect(where, config, client, _READ_RETRY, provider)
        self._writer = _connect(where, config, client, _PUT_RETRY, provider)
        self._large = large or LARGE
        self.large_bytes = self._large.threshold
        client = client | {"timeout": timedelta(seconds=_PART_PATIENCE * timeout)}
        self._uploader = _connect(where, config, client, _PART_RETRY, provider)

    async def put_new(self, key: str, parts: Sequence[Buffer]) -> None:
        check_key(key)
        body = [view.cast("B") for part in parts if (view := memoryview(part)).nbytes]
        try:
            await obstore.put_async(self._writer, key, body, mode=self._mode, use_multipart=False)
        except AlreadyExistsError as error:
            raise ObjectExistsError(key) from error
        except _FAILURES as error:
            raise _failed_put(key, error) from error

    async def put_large(self, key: str, parts: Sequence[Buffer]) -> None:
        check_key(key)
        nbytes = nbytes_of(parts)
        if nbytes <= self._large.threshold:
            await self.put_new(key, parts)
            return
        if self._mode == "create" and await self._size_of(key) is not None:
            raise ObjectExistsError(key)
        size = self._large.part_size(nbytes)
        tell(Spent(puts=-(-nbytes // size) + 2))  # one begins the upload, one ends it
        try:
            await obstore.put_async(
                self._uploader,
                key,
                pieces(parts, size),
                use_multipart=True,
                chunk_size=size,
                max_concurrency=self._large.at_once,
            )
        except _FAILURES as error:
            # The last answer may have been lost; when the library then asked again, or gave the upload up, the
            # service no longer knew it. So no error says by itself that the object is not there.
            if not await self._holds(key, parts, nbytes):
                raise _failed_put(key, error) from error

    async def _holds(self, key: str, parts: Sequence[Buffer], nbytes: int) -> bool:
        """Whether the object is there, and is this body: of its size, and alike at both ends.

        Raises: ObjectExistsError, when another is there; StoreUnavailableError.
        """
        size = await self._size_of(key)
        if size is None:
            return False
        for start, end in ((0, _COMPARED_BYTES), (max(0, nbytes - _COMPARED_BYTES), nbytes)):
            if size != nbytes or await self._excerpt(key, start, end - start) != slice_of(parts, start, end):
                raise ObjectExistsError(key)
        return True

    async def _excerpt(self, key: str, start: int, length: int) -> Buffer:
        """As `get`; nothing when the object has gone. Raises: StoreUnavailableError."""
        tell(Spent(gets=1, received=length))
        try:
            return await self.get(key, start, length)
        except ObjectNotFoundError:
            return b""

    async def _size_of(self, key: str) -> int | None:
        """Bytes of an object, None when there is none. Raises: StoreUnavailableError."""
        tell(Spent(gets=1))
        try:
            return (await obstore.head_async(self._reader, key))["size"]
        except FileNotFoundError:
            return None
        except _FAILURES as error:
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
            if _status(error) == _RANGE_STATUS or _PAST_THE_END.search(str(error)):
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


def _connect(
    where: Location, config: Mapping[str, Any], client: ClientConfig, retry: RetryConfig, provider: Any
) -> Client:
    given = {} if provider is None else {"credential_provider": provider}
    try:
        make: Any = _CLIENTS[where.scheme]
        client_store = make(
            where.bucket,
            prefix=where.prefix or None,
            config=config,
            client_options=client,
            retry_config=retry,
            **given,
        )
        return cast("Client", client_store)
    except (BaseError, OSError, ValueError) as error:
        raise ValueError(f"cannot use {where.url} as a store: {_describe(error)}") from error


def _configuration(where: Location, endpoint: str | None) -> dict[str, Any]:
    """What the URL says, by the client library's names."""
    options = where.options
    config: dict[str, Any] = {name: options[name] for name in ("region",) if name in options}
    if "account" in options:
        config["account_name"] = options["account"]
    if where.express:
        config["s3_express"] = True
    if options.get("style") == "virtual":
        config["virtual_hosted_style_request"] = True
        if service := endpoint or _from_environment(where.scheme):
            parts = urlsplit(service)
            endpoint = parts._replace(netloc=f"{where.bucket}.{parts.netloc}").geturl()
    if endpoint is not None:
        config[_ENDPOINT_OPTION[where.scheme]] = endpoint
    return config


def _certificates(where: Location) -> bytes | None:
    """Certificates to trust beside those of the system, as the URL or, for S3, AWS_CA_BUNDLE names them."""
    file = where.options.get("ca_file") or (os.environ.get("AWS_CA_BUNDLE") if where.scheme == "s3" else None)
    if not file:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the certificates in {file}: {error.strerror}") from error


def _from_environment(scheme: str) -> str | None:
    return next((value for name in _ENDPOINT_VARIABLES[scheme] if (value := os.environ.get(name))), None)


def _allows_http(scheme: str, endpoint: str | None) -> bool:
    """Plain HTTP is used only for an endpoint somebody wrote as http://."""
    return (endpoint or _from_environment(scheme) or "").startswith("http://")


def _failed_put(key: str, error: Exception) -> Exception:
    """What to raise for a put that the service did not answer with success."""
    if (isinstance(error, _REFUSALS) or _status(error) in _REFUSING_STATUS) and _code(error) not in _PASSING:
        return StoreRefusedError(f"cannot create {key}: {_describe(error)}")
    return StoreUnavailableError(f"cannot tell whether {key} exists: {_describe(error)}")


def _status(error: Exception) -> int | None:
    """The HTTP status the service answered with, if it answered."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _code(error: Exception) -> str:
    """The service's own name of the error, "" for none."""
    found = _CODE.search(str(error))
    return found[1] if found else ""


def _describe(error: Exception) -> str:
    """The first line of a message and the service's code, without query strings, which may carry signatures."""
    text = str(error)
    if any(service in text for service in _METADATA_SERVICES):
        return (
            "there are no credentials: set them in the environment, name a profile, or run where there is a role"
        )
    line = (text.splitlines() or [type(error).__name__])[0].partition("<?xml")[0]
    code = _code(error)
    told = f" ({code})" if code else ""
    return _QUERY.sub("?...", line).rstrip(" :")[:_MESSAGE_LENGTH] + told
