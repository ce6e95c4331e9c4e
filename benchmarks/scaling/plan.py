"""From one node's figures to a fleet: tables, and the plots of `docs/scaling.md`.

    python benchmarks/scaling/plan.py [--plots docs/images]

Seeded: the same figures give the same tables. Ten seconds on one core.
"""

import argparse
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402  # after the path
from fleet import frames_per_gpu, member_s, needs  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from simulation import Outcome, Simulation, Site, jittered  # noqa: E402

CELL = 10  # GPUs that serve ten members together, either way
MEMBERS = 10
NET = "compact"
BATCH = 64
LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
REQUESTS = 40_000
JITTERS = (0.0, 0.1, 0.3, 0.6)
PLACEMENTS = {
    "replicated": tuple((gpu,) * MEMBERS for gpu in range(CELL)),
    "spread": (tuple(range(MEMBERS)),),
}


def cell(figures: Mapping[str, Any], placement: str, *, jitter: float, held: int = 2) -> Site:
    """Ten GPUs: each with the whole ensemble, or each with one member."""
    is_spread = placement == "spread"
    return Site(
        placement=PLACEMENTS[placement],
        service=jittered(
            figures["gpu"]["batch_s"], member_s(figures, NET, 1) - member_s(figures, NET, 0), jitter
        ),
        max_batch=BATCH,
        max_delay_s=0.01,
        held=held,
        hop_s=figures["gpu"]["network_s"] * is_spread,
    )


def at_load(figures: Mapping[str, Any], site: Site, load: float) -> Outcome:
    capacity = CELL * frames_per_gpu(figures, NET, members=MEMBERS, batch=BATCH)
    return Simulation(site, seed=0).open_loop(load * capacity, REQUESTS)


def demand_table(figures: Mapping[str, Any]) -> None:
    demand, node = figures["demand"], figures["node"]
    frames = demand["streams"] * demand["frames_per_s"]
    print(f"{demand['streams']:,} streams at {demand['frames_per_s']} fps = {frames:,} frames/s")
    print("net     | members | GPUs    | front cores | nodes for GPUs | for cores | in Tbit/s | "
          "fan-out 1 / spread Tbit/s")  # fmt: skip
    for net in figures["net"]:
        for members in (1, 3, 10):
            one = needs(figures, net, frames_per_s=frames, members=members, copies=1)
            spread = needs(figures, net, frames_per_s=frames, members=members, copies=members)
            cores = one.front_cores + one.call_cores
            print(
                f"{net:7} | {members:7} | {one.gpus:7,.0f} | {cores:11,.0f} | "
                f"{one.gpus / node['gpus']:14,.0f} | {cores / node['front_cores']:9,.0f} | "
                f"{one.in_bit_per_s / 1e12:9.1f} | {one.fan_out_bit_per_s / 1e12:.1f} / "
                f"{spread.fan_out_bit_per_s / 1e12:.1f}"
            )


def batch_table(figures: Mapping[str, Any]) -> None:
    print("\nframes/s of one GPU with ten members, by batch")
    for net in figures["net"]:
        rates = (
            f"{batch}: {frames_per_gpu(figures, net, members=MEMBERS, batch=batch):,.0f}"
            for batch in (1, 4, 16, 64, 256)
        )
        print(f"{net:7} | " + ", ".join(rates))


def knee_table(figures: Mapping[str, Any]) -> dict[str, list[Outcome]]:
    print("\nten GPUs, ten members, ms: load -> p50 / p99 (mean batch)")
    jitter = figures["gpu"]["jitter"]
    curves = {}
    for placement in PLACEMENTS:
        site = cell(figures, placement, jitter=jitter)
        curves[placement] = [at_load(figures, site, load) for load in LOADS]
        texts = (
            f"{load:.0%}: {1e3 * o.quantile_s(0.5):.1f} / {1e3 * o.quantile_s(0.99):.1f} "
            f"({o.batch_size:.0f})"
            for load, o in zip(LOADS, curves[placement], strict=True)
        )
        print(f"{placement:10} | " + ", ".join(texts))
    return curves


def straggler_table(figures: Mapping[str, Any]) -> dict[str, list[float]]:
    """Full batches, always: what is lost to members that wait for the slowest."""
    print("\nthroughput at full load, part of what the GPUs could, by jitter (spread: by held)")
    capacity = CELL * frames_per_gpu(figures, NET, members=MEMBERS, batch=BATCH)
    lines = {"replicated": ("replicated", 2), "spread, 2 held": ("spread", 2),
             "spread, 4 held": ("spread", 4)}  # fmt: skip
    found: dict[str, list[float]] = {}
    for name, (placement, held) in lines.items():
        sites = [cell(figures, placement, jitter=j, held=held) for j in JITTERS]
        found[name] = [
            Simulation(site, 0).closed_loop(4 * BATCH * CELL, REQUESTS).throughput / capacity
            for site in sites
        ]
        parts = zip(JITTERS, found[name], strict=True)
        print(f"{name:14} | " + ", ".join(f"{sigma}: {part:.0%}" for sigma, part in parts))
    return found


def draw(curves: Mapping[str, list[Outcome]], lost: Mapping[str, list[float]], to: Path) -> None:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    knee, straggle = figure.subplots(1, 2)
    for colour, (placement, outcomes) in zip(("C0", "C1"), curves.items(), strict=True):
        for q, style in ((0.5, "-"), (0.99, "--")):
            knee.plot(
                [100 * load for load in LOADS],
                [1e3 * outcome.quantile_s(q) for outcome in outcomes],
                colour + style,
                marker=".",
                label=f"{placement} p{100 * q:.0f}",
            )
    knee.set(xlabel="load, % of full batches", ylabel="latency, ms", ylim=(0, None),
             title="Ten GPUs, ten members, compact net")  # fmt: skip
    knee.legend()
    for name, parts in lost.items():
        straggle.plot(JITTERS, [100 * part for part in parts], marker=".", label=name)
    straggle.set(xlabel="jitter, sigma of a log-normal", ylabel="throughput, %", ylim=(0, 105),
                 title="What waiting for the slowest costs")  # fmt: skip
    straggle.legend()
    for axes in (knee, straggle):
        axes.grid(alpha=0.3)
    to.mkdir(parents=True, exist_ok=True)
    figure.savefig(to / "scaling.png", dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plots", type=Path, help="where to write scaling.png")
    plots = parser.parse_args().plots
    figures = tomllib.loads((HERE / "figures.toml").read_text())
    demand_table(figures)
    batch_table(figures)
    curves = knee_table(figures)
    lost = straggler_table(figures)
    if plots is not None:
        draw(curves, lost, plots)
    assert all(np.isfinite(outcome.latency_s).all() for each in curves.values() for outcome in each)


if __name__ == "__main__":
    main()
