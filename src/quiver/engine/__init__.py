"""Engines: an index that stores and searches vectors, behind one contract."""
