"""The cubic box around the reference point, and the two grids inside it (paper, section 5).

Input grid: `input_side` voxels a side (88 in the paper). Voxel i covers [i, i + 1) in voxel
coordinates; the reference point is at coordinate input_side / 2. Heatmap grid: half as many cells.
Arrays over a grid are indexed z, y, x; points are always x, y, z.

A heatmap coordinate h names the centre of cell h. Where that centre lies in the box is the label
convention a net was trained with (`cell_offset`): 0.5 is the true centre (our training, and the
decoding of the known PyTorch port); 0.25 is the centre of the first voxel of the cell, which is
what the released Torch7 code decodes, because its labels are floored to voxels first.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from v2vpose.errors import InvalidFieldError
from v2vpose.values import FloatArray

CENTRED_CELL_OFFSET: Final = 0.5
RELEASE_CELL_OFFSET: Final = 0.25


@dataclass(frozen=True, slots=True)
class CubicBox:
    """A cube in the camera frame, its faces parallel to the axes.

    Attributes:
        center_mm: (3,) the reference point.
        side_mm: edge length.

    Raises:
        InvalidFieldError: side_mm is not a positive finite number.
    """

    center_mm: FloatArray
    side_mm: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.side_mm) and self.side_mm > 0):
            raise InvalidFieldError(f"side_mm must be > 0, got {self.side_mm}")


def voxel_from_camera(points_mm: FloatArray, box: CubicBox, *, input_side: int) -> FloatArray:
    """Return (..., 3) continuous voxel coordinates x, y, z; floor gives the voxel index."""
    return (points_mm - box.center_mm) * input_side / box.side_mm + input_side / 2


def camera_from_voxel(ijk_vox: FloatArray, box: CubicBox, *, input_side: int) -> FloatArray:
    """Return (..., 3) mm of continuous voxel coordinates; the inverse of `voxel_from_camera`."""
    return box.center_mm + box.side_mm * (np.asarray(ijk_vox) / input_side - 0.5)


def heatmap_from_camera(
    points_mm: FloatArray,
    box: CubicBox,
    *,
    heatmap_side: int,
    cell_offset: float = CENTRED_CELL_OFFSET,
) -> FloatArray:
    """Return (..., 3) continuous heatmap coordinates x, y, z, where integers are cell centres."""
    return (points_mm - box.center_mm) * heatmap_side / box.side_mm + (
        heatmap_side / 2 - cell_offset
    )


def camera_from_heatmap(
    xyz_cell: FloatArray,
    box: CubicBox,
    *,
    heatmap_side: int,
    cell_offset: float | tuple[float, float, float] = CENTRED_CELL_OFFSET,
) -> FloatArray:
    """Warp heatmap coordinates to millimetres (paper, section 4: "warped to real world").

    Args:
        xyz_cell: (..., 3) heatmap coordinates x, y, z.
        box: the cubic box that was voxelized.
        heatmap_side: cells a side (44 in the paper).
        cell_offset: place of a cell's centre, see the module's text; one, or one for x, y, z.

    Returns:
        (..., 3) camera-frame mm.
    """
    share: FloatArray = (np.asarray(xyz_cell) + np.asarray(cell_offset)) / heatmap_side
    return box.center_mm + box.side_mm * (share - 0.5)
