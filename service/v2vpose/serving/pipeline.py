"""The one object that REST and gRPC share: a depth frame in, a pose out."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

from v2vpose.errors import (
    DeadlineExceededError,
    NothingToEstimateError,
    OverloadedError,
    PayloadTooLargeError,
    PoseError,
    UnavailableError,
)
from v2vpose.estimator import Localiser, Options, Search, ensemble_pose
from v2vpose.model_store import Manifest, ModelStore, ModelVersion
from v2vpose.serving.admission import Admission
from v2vpose.serving.aggregator import Quorum
from v2vpose.serving.ports import MAX_FRAME_PX, Engine, ModelHealth, Priority
from v2vpose.serving.scheduler import BatchPolicy
from v2vpose.serving.served_models import ServedModels
from v2vpose.serving.served_version import ServedVersion
from v2vpose.serving.trips import Found, ensemble_answers
from v2vpose.telemetry import Telemetry
from v2vpose.values import DepthFrame, Pose


@dataclass(frozen=True, slots=True)
class Estimate:
    """An answer.

    Attributes:
        pose: the pose; of several targets, the first that has one.
        model: which model answered.
        version: which version of it.
        timing_s: seconds by stage: locate queue refine voxelize forward peak aggregate total.
        targets: if the caller asked for several: the pose of each, or why it has none.
    """

    pose: Pose
    model: str
    version: str
    timing_s: Mapping[str, float]
    targets: tuple[Pose | PoseError, ...] = ()


@dataclass(frozen=True, slots=True)
class ServingPolicy:
    """What the service takes on, and how.

    Attributes:
        batch: when a batch closes.
        max_queue_size: requests a model may have that no worker has yet.
        quorum: members that must answer; None = half, rounded up.
        locate_threads: frames searched for their target at a time.
    """

    batch: BatchPolicy = field(default_factory=BatchPolicy)
    max_queue_size: int = 64
    quorum: int | None = None
    locate_threads: int = 2


class Pipeline:
    """Serves one or more models.

    Args:
        store: where the models are.
        models: which version of each model; None = the newest. The first is the default model.
        engine: makes the engine of a model version.
        localiser: makes what finds targets for it.
        policy: what the service takes on, and how.
        telemetry: where it is measured.
    """

    def __init__(
        self,
        store: ModelStore,
        models: Mapping[str, str | None],
        *,
        engine: Callable[[ModelVersion], Engine],
        localiser: Callable[[ModelVersion], Localiser] = Localiser.load,
        policy: ServingPolicy,
        telemetry: Telemetry,
    ) -> None:
        self._models = ServedModels(
            store,
            models,
            engine=engine,
            localiser=localiser,
            batch=policy.batch,
            quorum=Quorum(policy.quorum),
            telemetry=telemetry,
        )
        self._telemetry = telemetry
        self._locators = ThreadPoolExecutor(policy.locate_threads, thread_name_prefix="locate")
        self._admissions = {
            model: Admission(
                max_queue_size=policy.max_queue_size,
                on_waiting=telemetry.queue_depth.labels(model).set,
            )
            for model in models
        }
        self._draining = False

    @property
    def ready(self) -> bool:
        """Whether every model has its quorum of warm workers, and no drain has begun."""
        return self._models.ready and not self._draining

    async def start(self) -> None:
        """Bring every engine up, warm and self-tested; if it raises, nothing is left running.

        Raises:
            UnknownModelError, InvalidModelError: a model cannot be served.
            UnavailableError: a worker did not come up.
        """
        await self._models.start()

    def begin_drain(self) -> None:
        """Stop being ready; requests are still accepted until `stop`."""
        self._draining = True

    async def stop(self, *, grace_s: float) -> None:
        """Refuse new requests, finish those accepted within the grace, stop the workers."""
        self.begin_drain()
        for admission in self._admissions.values():
            admission.close()
        await self._models.stop(grace_s=grace_s)
        self._locators.shutdown(wait=False)

    async def estimate(
        self,
        frame: DepthFrame,
        options: Options,
        *,
        model: str | None = None,
        version: str | None = None,
        deadline_s: float | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> Estimate:
        """Estimate the pose of the best target in the frame, or of every target asked for.

        A caller may leave at any time: cancelling costs no other caller anything.

        Args:
            frame: the depth map.
            options: what the caller chose.
            model: None = the first of the service.
            version: None = the one being served.
            deadline_s: instant of `time.monotonic` after which the answer is of no use.
            priority: who goes first when workers are busy.

        Raises:
            UnknownModelError: not a model, version or epoch being served.
            NothingToEstimateError, InvalidFieldError: see `estimator`; of several targets, none
                has a pose.
            PayloadTooLargeError: the frame has too many pixels.
            OverloadedError: the queue is full.
            DeadlineExceededError: the deadline passed.
            UnavailableError: not started, draining, or below quorum.
        """
        begin_s = time.monotonic()
        if frame.depth_mm.size > MAX_FRAME_PX:
            raise PayloadTooLargeError(
                f"{frame.depth_mm.size} pixels, at most {MAX_FRAME_PX} are taken"
            )
        served = self._models.find(model, version)
        with self._rejections_counted(), served.in_use():
            left_s = None if deadline_s is None else deadline_s - begin_s
            if left_s is not None and left_s <= 0:
                raise DeadlineExceededError("the deadline passed before the work began")
            try:
                async with asyncio.timeout(left_s):
                    return await self._answer(served, frame, options, begin_s, deadline_s, priority)
            except TimeoutError as error:
                raise DeadlineExceededError(
                    f"no answer within the {left_s:.3f} s that were left"
                ) from error

    def models(self) -> Sequence[Manifest]:
        """Return the manifests of the versions being served; the default model first."""
        return [served.manifest for served in self._models.served()]

    def manifest(self, model: str | None = None, version: str | None = None) -> Manifest:
        """Return a manifest of a version being served.

        Raises:
            UnknownModelError: it is not.
            UnavailableError: not yet.
        """
        return self._models.find(model, version).manifest

    def health(self) -> Sequence[ModelHealth]:
        """Return the state of every model and its workers, the default model first."""
        return [served.health() for served in self._models.served()]

    async def reload(self, model: str, version: str | None = None) -> Manifest:
        """Warm a version up beside the one being served, move the traffic, drain the old one.

        Args:
            model: a model being served.
            version: None = the newest in the store.

        Raises:
            UnknownModelError: no such model or version.
            InvalidModelError: the version is broken; the old one keeps serving.
            UnavailableError: draining, or its workers did not come up; the old one keeps serving.
        """
        return await self._models.reload(model, version)

    async def _answer(
        self,
        served: ServedVersion,
        frame: DepthFrame,
        options: Options,
        begin_s: float,
        deadline_s: float | None,
        priority: Priority,
    ) -> Estimate:
        manifest = served.manifest
        with self._admissions[manifest.model].place(options.wanted) as place:
            search = await self._search(served, frame, options)
            located_s = time.monotonic()
            found, trips = await ensemble_answers(
                search, served.scheduler, place=place, deadline_s=deadline_s, priority=priority
            )
        answered_s = time.monotonic()
        outcomes = [_outcome(frame, each) for each in found]
        poses = [outcome for outcome in outcomes if isinstance(outcome, Pose)]
        if not poses:
            raise next(outcome for outcome in outcomes if isinstance(outcome, PoseError))
        end_s = time.monotonic()
        timing_s = {
            "locate": located_s - begin_s,
            "queue": sum(each.queue_s for each in trips),
            **_summed([each.stage_s for each in trips]),
            "aggregate": end_s - answered_s,
        }
        self._measure(manifest.model, poses, timing_s)
        return Estimate(
            poses[0],
            manifest.model,
            manifest.version,
            {**timing_s, "total": end_s - begin_s},
            tuple(outcomes) if options.are_plural else (),
        )

    async def _search(self, served: ServedVersion, frame: DepthFrame, options: Options) -> Search:
        """Guess where targets are; in a thread, unless the caller told the places.

        A tracked stream does: then it is a crop, and two changes of threads cost more.
        """
        hints = options.hints or (options.hint,)
        if all(hint.reference_point_mm is not None for hint in hints):
            return served.localiser.search(frame, options)
        return await asyncio.get_running_loop().run_in_executor(
            self._locators, served.localiser.search, frame, options
        )

    def _measure(self, model: str, poses: Sequence[Pose], timing_s: Mapping[str, float]) -> None:
        telemetry = self._telemetry
        telemetry.stages(timing_s)
        for pose in poses:
            telemetry.ensemble_answered.labels(model).observe(len(pose.answered))
            telemetry.degraded_total.inc(pose.degraded)
            telemetry.ensemble_spread_mm.observe(fmean(pose.spread_mm.tolist()))
            telemetry.keypoint_confidence.observe(pose.mean_peak)

    @contextmanager
    def _rejections_counted(self) -> Iterator[None]:
        try:
            yield
        except (OverloadedError, DeadlineExceededError, UnavailableError) as error:
            self._telemetry.rejected_total.labels(error.code).inc()
            raise
        except asyncio.CancelledError:
            self._telemetry.rejected_total.labels("cancelled").inc()
            raise


def _outcome(frame: DepthFrame, found: Found) -> Pose | PoseError:
    if isinstance(found, PoseError):
        return found
    try:
        return ensemble_pose(frame, found.target, found.answers)
    except NothingToEstimateError as nothing:
        return nothing


def _summed(trips: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total_s: dict[str, float] = {}
    for stage_s in trips:
        for stage, seconds in stage_s.items():
            total_s[stage] = total_s.get(stage, 0.0) + seconds
    return total_s
