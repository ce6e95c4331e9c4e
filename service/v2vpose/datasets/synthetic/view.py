"""From where the camera sees the hand, and where in its image."""

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.cameras import Camera
from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.solids import random_rotation, unit

FACING_SHARE = 0.6
CUT_SHARE = 0.03
DISTANCE_MM = (250.0, 1000.0)
_TRIES = 25

# Rig (x thumb side, y fingers, z out of the palm) -> camera: fingers up, palm to the camera.
UPRIGHT = np.diag([1.0, -1.0, -1.0])


def sample_view(rng: Generator) -> Array:
    """Rotation (3, 3) rig -> camera, if the hand were on the optical axis.

    A FACING_SHARE shows palm or back within 60 degrees, at any roll; the rest is uniform over all
    rotations, of which half do so too (so 80 % in all).
    """
    facing = rng.random() < FACING_SHARE
    while True:
        rotation = random_rotation(rng) @ UPRIGHT
        # rotation[:, 2] is the palm's normal in the camera frame.
        if not facing or abs(rotation[2, 2]) >= 0.5:
            return rotation


def place(keypoints: Array, rotation: Array, camera: Camera, rng: Generator) -> tuple[Array, Array]:
    """Put the hand somewhere into the image.

    Args:
        keypoints: (21, 3) in the rig's frame.
        rotation: (3, 3) rig -> camera on the optical axis.
        camera: whose image it must be in; a CUT_SHARE of the hands may be cut by the border.

    Returns:
        Rotation (3, 3) and shift (3,) rig -> camera. The middle of the keypoints' bounding box is
        DISTANCE_MM away, or farther where the hand would not fit into the image.
    """
    fx, fy, cx, cy = camera.array()
    rows, cols = camera.hw
    needed = 16 if rng.random() < CUT_SHARE else 21
    distance = rng.uniform(*DISTANCE_MM)
    for attempt in range(_TRIES):
        # Later attempts come nearer to the middle, then go farther away.
        spread = 0.5 * (1.0 - attempt / _TRIES)
        u = cols * (0.5 + rng.uniform(-spread, spread))
        v = rows * (0.5 + rng.uniform(-spread, spread))
        ray = unit(np.array([(u - cx) / fx, (v - cy) / fy, 1.0]))
        turned = _onto_ray(ray) @ rotation
        points = keypoints @ turned.T
        middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
        shift = ray * distance - middle
        points = points + shift
        if points[:, 2].min() > 100.0:
            us = fx * points[:, 0] / points[:, 2] + cx
            vs = fy * points[:, 1] / points[:, 2] + cy
            inside = (us >= 3) & (us <= cols - 4) & (vs >= 3) & (vs <= rows - 4)
            if inside.sum() >= needed:
                break
        if attempt >= _TRIES // 3:
            distance *= 1.06
    return turned, shift


def _onto_ray(ray: Array) -> Array:
    """The smallest rotation (3, 3) that takes the optical axis onto a unit ray with z > 0."""
    x, y, z = ray
    c = 1.0 / (1.0 + z)
    return np.array([[1 - x * x * c, -x * y * c, x], [-x * y * c, 1 - y * y * c, y], [-x, -y, z]])
