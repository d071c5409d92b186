"""A file of principals that is read again when it has changed: a key is given or revoked without a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from quiver.server.logs import describe
from quiver.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import FilteringBoundLogger

    from quiver.model.runtime import Runtime
    from quiver.server.credentials import Credentials

LOOK_SECONDS = 1.0
"""For how long the file is not looked at again; and how old a change has to be: a younger one may be a half."""


class _Stamp(NamedTuple):
    """By which a changed file is told; times in nanoseconds."""

    modified: int
    changed: int
    size: int
    inode: int


_MISSING = _Stamp(0, 0, 0, 0)


class WatchedPrincipals:
    """The credentials in a file, as of a second or two ago.

    A file that cannot be read, or in which anything is wrong, changes nothing, and is one line in the log.

    Args:
        file: the file.
        read: its credentials. Raises SettingsError.
        runtime: clocks.
        log: where it is said that the file was read again.

    Raises: SettingsError: the file cannot be used to begin with.
    """

    def __init__(
        self, file: Path, read: Callable[[], Credentials], runtime: Runtime, log: FilteringBoundLogger
    ) -> None:
        self._file = file
        self._read = read
        self._runtime = runtime
        self._log = log
        seen = self._stamp()
        self._current = read()
        self._judged = seen if self._is_settled(seen) else None
        self._seen: _Stamp | None = None
        self._looked = runtime.monotonic()

    def current(self) -> Credentials:
        """The credentials now."""
        now = self._runtime.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._current

    def _look(self) -> None:
        stamp, before = self._stamp(), self._seen
        self._seen = stamp
        if stamp == self._judged or not (stamp == before or self._is_settled(stamp)):
            return
        found, error = self._try()
        if self._stamp() != stamp:  # it was being written
            return
        self._judged = stamp
        if found is not None:
            self._current = found
            self._log.info("principals read again", keys=len(found))
        else:
            self._log.error("principals not read again: the old ones stay", **error)

    def _try(self) -> tuple[Credentials | None, dict[str, object]]:
        """The file's credentials, or else what is wrong with it: never its contents."""
        try:
            return self._read(), {}
        except SettingsError as error:
            return None, {"message": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the file is not to be used
            return None, describe(error)

    def _stamp(self) -> _Stamp:
        try:
            found = self._file.stat()
        except OSError:
            return _MISSING
        return _Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)

    def _is_settled(self, stamp: _Stamp) -> bool:
        age = self._runtime.time() - max(stamp.modified, stamp.changed) / 1e9
        return stamp != _MISSING and age >= LOOK_SECONDS
