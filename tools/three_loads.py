"""What the composed service takes, and how it behaves at 50, 80 and 200 % of that.

    python tools/three_loads.py [--seconds 60] [--out benchmarks/results/load]

Runs locust's container beside a service that `docker compose` has up. First callers that never
pause find the saturation; then REST and gRPC users, half each, arrive at a constant rate; last
comes one robot's stream at 30 frames a second. Writes a table, and for each run a plot and locust's
report.
Exit code 1 after an error or a missed latency objective.
"""

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT: Final = Path(__file__).parents[1]
INSIDE: Final = "/var/cache/v2vpose"  # the container's writable folder
CONTAINER: Final = "v2vpose-load"
CALLERS: Final = 8
OBJECTIVE_MS: Final = 500
NO_OBJECTIVE_MS: Final = 30_000  # the service's own deadline
REFUSED: Final = "refused"
SKIPPED: Final = "skipped"


@dataclass(frozen=True, slots=True)
class Load:
    """One run of locust; `refusals` says whether the service may turn callers away."""

    name: str
    users: int
    classes: tuple[str, ...]
    objective_ms: int = OBJECTIVE_MS
    refusals: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """How a request or frame ended; `due_s` counts from the first one's."""

    due_s: float
    method: str
    latency_ms: float
    outcome: str  # served, refused, skipped or error


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a load."""

    load: Load
    answers: tuple[Answer, ...]
    passed: bool
    memory_mib: tuple[float, float]  # of the service, before and after

    def count(self, outcome: str) -> int:
        """Return how many answers ended so."""
        return sum(answer.outcome == outcome for answer in self.answers)

    def rates(self) -> tuple[float, float]:
        """Return arrivals and served answers a second, while requests arrived."""
        arriving_s = max(answer.due_s for answer in self.answers)
        done_s = [a.due_s + a.latency_ms / 1000 for a in self.answers if a.outcome == "served"]
        served = sum(each <= arriving_s for each in done_s)
        return len(self.answers) / arriving_s, served / arriving_s

    def latency_ms(self) -> tuple[float, ...]:
        """Return p50, p95 and p99 of what was served."""
        served = [a.latency_ms for a in self.answers if a.outcome == "served"]
        return tuple(np.percentile(served, (50, 95, 99))) if served else (np.nan,) * 3


def output(*command: str) -> str:
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ).stdout.strip()


def memory_mib() -> float:
    """Return what the service's container holds."""
    service = output("docker", "compose", "ps", "--quiet", "v2vpose")
    used = output("docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", service)
    number = used.split("iB", 1)[0]
    return float(number[:-1]) * {"M": 1, "G": 1024}[number[-1]]


def run(load: Load, *, seconds: int, out: Path) -> Run:
    """Put a load on the service; keep locust's report."""
    before_mib = memory_mib()
    environment = {
        "P99_MS": load.objective_ms,
        "MAX_REFUSED": int(load.refusals),
        "SAMPLES": f"{INSIDE}/samples.csv",
    }
    options = [f"--env={name}={value}" for name, value in environment.items()]
    arguments = (
        *("--headless", "--only-summary", "--html", f"{INSIDE}/report.html"),
        *("--users", str(load.users), "--spawn-rate", str(load.users)),
        *("--run-time", f"{seconds}s", "--stop-timeout", "35s", *load.classes),
    )
    try:
        beside = ("docker", "compose", "run", "--name", CONTAINER, *options, "loadtest")
        locust = subprocess.run((*beside, *arguments), check=False, cwd=ROOT)
        report, samples = out / f"{load.name}.html", out / f"{load.name}.csv"
        output("docker", "cp", "--quiet", f"{CONTAINER}:{INSIDE}/report.html", str(report))
        output("docker", "cp", "--quiet", f"{CONTAINER}:{INSIDE}/samples.csv", str(samples))
    finally:
        output("docker", "rm", "--force", CONTAINER)
    answers = read(samples)
    samples.unlink()
    return Run(load, answers, locust.returncode == 0, (before_mib, memory_mib()))


def read(samples: Path) -> tuple[Answer, ...]:
    """Read what locust's file wrote.

    Raises:
        SystemExit: nothing was answered.
    """
    with samples.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        sys.exit("nothing was answered")
    first_s = float(rows[0]["due_s"])
    return tuple(
        Answer(
            due_s=float(row["due_s"]) - first_s,
            method=row["method"],
            latency_ms=float(row["latency_ms"]),
            outcome=_outcome(row),
        )
        for row in rows
    )


def _outcome(row: dict[str, str]) -> str:
    if row["error"]:
        return "error"
    return row["name"] if row["name"] in {REFUSED, SKIPPED} else "served"


def plot(result: Run, path: Path) -> None:
    """Draw every answer's latency, and the rates, over time."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, layout="constrained")
    kinds = sorted({(a.outcome, a.method) for a in result.answers} - {(SKIPPED, "stream")})
    for outcome, method in kinds:
        chosen = [a for a in result.answers if (a.outcome, a.method) == (outcome, method)]
        mark = {"served": ".", REFUSED: "x", "error": "D"}[outcome]
        above.plot(
            [a.due_s for a in chosen],
            [a.latency_ms for a in chosen],
            mark,
            label=f"{method} {outcome} ({len(chosen)})",
        )
    above.set(title=f"{result.load.name}: {result.rates()[0]:.1f} arrivals a second")
    above.set(ylabel="latency, ms", yscale="log")
    above.yaxis.set_major_formatter("{x:g}")
    above.legend(loc="best", fontsize="small")
    bins = np.arange(0, max(a.due_s for a in result.answers) + 1)
    moments: dict[str, Callable[[Answer], float]] = {
        "arrived": lambda a: a.due_s,
        "answered": lambda a: a.due_s + a.latency_ms / 1000,
    }
    for name, moment in moments.items():
        chosen = [a for a in result.answers if name == "arrived" or a.outcome == "served"]
        counts, _ = np.histogram([moment(a) for a in chosen], bins)
        below.step(bins[:-1], counts, where="post", label=name)
    below.set(xlabel="s", ylabel="requests a second", ylim=(0, None))
    below.legend(loc="best", fontsize="small")
    figure.savefig(path, dpi=80)
    plt.close(figure)


def row(result: Run) -> str:
    """Return a run as a row of the table."""
    arrived, served = result.rates()
    latency = " | ".join(f"{each:.0f}" for each in result.latency_ms())
    objective = f"{result.load.objective_ms} ms" if not result.load.refusals else "none"
    before_mib, after_mib = result.memory_mib
    return (
        f"| {result.load.name} | {arrived:.1f} | {served:.1f} | {latency} "
        f"| {result.count(REFUSED)} | {result.count(SKIPPED)} | {result.count('error')} "
        f"| {before_mib:.0f} | {after_mib:.0f} | {objective} "
        f"| {'yes' if result.passed else 'no'} |"
    )


def table(runs: list[Run], *, saturation: float, seconds: int) -> str:
    """Return the whole table, as Markdown."""
    return "\n".join(
        (
            "# The composed service under load",
            "",
            f"`make loadtest` on {os.cpu_count()} cores, which service and locust share; {seconds} "
            f"s a run. {CALLERS} callers that never pause are served {saturation:.1f} frames a "
            "second: that is 100 %. Refused: 429 with Retry-After, or RESOURCE_EXHAUSTED. Latency "
            "counts from the instant a request was due. Skipped: frames of a stream that newer "
            "ones replaced.",
            "",
            "| load | arrivals/s | served/s | p50 ms | p95 ms | p99 ms | refused | skipped "
            "| errors | MiB before | MiB after | p99 objective | passed |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|---|",
            *map(row, runs),
            "",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60, help="of each run; default 60")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/load")
    arguments = parser.parse_args()
    seconds, out = arguments.seconds, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    output("docker", "compose", "build", "loadtest")

    busy = Load("saturation", CALLERS, ("BusyCaller",), NO_OBJECTIVE_MS, refusals=True)
    runs = [run(busy, seconds=seconds, out=out)]
    saturation = runs[0].rates()[1]
    both = ("RestUser", "RpcUser")
    for percent in (50, 80, 200):
        users = max(round(saturation * percent / 100), len(both))
        over = percent > 100
        limit_ms = NO_OBJECTIVE_MS if over else OBJECTIVE_MS
        load = Load(f"load-{percent}", users, both, limit_ms, refusals=over)
        runs.append(run(load, seconds=seconds, out=out))
    runs.append(run(Load("robot", 1, ("StreamRobot",)), seconds=seconds, out=out))

    for result in runs:
        plot(result, out / f"{result.load.name}.png")
    text = table(runs, saturation=saturation, seconds=seconds)
    (out / "table.md").write_text(text, "utf-8")
    print(text)
    sys.exit(not all(result.passed for result in runs))


if __name__ == "__main__":
    main()
