"""Watched frames with their truth and what the nets found, one picture an epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from v2vpose.geometry.camera import pixel_from_camera
from v2vpose.training.watch import Held
from v2vpose.values import FloatArray, TargetCrop

_COLS, _ROWS = 4, 2
_TRUTH: Final = "#2ca02c"
_FOUND: Final = "#d62728"


def draw_overlays(
    held: Held, found_mm: FloatArray, skeleton: Sequence[tuple[int, int]], path: Path, title: str
) -> None:
    """Draw eight of the frames: green is the truth, red what was found.

    Args:
        held: the frames.
        found_mm: (N, K, 3) in them.
        skeleton: edges by index into the keypoints.
        path: of the PNG.
        title: above it.
    """
    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    panels = figure.subplots(_ROWS, _COLS).reshape(-1)
    chosen = np.linspace(0, len(held.crops) - 1, len(panels)).astype(int)
    for axes, index in zip(panels, chosen, strict=True):
        truth_mm = held.keypoints_mm[index]
        _draw(axes, held.crops[index], truth_mm, found_mm[index], skeleton)
        distance_mm = np.linalg.norm(found_mm[index] - truth_mm, axis=-1).mean()
        axes.set_title(f"{distance_mm:.1f} mm", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _draw(
    axes: Axes,
    crop: TargetCrop,
    truth_mm: FloatArray,
    found_mm: FloatArray,
    skeleton: Sequence[tuple[int, int]],
) -> None:
    z_mm, half_mm = float(crop.reference_point_mm[2]), crop.side_mm * 0.6
    near = np.abs(crop.depth_mm - z_mm) < half_mm
    axes.imshow(
        np.where(near, crop.depth_mm, np.nan),
        cmap="gray_r",
        vmin=z_mm - half_mm,
        vmax=z_mm + half_mm,
    )
    for points_mm, colour in ((truth_mm, _TRUTH), (found_mm, _FOUND)):
        uv_px = pixel_from_camera(points_mm, crop.intrinsics)
        for edge in skeleton:
            axes.plot(*uv_px[list(edge)].T, color=colour, linewidth=1.2)
        axes.plot(*uv_px.T, ".", color=colour, markersize=3)
    middle = pixel_from_camera(truth_mm.mean(axis=0), crop.intrinsics)
    reach_px = half_mm * crop.intrinsics.fx_px / z_mm
    axes.set_xlim(middle[0] - reach_px, middle[0] + reach_px)
    axes.set_ylim(middle[1] + reach_px, middle[1] - reach_px)
    axes.axis("off")
