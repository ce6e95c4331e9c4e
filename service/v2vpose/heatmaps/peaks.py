"""From heatmaps to points: the paper's argmax, or its sub-voxel refinement.

A `Peaks` is all that leaves a device: where each heatmap is highest, how high, and the small patch
around it. The paper takes the cell itself (section 4), which costs 2.7 mm on average in a 250 mm
cube of 44 cells even for a perfect heatmap. The refinement fits a Gaussian to the patch: for each
axis, the three middle cells of the patch summed over the other two axes, whose logarithm is a
parabola when the heatmap is equation 1; its vertex is the answer. It is exact for a perfect
heatmap and never moves a peak by more than one cell. Along an axis on which a neighbour is missing
(the outermost cells) or holds nothing, it stays at the cell.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.values import Decode, FloatArray

PATCH_SIDE: Final = 5
_REACH: Final = PATCH_SIDE // 2


@dataclass(frozen=True, slots=True)
class Peaks:
    """The highest cell of each heatmap.

    Attributes:
        zyx_cell: (..., 3) integer index z, y, x.
        height: (...,) value there.
        patch: (..., 5, 5, 5) values around it, z, y, x; 0 outside the heatmap.
        slices: (..., 3, S, S) see `slices.slices_through`; None unless somebody wants them.
    """

    zyx_cell: NDArray[np.intp]
    height: FloatArray
    patch: FloatArray
    slices: NDArray[np.uint8] | None = None


def peaks_of(heatmaps: FloatArray) -> Peaks:
    """Find the peak of every heatmap.

    Args:
        heatmaps: (..., S, S, S) indexed z, y, x.
    """
    *lead, depth, rows, cols = heatmaps.shape
    flat = heatmaps.reshape(-1, depth * rows * cols)  # (N, S*S*S)
    index = flat.argmax(axis=1)  # (N,)
    height = np.take_along_axis(flat, index[:, None], axis=1)[:, 0]  # (N,)
    zyx = np.stack(np.unravel_index(index, (depth, rows, cols)), axis=-1)  # (N, 3)
    offsets = np.arange(-_REACH, _REACH + 1)
    volume = heatmaps.reshape(-1, depth, rows, cols)
    z, y, x = (zyx[:, axis, None] + offsets for axis in range(3))  # (N, 5) each
    inside = (
        _within(z, depth)[:, :, None, None]
        & _within(y, rows)[:, None, :, None]
        & _within(x, cols)[:, None, None, :]
    )  # (N, 5, 5, 5)
    values = volume[
        np.arange(len(volume))[:, None, None, None],
        z.clip(0, depth - 1)[:, :, None, None],
        y.clip(0, rows - 1)[:, None, :, None],
        x.clip(0, cols - 1)[:, None, None, :],
    ]
    patch = np.where(inside, values, 0)
    return Peaks(
        zyx_cell=zyx.reshape(*lead, 3),
        height=height.reshape(lead),
        patch=patch.reshape(*lead, PATCH_SIDE, PATCH_SIDE, PATCH_SIDE),
    )


def peak_coordinates(peaks: Peaks, decode: Decode) -> FloatArray:
    """Return (..., 3) heatmap coordinates x, y, z of the peaks, in cells."""
    xyz_cell = peaks.zyx_cell[..., ::-1].astype(np.float64)
    if decode is Decode.ARGMAX:
        return xyz_cell
    return xyz_cell + _subvoxel_offset(peaks.patch)


def _subvoxel_offset(patch: FloatArray) -> FloatArray:
    """Return (..., 3) offsets x, y, z in cells, each within [-1, 1]."""
    positive = np.maximum(patch.astype(np.float64), 0)
    offsets = []
    for axis in (-1, -2, -3):  # x, y, z
        others = tuple(a for a in (-1, -2, -3) if a != axis)
        profile = positive.sum(axis=others)[..., _REACH - 1 : _REACH + 2]  # (..., 3)
        known = (profile > 0).all(axis=-1, keepdims=True)
        logs = np.log(np.where(known, profile, 1))  # flat where not known, so the peak stays
        before, at, after = logs[..., 0], logs[..., 1], logs[..., 2]
        curvature = 2 * at - before - after
        slope = after - before
        safe: NDArray[Any] = np.where(curvature > 0, curvature, 1)
        offset = np.where(curvature > 0, slope / (2 * safe), 0)
        offsets.append(offset.clip(-1, 1))
    return np.stack(offsets, axis=-1)


def _within(index: NDArray[np.intp], size: int) -> NDArray[np.bool_]:
    return (index >= 0) & (index < size)
