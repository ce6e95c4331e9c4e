"""200,000 requests through REST and gRPC leave nothing behind in the service."""

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.live import Live, RestClient, RpcClient, live, scaled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

WARM, SOAKED = scaled(10_000, least=200), scaled(200_000, least=400)
CLIENTS = 16


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def handles(pid: int) -> tuple[int, int, int]:
    """Open descriptors, threads, and segments of shared memory (mapped or by name)."""
    process = Path(f"/proc/{pid}")
    maps = (process / "maps").read_text()
    shared = maps.count("memfd:") + maps.count("/dev/shm")  # noqa: S108
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir())), shared


async def asked(running: Live, requests: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()

    async def client(number: int) -> None:
        chosen: RestClient | RpcClient = RpcClient(running) if number % 2 else RestClient(running)
        async with chosen as wire:
            for turn in range(requests // CLIENTS):
                outcomes[await wire.ask(turn % 8)] += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return outcomes


async def test_a_soak_over_both_wires_leaves_nothing_behind(tmp_path: Path) -> None:
    with live(tmp_path, log_level="warning") as running:
        warm = await asked(running, WARM)
        await asyncio.sleep(1.0)  # hung-up connections are closed by then
        pids = [running.process.pid, *running.workers()]
        memory, opened = [resident_bytes(pid) for pid in pids], [handles(pid) for pid in pids]
        outcomes = await asked(running, SOAKED)
        await asyncio.sleep(1.0)
        assert set(warm + outcomes) <= {"whole", "degraded"}
        assert [running.process.pid, *running.workers()] == pids
        grown = [resident_bytes(pid) / was - 1 for pid, was in zip(pids, memory, strict=True)]
        left = [handles(pid) for pid in pids]
        print(
            f"\nsoak: {dict(outcomes)}, growth of memory {[f'{growth:.2%}' for growth in grown]}, "
            f"(descriptors, threads, segments) {opened} -> {left}"
        )
        assert running.metric("in_flight") == running.metric("stream_active") == 0
        assert all(
            now <= was
            for a, b in zip(left, opened, strict=True)
            for now, was in zip(a, b, strict=True)
        )
        assert max(grown) < 0.02
