"""How the command's process ends: everything is finished, but the interpreter is not taken apart.

The client library of remote stores (obstore) hands answers over from threads of its own. One that is still at it
when the interpreter goes away aborts the process, and a copy that was complete would end with SIGABRT (issue 40 of
pyo3-async-runtimes, on which obstore stands).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def run_and_leave(command: Callable[[], object]) -> NoReturn:
    """Run a command, and end the process with the code it exits with.

    As the processes of `multiprocessing` do: threads are waited for, exit functions are called, and output is
    flushed first. Errors other than SystemExit go their usual way.
    """
    code: object = 0
    try:
        command()
    except SystemExit as leaving:
        code = leaving.code
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    number = code if isinstance(code, int) else int(code is not None)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # a result that nobody got
        number = number or 1
    os._exit(number)
