"""Hands that hold something: an object lies on the palm and the fingers close until they touch it.

In the frame of the rig at rest size (188 mm hand); see `kinematics` for frame and angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import kinematics, pose
from v2vpose.datasets.synthetic.gestures import Archetype, Thumb
from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.rig import HandRig, RestHand
from v2vpose.datasets.synthetic.solids import Box, Capsule, Ellipsoid, Solid

# Where the palm's skin is above the bones' plane, and its middle.
_PALM_SKIN_MM = 13.0
_PALM_MIDDLE_MM = (2.0, 82.0)
_STEPS = 26
_ATTEMPTS = 6
_ALLOWED_DEPTH_MM = 5.0
# Opposed to the fingers, or beside the palm.
_OPEN_THUMBS: tuple[Thumb, ...] = (
    (4.0, 12.0, 22.0, -4.0, -4.0),
    (-10.0, -20.0, 4.0, -8.0, -8.0),
)


@dataclass(frozen=True, slots=True)
class Grasped:
    """A box with rounded edges: half sides (3,) along unit rows of axes, then `round_mm` around it.

    With all half sides 0 it is a ball, with one above 0 a capsule or, if flat_ends, a cylinder.
    """

    centre: Array
    axes: Array
    half: Array
    round_mm: float
    flat_ends: bool = False

    def moved(self, scale: float, rotation: Array, shift: Array) -> Solid:
        """The solid in the camera frame."""
        centre = rotation @ self.centre * scale + shift
        axes = self.axes @ rotation.T
        radius = self.round_mm * scale
        sides = int((self.half > 0).sum())
        if sides == 0:
            return Ellipsoid(centre, axes, np.full(3, radius))
        if sides == 1:
            arm = axes[0] * self.half[0] * scale
            return Capsule(centre - arm, centre + arm, radius, rounded=not self.flat_ends)
        return Box(centre, axes, (self.half + self.round_mm) * scale)


def sample_object(rng: Generator) -> Grasped:
    """Draw a ball, cylinder, capsule or box on the palm."""
    kind = rng.choice(4, p=(0.25, 0.25, 0.15, 0.35))
    turn = np.radians(rng.normal(0.0, 20.0))
    across = np.array([np.cos(turn), np.sin(turn), 0.0])
    lift = np.array([0.0, 0.0, 1.0])
    axes = np.stack([across, np.cross(lift, across), lift])
    half = np.zeros(3)
    if kind == 0:
        round_mm = rng.uniform(16.0, 45.0)
    elif kind < 3:
        round_mm = rng.uniform(7.0, 38.0)
        half[0] = rng.uniform(30.0, 110.0)
    else:
        round_mm = 2.0
        half[:] = rng.uniform(15.0, 60.0), rng.uniform(20.0, 75.0), rng.uniform(3.0, 32.0)
    # Power grasps touch the palm, precision grasps stay away from it.
    gap = 0.0 if rng.random() < 0.6 else rng.uniform(0.0, 25.0)
    x, y = rng.normal(_PALM_MIDDLE_MM, (6.0, 9.0))
    height = _PALM_SKIN_MM + gap + round_mm + half[2]
    return Grasped(np.array([x, y, height]), axes, half, round_mm, flat_ends=bool(kind == 1))


def sample_grasp(rig: HandRig, hand: RestHand, rng: Generator) -> tuple[Array, Grasped]:
    """Draw an object and the pose (26,) in radians that holds it."""
    tried: list[tuple[float, Array, Grasped]] = []
    for _ in range(_ATTEMPTS):
        grasped = sample_object(rng)
        angles = _hold(rig, hand, grasped, rng)
        room = _room_mm(rig.pose_keypoints(hand, angles), grasped)
        tried.append((room, angles, grasped))
        # With a bone farther inside the object, the hand could not even open around it.
        if room > -_ALLOWED_DEPTH_MM:
            break
    _, angles, grasped = max(tried, key=lambda one: one[0])
    return angles, grasped


def _hold(rig: HandRig, hand: RestHand, grasped: Grasped, rng: Generator) -> Array:
    spread = rng.uniform(-0.6, 0.4)
    opened = Archetype(((0.0, -4.0, 4.0, 2.0),) * 4, _OPEN_THUMBS[rng.integers(2)], spread)
    closed = Archetype(((0.0, 88.0, 98.0, 62.0),) * 4, (46.0, 10.0, 26.0, 40.0, 60.0), spread)
    start, end = np.radians(opened.angles_deg()), np.radians(closed.angles_deg())
    start[23:26] = end[23:26] = np.radians(pose.sample_wrist_deg(rng)[23:26])
    angles = _close(
        start,
        end,
        rng.uniform(0.7, 1.0, 5),
        grasped.centre,
        grasped.axes,
        grasped.half,
        grasped.round_mm,
        pose.CAPSULE_RADII_MM,
        hand.heads,
        hand.tips,
        rig.parents,
        hand.flex_axes,
        hand.rest_flex,
        hand.along,
        hand.stretch,
        hand.thickness,
    )
    return np.asarray(angles)


def _room_mm(keypoints: Array, grasped: Grasped) -> float:
    """Distance of the object to the nearest of the keypoints (21, 3); < 0 inside it."""
    return min(
        float(_distance(p, grasped.centre, grasped.axes, grasped.half, grasped.round_mm))
        for p in keypoints
    )


@njit(cache=True)
def _distance(point: Array, centre: Array, axes: Array, half: Array, round_mm: float) -> float:
    """Signed distance in mm from a rounded box, as in Grasped."""
    local = axes @ (point - centre)
    outside, inside = 0.0, -np.inf
    for i in range(3):
        over = abs(local[i]) - half[i]
        inside = max(inside, over)
        outside += max(over, 0.0) ** 2
    return float(np.sqrt(outside) + min(inside, 0.0) - round_mm)


@njit(cache=True)
def _close(
    start: Array,
    end: Array,
    most: Array,
    centre: Array,
    axes: Array,
    half: Array,
    round_mm: float,
    radii: Array,
    heads: Array,
    tips: Array,
    parents: NDArray[np.int8],
    flex_axes: Array,
    rest_flex: Array,
    along: Array,
    stretch: Array,
    thickness: Array,
) -> Array:
    """Turn every joint from start to end (26,) until its finger touches.

    A touching segment stops its own joint and those before it. most: (5,) share of the way at which
    each finger stops anyway.
    """
    angles = start.copy()
    held = np.zeros((5, 4), dtype=np.bool_)
    for step in range(1, _STEPS + 1):
        share = step / _STEPS
        before = angles.copy()
        target = start + share * (end - start)
        for f in range(5):
            for joint in range(3):
                if share <= most[f] and not held[f, joint]:
                    _copy_joint(angles, target, f, joint)
        linear, shift = kinematics.pose_bones(
            angles, heads, parents, flex_axes, rest_flex, along, stretch, thickness
        )
        points = kinematics.posed_keypoints(linear, shift, heads, tips)
        for f in range(5):
            # The thumb's metacarpal is part of the palm.
            for j in range(2 if f == 4 else 1, 4):
                p, q = points[4 * f + j], points[4 * f + j + 1]
                if held[f, j - 1] or not _touches(p, q, radii[f, j], centre, axes, half, round_mm):
                    continue
                for joint in range(j):
                    held[f, joint] = True
                    _copy_joint(angles, before, f, joint)
    return angles


@njit(cache=True)
def _copy_joint(angles: Array, source: Array, finger: int, joint: int) -> None:
    """Take over one joint's flexion; of the thumb's first joint all three angles."""
    if finger < 4:
        i = 4 * finger + 1 + joint
        angles[i] = source[i]
    elif joint == 0:
        angles[16:19] = source[16:19]
    else:
        angles[18 + joint] = source[18 + joint]


@njit(cache=True)
def _touches(
    p: Array, q: Array, radius: float, centre: Array, axes: Array, half: Array, round_mm: float
) -> bool:
    """Whether the finger segment p-q of some radius reaches the object."""
    for k in range(1, 5):
        if _distance(p + (q - p) * (k / 4.0), centre, axes, half, round_mm) < radius:
            return True
    return False
