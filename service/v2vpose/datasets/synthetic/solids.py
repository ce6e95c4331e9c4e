"""A canvas and the analytic solids drawn on it. Camera frame, mm (see `render`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import render
from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.render import DepthImage, LabelImage

# What a pixel shows.
NOTHING: Final = 0
HAND: Final = 1
FOREARM: Final = 2
BODY: Final = 3
HEAD: Final = 4
OBJECT: Final = 5
BACKGROUND: Final = 6


@dataclass(frozen=True, slots=True)
class Canvas:
    """depth (H, W) mm with inf where nothing is; labels (H, W); camera (fx, fy, cx, cy) px."""

    depth: DepthImage
    labels: LabelImage
    camera: Array

    @staticmethod
    def blank(rows: int, cols: int, camera: Array) -> Canvas:
        """Nothing in view. camera: (fx, fy, cx, cy) px."""
        return Canvas(
            np.full((rows, cols), np.inf, dtype=np.float32),
            np.zeros((rows, cols), dtype=np.uint8),
            camera,
        )

    def like(self) -> Canvas:
        """An empty canvas of the same camera."""
        rows, cols = self.depth.shape
        return Canvas.blank(rows, cols, self.camera)

    def hidden_share(self, front: Canvas, label: int) -> float:
        """Which part of the pixels that show `label` here would be behind `front`."""
        mine = self.labels == label
        total = int(mine.sum())
        return float((front.depth[mine] < self.depth[mine]).sum()) / total if total else 0.0

    def merge(self, other: Canvas) -> None:
        """Take over every pixel where `other` is nearer."""
        nearer = other.depth < self.depth
        np.copyto(self.depth, other.depth, where=nearer)
        np.copyto(self.labels, other.labels, where=nearer)


class Solid(Protocol):
    """Something that draws itself."""

    @property
    def label(self) -> int:
        """What its pixels show."""
        ...

    def draw(self, canvas: Canvas) -> None:
        """Draw onto the canvas; the nearest surface wins."""
        ...


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """centre (3,), axes (3, 3) with unit rows, radii (3,)."""

    centre: Array
    axes: Array
    radii: Array
    label: int = OBJECT

    def draw(self, canvas: Canvas) -> None:
        """Draw onto the canvas; the nearest surface wins."""
        render.draw_ellipsoid(
            canvas.depth,
            canvas.labels,
            canvas.camera,
            self.centre,
            self.axes,
            self.radii,
            self.label,
        )


@dataclass(frozen=True, slots=True)
class Capsule:
    """Points within radius_mm of the segment start-end; flat ends (a cylinder) if not rounded."""

    start: Array
    end: Array
    radius_mm: float
    label: int = OBJECT
    rounded: bool = True

    def draw(self, canvas: Canvas) -> None:
        """Draw onto the canvas; the nearest surface wins."""
        render.draw_capsule(
            canvas.depth,
            canvas.labels,
            canvas.camera,
            self.start,
            self.end,
            self.radius_mm,
            self.label,
            self.rounded,
        )


@dataclass(frozen=True, slots=True)
class Box:
    """centre (3,), axes (3, 3) with unit rows, half side lengths (3,)."""

    centre: Array
    axes: Array
    half: Array
    label: int = OBJECT

    def draw(self, canvas: Canvas) -> None:
        """Draw onto the canvas; the nearest surface wins."""
        render.draw_box(
            canvas.depth,
            canvas.labels,
            canvas.camera,
            self.centre,
            self.axes,
            self.half,
            self.label,
        )


@dataclass(frozen=True, slots=True)
class Plane:
    """Through point (3,) with unit normal (3,), infinite."""

    point: Array
    normal: Array
    label: int = BACKGROUND

    def draw(self, canvas: Canvas) -> None:
        """Draw onto the canvas; the nearest surface wins."""
        render.draw_plane(
            canvas.depth, canvas.labels, canvas.camera, self.point, self.normal, self.label
        )


@dataclass(frozen=True, slots=True)
class Mesh:
    """vertices (V, 3), triangles (T, 3)."""

    vertices: Array
    triangles: NDArray[np.int32]
    label: int = OBJECT

    def draw(self, canvas: Canvas) -> None:
        """Draw onto the canvas; the nearest surface wins."""
        labels = np.full(len(self.triangles), self.label, dtype=np.uint8)
        render.draw_mesh(
            canvas.depth, canvas.labels, canvas.camera, self.vertices, self.triangles, labels
        )


def unit(vector: Array) -> Array:
    """(3,) scaled to length 1."""
    return np.asarray(vector / np.linalg.norm(vector))


def random_rotation(rng: Generator) -> Array:
    """(3, 3) rotation, uniform over SO(3), from a normal quaternion."""
    w, x, y, z = unit(rng.normal(size=4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def random_solid(rng: Generator, centre: Array, size_mm: float) -> Solid:
    """A ball, ellipsoid, box, cylinder or capsule that fits into a ball of `size_mm` radius."""
    axes = random_rotation(rng)
    kind = rng.integers(4)
    shape = rng.uniform(0.25, 1.0, 3)
    if kind == 0:
        return Ellipsoid(centre, axes, size_mm * (shape if rng.random() < 0.5 else np.ones(3)))
    if kind == 1:
        return Box(centre, axes, size_mm * shape / np.linalg.norm(shape))
    arm = axes[0] * size_mm * 0.75
    return Capsule(centre - arm, centre + arm, size_mm * 0.6 * shape[0], rounded=bool(kind == 2))
