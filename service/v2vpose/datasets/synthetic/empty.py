"""Generated depth frames of scenes without a target: what a model must find nothing in.

Rooms and tables, an open box as large as a palm, a chair, a ball, loose things, a person whose
hands are behind the back. Cameras and noise are those of `hands`; a frame is a pure function of
(split, seed, index). Camera frame, mm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import noise, sensor
from v2vpose.datasets.synthetic.cameras import Camera, sample_camera
from v2vpose.datasets.synthetic.furniture import chair, open_box, room, table
from v2vpose.datasets.synthetic.hands import SPLIT_KEY, Split
from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.person import handless_person
from v2vpose.datasets.synthetic.solids import (
    Canvas,
    Ellipsoid,
    Solid,
    random_rotation,
    random_solid,
    unit,
)
from v2vpose.values import Intrinsics

ROOM_SHARE = 0.8
# Of the scenes with things that can stand on one.
TABLE_SHARE = 0.5
# Frames with fewer readings than this share of the pixels are drawn again: they ask nothing.
MIN_READING_SHARE = 0.05
# So much of its subject may be behind a wall or below the floor.
MAX_HIDDEN = 0.5
_ATTEMPTS = 20
_EMPTY_KEY = 5  # beside the streams of random numbers of `hands`


@dataclass(frozen=True, slots=True)
class EmptyFrame:
    """A frame without a target.

    Attributes:
        depth_mm: (H, W) float32, distance along +z, 0 = no reading.
        intrinsics: the camera.
        shows: which of SUBJECTS the scene is about.
    """

    depth_mm: NDArray[np.float32]
    intrinsics: Intrinsics
    shows: str


class EmptyScenes:
    """An endless, reproducible data set of frames without a target.

    Args:
        split: whose cameras and noise.
        seed: which set.
    """

    def __init__(self, *, split: Split, seed: int) -> None:
        self.split: Final = split
        self.seed: Final = seed

    def frame(self, index: int) -> EmptyFrame:
        """Generate frame `index` >= 0; subjects take turns."""
        rng = np.random.default_rng([SPLIT_KEY[self.split], self.seed, index, _EMPTY_KEY])
        held_out = self.split == "held_out"
        camera = sample_camera(rng, held_out=held_out)
        subject = tuple(SUBJECTS)[index % len(SUBJECTS)]
        for _ in range(_ATTEMPTS):
            canvas = _drawn(subject, camera, rng)
            depth_mm = sensor.observe(
                canvas.depth,
                canvas.labels,
                camera.intrinsics.fx_px,
                noise.sample_noise(rng, held_out=held_out),
                int(rng.integers(2**31)),
            )
            if (depth_mm > 0).mean() >= MIN_READING_SHARE:
                break
        return EmptyFrame(depth_mm, camera.intrinsics, subject)


def _drawn(subject: str, camera: Camera, rng: Generator) -> Canvas:
    """Draw the subject, and a room that does not hide it."""
    for _ in range(_ATTEMPTS):
        up = unit(np.array([rng.normal(0.0, 0.12), -1.0, rng.normal(-0.25, 0.35)]))
        canvas = Canvas.blank(*camera.hw, camera.array())
        around = canvas.like()
        for solid in SUBJECTS[subject](camera, up, rng):
            solid.draw(canvas)
        if subject == "room" or rng.random() < ROOM_SHARE:
            for solid in room(rng, up):
                solid.draw(around)
        mine = np.isfinite(canvas.depth)
        hidden = (around.depth < canvas.depth)[mine]
        canvas.merge(around)
        if subject == "room" or (len(hidden) and hidden.mean() < MAX_HIDDEN):
            break
    return canvas


def _room(camera: Camera, up: Array, rng: Generator) -> list[Solid]:
    """Nothing but the room, which every scene about it has."""
    del camera, up, rng
    return []


def _table(camera: Camera, up: Array, rng: Generator) -> list[Solid]:
    """A table with or without things on it."""
    centre = _somewhere(camera, rng, (350.0, 1500.0))
    solids = [table(rng, centre, up)]
    for _ in range(rng.integers(4)):
        size = _size_mm(rng, 20.0, 140.0)
        beside = np.cross(up, rng.normal(size=3)) * rng.uniform(20.0, 250.0)
        if centre[2] + beside[2] > size + 150.0:
            solids.append(random_solid(rng, centre + beside + up * 0.6 * size, size))
    return solids


def _open_box(camera: Camera, up: Array, rng: Generator) -> list[Solid]:
    """One as large as a palm, at any angle, or standing on a table."""
    size = rng.uniform(60.0, 200.0, 3)
    centre = _somewhere(camera, rng, (280.0, 1000.0))
    if rng.random() < TABLE_SHARE:
        standing = table(rng, centre - up * size[1] / 2, up)
        return [standing, *open_box(centre, _upright(up, rng), size)]
    return list(open_box(centre, random_rotation(rng), size))


def _chair(camera: Camera, up: Array, rng: Generator) -> list[Solid]:
    return list(chair(rng, _somewhere(camera, rng, (700.0, 2500.0)), _upright(up, rng)))


def _ball(camera: Camera, up: Array, rng: Generator) -> list[Solid]:
    radius = _size_mm(rng, 25.0, 130.0)
    centre = _somewhere(camera, rng, (250.0 + radius, 1100.0))
    ball: list[Solid] = [Ellipsoid(centre, np.eye(3), np.full(3, radius))]
    return [*ball, table(rng, centre - up * radius, up)] if rng.random() < TABLE_SHARE else ball


def _things(camera: Camera, up: Array, rng: Generator) -> list[Solid]:
    """A few solids in the air, as hands and what they hold are."""
    del up
    solids: list[Solid] = []
    for _ in range(rng.integers(1, 6)):
        size = _size_mm(rng, 20.0, 140.0)
        solids.append(random_solid(rng, _somewhere(camera, rng, (250.0 + size, 1100.0)), size))
    return solids


def _person(camera: Camera, up: Array, rng: Generator) -> list[Solid]:
    return handless_person(rng, _somewhere(camera, rng, (600.0, 2500.0)), up)


SUBJECTS: Final[dict[str, Callable[[Camera, Array, Generator], list[Solid]]]] = {
    "room": _room,
    "table": _table,
    "open box": _open_box,
    "chair": _chair,
    "ball": _ball,
    "things": _things,
    "person": _person,
}
"""What scenes are about, and what draws it: (camera, up, rng) -> solids."""


def _size_mm(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _somewhere(camera: Camera, rng: Generator, distance_mm: tuple[float, float]) -> Array:
    """A point (3,) that projects into the middle three quarters of the image."""
    fx, fy, cx, cy = camera.array()
    rows, cols = camera.hw
    u, v = cols * rng.uniform(0.125, 0.875), rows * rng.uniform(0.125, 0.875)
    return np.array([(u - cx) / fx, (v - cy) / fy, 1.0]) * rng.uniform(*distance_mm)


def _upright(up: Array, rng: Generator) -> Array:
    """Axes (3, 3), rows right, up, facing; turned any way about `up`."""
    right = unit(np.cross(up, rng.normal(size=3)))
    return np.stack([right, up, np.cross(right, up)])
