"""Augmentation in the grid (paper, section 6.3): rotate about z, scale, translate.

One similarity moves the readings and the keypoints alike, in voxel coordinates about the middle of
the grid; only then are readings floored to voxels. With the identity it equals `voxel.voxelize`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from v2vpose.training.recipe import Recipe
from v2vpose.values import DepthArray, FloatArray, Intrinsics
from v2vpose.voxel.occupancy import Occupancy

PAPER_SIDE = 88


@dataclass(frozen=True, slots=True)
class Similarity:
    """x' = scale R(angle) (x - middle) + middle + shift, in voxels of the grid.

    Attributes:
        angle_rad: rotation about z.
        scale: factor about the middle.
        shift_vox: (3,) translation x, y, z.
    """

    angle_rad: float
    scale: float
    shift_vox: NDArray[np.float64]

    def move(self, xyz_vox: FloatArray, *, input_side: int) -> FloatArray:
        """Return (..., 3) moved voxel coordinates."""
        middle = input_side / 2
        cos, sin = (f(self.angle_rad) * self.scale for f in (math.cos, math.sin))
        matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, self.scale]])
        moved: FloatArray = (xyz_vox - middle) @ matrix.T + middle + self.shift_vox
        return moved


IDENTITY = Similarity(angle_rad=0.0, scale=1.0, shift_vox=np.zeros(3))


def random_similarity(recipe: Recipe, rng: np.random.Generator) -> Similarity:
    """Draw one uniformly from the recipe's ranges."""
    angle_deg = rng.uniform(-recipe.rotation_deg, recipe.rotation_deg)
    reach_vox = recipe.translation_vox * recipe.input_side / PAPER_SIDE
    return Similarity(
        angle_rad=math.radians(angle_deg),
        scale=rng.uniform(*recipe.scale),
        shift_vox=rng.uniform(-reach_vox, reach_vox, size=3),
    )


def voxelize_moved(
    depth_mm: DepthArray,
    intrinsics: Intrinsics,
    center_mm: FloatArray,
    side_mm: float,
    similarity: Similarity,
    *,
    input_side: int,
) -> Occupancy:
    """Return the (S, S, S) uint8 occupancy z, y, x of the moved readings, in one pass."""
    occupancy = np.zeros((input_side,) * 3, dtype=np.uint8)
    _mark_moved(
        depth_mm,
        np.array([intrinsics.fx_px, intrinsics.fy_px, intrinsics.cx_px, intrinsics.cy_px]),
        np.asarray(center_mm, dtype=np.float64),
        side_mm,
        math.cos(similarity.angle_rad) * similarity.scale,
        math.sin(similarity.angle_rad) * similarity.scale,
        similarity.scale,
        similarity.shift_vox,
        occupancy,
    )
    return occupancy


@njit(cache=True, nogil=True)
def _mark_moved(
    depth_mm: DepthArray,
    camera: NDArray[np.float64],
    center_mm: NDArray[np.float64],
    side_mm: float,
    cos: float,
    sin: float,
    scale: float,
    shift_vox: NDArray[np.float64],
    occupancy: Occupancy,
) -> None:
    fx_px, fy_px, cx_px, cy_px = camera
    side_vox = occupancy.shape[0]
    middle = side_vox / 2
    per_mm = side_vox / side_mm
    rows, cols = depth_mm.shape
    for row in range(rows):
        for col in range(cols):
            z_mm = float(depth_mm[row, col])
            if z_mm <= 0.0:
                continue
            k = math.floor((z_mm - center_mm[2]) * per_mm * scale + middle + shift_vox[2])
            if k < 0 or k >= side_vox:
                continue
            x = ((col - cx_px) * z_mm / fx_px - center_mm[0]) * per_mm
            y = ((row - cy_px) * z_mm / fy_px - center_mm[1]) * per_mm
            i = math.floor(cos * x - sin * y + middle + shift_vox[0])
            j = math.floor(sin * x + cos * y + middle + shift_vox[1])
            if 0 <= i < side_vox and 0 <= j < side_vox:
                occupancy[k, j, i] = 1
