"""Windows of a depth map around a point: the one that crosses to a member, and the refiner's.

The refiner sees what DeepPrior++ feeds it (its section 3.3): the projection of a cube around the
reference point, resized to 128 x 128 by nearest neighbour, depth relative to the point in halves
of the cube's edge, readings in front of the cube clipped to -1, everything behind it at +1.
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from v2vpose.geometry.camera import mirrored, mirrored_points, shifted
from v2vpose.values import DepthArray, DepthFrame, FloatArray, Intrinsics, TargetCrop

CROP_PX: Final = 128
_NEAREST_MM: Final = 50.0


def target_crop(
    frame: DepthFrame, reference_point_mm: FloatArray, *, side_mm: float, reach_mm: float
) -> TargetCrop:
    """Cut out all that a member may need.

    Args:
        frame: the depth map.
        reference_point_mm: (3,) the first reference point.
        side_mm: edge of the cubic box to voxelize.
        reach_mm: how far from the reference point, along each axis, readings may matter.
    """
    x, y, z = (float(c) for c in reference_point_mm)
    near_mm, far_mm = max(z - reach_mm, _NEAREST_MM), z + reach_mm
    intrinsics = frame.intrinsics
    rows, cols = frame.hw
    u0, u1 = _span(x, reach_mm, near_mm, far_mm, intrinsics.fx_px, intrinsics.cx_px, cols)
    v0, v1 = _span(y, reach_mm, near_mm, far_mm, intrinsics.fy_px, intrinsics.cy_px, rows)
    return TargetCrop(
        depth_mm=frame.depth_mm[v0:v1, u0:u1],  # a view: it is copied once, where it is going
        intrinsics=shifted(intrinsics, u0_px=u0, v0_px=v0),
        reference_point_mm=np.asarray(reference_point_mm, dtype=np.float64),
        side_mm=side_mm,
    )


def mirrored_crop(crop: TargetCrop) -> TargetCrop:
    """Return the crop as seen in a mirror: a left hand becomes a right one, x becomes -x."""
    frame = mirrored(DepthFrame(crop.depth_mm, crop.intrinsics))
    return TargetCrop(
        depth_mm=frame.depth_mm,
        intrinsics=frame.intrinsics,
        reference_point_mm=mirrored_points(crop.reference_point_mm),
        side_mm=crop.side_mm,
        wants_slices=crop.wants_slices,
    )


def _span(
    center_mm: float,
    reach_mm: float,
    near_mm: float,
    far_mm: float,
    focal_px: float,
    principal_px: float,
    size: int,
) -> tuple[int, int]:
    """Return first and one-past-last pixel that can see the interval; at least one pixel."""
    low, high = center_mm - reach_mm, center_mm + reach_mm
    first = math.floor(min(low / near_mm, low / far_mm) * focal_px + principal_px)
    last = math.ceil(max(high / near_mm, high / far_mm) * focal_px + principal_px)
    start = min(max(first, 0), size - 1)
    return start, max(start + 1, min(last + 1, size))


def refiner_crop(
    depth_mm: DepthArray,
    intrinsics: Intrinsics,
    reference_point_mm: FloatArray,
    *,
    side_mm: float,
    size_px: int = CROP_PX,
) -> NDArray[np.float32]:
    """Return the (128, 128) float32 crop that the refiner sees, values in [-1, 1].

    Args:
        depth_mm: (H, W) depth map or window; 0 = no reading.
        intrinsics: the camera of that window.
        reference_point_mm: (3,) centre of the cube, z > 0.
        side_mm: edge of the cube.
        size_px: of another crop than the refiner's.
    """
    crop = np.empty((size_px, size_px), dtype=np.float32)
    _resample(
        depth_mm,
        (intrinsics.fx_px, intrinsics.fy_px),
        (intrinsics.cx_px, intrinsics.cy_px),
        np.asarray(reference_point_mm, dtype=np.float64),
        float(side_mm),
        crop,
    )
    return crop


@njit(cache=True, nogil=True)
def _resample(
    depth_mm: DepthArray,
    focal_px: tuple[float, float],
    principal_px: tuple[float, float],
    center_mm: NDArray[np.float64],
    side_mm: float,
    crop: NDArray[np.float32],
) -> None:
    """Nearest-neighbour look-up at the centre of each crop pixel, on the plane z = centre."""
    rows, cols = depth_mm.shape
    size = crop.shape[0]
    half_mm = side_mm / 2
    x_ref, y_ref, z_ref = center_mm[0], center_mm[1], center_mm[2]
    for j in range(size):
        y_mm = y_ref + side_mm * ((j + 0.5) / size - 0.5)
        row = math.floor(y_mm * focal_px[1] / z_ref + principal_px[1] + 0.5)
        for i in range(size):
            x_mm = x_ref + side_mm * ((i + 0.5) / size - 0.5)
            col = math.floor(x_mm * focal_px[0] / z_ref + principal_px[0] + 0.5)
            value = 1.0
            if 0 <= row < rows and 0 <= col < cols:
                z_mm = float(depth_mm[row, col])
                if 0.0 < z_mm <= z_ref + half_mm:
                    value = max((z_mm - z_ref) / half_mm, -1.0)
            crop[j, i] = value
