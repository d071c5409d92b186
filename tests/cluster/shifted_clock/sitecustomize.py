"""Shifts the wall clock of a Python process, and of those it starts: found by the interpreter on PYTHONPATH.

The file that NEMESIS_CLOCK names holds the shift in seconds, a float64; whoever writes there sets the clock.
"""

import mmap
import os
import struct
import time

if "NEMESIS_CLOCK" in os.environ:
    with open(os.environ["NEMESIS_CLOCK"], "rb") as _file:  # noqa: PTH123 - at every start: nothing is imported
        _shift = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)
    _now = time.time
    time.time = lambda: _now() + struct.unpack("<d", _shift)[0]
