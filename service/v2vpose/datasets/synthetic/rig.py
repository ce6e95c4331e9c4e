"""The hand rig: shape coefficients -> a hand at rest, angles -> posed vertices and 21 keypoints.

Frame and pose angles: see `kinematics`. The assets are made by `tools/export_hand_rig.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import kinematics
from v2vpose.datasets.synthetic.kinematics import FOREARM, NUM_BONES, THUMB, Array

# Direction about which the thumb's last two joints bend, from the cross-sections of the rest mesh.
THUMB_FLEX_AXIS = np.array([0.2, -0.57, 0.8])


@dataclass(frozen=True, slots=True)
class RestHand:
    """One person's right hand at rest, in mm.

    Attributes:
        vertices: (V, 3).
        heads, flex_axes, along: (22, 3) joint centres, flexion axes, bone directions.
        tips: (5, 3) of index..little, thumb.
        elbow: (3,).
        rest_flex: (22,) radians of flexion that the shape has already.
        stretch, thickness: (22,) scale of each bone along itself and across.
        scale: of the whole, applied last.
    """

    vertices: Array
    heads: Array
    flex_axes: Array
    along: Array
    tips: Array
    elbow: Array
    rest_flex: Array
    stretch: Array
    thickness: Array
    scale: float


@dataclass(frozen=True, slots=True)
class PosedHand:
    """vertices (V, 3), keypoints (21, 3), elbow (3,), in the rig's frame, mm."""

    vertices: Array
    keypoints: Array
    elbow: Array


@dataclass(frozen=True, slots=True)
class HandRig:
    """The distilled rig; arrays as `tools/export_hand_rig.py` wrote them."""

    parents: NDArray[np.int8]
    triangles: NDArray[np.int32]
    weight_bones: NDArray[np.uint8]
    weights: NDArray[np.float32]
    mean_mm: NDArray[np.float32]
    components_mm: NDArray[np.float32]
    sample_scores: Array
    forearm_share: Array

    def rest(
        self, scores: Array, *, stretch: Array, thickness: Array, length_mm: float, sleeve: Sleeve
    ) -> RestHand:
        """Build one person.

        Args:
            scores: (C,) shape coefficients in standard deviations.
            stretch, thickness: (22,) scale of each bone along itself and across.
            length_mm: wrist to the tip of the straight middle finger.
            sleeve: what the forearm wears.
        """
        flat = self.mean_mm.ravel() + scores.astype(np.float32) @ self.components_mm
        points = flat.reshape(-1, 3).astype(np.float64)
        count = len(self.weights)
        vertices = points[:count]
        heads = np.ascontiguousarray(points[count : count + NUM_BONES])
        tips = np.ascontiguousarray(points[count + NUM_BONES : count + NUM_BONES + 5])
        elbow = points[-1]
        along, flex_axes, rest_flex = _axes(heads, tips, elbow)
        middle = np.linalg.norm(np.diff([*heads[8:11], tips[1]], axis=0), axis=1)
        reach = np.linalg.norm(heads[8]) + float(middle @ stretch[8:11])
        return RestHand(
            vertices=sleeve.put_on(vertices, self.forearm_share, elbow),
            heads=heads,
            flex_axes=flex_axes,
            along=along,
            tips=tips,
            elbow=elbow,
            rest_flex=rest_flex,
            stretch=stretch,
            thickness=thickness,
            scale=length_mm / float(reach),
        )

    def pose(self, hand: RestHand, angles: Array) -> PosedHand:
        """Bend a hand. angles: (26,) radians."""
        linear, shift = self._bones(hand, angles)
        vertices = kinematics.skin(hand.vertices, self.weight_bones, self.weights, linear, shift)
        keypoints = kinematics.posed_keypoints(linear, shift, hand.heads, hand.tips)
        elbow = linear[FOREARM + 1] @ hand.elbow + shift[FOREARM + 1]
        return PosedHand(vertices * hand.scale, keypoints * hand.scale, elbow * hand.scale)

    def pose_keypoints(self, hand: RestHand, angles: Array) -> Array:
        """(21, 3) keypoints alone, at rest size (before `scale`)."""
        linear, shift = self._bones(hand, angles)
        return np.asarray(kinematics.posed_keypoints(linear, shift, hand.heads, hand.tips))

    def _bones(self, hand: RestHand, angles: Array) -> tuple[Array, Array]:
        linear, shift = kinematics.pose_bones(
            angles,
            hand.heads,
            self.parents,
            hand.flex_axes,
            hand.rest_flex,
            hand.along,
            hand.stretch,
            hand.thickness,
        )
        return linear, shift


@dataclass(frozen=True, slots=True)
class Sleeve:
    """Cloth on the forearm: from `start_mm` below the wrist on, `thickness_mm` thick (0 = bare)."""

    start_mm: float
    thickness_mm: float

    def put_on(self, vertices: Array, forearm_share: Array, elbow: Array) -> Array:
        """Push forearm vertices (V, 3) away from the line wrist-elbow."""
        if self.thickness_mm <= 0:
            return np.ascontiguousarray(vertices)
        axis = elbow / np.linalg.norm(elbow)
        along = vertices @ axis
        radial = vertices - along[:, None] * axis
        radius = np.maximum(np.linalg.norm(radial, axis=1), 1.0)
        # A cuff is a step: it rises within 6 mm.
        push = np.clip((along - self.start_mm) / 6.0, 0.0, 1.0) * forearm_share * self.thickness_mm
        return np.asarray(vertices + radial * (push / radius)[:, None])


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float64)


def _axes(heads: Array, tips: Array, elbow: Array) -> tuple[Array, Array, Array]:
    """Bone directions (22, 3), flexion axes (22, 3) and rest flexion (22,) of one rest shape."""
    along = np.tile(np.array([0.0, 1.0, 0.0]), (NUM_BONES, 1))
    flex_axes = np.tile(np.array([1.0, 0.0, 0.0]), (NUM_BONES, 1))
    rest_flex = np.zeros(NUM_BONES)
    for finger in range(5):
        first = 5 + 3 * finger
        joints = np.stack([*heads[first : first + 3], tips[finger]])
        steps = np.diff(joints, axis=0)
        steps /= np.linalg.norm(steps, axis=1, keepdims=True)
        along[first : first + 3] = steps
        if first == THUMB:
            # Abduction lifts the metacarpal out of the palm: about metacarpal x palm normal.
            flex_axes[first] = _unit(np.array([steps[0, 1], -steps[0, 0], 0.0]))
            for j in (1, 2):
                axis = THUMB_FLEX_AXIS - steps[j] * (THUMB_FLEX_AXIS @ steps[j])
                flex_axes[first + j] = _unit(axis)
            continue
        fan = joints[3] - joints[0]
        flex_axes[first : first + 3] = _unit(np.array([fan[1], -fan[0], 0.0]))
        rise = np.arcsin(np.clip(steps[:, 2], -1.0, 1.0))
        rest_flex[first : first + 3] = np.diff(rise, prepend=0.0)
    along[FOREARM:] = _unit(elbow)
    return along, flex_axes, rest_flex


@cache
def load_rig() -> HandRig:
    """Read the committed assets once."""
    path = files("v2vpose.datasets.synthetic").joinpath("assets/hand_rig.npz")
    with path.open("rb") as stream, np.load(stream) as data:
        weights = data["weights"].astype(np.float32)
        weights /= weights.sum(axis=1, keepdims=True)
        weight_bones = data["weight_bones"]
        return HandRig(
            parents=data["bone_parents"],
            triangles=data["triangles"].astype(np.int32),
            weight_bones=weight_bones,
            weights=weights,
            mean_mm=data["mean_mm"],
            components_mm=data["components_mm"]
            .astype(np.float32)
            .reshape(len(data["components_mm"]), -1),
            sample_scores=data["sample_scores"].astype(np.float64),
            forearm_share=np.where(weight_bones >= FOREARM, weights, 0.0).sum(axis=1),
        )
