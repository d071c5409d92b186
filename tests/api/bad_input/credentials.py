"""Requests of nobody, of strangers, and signed wrongly."""

from __future__ import annotations

import re
import time
from typing import Any

from api.bad_input.catalogue import (
    ANONYMOUS,
    BODY_HASH,
    DATES,
    MALFORMED,
    PERMISSION,
    SESSION,
    SIGNATURE,
    STRANGER,
    UNSIGNED,
)
from api.bad_input.requests import LIST, NO_CREDENTIALS, OK, QUERY, altered, call, denied, invalid, signed
from api.principals import COURIER, NOBODY, TOKEN
from api.raw import KEY
from api.workbench import ACCOUNT, REGION, bucket_arn, record

WRONG_SIGNATURE = denied(
    "InvalidSignatureException", re.compile("The request signature we calculated does not match .*")
)
NAMES_ABSENT = denied("InvalidSignatureException", "SignedHeaders names headers that the request does not have.")
OTHER_BODY = denied(
    "InvalidSignatureException", "The x-amz-content-sha256 header is not the hash of the request body."
)
NOT_SIGNED = "There were headers present in the request which were not signed: "
HEADER_FORM = denied(
    "IncompleteSignatureException",
    "Authorization header requires 'AWS4-HMAC-SHA256' followed by 'Credential', 'SignedHeaders' and 'Signature' "
    "parameters.",
)
DATE_FORM = denied(
    "IncompleteSignatureException",
    "Date must be in ISO-8601 'basic format' in exactly one x-amz-date header: YYYYMMDD'T'HHMMSS'Z'.",
)


UNRECOGNISED = denied("UnrecognizedClientException", "The security token included in the request is invalid.")
INDEX = r":bucket/[a-z0-9-]+/index/[a-z0-9-]+"


def forbidden(action: str, resource: str) -> Any:
    """Who may not do it is told what, on the resource that the request names, and nothing else."""
    who = f"User: arn:aws:iam::{ACCOUNT}:user/nobody"
    return denied(
        "AccessDeniedException",
        re.compile(rf"{who} is not authorized to perform: s3vectors:{action} on resource: {resource}"),
    )


def dated(offset: float, name: str = "X-Amz-Date") -> Any:
    """A change of the date, to so many seconds from when the request is sent."""

    def change(lines: dict[str, str]) -> None:
        lines[name] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + offset))

    return change


def authorization(**changes: str) -> Any:
    """A change of the Authorization header: texts in it and what to put in their place."""

    def change(lines: dict[str, str]) -> None:
        for old, new in changes.items():
            lines["Authorization"] = re.sub(old, new, lines["Authorization"])

    return change


def header(name: str, value: str | None) -> Any:
    """A change of one header line; None takes it out."""
    return lambda lines: lines.pop(name) if value is None else lines.update({name: value})


CREDENTIALS = [
    altered(ANONYMOUS, header("Authorization", None), NO_CREDENTIALS, "no header"),
    *(
        altered(MALFORMED, header("Authorization", text), HEADER_FORM, text[:60])
        for text in (
            "Basic abc",
            "AWS AKID:signature",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host",
            "AWS4-ECDSA-P256-SHA256 Credential=a/20260101/s3vectors/aws4_request, SignedHeaders=host, "
            "Signature=00",
            f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3vectors/aws4_request, "
            f"SignedHeaders=host;x-amz-date, Signature={'g' * 64}",
        )
    ),
    altered(MALFORMED, header("Authorization", ""), HEADER_FORM, "an empty header"),
    altered(
        MALFORMED,
        authorization(**{"Credential=[^,]*": f"Credential={KEY}"}),
        denied("IncompleteSignatureException", "The Credential in the Authorization header is malformed."),
        "no scope",
    ),
    signed(
        MALFORMED,
        f"{LIST}?X-Amz-Signature=00",
        denied(
            "IncompleteSignatureException",
            "Credentials belong into the Authorization header; presigned requests are not accepted.",
        ),
        label="in the query, too",
    ),
    altered(
        MALFORMED,
        lambda lines: lines.update({"authorization": lines["Authorization"]}),
        denied("IncompleteSignatureException", "The request has more than one Authorization header."),
        "twice",
    ),
    signed(
        STRANGER,
        LIST,
        UNRECOGNISED,
        key="QKUNKNOWN",
    ),
    signed(SIGNATURE, LIST, WRONG_SIGNATURE, secret="another-secret-altogether"),
    signed(
        SIGNATURE,
        LIST,
        denied("InvalidSignatureException", f"Credential should be scoped to a valid region: '{REGION}'."),
        region="eu-west-1",
    ),
    *(
        signed(
            SIGNATURE,
            LIST,
            denied("InvalidSignatureException", "Credential should be scoped to correct service: 's3vectors'."),
            service=service,
        )
        for service in ("s3", "s3tables")
    ),
    altered(
        SIGNATURE,
        authorization(**{"/[0-9]{8}/": "/20200101/"}),
        denied(
            "InvalidSignatureException",
            re.compile("Date in Credential scope does not match YYYYMMDD from ISO-8601 .*"),
        ),
        "another day in the scope",
    ),
    altered(SIGNATURE, dated(-60), WRONG_SIGNATURE, "another time"),
    altered(DATES, header("X-Amz-Date", None), NAMES_ABSENT, "no date"),
    altered(
        DATES,
        dated(0, "x-amz-date"),
        denied("IncompleteSignatureException", "The request has more than one 'x-amz-date' header."),
        "two dates",
    ),
    altered(DATES, header("X-Amz-Date", "yesterday"), DATE_FORM, "no date at all"),
    altered(DATES, header("X-Amz-Date", "20261399T000000Z"), DATE_FORM, "no day of the calendar"),
    altered(
        DATES,
        dated(-960),
        denied(
            "InvalidSignatureException",
            re.compile(r"Signature expired: \w+ is now earlier than \w+ \(.*15 min\.\)"),
        ),
        "16 minutes ago",
    ),
    altered(
        DATES,
        dated(960),
        denied(
            "InvalidSignatureException",
            re.compile(r"Signature not yet current: \w+ is still later than \w+ \(.*15 min\.\)"),
        ),
        "in 16 minutes",
    ),
    altered(
        UNSIGNED,
        header("X-Amz-Meta-Owner", "me"),
        denied("AccessDeniedException", f"{NOT_SIGNED}x-amz-meta-owner"),
        "another x-amz header",
    ),
    altered(
        UNSIGNED, authorization(**{"host;": ""}), denied("AccessDeniedException", f"{NOT_SIGNED}host"), "host"
    ),
    altered(
        UNSIGNED,
        authorization(**{";x-amz-date": ""}),
        denied("AccessDeniedException", f"{NOT_SIGNED}x-amz-date"),
        "x-amz-date",
    ),
    *(
        signed(BODY_HASH, LIST, OTHER_BODY, headers={"X-Amz-Content-SHA256": text})
        for text in ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64)
    ),
    signed(
        BODY_HASH,
        LIST,
        OK,
        headers={"X-Amz-Content-SHA256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},
    ),
    signed(
        SESSION,
        LIST,
        denied("ExpiredTokenException", "The security token included in the request is expired"),
        headers={"X-Amz-Security-Token": "token"},
    ),
    *(
        signed(SESSION, LIST, expected, headers=headers, **COURIER, label=label)
        for label, headers, expected in (
            ("its token", {"X-Amz-Security-Token": TOKEN}, OK),
            ("another token", {"X-Amz-Security-Token": TOKEN.upper()}, UNRECOGNISED),
            ("an empty token", {"X-Amz-Security-Token": ""}, UNRECOGNISED),
            ("no token", {}, UNRECOGNISED),
        )
    ),
    signed(
        PERMISSION, LIST, forbidden("ListVectorBuckets", r"\*"), headers={}, **NOBODY, label="ListVectorBuckets"
    ),
    *(
        call(PERMISSION, operation, params, forbidden(operation, ".*" + INDEX), label, **NOBODY)
        for operation, params, label in (
            ("GetIndex", {}, "an index that exists"),
            ("GetIndex", {"indexName": "unknown"}, "an index that does not exist"),
            ("GetIndex", {"vectorBucketName": "unknown-bucket"}, "a bucket that does not exist"),
            ("QueryVectors", QUERY, ""),
            ("GetVectors", {"keys": ["a"]}, ""),
            ("PutVectors", {"vectors": [record("a", [9, 9])]}, ""),
            ("DeleteVectors", {"keys": ["a"]}, ""),
            ("DeleteIndex", {}, ""),
        )
    ),
    call(
        PERMISSION,
        "CreateVectorBucket",
        {"vectorBucketName": "a-bucket-of-nobody"},
        forbidden("CreateVectorBucket", re.escape(bucket_arn("a-bucket-of-nobody"))),
        on="",
        **NOBODY,
    ),
    # Not 403: the shape of a request is judged first, which tells nothing about what is stored.
    call(PERMISSION, "GetIndex", {"indexName": "a_b"}, invalid("Invalid index name", "indexName"), **NOBODY),
]
