"""Where the camera stands in the room: before the person, as ITOP's side view, or above."""

from typing import Final

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.cameras import Camera
from v2vpose.datasets.synthetic.kinematics import Array, rotation_about
from v2vpose.datasets.synthetic.room import Rigid
from v2vpose.datasets.synthetic.solids import unit

TOP_SHARE = 0.15
CUT_SHARE = 0.15
FRONT_DISTANCE_MM: Final = (1300.0, 4000.0)
CUT_DISTANCE_MM: Final = (900.0, 2200.0)
FRONT_HEIGHT_MM: Final = (400.0, 2200.0)
TOP_HEIGHT_MM: Final = (2500.0, 3500.0)
NEAREST_MM = 400.0
_TRIES = 25
_LEAST_SEEN = 9
_UP: Final = np.array([0.0, 1.0, 0.0])


def sample_view(keypoints: Array, camera: Camera, rng: Generator) -> tuple[Rigid, Array]:
    """Place a camera that sees the person.

    Args:
        keypoints: (15, 3) in the room.
        camera: whose image they must be in; a CUT_SHARE may lose some at the border.
        rng: draws it.

    Returns:
        The way from the room to the camera, and (3,) where the camera is in the room.
    """
    is_cut = rng.random() < CUT_SHARE
    needed = _LEAST_SEEN if is_cut else len(keypoints)
    middle = (keypoints.min(axis=0) + keypoints.max(axis=0)) / 2.0
    from_above = rng.random() < TOP_SHARE
    height = rng.uniform(*(TOP_HEIGHT_MM if from_above else FRONT_HEIGHT_MM))
    distance = rng.uniform(0.0, 900.0) if from_above else rng.uniform(*FRONT_DISTANCE_MM)
    if is_cut and not from_above:
        distance = rng.uniform(*CUT_DISTANCE_MM)
    roll = rng.uniform(-np.pi, np.pi) if from_above else rng.normal(0.0, 0.06)
    for attempt in range(_TRIES):
        at = np.array([0.0, height, distance])
        # Later attempts look nearer to the middle of the person, from farther away.
        spread = 1.0 - attempt / _TRIES
        aim = middle + rng.uniform(-1.0, 1.0, 3) * (600.0, 250.0, 0.0) * spread
        to_camera = _looking(at, aim, roll)
        seen = to_camera.point(keypoints)
        if seen[:, 2].min() > NEAREST_MM and _inside(seen, camera) >= needed:
            break
        if from_above:
            height *= 1.03
        else:
            distance *= 1.04
    return to_camera, at


def _looking(at: Array, aim: Array, roll_rad: float) -> Rigid:
    """The camera's frame (x right, y down, z forward) at a point, turned to another one."""
    forward = unit(aim - at)
    right = unit(np.cross(forward, _UP))
    rotation = np.stack([right, np.cross(forward, right), forward])
    rotation = rotation_about(np.array([0.0, 0.0, 1.0]), roll_rad) @ rotation
    return Rigid(rotation, -rotation @ at)


def _inside(points: Array, camera: Camera) -> int:
    fx, fy, cx, cy = camera.array()
    rows, cols = camera.hw
    u = fx * points[:, 0] / points[:, 2] + cx
    v = fy * points[:, 1] / points[:, 2] + cy
    return int(((u >= 3) & (u <= cols - 4) & (v >= 3) & (v <= rows - 4)).sum())
