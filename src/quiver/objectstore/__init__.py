"""Bytes in a store: one contract, its implementations, and wrappers named by what they add."""
