"""What all tests share: property tests are bounded by their number of examples, not by the clock.

`--hypothesis-profile repeatable`, which `make test` asks for, takes the same examples every time.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quiver", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("quiver")
