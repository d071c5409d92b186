"""The derived synchronous face: signatures, iterators, twins of results, errors and closing."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from typing import Self

import pytest

from quiver.library.sync import open_synchronously, synchronous


class AsyncChild:
    def __init__(self, name: str) -> None:
        self.name = name

    async def greet(self, greeting: str = "hello") -> str:
        """Say it."""
        await asyncio.sleep(0)
        return f"{greeting} {self.name}"


class AsyncParent:
    """The parent."""

    def __init__(self) -> None:
        self.closed_in: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.closed_in = threading.current_thread().name

    @property
    def answer(self) -> int:
        """Forty-two."""
        return 42

    def child(self, name: str) -> AsyncChild:
        return AsyncChild(name)

    async def make(self, name: str) -> AsyncChild:
        return AsyncChild(name)

    async def numbers(self, end: int) -> AsyncIterator[int]:
        for number in range(end):
            await asyncio.sleep(0)
            yield number

    async def __aiter__(self) -> AsyncIterator[AsyncChild]:
        yield AsyncChild("only")

    async def fail(self) -> None:
        raise KeyError("told you")


Child = synchronous(AsyncChild, "Child")
Parent = synchronous(AsyncParent, "Parent")


async def opening() -> AsyncParent:
    return AsyncParent()


def test_coroutine_methods_become_plain_methods() -> None:
    with open_synchronously(opening()) as parent:
        assert type(parent) is Parent
        assert parent.child("Ada").greet() == "hello Ada"
        assert parent.make("Ada").greet(greeting="good day") == "good day Ada"
        assert type(parent.make("Ada")) is Child


def test_properties_and_iterators_are_derived() -> None:
    with open_synchronously(opening()) as parent:
        assert parent.answer == 42
        assert list(parent.numbers(3)) == [0, 1, 2]
        assert [child.greet() for child in parent] == ["hello only"]


def test_signatures_names_and_docstrings_are_kept() -> None:
    assert inspect.signature(Child.greet) == inspect.signature(AsyncChild.greet)
    assert Child.greet.__doc__ == "Say it."
    assert Child.greet.__name__ == "greet"
    assert not inspect.iscoroutinefunction(Child.greet)
    assert (Parent.__doc__, Parent.__name__) == ("The parent.", "Parent")


def test_errors_reach_the_caller_unchanged() -> None:
    with open_synchronously(opening()) as parent, pytest.raises(KeyError, match="told you"):
        parent.fail()


def test_closing_runs_on_the_loop_ends_its_thread_and_may_be_repeated() -> None:
    before = threading.active_count()
    parent = open_synchronously(opening())
    assert threading.active_count() == before + 1
    parent.close()
    parent.close()
    assert parent._twin.closed_in == "quiver-loop"
    assert threading.active_count() == before


def test_a_closed_object_says_so() -> None:
    with open_synchronously(opening()) as parent:
        child = parent.child("Ada")
    with pytest.raises(RuntimeError, match="closed"):
        child.greet()


def test_an_opening_that_fails_leaves_no_thread_behind() -> None:
    async def failing() -> None:
        raise OSError("no such place")

    before = threading.active_count()
    with pytest.raises(OSError, match="no such place"):
        open_synchronously(failing())
    assert threading.active_count() == before


def test_several_threads_share_one_object() -> None:
    with open_synchronously(opening()) as parent:
        results: list[str] = []
        threads = [
            threading.Thread(target=lambda i=i: results.append(parent.child(str(i)).greet())) for i in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [f"hello {i}" for i in range(8)]
