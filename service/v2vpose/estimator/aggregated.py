"""What the members say together: mean or median, its projection and the spread, in one pass.

As a dozen NumPy calls on arrays this small it cost more than all the rest of a request's way
through the engine (`benchmarks/serving_overhead.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from v2vpose.values import Aggregate, Intrinsics, MemberAnswer


class Aggregated(NamedTuple):
    """What the members say together.

    Attributes:
        keypoints_mm: (K, 3) their mean or median, camera frame.
        uv_px: (K, 2) its projection; NaN at or behind the camera.
        confidence: (K,) mean.
        spread_mm: (K,) root mean square distance from their mean, whatever the aggregate.
        in_view: (K,) whether the projection falls inside the depth map.
        refined_point_mm: (3,) mean.
    """

    keypoints_mm: NDArray[np.float64]
    uv_px: NDArray[np.float64]
    confidence: NDArray[np.float64]
    spread_mm: NDArray[np.float64]
    in_view: NDArray[np.bool_]
    refined_point_mm: NDArray[np.float64]


def aggregated(
    answers: Sequence[MemberAnswer],
    intrinsics: Intrinsics,
    hw: tuple[int, int],
    aggregate: Aggregate,
) -> Aggregated:
    """Aggregate the answers of M members.

    Args:
        answers: at least one.
        intrinsics: the camera of the depth map.
        hw: (rows, cols) of the depth map.
        aggregate: the paper's mean (section 8.3), or the median of each coordinate, which one
            member that is far off does not move.
    """
    members, keypoints = len(answers), len(answers[0].keypoints_mm)
    each_mm = np.empty((members, keypoints, 3))
    confidence = np.empty((members, keypoints))
    refined_mm = np.empty((members, 3))
    for index, answer in enumerate(answers):
        each_mm[index] = answer.keypoints_mm
        confidence[index] = answer.confidence
        refined_mm[index] = answer.refined_point_mm
    camera = (intrinsics.fx_px, intrinsics.fy_px, intrinsics.cx_px, intrinsics.cy_px)
    return Aggregated(
        *_aggregate(each_mm, confidence, refined_mm, camera, hw, aggregate is Aggregate.MEDIAN)
    )


@njit(
    "Tuple((f8[:,::1], f8[:,::1], f8[::1], f8[::1], b1[::1], f8[::1]))"
    "(f8[:,:,::1], f8[:,::1], f8[:,::1], UniTuple(f8, 4), UniTuple(i8, 2), b1)",
    cache=True,
)  # compiled on import, not by the first caller
def _aggregate(
    each_mm: NDArray[np.float64],
    confidence: NDArray[np.float64],
    refined_mm: NDArray[np.float64],
    camera: tuple[float, float, float, float],
    hw: tuple[int, int],
    is_median: bool,
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.float64],
]:
    members, count, _ = each_mm.shape
    fx_px, fy_px, cx_px, cy_px = camera
    rows, cols = hw
    keypoints_mm = each_mm.sum(axis=0) / members
    uv_px = np.full((count, 2), np.nan)
    spread_mm = np.zeros(count)
    in_view = np.zeros(count, dtype=np.bool_)
    for k in range(count):
        for m in range(members):
            spread_mm[k] += np.sum((each_mm[m, k] - keypoints_mm[k]) ** 2) / members
        spread_mm[k] = np.sqrt(spread_mm[k])
        if is_median:
            for axis in range(3):
                keypoints_mm[k, axis] = np.median(each_mm[:, k, axis])
        x, y, z = keypoints_mm[k]
        if z > 0:
            u, v = x * fx_px / z + cx_px, y * fy_px / z + cy_px
            uv_px[k, 0], uv_px[k, 1] = u, v
            in_view[k] = -0.5 < u < cols - 0.5 and -0.5 < v < rows - 0.5
    sure, middle_mm = confidence.sum(axis=0) / members, refined_mm.sum(axis=0) / members
    return keypoints_mm, uv_px, sure, spread_mm, in_view, middle_mm
