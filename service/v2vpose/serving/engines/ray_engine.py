"""The engine of many machines: one Ray actor for every member of every replica."""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Final

from v2vpose.backends import BackendWish
from v2vpose.member import load_member
from v2vpose.model_store import ModelVersion
from v2vpose.serving.engines.ray_actor import ActorRecipe, packed_crops
from v2vpose.serving.engines.ray_cluster import ActorHandle, Share, connect, stored
from v2vpose.serving.engines.ray_member import RayMember
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
        share: what one member takes of its node.
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
        patience: Patience,
        back_off: BackOff,
    ) -> None:
        self.replicas = replicas
        self._address = address
        self._share = share
        self._notify: Callable[[], None] = lambda: None
        self._numbers = count()
        self._sending: set[asyncio.Task[None]] = set()
        front = uuid.uuid4().hex
        places = [(replica, epoch) for replica in range(replicas) for epoch in epochs]
        self._members = {
            (replica, epoch): RayMember(
                name=f"{name} replica {replica} epoch {epoch}",
                epoch=epoch,
                index=index,
                front=front,
                hold=partial(
                    ActorHandle,
                    f"{name}/{replica}/{epoch}",
                    ActorRecipe(load, epoch, max(1, int(share.cpus)), max_batch_size, self_test),
                    share,
                ),
                patience=patience,
                back_off=back_off,
                on_change=self._changed,
            )
            for index, (replica, epoch) in enumerate(places)
        }

    async def start(self) -> None:
        """See `ports.Engine`."""
        await asyncio.to_thread(connect, self._address)
        starts = [asyncio.create_task(member.start()) for member in self._members.values()]
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
        await asyncio.gather(*(member.stop(grace_s=grace_s) for member in self._members.values()))

    def states(self, replica: int) -> Mapping[int, MemberState]:
        """See `ports.Engine`."""
        return {
            epoch: member.state
            for (place, epoch), member in self._members.items()
            if place == replica
        }

    def submit(self, batch: Batch, replica: int, epochs: frozenset[int], to: Listener) -> None:
        """See `ports.Engine`."""
        packed = packed_crops([ask.crop for ask in batch.asks], batch.decode)
        if len(packed) <= INLINE_BYTES:
            self._ask(packed, batch, replica, epochs, to)
            return
        sending = asyncio.create_task(self._store_and_ask(packed, batch, replica, epochs, to))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    def on_change(self, notify: Callable[[], None]) -> None:
        """See `ports.Engine`."""
        self._notify = notify

    def workers(self) -> Sequence[WorkerHealth]:
        """See `ports.Engine`."""
        device = "gpu" if self._share.gpus else "cpu"
        return [
            WorkerHealth(
                name=member.name,
                epochs=(member.epoch,),
                device=device,
                up=member.state is not MemberState.DOWN,
                restarts=member.restarts,
                pid=member.pid,
            )
            for member in self._members.values()
        ]

    async def _store_and_ask(
        self, packed: bytes, batch: Batch, replica: int, epochs: frozenset[int], to: Listener
    ) -> None:
        """Put large crops into the object store, once for all members, then ask."""
        reference = await asyncio.to_thread(stored, packed)
        self._ask(reference, batch, replica, epochs, to)

    def _ask(
        self, crops: object, batch: Batch, replica: int, epochs: frozenset[int], to: Listener
    ) -> None:
        number = next(self._numbers)
        for epoch in sorted(epochs):
            self._members[replica, epoch].ask(number, crops, batch.rows_of(epoch), to)

    def _changed(self) -> None:
        self._notify()


def ray_engine(
    version: ModelVersion,
    *,
    address: str,
    max_batch_size: int,
    share: Share,
    backend: BackendWish | None = None,
    replicas: int = 1,
) -> RayEngine:
    """Return the engine of a model version on a Ray cluster.

    Args:
        version: the model version, in a store that every node sees at the same path.
        address: of the cluster, see `ray_cluster.connect`.
        max_batch_size: of the batches that will come.
        share: what one member takes of its node.
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
        patience=Patience(),
        back_off=BackOff(most_s=1.0),
    )


def _load(
    version: ModelVersion, backend: BackendWish | None, epoch: int, *, threads: int
) -> Member:
    return load_member(version, epoch, backend=backend, threads=threads)
