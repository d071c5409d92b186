"""Where the server's credentials come from: the environment, else a file, else generated and shown once.

The file is in the format of AWS's shared credentials file and readable by its owner only, so that
`AWS_SHARED_CREDENTIALS_FILE` points boto3 and the AWS command line at it. One whose name ends in .toml holds
several principals instead.
"""

from __future__ import annotations

import configparser
import os
import secrets
import string
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from quiver.server.credentials import refuse_unfit
from quiver.server.principals_file import SUFFIX, read_fit, read_private
from quiver.settings import SettingsError, is_loopback, local_directory

if TYPE_CHECKING:
    from quiver.settings import Settings


class Source(StrEnum):
    """Where credentials came from."""

    ENVIRONMENT = "environment"
    FILE = "file"
    PRINCIPALS = "principals"
    GENERATED = "generated"


class KeyPair(NamedTuple):
    """A principal's key pair. `file` is where it is kept, None for the environment or for memory only.

    With several principals it is the first of them.
    """

    access_key_id: str
    secret_access_key: str
    source: Source
    file: Path | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"KeyPair({self.access_key_id!r}, source={self.source.value!r}, file={self.file!r})"


def resolve(settings: Settings) -> KeyPair:
    """The credentials to serve with; generates and stores them where there are none and that is safe.

    Raises: SettingsError when they cannot be read or stored, or are not fit for the address to listen on.
    """
    file = credentials_file(settings)
    if settings.access_key_id:
        found = KeyPair(settings.access_key_id, settings.secret_access_key, Source.ENVIRONMENT)
    elif file is not None and file.suffix == SUFFIX:
        return _first_of(file, settings)
    elif file is not None and file.exists():
        found = _read(file)
    else:
        found = _generate(settings, file)
    refuse_unfit(found.access_key_id, found.secret_access_key, settings.host)
    return found


def _first_of(file: Path, settings: Settings) -> KeyPair:
    """The first key of a file of principals, after a look at all of them."""
    key = read_fit(file, settings.account_id, settings.host).keys[0]
    return KeyPair(key.key_id, key.secret, Source.PRINCIPALS, file)


def credentials_file(settings: Settings) -> Path | None:
    """The file named by the settings, else `<root>.credentials` beside a local root, else None."""
    if settings.credentials_file:
        return Path(settings.credentials_file).expanduser().absolute()
    root = local_directory(settings.root)
    return root and root.with_name(f"{root.name}.credentials")


def _generate(settings: Settings, file: Path | None) -> KeyPair:
    if not is_loopback(settings.host):
        raise SettingsError(
            f"listening on {settings.host} needs credentials somebody chose: set QUIVER_ACCESS_KEY_ID and "
            "QUIVER_SECRET_ACCESS_KEY, or name a file in QUIVER_CREDENTIALS_FILE"
        )
    made = new_pair(file)
    return made if file is None else _store(made, file)


def new_pair(file: Path | None = None) -> KeyPair:
    """A pair nobody has seen, to be kept in `file`."""
    letters = string.ascii_uppercase + string.digits
    access_key = "QK" + "".join(secrets.choice(letters) for _ in range(18))
    return KeyPair(access_key, secrets.token_urlsafe(30), Source.GENERATED, file)


def _store(made: KeyPair, file: Path) -> KeyPair:
    """Create the file; when another process was quicker, its credentials are the ones that count."""
    text = (
        "# Quiver's credentials. Keep this file private.\n[default]\n"
        f"aws_access_key_id = {made.access_key_id}\naws_secret_access_key = {made.secret_access_key}\n"
    )
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.link(draft, file)
    except FileExistsError:
        return _read(file)
    except OSError as error:
        raise SettingsError(f"cannot write the credentials file {file}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return made


def _read(file: Path) -> KeyPair:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_private(file))
        section = parser["default"]
        pair = section["aws_access_key_id"].strip(), section["aws_secret_access_key"].strip()
    except (configparser.Error, KeyError):
        # No cause: the parser's own message would quote the line.
        raise SettingsError(f"the credentials file {file} has no usable [default] section") from None
    if not all(pair):
        raise SettingsError(f"the credentials file {file} has an empty key")
    return KeyPair(*pair, Source.FILE, file)
