"""Three slices of each heatmap through its peak: what a person looks at to judge an answer."""

import numpy as np
from numpy.typing import NDArray

from v2vpose.values import FloatArray


def slices_through(heatmaps: FloatArray, zyx_cell: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Cut heatmaps at their peaks.

    Args:
        heatmaps: (..., S, S, S) indexed z, y, x.
        zyx_cell: (..., 3) the peaks.

    Returns:
        (..., 3, S, S) values 0..1 as 0..255: rows y and columns x; rows z and columns x; rows z and
        columns y.
    """
    *lead, side, _, _ = heatmaps.shape
    volume = heatmaps.reshape(-1, side, side, side)  # (N, S, S, S)
    z, y, x = zyx_cell.reshape(-1, 3).T  # (N,) each
    n = np.arange(len(volume))
    cut = np.stack([volume[n, z], volume[n, :, y], volume[n, :, :, x]], axis=1)  # (N, 3, S, S)
    levels: NDArray[np.uint8] = np.round(cut.clip(0, 1) * 255).astype(np.uint8)
    return levels.reshape(*lead, 3, side, side)


def mirrored_slices(slices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (..., 3, S, S) slices as seen in a mirror: x runs the other way."""
    turned = slices.copy()
    turned[..., :2, :, :] = slices[..., :2, :, ::-1]
    return turned
