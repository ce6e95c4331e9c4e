"""The one generator: wrk, one thread, keep-alive, pinned to the last core."""

import json
import math
import os
import statistics
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.running import Running

_WARM_UP: Final = 5
_POST: Final = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
"""
_DONE: Final = """
function done(summary, latency, requests)
  local e = summary.errors
  if summary.requests == 0 then return end
  io.write(string.format(
    '\\n{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"refused":%d,"broken":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.status, e.connect + e.read + e.write + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Slice:
    """What one run of the generator saw.

    Attributes:
        requests_per_s: answered with 200.
        p50_ms: median latency of these.
        p99_ms: 99th percentile of these.
        cpu_ms: of the server's processes, for each of these.
        memory_mb: of the server's processes, at the end.
        failed: answered otherwise, or not at all.
        answered: how many there were.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    memory_mb: float
    failed: int
    answered: int


def load(server: Running, raw: bytes, *, concurrency: int, seconds: int) -> Slice:
    """Post the job over so many connections for so many seconds, after a few to warm up."""
    for _ in range(_WARM_UP):
        server.ask(raw)
    cpu_s = server.cpu_s()
    seen = _wrk(server, raw, concurrency, seconds)
    cpu_s = server.cpu_s() - cpu_s
    good = seen["requests"] - seen["refused"]
    return Slice(
        requests_per_s=good / seen["seconds"],
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        cpu_ms=1000 * cpu_s / max(good, 1),
        memory_mb=server.memory_mb(),
        failed=seen["refused"] + seen["broken"],
        answered=good,
    )


def summary(slices: list[Slice]) -> dict[str, Any]:
    """Return median, least and most of every figure."""
    table = [asdict(each) for each in slices]
    return {
        name: {
            "median": statistics.median(row[name] for row in table),
            "least": min(row[name] for row in table),
            "most": max(row[name] for row in table),
        }
        for name in table[0]
    }


def _wrk(server: Running, raw: bytes, concurrency: int, seconds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        body, script = Path(folder, "body"), Path(folder, "post.lua")
        body.write_bytes(server.peer.body(raw))
        headers = server.peer.headers(raw).items()
        lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers]
        script.write_text("\n".join([_POST.format(body=body), *lines, _DONE]), "utf-8")
        url = f"http://127.0.0.1:{server.port}{server.peer.path(server.told)}"
        core = str(max(os.sched_getaffinity(0)))
        ran = subprocess.run(
            ["taskset", "-c", core, "wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s",
             "--timeout", "60s", "-s", script, url],
            check=False, capture_output=True, text=True, timeout=seconds + 120,
        )  # fmt: skip
    if not ran.stdout.rstrip().endswith("}"):  # nothing was answered in time
        none = {"requests": 0, "refused": 0, "broken": concurrency, "seconds": seconds}
        return {**none, "p50_ms": math.nan, "p99_ms": math.nan}
    seen: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    return seen
