"""Many requests leave nothing behind: no memory, no descriptors, no tasks."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.serving.conftest import EACH_ALONE, Bench
from tests.serving.test_pipeline import at, frame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

WARM, SOAKED = 10_000, 200_000


def resident_bytes(pid: int | str) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def asked(bench: Bench, requests: int) -> None:
    async def client() -> None:
        for _ in range(requests // 16):
            assert not (await bench.pipeline.estimate(frame(), at())).pose.degraded

    await asyncio.gather(*(client() for _ in range(16)))


async def test_a_soak_leaves_nothing_behind(serve):
    bench = await serve(plans=EACH_ALONE)
    await asked(bench, WARM)
    processes = ["self", *bench.pids()]
    before = [resident_bytes(pid) for pid in processes]
    tasks, opened = len(asyncio.all_tasks()), descriptors()
    await asked(bench, SOAKED)
    grown = [resident_bytes(p) / b - 1 for p, b in zip(processes, before, strict=True)]
    print("growth of resident memory:", [f"{growth:.2%}" for growth in grown])
    assert max(grown) < 0.02
    assert len(asyncio.all_tasks()) == tasks
    assert descriptors() == opened
