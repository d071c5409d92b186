"""What every strong read of a local root asks of files, in C (src/quiver/objectstore/native).

The functions of `os` would do as well, if a file that is not there were not an exception, which costs more than
the look at it. Symbolic links are not followed. Raises OSError for what could not be found out.
"""

def is_absent(path: str, /) -> bool:
    """Whether nothing has this name."""

def begins_with(path: str, head: bytes | bytearray | memoryview, /) -> bool:
    """Whether there is a file of this name, and it begins with some bytes. Does not wait on pipes."""
