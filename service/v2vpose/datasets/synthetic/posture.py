"""Everyday and sport postures: where pelvis and feet are, how the trunk bends, where hands reach.

Frame of the rig, see `body_rig`; lengths follow the person's own leg or arm.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.kinematics import Array, rotation_about

Kind: TypeAlias = Literal["stand", "walk", "bend", "sit", "crouch", "kick", "lunge", "balance"]
Shares: TypeAlias = tuple[tuple[str, float], ...]
SHARES: Final[dict[Kind, float]] = {
    "stand": 0.44,
    "walk": 0.13,
    "bend": 0.09,
    "sit": 0.12,
    "crouch": 0.06,
    "kick": 0.06,
    "lunge": 0.06,
    "balance": 0.04,
}
_X_AXIS, _, _Z_AXIS = np.eye(3)

# Where hands go, from the base of the neck in the chest's frame, in lengths of the arm (upper arm
# and forearm): out to the side, up, ahead; spread of each; where the elbow points (out, up, ahead).
_PLACES: Final[dict[str, tuple[tuple[float, float, float], float, tuple[float, float, float]]]] = {
    "hanging": ((0.48, -1.00, 0.08), 0.07, (0.5, 0.0, -1.0)),
    "at the hip": ((0.42, -0.72, 0.12), 0.05, (1.0, 0.2, -0.6)),
    "behind the back": ((0.05, -0.75, -0.32), 0.06, (1.0, 0.2, -0.5)),
    "folded": ((-0.12, -0.42, 0.40), 0.06, (0.8, -0.7, 0.1)),
    "before the belly": ((0.05, -0.68, 0.45), 0.12, (0.8, -0.5, -0.3)),
    "at the face": ((0.12, 0.10, 0.32), 0.09, (0.8, -0.8, 0.2)),
    "behind the head": ((0.14, 0.26, -0.12), 0.06, (1.0, 0.3, 0.3)),
    "raised": ((0.45, 0.85, 0.15), 0.22, (0.7, -0.3, 0.3)),
    "waving": ((0.75, 0.35, 0.25), 0.15, (0.6, -1.0, 0.0)),
    "aside": ((1.25, 0.02, 0.05), 0.16, (0.2, -0.6, -0.5)),
    "ahead": ((0.25, -0.10, 0.98), 0.16, (0.6, -0.8, -0.2)),
    "across": ((-0.30, -0.15, 0.72), 0.14, (0.7, -0.5, 0.2)),
    "to the floor": ((0.30, -1.00, 0.45), 0.14, (0.6, 0.0, -0.6)),
    "on the thigh": ((0.24, -0.92, 0.62), 0.09, (0.9, 0.1, -0.4)),
}
_USUAL: Final[Shares] = (
    *(("hanging", 0.30), ("at the hip", 0.07), ("behind the back", 0.03), ("folded", 0.07)),
    *(("before the belly", 0.10), ("at the face", 0.06), ("behind the head", 0.04)),
    *(("raised", 0.09), ("waving", 0.06), ("aside", 0.07), ("ahead", 0.07), ("across", 0.04)),
)
_SEATED: Final[Shares] = (
    *(("on the thigh", 0.45), ("before the belly", 0.20), ("folded", 0.05), ("ahead", 0.08)),
    *(("at the face", 0.08), ("raised", 0.06), ("waving", 0.04), ("aside", 0.04)),
)
_STOOPED: Final[Shares] = (
    *(("to the floor", 0.35), ("hanging", 0.20), ("on the thigh", 0.15), ("ahead", 0.15)),
    *(("before the belly", 0.10), ("aside", 0.05)),
)


@dataclass(frozen=True, slots=True)
class Posture:
    """How a person stands.

    Attributes:
        kind: of posture.
        height_mm: of the hips above the floor.
        pelvis: (3, 3) its rotation.
        bend_rad, lean_rad, twist_rad: of the trunk above it: forward, to the right, to the left.
        feet: (2, 3) points of the soles under right and left ankle.
        planted: whether each foot stands flat.
    """

    kind: Kind
    height_mm: float
    pelvis: Array
    bend_rad: float
    lean_rad: float
    twist_rad: float
    feet: Array
    planted: tuple[bool, bool]


def sample_posture(leg_mm: float, rng: Generator) -> Posture:
    """Draw one for a person whose straight leg is so long."""
    kinds = list(SHARES)
    shares = np.array(list(SHARES.values()))
    kind = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
    # Under the ankle comes the heel's height, about a tenth of the leg.
    height, ahead, apart, pitch, bend = _numbers(kind, rng)
    feet = np.array(
        [
            [-apart, -height, ahead + rng.normal(0.0, 0.05)],
            [apart, -height, ahead + rng.normal(0.0, 0.05)],
        ]
    )
    feet[:, 0] += rng.normal(0.0, 0.04, 2)
    planted = [True, True]
    side = int(rng.integers(2))
    if kind in ("walk", "lunge"):
        stride = rng.uniform(0.12, 0.45) if kind == "walk" else rng.uniform(0.45, 0.75)
        feet[side, 2] += stride
        feet[1 - side, 2] -= stride
        planted[1 - side] = False
        feet[1 - side, 1] += rng.uniform(0.0, 0.25) if kind == "walk" else 0.08
    elif kind == "kick":
        aside = rng.uniform(-0.1, 0.7) * (1.0 if side else -1.0)
        feet[side] = aside, -height + rng.uniform(0.2, 1.0), rng.uniform(0.2, 0.9)
        feet[1 - side, :2] = 0.0, -height
        planted[side] = False
    elif kind == "balance":
        feet[side] += 0.0, rng.uniform(0.15, 0.55), rng.uniform(-0.4, 0.45)
        feet[1 - side, 0] *= 0.3
        planted[side] = False
    return Posture(
        kind=kind,
        height_mm=height * leg_mm,
        pelvis=rotation_about(_X_AXIS, pitch) @ rotation_about(_Z_AXIS, rng.normal(0.0, 0.04)),
        bend_rad=bend,
        lean_rad=rng.normal(0.0, 0.10),
        twist_rad=rng.normal(0.0, 0.16),
        feet=feet * leg_mm,
        planted=(planted[0], planted[1]),
    )


def _numbers(kind: Kind, rng: Generator) -> tuple[float, float, float, float, float]:
    """Height of the hips, feet ahead, half their gap (in legs); pelvis' pitch and bend (rad)."""
    apart = abs(float(rng.normal(0.14, 0.06))) + 0.04
    if kind == "sit":
        ahead = rng.uniform(0.25, 0.75)
        return rng.uniform(0.5, 0.68), ahead, apart, rng.normal(-0.1, 0.15), rng.normal(0.1, 0.2)
    if kind == "crouch":
        height = rng.uniform(0.3, 0.85)
        return (
            height,
            rng.uniform(-0.05, 0.3),
            apart + 0.1,
            rng.uniform(0.0, 0.7),
            rng.uniform(0.0, 0.6),
        )
    if kind == "bend":
        pitch = rng.uniform(0.1, 1.2)
        return 1.04 - 0.06 * pitch, 0.12 * pitch, apart, pitch, rng.uniform(0.1, 1.0)
    if kind == "lunge":
        return rng.uniform(0.72, 0.92), 0.0, 0.12, rng.normal(0.1, 0.1), rng.normal(0.1, 0.15)
    # The straight leg and its heel.
    height = 1.08 - abs(float(rng.normal(0.0, 0.03)))
    lean = rng.normal(0.0, 0.25) if kind == "kick" else rng.normal(0.0, 0.07)
    return height, 0.0, apart, lean, rng.normal(0.08, 0.12)


def sample_hand(
    posture: Posture, sign: float, arm_mm: float, rng: Generator
) -> tuple[Array, Array]:
    """Draw where a hand is, and a direction for the elbow.

    Args:
        posture: of the person.
        sign: of x on this side, -1 on the right.
        arm_mm: upper arm and forearm.

    Returns:
        (3,) the wrist from the base of the neck and (3,) the elbow's direction, in the chest's
        frame.
    """
    places = _USUAL
    if posture.kind == "sit":
        places = _SEATED
    elif posture.bend_rad > 0.6 or posture.kind == "bend":
        places = _STOOPED
    shares = np.array([share for _, share in places])
    name = places[rng.choice(len(places), p=shares / shares.sum())][0]
    middle, spread, elbow = _PLACES[name]
    goal = (np.array(middle) + rng.normal(0.0, spread, 3)) * arm_mm
    pole = np.array(elbow) + rng.normal(0.0, 0.25, 3)
    goal[0] *= sign
    pole[0] *= sign
    return goal, pole
