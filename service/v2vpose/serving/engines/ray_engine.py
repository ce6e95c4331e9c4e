"""The engine of many machines: Ray actors that hold the members of every replica.

On GPUs every member has an actor of its own. On cores the members of a replica are packed as the
local engine packs them, into as many actors as a node has cores, because every call to an actor
costs; see `placement`.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Final

from v2vpose.backends import BackendWish
from v2vpose.member import load_member
from v2vpose.model_store import ModelVersion
from v2vpose.serving.engines import holders
from v2vpose.serving.engines.messages import Job
from v2vpose.serving.engines.placement import WorkerPlan, in_actors
from v2vpose.serving.engines.ray_actor import ActorRecipe
from v2vpose.serving.engines.ray_cluster import ActorHandle, Share, connect, node_cores, stored
from v2vpose.serving.engines.ray_worker import RayWorker
from v2vpose.serving.engines.shared_crops import CropRef, depth_of
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.ports import (
    Batch,
    Listener,
    LoadMember,
    Member,
    MemberState,
    WorkerHealth,
)
from v2vpose.serving.self_test import SelfTest, load_self_test

INLINE_BYTES: Final = 100_000
"""Larger batches travel through Ray's object store; it carries up to 100 KiB inside a call."""


class RayEngine:
    """Actors of a Ray cluster; see `ports.Engine`.

    Args:
        address: of the cluster.
        name: of what is served; part of the actors' names, so that front ends share them.
        epochs: the members.
        replicas: copies of the ensemble.
        load: loads a member in its actor.
        self_test: must pass before an actor is ready.
        max_batch_size: of the batches that will come.
        share: what one actor takes of its node.
        actors: of each replica; None = see above.
        patience: how long an actor may be silent.
        back_off: how long to wait between two tries to join an actor again.
    """

    def __init__(
        self,
        *,
        address: str,
        name: str,
        epochs: Sequence[int],
        replicas: int,
        load: LoadMember,
        self_test: SelfTest,
        max_batch_size: int,
        share: Share,
        actors: int | None = None,
        patience: Patience,
        back_off: BackOff,
    ) -> None:
        self.replicas = replicas
        self._address = address
        self._name = name
        self._epochs = tuple(epochs)
        self._load = load
        self._self_test = self_test
        self._max_batch_size = max_batch_size
        self._share = share
        self._actors = actors
        self._patience = patience
        self._back_off = back_off
        self._front = uuid.uuid4().hex
        self._notify: Callable[[], None] = lambda: None
        self._numbers = count()
        self._sending: set[asyncio.Task[None]] = set()
        self._workers: list[RayWorker] = []

    async def start(self) -> None:
        """See `ports.Engine`."""
        await asyncio.to_thread(connect, self._address)
        actors = self._actors
        if actors is None:
            actors = await asyncio.to_thread(self._actors_that_fit)
        plans = in_actors(
            self._epochs,
            actors=actors,
            threads=max(1, int(self._share.cpus)),
            device="gpu" if self._share.gpus else "cpu",
            replicas=self.replicas,
        )
        self._workers = [self._worker(index, plan) for index, plan in enumerate(plans)]
        starts = [asyncio.create_task(worker.start()) for worker in self._workers]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.wait(starts)
            await self.stop(grace_s=0)
            raise

    async def stop(self, *, grace_s: float) -> None:
        """See `ports.Engine`; actors that other front ends hold stay."""
        await asyncio.gather(*(worker.stop(grace_s=grace_s) for worker in self._workers))

    def states(self, replica: int) -> Mapping[int, MemberState]:
        """See `ports.Engine`; a member is as well as the best actor that holds it."""
        return holders.states(self._of(replica))

    def submit(self, batch: Batch, replica: int, epochs: frozenset[int], to: Listener) -> None:
        """See `ports.Engine`."""
        depth, refs = depth_of([ask.crop for ask in batch.asks])
        if len(depth) <= INLINE_BYTES:
            self._ask(depth, refs, batch, replica, epochs, to)
            return
        sending = asyncio.create_task(self._store_and_ask(depth, refs, batch, replica, epochs, to))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    def on_change(self, notify: Callable[[], None]) -> None:
        """See `ports.Engine`."""
        self._notify = notify

    def workers(self) -> Sequence[WorkerHealth]:
        """See `ports.Engine`."""
        return [
            WorkerHealth(
                name=worker.name,
                epochs=worker.plan.epochs,
                device=worker.plan.device,
                up=worker.state is not MemberState.DOWN,
                restarts=worker.restarts,
                pid=worker.pid,
            )
            for worker in self._workers
        ]

    def _actors_that_fit(self) -> int:
        """Return how many actors a replica shall have; blocks."""
        cores = node_cores()
        if self._share.gpus or not cores:
            return len(self._epochs)
        room = min(*cores, sum(cores) / self.replicas)
        return max(1, int(room / max(1.0, self._share.cpus)))

    def _worker(self, index: int, plan: WorkerPlan) -> RayWorker:
        held = "+".join(map(str, plan.epochs))
        recipe = ActorRecipe(
            self._load, plan.epochs, plan.threads, self._max_batch_size, self._self_test
        )
        return RayWorker(
            name=f"{self._name} replica {plan.replica} epoch {held}",
            index=index,
            plan=plan,
            front=self._front,
            hold=partial(ActorHandle, f"{self._name}/{plan.replica}/{held}", recipe, self._share),
            patience=self._patience,
            back_off=self._back_off,
            on_change=self._changed,
        )

    def _of(self, replica: int) -> list[RayWorker]:
        return [worker for worker in self._workers if worker.plan.replica == replica]

    async def _store_and_ask(
        self,
        depth: bytes,
        refs: tuple[CropRef, ...],
        batch: Batch,
        replica: int,
        epochs: frozenset[int],
        to: Listener,
    ) -> None:
        """Put much depth into the object store, once for all actors, then ask."""
        reference = await asyncio.to_thread(stored, depth)
        self._ask(reference, refs, batch, replica, epochs, to)

    def _ask(
        self,
        depth: object,
        refs: tuple[CropRef, ...],
        batch: Batch,
        replica: int,
        epochs: frozenset[int],
        to: Listener,
    ) -> None:
        number = next(self._numbers)
        for worker, share in holders.shares(self._of(replica), epochs):
            rows = {epoch: batch.rows_of(epoch) for epoch in share}
            worker.ask(Job(number, refs, batch.decode, rows), depth, to)

    def _changed(self) -> None:
        self._notify()


def ray_engine(
    version: ModelVersion,
    *,
    address: str,
    max_batch_size: int,
    share: Share,
    actors: int | None = None,
    backend: BackendWish | None = None,
    replicas: int = 1,
) -> RayEngine:
    """Return the engine of a model version on a Ray cluster.

    Args:
        version: the model version, in a store that every node sees at the same path.
        address: of the cluster, see `ray_cluster.connect`.
        max_batch_size: of the batches that will come.
        share: what one actor takes of its node.
        actors: of each replica; None = one a member on GPUs, else as many as a node has cores.
        backend: None = the fastest where the member runs.
        replicas: copies of the ensemble.

    Raises:
        InvalidModelError: its self-test cannot be read.
    """
    manifest = version.manifest
    return RayEngine(
        address=address,
        name=f"{manifest.model}/{manifest.version}",
        epochs=manifest.epoch_numbers,
        replicas=replicas,
        load=partial(_load, version, backend),
        self_test=load_self_test(version.directory, side_mm=manifest.side_mm),
        max_batch_size=max_batch_size,
        share=share,
        actors=actors,
        patience=Patience(),
        back_off=BackOff(most_s=1.0),
    )


def _load(
    version: ModelVersion, backend: BackendWish | None, epoch: int, *, threads: int
) -> Member:
    return load_member(version, epoch, backend=backend, threads=threads)
