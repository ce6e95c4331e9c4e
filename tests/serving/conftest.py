"""Engines with real worker processes, and pipelines on them; each is stopped after its test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.serving.fakes import load_fake
from tests.serving.ray_nodes import nodes
from tests.stores import write_tiny_store
from v2vpose.estimator import Localiser
from v2vpose.model_store import Calibration, ModelStore, ModelVersion, write_manifest
from v2vpose.serving.engines.local import LocalEngine
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.pipeline import Pipeline, ServingPolicy
from v2vpose.serving.ports import Engine, LoadMember
from v2vpose.serving.self_test import SelfTest, synthetic_crop
from v2vpose.telemetry import Telemetry

EACH_ALONE = (WorkerPlan(0, (1,)), WorkerPlan(0, (2,)), WorkerPlan(0, (3,)))
ALL_IN_ONE = (WorkerPlan(0, (1, 2, 3)),)
QUICK = BackOff(first_s=0.01, most_s=0.1)


class Changes:
    """Lets a test wait for a change of an engine's state."""

    def __init__(self, engine: Engine) -> None:
        self._changed = asyncio.Event()
        engine.on_change(self._changed.set)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def engine_of(
    plans: Sequence[WorkerPlan] = EACH_ALONE,
    *,
    load: LoadMember = load_fake,
    patience: Patience = Patience(),  # noqa: B008  # frozen
    max_batch_size: int = 4,
    back_off: BackOff = QUICK,
) -> LocalEngine:
    return LocalEngine(
        name="fake/1",
        plans=plans,
        load=load,
        self_test=SelfTest(synthetic_crop(250.0)),
        max_batch_size=max_batch_size,
        patience=patience,
        back_off=back_off,
    )


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Engine], Awaitable[Engine]]]:
    """Start engines that are stopped afterwards."""
    engines: list[Engine] = []

    async def start(engine: Engine) -> Engine:
        engines.append(engine)
        await engine.start()
        return engine

    yield start
    for engine in engines:
        await engine.stop(grace_s=0)


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    """Two nodes of a Ray cluster; room for six members each."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with nodes(head_cpus=6) as cluster:
        cluster.add(cpus=6)
        yield cluster.address


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Model `hand`: two versions of random weights, 2 is calibrated, 3 has a broken file."""
    root = tmp_path_factory.mktemp("store")
    for number in ("1", "2", "3"):
        version = write_tiny_store(root, version=number)
        if number == "2":
            worth = Calibration(within_mm=20, peaks=[0.0, 1.0], shares=[0.0, 0.5])
            calibrated = version.manifest.model_copy(update={"calibration": worth})
            write_manifest(version.directory, calibrated)
    path = root / "hand" / "3" / "epoch-02.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")
    return ModelStore(root)


class Bench:
    """A pipeline that serves model `hand`, and its metrics."""

    def __init__(self, pipeline: Pipeline, telemetry: Telemetry) -> None:
        self.pipeline = pipeline
        self._telemetry = telemetry

    def value(self, name: str, **labels: str) -> float | None:
        return self._telemetry.registry.get_sample_value(f"v2vpose_{name}", labels)

    def pids(self) -> list[int]:
        (health,) = self.pipeline.health()
        return [worker.pid for worker in health.workers if worker.pid is not None]


@pytest.fixture
async def serve(store: ModelStore) -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    """Start pipelines on fake members, or on real ones, that are stopped afterwards."""
    pipelines: list[Pipeline] = []

    async def serve(
        *,
        version: str | None = "1",
        policy: ServingPolicy = ServingPolicy(),  # noqa: B008  # frozen
        engine: Callable[[ModelVersion], Engine] | None = None,
        localiser: Callable[[ModelVersion], Localiser] = Localiser.load,
        **fake: Any,
    ) -> Bench:
        telemetry = Telemetry(CollectorRegistry())
        pipeline = Pipeline(
            store,
            {"hand": version},
            engine=engine or (lambda _: engine_of(**fake)),
            localiser=localiser,
            policy=policy,
            telemetry=telemetry,
        )
        pipelines.append(pipeline)
        await pipeline.start()
        return Bench(pipeline, telemetry)

    yield serve
    for pipeline in pipelines:
        await pipeline.stop(grace_s=0)
