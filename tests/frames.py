"""Depth frames made of simple solids."""

import numpy as np

from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.values import DepthFrame, Intrinsics

CAMERA = Intrinsics(fx_px=240.0, fy_px=241.0, cx_px=158.5, cy_px=121.0)


def sphere_frame(
    center_mm: tuple[float, float, float],
    *,
    radius_mm: float = 60.0,
    wall_mm: float = 0.0,
    hw: tuple[int, int] = (240, 320),
    intrinsics: Intrinsics = CAMERA,
) -> DepthFrame:
    """A ball in front of nothing (wall_mm 0) or of a wall; front surface by ray casting."""
    rows, cols = hw
    v, u = np.mgrid[:rows, :cols].astype(np.float64)
    ray = np.stack(
        [
            (u - intrinsics.cx_px) / intrinsics.fx_px,
            (v - intrinsics.cy_px) / intrinsics.fy_px,
            np.ones_like(u),
        ],
        axis=-1,
    )
    center = np.array(center_mm)
    a = (ray**2).sum(axis=-1)
    b = ray @ center
    root = b**2 - a * (center @ center - radius_mm**2)
    hit = root >= 0
    depth = np.where(hit, (b - np.sqrt(np.where(hit, root, 0))) / a, wall_mm)
    return DepthFrame(depth.astype(np.float32), intrinsics)


def pixel_of(point_mm: tuple[float, float, float]) -> tuple[int, int]:
    """The nearest pixel (u, v) of a camera point."""
    u, v = np.round(pixel_from_camera(np.array(point_mm), CAMERA)).astype(int)
    return int(u), int(v)
