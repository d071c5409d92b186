"""The loop of the synchronous face: coroutines begun on the caller's thread, and handed over when they wait."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from quiver.library.loop_thread import LoopThread

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def loop():
    loop = LoopThread()
    while loop._turn.acquire(blocking=False):  # until the loop's thread has begun
        loop._turn.release()
        if loop._loop.is_running():
            break
    time.sleep(0.01)
    yield loop
    loop.close()


async def where() -> str:
    asyncio.get_running_loop()
    return threading.current_thread().name


def test_a_coroutine_that_does_not_wait_runs_on_the_callers_thread(loop):
    assert loop.run(where(), at_once=True) == threading.current_thread().name
    assert loop.run(where()) == "quiver-loop"
    with pytest.raises(RuntimeError, match="no running"):
        asyncio.get_running_loop()


def test_one_that_waits_goes_on_as_a_task_of_the_loop_in_its_own_context(loop):
    async def work() -> list[str]:
        token = VARIABLE.set("mine")
        seen = [await where()]
        await asyncio.sleep(0)
        seen.append(await where())
        async with asyncio.timeout(5):
            await asyncio.sleep(0.001)
        seen.append(VARIABLE.get())
        VARIABLE.reset(token)
        return seen

    assert loop.run(work(), at_once=True) == [threading.current_thread().name, "quiver-loop", "mine"]
    assert VARIABLE.get() == "unset"


def test_errors_reach_the_caller_from_both_places(loop):
    async def fail(wait: bool) -> None:
        if wait:
            await asyncio.sleep(0)
        raise KeyError("told you")

    for wait in (False, True):
        with pytest.raises(KeyError, match="told you"):
            loop.run(fail(wait), at_once=True)


def test_what_fails_while_it_is_waited_for_is_thrown_where_it_waits(loop):
    async def work() -> str:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, OSError("gone"))
        try:
            await future
        except OSError as error:
            await asyncio.sleep(0)
            return str(error)
        return "nothing happened"

    assert loop.run(work(), at_once=True) == "gone"


def test_what_a_borrower_schedules_wakes_the_loop(loop):
    done = threading.Event()

    async def schedule() -> None:
        asyncio.get_running_loop().call_soon(done.set)

    loop.run(schedule(), at_once=True)
    assert done.wait(5)
    done.clear()

    async def later() -> None:
        asyncio.get_running_loop().call_later(0.001, done.set)

    loop.run(later(), at_once=True)
    assert done.wait(5)


def test_the_loop_and_its_borrowers_never_run_at_the_same_time(loop):
    inside = [0, 0]

    async def enter(rounds: int) -> None:
        for _ in range(rounds):
            inside[0] += 1
            inside[1] = max(inside)
            time.sleep(0.0005)
            inside[0] -= 1
            if rounds > 1:
                await asyncio.sleep(0)

    def call(rounds: int) -> None:
        for _ in range(20):
            loop.run(enter(rounds), at_once=True)

    threads = [threading.Thread(target=call, args=(rounds,)) for rounds in (1, 1, 2, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == [0, 1]


def test_within_another_running_loop_that_one_stays_the_running_one(loop):
    async def outer() -> bool:
        mine = asyncio.get_running_loop()
        loop.run(where(), at_once=True)
        return asyncio.get_running_loop() is mine

    assert asyncio.run(outer())


@pytest.fixture
def interruptible():
    """Also where whoever started the tests has interrupts ignored, as a shell does for jobs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_for_the_end_of_a_step(loop):
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("ended")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run(work(), at_once=True)
    assert steps == ["begun", "ended"]
    assert signal.getsignal(signal.SIGINT) is before
    assert loop.run(where(), at_once=True) == threading.current_thread().name


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_in_the_step_that_begins_to_wait_ends_the_coroutine(loop):
    ended: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("closed")

    with pytest.raises(KeyboardInterrupt):
        loop.run(work(), at_once=True)
    assert ended == ["closed"]


def test_in_debug_mode_everything_runs_on_the_loops_thread():
    program = (
        "from quiver.library.loop_thread import LoopThread\n"
        "import threading\n"
        "async def where(): return threading.current_thread().name\n"
        "loop = LoopThread()\n"
        "print(loop.run(where(), at_once=True))\n"
        "loop.close()\n"
    )
    environment = {**os.environ, "PYTHONASYNCIODEBUG": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "quiver-loop"
