"""An idle service waits; it does not look around."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from tests.serving.conftest import EACH_ALONE
from tests.serving.test_pipeline import at, frame

WATCHED_S = 2.0


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def wake_ups(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)


async def test_an_idle_service_uses_less_than_one_percent_of_a_core(serve):
    bench = await serve(plans=EACH_ALONE)
    await bench.pipeline.estimate(frame(), at())
    workers = bench.pids()
    workers_s = sum(map(cpu_s, workers))
    woken = sum(map(wake_ups, workers))
    own_s = time.process_time()
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), WATCHED_S)
    used_s = time.process_time() - own_s + sum(map(cpu_s, workers)) - workers_s
    assert used_s < 0.01 * WATCHED_S
    assert sum(map(wake_ups, workers)) - woken <= len(workers)  # one, if it was just falling asleep
