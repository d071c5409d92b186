"""Names, ARNs and vector keys outside the rules, and how many may be named."""

from __future__ import annotations

from api.bad_input.catalogue import ABSENT, COUNTS, FOREIGN, KEYS, NAMES, TWICE
from api.bad_input.requests import OK, Expected, call, constraint, denied, invalid, signed, unreadable
from api.workbench import ACCOUNT, REGION, bucket_arn, record

BUCKET_ARGUMENTS = invalid("Must specify either vectorBucketName or vectorBucketArn but not both")
INDEX_ARGUMENTS = invalid("Must specify either indexArn or both vectorBucketName and indexName")
DENIED = denied("AccessDeniedException", "Access denied")

NAMING = [
    *(
        call(
            NAMES,
            "CreateVectorBucket",
            {"vectorBucketName": name},
            invalid("Invalid vector bucket name", "vectorBucketName"),
            on="",
        )
        for name in (
            "Upper",
            "a..b",
            "a/b",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a.b",
            "../../etc",
            "a/../b",
            "/etc/passwd",
            "abc\x00def",
            "abc\n",
            "\u00e4bc",
            "a b",
        )
    ),
    *(
        call(
            NAMES,
            "CreateVectorBucket",
            {"vectorBucketName": name},
            constraint("/vectorBucketName", "have length between 3 and 63, inclusive", len(name)),
            on="",
        )
        for name in ("", "ab", "..", "a" * 64)
    ),
    *(
        call(NAMES, "GetIndex", {"indexName": name}, invalid("Invalid index name", "indexName"))
        for name in ("Upper", "a..b", "a/b", "a_b", "-ab", "ab-", ".ab", "ab.", "abc\n")
    ),
    *(
        call(
            NAMES,
            "GetIndex",
            {"indexName": name},
            constraint("/indexName", "have length between 3 and 63, inclusive", len(name)),
        )
        for name in ("ab", "a" * 64)
    ),
    call(FOREIGN, "GetVectorBucket", {}, BUCKET_ARGUMENTS, "no bucket", on=""),
    call(
        FOREIGN,
        "GetVectorBucket",
        {"vectorBucketArn": bucket_arn("abc")},
        BUCKET_ARGUMENTS,
        "bucket and ARN",
        on="bucket",
    ),
    call(FOREIGN, "GetIndex", {}, INDEX_ARGUMENTS, "no index", on=""),
    call(FOREIGN, "GetIndex", {"indexArn": f"{bucket_arn('abc')}/index/abc"}, INDEX_ARGUMENTS, "index and ARN"),
    *(
        call(FOREIGN, operation, {member: arn + rest}, DENIED, on="")
        for operation, member, rest in (
            ("GetVectorBucket", "vectorBucketArn", ""),
            ("GetIndex", "indexArn", "/index/abc"),
        )
        for arn in (
            f"arn:aws:s3vectors:{REGION}:123456789012:bucket/abc",
            f"arn:aws:s3vectors:eu-west-1:{ACCOUNT}:bucket/abc",
        )
    ),
    call(
        FOREIGN,
        "GetVectorBucket",
        {"vectorBucketArn": "arn:aws:s3:::abc"},
        constraint(
            "/vectorBucketArn",
            "satisfy regular expression pattern: ^arn:aws[-a-z0-9]*:s3vectors:[a-z0-9-]+:[0-9]{12}:bucket/"
            "[a-z0-9][a-z0-9-.]{1,61}[a-z0-9]$",
        ),
        on="",
    ),
    *(
        signed(FOREIGN, "/tags/" + arn.replace(":", "%3A").replace("/", "%2F"), expected, "GET", b"")
        for arn, expected in (
            (
                bucket_arn("unknown-bucket"),
                Expected(404, "NotFoundException", "The specified resource could not be found"),
            ),
            (bucket_arn("..%2f..%2fetc"), invalid("Invalid resource ARN", "resourceArn")),
            ("a" * 1012, constraint("/resourceArn", "have length between 0 and 1011, inclusive", 1012)),
            (f"arn:aws:s3vectors:{REGION}:123456789012:bucket/abc", DENIED),
            ("arn:aws:s3:::abc", invalid("Invalid resource ARN", "resourceArn")),
        )
    ),
    *(
        signed(FOREIGN, f"/tags/{label}", unreadable(text), "GET", b"")
        for label, text in (
            ("%", "The request URI is not validly percent-encoded"),
            ("%zz", "The request URI is not validly percent-encoded"),
            ("a%2", "The request URI is not validly percent-encoded"),
            ("%ff", "The request URI is not UTF-8"),
        )
    ),
    *(
        call(
            KEYS,
            "PutVectors",
            {"vectors": [record(key, [1, 2])]},
            constraint("/vectors/0/key", "have length between 1 and 1024, inclusive", len(key)),
            f"a key of {len(key)} characters",
        )
        for key in ("", "k" * 1025)
    ),
    *(
        call(
            KEYS,
            operation,
            change,
            invalid("Record key length exceeds the maximum allowed", path),
            f"{operation} of 1,026 bytes",
        )
        for operation, change, path in (
            ("PutVectors", {"vectors": [record("\u4e2d" * 342, [1, 2])]}, "vectors[0].key"),
            ("GetVectors", {"keys": ["\u4e2d" * 342]}, "keys[0]"),
            ("DeleteVectors", {"keys": ["\u4e2d" * 342]}, "keys[0]"),
        )
    ),
    *(
        call(KEYS, "PutVectors", {"vectors": [record(key, [1, 2])]}, OK, on="scratch")
        for key in ("k" * 1024, "\u4e2d" * 341, "\x00", "/", "..", "\U0001f3f9", "\u202eabc", "\u00e9", "e\u0301")
    ),
    call(TWICE, "PutVectors", {"vectors": [record("k", [1, 2]), record("k", [3, 4])]}, OK, on="scratch"),
    *(
        call(
            COUNTS,
            operation,
            {member: [value] * count},
            constraint(f"/{member}", f"have length between 1 and {most}, inclusive", count),
            f"{operation} of {count}",
        )
        for operation, member, value, most in (
            ("PutVectors", "vectors", record("a", [1, 2]), 500),
            ("GetVectors", "keys", "a", 100),
            ("DeleteVectors", "keys", "a", 500),
        )
        for count in (0, most + 1)
    ),
    call(ABSENT, "DeleteVectors", {"keys": ["nobody"]}, OK),
    call(ABSENT, "GetVectors", {"keys": ["nobody"]}, OK),
]
