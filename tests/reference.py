"""The method again, slowly: loops over Python numbers, written from the paper's and release's text.

Independent of the package on purpose: it imports nothing from it and uses no NumPy, so that a slip
there cannot be repeated here. Points are (x, y, z) in mm, camera frame x right, y down, z forward;
volumes are nested lists indexed [z][y][x]. Sides count voxels or heatmap cells.
"""

import math
from collections.abc import Sequence

Point = tuple[float, float, float]
Index = tuple[int, int, int]
Volume = list[list[list[float]]]

RELEASE_PAD = 8  # original size 96 less cropped size 88
RELEASE_TEST_SHIFT = 4  # translation of the test mode, the middle of {0, ..., 8}


def reproject(u: float, v: float, d: float, camera: Sequence[float]) -> Point:
    """X = (u - u0) d / fx, Y = (v - v0) d / fy, Z = d; camera is (fx, fy, u0, v0), y down."""
    fx, fy, u0, v0 = camera
    return (u - u0) * d / fx, (v - v0) * d / fy, d


def project(point: Point, camera: Sequence[float]) -> tuple[float, float]:
    """The inverse: where a ray through the point meets the image."""
    fx, fy, u0, v0 = camera
    x, y, z = point
    return u0 + fx * (x / z), v0 + fy * (y / z)


def voxel_index(point: Point, ref: Point, cube: float, side: int) -> Index:
    """index = floor((p - ref) side / cube + side / 2), as x, y, z."""
    i, j, k = (
        math.floor((p - r) * side / cube + side / 2) for p, r in zip(point, ref, strict=True)
    )
    return i, j, k


def truncated_voxel_index(point: Point, ref: Point, cube: float, side: int) -> Index:
    """The known port's slip: towards zero, so that (-1, 0) lands in voxel 0."""
    i, j, k = (int((p - r) * side / cube + side / 2) for p, r in zip(point, ref, strict=True))
    return i, j, k


def release_voxel(point: Point, ref: Point, cube: float, side: int = 88) -> Index:
    """`util.lua` in test mode, step by step: floor first, pad, shift back, round."""
    index = []
    for p, r in zip(point, ref, strict=True):
        normalised = (p - r) / (cube / 2)
        coordinate = math.floor((normalised + 1) / (2 / side)) + RELEASE_PAD / 2
        coordinate -= RELEASE_TEST_SHIFT
        index.append(math.floor(coordinate + 0.5))
    return index[0], index[1], index[2]


def occupied(
    depth: Sequence[Sequence[float]],
    camera: Sequence[float],
    ref: Point,
    cube: float,
    side: int,
    *,
    truncate: bool = False,
) -> set[Index]:
    """The occupied voxels of a depth map, as a set of (z, y, x); depth 0 is no reading."""
    index_of = truncated_voxel_index if truncate else voxel_index
    voxels = set()
    for v, row in enumerate(depth):
        for u, d in enumerate(row):
            if d == 0:
                continue
            x, y, z = index_of(reproject(u, v, float(d), camera), ref, cube, side)
            if 0 <= x < side and 0 <= y < side and 0 <= z < side:
                voxels.add((z, y, x))
    return voxels


def equation_1(centre: Point, side: int, sigma: float) -> Volume:
    """H(i, j, k) = exp(-((i - x)^2 + (j - y)^2 + (k - z)^2) / (2 sigma^2)), [z][y][x]."""
    x, y, z = centre
    return [
        [
            [
                math.exp(-((i - x) ** 2 + (j - y) ** 2 + (k - z) ** 2) / (2 * sigma**2))
                for i in range(side)
            ]
            for j in range(side)
        ]
        for k in range(side)
    ]


def argmax(volume: Volume) -> Point:
    """The first highest cell, as x, y, z."""
    best, where = -math.inf, (0.0, 0.0, 0.0)
    for k, plane in enumerate(volume):
        for j, row in enumerate(plane):
            for i, value in enumerate(row):
                if value > best:
                    best, where = value, (float(i), float(j), float(k))
    return where


def release_label(point: Point, ref: Point, cube: float, side: int = 88) -> Point:
    """The release's label: half of the floored voxel, so it may be k / 2."""
    x, y, z = release_voxel(point, ref, cube, side)
    return x / 2, y / 2, z / 2


def release_decode(cell: Point, ref: Point, cube: float, side: int = 88) -> Point:
    """v = 2 h, then the centre of that voxel."""
    x, y, z = (r + cube * ((2 * h + 0.5) / side - 0.5) for h, r in zip(cell, ref, strict=True))
    return x, y, z


def centred_label(point: Point, ref: Point, cube: float, side: int = 44) -> Point:
    """h = (p - ref) side / cube + side / 2 - 1 / 2: whole numbers are cell centres."""
    x, y, z = ((p - r) * side / cube + side / 2 - 0.5 for p, r in zip(point, ref, strict=True))
    return x, y, z


def centred_decode(cell: Point, ref: Point, cube: float, side: int = 44) -> Point:
    """The centre of cell h lies (h + 1/2) cells from the low face."""
    x, y, z = (r - cube / 2 + cube * (h + 0.5) / side for h, r in zip(cell, ref, strict=True))
    return x, y, z
