"""Generated depth frames of one hand with its 21 keypoints, for training and for evaluation.

A frame is a pure function of (split, seed, index). Held-out frames come from people, cameras and
noise that training frames never have; poses and views are drawn alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import noise, people, render, scene, sensor
from v2vpose.datasets.synthetic.cameras import Camera, sample_camera
from v2vpose.datasets.synthetic.grasp import sample_grasp
from v2vpose.datasets.synthetic.person import Arm, OtherArm
from v2vpose.datasets.synthetic.pose import sample_angles
from v2vpose.datasets.synthetic.rig import HandRig, PosedHand, RestHand, load_rig
from v2vpose.datasets.synthetic.solids import FOREARM, HAND, Canvas, Solid
from v2vpose.datasets.synthetic.view import place, sample_view
from v2vpose.values import Handedness, Intrinsics

Split = Literal["train", "held_out"]

_FINGERS = ("index", "middle", "ring", "little")
# MSRA's order.
HAND_KEYPOINTS: Final[tuple[str, ...]] = (
    "wrist",
    *(f"{finger}_{joint}" for finger in _FINGERS for joint in ("mcp", "pip", "dip", "tip")),
    "thumb_cmc",
    "thumb_mcp",
    "thumb_ip",
    "thumb_tip",
)
_JOINT_MEANING = {
    "wrist": "centre of the wrist joint, inside the flesh, between forearm and carpal bones",
    "mcp": "centre of the knuckle joint, inside the flesh",
    "pip": "centre of the finger's middle joint, inside the flesh",
    "dip": "centre of the finger's last joint, inside the flesh",
    "cmc": "centre of the joint between wrist and thumb metacarpal, inside the flesh",
    "ip": "centre of the thumb's last joint, inside the flesh",
    "tip": "4 mm inside the flesh from the extreme point of the last bone's flesh, along that bone",
}
HAND_KEYPOINT_MEANING: Final[dict[str, str]] = {
    name: _JOINT_MEANING[name.rpartition("_")[2]] for name in HAND_KEYPOINTS
}
HAND_SKELETON: Final[tuple[tuple[int, int], ...]] = tuple(
    (0 if j == 0 else 4 * finger + j, 4 * finger + j + 1) for finger in range(5) for j in range(4)
)

GRASP_SHARE = 0.2
# Of the frames with a body; about half of these hands are in view.
OTHER_HAND_SHARE = 0.35
# Hands that show less surface than this (seen end-on, behind their own forearm) are drawn again.
MIN_VISIBLE_MM2 = 2500.0
_ATTEMPTS = 20
SPLIT_KEY: Final[dict[str, int]] = {"train": 1, "held_out": 2}


@dataclass(frozen=True, slots=True)
class HandFrame:
    """One labelled frame.

    Attributes:
        depth_mm: (H, W) float32, distance along +z, 0 = no reading.
        intrinsics: the camera.
        keypoints_mm: (21, 3) in the camera frame (x right, y down, z forward), in the order of
            HAND_KEYPOINTS.
        handedness: of the labelled hand.
        centre_mm: None; a generated frame has no reference point of its own.
    """

    depth_mm: NDArray[np.float32]
    intrinsics: Intrinsics
    keypoints_mm: NDArray[np.float64]
    handedness: Handedness
    centre_mm: None = None

    def mirrored(self) -> HandFrame:
        """The frame in a mirror (x -> -x): a right hand becomes a left one."""
        cols = self.depth_mm.shape[1]
        i = self.intrinsics
        other = {Handedness.RIGHT: Handedness.LEFT, Handedness.LEFT: Handedness.RIGHT}
        return HandFrame(
            np.ascontiguousarray(self.depth_mm[:, ::-1]),
            Intrinsics(i.fx_px, i.fy_px, cols - 1 - i.cx_px, i.cy_px),
            self.keypoints_mm * (-1.0, 1.0, 1.0),
            other[self.handedness],
        )


class SyntheticHands:
    """An endless, reproducible data set.

    Args:
        split: train or held_out.
        seed: which set.
        camera: takes every frame; None: each frame has a camera of its own.
    """

    keypoints: Final = HAND_KEYPOINTS

    def __init__(self, *, split: Split, seed: int, camera: Camera | None = None) -> None:
        if split not in SPLIT_KEY:
            raise ValueError(f"split must be one of {sorted(SPLIT_KEY)}, got {split!r}")
        self.split: Final = split
        self.seed: Final = seed
        self._camera = camera
        self._rig = load_rig()
        forearm = self._rig.forearm_share[self._rig.triangles].mean(axis=1) > 0.5
        self._triangle_labels = np.where(forearm, FOREARM, HAND).astype(np.uint8)
        self._people = people.split_scores(self._rig.sample_scores)[split]

    def frame(self, index: int) -> HandFrame:
        """Generate frame `index` >= 0; the same one for the same (split, seed, index)."""
        frame = self.right_hand_frame(index)
        left = np.random.default_rng([SPLIT_KEY[self.split], self.seed, index, 1]).random() < 0.5
        return frame.mirrored() if left else frame

    def right_hand_frame(self, index: int) -> HandFrame:
        """As `frame`, before half of the frames are mirrored."""
        rng = np.random.default_rng([SPLIT_KEY[self.split], self.seed, index])
        held_out = self.split == "held_out"
        camera = self._camera or sample_camera(rng, held_out=held_out)
        for _ in range(_ATTEMPTS):
            canvas, subject, held = self._hand(camera, rng)
            if _visible_mm2(canvas) >= MIN_VISIBLE_MM2:
                break
        scene.build(canvas, subject, held, rng)
        depth = sensor.observe(
            canvas.depth,
            canvas.labels,
            camera.intrinsics.fx_px,
            noise.sample_noise(rng, held_out=held_out),
            int(rng.integers(2**31)),
        )
        return HandFrame(depth, camera.intrinsics, subject.keypoints, Handedness.RIGHT)

    def _hand(self, camera: Camera, rng: Generator) -> tuple[Canvas, scene.Subject, list[Solid]]:
        rig = self._rig
        someone = people.sample_person(rig, self._people, rng)
        if rng.random() < GRASP_SHARE:
            angles, grasped = sample_grasp(rig, someone, rng)
        else:
            angles, grasped = sample_angles(rig, someone, rng), None
        posed = rig.pose(someone, angles)
        rotation = sample_view(rng)
        rotation, shift = place(posed.keypoints, rotation, camera, rng)
        held = [] if grasped is None else [grasped.moved(someone.scale, rotation, shift)]
        moved = PosedHand(
            posed.vertices @ rotation.T + shift,
            posed.keypoints @ rotation.T + shift,
            rotation @ posed.elbow + shift,
        )
        canvas = Canvas.blank(*camera.hw, camera.array())
        render.draw_mesh(
            canvas.depth,
            canvas.labels,
            canvas.camera,
            moved.vertices,
            rig.triangles,
            self._triangle_labels,
        )
        other = _other_arm(rig, someone, rng) if rng.random() < OTHER_HAND_SHARE else None
        return canvas, _subject(rig, moved, someone.scale, other), held


def _other_arm(rig: HandRig, someone: RestHand, rng: Generator) -> OtherArm:
    """The owner's left hand: the mirror image of the right one, in a pose of its own."""
    posed = rig.pose(someone, sample_angles(rig, someone, rng))
    mirror = np.array([-1.0, 1.0, 1.0])
    return OtherArm(posed.vertices * mirror, rig.triangles, posed.elbow * mirror)


def _subject(
    rig: HandRig, moved: PosedHand, hand_scale: float, other: OtherArm | None
) -> scene.Subject:
    is_arm = rig.forearm_share > 0.5
    axis = moved.elbow - moved.keypoints[0]
    axis = axis / np.linalg.norm(axis)
    radial = moved.vertices[is_arm] - moved.keypoints[0]
    radial = radial - np.outer(radial @ axis, axis)
    return scene.Subject(
        hand=moved.vertices[~is_arm],
        arm=moved.vertices,
        keypoints=moved.keypoints,
        own_arm=Arm(
            wrist=moved.keypoints[0],
            elbow=moved.elbow,
            radius_mm=float(np.percentile(np.linalg.norm(radial, axis=1), 80)),
            scale=hand_scale,
        ),
        other_arm=other,
    )


def _visible_mm2(canvas: Canvas) -> float:
    """Area that the hand's pixels cover at their distance, ignoring their slope."""
    z = canvas.depth[canvas.labels == HAND].astype(np.float64)
    return float((z * z).sum() / (canvas.camera[0] * canvas.camera[1]))
