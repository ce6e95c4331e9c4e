"""A service in a process of its own, and clients on its real ports that know the right answers.

`CHAOS_SCALE=0.01` makes every run as much shorter; the figures that count are those of scale 1.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import grpc
import httpx
import numpy as np
from numpy.typing import NDArray

from tests.frames import sphere_frame
from tests.stores import write_tiny_store
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.estimator import Estimator
from v2vpose.values import DepthFrame, FloatArray, Intrinsics

ROOT: Final = Path(__file__).parents[2]
SCALE: Final = float(os.environ.get("CHAOS_SCALE", "1"))
CAMERA: Final = Intrinsics(60.0, 60.0, 39.5, 29.5)
INTRINSICS: Final = {"fx_px": 60.0, "fy_px": 60.0, "cx_px": 39.5, "cy_px": 29.5}
HW: Final = (60, 80)
RETRYABLE: Final = {429, 503}
_RETRYABLE_RPC: Final = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
_START_LIMIT_S: Final = 300.0


def scaled(number: int, least: int = 1) -> int:
    """How many of something to do in this run."""
    return max(least, round(number * SCALE))


def _units(seed: int) -> NDArray[np.uint16]:
    x_mm, y_mm = np.random.default_rng(seed).uniform(-60, 60, 2)
    frame = sphere_frame((x_mm, y_mm, 500.0), wall_mm=900.0, hw=HW, intrinsics=CAMERA)
    return np.round(frame.depth_mm).astype(np.uint16)


class Answers:
    """A few depth maps, and what each member of each version says of them.

    Args:
        root: of the store.
        versions: of model `hand`.
        frames: how many depth maps.
    """

    def __init__(self, root: Path, versions: tuple[str, ...], frames: int = 8) -> None:
        units = [_units(seed) for seed in range(frames)]
        self.raw = [unit.astype("<u2").tobytes() for unit in units]
        self._members: dict[tuple[str, int], dict[int, FloatArray]] = {}
        for version in versions:
            opened = write_tiny_store(root, version=version)
            estimator = Estimator.load(opened, backend="torch")
            for index, unit in enumerate(units):
                pose = estimator.estimate(DepthFrame(unit.astype(np.float32), CAMERA))
                self._members[version, index] = {
                    epoch: member.keypoints_mm for epoch, member in pose.members.items()
                }

    def check(self, index: int, version: str, answered: list[int], found_mm: Any) -> None:
        """Raise AssertionError unless it is the mean of the members that answered."""
        members = self._members[version, index]
        expected = np.mean([members[epoch] for epoch in answered], axis=0)
        np.testing.assert_allclose(found_mm, expected, atol=0.01)


@dataclass
class Live:
    """A running service.

    Attributes:
        process: its process.
        http_port: of REST.
        grpc_port: of gRPC.
        answers: what it must say.
        log: its JSON lines.
        store: its model store.
    """

    process: subprocess.Popen[bytes]
    http_port: int
    grpc_port: int
    answers: Answers
    log: Path
    store: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def workers(self) -> list[int]:
        """Process ids of the workers that live."""
        pid = self.process.pid
        with contextlib.suppress(FileNotFoundError):
            words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [int(word) for word in words if _is_worker(int(word))]
        return []

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, summed over the labels not named."""
        total = 0.0
        for line in httpx.get(f"{self.url}/metrics", timeout=10).text.splitlines():
            wanted = all(f'{key}="{value}"' in line for key, value in labels.items())
            if line.split("{")[0].split(" ")[0] == f"v2vpose_{name}" and wanted:
                total += float(line.rsplit(" ", 1)[1])
        return total

    def lines(self, route: str) -> Counter[str]:
        """The outcomes that were logged for a route."""
        records = (
            json.loads(line) for line in self.log.read_text().splitlines() if line[:1] == "{"
        )
        return Counter(r["code"] for r in records if r.get("route") == route and "code" in r)

    async def up(self, *, whole: bool, limit_s: float = 120.0) -> None:
        """Wait until every member is up, or until a quorum is."""
        end_s = time.monotonic() + limit_s
        async with httpx.AsyncClient() as client:
            while time.monotonic() < end_s:
                response = await client.get(f"{self.url}/readyz", timeout=10)
                (model,) = response.json()["models"]
                if len(model["epochs_up"]) >= (len(model["epochs"]) if whole else model["quorum"]):
                    return
                await asyncio.sleep(0.05)
        raise TimeoutError(f"too few members up after {limit_s} s")


def _is_worker(pid: int) -> bool:
    try:
        return b"engines.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def live(root: Path, *, versions: tuple[str, ...] = ("1",), **settings: object) -> Iterator[Live]:
    """Serve tiny nets of random weights until the block ends; `settings` as in `Settings`."""
    store = root / "store"
    answers = Answers(store, versions)
    log = root / "service.log"
    http, rpc = _free_ports()
    values = {
        "backend": "torch", "models": "hand@1", "admin_key": "boss", "drain_delay_s": 0.5,
        "log_format": "json", "http_port": http, "grpc_port": rpc, "model_store": store, **settings,
    }  # fmt: skip
    environment = {f"V2VPOSE_{name.upper()}": str(value) for name, value in values.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "v2vpose", "serve"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "service"), **environment},
            stdout=output,
            stderr=output,
        )
    running = Live(process, http, rpc, answers, log, store)
    try:
        _until_ready(running)
        yield running
    finally:
        process.kill()
        process.wait()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _until_ready(running: Live) -> None:
    end_s = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < end_s and running.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{running.url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.05)
    raise TimeoutError(f"the service did not become ready:\n{running.log.read_text()}")


class RestClient:
    """One keep-alive connection that posts raw depth maps; little code, so that it costs little."""

    def __init__(self, running: Live, *, timeout_s: float | None = None) -> None:
        self._running = running
        query = "&".join(f"{name}={value}" for name, value in INTRINSICS.items())
        rows, cols = HW
        deadline = "" if timeout_s is None else f"x-request-timeout: {timeout_s}\r\n"
        self._head = (
            f"POST /v1/estimate?{query}&width={cols}&height={rows} HTTP/1.1\r\nhost: x\r\n"
            f"content-type: application/octet-stream\r\n{deadline}"
        )
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def send(self, index: int) -> None:
        """Send a request and wait for nothing."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._running.http_port)
        body = self._running.answers.raw[index]
        self._streams[1].write(f"{self._head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await self._streams[1].drain()

    async def receive(self) -> tuple[int, Mapping[str, str], dict[str, Any]]:
        """Return status, headers and body of the next answer.

        Raises:
            OSError, EOFError: the connection ended before its end.
        """
        assert self._streams is not None
        reader = self._streams[0]
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = dict(line.lower().split(": ", 1) for line in lines)
        body = await reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, json.loads(body)

    async def ask(self, index: int) -> str:
        """Return whole, degraded, refused (with leave to retry), unheard, or the error's code.

        Raises:
            AssertionError: a wrong answer.
        """
        try:
            await self.send(index)
            status, headers, body = await self.receive()
        except (OSError, EOFError):
            self.hang_up()
            return "unheard"
        if headers.get("connection") == "close":
            self.hang_up()
        if status in RETRYABLE:
            assert int(headers["retry-after"]) > 0
            return "refused"
        if status != 200:
            return str(body["code"])
        ensemble = body["ensemble"]
        found = [[k["x_mm"], k["y_mm"], k["z_mm"]] for k in body["keypoints"]]
        self._running.answers.check(index, body["version"], ensemble["answered"], found)
        return "degraded" if ensemble["degraded"] else "whole"


class RpcClient:
    """One gRPC channel that asks the same."""

    def __init__(self, running: Live, *, timeout_s: float = 60.0) -> None:
        self._running = running
        self._timeout_s = timeout_s
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{running.grpc_port}", options)
        self.stub = PoseEstimationStub(self.channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    def depth(self, index: int) -> pb.DepthMap:
        rows, cols = HW
        return pb.DepthMap(
            data=self._running.answers.raw[index],
            encoding=pb.ENCODING_RAW_U16_LE,
            width=cols,
            height=rows,
        )

    def request(self, index: int) -> pb.EstimateRequest:
        return pb.EstimateRequest(depth=self.depth(index), options=options())

    async def ask(self, index: int) -> str:
        """As `RestClient.ask`."""
        try:
            answer = await self.stub.Estimate(self.request(index), timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            trailing = dict(error.trailing_metadata() or ())
            if "x-request-id" not in trailing:
                return "unheard" if error.code() is grpc.StatusCode.UNAVAILABLE else "lost"
            if error.code() in _RETRYABLE_RPC:
                assert int(trailing["grpc-retry-pushback-ms"]) > 0
                return "refused"
            return str(error.code().name.lower())
        return self.outcome(index, answer.pose)

    def outcome(self, index: int, pose: pb.Pose) -> str:
        """Return whole or degraded.

        Raises:
            AssertionError: it is wrong.
        """
        found = [[k.x_mm, k.y_mm, k.z_mm] for k in pose.keypoints]
        answered = list(pose.ensemble.answered)
        self._running.answers.check(index, pose.version, answered, found)
        return "degraded" if pose.ensemble.degraded else "whole"


def options() -> pb.EstimateOptions:
    return pb.EstimateOptions(intrinsics=pb.Intrinsics(**INTRINSICS))


@dataclass
class Crowd:
    """Clients that ask one request after another until they are stopped, half over each wire."""

    running: Live
    clients: int = 32
    pause_s: float = 0.0
    timeout_s: float = 60.0
    sent: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    by_wire: dict[str, Counter[str]] = field(
        default_factory=lambda: {"rest": Counter(), "rpc": Counter()}
    )
    took_s: dict[str, list[float]] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask while the block runs; every request has its outcome at the end."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self._client(number))
            try:
                yield
            finally:
                self.over.set()

    async def _client(self, number: int) -> None:
        makers: list[Callable[[], RestClient | RpcClient]] = [
            lambda: RestClient(self.running, timeout_s=self.timeout_s),
            lambda: RpcClient(self.running, timeout_s=self.timeout_s),
        ]
        wire = ("rest", "rpc")[number % 2]
        async with makers[number % 2]() as client:
            rng = np.random.default_rng(number)
            while not self.over.is_set():
                await self.request(wire, client.ask, int(rng.integers(8)))

    async def request(self, wire: str, ask: Callable[[int], Awaitable[str]], index: int) -> None:
        self.sent += 1
        begin_s = time.perf_counter()
        outcome = await ask(index)
        self.outcomes[outcome] += 1
        self.by_wire[wire][outcome] += 1
        self.took_s.setdefault(outcome, []).append(time.perf_counter() - begin_s)
        if outcome in {"refused", "unheard"}:
            await asyncio.sleep(0.01)  # as a client that was told to come again
        elif self.pause_s:
            await asyncio.sleep(self.pause_s)


def signalled(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
