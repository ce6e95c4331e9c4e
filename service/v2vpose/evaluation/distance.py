"""The field's two figures for hands (paper, section 7.2): mean distance error, success frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from v2vpose.errors import InvalidFieldError
from v2vpose.values import FloatArray

SUCCESS_MM: Final = (10, 20, 30, 40, 50)


@dataclass(frozen=True, slots=True)
class DistanceReport:
    """Distances over a set of frames.

    Attributes:
        frames: how many.
        mean_mm: mean 3D distance over all frames and keypoints.
        median_mm: median likewise.
        per_keypoint_mm: (K,) mean of each keypoint.
        success_percent: share of frames whose worst keypoint is within 10, 20, ... mm.
    """

    frames: int
    mean_mm: float
    median_mm: float
    per_keypoint_mm: tuple[float, ...]
    success_percent: dict[int, float]


def distances_mm(found_mm: FloatArray, truth_mm: FloatArray) -> FloatArray:
    """Return (N, K) distances between (N, K, 3) points.

    Raises:
        InvalidFieldError: the shapes differ, so frames or keypoints are missing.
    """
    if found_mm.shape != truth_mm.shape:
        raise InvalidFieldError(
            f"predictions and labels must match frame by frame and keypoint by keypoint: "
            f"found {found_mm.shape}, expected {truth_mm.shape}"
        )
    distance: FloatArray = np.linalg.norm(found_mm - truth_mm, axis=-1)
    return distance


def report(found_mm: FloatArray, truth_mm: FloatArray, *, answered: float = 1.0) -> DistanceReport:
    """Summarise (N, K, 3) predictions against labels, both in camera millimetres.

    Args:
        found_mm: predictions.
        truth_mm: labels.
        answered: share of all frames that these are; the others are failures.
    """
    distance_mm = distances_mm(found_mm, truth_mm)
    success = [share * answered for share in success_percent(distance_mm, SUCCESS_MM)]
    return DistanceReport(
        frames=len(distance_mm),
        mean_mm=float(distance_mm.mean()),
        median_mm=float(np.median(distance_mm)),
        per_keypoint_mm=tuple(float(d) for d in distance_mm.mean(axis=0)),
        success_percent=dict(zip(SUCCESS_MM, success, strict=True)),
    )


def success_percent(distance_mm: FloatArray, thresholds_mm: Sequence[float]) -> list[float]:
    """Return the share of frames, in percent, whose worst keypoint is within each threshold."""
    worst_mm = distance_mm.max(axis=1)  # (N,)
    return [float((worst_mm <= threshold).mean() * 100) for threshold in thresholds_mm]
