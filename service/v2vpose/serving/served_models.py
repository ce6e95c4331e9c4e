"""The models of the service through their versions: up, exchanged under traffic, down."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from v2vpose.errors import UnavailableError, UnknownModelError
from v2vpose.estimator import Localiser
from v2vpose.model_store import Manifest, ModelStore, ModelVersion
from v2vpose.serving.aggregator import Quorum
from v2vpose.serving.ports import Engine
from v2vpose.serving.scheduler import BatchPolicy, Scheduler
from v2vpose.serving.served_version import ServedVersion
from v2vpose.telemetry import Telemetry

_RETIRE_S = 1.0  # for workers that have nothing left to do


class ServedModels:
    """One version of each model at a time; and old ones until their last request is answered.

    Args:
        store: where the models are.
        models: which version of each model; None = the newest. The first is the default model.
        engine: makes the engine of a model version.
        localiser: makes what finds targets for it.
        batch: when a batch closes.
        quorum: how many members must answer.
        telemetry: where the workers' state is written.
    """

    def __init__(
        self,
        store: ModelStore,
        models: Mapping[str, str | None],
        *,
        engine: Callable[[ModelVersion], Engine],
        localiser: Callable[[ModelVersion], Localiser],
        batch: BatchPolicy,
        quorum: Quorum,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._models = dict(models)
        self._engine = engine
        self._localiser = localiser
        self._batch = batch
        self._quorum = quorum
        self._telemetry = telemetry
        self._served: dict[str, ServedVersion] = {}
        self._retiring: dict[ServedVersion, asyncio.Task[None]] = {}
        self._reloading = asyncio.Lock()
        self._stopped = False

    @property
    def ready(self) -> bool:
        """Whether every model is up and has its quorum."""
        all_up = len(self._served) == len(self._models)
        return all_up and all(served.health().ready for served in self._served.values())

    def served(self) -> Sequence[ServedVersion]:
        """Return the versions being served; the default model first."""
        return list(self._served.values())

    def find(self, model: str | None, version: str | None) -> ServedVersion:
        """Return the version of a model that is being served.

        Args:
            model: None = the default model.
            version: None = whichever it is.

        Raises:
            UnknownModelError: it is another one, or there is no such model.
            UnavailableError: it is not up yet.
        """
        name = next(iter(self._models)) if model is None else model
        if name not in self._models:
            raise UnknownModelError(f"no model {name!r}; served: {', '.join(self._models)}")
        if name not in self._served:
            raise UnavailableError(f"{name} is not up yet; try again later")
        served = self._served[name]
        if version not in {None, served.manifest.version}:
            raise UnknownModelError(
                f"{name} version {version!r} is not served; version {served.manifest.version} is"
            )
        return served

    async def start(self) -> None:
        """Bring every model up; if it raises, nothing is left running.

        Raises:
            UnknownModelError, InvalidModelError: a model cannot be served.
            UnavailableError: a worker did not come up.
        """
        try:
            for model, version in self._models.items():
                self._serve(await self._bring_up(model, version))
        except BaseException:
            await self.stop(grace_s=0)
            raise

    async def stop(self, *, grace_s: float) -> None:
        """Wait for the users of every version within the grace, then stop the workers."""
        self._stopped = True
        for task in self._retiring.values():
            task.cancel()
        end_s = time.monotonic() + grace_s
        versions = [*self._served.values(), *self._retiring]
        await asyncio.gather(*(_drain_and_stop(version, end_s) for version in versions))

    async def reload(self, model: str, version: str | None) -> Manifest:
        """See `Pipeline.reload`."""
        async with self._reloading:
            old = self.find(model, None)
            new = await self._bring_up(model, version)
            if self._stopped:
                await new.engine.stop(grace_s=0)
                raise UnavailableError("the service is draining; nothing is reloaded")
            old.forget(self._telemetry)
            self._serve(new)
            self._retiring[old] = asyncio.create_task(self._retire(old))
            return new.manifest

    async def _bring_up(self, model: str, version: str | None) -> ServedVersion:
        """Open a version, and bring its engine up."""

        def prepare() -> tuple[ModelVersion, Localiser, Engine]:
            opened = self._store.open(model, version)
            return opened, self._localiser(opened), self._engine(opened)

        opened, localiser, engine = await asyncio.to_thread(prepare)
        served = ServedVersion(
            opened.manifest,
            localiser=localiser,
            engine=engine,
            scheduler=Scheduler(
                engine, self._batch, self._quorum, on_batch=self._telemetry.batch_size.observe
            ),
            quorum=self._quorum,
        )
        engine.on_change(lambda: self._workers_changed(served))
        await engine.start()
        return served

    def _serve(self, served: ServedVersion) -> None:
        self._served[served.manifest.model] = served
        served.report(self._telemetry)

    def _workers_changed(self, served: ServedVersion) -> None:
        if self._served.get(served.manifest.model) is served:
            served.report(self._telemetry)
        served.scheduler.dispatch()

    async def _retire(self, old: ServedVersion) -> None:
        await old.drained()
        await old.engine.stop(grace_s=_RETIRE_S)
        del self._retiring[old]


async def _drain_and_stop(version: ServedVersion, end_s: float) -> None:
    """Wait for the users of a version until `end_s`, then stop it."""
    try:
        async with asyncio.timeout(end_s - time.monotonic()):
            await version.drained()
    except TimeoutError:
        pass
    await version.engine.stop(grace_s=max(end_s - time.monotonic(), 0.0))
