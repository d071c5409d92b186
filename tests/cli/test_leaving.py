"""The process of a command ends with its code when everything is finished; the interpreter is not taken apart."""

from __future__ import annotations

import subprocess
import sys

import pytest

LEAVING = """
import atexit, sys, threading, time, weakref
from quiver.cli.leaving import run_and_leave

def late():
    time.sleep(0.2)
    print("thread")

class Kept:
    def __del__(self):
        print("taken apart")

kept = Kept()
atexit.register(print, "exit function")

def command():
    threading.Thread(target=late).start()
    print("command")
    {end}

run_and_leave(command)
"""


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(2)", 2, ""),
        ("sys.exit('why')", 1, "why\n"),
    ],
)
def test_the_process_ends_with_the_code_after_threads_and_exit_functions(end, code, said):
    done = subprocess.run(
        [sys.executable, "-c", LEAVING.format(end=end)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, "command\nthread\nexit function\n", said)


def test_an_error_goes_its_usual_way():
    code = LEAVING.format(end="raise OSError('why')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.endswith("OSError: why\n")


def test_output_that_cannot_be_written_is_a_failure():
    code = LEAVING.format(end="pass")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run([sys.executable, "-c", code], stdout=full, check=False, timeout=60)
    assert done.returncode == 1
