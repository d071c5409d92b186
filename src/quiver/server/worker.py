"""A worker process: its application, built from the environment."""

from __future__ import annotations

import gc
import os
import resource
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from quiver.assemble import open_service
from quiver.model.runtime import SystemRuntime
from quiver.prices import load_prices, store_of
from quiver.server.app import Application, OpenService
from quiver.server.credentials import Credentials, Holder
from quiver.server.lifeline import stop_with_parent
from quiver.server.limits import ServerLimits
from quiver.server.logs import describe, make_logger
from quiver.server.metrics import MULTIPROCESS_DIRECTORY, Metrics
from quiver.server.principals_file import read_fit
from quiver.server.problems import Problems
from quiver.server.sigv4 import Authenticator
from quiver.server.watched_principals import WatchedPrincipals
from quiver.service.extensions import SERVED
from quiver.service.pace import Pace
from quiver.service.policy.principals import root_of
from quiver.service.rates import parse_rates
from quiver.settings import load

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from quiver.engine.native.workshop import Job
    from quiver.model.runtime import Runtime
    from quiver.server.credentials import CredentialSource
    from quiver.settings import Settings

SWITCH_SECONDS = 0.001
"""How long a worker thread may keep the interpreter from the event loop while it parses a large body."""


def create() -> Application:
    """The application of this process.

    Raises:
        SettingsError, ValueError: the environment holds no usable settings or credentials.
    """
    _raise_file_limit()
    settings = load(os.environ)
    prices = load_prices(settings.prices).stores.get(store_of(settings.root, os.environ))
    runtime, metrics, log = SystemRuntime(), Metrics(), make_logger(settings.log_level)
    directory = os.environ.get(MULTIPROCESS_DIRECTORY)
    problems = Problems(runtime.time, Path(directory) if directory else None)
    metrics.maintenance.on_failure = partial(_note_upkeep, log, problems)
    rates = parse_rates(settings.throttle).divided(settings.workers)

    async def start() -> OpenService:
        stop_with_parent()
        service = await open_service(
            settings,
            runtime,
            watcher=metrics.maintenance,
            on_patrol_failure=partial(_note_patrol, log, problems),
            pace=Pace(rates, runtime),
        )
        gc.freeze()  # modules and tables live as long as the process: full collections need not visit them
        return service

    sys.setswitchinterval(SWITCH_SECONDS)
    return Application(
        start,
        SERVED,
        Authenticator(_credentials(settings, runtime, log), settings.region, runtime.time),
        runtime,
        log,
        ServerLimits(admission_bytes=settings.buffered_bytes, max_load=settings.load_bytes),
        metrics,
        prices,
        rates,
        problems,
    )


def _credentials(settings: Settings, runtime: Runtime, log: FilteringBoundLogger) -> CredentialSource:
    """The pair in the settings is the owner's; without one there is a file of principals."""
    if settings.access_key_id:
        owner = Holder(root_of(settings.account_id))
        return Credentials({settings.access_key_id: settings.secret_access_key}, {settings.access_key_id: owner})
    file = Path(settings.credentials_file)

    def read() -> Credentials:
        return read_fit(file, settings.account_id, settings.host).credentials()

    return WatchedPrincipals(file, read, runtime, log)


def _note_patrol(log: FilteringBoundLogger, problems: Problems, index_id: str, error: Exception) -> None:
    problem = problems.note("patrol failed", index_id, error)
    log.error(problem.event, index=index_id, message=problem.message, **describe(error))


def _note_upkeep(log: FilteringBoundLogger, problems: Problems, job: Job, index_id: str, error: Exception) -> None:
    problem = problems.note(f"{job} failed", index_id, error)
    log.warning("upkeep failed", job=job.value, index=index_id, error=problem.error, message=problem.message)


def _raise_file_limit() -> None:
    """To what the system allows: mapped segments and connections each take file descriptors."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems refuse "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
