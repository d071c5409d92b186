"""Copying a store from one root to another: migration, backup, restore."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

from quiver.assemble import encrypt, examine, load_keys, open_store
from quiver.engine.native.naming import names_of
from quiver.library.loop_thread import LoopThread
from quiver.model.progress import no_progress
from quiver.model.runtime import SystemRuntime
from quiver.settings import load, local_directory
from quiver.storage.copying.store_copy import copy_store
from quiver.storage.copying.transfer import CopySettings, Transfer
from quiver.storage.store_format import is_encrypted_root

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quiver.model.progress import Progress
    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from quiver.storage.copying.store_copy import CopyReport


async def async_copy(
    source: str,
    target: str,
    *,
    resume: bool = False,
    verify: bool = True,
    decrypt: bool = False,
    progress: Progress = no_progress,
) -> CopyReport:
    """Copy every bucket and index of one root to another, which must be empty. See `copy`."""
    runtime = SystemRuntime()
    try:
        async with _opened(source, runtime) as origin, _opened(target, runtime, encrypted=not decrypt) as place:
            mapped = [store for store in (origin, place) if store.resident]
            transfer = Transfer(origin, place, runtime, CopySettings(verify=verify), progress, mapped=mapped)
            # A store that is not a directory is probed before it is trusted with data.
            probing = None if _is_local(target) else partial(examine, place, runtime)
            return await copy_store(transfer, names_of, resume=resume, before_create=probing)
    finally:
        runtime.close()


def copy(
    source: str,
    target: str,
    *,
    resume: bool = False,
    verify: bool = True,
    decrypt: bool = False,
    progress: Progress = no_progress,
) -> CopyReport:
    """Copy every bucket and index of one root to another, which must be empty; what the copy consists of.

    Programs and servers may go on using the source. Each index is copied as of a moment after the start. The
    target cannot be opened before the copy is whole.

    Args:
        source, target: directories, or URLs of file, s3, gs or az.
        resume: go on with a copy of the same source that was interrupted, and that nobody else is at. One that is
            whole is left as it is.
        verify: read back everything that was written, and what an earlier run had written.
        decrypt: the target is not encrypted. Otherwise it is, when QUIVER_ENCRYPTION_KEY_FILE is set; the source
            may be either, and needs its keys in that file.
        progress: called with "copy", the bytes done and how many there will be.

    Raises: SettingsError, NotFoundError, ConflictError, DataError, RetryError.
    """
    loop = LoopThread()
    try:
        return loop.run(
            async_copy(source, target, resume=resume, verify=verify, decrypt=decrypt, progress=progress)
        )
    finally:
        loop.close()


@contextlib.asynccontextmanager
async def _opened(root: str, runtime: Runtime, *, encrypted: bool | None = None) -> AsyncIterator[ObjectStore]:
    """A root; `encrypted` None is for the root itself to say."""
    settings = load(os.environ, root=root)
    keys = load_keys(settings)
    store = open_store(root, runtime)
    try:
        if keys and (await is_encrypted_root(store) if encrypted is None else encrypted):
            store = encrypt(store, keys, settings, runtime)
        yield store
    finally:
        await store.close()


def _is_local(root: str) -> bool:
    return local_directory(root) is not None
