"""Rooms: floor, walls, ceiling, furniture. In the frame of the room, mm.

Frame of the room: y up, the floor at y = 0, the labelled person above the origin, the camera toward
+z for views from the front.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.solids import BACKGROUND, Box, Capsule, Plane, Solid, unit

FLOOR_SHARE, WALL_SHARE, SIDE_WALL_SHARE, CEILING_SHARE = 0.9, 0.8, 0.4, 0.25
FURNITURE: Final = 2.0
IN_FRONT_SHARE = 0.08
BACKREST_SHARE = 0.6
WALL_GAP_MM = (40.0, 3500.0)
# Gaps between person and wall of the rooms that are held out.
HELD_OUT_GAPS_MM: Final = ((120.0, 200.0), (700.0, 1100.0), (2000.0, 2400.0))
_UP: Final = np.array([0.0, 1.0, 0.0])


@dataclass(frozen=True, slots=True)
class Rigid:
    """x -> rotation @ x + shift, from the room to the camera."""

    rotation: Array
    shift: Array

    def point(self, point: Array) -> Array:
        """(3,) or (N, 3) points."""
        return np.asarray(point @ self.rotation.T + self.shift)

    def axes(self, rows: Array) -> Array:
        """(3,) a direction, or (N, 3) directions."""
        return np.asarray(rows @ self.rotation.T)


def walls(
    person: Array, camera_mm: Array, to_camera: Rigid, rng: Generator, *, held_out: bool
) -> Sequence[Solid]:
    """Floor, walls and ceiling that enclose person and camera.

    Args:
        person: (V, 3) vertices.
        camera_mm: (3,) where the camera is.
        to_camera: from the room to the camera.
        rng: draws them.
        held_out: whether the back wall is as far away as HELD_OUT_GAPS_MM, or never.
    """
    planes: list[tuple[Array, Array]] = []
    if rng.random() < FLOOR_SHARE:
        planes.append((np.zeros(3), _UP))
    from_above = camera_mm[1] > 2200.0
    if rng.random() < WALL_SHARE:
        away = camera_mm * (1.0, 0.0, 1.0)
        heading = rng.normal(0.0, 0.35) if not from_above else rng.uniform(-np.pi, np.pi)
        normal = _heading(np.arctan2(away[0], away[2]) + heading)
        gap = _wall_gap_mm(rng, held_out=held_out)
        planes.append((normal * (float((person @ normal).min()) - gap), normal))
    if rng.random() < SIDE_WALL_SHARE:
        side = _heading(rng.choice((-0.5, 0.5)) * np.pi + rng.normal(0.0, 0.2))
        least = min(float((person @ side).min()), float(camera_mm @ side))
        planes.append((side * (least - rng.uniform(100.0, 2000.0)), side))
    if rng.random() < CEILING_SHARE:
        height = max(rng.uniform(2300.0, 3200.0), camera_mm[1] + 50.0)
        planes.append((_UP * height, -_UP))
    return [
        Plane(to_camera.point(point), to_camera.axes(normal), BACKGROUND)
        for point, normal in planes
    ]


def _wall_gap_mm(rng: Generator, *, held_out: bool) -> float:
    while True:
        gap = float(np.exp(rng.uniform(*np.log(WALL_GAP_MM))))
        if any(low <= gap <= high for low, high in HELD_OUT_GAPS_MM) == held_out:
            return gap


def furniture(
    reach_mm: float, camera_mm: Array, to_camera: Rigid, rng: Generator
) -> Sequence[Sequence[Solid]]:
    """Boxes and cylinders on the floor, each a group of its own.

    Args:
        reach_mm: how far from the origin the person reaches over the floor.
        camera_mm, to_camera, rng: as for `walls`.
    """
    groups: list[Sequence[Solid]] = []
    for _ in range(rng.poisson(FURNITURE)):
        half = np.array(
            [rng.uniform(80.0, 800.0), rng.uniform(100.0, 1100.0), rng.uniform(80.0, 500.0)]
        )
        width = float(np.hypot(half[0], half[2]))
        at = np.array([rng.uniform(-2200.0, 2200.0), half[1], rng.uniform(-2500.0, 900.0)])
        clear = np.hypot(at[0], at[2]) > reach_mm * 0.55 + min(half[0], half[2])
        if clear and np.linalg.norm(at - camera_mm) > width + half[1] + 300.0:
            groups.append([_standing(at, half, to_camera, rng)])
    if rng.random() < IN_FRONT_SHARE:
        toward = unit(camera_mm * (1.0, 0.0, 1.0))
        half = np.array(
            [rng.uniform(200.0, 900.0), rng.uniform(150.0, 420.0), rng.uniform(100.0, 350.0)]
        )
        at = toward * (reach_mm * 0.6 + half[2]) + _UP * half[1]
        groups.append([_standing(at, half, to_camera, rng)])
    return groups


def seat(hips: Array, heading_rad: float, to_camera: Rigid, rng: Generator) -> Sequence[Solid]:
    """A chair, stool or bench under a person. hips: (3,) the middle of the hips."""
    ahead = _heading(heading_rad)
    aside = np.cross(_UP, ahead)
    axes = np.stack([aside, _UP, ahead])
    top = hips[1] - 95.0
    width, depth = rng.uniform(190.0, 320.0), rng.uniform(170.0, 250.0)
    thick = top / 2 if rng.random() < 0.5 else min(rng.uniform(20.0, 60.0), top / 2)
    at = hips * (1.0, 0.0, 1.0) + ahead * rng.uniform(0.0, 120.0) + _UP * (top - thick)
    boxes = [(at, np.array([width, thick, depth]))]
    if rng.random() < BACKREST_SHARE:
        half = np.array([width, rng.uniform(120.0, 420.0), 25.0])
        back = at - ahead * (depth + 25.0)
        boxes.append((back * (1.0, 0.0, 1.0) + _UP * (top + half[1]), half))
    return [
        Box(to_camera.point(centre), to_camera.axes(axes), half, BACKGROUND)
        for centre, half in boxes
    ]


def _standing(at: Array, half: Array, to_camera: Rigid, rng: Generator) -> Solid:
    """A box or a cylinder on the floor; tables and shelves are boxes that float."""
    if rng.random() < 0.2:
        foot, top = at * (1.0, 0.0, 1.0), at + _UP * half[1]
        radius = float(min(half[0], half[2]))
        return Capsule(to_camera.point(foot), to_camera.point(top), radius, BACKGROUND, False)
    ahead = _heading(rng.uniform(-np.pi, np.pi))
    axes = np.stack([np.cross(_UP, ahead), _UP, ahead])
    if rng.random() < 0.25:
        board = 25.0
        at = at + _UP * (half[1] - board)
        half = half * (1.0, 0.0, 1.0) + _UP * board
    return Box(to_camera.point(at), to_camera.axes(axes), half, BACKGROUND)


def _heading(angle_rad: float) -> Array:
    """(3,) level direction; 0 is +z, to the camera."""
    return np.array([np.sin(angle_rad), 0.0, np.cos(angle_rad)])
