"""Steadier joints for a stream: the 1 euro filter (Casiez, Roussel and Vogel, CHI 2012).

A low-pass filter whose cutoff rises with speed: it takes the jitter off a hand at rest, and lags
little behind one that moves. The speed is that of the joint in space, where the paper filters each
axis by its own, so that the answer does not depend on how the camera is turned; on a straight line
along an axis the two are the same.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.errors import InvalidFieldError
from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.values import DepthFrame, FloatArray, Pose

MAX_GAP_S: Final = 0.5
"""After a longer gap between frames nothing of what was before is of use."""

_SPEED_CUTOFF_HZ: Final = 1.0  # as in the paper


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How much to smooth.

    Attributes:
        min_cutoff_hz: cutoff frequency of a joint at rest; lower is steadier, and later.
        cutoff_per_speed: Hz that the cutoff rises by for every mm/s; higher lags less.

    Raises:
        InvalidFieldError: a value is out of range.
    """

    min_cutoff_hz: float = 1.0
    cutoff_per_speed: float = 0.08

    def __post_init__(self) -> None:
        if not (math.isfinite(self.min_cutoff_hz) and self.min_cutoff_hz > 0):
            raise InvalidFieldError(f"min_cutoff_hz must be > 0, got {self.min_cutoff_hz}")
        if not (math.isfinite(self.cutoff_per_speed) and self.cutoff_per_speed >= 0):
            raise InvalidFieldError(f"cutoff_per_speed must be >= 0, got {self.cutoff_per_speed}")


class OneEuroFilter:
    """The filter of one set of points.

    Args:
        smoothing: how much.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._points_mm: FloatArray | None = None
        self._speed_mm_per_s: FloatArray = np.zeros(0)

    def reset(self) -> None:
        """Forget all points: the next ones come out as they are."""
        self._points_mm = None

    def smoothed(self, points_mm: FloatArray, *, after_s: float) -> FloatArray:
        """Return (K, 3) points as the filter sees them.

        Args:
            points_mm: (K, 3) the newest points.
            after_s: > 0, since the points before; of the first points it does not matter.
        """
        if self._points_mm is None:
            self._points_mm, self._speed_mm_per_s = points_mm, np.zeros_like(points_mm)
            return points_mm
        speed = (points_mm - self._points_mm) / after_s  # (K, 3)
        weight = _weight(np.array(_SPEED_CUTOFF_HZ), after_s)
        self._speed_mm_per_s = self._speed_mm_per_s + weight * (speed - self._speed_mm_per_s)
        fast = np.linalg.norm(self._speed_mm_per_s, axis=-1, keepdims=True)  # (K, 1)
        chosen = self._smoothing
        weight = _weight(chosen.min_cutoff_hz + chosen.cutoff_per_speed * fast, after_s)
        self._points_mm = self._points_mm + weight * (points_mm - self._points_mm)
        return self._points_mm


class PoseSmoother:
    """Smooths the poses of one stream; what the stream follows stays as it was estimated.

    Args:
        smoothing: how much.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._filter = OneEuroFilter(smoothing)
        self._last: tuple[Pose, int] | None = None

    def reset(self) -> None:
        """Begin anew: the target was lost."""
        self._last = None

    def smoothed(self, pose: Pose, frame: DepthFrame, capture_time_ns: int) -> Pose:
        """Return the pose with smoothed keypoints, projected anew.

        Args:
            pose: as estimated.
            frame: which it was estimated in.
            capture_time_ns: of the frame.
        """
        after_s = 0.0
        if self._last is not None:
            last, last_ns = self._last
            after_s = (capture_time_ns - last_ns) / 1e9
        if self._last is None or not (0 < after_s <= MAX_GAP_S and _are_one_target(pose, last)):
            self._filter.reset()
        self._last = pose, capture_time_ns
        keypoints_mm = self._filter.smoothed(pose.keypoints_mm, after_s=after_s)
        uv_px = pixel_from_camera(keypoints_mm, frame.intrinsics)
        wh = np.array(frame.hw[::-1])
        in_view: NDArray[np.bool_] = np.all((uv_px > -0.5) & (uv_px < wh - 0.5), axis=-1)
        return replace(pose, keypoints_mm=keypoints_mm, uv_px=uv_px, in_view=in_view)


def _are_one_target(a: Pose, b: Pose) -> bool:
    """Whether one box holds the middle of the other, and it is the same hand."""
    moved_mm = np.abs(a.refined_point_mm - b.refined_point_mm).max()
    hands = [None if pose.handedness is None else pose.handedness[0] for pose in (a, b)]
    return bool(moved_mm <= a.side_mm / 2 and hands[0] is hands[1])


def _weight(cutoff_hz: FloatArray, after_s: float) -> FloatArray:
    """Return the share of the newest value in a low-pass filter's."""
    turn: FloatArray = 2 * math.pi * cutoff_hz * after_s
    share: FloatArray = turn / (turn + 1)
    return share
