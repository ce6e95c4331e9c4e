"""Voxelizing a depth map (paper, section 5).

Every reading is reprojected into the camera frame and sets the voxel it falls into:
index = floor((p - ref) * side_vox / side_mm + side_vox / 2), occupancy 1, background 0.
floor, not truncation: a reading just outside a low face must not land in voxel 0.
Readings of 0 are no readings and are dropped, never filled.
"""

import math
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from v2vpose.geometry.cubic_box import CubicBox
from v2vpose.values import DepthArray, Intrinsics

Occupancy: TypeAlias = NDArray[np.uint8]


def voxelize(
    depth_mm: DepthArray, intrinsics: Intrinsics, box: CubicBox, *, input_side: int
) -> Occupancy:
    """Return the (input_side,) * 3 uint8 occupancy of the box, indexed z, y, x.

    Args:
        depth_mm: (H, W) depth map or window; 0 = no reading.
        intrinsics: the camera of that window.
        box: the cubic box around the reference point.
        input_side: voxels a side (88 in the paper).
    """
    occupancy = np.zeros((input_side, input_side, input_side), dtype=np.uint8)
    center_mm = np.asarray(box.center_mm, dtype=np.float64)
    rows, cols = _window(center_mm, box.side_mm, intrinsics, depth_mm.shape)
    _mark(
        depth_mm[rows, cols],
        (cols.start, rows.start),
        (intrinsics.fx_px, intrinsics.fy_px),
        (intrinsics.cx_px, intrinsics.cy_px),
        center_mm,
        float(box.side_mm),
        occupancy,
    )
    return occupancy


def _window(
    center_mm: NDArray[np.float64],
    side_mm: float,
    intrinsics: Intrinsics,
    shape: tuple[int, ...],
) -> tuple[slice, slice]:
    """Return the (rows, cols) that can hold readings of the box: the projection of its faces."""
    rows, cols = shape
    near_mm, far_mm = center_mm[2] - side_mm / 2, center_mm[2] + side_mm / 2
    if near_mm <= 0 or far_mm <= 0:
        return slice(0, rows), slice(0, cols)
    spans = []
    for center, focal, principal, size in (
        (center_mm[1], intrinsics.fy_px, intrinsics.cy_px, rows),
        (center_mm[0], intrinsics.fx_px, intrinsics.cx_px, cols),
    ):
        low, high = center - side_mm / 2, center + side_mm / 2
        first = math.floor(min(low / near_mm, low / far_mm) * focal + principal)
        last = math.ceil(max(high / near_mm, high / far_mm) * focal + principal)
        start = min(max(first, 0), size)
        spans.append(slice(start, max(start, min(last + 1, size))))
    return spans[0], spans[1]


@njit(cache=True, nogil=True)
def _mark(
    depth_mm: DepthArray,
    first_px: tuple[int, int],
    focal_px: tuple[float, float],
    principal_px: tuple[float, float],
    center_mm: NDArray[np.float64],
    side_mm: float,
    occupancy: Occupancy,
) -> None:
    """Set occupancy[z, y, x] = 1 for every reading inside the box."""
    u0_px, v0_px = first_px
    fx_px, fy_px = focal_px
    cx_px, cy_px = principal_px
    x_ref, y_ref, z_ref = center_mm[0], center_mm[1], center_mm[2]
    side_vox = occupancy.shape[0]
    half_vox = side_vox / 2
    near_mm, far_mm = z_ref - side_mm, z_ref + side_mm  # coarse gate; the index test is exact
    rows, cols = depth_mm.shape
    for row in range(rows):
        for col in range(cols):
            z_mm = float(depth_mm[row, col])
            if z_mm <= 0.0 or z_mm < near_mm or z_mm > far_mm:
                continue
            k = math.floor((z_mm - z_ref) * side_vox / side_mm + half_vox)
            if k < 0 or k >= side_vox:
                continue
            x_mm = (col + u0_px - cx_px) * z_mm / fx_px
            i = math.floor((x_mm - x_ref) * side_vox / side_mm + half_vox)
            if i < 0 or i >= side_vox:
                continue
            y_mm = (row + v0_px - cy_px) * z_mm / fy_px
            j = math.floor((y_mm - y_ref) * side_vox / side_mm + half_vox)
            if 0 <= j < side_vox:
                occupancy[k, j, i] = 1
