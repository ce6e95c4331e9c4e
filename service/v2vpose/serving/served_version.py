"""One model version being served: its localiser, its ensemble, its queue, and who is using it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from v2vpose.estimator import Localiser
from v2vpose.model_store import Manifest
from v2vpose.serving.aggregator import Quorum
from v2vpose.serving.ports import Engine, MemberState, ModelHealth
from v2vpose.serving.scheduler import Scheduler
from v2vpose.telemetry import Telemetry


class ServedVersion:
    """A model version, from its first request to its last.

    Args:
        manifest: of the model version.
        localiser: finds the target of a frame.
        engine: its ensemble.
        scheduler: the queue before the engine.
        quorum: how many members must answer.
    """

    def __init__(
        self,
        manifest: Manifest,
        *,
        localiser: Localiser,
        engine: Engine,
        scheduler: Scheduler,
        quorum: Quorum,
    ) -> None:
        self.manifest = manifest
        self.localiser = localiser
        self.engine = engine
        self.scheduler = scheduler
        self._quorum = quorum
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._restarts_told = 0

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the version from being stopped."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if self._users == 0:
                self._unused.set()

    async def drained(self) -> None:
        """Wait until nobody uses the version."""
        await self._unused.wait()

    def health(self) -> ModelHealth:
        """Return the state of the ensemble and its workers."""
        ups = (
            [e for e, s in self.engine.states(replica).items() if s is not MemberState.DOWN]
            for replica in range(self.engine.replicas)
        )
        epochs_up = max(ups, key=len)
        epochs = self.manifest.epoch_numbers
        return ModelHealth(
            model=self.manifest.model,
            version=self.manifest.version,
            epochs=epochs,
            epochs_up=tuple(sorted(epochs_up)),
            quorum=self._quorum.of(len(epochs)),
            workers=tuple(self.engine.workers()),
        )

    def report(self, telemetry: Telemetry) -> None:
        """Write the state of the workers into the metrics."""
        model = self.manifest.model
        telemetry.model_info.labels(model, self.manifest.version).set(1)
        for labels, up in self._members_up().items():
            telemetry.worker_up.labels(model, *labels).set(up)
        restarts = sum(worker.restarts for worker in self.engine.workers())
        telemetry.worker_restarts_total.inc(restarts - self._restarts_told)
        self._restarts_told = restarts

    def forget(self, telemetry: Telemetry) -> None:
        """Take this version out of the metrics; another one is being served."""
        model = self.manifest.model
        telemetry.model_info.remove(model, self.manifest.version)
        for labels in self._members_up():
            telemetry.worker_up.remove(model, *labels)

    def _members_up(self) -> dict[tuple[str, str], int]:
        """Return how many workers hold each member, by (epoch, device), and are up."""
        up: dict[tuple[str, str], int] = {}
        for worker in self.engine.workers():
            for epoch in worker.epochs:
                labels = (str(epoch), worker.device)
                up[labels] = up.get(labels, 0) + worker.up
        return up
