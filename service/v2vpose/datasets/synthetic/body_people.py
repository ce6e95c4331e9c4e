"""Who stands there: shapes and sizes of people, and what they wear."""

from typing import Final

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic import people
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
    BodyRig,
    RestBody,
)
from v2vpose.datasets.synthetic.kinematics import Array

ADULT_HEIGHT_MM = (1700.0, 95.0)
CHILD_SHARE = 0.1
CHILD_HEIGHT_MM = (1150.0, 1500.0)
# How far cloth stands off, at most, mm.
_LOOSE_MM: Final[dict[int, float]] = {
    PELVIS: 35.0,
    SPINE: 40.0,
    CHEST: 35.0,
    NECK: 12.0,
    CLAVICLE: 25.0,
    UPPER_ARM: 28.0,
    FOREARM: 24.0,
    HAND: 3.0,
    THIGH: 34.0,
    SHANK: 34.0,
    FOOT: 16.0,
}
HAIR_MM = 45.0


def sample_person(rig: BodyRig, shapes: Array, rng: Generator) -> RestBody:
    """Draw one person: shape from `shapes` (N, C), height and clothes."""
    if rng.random() < CHILD_SHARE:
        height_mm = float(rng.uniform(*CHILD_HEIGHT_MM))
    else:
        height_mm = float(np.clip(rng.normal(*ADULT_HEIGHT_MM), 1450.0, 2050.0))
    return rig.rest(
        people.sample_scores(shapes, rng), height_mm=height_mm, cloth_mm=_cloth_mm(rig, rng)
    )


def _cloth_mm(rig: BodyRig, rng: Generator) -> Array:
    """(V,) mm; alike on both sides, tight in half of the cases."""
    at_most = np.array([_LOOSE_MM.get(_right(bone), 0.0) for bone in range(NUM_BONES)])
    upper, lower = rng.uniform(0.0, 1.0, 2) ** 2
    share = np.where(np.arange(NUM_BONES) >= THIGH, lower, upper)
    share[PELVIS] = max(upper, lower)
    by_bone = at_most * share * rng.uniform(0.5, 1.0)
    shoes = rng.uniform(0.2, 1.0)
    by_bone[[FOOT, FOOT + LEG_BONES]] = at_most[FOOT] * shoes
    cloth = rig.bone_share @ by_bone
    # Hair: on the crown and at the back of the head.
    normals = rig.normals
    crown = np.clip(np.maximum(normals[:, 1] - 0.1, -normals[:, 2] - 0.1), 0.0, 1.0)
    hair = rng.uniform(0.0, 1.0) ** 2 * HAIR_MM
    return np.asarray(cloth + rig.bone_share[:, HEAD] * crown * hair)


def _right(bone: int) -> int:
    """The right side's bone."""
    if CLAVICLE + ARM_BONES <= bone < THIGH:
        return bone - ARM_BONES
    return bone - LEG_BONES if bone > FOOT else bone
