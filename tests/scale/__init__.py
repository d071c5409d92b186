"""Tests of size: many indexes, large bodies, bounded memory and file descriptors."""
