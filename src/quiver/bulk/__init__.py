"""Rows from files and arrays, and to files."""
