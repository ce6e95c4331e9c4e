"""The pipeline on real worker processes; the members are fakes, but for the reloads."""

import asyncio
import os
import signal
import threading
import time

import numpy as np
import pytest

from tests.serving.conftest import ALL_IN_ONE, Bench, engine_of
from tests.serving.fakes import CAMERA, DIE, FAIL, SLEEP, STOP, load_broken, load_fake, until
from v2vpose.errors import (
    DeadlineExceededError,
    InvalidModelError,
    NothingToEstimateError,
    OverloadedError,
    PayloadTooLargeError,
    UnavailableError,
    UnknownModelError,
)
from v2vpose.estimator import Localiser, Options, Search
from v2vpose.model_store import ModelVersion
from v2vpose.serving.engines.local import local_engine
from v2vpose.serving.engines.placement import WorkerPlan
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.pipeline import Estimate, ServingPolicy
from v2vpose.serving.ports import Engine
from v2vpose.serving.scheduler import BatchPolicy
from v2vpose.values import DepthFrame, Hint, Pose

ONE_BY_ONE = BatchPolicy(max_batch_size=1)
SLOW = BackOff(first_s=60)
IMPATIENT = Patience(late_s=0.1, late_factor=0, hung_s=0.3, hung_factor=0)
STAGES = {"locate", "queue", "forward", "aggregate", "total"}


def frame(order: int = 0, argument: float = 0.0) -> DepthFrame:
    """A small frame whose crop is the whole of it; the members obey its first reading."""
    depth_mm = np.full((16, 16), 500, dtype=np.float32)
    depth_mm[0, :2] = order, argument
    return DepthFrame(depth_mm, CAMERA)


def at(x_mm: float = 0.0, *, epochs: tuple[int, ...] | None = None) -> Options:
    return Options(hint=Hint(reference_point_mm=(x_mm, 0.0, 500.0)), epochs=epochs)


def asked(bench: Bench, *crop: float, x_mm: float = 0.0) -> asyncio.Task[Estimate]:
    return asyncio.create_task(bench.pipeline.estimate(frame(*crop), at(x_mm)))  # type: ignore[arg-type]


def sleeping(bench: Bench, wait_s: float) -> asyncio.Task[Estimate]:
    return asked(bench, SLEEP, wait_s)


def torch_engine(version: ModelVersion) -> Engine:
    return local_engine(version, backend="torch", max_batch_size=1)


def fake_engine(version: ModelVersion) -> Engine:
    is_broken = version.manifest.version == "3"
    return engine_of(ALL_IN_ONE, load=load_broken if is_broken else load_fake)


async def test_an_estimate_is_the_mean_of_the_members_and_says_where_time_went(serve):
    bench = await serve()
    estimate = await bench.pipeline.estimate(frame(), at(10.0), model="hand", version="1")
    assert (estimate.model, estimate.version) == ("hand", "1")
    np.testing.assert_allclose(estimate.pose.keypoints_mm[0], [12, 0, 500])
    assert estimate.pose.answered == (1, 2, 3)
    assert set(estimate.timing_s) == STAGES
    parts_s = sum(s for stage, s in estimate.timing_s.items() if stage not in {"total", "forward"})
    assert 0 < parts_s < estimate.timing_s["total"]


async def test_several_hints_are_targets_of_one_batch(serve):
    bench = await serve(plans=ALL_IN_ONE)
    estimate = await bench.pipeline.estimate(
        frame(), Options(hints=tuple(at(x).hint for x in (10.0, 20.0, 30.0)))
    )
    xs_mm = [t.keypoints_mm[0, 0] for t in estimate.targets if isinstance(t, Pose)]
    assert xs_mm == [12, 22, 32]
    assert estimate.pose is estimate.targets[0]
    assert bench.value("batch_size_count") == 1
    assert bench.value("batch_size_sum") == 3
    assert (await bench.pipeline.estimate(frame(), at())).targets == ()


async def test_a_hint_without_readings_costs_the_others_nothing(serve):
    bench = await serve(plans=ALL_IN_ONE)
    empty = Hint(range_mm=(1001.0, 1002.0))
    estimate = await bench.pipeline.estimate(frame(), Options(hints=(empty, at(10.0).hint)))
    assert isinstance(estimate.targets[0], NothingToEstimateError)
    assert estimate.pose is estimate.targets[1]
    with pytest.raises(NothingToEstimateError, match="found 0 readings"):
        await bench.pipeline.estimate(frame(), Options(hints=(empty, empty)))


async def test_what_is_measured(serve):
    bench = await serve(version="2")
    pose = (await bench.pipeline.estimate(frame(), at())).pose
    assert pose.confidence.mean() == 0.25
    with pytest.raises(NothingToEstimateError):
        await bench.pipeline.estimate(DepthFrame(np.zeros((9, 9), np.float32), CAMERA), Options())
    for stage in STAGES - {"total"}:
        assert bench.value("stage_seconds_count", stage=stage) == 1
    assert bench.value("batch_size_count") == 1
    assert bench.value("ensemble_answered_sum", model="hand") == 3
    assert bench.value("degraded_total") == 0
    assert bench.value("ensemble_spread_mm_sum") == pytest.approx(np.sqrt(2 / 3))
    assert bench.value("keypoint_confidence_sum") == 0.5  # the peaks, whatever they are worth
    assert bench.value("queue_depth", model="hand") == 0
    assert bench.value("model_info", model="hand", version="2") == 1
    assert bench.value("worker_up", model="hand", epoch="2", device="cpu") == 1
    assert bench.value("worker_restarts_total") == 0


async def test_what_is_not_served_is_unknown(serve):
    bench = await serve()
    for model, version in (("foot", None), ("hand", "2")):
        with pytest.raises(UnknownModelError):
            await bench.pipeline.estimate(frame(), at(), model=model, version=version)
        with pytest.raises(UnknownModelError):
            bench.pipeline.manifest(model, version)
    with pytest.raises(UnknownModelError, match="no epoch 9"):
        await bench.pipeline.estimate(frame(), at(epochs=(9,)))
    assert [m.model for m in bench.pipeline.models()] == ["hand"]
    assert bench.pipeline.manifest().version == "1"


async def test_a_frame_too_large_for_the_engine_is_refused(serve):
    bench = await serve(plans=ALL_IN_ONE)
    huge = DepthFrame(np.zeros((4097, 4096), np.float32), CAMERA)
    with pytest.raises(PayloadTooLargeError):
        await bench.pipeline.estimate(huge, at())


class Watched:
    """A localiser that notes which thread it runs in."""

    def __init__(self, version: ModelVersion) -> None:
        self._localiser = Localiser.load(version)
        self.threads: list[threading.Thread] = []

    def search(self, frame: DepthFrame, options: Options) -> Search:
        self.threads.append(threading.current_thread())
        return self._localiser.search(frame, options)


async def test_a_search_does_not_hold_up_the_event_loop(serve, store):
    watched = Watched(store.open("hand", "1"))
    bench = await serve(plans=ALL_IN_ONE, localiser=lambda _: watched)
    several = Options(hints=(at().hint, at(1.0).hint))
    for options in (Options(), at(), several):
        await bench.pipeline.estimate(frame(), options)
    in_loop = [thread is threading.current_thread() for thread in watched.threads]
    assert in_loop == [False, True, True]  # places known: there is nothing to search


async def test_a_full_queue_refuses_at_once_and_recovers(serve):
    bench = await serve(policy=ServingPolicy(batch=ONE_BY_ONE, max_queue_size=2), plans=ALL_IN_ONE)
    working = [sleeping(bench, 0.2), sleeping(bench, 0.2)]
    await until(lambda: bench.value("batch_size_count") == 2)  # one at work, one to follow
    working += [sleeping(bench, 0), sleeping(bench, 0)]
    await until(lambda: bench.value("queue_depth", model="hand") == 2)
    before_s = time.monotonic()
    with pytest.raises(OverloadedError):
        await bench.pipeline.estimate(frame(), at())
    assert time.monotonic() - before_s < 0.05
    assert len(await asyncio.gather(*working)) == 4
    await bench.pipeline.estimate(frame(), at())
    assert bench.value("rejected_total", reason="overloaded") == 1


async def test_a_deadline_is_kept_and_what_is_late_is_dropped(serve):
    bench = await serve(policy=ServingPolicy(batch=ONE_BY_ONE), plans=ALL_IN_ONE)
    working = [sleeping(bench, 0.2), sleeping(bench, 0.0)]
    await until(lambda: bench.value("batch_size_count") == 2)
    deadline_s = time.monotonic() + 0.05
    with pytest.raises(DeadlineExceededError):
        await bench.pipeline.estimate(frame(DIE), at(), deadline_s=deadline_s)
    assert time.monotonic() - deadline_s < 0.1
    assert bench.value("queue_depth", model="hand") == 0
    assert bench.value("rejected_total", reason="deadline_exceeded") == 1
    await asyncio.gather(*working)
    assert bench.value("batch_size_count") == 2  # it was never sent
    assert bench.value("worker_restarts_total") == 0


async def test_a_deadline_in_the_past_is_refused_before_any_work(serve):
    bench = await serve(plans=ALL_IN_ONE)
    with pytest.raises(DeadlineExceededError):
        await bench.pipeline.estimate(frame(), at(), deadline_s=time.monotonic() - 1)
    assert bench.value("batch_size_count") == 0


async def test_a_cancelled_caller_does_not_cost_its_mates_their_answer(serve):
    policy = ServingPolicy(batch=BatchPolicy(max_batch_size=3, max_queue_delay_s=60))
    bench = await serve(policy=policy, plans=ALL_IN_ONE)
    working = sleeping(bench, 0.1)
    await until(lambda: bench.value("batch_size_count") == 1)
    mates = [asked(bench, x_mm=float(x)) for x in range(3)]
    await until(lambda: bench.value("batch_size_count") == 2)
    mates[0].cancel()
    found = await asyncio.gather(*mates, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    for x in (1, 2):
        estimate = found[x]
        assert isinstance(estimate, Estimate)
        np.testing.assert_allclose(estimate.pose.keypoints_mm[0, 0], x + 2)
    await working
    assert bench.value("rejected_total", reason="cancelled") == 1


async def test_a_crop_that_every_member_fails_on_is_its_callers_problem_alone(serve):
    policy = ServingPolicy(batch=BatchPolicy(max_batch_size=2, max_queue_delay_s=60))
    bench = await serve(policy=policy, plans=ALL_IN_ONE)
    working = sleeping(bench, 0.1)
    await until(lambda: bench.value("batch_size_count") == 1)
    bad, good = asked(bench, FAIL), asked(bench)
    with pytest.raises(UnavailableError):
        await bad
    assert (await good).pose.answered == (1, 2, 3)
    assert bench.value("batch_size_sum") == 4  # the bad one was tried once more
    await working


async def test_a_worker_killed_in_the_middle_degrades_the_answer(serve):
    bench = await serve()
    working = sleeping(bench, 0.2)
    await until(lambda: bench.value("batch_size_count") == 1)
    os.kill(bench.pids()[2], signal.SIGKILL)
    pose = (await working).pose
    assert pose.degraded
    assert pose.answered == (1, 2)
    np.testing.assert_allclose(pose.keypoints_mm[0, 0], 1.5)
    assert bench.value("degraded_total") == 1
    assert bench.pipeline.ready  # two of three are a quorum
    await until(lambda: bench.value("worker_restarts_total") == 1)
    await until(lambda: bench.value("worker_up", model="hand", epoch="3", device="cpu") == 1)
    assert not (await bench.pipeline.estimate(frame(), at())).pose.degraded


async def test_a_stopped_member_is_answered_for_within_the_deadline(serve):
    bench = await serve(patience=Patience(late_s=20, hung_s=30))
    os.kill(bench.pids()[0], signal.SIGSTOP)
    deadline_s = time.monotonic() + 1
    estimate = await bench.pipeline.estimate(frame(), at(), deadline_s=deadline_s)
    assert time.monotonic() < deadline_s
    assert estimate.pose.answered == (2, 3)


async def test_a_stopped_member_is_answered_for_without_a_deadline_and_replaced(serve):
    bench = await serve(patience=IMPATIENT)
    os.kill(bench.pids()[0], signal.SIGSTOP)
    assert (await bench.pipeline.estimate(frame(), at())).pose.answered == (2, 3)
    await until(lambda: bench.value("worker_restarts_total") == 1)
    await until(lambda: len(bench.pipeline.health()[0].epochs_up) == 3)
    assert (await bench.pipeline.estimate(frame(), at())).pose.answered == (1, 2, 3)


async def test_readiness_tells_the_truth(serve):
    bench = await serve(plans=ALL_IN_ONE)
    assert bench.pipeline.ready
    with pytest.raises(UnavailableError):
        await bench.pipeline.estimate(frame(DIE), at())
    assert not bench.pipeline.ready
    assert bench.pipeline.health()[0].epochs_up == ()
    with pytest.raises(UnavailableError):
        await bench.pipeline.estimate(frame(), at())
    await until(lambda: bench.pipeline.ready)
    assert (await bench.pipeline.estimate(frame(), at())).pose.answered == (1, 2, 3)


async def test_members_of_two_replicas_are_no_quorum_together(serve):
    plans = [WorkerPlan(replica, (epoch,)) for replica in range(2) for epoch in (1, 2, 3)]
    bench = await serve(plans=plans, policy=ServingPolicy(quorum=3), back_off=SLOW)
    first, *_, last = bench.pids()
    os.kill(first, signal.SIGKILL)
    await until(lambda: bench.value("worker_up", model="hand", epoch="1", device="cpu") == 1)
    assert bench.pipeline.ready
    os.kill(last, signal.SIGKILL)
    await until(lambda: bench.value("worker_up", model="hand", epoch="3", device="cpu") == 1)
    assert not bench.pipeline.ready  # each member is up somewhere, but no replica has them all
    assert len(bench.pipeline.health()[0].epochs_up) == 2
    with pytest.raises(UnavailableError):
        await bench.pipeline.estimate(frame(), at())


async def test_a_second_replica_answers_for_the_first(serve):
    plans = [WorkerPlan(0, (1, 2, 3)), WorkerPlan(1, (1, 2, 3))]
    bench = await serve(plans=plans)
    working = sleeping(bench, 0.2)
    await until(lambda: bench.value("batch_size_count") == 1)
    os.kill(bench.pids()[0], signal.SIGKILL)
    assert (await working).pose.answered == (1, 2, 3)
    assert bench.value("batch_size_count") == 2


async def test_draining_finishes_what_was_accepted(serve):
    bench = await serve(policy=ServingPolicy(batch=ONE_BY_ONE), plans=ALL_IN_ONE)
    accepted = [sleeping(bench, 0.05) for _ in range(4)]
    await until(lambda: bench.value("batch_size_count") == 2)
    bench.pipeline.begin_drain()
    assert not bench.pipeline.ready
    accepted.append(sleeping(bench, 0.05))
    await asyncio.sleep(0)
    pids = bench.pids()
    stopping = asyncio.create_task(bench.pipeline.stop(grace_s=30))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="draining"):
        await bench.pipeline.estimate(frame(), at())
    assert len(await asyncio.gather(*accepted)) == 5
    await stopping
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(UnavailableError):
        await bench.pipeline.reload("hand")


async def test_what_does_not_finish_within_the_grace_gets_an_error(serve):
    bench = await serve(policy=ServingPolicy(batch=ONE_BY_ONE), plans=ALL_IN_ONE)
    stuck = [asked(bench, STOP)]
    await until(lambda: bench.value("batch_size_count") == 1)
    stuck += [asked(bench) for _ in range(5)]
    await until(lambda: bench.value("queue_depth", model="hand") == 4)
    await bench.pipeline.stop(grace_s=0.05)
    for request in stuck:
        with pytest.raises(UnavailableError):
            await request


async def test_before_the_start_everything_is_unavailable(serve, store):
    bench = await serve(plans=ALL_IN_ONE)
    await bench.pipeline.stop(grace_s=0)
    unstarted = type(bench.pipeline)(
        store,
        {"hand": None},
        engine=torch_engine,
        policy=ServingPolicy(),
        telemetry=bench._telemetry,
    )
    assert not unstarted.ready
    with pytest.raises(UnavailableError):
        await unstarted.estimate(frame(), at())
    await unstarted.stop(grace_s=0)


async def test_a_broken_model_does_not_start(serve):
    with pytest.raises(InvalidModelError, match=r"epoch-02\.safetensors: expected sha256"):
        await serve(version="3", engine=torch_engine)


async def test_a_reload_moves_the_traffic_without_a_failed_request(serve):
    bench = await serve(engine=fake_engine)
    stop = asyncio.Event()
    seen: list[list[str]] = [[], [], []]

    async def client(versions: list[str]) -> None:
        while not stop.is_set():
            versions.append((await bench.pipeline.estimate(frame(), at())).version)

    clients = [asyncio.create_task(client(versions)) for versions in seen]
    (old_pid,) = bench.pids()
    manifest = await bench.pipeline.reload("hand", "2")
    assert manifest.version == bench.pipeline.manifest().version == "2"
    await until(lambda: all(versions[-1:] == ["2"] for versions in seen))
    await until(lambda: not _exists(old_pid))
    stop.set()
    await asyncio.gather(*clients)
    assert all(versions == sorted(versions) for versions in seen)
    assert {version for versions in seen for version in versions} == {"1", "2"}
    assert bench.value("model_info", model="hand", version="1") is None
    assert bench.value("model_info", model="hand", version="2") == 1
    assert bench.value("worker_up", model="hand", epoch="1", device="cpu") == 1
    assert bench.value("worker_restarts_total") == 0


async def test_a_broken_version_is_refused_and_the_old_one_keeps_serving(serve):
    bench = await serve(engine=fake_engine)
    with pytest.raises(InvalidModelError, match="is broken"):
        await bench.pipeline.reload("hand")  # the newest is version 3
    with pytest.raises(UnknownModelError):
        await bench.pipeline.reload("hand", "9")
    assert bench.pipeline.ready
    assert (await bench.pipeline.estimate(frame(), at())).version == "1"
    assert len(bench.pids()) == 1


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
