"""Poses of the body rig: a trunk that bends, feet and hands that reach somewhere.

Arms and legs are solved from where hand and foot are. Everything is in the frame of the rig (x to
the person's left, y up, z ahead), turned only by the person's own heading; mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.body_rig import (
    ARM_BONES,
    CHEST,
    CLAVICLE,
    FOOT,
    FOREARM,
    HAND,
    HEAD,
    LEG_BONES,
    NECK,
    NUM_BONES,
    PELVIS,
    SHANK,
    SPINE,
    THIGH,
    UPPER_ARM,
    RestBody,
)
from v2vpose.datasets.synthetic.kinematics import Array, rotation_about, segment_distance
from v2vpose.datasets.synthetic.posture import Posture, sample_hand, sample_posture
from v2vpose.datasets.synthetic.solids import unit

X_AXIS, Y_AXIS, Z_AXIS = np.eye(3)
_TRIES = 8
_CHEST_MM = 105.0  # how near a forearm may come to the spine of a person of 1.70 m
_FREE_ARM_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Limb:
    """Unit vectors (3,): where its first and its second bone point, and the hinge between them."""

    first: Array
    second: Array
    hinge: Array

    def turns(self, rest: Limb) -> tuple[Array, Array]:
        """Rotations (3, 3) of both bones against a limb at rest."""
        return (
            _frame(self.first, self.hinge) @ _frame(rest.first, rest.hinge).T,
            _frame(self.second, self.hinge) @ _frame(rest.second, rest.hinge).T,
        )


def sample_turns(body: RestBody, rng: Generator) -> tuple[Array, Posture]:
    """Draw a pose: rotations (19, 3, 3) of the bones against the rest shape, and its posture."""
    posture = sample_posture(_leg_mm(body), rng)
    turns = np.tile(np.eye(3), (NUM_BONES, 1, 1))
    _bend_trunk(turns, posture, rng)
    for side, sign in enumerate((-1.0, 1.0)):
        _leg(turns, body, posture, side, sign, rng)
        _arm(turns, body, posture, side, sign, rng)
    return turns, posture


def reach(root: Array, goal: Array, lengths: tuple[float, float], pole: Array) -> Limb:
    """Bend a limb so that it ends at `goal`, or as near as it can; its joint goes toward `pole`."""
    first_mm, second_mm = lengths
    way = goal - root
    least = abs(first_mm - second_mm) + 0.2 * min(lengths)
    distance = float(np.clip(np.linalg.norm(way), least, 0.998 * (first_mm + second_mm)))
    straight = unit(way)
    across = pole - straight * (straight @ pole)
    if np.linalg.norm(across) < 1e-3:
        across = np.cross(straight, X_AXIS + 0.1 * Z_AXIS)
    across = unit(across)
    cos = (first_mm**2 + distance**2 - second_mm**2) / (2.0 * first_mm * distance)
    sin = np.sqrt(max(1.0 - cos * cos, 0.0))
    first = straight * cos + across * sin
    second = unit(straight * distance - first * first_mm)
    return Limb(first, second, unit(np.cross(straight, across)))


def _frame(along: Array, hinge: Array) -> Array:
    """Rotation (3, 3) with the columns along, hinge made square to it, and their cross product."""
    square = unit(hinge - along * (along @ hinge))
    return np.stack([along, square, np.cross(along, square)], axis=1)


def _leg_mm(body: RestBody) -> float:
    """Length of the straight leg from hip to ankle."""
    joints = body.heads[THIGH : FOOT + 1]
    return float(np.linalg.norm(np.diff(joints, axis=0), axis=1).sum())


def _bend_trunk(turns: Array, posture: Posture, rng: Generator) -> None:
    """The pelvis tips, spine and chest share the bend, neck and head look about."""
    turns[PELVIS] = posture.pelvis
    half = (
        rotation_about(Y_AXIS, posture.twist_rad / 2)
        @ rotation_about(Z_AXIS, posture.lean_rad / 2)
        @ rotation_about(X_AXIS, posture.bend_rad / 2)
    )
    turns[SPINE] = turns[PELVIS] @ half
    turns[CHEST] = turns[SPINE] @ half
    # Who bends forward mostly still looks ahead.
    nod = rng.normal(0.0, 0.18) - rng.uniform(0.0, 0.7) * posture.bend_rad
    look = rotation_about(Y_AXIS, rng.normal(0.0, 0.3)) @ rotation_about(X_AXIS, nod / 2)
    turns[NECK] = turns[CHEST] @ look
    turns[HEAD] = turns[NECK] @ look


def _leg(
    turns: Array, body: RestBody, posture: Posture, side: int, sign: float, rng: Generator
) -> None:
    """sign: of x on this side, -1 on the right."""
    later = side * LEG_BONES
    hip, knee, ankle = (body.heads[bone + later] for bone in (THIGH, SHANK, FOOT))
    rest = _at_rest(hip, knee, ankle, Z_AXIS)
    pole = np.array([sign * rng.uniform(0.0, 0.7), 0.15, 1.0])
    lengths = (float(np.linalg.norm(knee - hip)), float(np.linalg.norm(ankle - knee)))
    root = turns[PELVIS] @ hip
    goal = posture.feet[side] + (0.0, ankle[1] - body.ground, 0.0)
    limb = reach(root, goal, lengths, pole)
    turns[THIGH + later], turns[SHANK + later] = limb.turns(rest)
    toes_out = rotation_about(Y_AXIS, sign * rng.uniform(-0.15, 0.6))
    if posture.planted[side]:
        turns[FOOT + later] = toes_out @ rotation_about(X_AXIS, rng.normal(0.0, 0.06))
    else:
        pointed = rotation_about(X_AXIS, rng.uniform(-0.2, 0.7))
        turns[FOOT + later] = turns[SHANK + later] @ pointed


def _arm(
    turns: Array, body: RestBody, posture: Posture, side: int, sign: float, rng: Generator
) -> None:
    later = side * ARM_BONES
    shoulder, elbow, wrist = (body.heads[bone + later] for bone in (UPPER_ARM, FOREARM, HAND))
    rest = _at_rest(shoulder, elbow, wrist, -Z_AXIS)
    lengths = (float(np.linalg.norm(elbow - shoulder)), float(np.linalg.norm(wrist - elbow)))
    chest = turns[CHEST]
    neck = body.heads[NECK]
    size = sum(lengths)
    for _ in range(_TRIES):
        if rng.random() < _FREE_ARM_SHARE:
            limb = _free_arm(sign, rng)
        else:
            goal, pole = sample_hand(posture, sign, size, rng)
            limb = reach(shoulder - neck, goal, lengths, pole)
        if _is_clear(shoulder - neck, limb, lengths, size / 520.0):
            break
    # The collar bone follows an arm that is raised.
    lift = rotation_about(Z_AXIS, sign * 0.35 * max(float(limb.first[1]) + 0.3, 0.0))
    turns[CLAVICLE + later] = chest @ lift
    upper, fore = limb.turns(rest)
    roll = rng.normal(0.0, 0.5)
    turns[UPPER_ARM + later] = chest @ upper
    turns[FOREARM + later] = chest @ rotation_about(limb.second, roll) @ fore
    bent = rotation_about(unit(rng.normal(size=3)), rng.normal(0.0, 0.3))
    turns[HAND + later] = chest @ bent @ rotation_about(limb.second, 2.0 * roll) @ fore


def _at_rest(root: Array, joint: Array, end: Array, toward: Array) -> Limb:
    """A limb of the rest shape; where it is straight, its joint is taken to point `toward`."""
    first, second = unit(joint - root), unit(end - joint)
    return Limb(first, second, unit(np.cross(unit(end - root), toward)))


def _free_arm(sign: float, rng: Generator) -> Limb:
    """Upper arm anywhere that shoulders go, elbow bent forward, inward or up."""
    while True:
        first = unit(rng.normal(size=3))
        # Not far behind the back, not through the chest.
        if first[2] > -0.55 and first[0] * sign > -0.35:
            break
    to = np.array([-sign * rng.uniform(-0.2, 1.0), rng.uniform(-0.2, 0.9), rng.uniform(0.2, 1.0)])
    across = to - first * (first @ to)
    if np.linalg.norm(across) < 0.05:
        across = np.cross(first, Y_AXIS + 0.1 * X_AXIS)
    across = unit(across)
    angle = rng.choice((rng.uniform(0.02, 0.4), rng.uniform(0.2, 2.3)))
    second = unit(first * np.cos(angle) + across * np.sin(angle))
    return Limb(first, second, unit(np.cross(across, first)))


def _is_clear(shoulder: Array, limb: Limb, lengths: tuple[float, float], size: float) -> bool:
    """Whether forearm and hand stay out of trunk and head. All from the base of the neck."""
    elbow = shoulder + limb.first * lengths[0]
    hand = elbow + limb.second * (lengths[1] + 80.0 * size)
    belly = np.array([0.0, -500.0, 10.0]) * size
    chest = np.array([0.0, -60.0, 10.0]) * size
    head = np.array([0.0, 140.0, 40.0]) * size
    return (
        segment_distance(elbow, hand, belly, chest) > _CHEST_MM * size
        and segment_distance(elbow, hand, chest, head) > 85.0 * size
    )
