"""Closed-loop load on an engine behind the real scheduler, without any front end."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from v2vpose.estimator import Target
from v2vpose.serving.admission import Admission
from v2vpose.serving.aggregator import Quorum
from v2vpose.serving.ports import Engine
from v2vpose.serving.scheduler import BatchPolicy, Scheduler
from v2vpose.serving.self_test import synthetic_crop
from v2vpose.values import Decode, FoundBy, ReferencePoint


@dataclass(frozen=True)
class Load:
    """What clients saw, without the first tenth.

    Attributes:
        latency_s: of each request.
        throughput: requests a second.
        cpu_s: that this process took for each request.
    """

    latency_s: Sequence[float]
    throughput: float
    cpu_s: float


async def closed_loop(
    engine: Engine, *, epochs: Sequence[int], policy: BatchPolicy, clients: int, requests: int
) -> Load:
    """Let so many clients ask one request after another; the engine is up."""
    scheduler = Scheduler(engine, policy, Quorum(None))
    engine.on_change(scheduler.dispatch)
    admission = Admission(max_queue_size=clients)
    target = _target(epochs)
    done: list[tuple[float, float]] = []

    async def client() -> None:
        while len(done) + clients <= requests:
            begin_s = time.perf_counter()
            with admission.place() as place:
                answered = await scheduler.answers(target, place=place)
            assert len(answered.answers) == len(epochs)
            end_s = time.perf_counter()
            done.append((end_s, end_s - begin_s))

    begin_cpu_s = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    kept = done[len(done) // 10 : len(done) - clients + 1]
    return Load(
        latency_s=[s for _, s in kept],
        throughput=(len(kept) - 1) / (kept[-1][0] - kept[0][0]),
        cpu_s=(time.process_time() - begin_cpu_s) / len(done),
    )


def in_one_loop(work: Callable[[], object]) -> None:
    """Run a coroutine function on the loop that the service uses."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())  # type: ignore[arg-type]


def _target(epochs: Sequence[int]) -> Target:
    crop = synthetic_crop(250.0)
    return Target(
        crop=crop,
        reference_point=ReferencePoint(crop.reference_point_mm, FoundBy.HINT, 1.0),
        handedness=None,
        is_mirrored=False,
        decode=Decode.ARGMAX,
        epochs=tuple(epochs),
    )
