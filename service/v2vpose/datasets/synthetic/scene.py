"""What stands around the hand: walls, tables, the person, loose and held objects.

Things come in groups. A group that would hide too much of the hand is left out, so that the labels
stay learnable; the limits are generous for what a hand holds.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.random import Generator

from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.person import Arm, OtherArm, person, upper_arm
from v2vpose.datasets.synthetic.render import DepthImage, LabelImage
from v2vpose.datasets.synthetic.solids import (
    BACKGROUND,
    BODY,
    HAND,
    Box,
    Canvas,
    Plane,
    Solid,
    random_solid,
    unit,
)

NOTHING_BEHIND_SHARE = 0.2
# Of the other frames.
WALL_SHARE, BODY_SHARE, TABLE_SHARE = 0.56, 0.62, 0.25
LOOSE_SHARE = 0.25
# A group may hide this much of the hand.
_MAX_HIDDEN = {"body": 0.12, "table": 0.05, "loose": 0.2, "held": 0.6}


@dataclass(frozen=True, slots=True)
class Subject:
    """The posed arm in the camera frame, mm: what a scene is built around.

    Attributes:
        hand, arm: (N, 3) vertices of the hand, and of hand and forearm.
        keypoints: (21, 3).
        own_arm: for the body that it belongs to.
        other_arm: the owner's left hand, or None for a mitten.
    """

    hand: Array
    arm: Array
    keypoints: Array
    own_arm: Arm
    other_arm: OtherArm | None


def build(canvas: Canvas, subject: Subject, held: list[Solid], rng: Generator) -> None:
    """Draw a random scene around the arm that is on the canvas already."""
    alone = Canvas(canvas.depth.copy(), canvas.labels.copy(), canvas.camera)
    _add(canvas, alone, held, _MAX_HIDDEN["held"])
    if rng.random() < LOOSE_SHARE:
        for _ in range(rng.integers(1, 4)):
            _add(canvas, alone, _loose(subject, rng), _MAX_HIDDEN["loose"])
    empty = rng.random() < NOTHING_BEHIND_SHARE
    joined = False
    if not empty and rng.random() < BODY_SHARE:
        for _ in range(3):
            body = person(rng, subject.own_arm, subject.other_arm)
            joined = _add(canvas, alone, body, _MAX_HIDDEN["body"])
            if joined:
                break
    if not joined:
        _add(canvas, alone, upper_arm(rng, subject.own_arm), _MAX_HIDDEN["body"])
    wrinkle(canvas.depth, canvas.labels, rng.uniform(0.0, 7.0), rng.normal(0.0, 0.15, (2, 2)))
    if empty:
        return
    if rng.random() < WALL_SHARE:
        _add(canvas, alone, [_wall(subject, rng)], _MAX_HIDDEN["table"])
    if rng.random() < TABLE_SHARE:
        _add(canvas, alone, [_table(subject, rng)], _MAX_HIDDEN["table"])


def _add(canvas: Canvas, alone: Canvas, solids: list[Solid], max_hidden: float) -> bool:
    if not solids:
        return False
    group = canvas.like()
    for solid in solids:
        solid.draw(group)
    if alone.hidden_share(group, HAND) > max_hidden:
        return False
    canvas.merge(group)
    return True


def _wall(subject: Subject, rng: Generator) -> Solid:
    """A plane behind the hand; close behind it in half of the frames."""
    tilt = np.tan(np.radians(rng.uniform(0.0, 55.0))) * unit(rng.normal(size=2))
    normal = unit(np.array([tilt[0], tilt[1], -1.0]))
    kind = rng.random()
    gap = (
        rng.uniform(3.0, 30.0)
        if kind < 0.1
        else rng.uniform(30.0, 150.0)
        if kind < 0.5
        else rng.uniform(150.0, 1500.0)
    )
    # A hand close to a wall may have its forearm "in" it: that hides the arm, not the hand.
    points = subject.arm if rng.random() < 0.6 else subject.hand
    lowest = float((points @ normal).min()) - gap
    return Plane(normal * lowest, normal, BACKGROUND)


def _table(subject: Subject, rng: Generator) -> Solid:
    up = unit(np.array([rng.normal(0.0, 0.12), -1.0, rng.normal(-0.25, 0.3)]))
    gap = rng.uniform(2.0, 40.0) if rng.random() < 0.35 else rng.uniform(40.0, 500.0)
    lowest = float((subject.hand @ up).min()) - gap
    if rng.random() < 0.5:
        return Plane(up * lowest, up, BACKGROUND)
    side = unit(np.cross(up, np.array([0.3 * rng.normal(), 0.0, 1.0])))
    half = np.array([rng.uniform(200.0, 900.0), 15.0, rng.uniform(150.0, 500.0)])
    centre = subject.keypoints.mean(axis=0) + side * rng.normal(0.0, 150.0)
    centre = centre + up * (lowest - half[1] - float(centre @ up))
    return Box(centre, np.stack([side, up, np.cross(side, up)]), half, BACKGROUND)


def _loose(subject: Subject, rng: Generator) -> list[Solid]:
    size = float(np.exp(rng.uniform(np.log(20.0), np.log(140.0))))
    away = unit(rng.normal(size=3))
    reach = np.linalg.norm(subject.keypoints - subject.keypoints.mean(axis=0), axis=1).max()
    centre = subject.keypoints.mean(axis=0) + away * rng.uniform(0.4, 2.5) * reach
    nearest = float(np.linalg.norm(subject.hand - centre, axis=1).min())
    if nearest < size + 4.0 or centre[2] < size + 120.0:
        return []
    return [random_solid(rng, centre, size)]


@njit(cache=True)
def wrinkle(depth: DepthImage, labels: LabelImage, height_mm: float, waves: Array) -> None:
    """Give the body's pixels folds of cloth: two crossing sines. waves: (2, 2) radians per px."""
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            if labels[v, u] == BODY:
                first = np.sin(waves[0, 0] * u + waves[0, 1] * v)
                second = np.sin(waves[1, 0] * u + waves[1, 1] * v + 2.0 * first)
                depth[v, u] += height_mm * 0.5 * (first + second)
