"""The mean over the members, its projection and its spread, in one compiled pass.

As a dozen NumPy calls on arrays this small it cost more than all the rest of a request's way
through the engine (`benchmarks/serving_overhead.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from v2vpose.values import Intrinsics, MemberAnswer


class Mean(NamedTuple):
    """What the members say together.

    Attributes:
        keypoints_mm: (K, 3) their mean, camera frame.
        uv_px: (K, 2) its projection; NaN at or behind the camera.
        confidence: (K,) mean.
        spread_mm: (K,) root mean square distance from the mean.
        in_view: (K,) whether the projection falls inside the depth map.
        refined_point_mm: (3,) mean.
    """

    keypoints_mm: NDArray[np.float64]
    uv_px: NDArray[np.float64]
    confidence: NDArray[np.float64]
    spread_mm: NDArray[np.float64]
    in_view: NDArray[np.bool_]
    refined_point_mm: NDArray[np.float64]


def mean_of(answers: Sequence[MemberAnswer], intrinsics: Intrinsics, hw: tuple[int, int]) -> Mean:
    """Return the mean over the answers of M members.

    Args:
        answers: at least one.
        intrinsics: the camera of the depth map.
        hw: (rows, cols) of the depth map.
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
    return Mean(*_mean(each_mm, confidence, refined_mm, camera, hw))


@njit(
    "Tuple((f8[:,::1], f8[:,::1], f8[::1], f8[::1], b1[::1], f8[::1]))"
    "(f8[:,:,::1], f8[:,::1], f8[:,::1], UniTuple(f8, 4), UniTuple(i8, 2))",
    cache=True,
)  # compiled on import, not by the first caller
def _mean(
    each_mm: NDArray[np.float64],
    confidence: NDArray[np.float64],
    refined_mm: NDArray[np.float64],
    camera: tuple[float, float, float, float],
    hw: tuple[int, int],
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.bool_],
    NDArray[np.float64],
]:
    members, keypoints, _ = each_mm.shape
    fx_px, fy_px, cx_px, cy_px = camera
    rows, cols = hw
    mean_mm = np.zeros((keypoints, 3))
    uv_px = np.full((keypoints, 2), np.nan)
    sure = np.zeros(keypoints)
    spread_mm = np.zeros(keypoints)
    in_view = np.zeros(keypoints, dtype=np.bool_)
    middle_mm = np.zeros(3)
    for k in range(keypoints):
        for m in range(members):
            sure[k] += confidence[m, k] / members
            for axis in range(3):
                mean_mm[k, axis] += each_mm[m, k, axis] / members
        for m in range(members):
            for axis in range(3):
                spread_mm[k] += (each_mm[m, k, axis] - mean_mm[k, axis]) ** 2 / members
        spread_mm[k] = np.sqrt(spread_mm[k])
        x, y, z = mean_mm[k]
        if z > 0:
            u, v = x * fx_px / z + cx_px, y * fy_px / z + cy_px
            uv_px[k, 0], uv_px[k, 1] = u, v
            in_view[k] = -0.5 < u < cols - 0.5 and -0.5 < v < rows - 0.5
    for m in range(members):
        for axis in range(3):
            middle_mm[axis] += refined_mm[m, axis] / members
    return mean_mm, uv_px, sure, spread_mm, in_view, middle_mm
