"""Detecting targets on the whole depth map: the image a detector net sees, and what it says.

The image keeps every n-th pixel so that its long side is 160, whatever the camera, and tells the
net the metric size of a pixel instead of assuming a focal length. Channels: depth in metres,
whether there is a reading, pixel pitch in centimetres (all 0 where there is none).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.geometry.camera import camera_from_pixel
from v2vpose.values import DepthFrame, FloatArray

LONG_SIDE_PX: Final = 160
STEP_PX: Final = 16  # the image's sides are padded to multiples of this
STRIDE_PX: Final = 4  # of the net's output
_WINDOW: Final = 2  # cells around a peak in which no second one is taken
_DISC_MM: Final = 30.0  # half the side of the patch whose readings give the depth
_GUESS_MM: Final = 200.0  # how far off the net's own depth may be
_FLESH_MM: Final = 22.0  # from the surface to the middle of the joints, on average


@dataclass(frozen=True, slots=True)
class Detection:
    """One target seen by the detector.

    Attributes:
        xyz_mm: (3,) its centre in the camera frame.
        score: 0..1, that there is a target at all.
    """

    xyz_mm: FloatArray
    score: float


def sampling_step(hw: tuple[int, int]) -> float:
    """Return how many pixels of the depth map one pixel of the detector's image stands for."""
    return max(1.0, max(hw) / LONG_SIDE_PX)


def detector_image(frame: DepthFrame) -> NDArray[np.float32]:
    """Return the (3, H, W) float32 image that the detector sees, sides padded to 16 px."""
    step = sampling_step(frame.hw)
    rows, cols = (_sample(size, step) for size in frame.hw)
    depth_mm = frame.depth_mm[np.ix_(rows, cols)]
    height, width = (-(-len(index) // STEP_PX) * STEP_PX for index in (rows, cols))
    image = np.zeros((3, height, width), dtype=np.float32)
    inside = np.s_[: len(rows), : len(cols)]
    image[0][inside] = depth_mm / 1000
    image[1][inside] = depth_mm > 0
    image[2][inside] = depth_mm * (step / frame.intrinsics.fx_px / 10)
    return image


def detections(
    heat: FloatArray, depth_m: FloatArray, frame: DepthFrame, *, min_score: float
) -> Sequence[Detection]:
    """Read the net's answer, best target first.

    Args:
        heat: (h, w) scores 0..1 of a target's centre.
        depth_m: (h, w) depth of the centre in metres.
        frame: the depth map that the image was made of.
        min_score: > 0; weaker peaks are not targets.
    """
    found: list[Detection] = []
    remaining = heat.copy()
    while True:
        row, col = divmod(int(remaining.argmax()), heat.shape[1])
        if remaining[row, col] < min_score:
            return found
        window = (_around(row, heat.shape[0]), _around(col, heat.shape[1]))
        uv_px, z_mm = _centre(heat[window], depth_m[window], frame, window)
        z_mm = _surface_mm(frame, uv_px, z_mm)
        xyz_mm = camera_from_pixel(uv_px, np.array(z_mm), frame.intrinsics)
        found.append(Detection(xyz_mm, float(heat[row, col])))
        remaining[window] = 0


def cell_from_pixel(uv_px: FloatArray, hw: tuple[int, int]) -> FloatArray:
    """Return (..., 2) coordinates u, v on the output grid, integers at cell centres."""
    image_px = (uv_px + 0.5) / sampling_step(hw)
    cell: FloatArray = image_px / STRIDE_PX - 0.5
    return cell


def pixel_from_cell(uv_cell: FloatArray, hw: tuple[int, int]) -> FloatArray:
    """Return (..., 2) depth-map pixels; the inverse of `cell_from_pixel`."""
    uv_px: FloatArray = (uv_cell + 0.5) * STRIDE_PX * sampling_step(hw) - 0.5
    return uv_px


def _centre(
    weights: FloatArray, depth_m: FloatArray, frame: DepthFrame, window: tuple[slice, slice]
) -> tuple[FloatArray, float]:
    """Return pixel and depth in mm of a peak, weighted over the cells around it."""
    rows, cols = np.mgrid[window]
    total = weights.sum()
    uv_cell = np.array([(weights * cols).sum(), (weights * rows).sum()]) / total
    z_mm = float((weights * depth_m).sum() / total) * 1000
    return pixel_from_cell(uv_cell, frame.hw), z_mm


def _surface_mm(frame: DepthFrame, uv_px: FloatArray, z_mm: float) -> float:
    """Return the depth of the readings around a pixel; the net's own guess if there are none.

    The net knows roughly how far the target is, the readings know exactly.
    """
    intrinsics = frame.intrinsics
    rows, cols = frame.hw
    reach_px = _DISC_MM / max(z_mm, 1.0)
    u, v = (int(c) for c in np.round(uv_px))
    du, dv = (max(1, int(reach_px * f)) for f in (intrinsics.fx_px, intrinsics.fy_px))
    near = frame.depth_mm[
        max(v - dv, 0) : min(v + dv + 1, rows), max(u - du, 0) : min(u + du + 1, cols)
    ]
    surface = near[(near > 0) & (np.abs(near - z_mm) < _GUESS_MM)]
    return float(np.median(surface)) + _FLESH_MM if len(surface) else z_mm


def _around(index: int, size: int) -> slice:
    return slice(max(index - _WINDOW, 0), min(index + _WINDOW + 1, size))


def _sample(size: int, step: float) -> NDArray[np.intp]:
    """Return the index of the middle pixel of every step, along one side."""
    count = int(size / step)
    return np.minimum(((np.arange(count) + 0.5) * step).astype(np.intp), size - 1)
