"""Tests of whole servers: real processes, real clients, real kills."""
