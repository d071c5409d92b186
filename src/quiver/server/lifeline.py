"""The lifeline of a worker process: it stops gracefully when its parent is gone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal


def stop_with_parent() -> None:
    """Send this process SIGTERM when the process that started it ends, however that happens.

    Without it, workers of a killed server would keep the port and answer beside the next one. Call it from a
    running event loop; does nothing in a process that has no parent to watch.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(parent.sentinel)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(parent.sentinel, stop)
