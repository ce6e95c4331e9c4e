"""A service in a process of its own, as seen from outside."""

import asyncio
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 300.0
SCALE = float(os.environ.get("V2VPOSE_CHAOS_SCALE", "1"))
"""How much of the full number of rounds the tests of this folder run."""


def scaled(full: int, *, least: int = 1) -> int:
    return max(round(full * SCALE), least)


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    resident_bytes: int
    descriptors: int
    threads: int
    shared_maps: int

    @classmethod
    def of(cls, pid: int) -> "Held":
        process = Path(f"/proc/{pid}")
        status = (process / "status").read_text()
        return cls(
            resident_bytes=1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1]),  # type: ignore[index]
            descriptors=len(list((process / "fd").iterdir())),
            threads=int(re.search(r"Threads:\s+(\d+)", status)[1]),  # type: ignore[index]
            shared_maps=(process / "maps").read_text().count("memfd:"),
        )


class Running:
    """A running service; see `running`."""

    def __init__(
        self, process: asyncio.subprocess.Process, ports: dict[str, int], log: Path
    ) -> None:
        self.process = process
        self.http_port, self.grpc_port = ports["http"], ports["grpc"]
        self.url = f"http://127.0.0.1:{self.http_port}"
        self._log = log

    async def report(self) -> dict[str, Any]:
        """Return the number of tasks, and the state of each worker of the newest version."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        return dict(json.loads(await self.process.stdout.readline()))

    async def pids_up(self) -> list[int]:
        return [worker["pid"] for worker in (await self.report())["workers"] if worker["up"]]

    async def restarts(self) -> int:
        return sum(worker["restarts"] for worker in (await self.report())["workers"])

    async def metric(self, sample: str) -> float:
        """Return a sample of `/metrics`, named with its labels; 0 if it is not there yet."""
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.url}/metrics")).text
        found = re.search(rf"^v2vpose_{re.escape(sample)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def end(self) -> int:
        """Drain the service; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 60)

    def outcomes(self) -> dict[str, str]:
        """Return what the service says became of each request, by id; after its end."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        told = [line for line in lines if line.get("route") in {"estimate", "rpc_estimate"}]
        twice = [key for key, n in Counter(line["request_id"] for line in told).items() if n > 1]
        assert not twice, f"requests served twice: {twice[:3]}"
        return {line["request_id"]: line["code"] for line in told}


@asynccontextmanager
async def running(
    store: Path, log: Path, *arguments: str, **settings: object
) -> AsyncIterator[Running]:
    """Run the service while the block lasts.

    Args:
        store: the model store.
        log: file for its log.
        arguments: of `tests.chaos.service`.
        settings: of the service, by their names in small letters.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("V2VPOSE_")},
        "PYTHONPATH": f"{ROOT / 'service'}:{ROOT}",
        "V2VPOSE_MODEL_STORE": str(store),
        **{f"V2VPOSE_{name.upper()}": str(value) for name, value in settings.items()},
    }
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.service", *arguments,
            env=environment, stdout=asyncio.subprocess.PIPE, stderr=output,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_LIMIT_S):
            line = await process.stdout.readline()
        if not line:
            pytest.fail(f"the service did not become ready; see {log}")
        yield Running(process, json.loads(line), log)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until(condition: Callable[[], Awaitable[bool]], *, limit_s: float = 90.0) -> None:
    """Wait until an asynchronous condition holds."""
    async with asyncio.timeout(limit_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
