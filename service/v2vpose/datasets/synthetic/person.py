"""A stand-in for the owner of a right hand: ellipsoids and capsules joined to the forearm.

Camera frame, mm. Lengths are those of a person of 1.70 m and scale with the hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.solids import (
    BODY,
    HEAD,
    OBJECT,
    Capsule,
    Ellipsoid,
    Mesh,
    Solid,
    unit,
)

_UPPER_ARM_MM = 285.0
_FOREARM_MM = 250.0
_SHOULDER_TO_MIDDLE_MM = 175.0
_SHOULDER_TO_CHEST_MM = 170.0
_TRIES = 60


@dataclass(frozen=True, slots=True)
class Arm:
    """The labelled hand's arm: wrist and elbow (3,), radius with sleeve, size against 1.70 m."""

    wrist: Array
    elbow: Array
    radius_mm: float
    scale: float


@dataclass(frozen=True, slots=True)
class OtherArm:
    """A left hand with forearm, to be placed. Its own frame: wrist at the origin.

    Attributes:
        vertices, triangles: (V, 3) mm, (T, 3).
        elbow: (3,) mm.
    """

    vertices: Array
    triangles: NDArray[np.int32]
    elbow: Array

    def placed(self, rng: Generator, wrist: Array, elbow_side: Array) -> Mesh:
        """With the wrist at `wrist` and the elbow toward the unit vector elbow_side; any twist."""
        turn = _frame(elbow_side, rng.normal(size=3)) @ _frame(unit(self.elbow), np.ones(3)).T
        return Mesh(self.vertices @ turn.T + wrist, self.triangles, OBJECT)


def _frame(first: Array, hint: Array) -> Array:
    """Rotation (3, 3) whose first column is the unit vector `first`."""
    second = unit(np.cross(first, hint))
    return np.stack([first, second, np.cross(first, second)], axis=1)


@dataclass(frozen=True, slots=True)
class _Stance:
    """Where the body is: points (3,) and its axes (3, 3), rows right, up, facing."""

    shoulder: Array
    middle: Array
    chest: Array
    axes: Array


def upper_arm(rng: Generator, arm: Arm) -> list[Solid]:
    """The part of the arm beyond the elbow, in a direction in which elbows bend."""
    forearm = unit(arm.wrist - arm.elbow)
    while True:
        away = unit(rng.normal(size=3))
        if forearm @ away < 0.6:
            break
    shoulder = arm.elbow + away * _UPPER_ARM_MM * arm.scale
    return [Capsule(arm.elbow, shoulder, _upper_arm_radius_mm(arm), BODY)]


def person(rng: Generator, arm: Arm, other: OtherArm | None) -> list[Solid]:
    """Draw a body for an arm, or [] where none can be joined to it as bodies are."""
    for _ in range(_TRIES):
        stance = _draw_stance(rng, arm)
        if _joins(rng, arm, stance):
            girth = arm.scale * float(rng.uniform(0.88, 1.25))
            return [
                Capsule(arm.elbow, stance.shoulder, _upper_arm_radius_mm(arm), BODY),
                *_trunk(stance, girth, arm.scale),
                *_other_side(rng, stance, girth, arm.scale, other),
                *(_thighs(stance, girth, arm.scale) if rng.random() < 0.4 else []),
            ]
    return []


def handless_person(rng: Generator, chest: Array, up: Array) -> list[Solid]:
    """A body that faces the camera more or less, with the hands behind the back.

    Args:
        rng: draws size, girth and how the body is turned.
        chest: (3,) where the chest is.
        up: (3,) unit vector.
    """
    scale = float(rng.uniform(0.75, 1.12))
    girth = scale * float(rng.uniform(0.88, 1.25))
    turn = rng.normal(0.0, 0.6)
    facing = np.array([np.sin(turn), 0.0, -np.cos(turn)])
    facing = unit(facing - up * (facing @ up))
    right = np.cross(facing, up)
    middle = chest + up * _SHOULDER_TO_CHEST_MM * scale
    shoulder = middle + right * _SHOULDER_TO_MIDDLE_MM * scale
    stance = _Stance(shoulder, middle, chest, np.stack([right, up, facing]))
    solids = _trunk(stance, girth, scale)
    for side in (-1.0, 1.0):
        joint = middle + right * side * _SHOULDER_TO_MIDDLE_MM * scale
        elbow = joint + unit(right * side * 0.35 - up - facing * 0.3) * _UPPER_ARM_MM * scale
        inward = unit(-right * side - facing * 0.4 - up * 0.1)
        solids += [
            Capsule(joint, elbow, 46.0 * girth, BODY),
            Capsule(elbow, elbow + inward * _FOREARM_MM * scale, 36.0 * girth, BODY),
        ]
    return [*solids, *(_thighs(stance, girth, scale) if rng.random() < 0.4 else [])]


def _upper_arm_radius_mm(arm: Arm) -> float:
    return max(arm.radius_mm * 1.15, 38.0 * arm.scale)


def _draw_stance(rng: Generator, arm: Arm) -> _Stance:
    up = unit(np.array([rng.normal(0.0, 0.25), -1.0, rng.normal(0.0, 0.25)]))
    if rng.random() < 0.1:
        up = unit(rng.normal(size=3))
    # Mostly facing the camera; now and then sideways or away from it (a camera on the head).
    turn = rng.normal(0.0, 0.7) if rng.random() < 0.88 else rng.uniform(-np.pi, np.pi)
    facing = np.array([np.sin(turn), 0.0, -np.cos(turn)])
    facing = unit(facing - up * (facing @ up))
    right = np.cross(facing, up)
    shoulder = arm.elbow + unit(rng.normal(size=3)) * _UPPER_ARM_MM * arm.scale
    middle = shoulder - right * _SHOULDER_TO_MIDDLE_MM * arm.scale
    chest = middle - up * _SHOULDER_TO_CHEST_MM * arm.scale
    return _Stance(shoulder, middle, chest, np.stack([right, up, facing]))


def _joins(rng: Generator, arm: Arm, stance: _Stance) -> bool:
    right, _, facing = stance.axes
    forearm = unit(arm.wrist - arm.elbow)
    upper = unit(stance.shoulder - arm.elbow)
    bent_too_far = forearm @ upper > 0.75
    # The elbow can go neither far behind the back nor through the chest.
    behind = -upper @ facing < -0.45 or -upper @ right < -0.55
    inside = (
        np.linalg.norm(arm.wrist - stance.chest) < 260.0 * arm.scale
        or np.linalg.norm(arm.elbow - stance.chest) < 190.0 * arm.scale
    )
    if bent_too_far or behind or inside or min(stance.chest[2], stance.middle[2]) < 200.0:
        return False
    # A torso beside the hand or nearer than it is rarer, and must stay possible.
    return bool(stance.chest[2] - arm.wrist[2] > 150.0 or rng.random() < 0.25)


def _trunk(stance: _Stance, girth: float, scale: float) -> list[Solid]:
    right, up, facing = stance.axes
    belly = stance.chest - up * 230.0 * scale
    head = stance.middle + up * 235.0 * scale + facing * 35.0 * scale
    other_shoulder = stance.middle - right * _SHOULDER_TO_MIDDLE_MM * scale
    neck = stance.middle + up * 90.0 * scale
    return [
        Capsule(stance.shoulder, other_shoulder, 60.0 * girth, BODY),
        # From neck to shoulder, the slope that a bare capsule lacks.
        Capsule(neck, stance.shoulder, 42.0 * girth, BODY),
        Capsule(neck, other_shoulder, 42.0 * girth, BODY),
        Ellipsoid(stance.chest, stance.axes, np.array([180.0, 235.0, 115.0]) * girth, BODY),
        Ellipsoid(belly, stance.axes, np.array([165.0, 235.0, 122.0]) * girth, BODY),
        Capsule(stance.middle, head, 54.0 * scale, BODY),
        Ellipsoid(head, stance.axes, np.array([76.0, 118.0, 98.0]) * scale, HEAD),
    ]


def _other_side(
    rng: Generator, stance: _Stance, girth: float, scale: float, other: OtherArm | None
) -> list[Solid]:
    """The left arm: with a whole hand in front of the body if there is one, else with a mitten."""
    right, up, facing = stance.axes
    shoulder = stance.middle - right * _SHOULDER_TO_MIDDLE_MM * scale
    forward = rng.uniform(-0.3, 0.7) if other is None else rng.uniform(0.2, 0.8)
    out = unit(-right * rng.uniform(0.05, 0.6) - up + facing * forward)
    elbow = shoulder + out * _UPPER_ARM_MM * scale
    bend = unit(rng.normal(size=3) * 0.5 + facing * 0.6 + right * 0.4 + up * 0.2)
    wrist = elbow + bend * _FOREARM_MM * scale
    solids: list[Solid] = [Capsule(shoulder, elbow, 46.0 * girth, BODY)]
    if other is not None:
        return [*solids, other.placed(rng, wrist, -bend)]
    palm = wrist + bend * 85.0 * scale
    axes = _frame(bend, rng.normal(size=3)).T
    return [
        *solids,
        Capsule(elbow, wrist, 34.0 * scale, BODY),
        Ellipsoid(palm, axes, np.array([95.0, 42.0, 17.0]) * scale, BODY),
    ]


def _thighs(stance: _Stance, girth: float, scale: float) -> list[Solid]:
    right, up, facing = stance.axes
    solids: list[Solid] = []
    for side in (-1.0, 1.0):
        hip = stance.chest - up * 420.0 * scale + right * side * 90.0 * scale
        knee = hip + unit(facing + right * side * 0.25 - up * 0.2) * 420.0 * scale
        solids.append(Capsule(hip, knee, 75.0 * girth, BODY))
    return solids
