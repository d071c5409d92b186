"""The byte budget: bounded, fair, patient for a while, and never leaking."""

from __future__ import annotations

import asyncio
import random

import pytest

from quiver.model.errors import UnavailableError
from quiver.server.admission import ByteBudget
from simulation.loop import VirtualLoop


async def hold(
    budget: ByteBudget, size: int, seconds: float, log: list[object], name: object, key: str = ""
) -> None:
    async with budget.share(size, key):
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


# ---- between keys


def in_virtual_time(budget: ByteBudget, *requests: tuple[str, int, int]) -> dict[str, list[int]]:
    """Requests of (key, how many at once, size), each held for a second: the seconds at which they were served."""
    loop = VirtualLoop()
    served: dict[str, list[int]] = {key: [] for key, _, _ in requests}

    async def one(key: str, size: int) -> None:
        async with budget.share(size, key):
            served[key].append(int(loop.time()))
            await asyncio.sleep(1)

    async def run() -> None:
        await asyncio.gather(*(one(key, size) for key, count, size in requests for _ in range(count)))

    loop.run_until_complete(run())
    assert budget.held == 0
    return served


def test_a_long_queue_of_one_key_does_not_delay_another():
    served = in_virtual_time(ByteBudget(10, 1000), ("greedy", 500, 5), ("modest", 4, 5))
    assert served["modest"] == [1, 2, 3, 4]
    assert served["greedy"][-1] == 251


def test_keys_get_equal_bytes_whatever_the_size_of_their_requests():
    served = in_virtual_time(ByteBudget(8, 1000), ("small", 400, 1), ("large", 100, 4))
    by_then = {key: sum(second < 50 for second in seconds) for key, seconds in served.items()}
    assert abs(by_then["small"] - 4 * by_then["large"]) <= 8


def test_who_gave_up_has_not_been_served_and_is_not_charged():
    async def run() -> list[object]:
        budget, log = ByteBudget(10, 1000), []
        first = asyncio.create_task(hold(budget, 10, 0.01, log, "first", "a"))
        await asyncio.sleep(0)
        impatient = [asyncio.create_task(hold(budget, 10, 0, log, "never", "b")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
        later = [asyncio.create_task(hold(budget, 10, 0, log, key, key)) for key in "acb"]
        await asyncio.gather(first, *impatient, *later, return_exceptions=True)
        return log

    assert asyncio.run(run()) == ["first", "c", "b", "a"]


def test_a_key_at_its_own_limit_waits_and_does_not_hold_up_others():
    served = in_virtual_time(ByteBudget(100, 1000, of_one_key=20), ("greedy", 6, 10), ("other", 3, 20))
    assert served == {"greedy": [0, 0, 1, 1, 2, 2], "other": [0, 1, 2]}


def test_a_request_larger_than_the_limit_of_a_key_is_served_alone():
    assert in_virtual_time(ByteBudget(100, 1000, of_one_key=20), ("a", 2, 90)) == {"a": [0, 1]}


def test_bytes_held_and_served_agree_with_a_plain_count_for_any_mix():
    async def run() -> None:
        budget, chance = ByteBudget(50, 1000, of_one_key=30), random.Random(3)
        held: dict[str, list[int]] = {"a": [], "b": [], "c": []}

        async def one(key: str, size: int) -> None:
            async with budget.share(size, key):
                held[key].append(size)
                assert sum(map(sum, held.values())) <= budget.held <= 50
                assert sum(held[key]) <= 30 or sum(held[key]) == size
                try:
                    await asyncio.sleep(chance.random() / 2000)
                finally:
                    held[key].remove(size)

        tasks = [asyncio.create_task(one(chance.choice("abc"), chance.randrange(0, 51))) for _ in range(400)]
        for _ in range(40):
            await asyncio.sleep(0.001)
            chance.choice(tasks).cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(r is None or isinstance(r, asyncio.CancelledError) for r in results)
        assert budget.held == 0

    asyncio.run(run())
