"""Encryption at rest: data keys, master keys, and a store that encrypts every object."""
