"""The native engine: a log, a tail in memory, immutable segments and checkpoints, all on an object store.

Start at engine.py (opens indexes), then index.py (one index: what a put, a get, a query calls).
"""
