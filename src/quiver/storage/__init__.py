"""Typed objects, read and written whole, over the object store."""
