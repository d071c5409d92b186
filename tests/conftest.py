"""What all tests share: property tests are bounded by their number of examples, not by the clock."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quiver", deadline=None)
settings.load_profile("quiver")
