"""Small fakes of the engine, written by hand."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from v2vpose.errors import NothingToEstimateError, UnknownModelError
from v2vpose.estimator import Options
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.model_store import (
    Calibration,
    EpochRecord,
    Keypoint,
    Manifest,
    RefinerRecord,
    Subject,
)
from v2vpose.serving.pipeline import Estimate
from v2vpose.serving.ports import ModelHealth, Priority
from v2vpose.values import (
    Decode,
    DepthFrame,
    FoundBy,
    Handedness,
    MemberAnswer,
    Pose,
    ReferencePoint,
)

NAMES = ("wrist", "thumb_tip", "index_tip")
KEYPOINTS_MM = np.array([[0.0, 50.0, 400.0], [-60.0, 0.0, 390.0], [-20.0, -80.0, 410.1234]])
SPREAD_MM = np.array([1.0, 2.0, 3.0])
CONFIDENCE = np.array([0.9, 0.8, 0.7])

SLICES = np.arange(len(NAMES) * 3 * 4, dtype=np.uint8).reshape(len(NAMES), 3, 2, 2)
NOWHERE = NothingToEstimateError("no readings there")


@cache
def manifest(model: str = "hand", version: str = "1") -> Manifest:
    return Manifest(
        model=model,
        version=version,
        description="a fake",
        subject=Subject.HAND,
        handedness=Handedness.RIGHT,
        keypoints=[Keypoint(name=name, meaning=f"the {name}") for name in NAMES],
        skeleton=[(0, 1), (0, 2)],
        input_side=48,
        width=8,
        side_mm=250,
        near_mm=100,
        far_mm=1500,
        refiner=RefinerRecord(side_mm=300, passes=1),
        decode=Decode.ARGMAX,
        calibration=Calibration(within_mm=20, peaks=[0, 1], shares=[0, 1]),
        epochs=[
            EpochRecord(epoch=e, file=f"epoch-{e:02d}.safetensors", sha256="0" * 64) for e in (1, 2)
        ],
    )


def pose(frame: DepthFrame, answered: tuple[int, ...] = (1, 2)) -> Pose:
    return Pose(
        keypoints_mm=KEYPOINTS_MM,
        uv_px=pixel_from_camera(KEYPOINTS_MM, frame.intrinsics),
        confidence=CONFIDENCE,
        mean_peak=0.8,
        spread_mm=SPREAD_MM,
        in_view=np.array([True, True, True]),
        handedness=(Handedness.RIGHT, 0.75),
        reference_point=ReferencePoint(np.array([1.0, 2.0, 400.0]), FoundBy.DETECTOR, 0.5),
        refined_point_mm=np.array([3.0, 4.0, 405.0]),
        side_mm=250.0,
        epochs=(1, 2),
        answered=answered,
        members={
            e: MemberAnswer(
                KEYPOINTS_MM + e, CONFIDENCE, np.array([3.0, 4.0, 405.0]), 100, SLICES + np.uint8(e)
            )
            for e in answered
        },
    )


@dataclass
class Call:
    """What the pipeline was asked."""

    frame: DepthFrame
    options: Options
    model: str | None
    version: str | None
    deadline_s: float | None
    priority: Priority


@dataclass
class FakePipeline:
    """Answers with one fixed pose; or raises `error`; or waits for `gate` first."""

    error: BaseException | None = None
    gate: asyncio.Event | None = None
    ready: bool = True
    answered: tuple[int, ...] = (1, 2)
    calls: list[Call] = field(default_factory=list)
    cancelled: int = 0
    change: Callable[[Pose, Call], Pose] = lambda pose, _: pose
    version: str = "1"
    started: asyncio.Event = field(default_factory=asyncio.Event)

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
        call = Call(frame, options, model, version, deadline_s, priority)
        self.calls.append(call)
        self.started.set()
        served = self.manifest(model, version)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.error is not None:
            raise self.error
        answer = self.change(pose(frame, self.answered), call)
        timing_s = {"locate": 0.001, "forward": 0.01}
        targets = (answer, NOWHERE, answer)[: options.wanted] if options.are_plural else ()
        return Estimate(answer, served.model, served.version, timing_s, targets)

    def models(self) -> Sequence[Manifest]:
        return [manifest(version=self.version)]

    def manifest(self, model: str | None = None, version: str | None = None) -> Manifest:
        if model not in {None, "hand"} or version not in {None, self.version}:
            raise UnknownModelError(f"no model {model!r} version {version!r}; served: hand")
        return manifest(version=self.version)

    def health(self) -> Sequence[ModelHealth]:
        up = (1, 2) if self.ready else ()
        return [ModelHealth("hand", self.version, (1, 2), up, 1, ())]

    async def reload(self, model: str, version: str | None = None) -> Manifest:
        self.manifest(model)
        if self.error is not None:
            raise self.error
        self.version = version or "2"
        return manifest(version=self.version)


def with_peak(answer: Pose, peak: float) -> Pose:
    return replace(answer, mean_peak=peak)
