"""The virtual-time loop: asyncio's own primitives, time jumps, order, deadlocks, stopped and killed processes."""

from __future__ import annotations

import asyncio
import contextvars
import time

import pytest

from simulation.loop import PROCESS, DeadlockError, Process, VirtualLoop


def run(main):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main), loop
    finally:
        loop.close()


def in_process(process):
    context = contextvars.copy_context()
    context.run(PROCESS.set, process)
    return context


def test_sleeping_takes_virtual_time_only():
    started = time.monotonic()
    _, loop = run(asyncio.sleep(1_000_000))
    assert loop.time() == 1_000_000
    assert time.monotonic() - started < 1


def test_timeouts_fire_in_virtual_time():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        assert asyncio.get_running_loop().time() == 5
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3)
        return asyncio.get_running_loop().time()

    assert run(main())[0] == 8


def test_locks_conditions_queues_and_groups_work():
    async def main():
        lock, condition, queue, order = asyncio.Lock(), asyncio.Condition(), asyncio.Queue(1), []

        async def produce():
            for i in range(5):
                async with lock:
                    await asyncio.sleep(1)
                    await queue.put(i)
            async with condition:
                condition.notify_all()

        async def consume():
            for _ in range(5):
                order.append(await queue.get())

        async def wait():
            async with condition:
                await condition.wait()

        async with asyncio.TaskGroup() as group:
            for work in (wait(), produce(), consume()):
                group.create_task(work)
        assert await asyncio.gather(asyncio.sleep(2, "b"), asyncio.sleep(1, "a")) == ["b", "a"]
        return order

    assert run(main())[0] == [0, 1, 2, 3, 4]


def test_cancellation_reaches_the_sleeping_task():
    async def main():
        task = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time()

    assert run(main())[0] == 1


def test_ready_callbacks_and_equal_timers_run_first_in_first_out():
    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        for i in range(5):
            loop.call_at(7.0, seen.append, ("timer", i))
            loop.call_soon(seen.append, ("soon", i))
        await asyncio.sleep(7)
        return seen

    assert run(main())[0] == [("soon", i) for i in range(5)] + [("timer", i) for i in range(5)]


def test_a_deadlock_is_an_error_not_a_hang():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run(main())


def test_an_exception_in_a_callback_is_kept_for_the_report():
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    _, loop = run(main())
    assert [type(each["exception"]) for each in loop.unhandled] == [ZeroDivisionError]


def test_a_killed_process_never_runs_again_not_even_its_finally_blocks():
    async def main():
        loop, process, seen = asyncio.get_running_loop(), Process("a"), []

        async def work():
            try:
                while True:
                    seen.append(loop.time())
                    await asyncio.sleep(1)
            finally:
                seen.append("finally")

        loop.create_task(work(), context=in_process(process))
        await asyncio.sleep(2.5)
        loop.kill_process(process)
        await asyncio.sleep(100)
        return list(seen)

    assert run(main())[0] == [0, 1, 2]


def test_a_stopped_process_finds_its_timers_and_results_late_when_it_continues():
    async def main():
        loop, process, seen = asyncio.get_running_loop(), Process("a"), []
        answer = loop.create_future()

        async def work():
            async def child():  # tasks started by the process belong to it
                await asyncio.sleep(1)
                seen.append(("slept", loop.time()))

            task = asyncio.create_task(child())
            seen.append((await answer, loop.time()))
            await task

        task = loop.create_task(work(), context=in_process(process))
        await asyncio.sleep(0.5)
        loop.stop_process(process)
        answer.set_result("answer")
        await asyncio.sleep(60)
        assert seen == []
        loop.continue_process(process)
        await task
        return seen

    assert run(main())[0] == [("answer", 60.5), ("slept", 60.5)]


def test_closing_unwinds_what_is_still_suspended_without_noise(recwarn, capfd):
    async def main():
        async def stubborn():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)

        for _ in range(3):
            asyncio.get_running_loop().create_task(stubborn())
        await asyncio.sleep(1)
        asyncio.get_running_loop().create_task(stubborn())  # never started

    run(main())
    assert not recwarn.list
    assert capfd.readouterr().err == ""


def test_more_than_100_000_callbacks_a_second_on_an_idle_machine():
    """A quarter of the target, so that a busy machine does not fail the build."""

    async def main():
        async def worker():
            for _ in range(500):
                await asyncio.sleep(0.001)

        await asyncio.gather(*(worker() for _ in range(50)))

    started = time.process_time()
    _, loop = run(main())
    assert loop.callbacks / (time.process_time() - started) > 25_000
