"""Where members run, as data: which worker holds which epoch checkpoints, and on what device.

On CPUs the members are dealt out to as many one-thread workers as there are cores: members are
independent, so side by side they scale better than the threads of one net do. Members that are left
over are held by every worker, and go where there is least to do. Measured with six compact members
(48^3, half width, OpenVINO bf16, its pinning of threads off) on two cores, one pass over all six,
median of three runs:

    batch    1 process x 2 threads    2 processes x 1 thread
    1        72 ms                    66 ms
    4        252 ms                   233 ms
    8        486 ms                   457 ms

On GPUs every member has a worker of its own; the device overlaps them.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One worker.

    Attributes:
        replica: which copy of the ensemble it belongs to.
        epochs: the members it holds; they work in turn.
        device: `cpu`, `cuda:N`, or `gpu` for one that somebody else picks.
        threads: how many it may use.
    """

    replica: int
    epochs: tuple[int, ...]
    device: str = "cpu"
    threads: int = 1


def automatic(
    epochs: Sequence[int], *, cores: int, gpus: int = 0, replicas: int = 1
) -> tuple[WorkerPlan, ...]:
    """Place every replica of an ensemble.

    Args:
        epochs: the epoch checkpoints.
        cores: how many may be used.
        gpus: how many there are; 0 = run on the cores.
        replicas: copies of the ensemble; on GPUs each has devices of its own, as far as they go.
    """
    plans: list[WorkerPlan] = []
    for replica in range(replicas):
        if gpus:
            plans += _on_gpus(replica, epochs, gpus, replicas)
        else:
            plans += _on_cores(replica, epochs, max(1, cores // replicas))
    return tuple(plans)


def in_actors(
    epochs: Sequence[int], *, actors: int, threads: int, device: str, replicas: int
) -> tuple[WorkerPlan, ...]:
    """Place every replica of an ensemble in so many actors, or in one a member if that is fewer.

    Where the actors are, and on which device, is left to who runs them; else as on cores.

    Args:
        epochs: the epoch checkpoints.
        actors: of each replica.
        threads: how many each may use.
        device: `cpu` or `gpu`, for people.
        replicas: copies of the ensemble.
    """
    return tuple(
        WorkerPlan(replica, held, device, threads)
        for replica in range(replicas)
        for held in _dealt(epochs, min(actors, len(epochs)))
    )


def available_cores() -> int:
    """Return how many cores this process may use: affinity, and the container's quota."""
    cores = len(os.sched_getaffinity(0))
    if _CPU_MAX.exists():
        quota, period = _CPU_MAX.read_text().split()
        if quota != "max":
            cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def _on_cores(replica: int, epochs: Sequence[int], cores: int) -> list[WorkerPlan]:
    workers = min(cores, len(epochs))
    threads = max(1, cores // workers)
    return [WorkerPlan(replica, held, threads=threads) for held in _dealt(epochs, workers)]


def _dealt(epochs: Sequence[int], workers: int) -> list[tuple[int, ...]]:
    """Return the members that each worker holds: as many each; all hold what is left over."""
    even = len(epochs) - len(epochs) % workers
    return [(*epochs[first:even:workers], *epochs[even:]) for first in range(workers)]


def _on_gpus(replica: int, epochs: Sequence[int], gpus: int, replicas: int) -> list[WorkerPlan]:
    devices = [gpu for gpu in range(gpus) if gpu % replicas == replica] or [replica % gpus]
    return [
        WorkerPlan(replica, (epoch,), device=f"cuda:{devices[place % len(devices)]}")
        for place, epoch in enumerate(epochs)
    ]
