"""The engine of one machine: worker processes, and shared memory for the depth crops."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Final

import torch

from v2vpose.backends import BackendName, BackendWish, chosen_backend
from v2vpose.member import load_member, net_shape
from v2vpose.model_store import ModelVersion
from v2vpose.serving.engines import holders
from v2vpose.serving.engines.messages import Job, Start
from v2vpose.serving.engines.placement import WorkerPlan, automatic, available_cores
from v2vpose.serving.engines.shared_crops import SharedCrops
from v2vpose.serving.engines.supervisor import BackOff, Supervisor
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.ports import (
    BATCHES_A_REPLICA,
    MAX_FRAME_PX,
    Batch,
    Listener,
    LoadMember,
    Member,
    MemberState,
    WorkerHealth,
)
from v2vpose.serving.self_test import SelfTest, load_self_test

_LOG: Final = logging.getLogger(__name__)


class LocalEngine:
    """Worker processes on this machine; see `ports.Engine`.

    Args:
        name: of what is served, for people.
        plans: the workers; every replica holds the same epoch checkpoints.
        load: loads a member in its worker.
        self_test: must pass before a worker is ready.
        max_batch_size: of the batches that will come.
        patience: how long a worker may be silent.
        back_off: how long to wait before a worker is started again.
    """

    def __init__(
        self,
        *,
        name: str,
        plans: Sequence[WorkerPlan],
        load: LoadMember,
        self_test: SelfTest,
        max_batch_size: int,
        patience: Patience,
        back_off: BackOff,
    ) -> None:
        self.replicas = 1 + max(plan.replica for plan in plans)
        self._name = name
        self._plans = tuple(plans)
        self._load = load
        self._self_test = self_test
        self._max_batch_size = max_batch_size
        self._patience = patience
        self._back_off = back_off
        self._notify: Callable[[], None] = lambda: None
        self._numbers = count()
        self._crops: SharedCrops | None = None
        self._supervisors: list[Supervisor] = []

    async def start(self) -> None:
        """See `ports.Engine`."""
        self._crops = SharedCrops(
            # a worker that is late keeps the crops it has, while new batches go round it
            regions=BATCHES_A_REPLICA * (self.replicas + len(self._plans)),
            region_px=self._max_batch_size * MAX_FRAME_PX,
        )
        self._supervisors = [
            self._supervisor(index, plan, self._crops.fd) for index, plan in enumerate(self._plans)
        ]
        try:
            await asyncio.gather(*(supervisor.start() for supervisor in self._supervisors))
        except BaseException:
            await self.stop(grace_s=0)
            raise

    async def stop(self, *, grace_s: float) -> None:
        """See `ports.Engine`."""
        await asyncio.gather(*(each.stop(grace_s=grace_s) for each in self._supervisors))
        if self._crops is not None:
            self._crops.close()
            self._crops = None

    def states(self, replica: int) -> Mapping[int, MemberState]:
        """See `ports.Engine`; a member is as well as the best worker that holds it."""
        return holders.states(self._of(replica))

    def submit(self, batch: Batch, replica: int, epochs: frozenset[int], to: Listener) -> None:
        """See `ports.Engine`."""
        if self._crops is None:
            raise RuntimeError("start comes first")
        written = self._crops.write([ask.crop for ask in batch.asks])
        if written is None:  # held by late workers; they will not be late for ever
            for epoch in epochs:
                asyncio.get_running_loop().call_soon(to.failed, epoch)
            return
        region, refs = written
        shares = holders.shares(self._of(replica), epochs)
        reading = _Countdown(len(shares), partial(self._crops.release, region))
        number = next(self._numbers)
        for supervisor, share in shares:
            rows = {epoch: batch.rows_of(epoch) for epoch in share}
            supervisor.worker.ask(Job(number, refs, batch.decode, rows), to, reading.step)

    def on_change(self, notify: Callable[[], None]) -> None:
        """See `ports.Engine`."""
        self._notify = notify

    def workers(self) -> Sequence[WorkerHealth]:
        """See `ports.Engine`."""
        return [
            WorkerHealth(
                name=supervisor.name,
                epochs=supervisor.plan.epochs,
                device=supervisor.plan.device,
                up=supervisor.worker.state is not MemberState.DOWN,
                restarts=supervisor.restarts,
                pid=supervisor.worker.pid,
            )
            for supervisor in self._supervisors
        ]

    def _of(self, replica: int) -> list[Supervisor]:
        return [each for each in self._supervisors if each.plan.replica == replica]

    def _changed(self) -> None:
        self._notify()

    def _supervisor(self, index: int, plan: WorkerPlan, crops_fd: int) -> Supervisor:
        return Supervisor(
            name=f"{self._name} worker {index}",
            index=index,
            plan=plan,
            message=Start(
                load=self._load,
                epochs=plan.epochs,
                threads=plan.threads,
                crops_fd=crops_fd,
                max_batch_size=self._max_batch_size,
                self_test=self._self_test,
            ),
            environment=_environment(plan),
            patience=self._patience,
            back_off=self._back_off,
            on_change=self._changed,
        )


class _Countdown:
    """Calls `at_zero` at the last of so many steps."""

    def __init__(self, steps: int, at_zero: Callable[[], None]) -> None:
        self._left = steps
        self._at_zero = at_zero

    def step(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._at_zero()


def _environment(plan: WorkerPlan) -> dict[str, str]:
    """Return the variables that keep a worker to its device and its threads."""
    kind, _, index = plan.device.partition(":")
    threads = {f"{library}_NUM_THREADS": str(plan.threads) for library in ("OMP", "OPENBLAS")}
    return {**threads, "CUDA_VISIBLE_DEVICES": index} if kind == "cuda" else threads


def local_engine(
    version: ModelVersion,
    *,
    max_batch_size: int,
    backend: BackendWish | None = None,
    replicas: int = 1,
    plans: Sequence[WorkerPlan] | None = None,
    patience: Patience | None = None,
    back_off: BackOff | None = None,
) -> LocalEngine:
    """Return the engine of a model version.

    Args:
        version: the model version.
        max_batch_size: of the batches that will come.
        backend: None = the fastest here.
        replicas: copies of the ensemble; for placement None.
        plans: where the members run; None = `placement.automatic`.
        patience: how long a worker may be silent; None = the defaults.
        back_off: how long to wait before a worker is started again; None = the defaults.

    Raises:
        InvalidModelError: its self-test cannot be read.
    """
    manifest = version.manifest
    cores = available_cores()
    threads = automatic(manifest.epoch_numbers, cores=cores, replicas=replicas)[0].threads
    chosen = chosen_backend(net_shape(manifest), backend, threads=threads, is_apart=True)
    _LOG.info("%s/%s runs on %s", manifest.model, manifest.version, chosen)
    return LocalEngine(
        name=f"{manifest.model}/{manifest.version}",
        plans=plans
        or automatic(
            manifest.epoch_numbers,
            cores=cores,
            gpus=torch.cuda.device_count() if chosen == "cuda" else 0,
            replicas=replicas,
        ),
        load=partial(_load, version, chosen),
        self_test=load_self_test(version.directory, side_mm=manifest.side_mm),
        max_batch_size=max_batch_size,
        patience=patience or Patience(),
        back_off=back_off or BackOff(),
    )


def _load(version: ModelVersion, backend: BackendName, epoch: int, *, threads: int) -> Member:
    return load_member(version, epoch, backend=backend, threads=threads)
