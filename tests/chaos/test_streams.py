"""Ten thousand stream frames, with senders, readers and members that stall as they like."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.chaos.clients import Question, channel_to, checked_pose, depth_of, options_of
from tests.chaos.running import Running, scaled
from tests.serving.fakes import SLEEP
from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub

STREAMS = 10
STALLS = 0.02  # of the frames, on each side
STALL_S = 0.05
PERIOD_S = 0.004  # of a camera, on average

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Camera:
    """One stream; every frame is known by its number and the instant it was taken."""

    seed: int
    frames: int
    on_backlog: pb.OnBacklog
    answered: list[int] = field(default_factory=list)
    sent: int = 0
    dropped: int = 0

    async def run(self, service: Running) -> None:
        async with channel_to(service.grpc_port) as channel:
            stub = PoseEstimationStub(channel)
            rng = np.random.default_rng(self.seed)
            question = Question(float(self.seed))
            async for answer in stub.EstimateStream(self._requests(question)):
                assert answer.WhichOneof("result") == "pose", answer
                assert answer.capture_time_ns == self._taken_ns(answer.sequence)
                assert checked_pose(question, answer.pose).code == "whole"
                self.answered.append(answer.sequence)
                self.dropped += answer.dropped
                assert answer.dropped_total == self.dropped
                await _perhaps_stall(rng)

    async def _requests(self, question: Question) -> AsyncIterator[pb.EstimateStreamRequest]:
        rng = np.random.default_rng(1000 + self.seed)
        depth, slow = depth_of(question), depth_of(Question(question.x_mm, SLEEP, STALL_S))
        start = pb.StreamStart(
            options=options_of(question), on_backlog=self.on_backlog, localise_every_frame=True
        )
        yield pb.EstimateStreamRequest(start=start)
        for sequence in range(self.frames):
            yield pb.EstimateStreamRequest(
                frame=pb.Frame(
                    sequence=sequence,
                    capture_time_ns=self._taken_ns(sequence),
                    depth=slow if rng.random() < STALLS / 10 else depth,
                )
            )
            self.sent += 1
            await asyncio.sleep(float(rng.uniform(0, 2 * PERIOD_S)))
            await _perhaps_stall(rng)

    def _taken_ns(self, sequence: int) -> int:
        return (self.seed << 40) + 33_333_333 * sequence


async def _perhaps_stall(rng: np.random.Generator) -> None:
    if rng.random() < STALLS:
        await asyncio.sleep(float(rng.uniform(0, STALL_S)))


@pytest.mark.parametrize("on_backlog", ["LATEST", "EVERY"])
async def test_frames_keep_their_order_and_each_is_answered_or_counted(launch, on_backlog):
    frames = scaled(1_000, least=50)
    value = pb.OnBacklog.Value(f"ON_BACKLOG_{on_backlog}")
    cameras = [Camera(seed, frames, value) for seed in range(STREAMS)]
    async with launch("--wait-s", "0.002") as service:
        async with asyncio.TaskGroup() as group:
            for camera in cameras:
                group.create_task(camera.run(service))
        counted = await service.metric("stream_frames_dropped_total")
        assert await service.metric("stream_active") == 0
        assert await service.end() == 0
    for camera in cameras:
        assert camera.sent == frames
        assert len(camera.answered) + camera.dropped == camera.sent
        assert camera.answered == sorted(set(camera.answered))
        assert camera.answered[-1] == frames - 1  # the newest is never the one that is dropped
    dropped = sum(camera.dropped for camera in cameras)
    answered = sum(len(camera.answered) for camera in cameras)
    assert counted == dropped
    assert (dropped > 0) == (on_backlog == "LATEST")
    print(f"{on_backlog}: {STREAMS * frames} frames = {answered} answered + {dropped} dropped")
