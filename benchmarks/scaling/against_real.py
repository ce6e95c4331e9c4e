"""The simulation next to the real engines: members that sleep, here and on two Ray nodes.

    python benchmarks/scaling/against_real.py [--seconds 6]

Nothing is fitted: the simulation knows the sleep, the policy and the hop of `figures.toml`. Ends
with status 1 if a throughput is more than 15 % off. About a minute.
"""

import argparse
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

from engine_load import closed_loop, in_one_loop  # noqa: E402  # after the path
from null_model import SIDE_MM  # noqa: E402
from simulation import Simulation, Site, constant  # noqa: E402
from sleeping import FIXED_S, PER_CROP_S, load_sleeping  # noqa: E402

from tests.serving.ray_nodes import nodes  # noqa: E402
from v2vpose.serving.engines.local import LocalEngine  # noqa: E402
from v2vpose.serving.engines.placement import WorkerPlan  # noqa: E402
from v2vpose.serving.engines.ray_cluster import Share  # noqa: E402
from v2vpose.serving.engines.ray_engine import RayEngine  # noqa: E402
from v2vpose.serving.engines.supervisor import BackOff  # noqa: E402
from v2vpose.serving.engines.watchdog import Patience  # noqa: E402
from v2vpose.serving.ports import BATCHES_A_REPLICA, Engine  # noqa: E402
from v2vpose.serving.scheduler import BatchPolicy  # noqa: E402
from v2vpose.serving.self_test import SelfTest, synthetic_crop  # noqa: E402

EPOCHS = (1, 2, 3)
REPLICAS = 2
POLICY = BatchPolicy(max_batch_size=4, max_queue_delay_s=0.01)
CLIENTS = (1, 4, 16)
MOST_OFF = 0.15
FIGURES = tomllib.loads((HERE / "figures.toml").read_text())


def local() -> Engine:
    return LocalEngine(
        name="sleeping/1",
        plans=[WorkerPlan(replica, (epoch,)) for replica in range(REPLICAS) for epoch in EPOCHS],
        load=load_sleeping,
        self_test=SelfTest(synthetic_crop(SIDE_MM)),
        max_batch_size=POLICY.max_batch_size,
        patience=Patience(),
        back_off=BackOff(),
    )


def on_ray(address: str) -> Engine:
    return RayEngine(
        address=address,
        name="sleeping/1",
        epochs=EPOCHS,
        replicas=REPLICAS,
        load=load_sleeping,
        self_test=SelfTest(synthetic_crop(SIDE_MM)),
        max_batch_size=POLICY.max_batch_size,
        share=Share(cpus=1),
        actors=len(EPOCHS),
        patience=Patience(),
        back_off=BackOff(),
    )


def simulated(clients: int, hop_s: float) -> float:
    members = len(EPOCHS)
    site = Site(
        placement=tuple(
            tuple(range(replica * members, (replica + 1) * members)) for replica in range(REPLICAS)
        ),
        service=constant(FIXED_S, PER_CROP_S),
        max_batch=POLICY.max_batch_size,
        max_delay_s=POLICY.max_queue_delay_s,
        held=BATCHES_A_REPLICA,
        hop_s=hop_s,
    )
    return Simulation(site, seed=0).closed_loop(clients, requests=2000).throughput


async def compare(name: str, engine: Engine, seconds: float, off: list[float]) -> None:
    await engine.start()
    for clients in CLIENTS:
        expected = simulated(clients, FIGURES["hop"][f"{name}_s"])
        requests = clients + int(expected * seconds)
        load = await closed_loop(
            engine, epochs=EPOCHS, policy=POLICY, clients=clients, requests=requests
        )
        found = load.throughput
        off.append(expected / found - 1)
        print(
            f"{name:>6} | {clients:7} | {found:10.1f} | {expected:9.1f} | {off[-1]:+6.1%}",
            flush=True,
        )
    await engine.stop(grace_s=5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="for each line")
    seconds = parser.parse_args().seconds
    off: list[float] = []
    print("engine | clients | requests/s | simulated  |  off")
    in_one_loop(lambda: compare("local", local(), seconds, off))
    with nodes(head_cpus=3, path=(HERE, HERE.parent)) as cluster:
        cluster.add(cpus=3)
        in_one_loop(lambda: compare("ray", on_ray(cluster.address), seconds, off))
    sys.exit(max(map(abs, off)) > MOST_OFF)


if __name__ == "__main__":
    main()
