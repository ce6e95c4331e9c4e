"""Workers killed and stopped over and over while clients ask; `pytest -m slow tests/chaos`."""

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.serving.conftest import EACH_ALONE, Bench
from tests.serving.fakes import SLEEP, until
from tests.serving.test_pipeline import at, frame
from v2vpose.errors import OverloadedError, UnavailableError
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.ports import WorkerHealth

CLIENTS = 32
TWO_REPLICAS = (*EACH_ALONE, *(WorkerPlan(1, plan.epochs) for plan in EACH_ALONE))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Crowd:
    """Clients that ask one request after another, and check every answer."""

    bench: Bench
    deadline_s: float | None = None
    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def client(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not self.stop.is_set():
            self.sent += 1
            self.outcomes[await self.request(float(rng.uniform(-100, 100)))] += 1

    async def request(self, x_mm: float) -> str:
        until_s = None if self.deadline_s is None else time.monotonic() + self.deadline_s
        try:
            estimate = await self.bench.pipeline.estimate(
                frame(SLEEP, 0.002), at(x_mm), deadline_s=until_s
            )
        except (UnavailableError, OverloadedError) as error:
            await asyncio.sleep(0.01)  # as a client that was told to come again
            return error.code
        pose = estimate.pose
        expected_mm = x_mm + np.mean(pose.answered)
        np.testing.assert_allclose(pose.keypoints_mm[:, 0], expected_mm, atol=1e-9)
        return "degraded" if pose.degraded else "whole"


async def harmed(
    bench: Bench, crowd: Crowd, times: int, number: signal.Signals, *, one_at_a_time: bool
) -> None:
    """Send a signal to a worker that is up, `times` times, while the crowd asks.

    The next one is harmed when the last one's end was noticed, or when it is up again.
    """
    rng = np.random.default_rng(0)

    def workers() -> list[WorkerHealth]:
        return list(bench.pipeline.health()[0].workers)

    async with asyncio.TaskGroup() as group:
        for seed in range(CLIENTS):
            group.create_task(crowd.client(seed))
        for before in range(times):
            await until(lambda: any(worker.up for worker in workers()))
            up = [worker.pid for worker in workers() if worker.up and worker.pid is not None]
            os.kill(up[rng.integers(len(up))], number)
            await until(lambda: sum(w.restarts for w in workers()) > before)  # noqa: B023
            if one_at_a_time:
                await until(lambda: all(worker.up for worker in workers()))
        await until(lambda: all(worker.up for worker in workers()))
        crowd.stop.set()


@pytest.mark.parametrize("plans", [EACH_ALONE, TWO_REPLICAS])
async def test_a_hundred_kills_under_32_clients_lose_nothing(serve, plans):
    bench = await serve(plans=plans)
    crowd = Crowd(bench)
    await harmed(bench, crowd, 100, signal.SIGKILL, one_at_a_time=False)
    assert crowd.outcomes.total() == crowd.sent
    assert crowd.outcomes["whole"] > 0
    assert crowd.outcomes["degraded"] > 0
    assert bench.value("worker_restarts_total") == 100
    assert bench.value("queue_depth", model="hand") == 0
    print(dict(crowd.outcomes))


async def test_stopped_workers_cost_no_caller_its_deadline(serve):
    patience = Patience(late_s=0.3, late_factor=0, hung_s=1.0, hung_factor=0)
    bench = await serve(plans=EACH_ALONE, patience=patience)
    crowd = Crowd(bench, deadline_s=5.0)
    await harmed(bench, crowd, 15, signal.SIGSTOP, one_at_a_time=True)
    assert crowd.outcomes.total() == crowd.sent
    assert crowd.outcomes["degraded"] > 0
    assert set(crowd.outcomes) <= {"whole", "degraded"}
    print(dict(crowd.outcomes))
