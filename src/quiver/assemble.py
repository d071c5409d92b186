"""Assembly: the only file that names concrete classes."""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quiver.engine.engine import Freshness
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.format import paths
from quiver.maintenance.process import MaintenanceProcess
from quiver.model.errors import UnavailableError
from quiver.objectstore.commit_store import CommitStore
from quiver.objectstore.encryption.index_keys import IndexKeys
from quiver.objectstore.encryption.key_file import KeyFileError, read_key_file
from quiver.objectstore.encryption.layout import NotEncryptedError, derive
from quiver.objectstore.encryption.root_keys import RootKeys
from quiver.objectstore.local import LocalStore
from quiver.objectstore.location import SCHEMES, Location, meant, parse
from quiver.objectstore.memory import MemoryStore
from quiver.objectstore.metered_store import MeteredStore
from quiver.objectstore.probe import probe
from quiver.objectstore.read_only_store import ReadOnlyStore
from quiver.objectstore.retrying_store import RetryingStore
from quiver.service.administration import Administration
from quiver.service.arn import Home
from quiver.service.catalog import Catalog
from quiver.service.encryption import Encryption
from quiver.service.leniency import read_leniency
from quiver.service.patrol import Patrol
from quiver.service.reading import AS_SET
from quiver.service.roles import Role
from quiver.service.service import Response, Service
from quiver.settings import SettingsError, local_directory
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.cache.disk_tier import DiskTier
from quiver.storage.cache.paced_store import PacedStore
from quiver.storage.store_format import open_store_format

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from quiver.engine.native.workshop import Watcher, Workshop
    from quiver.model.runtime import Runtime
    from quiver.objectstore.dynamodb import DynamoTable
    from quiver.objectstore.encryption.encrypting_store import EncryptingStore
    from quiver.objectstore.encryption.key_file import KeyFile
    from quiver.objectstore.encryption.provider import KeyProvider
    from quiver.objectstore.metered_store import StoreCounts
    from quiver.objectstore.store import ObjectStore
    from quiver.service.bulk_operations import BulkOperations
    from quiver.service.caller import Caller
    from quiver.service.pace import Pace
    from quiver.service.reading import Reading
    from quiver.service.snapshot_operations import SnapshotOperations
    from quiver.settings import Settings
    from quiver.storage.cache.block_cipher import BlockCipher
    from quiver.storage.cache.counts import CacheCounts
    from quiver.storage.store_format import StoreFormat

_MIGRATION = "`quiver copy` makes an encrypted copy of it"

_FIRST_ROUNDS, _FIRST_KEYS = 8, 20  # some 350 requests, once in the life of a root

_FEWEST_SEGMENTS, _MOST_SEGMENTS = 64, 16_384


@dataclass(frozen=True, slots=True)
class OpenRoot:
    """An open root. Whoever opened it closes it; the runtime stays open. `cache` is for a remote store only."""

    store: ObjectStore
    meter: MeteredStore
    engine: NativeEngine
    service: Service
    administration: Administration
    patrol: asyncio.Task[None] | None = None
    cache: BlockCache | None = None

    def call(
        self, operation: str, params: dict[str, Any], reading: Reading = AS_SET, caller: Caller | None = None
    ) -> Coroutine[Any, Any, Response]:
        """Do one S3 Vectors operation; see `Service.call`."""
        return self.service.call(operation, params, reading, caller)

    @property
    def bulk(self) -> BulkOperations:
        """Loading and export."""
        return self.service.bulk

    @property
    def snapshots(self) -> SnapshotOperations:
        """Snapshots and clones."""
        return self.administration.snapshots

    def store_counts(self) -> StoreCounts:
        """What was asked of the object store since the root was opened."""
        return self.meter.snapshot()

    def cache_counts(self) -> CacheCounts | None:
        """What the caches did since then, and what they hold; None where nothing is cached."""
        return self.engine.cache_counts()

    async def close(self) -> None:
        """Finish background work and release everything."""
        if self.patrol is not None:
            self.patrol.cancel()
            await asyncio.wait([self.patrol])
        await self.engine.close()
        if self.cache is not None:
            await self.cache.shut()
        await self.store.close()


async def open_service(
    settings: Settings,
    runtime: Runtime,
    *,
    background: bool = True,
    create: bool = True,
    watcher: Watcher | None = None,
    on_patrol_failure: Callable[[str, Exception], None] = lambda _, __: None,
    pace: Pace | None = None,
) -> OpenRoot:
    """Open a root, creating it when it is new; a reader never does.

    Args:
        settings: where the root is, what this process does for it, how much memory its indexes may take, when they
            are flushed and collected.
        runtime: time, chance and threads.
        background: flush, compact and collect garbage unasked, as far as the role goes.
        create: make a root that is not there; otherwise that is an error. A root in memory is always made.
        watcher: is told what upkeep goes on.
        on_patrol_failure: is told what a maintainer could not do, with the index id; see `Patrol`.
        pace: how much may be asked of an index per second; None for no limits.

    Raises: SettingsError, DataError, UnavailableError.
    """
    role = Role(settings.role)
    keys = load_keys(settings)
    meter = open_metered_store(settings.root, runtime)
    remote = local_directory(settings.root) is None
    store: ObjectStore = RetryingStore(meter, runtime) if remote else meter
    if role is Role.READER:
        store = ReadOnlyStore(store)
    encrypting = keys and encrypt(store, keys, settings, runtime)
    store = encrypting or store
    create = (create or _in_memory(settings.root)) and role is not Role.READER
    store_format = await _open_format(
        store, runtime, _before_creation(store, runtime, create=create, remote=remote)
    )
    workshop = _workshop(settings, runtime) if background and role is not Role.READER else None
    cache = None if store.resident else _cache(store, settings, runtime, keys)
    if cache is not None:
        store = PacedStore(store, cache.pace)
    native = _native_settings(settings, role, background=background)
    engine = NativeEngine(store, runtime, native, workshop, watcher, cache)
    catalog = Catalog(store, runtime)
    home = Home(settings.region, settings.account_id)
    encryption = Encryption(encrypting.index_keys if encrypting else None, home, runtime)
    service = Service(
        catalog,
        engine,
        store_format,
        runtime,
        home,
        role,
        Freshness(eventual=settings.consistency == "eventual"),
        pace,
        encryption,
        read_leniency(settings.lenient),
    )
    administration = Administration(store, runtime, catalog, engine, encryption)
    patrol = None
    if background and role is Role.MAINTAINER:
        age, period = settings.garbage_age_seconds, settings.patrol_seconds
        beat = Patrol(store, runtime, administration, engine, age=age, period=period, tell=on_patrol_failure)
        patrol = runtime.spawn(beat.run(), "patrol")
    return OpenRoot(store, meter, engine, service, administration, patrol, cache)


def _native_settings(settings: Settings, role: Role, *, background: bool) -> NativeSettings:
    """What the engine is told; see `open_service`."""
    return NativeSettings(
        flush_rows=settings.flush_rows,
        garbage_age=settings.garbage_age_seconds,
        memory_bytes=settings.memory_budget_bytes,
        open_segments=_affordable_segments(),
        background=background and role.writes,
        reluctant=role is Role.WRITER,
        staleness=settings.staleness_seconds,
    )


async def _open_format(
    store: ObjectStore, runtime: Runtime, before_creation: Callable[[], Awaitable[None]] | None
) -> StoreFormat:
    """The root's format; the store is closed when it cannot be opened."""
    try:
        return await open_store_format(store, runtime, before_creation)
    except BaseException as error:
        await store.close()
        if isinstance(error, NotEncryptedError):
            raise NotEncryptedError(f"{store.url} is not encrypted: {error.message}; {_MIGRATION}") from error
        raise


def _before_creation(
    store: ObjectStore, runtime: Runtime, *, create: bool, remote: bool
) -> Callable[[], Awaitable[None]] | None:
    """What has to be done before a new root is created."""

    async def refuse() -> None:
        raise UnavailableError(
            f"{store.url} holds no Quiver root; `quiver serve` or `quiver create-bucket` would make one there"
        )

    if not create:
        return refuse
    return partial(examine, store, runtime) if remote else None


def _cache(store: ObjectStore, settings: Settings, runtime: Runtime, keys: KeyFile | None) -> BlockCache:
    """What keeps blocks of a remote store. Raises SettingsError."""
    disk = None
    cipher = _block_cipher(keys) if keys else None
    if settings.cache_folder:
        try:
            budget = settings.cache_folder_bytes // settings.workers
            disk = DiskTier.open(Path(settings.cache_folder), budget, cipher)
        except OSError as error:
            raise SettingsError(f"QUIVER_CACHE_FOLDER cannot be used: {error}") from error
    return BlockCache(store, runtime, settings.cache_bytes, disk)


def _workshop(settings: Settings, runtime: Runtime) -> Workshop | None:
    """Where upkeep is done; None for in this process, as it must be for a root that no other process sees."""
    if settings.maintenance == "inline" or _in_memory(settings.root):
        return None
    return MaintenanceProcess(settings, runtime)


def _in_memory(root: str) -> bool:
    return root in ("memory:", "memory://")


async def examine(store: ObjectStore, runtime: Runtime) -> None:
    """Probe a remote store before the first object is trusted to it; `quiver doctor` looks longer.

    Raises: UnavailableError with the promise that was broken.
    """
    report = await probe(store, runtime, rounds=_FIRST_ROUNDS, keys=_FIRST_KEYS)
    if not report.ok:
        check = report.failed[0]
        raise UnavailableError(f"{store.url} cannot be trusted with data: {check.name}: {check.message}")


def _affordable_segments() -> int:
    """How many segments may be mapped at once: each takes two of the file descriptors this process may have."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _MOST_SEGMENTS
    return min(_MOST_SEGMENTS, max(_FEWEST_SEGMENTS, limit // 4))


def open_store(root: str, runtime: Runtime) -> ObjectStore:
    """The store a root names; reads of a remote one that fail are repeated for a while.

    Puts never are: the commit log resolves those. Raises: SettingsError.
    """
    meter = open_metered_store(root, runtime)
    return meter if local_directory(root) is not None else RetryingStore(meter, runtime)


def open_metered_store(root: str, runtime: Runtime) -> MeteredStore:
    """The store a root names, counting its requests; see docs/operations.md for the forms of a root.

    Raises: SettingsError.
    """
    directory = local_directory(root)
    if directory is not None:
        return MeteredStore(LocalStore(directory, runtime))
    if _in_memory(root):
        return MeteredStore(MemoryStore(runtime))
    if root.partition(":")[0] not in SCHEMES:
        hint = f"; this may be {form}" if (form := meant(root)) else ""
        raise SettingsError(f"QUIVER_ROOT must be a directory or a URL of file, memory, s3, gs, az or abfss{hint}")
    try:
        location = parse(root)
        return MeteredStore(_open_remote(location, runtime), billed=location.table is None)
    except ValueError as error:
        raise SettingsError(f"QUIVER_ROOT cannot be used: {error}") from error


def _open_remote(location: Location, runtime: Runtime) -> ObjectStore:
    """Raises: ValueError."""
    from quiver.objectstore.remote import RemoteStore  # noqa: PLC0415 - its client is slow to load

    if location.table is None:
        return RemoteStore(location)
    bodies = MeteredStore(RemoteStore(location, conditional=False))
    return CommitStore(bodies, _open_table(location, runtime), runtime)


def _open_table(location: Location, runtime: Runtime) -> DynamoTable:
    """Raises: ValueError."""
    try:
        from quiver.objectstore.dynamodb import DynamoTable  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise ValueError("commit=dynamodb://... needs boto3: install quiverdb[aws]") from error
    options = location.options
    return DynamoTable(
        location.table or "",
        location.url,
        runtime,
        region=options.get("commit_region", options.get("region")),
        endpoint=options.get("commit_endpoint"),
        profile=options.get("commit_profile", options.get("profile")),
    )


def load_keys(settings: Settings) -> KeyFile | None:
    """The keys that the root is encrypted under, None for a root that is not. Raises SettingsError."""
    if not settings.encryption_key_file:
        return None
    try:
        return read_key_file(Path(settings.encryption_key_file).expanduser())
    except KeyFileError as error:
        raise SettingsError(f"QUIVER_ENCRYPTION_KEY_FILE: {error}") from error


def encrypt(store: ObjectStore, keys: KeyFile, settings: Settings, runtime: Runtime) -> EncryptingStore:
    """A store of encrypted objects over another. Raises SettingsError."""
    try:
        from quiver.objectstore.encryption.encrypting_store import EncryptingStore  # noqa: PLC0415 - an extra
        from quiver.objectstore.encryption.file_provider import FileKeyProvider  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError("QUIVER_ENCRYPTION_KEY_FILE needs cryptography: get quiverdb[encryption]") from error
    own: KeyProvider = FileKeyProvider(keys, runtime)
    kms = own if settings.kms == "file" else _aws_kms(runtime)
    index_keys = IndexKeys(store, kms, runtime, paths.index_of, paths.index_key_name)
    return EncryptingStore(store, RootKeys(store, keys, own, runtime), index_keys, runtime)


def _aws_kms(runtime: Runtime) -> KeyProvider:
    """Raises SettingsError."""
    try:
        from quiver.objectstore.encryption.aws_kms import AwsKmsProvider  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise SettingsError("QUIVER_KMS=aws needs boto3: install quiverdb[aws]") from error
    try:
        return AwsKmsProvider(runtime)
    except ValueError as error:
        raise SettingsError(f"QUIVER_KMS cannot be used: {error}") from error


def _block_cipher(keys: KeyFile) -> BlockCipher:
    """What the cache folder of an encrypted root is encrypted with: it changes with the current key."""
    from quiver.storage.cache.block_cipher import KEY_BYTES, BlockCipher  # noqa: PLC0415 - needs an extra

    return BlockCipher(derive(keys.keys[keys.current], b"", b"quiver: cache", KEY_BYTES))


async def create_commit_table(root: str, runtime: Runtime) -> bool | None:
    """Create the table that a root's URL names as its commit store; whether it was missing.

    None for a root without one. Raises: SettingsError, UnavailableError.
    """
    if local_directory(root) is not None or _in_memory(root):
        return None
    try:
        location = parse(root)
        table = _open_table(location, runtime) if location.table else None
    except ValueError as error:
        raise SettingsError(f"QUIVER_ROOT cannot be used: {error}") from error
    if table is None:
        return None
    try:
        return await table.create_table()
    finally:
        await table.close()
