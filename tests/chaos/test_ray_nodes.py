"""Actors and whole nodes of a Ray cluster lost and added under load; `pytest -m slow -s`."""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.pipeline_crowd import Crowd
from tests.serving.conftest import Bench
from tests.serving.engines import pids
from tests.serving.fakes import until
from tests.serving.ray_engines import ray_engine_of
from tests.serving.ray_nodes import Nodes, nodes
from v2vpose.serving.ports import Engine

CLIENTS = 8
CORES = 6  # of a node: as many actors as two replicas have, and as many again
ACTORS = 2  # of a replica: one holds members 1 and 3, one 2 and 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    """A head without room for members: nodes come and go, the front ends stay."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with nodes(head_cpus=0) as cluster:
        yield cluster


@asynccontextmanager
async def load(bench: Bench) -> AsyncIterator[Crowd]:
    """Clients that ask until the end of the block; then nobody may be without an outcome."""
    crowd = Crowd(bench, deadline_s=10.0)
    async with asyncio.TaskGroup() as group:
        for seed in range(CLIENTS):
            group.create_task(crowd.client(seed))
        yield crowd
        crowd.stop.set()
    assert crowd.outcomes.total() == crowd.sent
    assert set(crowd.outcomes) <= {"whole", "degraded", "unavailable", "overloaded"}


async def recovered(engine: Engine, crowd: Crowd, what: str, harm: Callable[[], None]) -> None:
    """Do harm under load, and wait until every actor is up again; print how long it took."""
    began_s, before = time.monotonic(), dict(crowd.outcomes)
    await asyncio.to_thread(harm)
    await until_s(90, lambda: not all(worker.up for worker in engine.workers()))
    noticed_s = time.monotonic() - began_s
    await until_s(90, lambda: all(worker.up for worker in engine.workers()))
    again_s = time.monotonic() - began_s
    meanwhile = {key: n - before.get(key, 0) for key, n in crowd.outcomes.items()}
    print(f"{what}: noticed after {noticed_s:.2f} s, whole after {again_s:.1f} s; {meanwhile}")
    answered = sum(crowd.outcomes[key] for key in ("whole", "degraded"))
    await until(lambda: sum(crowd.outcomes[key] for key in ("whole", "degraded")) > answered)


async def until_s(limit_s: float, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_actors_and_nodes_are_lost_and_added_under_load(cluster, serve):
    first, second = cluster.add(cpus=CORES), cluster.add(cpus=CORES)
    name = f"fake/{uuid.uuid4().hex}"
    engine = ray_engine_of(cluster.address, name, replicas=2, actors=ACTORS)
    bench = await serve(engine=lambda _: engine)
    async with load(bench) as crowd:
        await until(lambda: crowd.outcomes["whole"] > 20)
        victim = pids(engine)[0]
        await recovered(engine, crowd, "an actor", lambda: os.kill(victim, signal.SIGKILL))
        await recovered(engine, crowd, "a node of two", lambda: cluster.kill(second))
        third = await asyncio.to_thread(cluster.add, cpus=CORES)
        await recovered(engine, crowd, "the other node, one added", lambda: cluster.kill(first))
    print(dict(crowd.outcomes))
    await bench.pipeline.stop(grace_s=5)
    cluster.kill(third)


async def test_two_front_ends_replace_a_version_and_lose_nothing(cluster, serve):
    node = cluster.add(cpus=2 * ACTORS)  # both versions at once
    name = f"fake/{uuid.uuid4().hex}"

    def engine(version) -> Engine:
        return ray_engine_of(cluster.address, f"{name}/{version.manifest.version}", actors=ACTORS)

    benches = [await serve(version="1", engine=engine) for _ in range(2)]
    async with load(benches[0]) as one, load(benches[1]) as two:
        for bench, crowd in zip(benches, (one, two), strict=True):
            before = crowd.outcomes["whole"]
            await until(lambda: crowd.outcomes["whole"] > before + 20)  # noqa: B023
            await bench.pipeline.reload("hand", "2")
        before = one.outcomes["whole"]
        await until(lambda: one.outcomes["whole"] > before + 20)
    assert set(one.outcomes) | set(two.outcomes) == {"whole"}
    assert [bench.pipeline.health()[0].version for bench in benches] == ["2", "2"]
    for bench in benches:
        await bench.pipeline.stop(grace_s=5)
    cluster.kill(node)
