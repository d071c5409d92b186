"""What is wrong with a policy document."""

from __future__ import annotations


class PolicyError(ValueError):
    """A document that is no policy, or asks for something that is not understood. Its text names the place."""
