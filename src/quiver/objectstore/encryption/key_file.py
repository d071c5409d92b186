"""A file of master keys: one is current, the others unwrap what was made when they were."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from quiver.objectstore.encryption.layout import KEY_BYTES

if TYPE_CHECKING:
    from pathlib import Path

_VERSION = 1
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_BYTES = 1 << 20


class KeyFileError(ValueError):
    """The file cannot be used. The message names it, and never what stands in it."""


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    current: str
    keys: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Master keys of 32 bytes by their ids, in the form of a UUID.

    Attributes:
        current: id of the key that new data keys of the root are wrapped by.
    """

    current: str
    keys: dict[str, bytes] = field(repr=False)

    def with_key(self, key_id: str, secret: bytes, *, current: bool) -> KeyFile:
        """The same with a key more."""
        return KeyFile(key_id if current else self.current, self.keys | {key_id: secret})

    def without_key(self, key_id: str) -> KeyFile:
        """The same without a key. Raises KeyFileError: it is the current one, or not there."""
        if key_id not in self.keys:
            raise KeyFileError(f"there is no key {key_id} in the file")
        if key_id == self.current:
            raise KeyFileError(f"{key_id} is the current key")
        return KeyFile(self.current, {name: secret for name, secret in self.keys.items() if name != key_id})


def key_id_of(token: str) -> str:
    """A key's id from 32 hexadecimal digits."""
    return "-".join((token[:8], token[8:12], token[12:16], token[16:20], token[20:32]))


def read_key_file(path: Path) -> KeyFile:
    """Raises KeyFileError, also when anybody but the owner may read the file."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise KeyFileError(f"the key file {path} is open to others: run chmod 600 {path}")
            raw = file.read(_MOST_BYTES)
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {path}: {error.strerror}") from error
    try:
        content = msgspec.json.decode(raw, type=_Content)
    except (ValueError, RecursionError):  # text that is not UTF-8 is no error of msgspec's own
        raise KeyFileError(f"{path} is not a key file") from None  # no cause: it might quote a key
    sound = all(_ID.fullmatch(name) and len(key) == KEY_BYTES for name, key in content.keys.items())
    if content.version != _VERSION or content.current not in content.keys or not sound:
        raise KeyFileError(f"{path} is not a key file of version {_VERSION}, or its keys are not of 32 bytes")
    return KeyFile(content.current, content.keys)


def write_key_file(path: Path, keys: KeyFile, token: str, *, replace: bool) -> None:
    """Write the file, for its owner only, whole or not at all. Raises KeyFileError.

    Args:
        token: of letters and digits, different each time; for the name of a draft beside the file.
        replace: take the place of one that is there; otherwise that is an error.
    """
    draft = path.with_name(f".{path.name}.{token}")
    body = msgspec.json.format(msgspec.json.encode(_Content(_VERSION, keys.current, keys.keys)), indent=2)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(body + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
        _sync_directory(path)
    except OSError as error:
        raise KeyFileError(f"cannot write the key file {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
