"""What serving costs beside the nets: a model that answers at once, next to a bare ASGI endpoint.

    python benchmarks/serving_overhead.py [--seconds 2] [--rounds 3] [--only raw]

Needs `h2load` (Debian: nghttp2-client). Rounds are interleaved; each figure is the median over the
rounds, with the range of requests/s beside it. CPU is the front process's, user and system.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import grpc
import numpy as np

from v2vpose.api.pb import pose_pb2 as pb
from v2vpose.api.pb.pose_pb2_grpc import PoseEstimationStub

HERE = Path(__file__).parent
ROWS, COLS = 240, 320
POINT_MM = (0.0, 0.0, 500.0)
QUERY = "fx_px=240&fy_px=240&cx_px=160&cy_px=120&handedness=right&reference_point_mm=0,0,500"
CONCURRENCY = (1, 16, 64)
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A process that serves."""

    pid: int
    http: int
    grpc: int

    def cpu_s(self) -> float:
        """Return the CPU time it used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def rss_mib(self) -> float:
        """Return its resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0]) / 1024


@dataclass(frozen=True)
class Figures:
    """One measurement."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    rss_mib: float


@contextmanager
def served(script: str, *arguments: str) -> Iterator[Server]:
    """Run a server of this folder while the block lasts."""
    with (
        Path(os.devnull).open("w") as log,
        subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        try:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            yield Server(process.pid, ports["http"], ports.get("grpc", 0))
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def depth_map() -> np.ndarray:
    """Return (240, 320) uint16 mm: a noisy bump, so that a PNG costs what a real one costs."""
    rng = np.random.default_rng(0)
    v, u = np.mgrid[:ROWS, :COLS]
    bump_mm = 500 + 0.4 * np.hypot(u - COLS / 2, v - ROWS / 2) + rng.normal(0, 1, (ROWS, COLS))
    return bump_mm.astype(np.uint16)


def options() -> pb.EstimateOptions:
    x, y, z = POINT_MM
    return pb.EstimateOptions(
        intrinsics=pb.Intrinsics(fx_px=240, fy_px=240, cx_px=160, cy_px=120),
        handedness=pb.HANDEDNESS_RIGHT,
        reference_point_mm=pb.Point(x_mm=x, y_mm=y, z_mm=z),
    )


def message(depth: np.ndarray) -> pb.DepthMap:
    return pb.DepthMap(
        data=depth.tobytes(), encoding=pb.ENCODING_RAW_U16_LE, width=COLS, height=ROWS
    )


def h2load(
    url: str, body: Path, *, clients: int, seconds: int, http1: bool, headers: Sequence[str]
) -> list[tuple[int, int]]:
    """Return (status, microseconds) of every request."""
    with tempfile.NamedTemporaryFile("r") as log:
        subprocess.run(
            [
                "h2load", *(["--h1"] if http1 else []), "-t1", f"-c{clients}", f"-D{seconds}",
                f"-d{body}", f"--log-file={log.name}",
                *(f"-H{header}" for header in headers), url,
            ],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        rows = [line.split("\t") for line in log]
    return [(int(status), int(elapsed)) for _, status, elapsed in rows]


def rest(server: Server, work: Path, kind: str, *, clients: int, seconds: int) -> list[float]:
    """Return seconds of every request."""
    size = f"&width={COLS}&height={ROWS}" if kind == "raw" else ""
    media = "application/octet-stream" if kind == "raw" else "image/png"
    rows = h2load(
        f"http://127.0.0.1:{server.http}/v1/estimate?{QUERY}{size}",
        work / kind,
        clients=clients,
        seconds=seconds,
        http1=True,
        headers=[f"content-type: {media}"],
    )
    bad = [status for status, _ in rows if status != 200]
    assert not bad, f"{len(bad)} answers with status {bad[:3]}"
    return [micros / 1e6 for _, micros in rows]


def unary(server: Server, work: Path, *, clients: int, seconds: int) -> list[float]:
    """Return seconds of every unary call; h2load speaks gRPC's framing."""
    rows = h2load(
        f"http://127.0.0.1:{server.grpc}/v2vpose.v1.PoseEstimation/Estimate",
        work / "unary",
        clients=clients,
        seconds=seconds,
        http1=False,
        headers=["content-type: application/grpc", "te: trailers"],
    )
    bad = [status for status, _ in rows if status != 200]
    assert not bad, f"{len(bad)} answers with status {bad[:3]}"
    return [micros / 1e6 for _, micros in rows]


def stream(server: Server, *, seconds: int) -> list[float]:
    """Return seconds from each frame to its answer, one frame in flight, a synchronous client."""
    depth = message(depth_map())
    took_s: list[float] = []
    free = threading.Semaphore(1)
    sent_s = [0.0]

    def frames() -> Iterator[pb.EstimateStreamRequest]:
        yield pb.EstimateStreamRequest(start=pb.StreamStart(options=options()))
        end_s = time.monotonic() + seconds
        for sequence in itertools.count(1):
            free.acquire()
            if time.monotonic() > end_s:
                return
            frame = pb.EstimateStreamRequest(frame=pb.Frame(sequence=sequence, depth=depth))
            sent_s[0] = time.perf_counter()
            yield frame

    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        for answer in PoseEstimationStub(channel).EstimateStream(frames()):
            took_s.append(time.perf_counter() - sent_s[0])
            assert answer.WhichOneof("result") == "pose", answer
            free.release()
    return took_s


def measured(server: Server, way: str, work: Path, *, clients: int, seconds: int) -> Figures:
    """Measure one way at one concurrency."""
    before_s = server.cpu_s()
    if way == "stream":
        took_s = stream(server, seconds=seconds)
    elif way == "unary":
        took_s = unary(server, work, clients=clients, seconds=seconds)
    else:
        took_s = rest(server, work, way, clients=clients, seconds=seconds)
    took_s.sort()
    return Figures(
        per_s=len(took_s) / seconds,
        p50_ms=1000 * took_s[len(took_s) // 2],
        p99_ms=1000 * took_s[int(len(took_s) * 0.99)],
        cpu_ms=1000 * (server.cpu_s() - before_s) / len(took_s),
        rss_mib=server.rss_mib(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("raw", "png", "unary", "stream"))
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    args = parser.parse_args()
    if shutil.which("h2load") is None:
        sys.exit("h2load is missing: apt-get install nghttp2-client")
    ways = [(way, clients) for way in ("raw", "png", "unary") for clients in CONCURRENCY]
    ways = [way for way in [*ways, ("stream", 1)] if args.only in {None, way[0]}]
    found: dict[tuple[str, str, int], list[Figures]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        served("bare_asgi.py") as bare,
        served("null_service.py", "--members", "1") as one,
        served("null_service.py", "--members", "10") as ten,
    ):
        work = Path(folder)
        depth = depth_map()
        (work / "raw").write_bytes(depth.tobytes())
        (work / "png").write_bytes(cv2.imencode(".png", depth)[1].tobytes())
        call = pb.EstimateRequest(options=options(), depth=message(depth)).SerializeToString()
        (work / "unary").write_bytes(struct.pack(">BI", 0, len(call)) + call)
        for _ in range(args.rounds):
            for way, clients in ways:
                for name, server in (("bare ASGI", bare), ("1 member", one), ("10 members", ten)):
                    if name == "bare ASGI" and way != "raw":
                        continue
                    figures = measured(server, way, work, clients=clients, seconds=args.seconds)
                    found.setdefault((way, name, clients), []).append(figures)
    print_table(found)
    if args.json:
        rows = [
            {"way": way, "server": name, "clients": clients}
            | {field: median(each, field) for field in Figures.__dataclass_fields__}
            for (way, name, clients), each in found.items()
        ]
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


def median(figures: Sequence[Figures], field: str) -> float:
    return round(statistics.median(getattr(each, field) for each in figures), 3)


def print_table(found: dict[tuple[str, str, int], list[Figures]]) -> None:
    print(f"{ROWS} x {COLS} depth map, place and hand told; {os.cpu_count()} cores\n")
    print("| way | server | at once | requests/s (range) | p50 ms | p99 ms | CPU ms | RSS MiB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for (way, name, clients), each in found.items():
        rates = [figures.per_s for figures in each]
        print(
            f"| {way} | {name} | {clients} | {statistics.median(rates):.0f} "
            f"({min(rates):.0f}-{max(rates):.0f}) | {median(each, 'p50_ms'):.2f} "
            f"| {median(each, 'p99_ms'):.2f} | {median(each, 'cpu_ms'):.3f} "
            f"| {median(each, 'rss_mib'):.0f} |"
        )


if __name__ == "__main__":
    main()
