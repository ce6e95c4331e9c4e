"""Where a stream looks next: around the last pose, or everywhere when that was not sure."""

from dataclasses import replace

import numpy as np

from v2vpose.estimator import Options
from v2vpose.values import FloatArray, FoundBy, Handedness, Hint, Pose


class Tracker:
    """What a stream knows of its target.

    Args:
        options: what the caller chose for the whole stream; its hint is for the full localisation.
        min_peak: mean heatmap peak below which a pose is not followed.
    """

    def __init__(self, options: Options, *, min_peak: float) -> None:
        self._options = options
        self._min_peak = min_peak
        self._last_point_mm: FloatArray | None = None
        self._last_peak = 0.0
        self._handedness: tuple[Handedness, float] | None = None

    @property
    def has_target(self) -> bool:
        """Whether there is a pose to follow."""
        return self._last_point_mm is not None

    def options(self) -> Options:
        """Return the options of the next frame: the last pose as a hint, or the caller's own."""
        if self._last_point_mm is None:
            return self._options
        x_mm, y_mm, z_mm = (float(c) for c in self._last_point_mm)
        handedness = None if self._handedness is None else self._handedness[0]
        return replace(
            self._options,
            hint=Hint(reference_point_mm=(x_mm, y_mm, z_mm)),
            handedness=self._options.handedness or handedness,
        )

    def is_sure(self, pose: Pose) -> bool:
        """Whether a pose is good enough to be followed."""
        return pose.mean_peak >= self._min_peak

    def followed(self, pose: Pose) -> Pose:
        """Return a pose that was found by `options`, saying that it was tracked."""
        if not self.has_target:
            return pose
        point = replace(pose.reference_point, found_by=FoundBy.TRACKING, score=self._last_peak)
        return replace(pose, reference_point=point, handedness=self._handedness)

    def learn(self, pose: Pose) -> None:
        """Follow a pose: the next first reference point is its bounding box's midpoint."""
        if not self.is_sure(pose):
            self.forget()
            return
        low_mm, high_mm = pose.keypoints_mm.min(axis=0), pose.keypoints_mm.max(axis=0)
        midpoint_mm = (low_mm + high_mm) / 2
        if not (np.isfinite(midpoint_mm).all() and midpoint_mm[2] > 0):
            self.forget()
            return
        self._last_point_mm = midpoint_mm
        self._last_peak = pose.mean_peak
        self._handedness = pose.handedness

    def forget(self) -> None:
        """Localise from nothing in the next frame."""
        self._last_point_mm = None
