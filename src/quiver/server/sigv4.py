"""SigV4 verification: who signed this request, or why nobody can be said to have.

The rules are those of AWS Signature Version 4 for services other than S3: the path is percent-encoded once
more than it was sent, and the body is hashed by the verifier. Credentials come from one place only, the
Authorization header; presigned URLs, SigV2, SigV4A and streaming signatures are refused. A check has two
halves, so that nothing of a body is read for a stranger: `Authenticator.open` judges the headers, and
`Claim.verify` the signature once the body's hash is known. A `Principal` comes from `Claim.verify` only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from quiver.server.credentials import OWNER, Holder
from quiver.server.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from quiver.server.credentials import CredentialSource
    from quiver.server.errors import Header

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3vectors"
TERMINATOR = "aws4_request"
CACHED_KEYS = 256

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<credential>[^\s,]+), *SignedHeaders=(?P<headers>[^\s,]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
SCOPE = re.compile(
    r"([A-Za-z0-9_.-]{1,128})/([0-9]{8})/([A-Za-z0-9-]{1,64})/([A-Za-z0-9-]{1,64})/([a-z0-9_]{1,32})"
)
SHA256 = re.compile(r"[0-9a-f]{64}")
TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
QUERY_CREDENTIALS = frozenset(
    {b"x-amz-algorithm", b"x-amz-credential", b"x-amz-signature", b"x-amz-security-token"}
    | {b"awsaccesskeyid", b"signature"}
)
OTHER_BODY = "The x-amz-content-sha256 header is not the hash of the request body."
DUMMY_SECRET = b"no such key: this only takes as long as one that exists"


@dataclass(frozen=True, slots=True)
class RequestParts:
    """What a signature covers, exactly as it came over the wire. Header names are lower case."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: Sequence[Header]

    def values(self, name: bytes) -> list[bytes]:
        """The values of every header line of this name, in order."""
        return [value for other, value in self.headers if other == name]


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of an access key, proved by a signature."""

    key_id: str
    holder: Holder = OWNER


@dataclass(frozen=True, slots=True, repr=False)
class Claim:
    """A request that names a known key and a sane time; its signature is still to be checked."""

    key_id: str
    _holder: Holder
    _key: bytes
    _timestamp: str
    _scope: str
    _signed: tuple[str, ...]
    _signature: bytes
    _parts: RequestParts

    def verify(self, body_sha256: str) -> Principal:
        """Check the signature against the hash of the body (lower-case hexadecimal).

        Raises:
            Refusal: 403 InvalidSignatureException.
        """
        for declared in self._parts.values(b"x-amz-content-sha256"):
            if not hmac.compare_digest(declared, body_sha256.encode()):
                raise invalid_signature(OTHER_BODY)
        canonical = canonical_request(self._parts, self._signed, body_sha256)
        expected = sign(self._key, string_to_sign(self._timestamp, self._scope, canonical))
        if not hmac.compare_digest(expected, self._signature):
            raise invalid_signature(
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method."
            )
        return Principal(self.key_id, self._holder)

    def verify_declared(self) -> tuple[Principal, str]:
        """Check the signature before the body is there: against the hash that x-amz-content-sha256 declares.

        Returns: the principal, and the hash that the body has to have.
        Raises:
            Refusal: 403 InvalidSignatureException.
        """
        declared = b"".join(self._parts.values(b"x-amz-content-sha256")).decode("latin-1")
        if not SHA256.fullmatch(declared):
            raise invalid_signature(
                "The x-amz-content-sha256 header must be the hash of the request body, 64 hexadecimal digits."
            )
        return self.verify(declared), declared


class Authenticator:
    """Judges requests signed for one region of the service `s3vectors`.

    Args:
        credentials: the known keys; each request is judged by those of one moment.
        region: the only region a signature may be scoped to.
        clock: seconds since the epoch.
        skew: how many seconds a signature's time may be off.
        service: the signing name.
    """

    def __init__(
        self,
        credentials: CredentialSource,
        region: str,
        clock: Callable[[], float],
        skew: int = 900,
        service: str = SERVICE,
    ) -> None:
        self._source = credentials
        self._credentials = credentials.current()
        self._region = region
        self._clock = clock
        self._skew = skew
        self._service = service
        self._keys: dict[tuple[str, str], bytes] = {}

    def open(self, parts: RequestParts) -> Claim:
        """Judge everything but the signature itself.

        Raises:
            Refusal: 403 with the code AWS uses for the fault.
        """
        fields = _authorization(parts)
        signed = _signed_headers(fields["headers"], parts)
        scope = SCOPE.fullmatch(fields["credential"])
        if scope is None:
            raise _incomplete("The Credential in the Authorization header is malformed.")
        key_id, day, region, service, terminator = scope.groups()
        timestamp = _timestamp(parts)
        self._renew()
        key = self._signing_key(key_id, day)
        self._check_scope(day, region, service, terminator, timestamp)
        self._check_time(timestamp)
        holder = self._credentials.holder(key_id)
        _check_token(parts, holder.token)
        signature = bytes.fromhex(fields["signature"])
        return Claim(key_id, holder, key, timestamp, "/".join(scope.groups()[1:]), signed, signature, parts)

    def _renew(self) -> None:
        credentials = self._source.current()
        if credentials is not self._credentials:
            self._credentials = credentials
            self._keys.clear()  # a key id may have another secret now

    def _signing_key(self, key_id: str, day: str) -> bytes:
        secret = self._credentials.secret(key_id)
        if secret is None:
            key = derive_key(DUMMY_SECRET, day, self._region, self._service)
            hmac.compare_digest(sign(key, ALGORITHM), bytes(32))
            raise _unrecognized()
        key = self._keys.get((key_id, day)) or derive_key(secret, day, self._region, self._service)
        if len(self._keys) >= CACHED_KEYS:
            self._keys.clear()
        self._keys[key_id, day] = key
        return key

    def _check_scope(self, day: str, region: str, service: str, terminator: str, timestamp: str) -> None:
        if region != self._region:
            raise invalid_signature(f"Credential should be scoped to a valid region: '{self._region}'.")
        if service != self._service:
            raise invalid_signature(f"Credential should be scoped to correct service: '{self._service}'.")
        if terminator != TERMINATOR:
            raise invalid_signature(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
        if day != timestamp[:8]:
            raise invalid_signature(
                f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
                f"'{day}' != '{timestamp[:8]}'."
            )

    def _check_time(self, timestamp: str) -> None:
        now, minutes = int(self._clock()), self._skew // 60
        signed_at = _seconds(timestamp)
        if signed_at < now - self._skew:
            raise invalid_signature(
                f"Signature expired: {timestamp} is now earlier than {_iso(now - self._skew)} "
                f"({_iso(now)} - {minutes} min.)"
            )
        if signed_at > now + self._skew:
            raise invalid_signature(
                f"Signature not yet current: {timestamp} is still later than {_iso(now + self._skew)} "
                f"({_iso(now)} + {minutes} min.)"
            )


def canonical_request(parts: RequestParts, signed: Iterable[str], body_sha256: str) -> bytes:
    """The canonical form of a request that its signature covers."""
    names = tuple(signed)
    lines = [parts.method.encode(), canonical_path(parts.raw_path), canonical_query(parts.raw_query)]
    lines += [name.encode() + b":" + _canonical_value(parts, name) for name in names]
    return b"\n".join([*lines, b"", ";".join(names).encode(), body_sha256.encode()])


def canonical_path(raw_path: bytes) -> bytes:
    """The path without dot and empty segments, percent-encoded once more than it was sent."""
    kept: list[bytes] = []
    segments = raw_path.split(b"/")
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    tail = b"/" if kept and segments[-1] in (b"", b".", b"..") else b""
    return quote_from_bytes(b"/" + b"/".join(kept) + tail, safe="/-_.~").encode()


def canonical_query(raw_query: bytes) -> bytes:
    """Parameters encoded by RFC 3986, sorted by name and then value; `+` is a plus, not a space."""
    pairs = [pair.partition(b"=") for pair in raw_query.split(b"&") if pair]
    encoded = sorted((_encode(name), _encode(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded).encode()


def string_to_sign(timestamp: str, scope: str, canonical: bytes) -> str:
    """What is signed: algorithm, time, scope and the hash of the canonical request."""
    return "\n".join((ALGORITHM, timestamp, scope, hashlib.sha256(canonical).hexdigest()))


def derive_key(secret: bytes, day: str, region: str, service: str) -> bytes:
    """The signing key of one day, region and service."""
    key = b"AWS4" + secret
    for part in (day, region, service, TERMINATOR):
        key = sign(key, part)
    return key


def sign(key: bytes, text: str) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return hmac.digest(key, text.encode(), "sha256")


def invalid_signature(message: str) -> Refusal:
    """The refusal of a signature that does not hold for this request."""
    return Refusal(403, "InvalidSignatureException", message)


def _incomplete(message: str) -> Refusal:
    return Refusal(403, "IncompleteSignatureException", message)


def _authorization(parts: RequestParts) -> dict[str, str]:
    headers = parts.values(b"authorization")
    names = {unquote_to_bytes(pair.partition(b"=")[0]).lower() for pair in parts.raw_query.split(b"&")}
    if names & QUERY_CREDENTIALS:
        raise _incomplete("Credentials belong into the Authorization header; presigned requests are not accepted.")
    if not headers:
        raise Refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    if len(headers) > 1:
        raise _incomplete("The request has more than one Authorization header.")
    match = AUTHORIZATION.fullmatch(headers[0].decode("latin-1"))
    if match is None:
        raise _incomplete(
            "Authorization header requires 'AWS4-HMAC-SHA256' followed by 'Credential', 'SignedHeaders' and "
            "'Signature' parameters."
        )
    return match.groupdict()


def _signed_headers(text: str, parts: RequestParts) -> tuple[str, ...]:
    signed = tuple(text.split(";"))
    if list(signed) != sorted(set(signed)) or text != text.lower():
        raise _incomplete("SignedHeaders must be distinct lower-case names in order.")
    present = [name.decode("latin-1") for name, _ in parts.headers]
    for name in ("host", "x-amz-date"):
        if name not in signed:
            raise _unsigned(name)
    for name in present:
        if name.startswith("x-amz-") and name not in signed:
            raise _unsigned(name)
        if (name.startswith("x-amz-") or name in ("host", "content-type")) and present.count(name) > 1:
            raise _incomplete(f"The request has more than one '{name[:64]}' header.")
    if not set(signed) <= set(present):
        raise invalid_signature("SignedHeaders names headers that the request does not have.")
    return signed


def _check_token(parts: RequestParts, token: str) -> None:
    """A key has one token, and every request carries it, or has none."""
    given = parts.values(b"x-amz-security-token")
    if not token:
        if given:
            raise Refusal(403, "ExpiredTokenException", "The security token included in the request is expired")
        return
    if not hmac.compare_digest(b",".join(given), token.encode()):
        raise _unrecognized()


def _unrecognized() -> Refusal:
    return Refusal(403, "UnrecognizedClientException", "The security token included in the request is invalid.")


def _unsigned(name: str) -> Refusal:
    return Refusal(
        403,
        "AccessDeniedException",
        f"There were headers present in the request which were not signed: {name[:64]}",
    )


def _timestamp(parts: RequestParts) -> str:
    values = parts.values(b"x-amz-date")
    text = values[0].decode("latin-1") if len(values) == 1 else ""
    if not TIME.fullmatch(text) or _seconds(text) < 0:
        raise _incomplete(
            "Date must be in ISO-8601 'basic format' in exactly one x-amz-date header: YYYYMMDD'T'HHMMSS'Z'."
        )
    return text


def _seconds(timestamp: str) -> int:
    """Seconds since the epoch, or -1 for a time that is not on the calendar."""
    year, month, day = int(timestamp[:4]), int(timestamp[4:6]), int(timestamp[6:8])
    hour, minute, second = int(timestamp[9:11]), int(timestamp[11:13]), int(timestamp[13:15])
    try:
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        return -1


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _canonical_value(parts: RequestParts, name: str) -> bytes:
    return b",".join(b" ".join(value.split()) for value in parts.values(name.encode("latin-1")))


def _encode(text: bytes) -> str:
    return quote_from_bytes(unquote_to_bytes(text), safe="-_.~")
