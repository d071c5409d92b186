"""The synchronous face of an asynchronous class, derived from it: nothing is written twice.

A synchronous object holds its asynchronous twin and the private event loop the twin lives on. Coroutine methods
become plain ones, asynchronous iterators become generators, and whatever a method returns that has a
synchronous twin of its own is handed out as that twin.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from quiver.library.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

T = TypeVar("T")
Method = TypeVar("Method", bound="Callable[..., Any]")

_AT_ONCE = "__quiver_at_once__"


def at_once(method: Method) -> Method:
    """Mark a coroutine method that seldom waits: it begins on the caller's thread (`LoopThread.run`)."""
    setattr(method, _AT_ONCE, True)
    return method


class Synchronous:
    """The base of every derived class."""

    def __init__(self, loop: LoopThread, twin: Any) -> None:
        self._loop = loop
        self._twin = twin

    def __repr__(self) -> str:
        return repr(self._twin)


_TWINS: dict[type, type[Synchronous]] = {}


def open_synchronously(opening: Coroutine[Any, Any, Any]) -> Any:
    """Run an asynchronous opening on a loop of its own; returns the synchronous twin of what it opens."""
    loop = LoopThread()
    try:
        return _hand_out(loop, loop.run(opening))
    except BaseException:
        loop.close()
        raise


def synchronous(asynchronous: type, name: str) -> type[Synchronous]:
    """Derive the synchronous twin of a class. A coroutine method named `close` also ends the loop."""
    members: dict[str, Any] = {"__doc__": asynchronous.__doc__, "__module__": asynchronous.__module__}
    for attribute, value in inspect.getmembers_static(asynchronous):
        if attribute in _SPECIAL:
            spelling, method = _SPECIAL[attribute]
            members[spelling] = method
        elif not attribute.startswith("_"):
            members[attribute] = _derive(attribute, value)
    _TWINS[asynchronous] = type(name, (Synchronous,), members)
    return _TWINS[asynchronous]


def _derive(name: str, value: Any) -> Any:
    if isinstance(value, property):
        return property(lambda self: _hand_out(self._loop, getattr(self._twin, name)), doc=value.__doc__)
    if not inspect.isfunction(value):
        return value
    if name == "close":
        call = _closing(name)
    elif inspect.iscoroutinefunction(value):
        call = _waiting(value, begin=hasattr(value, _AT_ONCE))
    else:
        call = _calling(name)
    functools.update_wrapper(call, value)
    del call.__wrapped__  # type: ignore[attr-defined]  # it is no coroutine function any more
    call.__signature__ = inspect.signature(value)  # type: ignore[attr-defined]
    return call


def _waiting(method: Callable[..., Any], *, begin: bool) -> Callable[..., Any]:
    def call(self: Synchronous, /, *args: Any, **kwargs: Any) -> Any:
        return _hand_out(self._loop, self._loop.run(method(self._twin, *args, **kwargs), at_once=begin))

    return call


def _calling(name: str) -> Callable[..., Any]:
    def call(self: Synchronous, /, *args: Any, **kwargs: Any) -> Any:
        return _hand_out(self._loop, getattr(self._twin, name)(*args, **kwargs))

    return call


def _closing(name: str) -> Callable[..., Any]:
    def call(self: Synchronous, /) -> None:
        if self._loop.closed:
            return
        try:
            self._loop.run(getattr(self._twin, name)())
        finally:
            self._loop.close()

    return call


def _hand_out(loop: LoopThread, value: Any) -> Any:
    twin = _TWINS.get(type(value))
    if twin is not None:
        return twin(loop, value)
    return _iterate(loop, value) if hasattr(value, "__anext__") else value


def _iterate(loop: LoopThread, values: AsyncIterator[T]) -> Iterator[T]:
    while True:
        try:
            value = loop.run(_next(values))
        except StopAsyncIteration:
            return
        yield _hand_out(loop, value)


async def _next(values: AsyncIterator[T]) -> T:
    return await anext(values)


def _enter(self: Any) -> Any:
    return self


def _exit(self: Any, *_: object) -> None:
    self.close()


def _iter(self: Any) -> Any:
    return _iterate(self._loop, aiter(self._twin))


_SPECIAL: dict[str, tuple[str, Any]] = {
    "__aenter__": ("__enter__", _enter),
    "__aexit__": ("__exit__", _exit),
    "__aiter__": ("__iter__", _iter),
}
