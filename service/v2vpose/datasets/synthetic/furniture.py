"""Rooms and furniture as analytic solids. Camera frame, mm.

axes: (3, 3), rows right, up, facing.
"""

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.datasets.synthetic.solids import BACKGROUND, Box, Capsule, Plane, Solid, unit

CEILING_SHARE = 0.3
SIDE_WALL_SHARE = 0.5


def room(rng: Generator, up: Array) -> list[Solid]:
    """Floor and wall, now and then side walls and a ceiling; the camera is inside."""
    turn = rng.normal(0.0, 0.5)
    ahead = np.array([np.sin(turn), 0.0, np.cos(turn)])
    ahead = unit(ahead - up * (ahead @ up))
    aside = np.cross(up, ahead)
    walls = [_wall(-up, rng.uniform(250.0, 1800.0)), _wall(ahead, rng.uniform(500.0, 4000.0))]
    walls += [
        _wall(side, rng.uniform(400.0, 2500.0))
        for side in (aside, -aside)
        if rng.random() < SIDE_WALL_SHARE
    ]
    if rng.random() < CEILING_SHARE:
        walls.append(_wall(up, rng.uniform(500.0, 2200.0)))
    return walls


def _wall(toward: Array, distance_mm: float) -> Solid:
    return Plane(toward * distance_mm, -toward, BACKGROUND)


def table(rng: Generator, centre: Array, up: Array) -> Solid:
    """A table's top; `centre` is on its upper side, not always in the middle."""
    side = unit(np.cross(up, rng.normal(size=3)))
    half = np.array([rng.uniform(200.0, 900.0), 15.0, rng.uniform(150.0, 500.0)])
    middle = centre + side * rng.normal(0.0, 80.0) - up * half[1]
    return Box(middle, np.stack([side, up, np.cross(side, up)]), half, BACKGROUND)


def open_box(centre: Array, axes: Array, size_mm: Array) -> list[Solid]:
    """Five boards of 4 mm; open at the top. size_mm: (3,) width, height, depth."""
    half, thin = size_mm / 2, 2.0
    boards: list[Solid] = [
        Box(centre - axes[1] * half[1], axes, np.array([half[0], thin, half[2]]))
    ]
    for side in (-1.0, 1.0):
        boards += [
            Box(centre + axes[0] * half[0] * side, axes, np.array([thin, half[1], half[2]])),
            Box(centre + axes[2] * half[2] * side, axes, np.array([half[0], half[1], thin])),
        ]
    return boards


def chair(rng: Generator, centre: Array, axes: Array) -> list[Solid]:
    """Seat, four legs, and a back of bars or of one board. centre: (3,) of the seat."""
    right, up, facing = axes
    width, depth, leg = rng.uniform(180.0, 240.0), rng.uniform(180.0, 240.0), 450.0
    bar = rng.uniform(8.0, 20.0)
    solids: list[Solid] = [Box(centre, axes, np.array([width, 15.0, depth]))]
    for side in (-1.0, 1.0):
        for end in (-1.0, 1.0):
            foot = centre + right * side * (width - 20.0) + facing * end * (depth - 20.0)
            top = up * 420.0 if end < 0 else up * 0.0
            solids.append(Capsule(foot - up * leg, foot + top, bar, rounded=False))
    back = centre - facing * (depth - 20.0)
    if rng.random() < 0.5:
        board = np.array([width - 20.0, rng.uniform(60.0, 180.0), 8.0])
        return [*solids, Box(back + up * (400.0 - board[1]), axes, board)]
    across, count = right * (width - 20.0), int(rng.integers(2, 6))
    if rng.random() < 0.5:
        heights = up * np.linspace(120.0, 400.0, count)[:, None]
        return [*solids, *(Capsule(back - across + h, back + across + h, bar) for h in heights)]
    places = across * np.linspace(-0.7, 0.7, count)[:, None]
    return [*solids, *(Capsule(back + p, back + p + up * 400.0, bar) for p in places)]
