"""Workers harmed while 32 clients ask over REST and gRPC; every answer is checked.

`CHAOS_SCALE=0.05 pytest -m slow -s tests/chaos/test_wire_workers.py` is a short run.
"""

import asyncio
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.live import Crowd, Live, RestClient, RpcClient, live, scaled, signalled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

DEADLINE_S = 5.0


async def restarts(running: Live) -> float:
    return await asyncio.to_thread(running.metric, "worker_restarts_total")


async def test_kills_mid_batch_lose_nothing_and_falsify_nothing(tmp_path: Path) -> None:
    kills = scaled(100)
    rng = np.random.default_rng(0)
    with live(tmp_path) as running:
        crowd = Crowd(running, clients=32)
        async with crowd.asking():
            for done in range(kills):
                await running.up(whole=False)
                await asyncio.sleep(float(rng.uniform(0.05, 0.3)))
                pids = running.workers()
                signalled(pids[rng.integers(len(pids))], signal.SIGKILL)
                while await restarts(running) <= done:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await running.up(whole=True)
            await asyncio.sleep(1.0)
        assert crowd.outcomes.total() == crowd.sent
        assert set(crowd.outcomes) <= {"whole", "degraded", "refused"}
        assert crowd.outcomes["whole"] > 0
        assert running.metric("in_flight") == 0
        assert running.metric("queue_depth") == 0
        print(f"\nkills: {kills} under 32 clients, {crowd.sent} requests, {dict(crowd.outcomes)}")


async def test_a_stopped_member_is_left_out_within_the_deadline(tmp_path: Path) -> None:
    with live(tmp_path) as running:
        crowd = Crowd(running, clients=8, timeout_s=DEADLINE_S)
        async with crowd.asking():
            for _ in range(scaled(10)):
                before = crowd.outcomes["degraded"]
                pids = running.workers()
                signalled(pids[0], signal.SIGSTOP)
                begin_s = time.monotonic()
                while crowd.outcomes["degraded"] == before:
                    assert time.monotonic() - begin_s < 2 * DEADLINE_S, crowd.outcomes
                    await asyncio.sleep(0.02)
                signalled(pids[0], signal.SIGKILL)
                await asyncio.sleep(0.2)
                await running.up(whole=True)
        assert crowd.outcomes.total() == crowd.sent
        assert set(crowd.outcomes) <= {"whole", "degraded"}
        slowest_s = max(max(times) for times in crowd.took_s.values())
        assert slowest_s < DEADLINE_S
        print(f"\nstopped member: {dict(crowd.outcomes)}, slowest answer {slowest_s:.2f} s")


async def test_who_cancels_costs_no_batch_mate_its_answer(tmp_path: Path) -> None:
    left = 0
    with live(tmp_path) as running:
        crowd = Crowd(running, clients=6)
        async with crowd.asking(), RpcClient(running) as caller:
            for turn in range(scaled(500, least=20)):
                async with RestClient(running) as quitter:
                    await quitter.send(turn % 8)
                    call = caller.stub.Estimate(caller.request(turn % 8))
                    await asyncio.sleep(0.001 * (turn % 10))
                    left += call.cancel()
        assert set(crowd.outcomes) == {"whole"}
        assert crowd.outcomes.total() == crowd.sent
        cancelled = running.metric("rejected_total", reason="cancelled")
        assert cancelled > 0
        await asyncio.sleep(0.5)
        assert running.metric("in_flight") == 0
        print(f"\ncancelled: {cancelled:g} in the engine, mates {dict(crowd.outcomes)}")
