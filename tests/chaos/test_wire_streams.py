"""Streams with senders and readers that stall; every frame is accounted for."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from tests.chaos.live import RpcClient, live, options, scaled
from v2vpose.api.pb import pose_pb2 as pb

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STREAMS = 4


async def one_stream(client: RpcClient, policy: pb.OnBacklog, frames: int, seed: int) -> int:
    """Send frames and check the answers; return how many were dropped."""
    rng = np.random.default_rng(seed)
    start = pb.StreamStart(options=options(), on_backlog=policy, localise_every_frame=True)

    async def messages() -> AsyncIterator[pb.EstimateStreamRequest]:
        yield pb.EstimateStreamRequest(start=start)
        for number in range(frames):
            if rng.random() < 0.05:
                await asyncio.sleep(float(rng.exponential(0.02)))
            depth = client.depth(number % 8)
            frame = pb.Frame(sequence=number, capture_time_ns=7 * number, depth=depth)
            yield pb.EstimateStreamRequest(frame=frame)

    answered, dropped, last = 0, 0, -1
    stalls = np.random.default_rng(seed + 1000)
    async for answer in client.stub.EstimateStream(messages()):
        assert not answer.HasField("error"), answer.error
        assert answer.sequence > last
        assert answer.capture_time_ns == 7 * answer.sequence
        last = answer.sequence
        client.outcome(answer.sequence % 8, answer.pose)
        answered, dropped = answered + 1, dropped + answer.dropped
        assert answer.dropped_total == dropped
        if stalls.random() < 0.02:
            await asyncio.sleep(float(stalls.exponential(0.05)))
    assert answered + dropped == frames
    return dropped


@pytest.mark.parametrize("name", ["LATEST", "EVERY"])
async def test_ten_thousand_frames_with_stalls_are_answered_in_order_or_counted(
    tmp_path: Path, name: str
) -> None:
    frames = scaled(10_000 // STREAMS, least=20)
    policy = pb.OnBacklog.Value(f"ON_BACKLOG_{name}")
    with live(tmp_path) as running:
        async with RpcClient(running) as client:
            dropped = await asyncio.gather(
                *(one_stream(client, policy, frames, seed) for seed in range(STREAMS))
            )
        assert running.metric("stream_frames_dropped_total") == sum(dropped)
        assert running.metric("stream_active") == 0
    assert (sum(dropped) > 0) == (name == "LATEST")
    sent = frames * STREAMS
    print(f"\n{name}: {sent} frames sent, {sent - sum(dropped)} answered, {sum(dropped)} dropped")
