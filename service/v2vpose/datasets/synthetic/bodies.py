"""Generated depth frames of people with the 15 keypoints of one of them, in ITOP's order.

The labelled person is the one nearest to the camera; up to two others stand farther away. A frame
is a pure function of (split, seed, index). Held-out frames come from people, cameras, noise and
rooms that training frames never have; poses and views are drawn alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import noise, people, room, scene, sensor
from v2vpose.datasets.synthetic.body_people import sample_person
from v2vpose.datasets.synthetic.body_pose import sample_turns
from v2vpose.datasets.synthetic.body_rig import BODY_KEYPOINTS, HEAD, PosedBody, load_body_rig
from v2vpose.datasets.synthetic.body_view import sample_view
from v2vpose.datasets.synthetic.cameras import BODY_KINDS, Camera, sample_camera
from v2vpose.datasets.synthetic.hands import SPLIT_KEY, Split
from v2vpose.datasets.synthetic.kinematics import Array, rotation_about
from v2vpose.datasets.synthetic.render import draw_mesh
from v2vpose.datasets.synthetic.solids import BODY, Canvas, Solid, random_solid
from v2vpose.datasets.synthetic.solids import HEAD as HEAD_LABEL
from v2vpose.values import Handedness, Intrinsics

# Apart from the frames of hands with the same seed.
_BODIES: Final = 15
OTHERS: Final = (0.58, 0.28, 0.14)
FACING_SHARE = 0.65
HELD_SHARE = 0.12
MAX_HIDDEN = 0.3
# The others are at least so much farther away.
BEHIND_MM = 400.0
_ATTEMPTS = 10
_Y_AXIS: Final = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, slots=True)
class BodyFrame:
    """One labelled frame.

    Attributes:
        depth_mm: (H, W) float32, distance along +z, 0 = no reading.
        intrinsics: the camera.
        keypoints_mm: (15, 3) in the camera frame (x right, y down, z forward), in the order of
            BODY_KEYPOINTS; right and left are the person's own.
        handedness: RIGHT; bodies have none and are never mirrored.
        centre_mm: None; a generated frame has no reference point of its own.
    """

    depth_mm: NDArray[np.float32]
    intrinsics: Intrinsics
    keypoints_mm: NDArray[np.float64]
    handedness: Handedness = Handedness.RIGHT
    centre_mm: None = None


@dataclass(frozen=True, slots=True)
class _Standing:
    """A person in the room: its body, where it is headed, and whether it sits."""

    body: PosedBody
    hips: Array
    heading_rad: float
    is_seated: bool


class SyntheticBodies:
    """An endless, reproducible data set.

    Args:
        split: train or held_out.
        seed: which set.
        camera: takes every frame; None: each frame has a camera of its own.
    """

    keypoints: Final = BODY_KEYPOINTS

    def __init__(self, *, split: Split, seed: int, camera: Camera | None = None) -> None:
        if split not in SPLIT_KEY:
            raise ValueError(f"split must be one of {sorted(SPLIT_KEY)}, got {split!r}")
        self.split: Final = split
        self.seed: Final = seed
        self._camera = camera
        self._rig = load_body_rig()
        is_head = self._rig.bone_share[self._rig.triangles, HEAD].mean(axis=1) > 0.5
        self._triangle_labels = np.where(is_head, HEAD_LABEL, BODY).astype(np.uint8)
        self._people = people.split_scores(self._rig.sample_scores)[split]

    def frame(self, index: int) -> BodyFrame:
        """Generate frame `index` >= 0; the same one for the same (split, seed, index)."""
        rng = np.random.default_rng([SPLIT_KEY[self.split], self.seed, index, _BODIES])
        held_out = self.split == "held_out"
        camera = self._camera or sample_camera(rng, held_out=held_out, kinds=BODY_KINDS)
        canvas, keypoints = self._scene(camera, rng, held_out=held_out)
        depth = sensor.observe(
            canvas.depth,
            canvas.labels,
            camera.intrinsics.fx_px,
            noise.sample_room_noise(rng, held_out=held_out),
            int(rng.integers(2**31)),
        )
        return BodyFrame(depth, camera.intrinsics, keypoints)

    def _scene(self, camera: Camera, rng: Generator, *, held_out: bool) -> tuple[Canvas, Array]:
        person = self._person(rng)
        to_camera, camera_mm = sample_view(person.body.keypoints, camera, rng)
        seen = person.body.moved(to_camera.rotation, to_camera.shift)
        alone = Canvas.blank(*camera.hw, camera.array())
        self._draw(seen, alone)
        canvas = Canvas(alone.depth.copy(), alone.labels.copy(), alone.camera)
        for _ in range(rng.choice(len(OTHERS), p=OTHERS)):
            other = self._other(seen, to_camera, rng)
            if other is not None:
                self._draw(other, canvas)
        scene.wrinkle(
            canvas.depth, canvas.labels, rng.uniform(0.0, 14.0), rng.normal(0.0, 0.25, (2, 2))
        )
        groups: list[Sequence[Solid]] = [
            room.walls(person.body.vertices, camera_mm, to_camera, rng, held_out=held_out)
        ]
        if person.is_seated:
            groups.append(room.seat(person.hips, person.heading_rad, to_camera, rng))
        reach = float(np.hypot(*person.body.vertices[:, [0, 2]].T).max())
        groups += room.furniture(reach, camera_mm, to_camera, rng)
        if rng.random() < HELD_SHARE:
            hand = seen.keypoints[6 + rng.integers(2)]
            groups.append([random_solid(rng, hand, rng.uniform(50.0, 180.0))])
        for group in groups:
            _add(canvas, alone, group)
        return canvas, seen.keypoints

    def _person(self, rng: Generator) -> _Standing:
        """A person above the room's origin, soles on the floor."""
        body = sample_person(self._rig, self._people, rng)
        turns, posture = sample_turns(body, rng)
        posed = self._rig.pose(body, turns)
        facing = rng.random() < FACING_SHARE
        heading = rng.normal(0.0, 0.5) if facing else rng.uniform(-np.pi, np.pi)
        height = -float(posed.vertices[:, 1].min())
        hips = np.array([0.0, height, 0.0])
        standing = posed.moved(rotation_about(_Y_AXIS, heading), hips)
        return _Standing(standing, hips, heading, posture.kind == "sit")

    def _other(self, seen: PosedBody, to_camera: room.Rigid, rng: Generator) -> PosedBody | None:
        """Somebody farther from the camera, in its frame; None if there is no room."""
        body = self._person(rng).body
        least = float(np.linalg.norm(_middle(seen))) + BEHIND_MM
        for _ in range(_ATTEMPTS):
            beside = rng.uniform((-1800.0, 0.0, -2500.0), (1800.0, 0.0, 300.0))
            if np.hypot(beside[0], beside[2]) < 550.0:
                continue
            other = body.moved(np.eye(3), beside).moved(to_camera.rotation, to_camera.shift)
            if float(np.linalg.norm(_middle(other))) > least and other.vertices[:, 2].min() > 300.0:
                return other
        return None

    def _draw(self, body: PosedBody, canvas: Canvas) -> None:
        draw_mesh(
            canvas.depth,
            canvas.labels,
            canvas.camera,
            body.vertices,
            self._rig.triangles,
            self._triangle_labels,
        )


def _middle(body: PosedBody) -> Array:
    return np.asarray((body.keypoints.min(axis=0) + body.keypoints.max(axis=0)) / 2.0)


def _add(canvas: Canvas, alone: Canvas, solids: Sequence[Solid]) -> None:
    """Draw a group, unless it hides more than MAX_HIDDEN of the labelled person."""
    group = canvas.like()
    for solid in solids:
        solid.draw(group)
    mine = np.isfinite(alone.depth)
    if (group.depth[mine] < alone.depth[mine]).mean() <= MAX_HIDDEN:
        canvas.merge(group)
