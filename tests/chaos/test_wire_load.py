"""A full queue, reloads and the end of the service, each under load over REST and gRPC."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from tests.chaos.live import SCALE, Crowd, Live, RpcClient, live, options, scaled
from tests.stores import write_tiny_store
from v2vpose.api.pb import pose_pb2 as pb

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ADMIN = {"x-api-key": "boss"}
BOUND_MS = 2000 if SCALE >= 1 else 20_000  # a short run shows that it works, on any machine


def p99_ms(times_s: list[float]) -> float:
    return 1000 * float(np.quantile(times_s, 0.99))


async def test_a_full_queue_refuses_at_once_and_bounds_the_wait_of_the_rest(
    tmp_path: Path,
) -> None:
    """64 clients on a queue of 8: who is accepted waits behind few, who is refused not at all."""
    with live(tmp_path, max_queue_size=8) as running:
        crowd = Crowd(running, clients=64)
        async with crowd.asking():
            await asyncio.sleep(scaled(30, least=5))
        assert crowd.outcomes.total() == crowd.sent
        assert set(crowd.outcomes) <= {"whole", "degraded", "refused"}
        for wire in ("rest", "rpc"):
            assert crowd.by_wire[wire]["refused"] > 0
            assert crowd.by_wire[wire]["whole"] > 0
        accepted_ms, refused_ms = (p99_ms(crowd.took_s[name]) for name in ("whole", "refused"))
        batches_ms = 1000 * running.metric("request_seconds_sum", route="estimate")
        batches_ms /= running.metric("request_seconds_count", route="estimate")
        print(
            f"\nfull queue: {dict(crowd.outcomes)}, p99 accepted {accepted_ms:.0f} ms, "
            f"p99 refused {refused_ms:.0f} ms, mean in the service {batches_ms:.1f} ms"
        )
        assert accepted_ms < BOUND_MS


async def test_reloads_fail_nothing_and_a_corrupt_version_is_refused(tmp_path: Path) -> None:
    with live(tmp_path, versions=("1", "2")) as running:
        broken = write_tiny_store(running.store, version="3").directory / "epoch-02.safetensors"
        broken.write_bytes(broken.read_bytes()[:-1] + b"\x01")
        url = f"{running.url}/v1/models/hand:reload"
        crowd = Crowd(running, clients=16)
        versions = ["2", "1"] * scaled(5)
        async with crowd.asking(), httpx.AsyncClient(headers=ADMIN, timeout=120) as admin:
            for version in versions:
                moved = await admin.post(url, params={"version": version})
                assert (moved.status_code, moved.json()["version"]) == (200, version)
                refused = await admin.post(url, params={"version": "3"})
                assert (refused.status_code, refused.json()["code"]) == (422, "invalid_model")
        assert crowd.outcomes.total() == crowd.sent
        assert set(crowd.outcomes) <= {"whole", "degraded"}
        print(f"\nreloads: {len(versions)} and as many refused, {dict(crowd.outcomes)}")


async def stream_until_told(client: RpcClient, counts: Counter[str]) -> None:
    """Send frames one after another until the service ends the stream."""
    turn = asyncio.Semaphore(1)

    async def messages() -> AsyncIterator[pb.EstimateStreamRequest]:
        start = pb.StreamStart(options=options(), on_backlog=pb.ON_BACKLOG_EVERY)
        yield pb.EstimateStreamRequest(start=start)
        number = 0
        while True:
            await turn.acquire()
            counts["stream_sent"] += 1
            frame = pb.Frame(sequence=number, depth=client.depth(number % 8))
            yield pb.EstimateStreamRequest(frame=frame)
            number += 1

    try:
        async for answer in client.stub.EstimateStream(messages()):
            assert not answer.HasField("error"), answer.error
            counts["stream_answered"] += 1
            turn.release()
    except grpc.aio.AioRpcError as error:
        is_told = error.code() is grpc.StatusCode.UNAVAILABLE
        counts["stream_told"] += is_told and "draining" in (error.details() or "")


async def ended(running: Live, limit_s: float) -> int:
    return await asyncio.to_thread(running.process.wait, limit_s)


async def test_a_drain_under_load_answers_all_it_accepted_and_exits_with_0(
    tmp_path: Path,
) -> None:
    """What the service logged as done and what the clients got are the same numbers."""
    for _ in range(scaled(5)):
        path = tmp_path / str(time.monotonic_ns())
        path.mkdir()
        counts: Counter[str] = Counter()
        with live(path) as running:
            crowd = Crowd(running, clients=16)
            async with RpcClient(running) as client, crowd.asking():
                streams = [asyncio.create_task(stream_until_told(client, counts)) for _ in range(4)]
                await asyncio.sleep(1.5)
                begin_s = time.monotonic()
                running.process.send_signal(signal.SIGTERM)
                assert await ended(running, 30) == 0
                took_s = time.monotonic() - begin_s
                await asyncio.gather(*streams)
            assert crowd.outcomes.total() == crowd.sent
            assert set(crowd.outcomes) <= {"whole", "degraded", "refused", "unheard"}
            for wire, route in (("rest", "estimate"), ("rpc", "rpc_estimate")):
                heard = crowd.by_wire[wire]
                logged = running.lines(route)
                assert logged["ok"] == heard["whole"] + heard["degraded"], (wire, logged, heard)
                assert logged["cancelled"] == logged["internal"] == 0, (wire, logged)
            # a frame under way when the stream is closed was not taken
            assert counts["stream_told"] == 4
            assert counts["stream_sent"] - counts["stream_answered"] <= 4
            print(f"\ndrain: {dict(crowd.outcomes)}, {dict(counts)}, exit 0 after {took_s:.2f} s")


async def test_a_second_signal_means_now(tmp_path: Path) -> None:
    with live(tmp_path, drain_delay_s=60, drain_grace_s=60) as running:
        crowd = Crowd(running, clients=8)
        async with crowd.asking():
            await asyncio.sleep(1.0)
            running.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(1.0)
            assert running.process.poll() is None
            begin_s = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            code = await ended(running, 15)
            took_s = time.monotonic() - begin_s
        assert code == 0
        assert took_s < 10
        print(f"\nsecond signal: exit {code} after {took_s:.2f} s, {dict(crowd.outcomes)}")
