"""One picture of one answer: the depth map with the skeleton on it, beside the pose in space.

Drawn from plain arrays, so that an estimate made here and an answer from the wire look the same.
No window, no global state of matplotlib.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from v2vpose.geometry.camera import camera_from_pixel
from v2vpose.values import DepthFrame, FloatArray

_BACK: Final = "#0e1116"
_PANEL: Final = "#161b22"
_INK: Final = "#e6edf3"
_FAINT: Final = "#8b949e"
_GRID: Final = "#2b323b"
_NEUTRAL: Final = "#f0f3f6"
_COLOURS: Final = {
    "thumb": "#ff5d5d",
    "index": "#ffb347",
    "middle": "#7ee787",
    "ring": "#58c4ff",
    "little": "#c792ff",
    "pinky": "#c792ff",
    "left": "#58c4ff",
    "right": "#ffb347",
}
_SURFACE: Final = np.array([[64, 92, 128], [206, 220, 236]], np.float64)  # far, near: RGB
_BEHIND: Final = np.array([38, 44, 54], np.float64)
_NO_READING: Final = np.array([22, 27, 34], np.float64)
_MAX_CLOUD: Final = 6000
_INSET_SHARE: Final = 0.26
_MIN_CROP_PX: Final = 24


@dataclass(frozen=True, slots=True)
class DrawnPose:
    """What is drawn.

    Attributes:
        names: of the K keypoints; a colour goes by the first word (`index_tip`).
        skeleton: edges by index into the names.
        keypoints_mm: (K, 3) camera frame.
        uv_px: (K, 2) projection; NaN is left out.
        confidence: (K,) 0..1; the less, the fainter.
        center_mm: (3,) centre of the cubic box.
        side_mm: its edge.
        title: the model, for the heading.
    """

    names: Sequence[str]
    skeleton: Sequence[tuple[int, int]]
    keypoints_mm: FloatArray
    uv_px: FloatArray
    confidence: FloatArray
    center_mm: FloatArray
    side_mm: float
    title: str


def picture_png(frame: DepthFrame, drawn: DrawnPose) -> bytes:
    """Return the picture as a PNG, 1680 x 880 pixels."""
    figure = Figure(figsize=(14, 7.333), dpi=120, facecolor=_BACK)
    FigureCanvasAgg(figure)
    _heading(figure, drawn)
    window = _window(frame, drawn)
    shaded = _shaded(frame, drawn)
    _draw_depth(figure, shaded, window, drawn)
    _draw_space(figure, frame, window, drawn)
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=_BACK)
    return file.getvalue()


def colour_of(name: str) -> str:
    """Return a keypoint's colour: one for each finger or side, neutral for the rest."""
    return _COLOURS.get(name.partition("_")[0], _NEUTRAL)


def _edge_colour(names: Sequence[str], edge: tuple[int, int]) -> str:
    """Return the colour of the end farther out, the second one, unless it has none."""
    far = colour_of(names[edge[1]])
    return colour_of(names[edge[0]]) if far == _NEUTRAL else far


def _heading(figure: Figure, drawn: DrawnPose) -> None:
    figure.text(0.03, 0.945, drawn.title, color=_INK, fontsize=17, fontweight="bold", va="center")
    facts = (
        f"mean confidence {float(np.mean(drawn.confidence)):.2f}"
        f"   ·   cubic box {drawn.side_mm:.0f} mm"
        f"   ·   {float(drawn.center_mm[2]):.0f} mm from the camera"
    )
    figure.text(0.97, 0.945, facts, color=_FAINT, fontsize=12, va="center", ha="right")
    found = dict.fromkeys(name.partition("_")[0] for name in drawn.names)
    words = [word for word in found if word in _COLOURS]
    for i, word in enumerate(words):
        figure.text(
            0.5 + 0.06 * (i - (len(words) - 1) / 2), 0.035, f"● {word}",
            color=_COLOURS[word], fontsize=12, ha="center", va="center",
        )  # fmt: skip


def _window(frame: DepthFrame, drawn: DrawnPose) -> tuple[int, int, int, int]:
    """Return u0, v0, u1, v1: a square around the cube's projection, inside the depth map."""
    rows, cols = frame.hw
    z_mm = max(float(drawn.center_mm[2]), 1.0)
    u = drawn.center_mm[0] * frame.intrinsics.fx_px / z_mm + frame.intrinsics.cx_px
    v = drawn.center_mm[1] * frame.intrinsics.fy_px / z_mm + frame.intrinsics.cy_px
    half = max(0.56 * drawn.side_mm * frame.intrinsics.fx_px / z_mm, _MIN_CROP_PX)
    half = min(half, min(rows, cols) / 2)
    u0 = int(np.clip(u - half, 0, cols - 2 * half))
    v0 = int(np.clip(v - half, 0, rows - 2 * half))
    return u0, v0, int(u0 + 2 * half), int(v0 + 2 * half)


def _shaded(frame: DepthFrame, drawn: DrawnPose) -> NDArray[np.uint8]:
    """Return (H, W, 3) RGB: the target lit from the upper left, what is behind it dim."""
    depth_mm = frame.depth_mm.astype(np.float64)
    rows, cols = frame.hw
    has = depth_mm > 0
    half = drawn.side_mm / 2
    near_mm, far_mm = float(drawn.center_mm[2]) - half, float(drawn.center_mm[2]) + half
    smooth = cv2.bilateralFilter(frame.depth_mm, 5, 20.0, 2.0).astype(np.float64)
    step_mm = np.where(has, depth_mm, 1.0)
    gu = np.gradient(smooth, axis=1) * frame.intrinsics.fx_px / step_mm if cols > 1 else 0 * smooth
    gv = np.gradient(smooth, axis=0) * frame.intrinsics.fy_px / step_mm if rows > 1 else 0 * smooth
    light = (0.45 * gu + 0.55 * gv + 1.0) / np.sqrt(gu**2 + gv**2 + 1.0) / 1.23
    light = 0.45 + 0.65 * np.clip(light, 0, 1)
    nearness = np.clip((far_mm - depth_mm) / (far_mm - near_mm), 0, 1)[..., None]
    surface = _SURFACE[0] + nearness * (_SURFACE[1] - _SURFACE[0])
    inside = (has & (depth_mm >= near_mm) & (depth_mm <= far_mm))[..., None]
    base = np.where(inside, surface, _BEHIND)
    image = np.where(has[..., None], base * light[..., None], _NO_READING)
    return np.clip(image, 0, 255).astype(np.uint8)


def _draw_depth(
    figure: Figure,
    shaded: NDArray[np.uint8],
    window: tuple[int, int, int, int],
    drawn: DrawnPose,
) -> None:
    u0, v0, u1, v1 = window
    axes = figure.add_axes((0.03, 0.075, 0.46, 0.82))
    axes.imshow(shaded, interpolation="bicubic")
    _draw_skeleton(axes, drawn.uv_px, drawn)
    axes.set_xlim(u0 - 0.5, u1 - 0.5)
    axes.set_ylim(v1 - 0.5, v0 - 0.5)
    _frame_of(axes)
    rows, cols = shaded.shape[:2]
    width, height = _INSET_SHARE, _INSET_SHARE * rows / cols
    inset = axes.inset_axes((1 - width - 0.02, 0.02, width, height))
    inset.imshow(shaded, aspect="auto")
    inset.add_patch(
        Rectangle((u0, v0), u1 - u0, v1 - v0, fill=False, edgecolor=_INK, linewidth=1.2)
    )
    _frame_of(inset)


def _frame_of(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(_GRID)


def _draw_skeleton(axes: Any, points: FloatArray, drawn: DrawnPose) -> None:
    """Draw bones and joints; points are (K, 2) pixels or (K, 3) plot coordinates."""
    halo = [withStroke(linewidth=5.5, foreground="#0009")]
    opacity = 0.35 + 0.65 * np.clip(drawn.confidence, 0, 1)
    for a, b in drawn.skeleton:
        if np.isfinite(points[[a, b]]).all():
            axes.plot(
                *points[[a, b]].T,
                color=_edge_colour(drawn.names, (a, b)),
                alpha=float(min(opacity[a], opacity[b])),
                linewidth=3,
                solid_capstyle="round",
                path_effects=halo,
                zorder=5,
            )
    for name, point, alpha in zip(drawn.names, points, opacity, strict=True):
        if np.isfinite(point).all():
            axes.plot(
                *point[:, None],
                marker="o",
                markersize=6.5,
                color=colour_of(name),
                markeredgecolor=_BACK,
                markeredgewidth=1.1,
                alpha=float(alpha),
                zorder=6,
            )


def _draw_space(
    figure: Figure, frame: DepthFrame, window: tuple[int, int, int, int], drawn: DrawnPose
) -> None:
    """Draw the pose as the camera sees it, a little from the side: x right, y down, z away."""
    axes: Any = figure.add_axes((0.505, 0.06, 0.48, 0.85), projection="3d", computed_zorder=False)
    axes.set_facecolor(_BACK)
    cloud_mm = _cloud(frame, window, drawn)
    axes.scatter(*_plot_from_camera(cloud_mm).T, s=3.5, c="#a9bfd6", alpha=0.38, linewidths=0)
    _draw_skeleton(axes, _plot_from_camera(drawn.keypoints_mm), drawn)
    everything = _plot_from_camera(np.concatenate([drawn.keypoints_mm, cloud_mm]))
    middle = (everything.min(axis=0) + everything.max(axis=0)) / 2
    half = 0.52 * float(np.ptp(everything, axis=0).max())
    low, high = middle - half, middle + half
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    labels = ("x  right, mm", "z  away, mm", "y  down, mm")
    for axis, label in zip((axes.xaxis, axes.yaxis, axes.zaxis), labels, strict=True):
        axis.set_pane_color(_PANEL)
        axis._axinfo["grid"].update(color=_GRID, linewidth=0.8)  # noqa: SLF001  # no public way
        axis.line.set_color(_GRID)
        axis.set_tick_params(colors=_FAINT, labelsize=8)
        axis.set_label_text(label, color=_FAINT, fontsize=10)
        axis.set_major_locator(MaxNLocator(5))
    # Plotted upwards, written as the camera counts: down.
    axes.zaxis.set_major_formatter(lambda value, _: f"{0 - value:.0f}")
    axes.set_box_aspect((1, 1, 1), zoom=1.0)
    axes.view_init(elev=16, azim=-66)


def _plot_from_camera(points_mm: FloatArray) -> FloatArray:
    """Return (N, 3) of matplotlib's axes: right, away, up."""
    return np.stack([points_mm[:, 0], points_mm[:, 2], -points_mm[:, 1]], axis=-1)


def _cloud(frame: DepthFrame, window: tuple[int, int, int, int], drawn: DrawnPose) -> FloatArray:
    """Return (N, 3) readings inside the cubic box, thinned evenly."""
    u0, v0, u1, v1 = window
    rows, cols = np.nonzero(frame.depth_mm[v0:v1, u0:u1])
    depth_mm = frame.depth_mm[v0:v1, u0:u1][rows, cols].astype(np.float64)
    uv_px = np.stack([cols + u0, rows + v0], axis=-1).astype(np.float64)
    points_mm = camera_from_pixel(uv_px, depth_mm, frame.intrinsics)
    inside = (np.abs(points_mm - drawn.center_mm) <= drawn.side_mm / 2).all(axis=1)
    points_mm = points_mm[inside]
    return points_mm[:: max(1, len(points_mm) // _MAX_CLOUD)]
