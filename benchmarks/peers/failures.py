"""What each server does when things go wrong, seen by one client.

    python -m benchmarks.peers.failures [--quick] [--only v2vpose,mosec]

A model that takes 0.5 s, two workers, room for eight requests where a server has such a limit.
Overload, callers who hang up, a worker killed and one frozen with requests in flight, SIGTERM, and
memory over many requests of a null model.
"""

import argparse
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.__main__ import RESULTS
from benchmarks.peers.catalogue import PEERS, Peer, version_of
from benchmarks.peers.export import Shared, exported
from benchmarks.peers.generator import load
from benchmarks.peers.running import NotReadyError, Running, environment_facts

SLOW_S: Final = 0.5
WORKERS: Final = 2
CAPACITY: Final = 8
COLUMNS: Final = {
    "overload": "40 at once",
    "hang_up": "6 hang up, then 1 asks",
    "kill": "a worker killed, 2 in flight",
    "freeze": "a worker frozen, then 4 ask",
    "drain": "SIGTERM, 1 in flight",
    "memory": "MB over many requests",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one request: its status, 0 = none; seconds until the end."""

    status: int
    seconds: float


class Asking:
    """Requests in flight, each in a thread."""

    def __init__(self, server: Running, raw: bytes, count: int, timeout_s: float) -> None:
        self._outcomes: list[Outcome] = []

        def ask() -> None:
            start_s = time.monotonic()
            status = server.ask(raw, timeout_s)[0]
            self._outcomes.append(Outcome(status, time.monotonic() - start_s))

        self._threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def outcomes(self) -> list[Outcome]:
        """Wait for all, and return them."""
        for thread in self._threads:
            thread.join()
        return self._outcomes


class Watch:
    """Asks for readiness all the time, until told to end."""

    def __init__(self, server: Running) -> None:
        self._seen: list[tuple[float, int]] = []
        self._end = threading.Event()
        self._start_s = time.monotonic()

        def watch() -> None:
            while not self._end.is_set():
                self._seen.append((time.monotonic() - self._start_s, server.ready()))
                self._end.wait(0.02)

        self._thread = threading.Thread(target=watch, daemon=True)
        self._thread.start()

    def told(self) -> str:
        """Return the statuses that were seen, and when the first was not 200."""
        self._end.set()
        self._thread.join()
        bad = [(when_s, status) for when_s, status in self._seen if status != 200]
        if not bad:
            return "200 throughout"
        return f"{bad[0][1] or 'none'} after {bad[0][0]:.2f} s"


def told_by(outcomes: list[Outcome]) -> str:
    """Return how many ended how, and the longest wait."""
    counts = Counter(outcome.status for outcome in outcomes)
    text = ", ".join(f"{n} x {status or 'no answer'}" for status, n in sorted(counts.items()))
    return f"{text}; longest {max(outcome.seconds for outcome in outcomes):.1f} s"


@contextmanager
def served(peer: Peer, shared: Shared, **more: Any) -> Iterator[Running]:
    """Run a server with a slow model, or what `more` says."""
    told = {
        **shared.told, "kind": "slow", "members": 1, "workers": WORKERS, "threads": 1,
        "capacity": CAPACITY, "ongoing": 1, "batch": 1, "slow_s": SLOW_S,
        "store": str(shared.stores[1]), **more,
    }  # fmt: skip
    server = Running(peer, told)
    try:
        server.wait_ready(shared.raw)
        yield server
    finally:
        server.stop()


def overload(server: Running, raw: bytes) -> str:
    """Ask 40 times at once."""
    return told_by(Asking(server, raw, 40, 60).outcomes())


def hang_up(server: Running, raw: bytes) -> str:
    """Six callers leave after 0.2 s; say how long the seventh waits."""
    connections = []
    for _ in range(6):
        connection = socket.create_connection(("127.0.0.1", server.port))
        body = server.peer.body(raw)
        headers = {**server.peer.headers(raw), "host": "localhost", "content-length": len(body)}
        lines = [f"POST {server.peer.path(server.told)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        connections.append(connection)
    time.sleep(0.2)
    for connection in connections:
        connection.close()
    time.sleep(0.05)
    return f"answered after {_asked_once(server, raw)}"


def kill(server: Running, raw: bytes, limit_s: float) -> dict[str, str]:
    """Kill one of two busy workers; say what became of both requests, and until it was whole."""
    asking = Asking(server, raw, WORKERS, limit_s)
    time.sleep(SLOW_S / 2)
    victims = server.workers()
    watch, start_s = Watch(server), time.monotonic()
    os.kill(victims[0], signal.SIGKILL)
    outcomes = asking.outcomes()
    next_one = _asked_once(server, raw)
    whole = f"not within {limit_s:.0f} s"
    while time.monotonic() - start_s < limit_s:
        if len(set(server.workers()) - {victims[0]}) >= len(victims) and server.ready() == 200:
            whole = f"{time.monotonic() - start_s:.1f} s"
            break
        time.sleep(0.05)
    return {
        "requests": told_by(outcomes),
        "ready": watch.told(),
        "next": next_one,
        "whole": whole,
    }


def freeze(server: Running, raw: bytes, limit_s: float) -> dict[str, str]:
    """Freeze one of two workers; say what becomes of the next four requests."""
    victim = server.workers()[0]
    os.kill(victim, signal.SIGSTOP)
    try:
        watch = Watch(server)
        outcomes = Asking(server, raw, 4, limit_s).outcomes()
        return {"requests": told_by(outcomes), "ready": watch.told()}
    finally:
        with suppress(ProcessLookupError):  # the server got rid of it
            os.kill(victim, signal.SIGCONT)


def drain(server: Running, raw: bytes, limit_s: float) -> dict[str, str]:
    """End it with a request in flight."""
    asking = Asking(server, raw, 1, limit_s)
    time.sleep(SLOW_S / 2)
    start_s = time.monotonic()
    server.process.terminate()
    time.sleep(0.1)
    ready, late = server.ready(), Asking(server, raw, 1, limit_s)
    code: str | int = "still up"
    while time.monotonic() - start_s < limit_s:
        ended = server.process.poll()
        if ended is not None:
            code = ended
            break
        time.sleep(0.02)
    took_s = time.monotonic() - start_s
    return {
        "in flight": told_by(asking.outcomes()),
        "0.1 s later": f"ready {ready or 'none'}; new {told_by(late.outcomes())}",
        "exit": f"{code} after {took_s:.1f} s",
    }


def memory(peer: Peer, shared: Shared, requests: int) -> str:
    """Say how much memory a null model's server has after a tenth, and after all requests."""
    with served(peer, shared, kind="null", workers=1, capacity=1024, ongoing=256) as server:
        done, early_mb = 0, 0.0
        end_s = time.monotonic() + requests / 50
        while done < requests and time.monotonic() < end_s:
            run = load(server, shared.raw, concurrency=16, seconds=2)
            done += run.answered
            if not early_mb and done >= requests / 10:
                early_mb = run.memory_mb
        late_mb = server.memory_mb()
        return f"{early_mb:.0f} -> {late_mb:.0f} over {done}"


def examine(peer: Peer, shared: Shared, *, quick: bool) -> dict[str, Any]:
    """Return everything about one server."""
    limit_s = 12.0 if quick else 40.0
    with served(peer, shared) as server:
        found: dict[str, Any] = {
            "overload": overload(server, shared.raw),
            "hang_up": hang_up(server, shared.raw),
            "drain": drain(server, shared.raw, limit_s),
        }
    for name, scenario in (("kill", kill), ("freeze", freeze)):
        with served(peer, shared) as server:
            found[name] = scenario(server, shared.raw, limit_s)
    found["memory"] = memory(peer, shared, 2_000 if quick else 50_000)
    return found


def page(results: dict[str, Any]) -> str:
    """Return the table."""
    facts = results["facts"]
    versions = ", ".join(f"{name}: {version}" for name, version in facts["versions"].items())
    lines = [
        "# When things go wrong\n",
        f"A model that takes {SLOW_S} s, {WORKERS} workers, room for {CAPACITY} requests where "
        "there is such a limit. Ready: what the readiness page said meanwhile. Whole: until as "
        f"many workers as before are there, and it says that it is ready.\n\n{facts['cpu']}, "
        f"{facts['cores']} cores. {versions}. `python -m benchmarks.peers.failures`\n",
        "| server | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, found in results["servers"].items():
        cells = []
        for column in COLUMNS:
            cell = found.get(column, "")
            text = (
                cell if isinstance(cell, str) else "; ".join(f"{k}: {v}" for k, v in cell.items())
            )
            cells.append(text)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _asked_once(server: Running, raw: bytes) -> str:
    start_s = time.monotonic()
    status = server.ask(raw)[0]
    return f"{time.monotonic() - start_s:.2f} s ({status or 'no answer'})"


def main() -> None:
    """Examine every server, and write JSON and Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.failures", description=__doc__
    )
    parser.add_argument("--quick", action="store_true", help="shorter limits, less memory soak")
    parser.add_argument("--only", default="", help="names, with commas; default: all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    names = asked.only.split(",") if asked.only else [p.name for p in PEERS if not p.is_ensemble]
    peers = [peer for peer in PEERS if peer.name in names]
    shared = exported()
    versions = {peer.name: version_of(peer) for peer in peers}
    results: dict[str, Any] = {"facts": {**environment_facts(), "versions": versions}}
    results["servers"] = {}
    for peer in peers:
        try:
            results["servers"][peer.name] = examine(peer, shared, quick=asked.quick)
        except NotReadyError as error:
            print(f"left out: {error}", flush=True)
            continue
        print(peer.name, json.dumps(results["servers"][peer.name], indent=1), flush=True)
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "failures.json").write_text(json.dumps(results, indent=1), "utf-8")
        (asked.out / "failures.md").write_text(page(results), "utf-8")


if __name__ == "__main__":
    main()
