"""What serving costs next to the bare members; on members that sleep, so that cores are free.

The figures that count are printed (`-s`) on an idle machine; the bounds leave room for a busy one.
"""

import asyncio
import time

import numpy as np
import pytest

from tests.serving.conftest import ALL_IN_ONE, Bench
from tests.serving.fakes import load_slow
from tests.serving.test_pipeline import at, frame
from v2vpose.serving.pipeline import ServingPolicy
from v2vpose.serving.scheduler import BatchPolicy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BATCH_S = 0.06  # three members of 20 ms, one after the other
BATCH_SIZE = 4
BATCHES = 60


class SlowLoad:
    """Loads members that take a third of a batch's time."""

    def __call__(self, epoch: int, *, threads: int) -> object:
        return load_slow(BATCH_S / 3, epoch, threads=threads)


@pytest.fixture
async def bench(serve) -> Bench:
    policy = ServingPolicy(batch=BatchPolicy(BATCH_SIZE, max_queue_delay_s=1.0))
    served: Bench = await serve(plans=ALL_IN_ONE, load=SlowLoad(), policy=policy)
    return served


async def test_at_saturation_95_percent_of_the_bare_loop_is_served(bench):
    async def client() -> None:
        for _ in range(BATCHES // 4):
            await bench.pipeline.estimate(frame(), at())

    begin_s = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(4 * BATCH_SIZE)))
    served_s = time.perf_counter() - begin_s
    requests = BATCHES * BATCH_SIZE
    mean_batch_s = bench.value("stage_seconds_sum", stage="forward") / requests
    share = BATCHES * mean_batch_s / served_s
    print(f"{share:.1%} of the bare loop")
    assert bench.value("batch_size_count") < 1.05 * BATCHES
    assert share > 0.95


async def test_at_low_load_a_millisecond_or_two_are_added(bench):
    added_s = []
    for _ in range(BATCHES):
        begin_s = time.perf_counter()
        timing_s = (await bench.pipeline.estimate(frame(), at())).timing_s
        total_s = time.perf_counter() - begin_s
        added_s.append(total_s - timing_s["forward"] - timing_s["locate"])
    p50_ms, p90_ms = 1e3 * np.quantile(added_s, [0.5, 0.9])
    print(f"added: median {p50_ms:.2f} ms, p90 {p90_ms:.2f} ms")
    assert p50_ms < 3
