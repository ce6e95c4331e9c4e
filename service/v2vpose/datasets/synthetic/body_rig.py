"""The body rig: shape coefficients -> a person at rest, turns of the bones -> vertices, keypoints.

Frame of the rig: origin between the hip joints, x to the person's left, y up, z to where the person
faces; right-handed; millimetres. The assets are made by `tools/export_body_rig.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import kinematics
from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.model_store.importers.known_sets import ITOP

PELVIS, SPINE, CHEST, NECK, HEAD = range(5)
# Right limbs; the left one's bone is ARM_BONES or LEG_BONES later.
CLAVICLE, UPPER_ARM, FOREARM, HAND = range(5, 9)
THIGH, SHANK, FOOT = range(13, 16)
ARM_BONES: Final = 4
LEG_BONES: Final = 3
PARENTS: Final = (-1, 0, 1, 2, 3, 2, 5, 6, 7, 2, 9, 10, 11, 0, 13, 14, 0, 16, 17)
NUM_BONES: Final = len(PARENTS)
# Points beside the bones' heads: middle of the head, right and left palm, right and left foot.
_EXTRAS: Final = (HEAD, HAND, HAND + ARM_BONES, FOOT, FOOT + LEG_BONES)

BODY_KEYPOINTS: Final = ITOP.keypoints
BODY_SKELETON: Final = ITOP.skeleton
_JOINT_MEANING: Final = {
    "head": "middle of the skull",
    "neck": "base of the neck, inside the flesh",
    "shoulder": "centre of the shoulder joint",
    "elbow": "centre of the elbow joint",
    "hand": "middle of the palm, inside the flesh",
    "torso": "half way between neck and the middle of the hips, on the bent spine's side of it",
    "hip": "centre of the hip joint",
    "knee": "centre of the knee joint",
    "foot": "middle of the foot, 60 mm before the ankle joint, inside the flesh",
}
BODY_KEYPOINT_MEANING: Final[dict[str, str]] = {
    name: _JOINT_MEANING[name.rpartition("_")[2]] for name in BODY_KEYPOINTS
}


@dataclass(frozen=True, slots=True)
class RestBody:
    """One person at rest, dressed, in mm.

    Attributes:
        vertices: (V, 3).
        heads: (19, 3) where each bone turns.
        extras: (5, 3) middle of the head, palms and feet, right before left.
        ground: y of the soles.
    """

    vertices: Array
    heads: Array
    extras: Array
    ground: float


@dataclass(frozen=True, slots=True)
class PosedBody:
    """vertices (V, 3), keypoints (15, 3) in ITOP's order, in mm."""

    vertices: Array
    keypoints: Array

    def moved(self, rotation: Array, shift: Array) -> PosedBody:
        """Turned by (3, 3), then shifted by (3,)."""
        return PosedBody(self.vertices @ rotation.T + shift, self.keypoints @ rotation.T + shift)


@dataclass(frozen=True, slots=True)
class BodyRig:
    """The distilled rig; arrays as `tools/export_body_rig.py` wrote them.

    Attributes:
        triangles: (T, 3).
        weight_bones, weights: (V, 4) skinning.
        mean_mm: (V + 19 + 5, 3) vertices, bone heads, extras of the mean person of 1.70 m.
        components_mm: (C, 3 (V + 24)) one standard deviation of each component.
        sample_scores: (N, C) of the people that it was distilled from.
        bone_share: (V, 19) the weights, dense.
        normals: (V, 3) of the mean person, outwards.
    """

    triangles: NDArray[np.int32]
    weight_bones: NDArray[np.uint8]
    weights: NDArray[np.float32]
    mean_mm: NDArray[np.float32]
    components_mm: NDArray[np.float32]
    sample_scores: Array
    bone_share: Array
    normals: Array

    def rest(self, scores: Array, *, height_mm: float, cloth_mm: Array) -> RestBody:
        """Build one person.

        Args:
            scores: (C,) shape coefficients in standard deviations.
            height_mm: from sole to crown.
            cloth_mm: (V,) how far clothes and hair stand off the skin.
        """
        flat = self.mean_mm.ravel() + scores.astype(np.float32) @ self.components_mm
        points = flat.reshape(-1, 3).astype(np.float64)
        count = len(self.weights)
        y = points[:count, 1]
        points *= height_mm / float(y.max() - y.min())
        vertices = points[:count] + self.normals * cloth_mm[:, None]
        return RestBody(
            vertices=np.ascontiguousarray(vertices),
            heads=points[count : count + NUM_BONES],
            extras=points[count + NUM_BONES :],
            ground=float(vertices[:, 1].min()),
        )

    def pose(self, body: RestBody, turns: Array) -> PosedBody:
        """Turn the bones. turns: (19, 3, 3) of each bone against the rest shape."""
        shift = bone_shifts(body.heads, turns)
        vertices = kinematics.skin(body.vertices, self.weight_bones, self.weights, turns, shift)
        return PosedBody(vertices, keypoints(body, turns, shift))


def bone_shifts(heads: Array, turns: Array) -> Array:
    """(19, 3) so that x_posed = turns[b] @ x_rest + shifts[b], with every joint held together."""
    shifts = np.zeros((NUM_BONES, 3))
    for bone, parent in enumerate(PARENTS):
        if parent >= 0:  # the pelvis turns about the origin
            head = heads[bone]
            shifts[bone] = turns[parent] @ head + shifts[parent] - turns[bone] @ head
    return shifts


def keypoints(body: RestBody, turns: Array, shifts: Array) -> Array:
    """(15, 3) in ITOP's order; turns and shifts as in `bone_shifts`."""

    def joint(bone: int) -> Array:
        return np.asarray(turns[bone] @ body.heads[bone] + shifts[bone])

    def extra(index: int) -> Array:
        bone = _EXTRAS[index]
        return np.asarray(turns[bone] @ body.extras[index] + shifts[bone])

    def pair(bone: int, later: int) -> tuple[Array, Array]:
        return joint(bone), joint(bone + later)

    hips = pair(THIGH, LEG_BONES)
    neck = joint(NECK)
    torso = ((hips[0] + hips[1]) / 2 + neck) / 4 + joint(CHEST) / 2
    return np.stack(
        [
            extra(0),
            neck,
            *pair(UPPER_ARM, ARM_BONES),
            *pair(FOREARM, ARM_BONES),
            extra(1),
            extra(2),
            torso,
            *hips,
            *pair(SHANK, LEG_BONES),
            extra(3),
            extra(4),
        ]
    )


def _normals(points: Array, triangles: NDArray[np.int32]) -> Array:
    a, b, c = (points[triangles[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for i in range(3):
        np.add.at(normals, triangles[:, i], across)
    return np.asarray(normals / np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9))


@cache
def load_body_rig() -> BodyRig:
    """Read the committed assets once."""
    path = files("v2vpose.datasets.synthetic").joinpath("assets/body_rig.npz")
    with path.open("rb") as stream, np.load(stream) as data:
        weights = data["weights"].astype(np.float32)
        weights /= weights.sum(axis=1, keepdims=True)
        weight_bones = data["weight_bones"]
        triangles = data["triangles"].astype(np.int32)
        mean_mm = data["mean_mm"]
        share = np.zeros((len(weights), NUM_BONES))
        np.add.at(share, (np.arange(len(weights))[:, None], weight_bones), weights)
        components = data["components_mm"].astype(np.float32)
        return BodyRig(
            triangles=triangles,
            weight_bones=weight_bones,
            weights=weights,
            mean_mm=mean_mm,
            components_mm=components.reshape(len(components), -1),
            sample_scores=data["sample_scores"].astype(np.float64),
            bone_share=share,
            normals=_normals(mean_mm[: len(weights)].astype(np.float64), triangles),
        )
