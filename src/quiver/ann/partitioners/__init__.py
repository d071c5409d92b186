"""Coarse partitioners: which rows lie together."""
