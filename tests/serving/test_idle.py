"""An idle service waits; it does not look around."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path

from tests.serving.conftest import EACH_ALONE
from tests.serving.test_pipeline import at, frame

WATCHED_S = 1.0


def cpu_s(pid: int) -> float:
    """Return what all threads of a process have used, those that ended too, to the nanosecond."""
    return time.clock_gettime((~pid << 3) | 2)  # its CPU clock: clock_getcpuclockid(3)


def wake_ups(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)


async def test_an_idle_service_uses_less_than_one_percent_of_a_core(serve):
    bench = await serve(plans=EACH_ALONE)
    await bench.pipeline.estimate(frame(), at())
    workers = bench.pids()

    async def watch() -> tuple[float, int]:
        """Return the CPU seconds used, and how often a worker woke."""
        woken, used_s = sum(map(wake_ups, workers)), sum(map(cpu_s, (os.getpid(), *workers)))
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), WATCHED_S)
        now_s = sum(map(cpu_s, (os.getpid(), *workers)))
        return now_s - used_s, sum(map(wake_ups, workers)) - woken

    # What looks around does so in every window; threads of earlier tests end in one of them.
    windows = [await watch() for _ in range(4)]
    assert min(used_s for used_s, _ in windows) < 0.01 * WATCHED_S
    assert min(woken for _, woken in windows) == 0
