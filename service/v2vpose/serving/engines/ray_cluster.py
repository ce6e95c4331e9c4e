"""The near side of Ray: the only module that imports it.

Actors are detached and have names, so that all front ends of a cluster share one set.
"""

import logging
import os
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

for variable, value in {
    # A call to a dead actor waits this long for the reason before it fails; the default is 1 s.
    "RAY_timeout_ms_task_wait_for_death_info": "10",
    # Ray's own handler of SIGTERM aborts the process 3 s later, in the middle of a drain.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
}.items():
    os.environ.setdefault(variable, value)  # read when Ray is imported

import ray  # noqa: E402
from ray.exceptions import RayError  # noqa: E402

from v2vpose.errors import UnavailableError  # noqa: E402
from v2vpose.serving.engines.ray_actor import ActorRecipe, Hello, WorkerActor  # noqa: E402

NAMESPACE: Final = "v2vpose"
ActorError: Final[type[Exception]] = RayError
"""What a call raises when the actor, its node or the way there is gone."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one actor takes of a node.

    Attributes:
        cpus: cores; also the threads each member may use, at least one.
        gpus: of one GPU, for example 0.1; 0 = it runs on cores.
    """

    cpus: float = 1.0
    gpus: float = 0.0


def connect(address: str) -> None:
    """Join the cluster, once a process; blocks for seconds.

    Args:
        address: `HOST:PORT` of its head, or `auto` for the cluster of this machine.

    Raises:
        UnavailableError: there is none.
    """
    if ray.is_initialized():
        return
    logging.getLogger("ray").setLevel(logging.ERROR)  # signals are our business, not its
    try:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            configure_logging=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise UnavailableError(f"no Ray cluster at {address}: {error}") from error


def node_cores() -> list[float]:
    """Return how many cores each node of the cluster has that has any; blocks."""
    cores = (node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"])
    return [count for count in cores if count > 0]


class ActorHandle:
    """One named actor, from here; made if it is not there yet. The constructor blocks.

    Args:
        name: in the cluster.
        recipe: what it holds, should it be made.
        share: what it takes of its node, should it be made.
    """

    def __init__(self, name: str, recipe: ActorRecipe, share: Share) -> None:
        self.adopted = True
        try:
            self._actor: Any = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            self.adopted = False
            self._actor = _WORKER_ACTOR.options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,  # another front end may have been quicker
                max_restarts=-1,
                max_task_retries=0,  # the scheduler knows better whom to ask instead
                num_cpus=share.cpus,
                num_gpus=share.gpus,
                scheduling_strategy="SPREAD",
            ).remote(recipe, _end_current_actor)

    def join(self, front: str) -> Awaitable[Hello]:
        """See `WorkerActor.join`."""
        return self._actor.join.remote(front)  # type: ignore[no-any-return]

    def watch(self, front: str, wait_s: float) -> Awaitable[int]:
        """See `WorkerActor.watch`."""
        return self._actor.watch.remote(front, wait_s)  # type: ignore[no-any-return]

    def leave(self, front: str) -> Awaitable[int]:
        """See `WorkerActor.leave`."""
        return self._actor.leave.remote(front)  # type: ignore[no-any-return]

    def answer(self, front: str, job: bytes, depth: Any) -> Any:
        """See `WorkerActor.answer`; the depth may be a `stored` reference to it."""
        return self._actor.answer.remote(front, job, depth)

    def more(self, front: str, number: int) -> Any:
        """See `WorkerActor.more`."""
        return self._actor.more.remote(front, number)

    def kill(self, *, for_good: bool) -> None:
        """End its process now; Ray starts it again unless this is for good."""
        ray.kill(self._actor, no_restart=for_good)


def stored(content: bytes) -> Any:
    """Put bytes into the object store, once for all who will read them; blocks."""
    return ray.put(content)


def _end_current_actor() -> None:
    ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


_WORKER_ACTOR: Final = ray.remote(WorkerActor)
