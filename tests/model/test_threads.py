"""Thread limits of the numeric libraries: of the calling thread only, or of libraries that load under a limit."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import pytest
import threadpoolctl

from cli.running import environment
from quiver.model.runtime import SystemRuntime
from quiver.model.threads import (
    beside,
    building,
    every_core,
    loading_for_one_thread,
    on_every_core,
    one_blas_thread,
    one_thread,
)


@pytest.fixture(autouse=True)
def caller_keeps_its_threads() -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    yield
    assert faiss.omp_get_max_threads() == 3
    faiss.omp_set_num_threads(before)


def test_a_thread_limits_itself_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")

    def inside() -> list[int]:
        seen = []
        for limit in (one_thread, every_core, one_thread):
            limit()
            seen.append(faiss.omp_get_max_threads())
        return seen

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == [1, 7, 1]


@pytest.mark.parametrize("value", ["", "0", "many", "4,2"])
def test_without_a_usable_limit_building_takes_every_core(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)

    def inside() -> int:
        every_core()
        return int(faiss.omp_get_max_threads())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(inside).result() == len(os.sched_getaffinity(0))


def test_offloaded_work_starts_with_one_thread_even_after_building() -> None:
    runtime = SystemRuntime(threads=1)

    async def scenario() -> list[int]:
        first = await runtime.offload(faiss.omp_get_max_threads)
        await runtime.offload(every_core)
        return [first, await runtime.offload(faiss.omp_get_max_threads)]

    try:
        assert asyncio.run(scenario()) == [1, 1]
    finally:
        runtime.close()


@pytest.mark.parametrize("allowed", ["1", "2", "5"])
def test_parts_are_worked_on_side_by_side_and_come_out_in_order(
    monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    together = threading.Barrier(int(allowed), timeout=60)

    def work(part: int) -> tuple[int, int]:
        together.wait()
        return part, threading.get_ident()

    done = list(on_every_core(work, range(4 * int(allowed))))
    assert [part for part, _ in done] == list(range(4 * int(allowed)))
    assert len({thread for _, thread in done}) == int(allowed)


def test_each_part_has_one_thread_of_the_numeric_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert list(on_every_core(lambda _: faiss.omp_get_max_threads(), range(6))) == [1] * 6


@pytest.mark.parametrize("allowed", ["1", "2"])
def test_what_a_part_raises_is_raised_in_its_place(monkeypatch: pytest.MonkeyPatch, allowed: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    results = on_every_core(lambda part: 6 // part, [3, 2, 0, 1])
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_parts_of_a_part_are_worked_on_in_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")

    def work(_: int) -> bool:
        return set(on_every_core(lambda _: threading.get_ident(), range(6))) == {threading.get_ident()}

    assert all(on_every_core(work, range(6)))
    assert threading.get_ident() not in on_every_core(lambda _: threading.get_ident(), range(6))


def test_nothing_is_done_before_it_is_asked_for() -> None:
    done: list[int] = []
    results = on_every_core(done.append, [1, 2, 3])
    assert not done
    next(results)
    assert 1 in done


def test_threads_stay_as_long_as_something_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")

    def inside() -> set[int]:
        with building():
            used = [set(on_every_core(lambda _: threading.get_ident(), range(8))) for _ in range(5)]
            with pytest.raises(ZeroDivisionError):
                list(on_every_core(lambda part: 6 // part, [3, 0]))
            used.append(set(on_every_core(lambda _: threading.get_ident(), range(8))))
        return set.union(*used)

    with ThreadPoolExecutor(1) as pool:
        used = pool.submit(inside).result()
    assert 1 <= len(used) <= 2
    assert not used & {thread.ident for thread in threading.enumerate()}


def test_the_environment_is_as_before_and_what_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    before = dict(os.environ)
    with loading_for_one_thread():
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("1", "5")
    assert dict(os.environ) == before


def test_a_worker_process_uses_one_thread_for_each_query() -> None:
    program = (
        "import os\n"
        "os.environ.update(QUIVER_ACCESS_KEY_ID='key', QUIVER_SECRET_ACCESS_KEY='a-secret-of-a-sensible-length')\n"
        "from quiver.server.entry import create\n"
        "create()\n"
        "import faiss\n"
        "print(faiss.omp_get_max_threads(), 'OMP_NUM_THREADS' in os.environ)\n"
    )
    given = {name: value for name, value in environment().items() if "NUM_THREADS" not in name}
    done = subprocess.run([sys.executable, "-c", program], env=given, capture_output=True, text=True, check=True)
    assert done.stdout == "1 False\n"


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_until_the_last_of_those_who_asked_for_it_ends() -> None:
    with threadpoolctl.threadpool_limits(3, "blas"):
        assert blas_threads() == {3}
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        second.__enter__()
        assert blas_threads() == {1}
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {3}


def test_blas_has_its_threads_again_after_a_failure() -> None:
    with threadpoolctl.threadpool_limits(3, "blas"):
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            _ = 1 / len(blas_threads() - {1})
        assert blas_threads() == {3}


def test_work_beside_runs_while_the_block_does_and_in_one_thread() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def aside() -> tuple[int, int, list[int]]:
        begun.set()
        assert go_on.wait(10)
        used = set(on_every_core(lambda _: threading.get_ident(), range(8)))
        return threading.get_ident(), faiss.omp_get_max_threads(), list(used)

    with beside(aside) as result:
        assert begun.wait(10)
        go_on.set()
    own, limit, used = result()
    assert own != threading.get_ident()
    assert (limit, used) == (1, [own])


def test_the_end_of_the_block_waits_for_work_beside_and_the_result_raises_what_it_raised() -> None:
    done = threading.Event()

    def aside() -> None:
        threading.Event().wait(0.05)
        done.set()
        raise ValueError("beside")

    with pytest.raises(KeyError), beside(aside):
        raise KeyError
    assert done.is_set()
    with beside(aside) as result:
        pass
    with pytest.raises(ValueError, match="beside"):
        result()
