"""Workers killed and stopped over and over while clients ask over REST and gRPC."""

import os
import signal
import time

import numpy as np
import pytest

from tests.chaos.clients import Question, client_of
from tests.chaos.crowd import Crowd
from tests.chaos.running import Running, scaled, until

CLIENTS = 32

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


async def harmed(
    service: Running, crowd: Crowd, times: int, number: signal.Signals, *, is_hurried: bool
) -> None:
    """Send a signal to a worker that is up, `times` times, while the crowd asks.

    The next one is harmed when all are up again; in a hurry, every other time when most are.
    """
    rng = np.random.default_rng(0)
    workers = len(await service.pids_up())

    async def is_noticed() -> bool:
        return await service.restarts() > before

    async def are_up() -> bool:
        return len(await service.pids_up()) == workers

    async def are_most_up() -> bool:
        return len(await service.pids_up()) > workers / 2

    async with crowd.asking():
        for before in range(times):
            if is_hurried and before % 2:
                await until(are_most_up)
            else:
                await until(are_up)
                await crowd.answered(CLIENTS)
            up = await service.pids_up()
            os.kill(up[rng.integers(len(up))], number)
            await until(is_noticed)
        await until(are_up)
        await crowd.answered(CLIENTS)


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_hundred_kills_under_32_clients_lose_nothing(launch, replicas):
    kills = scaled(100, least=5)
    async with launch("--wait-s", "0.01", "--replicas", str(replicas)) as service:
        crowd = Crowd(service, CLIENTS)
        await harmed(service, crowd, kills, signal.SIGKILL, is_hurried=True)
        assert await service.restarts() == kills
        assert await service.metric('queue_depth{model="hand"}') == 0
        assert await service.end() == 0
    crowd.check()
    assert set(crowd.codes) <= {"whole", "degraded", "unavailable", "overloaded"}
    assert crowd.codes["whole"] > 0
    assert crowd.codes["degraded"] > 0
    print(f"{kills} kills, {replicas} replica(s): {crowd.sent} requests, {dict(crowd.codes)}")


async def test_stopped_workers_cost_no_caller_its_deadline(launch):
    stops, deadline_s = scaled(15, least=3), 5.0
    async with launch("--wait-s", "0.01", "--late-s", "0.3", "--hung-s", "1") as service:
        crowd = Crowd(service, CLIENTS, lambda x_mm: Question(x_mm, timeout_s=deadline_s))
        await harmed(service, crowd, stops, signal.SIGSTOP, is_hurried=False)
        assert await service.end() == 0
    crowd.check()
    assert set(crowd.codes) == {"whole", "degraded"}
    slowest_ms = crowd.quantile_ms(1.0, "whole", "degraded")
    assert slowest_ms < 1e3 * deadline_s
    print(f"{stops} stops: {dict(crowd.codes)}, the slowest answer took {slowest_ms:.0f} ms")


@pytest.mark.parametrize("kind", [0, 1], ids=["rest", "grpc"])
async def test_a_member_that_stopped_is_left_out_just_before_the_deadline(launch, kind):
    """Patience would last for longer than the caller has."""
    async with launch("--late-s", "20", "--hung-s", "40", drain_grace_s=1) as service:
        os.kill((await service.pids_up())[0], signal.SIGSTOP)
        client = client_of(kind, service.http_port, service.grpc_port)
        begin_s = time.monotonic()
        reply = await client.ask(Question(7.0, timeout_s=1.0), "hurried")
        took_s = time.monotonic() - begin_s
        await client.close()
    assert reply.code == "degraded"
    assert took_s < 1.0
    print(f"deadline 1 s: degraded after {took_s:.3f} s")
