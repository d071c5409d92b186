"""How many threads the numeric libraries use for work that the calling thread starts.

OpenMP keeps the number for each thread, so the threads of an embedding application keep theirs.
"""

from __future__ import annotations

import os
import sys
import threading  # noqa: TID251 - a lock around a number of the whole process
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

S = TypeVar("S")
T = TypeVar("T")

_READ_WHEN_LOADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LIMITING = threading.Lock()
_holders: list[Any] = []  # of the limit: the same one for each piece of work within it
_WORKS_ON_A_PART = ContextVar("works_on_a_part", default=False)  # each thread has its own
_THREADS: ContextVar[ThreadPoolExecutor | None] = ContextVar("threads", default=None)  # while `building`


def one_thread() -> None:
    """For queries: several of them use the cores better than one can. Does nothing before faiss is loaded."""
    _limit(1)


def every_core() -> None:
    """For building: as many threads as this process has cores, or as `OMP_NUM_THREADS` allows."""
    _limit(_allowed())


@contextmanager
def building() -> Iterator[None]:
    """Every core for what is built within it: the threads of `on_every_core` stay, which a small build would spend
    a part of its time to start, and products of NumPy's take one thread each."""
    every_core()
    with one_blas_thread(), ThreadPoolExecutor(_allowed(), "quiver-build", _begin_part) as pool:
        before = _THREADS.set(pool)
        try:
            yield
        finally:
            _THREADS.reset(before)


def on_every_core(function: Callable[[S], T], parts: Sequence[S]) -> Iterator[T]:
    """What a function gives for each part, in order; for building, where parts are work of NumPy's.

    Several parts at a time, each in one thread, as many as `every_core` allows; one after the other within a part
    of other work. Nothing is done before the first result is asked for; then work runs ahead of what is asked for.
    What the function raises is raised here.
    """
    threads = min(_allowed(), len(parts))
    if threads < 2 or _WORKS_ON_A_PART.get():
        yield from map(function, parts)
    elif (pool := _THREADS.get()) is not None:
        yield from pool.map(function, parts)
    else:
        with ThreadPoolExecutor(threads, "quiver-build", _begin_part) as fresh:
            yield from fresh.map(function, parts)


@contextmanager
def beside(function: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """For building: do something in one thread more while the block runs, which then leaves no core idle.

    What is yielded waits for the result; so does the end of the block. What the function raises, the result does.
    """
    with ThreadPoolExecutor(1, "quiver-build", _begin_part) as pool:
        yield pool.submit(function).result


def _begin_part() -> None:
    _WORKS_ON_A_PART.set(True)
    one_thread()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """For building, which divides its work itself: products of NumPy's take the calling thread alone within it.

    It holds for all of this process, and until the last of several that overlap ends. It takes milliseconds.
    """
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - for building alone

    with _LIMITING:
        _holders.append(_holders[0] if _holders else ThreadpoolController().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _LIMITING:
            last = _holders.pop()
            if not _holders:
                last.restore_original_limits()


@contextmanager
def loading_for_one_thread() -> Iterator[None]:
    """Numeric libraries that load within it use one thread, in all of this process, unless the user chose.

    The environment is as before afterwards, for processes that this one starts.
    """
    added = [name for name in _READ_WHEN_LOADED if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _limit(threads: int) -> None:
    faiss = sys.modules.get("faiss")
    if faiss is not None and hasattr(faiss, "omp_set_num_threads"):  # it may be on its way in, in another thread
        faiss.omp_set_num_threads(threads)


def _allowed() -> int:
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdecimal() and int(limit) else _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
