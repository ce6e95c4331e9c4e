"""Ours beside mosec, LitServe, BentoML, Ray Serve and Triton: the same job, one generator.

    python -m benchmarks.peers [--quick] [--only v2vpose,mosec] [--scenes null-1,hand-10]

All servers of a scene are up at once; all but the measured one are frozen (Ray's are not: it takes
a frozen process for a dead one). Runs are interleaved. Needs wrk (Debian: wrk).
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.peers import report
from benchmarks.peers.catalogue import PEERS, Peer, version_of
from benchmarks.peers.export import Shared, exported
from benchmarks.peers.generator import load, summary
from benchmarks.peers.running import ROOT, NotReadyError, Running, environment_facts

RESULTS: Final = ROOT / "benchmarks" / "results" / "peers"
SCENES: Final = ("null-1", "null-10", "hand-1", "hand-10")
SAME_MM: Final = 0.1


def plan(scene: str, *, quick: bool) -> tuple[tuple[int, ...], int, int]:
    """Return concurrencies, repetitions and seconds of each run."""
    if scene.startswith("null"):
        return (1, 16, 64), (2 if quick else 7), (1 if quick else 4)
    if not quick:
        return (1, 16, 64), 3, (8 if scene == "hand-1" else 20)
    return ((1, 16, 64), 1, 2) if scene == "hand-1" else ((1, 16), 1, 5)


def told_of(scene: str, shared: Shared) -> dict[str, Any]:
    """Return what the servers of a scene are told."""
    kind, _, members = scene.partition("-")
    return {
        **shared.told, "kind": kind, "members": int(members), "workers": 1, "threads": 2,
        "capacity": 1024, "ongoing": 256, "batch": 4 if kind == "hand" else 1, "slow_s": 0.0,
        "store": str(shared.stores[int(members)]),
    }  # fmt: skip


def measure(scene: str, peers: list[Peer], shared: Shared, *, quick: bool) -> dict[str, Any]:
    """Return the figures of every server in a scene, by name and concurrency."""
    told = told_of(scene, shared)
    wanted = [peer for peer in peers if told["members"] > 1 or not peer.is_ensemble]
    up: list[Running] = []
    try:
        for peer in wanted:
            # each member of an ensemble is a process of its own: one thread for each
            threads = 1 if peer.is_ensemble else told["threads"]
            up.append(Running(peer, {**told, "threads": threads}))
        ready = _ready(up, shared.raw)
        apart_mm = _apart_mm(ready, shared.raw)
        for server in ready:
            server.freeze()
        cells = _interleaved(scene, ready, shared.raw, quick=quick)
    finally:
        for server in up:
            server.stop()
    return {"cells": cells, "apart_mm": apart_mm}


def _ready(up: list[Running], raw: bytes) -> list[Running]:
    ready = []
    for server in up:
        try:
            server.wait_ready(raw)
            ready.append(server)
        except NotReadyError as error:
            print(f"left out: {error}", flush=True)
            server.stop()
    return ready


def _apart_mm(servers: list[Running], raw: bytes) -> dict[str, float]:
    """Return how far each server's keypoints are from the first one's.

    Raises:
        ValueError: over 0.1 mm.
    """
    answers = {}
    for server in servers:
        status, content, headers = server.ask(raw)
        if status != 200:
            raise ValueError(f"{server.peer.name}: status {status}")
        answers[server.peer.name] = server.peer.keypoints(content, headers)
    first = next(iter(answers.values()))
    apart_mm = {
        name: float(np.linalg.norm(found - first, axis=-1).max()) for name, found in answers.items()
    }
    if max(apart_mm.values()) > SAME_MM:
        raise ValueError(f"answers differ by more than {SAME_MM} mm: {apart_mm}")
    return apart_mm


def _interleaved(
    scene: str, servers: list[Running], raw: bytes, *, quick: bool
) -> dict[str, dict[int, Any]]:
    concurrencies, repetitions, seconds = plan(scene, quick=quick)
    runs: dict[tuple[str, int], list[Any]] = {}
    for _, concurrency in itertools.product(range(repetitions), concurrencies):
        for server in servers:
            server.thaw()
            run = load(server, raw, concurrency=concurrency, seconds=seconds)
            server.freeze()
            runs.setdefault((server.peer.name, concurrency), []).append(run)
            print(
                f"{scene} c={concurrency:<3} {server.peer.name:16} "
                f"{run.requests_per_s:8.1f}/s  p50 {run.p50_ms:8.2f} ms  p99 {run.p99_ms:8.2f} ms  "
                f"cpu {run.cpu_ms:7.3f} ms  {run.memory_mb:5.0f} MB  failed {run.failed}",
                flush=True,
            )
    cells: dict[str, dict[int, Any]] = {}
    for (name, concurrency), slices in runs.items():
        cells.setdefault(name, {})[concurrency] = summary(slices)
    return cells


def main() -> None:
    """Measure, and write JSON, Markdown and plots."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than eight minutes")
    parser.add_argument("--only", default="", help="names, with commas; default: all")
    parser.add_argument("--scenes", default=",".join(SCENES), help="default: all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    names = asked.only.split(",") if asked.only else [peer.name for peer in PEERS]
    peers = [peer for peer in PEERS if peer.name in names]
    shared = exported()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    results: dict[str, Any] = {
        "facts": {
            **environment_facts(),
            "commit": commit.stdout.strip(),
            "command": " ".join(["python -m benchmarks.peers", *sys.argv[1:]]),
            "versions": {peer.name: version_of(peer) for peer in peers},
        },
        "scenes": {},
    }
    start_s = time.monotonic()
    for scene in asked.scenes.split(","):
        results["scenes"][scene] = measure(scene, peers, shared, quick=asked.quick)
        results["facts"]["minutes"] = round((time.monotonic() - start_s) / 60, 1)
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "peers.json").write_text(json.dumps(results, indent=1), "utf-8")
        report.write(results, asked.out)


if __name__ == "__main__":
    main()
