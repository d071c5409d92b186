"""Whole runs: one seed in, a verdict out."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from unittest.mock import patch

from quiver.engine.native import reservation
from quiver.engine.native.engine import NativeEngine
from quiver.engine.native.settings import NativeSettings
from quiver.objectstore.retrying_store import RetryingStore
from quiver.service.catalog import CatalogSettings
from quiver.storage.cache.block_cache import BlockCache
from quiver.storage.commit_log import LogSettings
from quiver.storage.segment_builder import EXACT_FLOATS
from simulation import registers, vectors
from simulation.catalog_judge import judge_catalog
from simulation.catalog_node import CatalogNode
from simulation.catalog_workload import CatalogWorkload
from simulation.checkers.history import Violation
from simulation.clone_judge import Watch, judge_clones
from simulation.clone_workload import CloneWorkload
from simulation.conditional_workload import ConditionalWorkload
from simulation.eager import probing
from simulation.faults import Faults
from simulation.judge import judge
from simulation.text_workload import TextWorkload
from simulation.workload import Plan, Workload
from simulation.world import Node, World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from quiver.model.runtime import Runtime
    from quiver.objectstore.store import ObjectStore
    from simulation.replica import Replica
    from simulation.timeline import Timeline


@dataclass
class Report:
    """What one run did. `problem` is None when every check passed."""

    seed: int
    problem: str | None
    digest: str
    requests: int
    unknown: int
    seconds: float
    checks: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    crashed_at: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Bias:
    """Changes to what the seed draws, to make one kind of bug likely."""

    faults: Callable[[Faults], Faults] | None = None
    plan: Callable[[Plan], Plan] | None = None
    min_age: float | None = None


NO_BIAS = Bias()


def draw_log_settings(world: World) -> LogSettings:
    return LogSettings(
        group_bytes=world.random.choice([200, 16 << 20]),
        queue_bytes=world.random.choice([400, 128 << 20]),
        deadline=world.random.uniform(3, 40),
        session_slots=world.random.choice([4, 32, 4096]),
        first_delay=0.02,
    )


def draw_min_age(world: World, bias: Bias) -> float:
    drawn = world.random.choice([0.0, world.random.uniform(0, 10)])
    return drawn if bias.min_age is None else bias.min_age


def run_registers(seed: int, bias: Bias = NO_BIAS) -> Report:
    """The commit log under a map of registers."""
    with biased_world(seed, bias) as world:
        settings, min_age = draw_log_settings(world), draw_min_age(world, bias)

        async def open_replica(node: Node) -> Replica:
            return registers.RegisterReplica(node, settings, min_age)

        return run_workload(world, bias, open_replica, lambda: registers.replay(world.backing))


def draw_native_settings(world: World, bias: Bias) -> NativeSettings:
    """Thresholds so small that a handful of writes cross them."""
    random = world.random
    return NativeSettings(
        flush_rows=random.choice([2, 8, 1000]),
        flush_slots=random.choice([2, 6, 1000]),
        tail_limit=random.choice([3, 20]),
        tier_fanout=2,
        merge_bytes=random.choice([1, 1 << 20]),
        garbage_age=draw_min_age(world, bias),
        staleness=random.choice([0.2, 2.0, 20.0]),
        memory_bytes=random.choice([1 << 10, 1 << 20]),
        exact_floats=random.choice([0, EXACT_FLOATS, EXACT_FLOATS]),
        background=random.random() < 0.5,
        log=draw_log_settings(world),
    )


def draw_cache(world: World, store: ObjectStore, runtime: Runtime) -> BlockCache | None:
    """A node's, small or large; some nodes have none, and read segments whole."""
    if store.resident or world.random.random() < 0.3:
        return None
    return BlockCache(store, runtime, world.random.choice([1 << 16, 1 << 24]))


def run_engine(seed: int, bias: Bias = NO_BIAS, clients: type[Workload] = Workload) -> Report:
    """The native engine: one index, on every node that is up."""
    with biased_world(seed, bias) as world:
        spec, settings = vectors.draw_spec(world.random), draw_native_settings(world, bias)

        async def open_replica(node: Node) -> Replica:
            store = RetryingStore(node.store, node.runtime)
            engine = NativeEngine(store, node.runtime, settings, cache=draw_cache(world, store, node.runtime))
            return vectors.VectorReplica(await engine.open(vectors.INDEX_ID, spec), world.random)

        def states() -> Timeline:
            lost = vectors.dangling(world.backing)
            if lost:
                raise Violation(f"the newest checkpoint names objects that are gone: {lost}")
            return vectors.replay(world.backing, spec.dimension)

        with nullcontext() if settings.exact_floats else probing():
            return run_workload(world, bias, open_replica, states, clients)


def run_conditional(seed: int, bias: Bias = NO_BIAS) -> Report:
    """The native engine with conditional writes. A load that died halfway is given up soon."""
    with patch.object(reservation, "_AT_WORK", 10.0):
        return run_engine(seed, bias, ConditionalWorkload)


def run_texts(seed: int, bias: Bias = NO_BIAS) -> Report:
    """The same with a text field that comes and goes, and is searched; shorter."""

    def brief(plan: Plan) -> Plan:
        plan = replace(plan, duration=plan.duration / 2, think=min(plan.think, 0.5), loads=0.1)
        return plan if bias.plan is None else bias.plan(plan)

    with patch.object(reservation, "_AT_WORK", 10.0):
        return run_engine(seed, replace(bias, plan=brief), TextWorkload)


def biased_world(seed: int, bias: Bias) -> World:
    world = World(seed)
    if bias.faults is not None:
        world.faults = world.backing.faults = bias.faults(world.faults)
    return world


def run_workload(
    world: World,
    bias: Bias,
    open_replica: Callable[[Node], Coroutine[Any, Any, Replica]],
    replay: Callable[[], Timeline],
    clients: type[Workload] = Workload,
) -> Report:
    """Clients that write and read keys, judged by the replayed log and the loads."""
    workload = clients(world, draw_plan(world, bias), open_replica)
    return run_and_judge(world, workload, lambda: judge(workload.history, replay()))


def draw_plan(world: World, bias: Bias) -> Plan:
    plan = Plan.draw(world)
    return plan if bias.plan is None else bias.plan(plan)


def run_and_judge(world: World, workload: Workload, verdict: Callable[[], Counter[str]]) -> Report:
    """Run and judge; never raises for what the system under test did wrong."""
    problem, checks = None, Counter()
    try:
        world.run(workload.run())
        unexpected = world.unhandled()
        if unexpected:
            problem = f"in the background: {unexpected[0]!r}"
        else:
            checks = verdict()
    except Exception as violation:  # whatever it is, it should not have come out of the system
        problem = f"{type(violation).__name__}: {violation}"
    return Report(
        seed=world.seed,
        problem=problem,
        digest=world.events.digest(),
        requests=workload.history.requests,
        unknown=workload.history.unknown,
        seconds=world.loop.time(),
        checks=checks,
        reached=world.reached,
        crashed_at=world.crashed_at,
    )


def run_catalog(seed: int, bias: Bias = NO_BIAS) -> Report:
    """The whole service: names that come and go and come back, and the vectors under them."""
    with biased_world(seed, bias) as world:
        native = draw_native_settings(world, bias)
        catalog = CatalogSettings(draw_log_settings(world), checkpoint_slots=world.random.choice([1, 3, 10]))

        async def open_node(node: Node) -> CatalogNode:
            return CatalogNode(node, catalog, native, patrols=True)

        workload = CatalogWorkload(world, draw_plan(world, bias), open_node)
        return run_and_judge(world, workload, lambda: judge_catalog(workload.history, world.backing))


def run_clones(seed: int, bias: Bias = NO_BIAS) -> Report:
    """The whole service with snapshots and clones, of which garbage collection must take nothing."""
    with biased_world(seed, bias) as world:
        native = draw_native_settings(world, bias)
        catalog = CatalogSettings(draw_log_settings(world), checkpoint_slots=world.random.choice([1, 3, 10]))
        watch = Watch(world.backing)

        async def open_node(node: Node) -> CatalogNode:
            return CatalogNode(node, catalog, native)

        def verdict() -> Counter[str]:
            if watch.lost:
                raise Violation(f"removed: {watch.lost[0]}")
            return judge_clones(workload.history, world.backing)

        plan = draw_plan(world, bias)
        workload = CloneWorkload(world, replace(plan, think=min(plan.think, 0.3)), open_node)
        return run_and_judge(world, workload, verdict)


def run_upkeep(seed: int) -> Report:
    """The native engine with many nodes that flush, compact and collect at once and stall in the middle of it."""
    return run_engine(seed, Bias(stalling_upkeep, many_maintainers, min_age=0.0))


def stalling_upkeep(faults: Faults) -> Faults:
    return Faults(stall_upkeep=0.2, slow=0.05, exists_after_own=faults.exists_after_own)


def many_maintainers(plan: Plan) -> Plan:
    return replace(plan, nodes=8, clients=4, think=0.3, maintenance=0.3, patience=20.0, duration=60.0)


SCENARIOS: dict[str, Callable[[int], Report]] = {
    "registers": run_registers,
    "engine": run_engine,
    "conditional": run_conditional,
    "texts": run_texts,
    "upkeep": run_upkeep,
    "catalog": run_catalog,
    "clones": run_clones,
}
"""The correct protocol, by name: under every fault, and biased towards what goes wrong rarely."""
