"""Bytes to records and back, without I/O. Stored bytes are untrusted: every length and offset is checked."""
