"""A camera whose network dies says nothing, not even goodbye: its stream is closed by keepalive."""

import asyncio
import time
from collections.abc import Callable

import grpc
import pytest
from prometheus_client import generate_latest

from tests.api.conftest import parts
from tests.api.fakes import FakePipeline
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub
from v2vpose.api.rpc_server import RpcServer

START = pb.EstimateStreamRequest(
    start=pb.StreamStart(
        options=pb.EstimateOptions(
            intrinsics=pb.Intrinsics(fx_px=240, fy_px=241, cx_px=16, cy_px=12)
        )
    )
)
LIMIT_S = 20 + 10  # between pings, and for the answer to one


class Network:
    """A proxy that can go silent: its sockets stay open, and nothing passes any more."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._works = asyncio.Event()
        self._works.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def die(self) -> None:
        self._works.clear()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        self._server.close()

    async def _connect(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += (to_client, to_server)
        for reader, writer in ((from_client, to_server), (from_server, to_client)):
            self._tasks.append(asyncio.create_task(self._pass_on(reader, writer)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            await self._works.wait()
            writer.write(data)


@pytest.mark.slow
async def test_the_stream_of_a_peer_that_vanished_is_closed_within_the_limits() -> None:
    made = parts(FakePipeline())
    server = RpcServer(made, min_peak=0.3, host="127.0.0.1", port=0)
    network = Network(await server.start())
    port = await network.start()

    def active() -> bool:
        return "v2vpose_stream_active 1.0" in generate_latest(made.telemetry.registry).decode()

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = PoseEstimationStub(channel).EstimateStream()
        await call.write(START)
        await until(active, limit_s=10)
        await asyncio.sleep(LIMIT_S + 5)
        assert active()  # a peer that only has nothing to say is left alone
        network.die()
        died_s = time.monotonic()
        await until(lambda: not active(), limit_s=LIMIT_S + 10)
        assert time.monotonic() - died_s > 5  # not for another reason
        call.cancel()
    await network.stop()
    await server.stop(grace_s=0)


async def until(condition: Callable[[], bool], *, limit_s: float) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  # the server side has no event to wait on
            await asyncio.sleep(0.1)
