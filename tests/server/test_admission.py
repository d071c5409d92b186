"""The byte budget: bounded, fair, patient for a while, and never leaking."""

from __future__ import annotations

import asyncio
import random

import pytest

from quiver.model.errors import UnavailableError
from quiver.server.admission import ByteBudget


async def hold(budget: ByteBudget, size: int, seconds: float, log: list[object], name: object) -> None:
    async with budget.share(size):
        log.append(name)
        await asyncio.sleep(seconds)


def test_the_sum_never_passes_the_capacity():
    async def run() -> int:
        budget, highest, chance = ByteBudget(100, 10), 0, random.Random(1)

        async def one(size: int) -> None:
            nonlocal highest
            async with budget.share(size):
                highest = max(highest, budget.held)
                await asyncio.sleep(chance.random() / 1000)

        await asyncio.gather(*(one(chance.randrange(0, 60)) for _ in range(300)))
        assert budget.held == 0
        return highest

    assert 60 <= asyncio.run(run()) <= 100


def test_first_come_first_served_even_when_a_small_one_would_fit():
    async def run() -> list[object]:
        budget, log = ByteBudget(10, 10), []
        tasks = []
        for name, size in (("a", 8), ("big", 9), ("small", 1)):
            tasks.append(asyncio.create_task(hold(budget, size, 0.01, log, name)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return log

    assert asyncio.run(run()) == ["a", "big", "small"]


def test_more_than_the_capacity_gets_all_of_it_alone():
    async def run() -> int:
        budget = ByteBudget(10, 1)
        async with budget.share(1000):
            return budget.held

    assert asyncio.run(run()) == 10


def test_patience_ends_in_an_error_and_the_next_in_line_still_gets_its_turn():
    async def run() -> list[object]:
        budget, log = ByteBudget(10, 0.05), []
        first = asyncio.create_task(hold(budget, 6, 0.2, log, "first"))
        await asyncio.sleep(0)
        impatient = asyncio.create_task(hold(budget, 10, 0, log, "impatient"))
        await asyncio.sleep(0.03)
        small = asyncio.create_task(hold(budget, 2, 0, log, "small"))
        with pytest.raises(UnavailableError, match="Currently unable to handle the request"):
            await impatient
        await asyncio.gather(first, small)
        assert budget.held == 0
        return log

    assert asyncio.run(run()) == ["first", "small"]


def test_cancelled_waiters_leave_nothing_behind():
    async def run() -> None:
        budget, chance = ByteBudget(10, 10), random.Random(2)
        tasks = [asyncio.create_task(hold(budget, chance.randrange(1, 10), 0.001, [], n)) for n in range(100)]
        for _ in range(60):
            await asyncio.sleep(0.0005)
            chance.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert budget.held == 0
        async with asyncio.timeout(1), budget.share(10):
            pass

    asyncio.run(run())


def test_a_waiter_cancelled_in_the_moment_of_its_turn_gives_it_back():
    async def run() -> None:
        budget = ByteBudget(10, 10)
        release = asyncio.Event()

        async def holder() -> None:
            async with budget.share(10):
                await release.wait()

        first = asyncio.create_task(holder())
        await asyncio.sleep(0)
        second = asyncio.create_task(hold(budget, 10, 0, [], "second"))
        await asyncio.sleep(0)
        release.set()
        await first
        assert budget.held == 10
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert budget.held == 0

    asyncio.run(run())
