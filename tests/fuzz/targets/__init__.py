"""Fuzz targets, one in each file: `SEEDS` to begin with, and `run(data)`, which fails only for a fault of ours."""
