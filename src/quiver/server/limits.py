"""Limits of the HTTP face: what a request may cost before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Every bound of the request path.

    Attributes:
        max_body: bytes of a request body, inclusive (the quota of S3 Vectors).
        max_load: bytes of the body of a load, and of all loads under way in this process together.
        max_header_bytes: names and values of the header block together.
        max_headers: header lines.
        max_uri: bytes of path and query as sent.
        idle_seconds: longest silence while a body is read.
        grace_seconds: time any body may take; larger ones get their share of `min_rate` on top.
        min_rate: bytes per second a body must keep up after the grace.
        admission_bytes: memory that all bodies under way in this process may hold.
        admission_seconds: longest wait for a share of it.
        clock_skew_seconds: how far a signature's time may be from ours.
        inline_bytes: bodies up to this size are hashed and parsed on the event loop.
        max_depth: nesting of JSON arrays and objects; a request with a filter of 16 levels has up to 34.
        max_containers: JSON arrays and objects in one body.
    """

    max_body: int = 20_971_520
    max_load: int = 4096 * MIB
    max_header_bytes: int = 16 * 1024
    max_headers: int = 100
    max_uri: int = 8 * 1024
    idle_seconds: float = 30.0
    grace_seconds: float = 30.0
    min_rate: int = 64 * 1024
    admission_bytes: int = 256 * MIB
    admission_seconds: float = 30.0
    clock_skew_seconds: int = 15 * 60
    inline_bytes: int = 64 * 1024
    max_depth: int = 34
    max_containers: int = 65_536
