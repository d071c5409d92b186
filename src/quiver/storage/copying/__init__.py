"""Copies a whole store into another place, object by object, while the source goes on living."""
