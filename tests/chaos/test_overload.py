"""More than the service can do: the rest is refused at once, and what is accepted stays quick."""

import asyncio
from collections import Counter

import pytest

from tests.chaos.crowd import ANSWERED, Crowd
from tests.chaos.running import scaled

CLIENTS = 64
QUEUE, BATCH, BATCH_S = 8, 4, 0.05

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


async def test_a_full_queue_refuses_at_once_and_bounds_the_wait(launch):
    async with launch(
        "--wait-s", str(BATCH_S), max_queue_size=QUEUE, max_batch_size=BATCH
    ) as service:
        crowd = Crowd(service, CLIENTS)
        async with crowd.asking():
            await asyncio.sleep(scaled(20, least=3))
        assert await service.end() == 0
    crowd.check()
    by_way = Counter[tuple[str, str]]({key: len(some) for key, some in crowd.took_s.items()})
    for way in ("rest", "grpc"):
        assert by_way[way, "whole"] > 0
        assert by_way[way, "overloaded"] > 0
    assert set(crowd.codes) == {"whole", "overloaded"}
    accepted_ms = crowd.quantile_ms(0.99, *ANSWERED)
    refused_ms = crowd.quantile_ms(0.99, "overloaded")
    in_line = QUEUE / BATCH + 2  # batches: those that wait, one that runs, one that is held
    print(
        f"{CLIENTS} clients, a queue of {QUEUE}: {dict(crowd.codes)}; p99 of the accepted "
        f"{accepted_ms:.0f} ms (in line: {1e3 * in_line * BATCH_S:.0f}), "
        f"refused: median {crowd.quantile_ms(0.5, 'overloaded'):.1f}, p99 {refused_ms:.1f} ms"
    )
    assert accepted_ms < 5 * 1e3 * in_line * BATCH_S  # room for a busy machine
    assert refused_ms < accepted_ms  # both wait for the machine alone, if it is busy
    assert crowd.quantile_ms(0.5, "overloaded") < 1e3 * BATCH_S
