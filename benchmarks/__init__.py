"""Benchmarks: what `make bench` runs, and what docs/benchmarks.md reports."""
