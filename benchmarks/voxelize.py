"""Voxelization of whole 640 x 480 frames into 88^3, on one core, against two other ways.

    python benchmarks/voxelize.py

`numpy` is depth-gated, vectorised NumPy; `port` reprojects every pixel first, the way the known
PyTorch port does. The three grids must be equal before anything is timed.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from v2vpose.geometry.camera import camera_from_pixel
from v2vpose.geometry.cubic_box import CubicBox
from v2vpose.values import DepthFrame, Intrinsics
from v2vpose.voxel import voxelize

SIDE_VOX, SIDE_MM = 88, 250.0
INTRINSICS = Intrinsics(fx_px=475.0, fy_px=475.0, cx_px=316.0, cy_px=245.0)
REPEATS = 200

Grid: TypeAlias = NDArray[np.uint8]


def hand_sized_frame(seed: int) -> tuple[DepthFrame, CubicBox]:
    """A bumpy 180 mm blob at 450 mm before a wall: as many readings in the cube as a hand has."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[:480, :640]
    x_mm, y_mm = (u - 316.0) * 450 / 475, (v - 245.0) * 450 / 475
    blob = (x_mm / 90) ** 2 + (y_mm / 95) ** 2 < 1
    depth = np.where(blob, 430 + 20 * np.sin(u / 9) * np.cos(v / 7), 1200)
    depth += rng.normal(0, 1.5, depth.shape)
    frame = DepthFrame(depth.astype(np.float32), INTRINSICS)
    return frame, CubicBox(np.array([0.0, 0.0, 450.0]), SIDE_MM)


def with_numpy(frame: DepthFrame, box: CubicBox) -> Grid:
    """Gate by depth, then reproject what is left."""
    near_mm, far_mm = box.center_mm[2] - SIDE_MM / 2, box.center_mm[2] + SIDE_MM / 2
    rows, cols = np.nonzero((frame.depth_mm >= near_mm) & (frame.depth_mm < far_mm))
    return _mark(frame, box, rows, cols)


def like_the_port(frame: DepthFrame, box: CubicBox) -> Grid:
    """Reproject every pixel, then throw most of them away."""
    rows, cols = (index.ravel() for index in np.indices(frame.hw))
    return _mark(frame, box, rows, cols)


def _mark(frame: DepthFrame, box: CubicBox, rows: NDArray[np.intp], cols: NDArray[np.intp]) -> Grid:
    uv_px = np.stack([cols, rows], axis=-1).astype(np.float64)
    depth_mm = frame.depth_mm[rows, cols].astype(np.float64)
    points_mm = camera_from_pixel(uv_px, depth_mm, frame.intrinsics)
    index = np.floor((points_mm - box.center_mm) * SIDE_VOX / SIDE_MM + SIDE_VOX / 2)
    inside = ((index >= 0) & (index < SIDE_VOX)).all(axis=1) & (depth_mm > 0)
    x, y, z = index[inside].astype(np.intp).T
    grid = np.zeros((SIDE_VOX,) * 3, dtype=np.uint8)
    grid[z, y, x] = 1
    return grid


def ours(frame: DepthFrame, box: CubicBox) -> Grid:
    """What the service runs."""
    return voxelize(frame.depth_mm, frame.intrinsics, box, input_side=SIDE_VOX)


def median_ms(way: Callable[[DepthFrame, CubicBox], Grid]) -> tuple[float, float, float]:
    """Return median, 5th and 95th percentile of milliseconds."""
    frame, box = hand_sized_frame(0)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        way(frame, box)
        times.append((time.perf_counter() - start) * 1e3)
    low, middle, high = np.percentile(times, [5, 50, 95])
    return float(middle), float(low), float(high)


def main() -> None:
    """Check that all ways agree, then time them."""
    ways = {"v2vpose": ours, "numpy, depth-gated": with_numpy, "port's way": like_the_port}
    for seed in range(5):
        grids = [way(*hand_sized_frame(seed)) for way in ways.values()]
        for grid in grids[1:]:
            np.testing.assert_array_equal(grids[0], grid)
    results = {name: median_ms(way) for name, way in ways.items()}
    table = Table(title=f"640 x 480 -> {SIDE_VOX}^3, {REPEATS} runs, equal grids")
    for column in ("way", "ratio to v2vpose", "median ms", "5 %..95 % ms"):
        table.add_column(column, justify="left" if column == "way" else "right")
    base = results["v2vpose"][0]
    for name, (middle, low, high) in results.items():
        table.add_row(name, f"{middle / base:.1f}", f"{middle:.3f}", f"{low:.3f}..{high:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
