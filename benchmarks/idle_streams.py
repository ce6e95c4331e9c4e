"""What idle gRPC streams cost the service: memory of each, CPU of all.

    python benchmarks/idle_streams.py [--streams 2000] [--seconds 20]

The service is `null_service.py`: the real one over a model that answers at once. Each stream has
sent its start and one frame, and has its answer; then it says nothing. RSS and CPU are of the
service's front process, before and after; the clients are another process.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub

HERE = Path(__file__).parent
STREAMS_A_CHANNEL = 50  # as if so many cameras shared a gateway
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_OPTIONS = pb.EstimateOptions(
    intrinsics=pb.Intrinsics(fx_px=240, fy_px=240, cx_px=32, cy_px=24),
    handedness=pb.HANDEDNESS_RIGHT,
    reference_point_mm=pb.Point(x_mm=0, y_mm=0, z_mm=500),
)
_DEPTH = pb.DepthMap(
    data=np.full((48, 64), 500, "<u2").tobytes(),
    encoding=pb.ENCODING_RAW_U16_LE, width=64, height=48,
)  # fmt: skip


def rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


async def opened(stub: Any) -> Any:
    """Open a stream and wait for the answer to its first frame."""
    call = stub.EstimateStream()
    await call.write(pb.EstimateStreamRequest(start=pb.StreamStart(options=_OPTIONS)))
    await call.write(pb.EstimateStreamRequest(frame=pb.Frame(sequence=1, depth=_DEPTH)))
    answer = await call.read()
    assert answer.WhichOneof("result") == "pose", answer
    return call


async def measured(pid: int, port: int, streams: int, seconds: float) -> dict[str, float]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    count = -(-streams // STREAMS_A_CHANNEL)
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) for _ in range(count)
    ]
    stubs = [PoseEstimationStub(channel) for channel in channels]
    for stub in stubs:  # what the first requests allocate is not the streams'
        (await opened(stub)).cancel()
    await asyncio.sleep(1)
    before_kib = rss_kib(pid)
    calls = [await opened(stubs[i // STREAMS_A_CHANNEL]) for i in range(streams)]
    await asyncio.sleep(1)
    after_kib, began_s, used_s = rss_kib(pid), time.monotonic(), cpu_s(pid)
    await asyncio.sleep(seconds)
    share = (cpu_s(pid) - used_s) / (time.monotonic() - began_s)
    assert not any(call.done() for call in calls)
    for call in calls:
        call.cancel()
    for channel in channels:
        await channel.close()
    return {
        "streams": streams,
        "connections": count,
        "rss_before_mib": round(before_kib / 1024, 1),
        "kib_a_stream": round((after_kib - before_kib) / streams, 1),
        "cpu_percent": round(100 * share, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    service = subprocess.Popen(
        [sys.executable, HERE / "null_service.py", "--members", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert service.stdout is not None
        port = json.loads(service.stdout.readline())["grpc"]
        print(json.dumps(asyncio.run(measured(service.pid, port, args.streams, args.seconds))))
    finally:
        service.terminate()
        service.wait(60)


if __name__ == "__main__":
    main()
