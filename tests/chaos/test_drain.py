"""SIGTERM while everybody asks: what was accepted is answered, and the service ends with 0."""

import asyncio
import signal
import time
from collections.abc import Iterator
from itertools import count

import grpc
import pytest

from tests.chaos.clients import (
    Question,
    checked_pose,
    client_of,
    depth_of,
    options_of,
    refusal,
)
from tests.chaos.crowd import Crowd
from tests.chaos.running import scaled
from tests.serving.fakes import SLEEP
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub

CLIENTS, STREAMS = 16, 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def streamed(port: int) -> tuple[list[int], str]:
    """Stream until the service ends it; return the numbers answered and how it ended.

    In a thread: a client of `grpc.aio` that is sending when its stream ends says INTERNAL instead
    of the status that came.
    """
    question = Question(3.0)
    start = pb.StreamStart(
        options=options_of(question), on_backlog=pb.ON_BACKLOG_EVERY, localise_every_frame=True
    )

    def requests() -> Iterator[pb.EstimateStreamRequest]:
        yield pb.EstimateStreamRequest(start=start)
        for sequence in count():
            frame = pb.Frame(sequence=sequence, depth=depth_of(question))
            yield pb.EstimateStreamRequest(frame=frame)
            time.sleep(0.002)

    answered: list[int] = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            for answer in PoseEstimationStub(channel).EstimateStream(requests()):
                assert checked_pose(question, answer.pose).code == "whole"
                answered.append(answer.sequence)
        except grpc.RpcError as error:
            return answered, refusal(error)
    return answered, "ok"


async def test_sigterm_under_load_loses_nothing(launch):
    rounds = scaled(6, least=2)
    answered, frames, codes = 0, 0, set[str]()
    for _ in range(rounds):
        async with launch("--wait-s", "0.02") as service:
            crowd = Crowd(service, CLIENTS, leaves=True)
            streams = [
                asyncio.create_task(asyncio.to_thread(streamed, service.grpc_port))
                for _ in range(STREAMS)
            ]
            async with crowd.asking():
                await crowd.answered(100)
                assert await service.end() == 0
            for stream in streams:
                numbers, code = await stream
                assert code == "unavailable"
                assert numbers == list(range(len(numbers)))
                assert numbers
                frames += len(numbers)
        crowd.check()
        assert set(crowd.codes) <= {"whole", "unavailable", "closed"}
        answered += crowd.codes["whole"]
        codes |= set(crowd.codes)
    print(f"{rounds} drains: {answered} requests and {frames} frames answered; ends: {codes}")


async def test_a_second_signal_means_now(launch):
    async with launch() as service:
        clients = [client_of(kind, service.http_port, service.grpc_port) for kind in (0, 1)]
        asked = [
            asyncio.create_task(client.ask(Question(order=SLEEP, argument=15), f"slow-{i}"))
            for i, client in enumerate(clients)
        ]
        await asyncio.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(1)  # for a moment it is deaf: who signals a group reaches it twice
        assert service.process.returncode is None
        begin_s = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), 10) == 0
        took_s = time.monotonic() - begin_s
        codes = [(await task).code for task in asked]
        for client in clients:
            await client.close()
    assert set(codes) <= {"closed", "unavailable"}
    assert took_s < 5
    print(f"second signal: ended after {took_s:.2f} s, callers were told {codes}")
