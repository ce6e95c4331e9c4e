"""A Ray cluster of several nodes on this machine: real raylets, workers and actors."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STORE_BYTES = 80 * 2**20
ROOT = Path(__file__).parents[2]


class Nodes:
    """The nodes of one cluster; the first is the head, where the front ends are."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address: str = cluster.address

    def add(self, *, cpus: int) -> Any:
        """Add a node, and wait until the cluster knows it."""
        return self._cluster.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES)

    def kill(self, node: Any) -> None:
        """End all processes of a node at once, as a power cut does."""
        (raylet,) = (info.process.pid for info in node.all_processes["raylet"])
        for pid in (raylet, *_descendants(raylet)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def nodes(*, head_cpus: int) -> Iterator[Nodes]:
    """Start a cluster of one node, and end it afterwards."""
    import ray
    from ray.cluster_utils import Cluster

    # What the nodes import: this package, and the fakes of the tests.
    os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "service"), str(ROOT)))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": head_cpus,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        },
    )
    try:
        yield Nodes(cluster)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found
