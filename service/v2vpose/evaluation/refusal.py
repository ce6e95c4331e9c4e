"""Does a model know when there is nothing to find? Scenes without a target, and frames with one.

Both kinds of mistake count: a pose of an empty scene, and a target that is refused. One threshold
trades them: the judge's `min_confidence`. So everything is found once without it, and every
threshold is applied to what the judge said.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from v2vpose.backends import BackendWish
from v2vpose.errors import NothingToEstimateError
from v2vpose.estimator import Estimator
from v2vpose.model_store import ModelVersion
from v2vpose.values import DepthArray, DepthFrame, FloatArray, Intrinsics, LabelledFrame, Pose

THRESHOLDS: Final = (0.0, 0.05, 0.1, 0.125, 0.15, 0.175, 0.2, 0.225, 0.25, 0.275, 0.3, 0.35, 0.4)
GOOD_MM: Final = 20.0
"""A pose with a smaller mean error is one that nobody wants refused."""


class EmptyScene(Protocol):
    """A frame without a target."""

    @property
    def depth_mm(self) -> DepthArray:
        """(H, W) float32, 0 = no reading."""
        ...

    @property
    def intrinsics(self) -> Intrinsics:
        """The camera."""
        ...

    @property
    def shows(self) -> str:
        """What the scene is about."""
        ...


@dataclass(frozen=True, slots=True)
class Refusals:
    """What a model makes of frames with and without a target.

    Attributes:
        model: name and version.
        least: the threshold that the model is served with.
        shows: (N) what each empty scene is about.
        empty_sureness: (N,) the judge's mean confidence; -inf where the detector saw nothing.
        target_sureness: (M,) of the frames with a target, likewise.
        error_mm: (M,) mean distance of their keypoints; inf where nothing was found.
    """

    model: str
    least: float
    shows: tuple[str, ...]
    empty_sureness: FloatArray
    target_sureness: FloatArray
    error_mm: FloatArray

    def empty_percent(self, least: float) -> float:
        """Return in how many of the empty scenes nothing is found."""
        return _percent(self.empty_sureness < least)

    def by_subject(self, least: float) -> dict[str, tuple[int, float]]:
        """Return for each subject of empty scenes how many there are, and `empty_percent`."""
        shows = np.array(self.shows)
        return {
            subject: (int((shows == subject).sum()), _percent(sureness < least))
            for subject in dict.fromkeys(self.shows)
            for sureness in [self.empty_sureness[shows == subject]]
        }

    def refused_percent(self, least: float, *, within_mm: float = np.inf) -> float:
        """Return how many targets are refused, of those whose pose would be that good.

        All of them by default, those included that the detector does not see.
        """
        good = self.error_mm <= within_mm
        return _percent(self.target_sureness[good] < least)

    def summary(self) -> dict[str, Any]:
        """Return the figures, plain numbers."""
        return {
            "model": self.model,
            "min_confidence": self.least,
            "empty_scenes": len(self.shows),
            "frames": len(self.error_mm),
            **self._at(self.least),
            "by_subject": {
                subject: {"scenes": count, "nothing_found_percent": percent}
                for subject, (count, percent) in self.by_subject(self.least).items()
            },
            "curve": [{"min_confidence": least, **self._at(least)} for least in THRESHOLDS],
        }

    def _at(self, least: float) -> dict[str, float]:
        return {
            "nothing_found_percent": self.empty_percent(least),
            "refused_percent": self.refused_percent(least),
            "good_refused_percent": self.refused_percent(least, within_mm=GOOD_MM),
        }


def refusals(
    version: ModelVersion,
    empty: Iterable[EmptyScene],
    frames: Iterable[LabelledFrame],
    *,
    backend: BackendWish | None = None,
) -> Refusals:
    """Look for the best target in every frame; nothing but depth map and camera is told.

    Args:
        version: the model.
        empty: scenes without a target.
        frames: with one, labelled with the model's keypoints.
        backend: None = the fastest here.
    """
    judge = version.manifest.judge
    estimator = Estimator.load(_credulous(version), backend=backend)
    epoch = None if judge is None else judge.epoch
    shows, empty_sureness = [], []
    for scene in empty:
        shows.append(scene.shows)
        pose = _found(estimator, DepthFrame(scene.depth_mm, scene.intrinsics))
        empty_sureness.append(_sureness(pose, epoch))
    target_sureness, error_mm = [], []
    for labelled in frames:
        pose = _found(estimator, DepthFrame(labelled.depth_mm, labelled.intrinsics))
        target_sureness.append(_sureness(pose, epoch))
        error_mm.append(np.inf if pose is None else _error_mm(pose, labelled.keypoints_mm))
    return Refusals(
        model=f"{version.manifest.model} {version.manifest.version}",
        least=0.0 if judge is None else judge.min_confidence,
        shows=tuple(shows),
        empty_sureness=np.array(empty_sureness),
        target_sureness=np.array(target_sureness),
        error_mm=np.array(error_mm),
    )


def _credulous(version: ModelVersion) -> ModelVersion:
    """Return the version as if its judge took whatever is found for a target."""
    judge = version.manifest.judge
    if judge is None:
        return version
    manifest = version.manifest.model_copy(
        update={"judge": judge.model_copy(update={"min_confidence": 0.0})}
    )
    return ModelVersion(manifest=manifest, directory=version.directory)


def _found(estimator: Estimator, frame: DepthFrame) -> Pose | None:
    try:
        return estimator.estimate(frame)
    except NothingToEstimateError:
        return None


def _sureness(pose: Pose | None, epoch: int | None) -> float:
    """Return the judge's mean confidence of a pose; -inf of none."""
    if pose is None:
        return -np.inf
    if epoch not in pose.members:
        return 0.0  # its box was empty, or there is no judge
    return float(pose.members[epoch].confidence.mean())


def _error_mm(pose: Pose, truth_mm: FloatArray) -> float:
    return float(np.linalg.norm(pose.keypoints_mm - truth_mm, axis=-1).mean())


def _percent(which: NDArray[np.bool_]) -> float:
    return round(100 * float(np.mean(which)), 2) if len(which) else 0.0
