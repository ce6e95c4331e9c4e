"""What Ray costs a request: the same null members as local processes and as Ray actors.

    python benchmarks/ray_overhead.py [--requests 300] [--actors N]

Both engines stand behind the real scheduler; one request at a time, a crop of 96 x 96. Rounds are
interleaved. Members are placed as each engine does by itself, or on Ray in `--actors`. Needs the
extra `ray`; starts a cluster of two nodes of two cores on this machine.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from engine_load import closed_loop, in_one_loop  # noqa: E402  # after the path
from null_model import SIDE_MM, load_null  # noqa: E402

from tests.serving.ray_nodes import nodes  # noqa: E402
from v2vpose.serving.engines.local import LocalEngine  # noqa: E402
from v2vpose.serving.engines.placement import automatic, available_cores  # noqa: E402
from v2vpose.serving.engines.ray_cluster import Share  # noqa: E402
from v2vpose.serving.engines.ray_engine import RayEngine  # noqa: E402
from v2vpose.serving.engines.supervisor import BackOff  # noqa: E402
from v2vpose.serving.engines.watchdog import Patience  # noqa: E402
from v2vpose.serving.ports import Engine  # noqa: E402
from v2vpose.serving.scheduler import BatchPolicy  # noqa: E402
from v2vpose.serving.self_test import SelfTest, synthetic_crop  # noqa: E402

ROUNDS = 3


def local(members: int) -> Engine:
    return LocalEngine(
        name=f"null/{members}",
        plans=automatic(range(1, members + 1), cores=available_cores()),
        load=load_null,
        self_test=SelfTest(synthetic_crop(SIDE_MM)),
        max_batch_size=4,
        patience=Patience(),
        back_off=BackOff(),
    )


def on_ray(address: str, members: int, actors: int | None) -> Engine:
    return RayEngine(
        address=address,
        name=f"null/{members}",
        epochs=range(1, members + 1),
        replicas=1,
        load=load_null,
        self_test=SelfTest(synthetic_crop(SIDE_MM)),
        max_batch_size=4,
        share=Share(cpus=0.1),
        actors=actors,
        patience=Patience(),
        back_off=BackOff(),
    )


async def compare(address: str, members: int, requests: int, actors: int | None) -> None:
    engines = {"local": local(members), "ray": on_ray(address, members, actors)}
    found: dict[str, list[float]] = {name: [] for name in engines}
    cpu_ms: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        await engine.start()
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            load = await closed_loop(
                engine,
                epochs=range(1, members + 1),
                policy=BatchPolicy(),
                clients=1,
                requests=requests,
            )
            found[name] += load.latency_s
            cpu_ms[name].append(1000 * load.cpu_s)
    for engine in engines.values():
        await engine.stop(grace_s=5)
    p50_ms = {name: 1000 * statistics.median(s) for name, s in found.items()}
    p99_ms = {name: 1000 * statistics.quantiles(s, n=100)[98] for name, s in found.items()}
    print(
        f"{members:>7} | {p50_ms['local']:5.2f} / {p99_ms['local']:6.2f} | "
        f"{p50_ms['ray']:5.2f} / {p99_ms['ray']:6.2f} | {p50_ms['ray'] - p50_ms['local']:9.2f} | "
        f"{statistics.median(cpu_ms['local']):5.2f} | {statistics.median(cpu_ms['ray']):5.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300, help="a round")
    parser.add_argument("--actors", type=int, help="that share the members; default: as the engine")
    arguments = parser.parse_args()
    requests, actors = arguments.requests, arguments.actors
    with nodes(head_cpus=2, path=(HERE,)) as cluster:
        cluster.add(cpus=2)
        print(f"{os.cpu_count()} cores; p50 / p99 ms, {ROUNDS} x {requests} requests")
        print("members |  local         |  ray           | p50 added | CPU ms here: local | ray")
        for members in (1, 3, 10):
            in_one_loop(lambda m=members: compare(cluster.address, m, requests, actors))


if __name__ == "__main__":
    main()
