"""Many requests over REST and gRPC leave nothing behind: no memory, descriptors, threads, tasks."""

import asyncio
import time

import pytest

from tests.chaos.clients import Client, Question, client_of
from tests.chaos.running import Held, Running, scaled

CLIENTS = 16

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


async def soaked(service: Running, requests: int) -> None:
    async def ask(client: Client) -> None:
        for number in range(requests // CLIENTS):
            reply = await client.ask(Question(float(number % 100)), f"n{number}")
            assert reply.code == "whole"
        await client.close()

    async with asyncio.TaskGroup() as group:
        for kind in range(CLIENTS):
            group.create_task(ask(client_of(kind, service.http_port, service.grpc_port)))


async def held(service: Running) -> tuple[int, dict[int, Held]]:
    """Return the number of tasks, and what each process holds."""
    await asyncio.sleep(2)  # the callers' connections are closed
    report = await service.report()
    pids = [service.process.pid, *(worker["pid"] for worker in report["workers"])]
    return report["tasks"], {pid: Held.of(pid) for pid in pids}


async def test_a_soak_leaves_nothing_behind(launch):
    requests = scaled(200_000, least=CLIENTS)
    async with launch(log_level="warning") as service:
        await soaked(service, scaled(20_000, least=2_000))
        tasks_before, before = await held(service)
        begin_s = time.monotonic()
        await soaked(service, requests)
        per_s = requests / (time.monotonic() - begin_s)
        tasks_after, after = await held(service)
        in_flight = await service.metric("in_flight")
        assert await service.end() == 0
    grown = [after[pid].resident_bytes / before[pid].resident_bytes - 1 for pid in before]
    front = after[next(iter(before))]
    print(
        f"{requests} requests at {per_s:.0f}/s; growth of resident memory (front process, members):"
        f" {', '.join(f'{growth:.2%}' for growth in grown)}; {front.resident_bytes >> 20} MiB, "
        f"{front.descriptors} descriptors, {front.threads} threads, {tasks_after} tasks"
    )
    assert tasks_after == tasks_before
    assert in_flight == 0
    for pid, now in after.items():
        assert now.descriptors == before[pid].descriptors
        assert now.threads == before[pid].threads
        assert now.shared_maps == before[pid].shared_maps
    assert max(grown) < 0.02
