"""Runs a server of fake workers: fake_server.py PORT WORKERS ADMIN_PORT."""

from __future__ import annotations

import sys

from quiver.server.serve import serve

if __name__ == "__main__":
    port, workers, admin_port = (int(argument) for argument in sys.argv[1:4])
    serve(
        "127.0.0.1",
        port,
        workers,
        admin=("127.0.0.1", admin_port),
        target="server.fakes:create",
        drain_seconds=20,
        on_ready=lambda: print("ready", flush=True),
    )
