"""Azurite, an emulator of Azure Blob Storage, in a process of its own. `make azurite` installs it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
import urllib.request
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING

from objectstore.contract import PARTS
from quiver.objectstore.remote import RemoteStore

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM = (
    Path(__file__).parents[1]
    / "stores"
    / "azurite"
    / "node_modules"
    / "azurite"
    / "dist"
    / "src"
    / "blob"
    / "main.js"
)
ACCOUNT = "devstoreaccount1"
# The emulator's own key, the same everywhere and published with it: no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "quiver-tests"
START_SECONDS = 60


def missing() -> str:
    """Why it cannot run here; empty when it can."""
    if shutil.which("node") is None:
        return "Azurite needs node"
    return "" if PROGRAM.is_file() else "Azurite is not installed: make azurite"


class Azurite:
    """A running emulator with one container, all in memory."""

    def __init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = listener.getsockname()[1]
        command = ["node", str(PROGRAM), "--inMemoryPersistence", "--silent", "--disableTelemetry"]
        # The client speaks a version of the protocol that the emulator may not know yet.
        command += ["--skipApiVersionCheck", "--blobPort", str(self._port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Azurite:
        try:
            self._wait_until_it_listens()
            self._create_container()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}/{ACCOUNT}"

    def store(self, path: str, container: str = CONTAINER) -> RemoteStore:
        url = f"az://{container}/{path}?account={ACCOUNT}&endpoint={self.endpoint}"
        return RemoteStore(url, options={"account_key": KEY}, large=PARTS)

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _wait_until_it_listens(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            assert self._process.poll() is None, "Azurite ended by itself"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("Azurite does not listen")

    def _create_container(self) -> None:
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-12-02"}
        signed = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        text = f"PUT{chr(10) * 12}{signed}/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        mac = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"
        request = urllib.request.Request(
            f"{self.endpoint}/{CONTAINER}?restype=container", method="PUT", headers=headers
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 201
