"""Tests of typed objects over the object store."""
