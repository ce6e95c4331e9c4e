"""The same formats read once more, number by number, without the package, OpenCV or slices.

Depth comes as {(u, v): mm} of the readings; joints as lists of (x, y, z), y down, mm.
"""

import struct
from pathlib import Path
from typing import Any

from PIL import Image

Readings = dict[tuple[int, int], float]
Point = tuple[float, float, float]
NYU_JOINTS = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)


def png16(path: Path) -> Readings:
    image = Image.open(path)
    cols, rows = image.size
    pixels: Any = image.load()
    return {
        (u, v): float(pixels[u, v]) for v in range(rows) for u in range(cols) if pixels[u, v] != 0
    }


def nyu_png(path: Path) -> Readings:
    image = Image.open(path)
    cols, rows = image.size
    pixels: Any = image.load()
    read = {}
    for v in range(rows):
        for u in range(cols):
            _, green, blue = pixels[u, v]
            if (green, blue) != (0, 0):
                read[u, v] = float(green * 256 + blue)
    return read


def msra_bin(path: Path) -> Readings:
    content = path.read_bytes()
    _, _, left, top, right, bottom = struct.unpack_from("<6i", content)
    read, at = {}, 24
    for v in range(top, bottom):
        for u in range(left, right):
            (z,) = struct.unpack_from("<f", content, at)
            at += 4
            if z != 0:
                read[u, v] = z
    return read


def icvl_line(line: str) -> list[Point]:
    numbers = [float(token) for token in line.split(" ")[1:] if token.strip()]
    points = []
    for at in range(0, 48, 3):
        u, v, d = numbers[at : at + 3]
        points.append(((u - 160) / 241.42 * d, (v - 120) / 241.42 * d, d))
    return points


def nyu_joints(path: Path, frame: int) -> list[Point]:
    from scipy.io import loadmat

    frontal = loadmat(path)["joint_xyz"][0][frame].tolist()
    return [(frontal[j][0], -frontal[j][1], frontal[j][2]) for j in NYU_JOINTS]


def msra_joints(path: Path, frame: int) -> list[Point]:
    numbers = [float(t) for t in path.read_text().split("\n")[1 + frame].split()]
    return [(numbers[i], -numbers[i + 1], -numbers[i + 2]) for i in range(0, 63, 3)]


def hands17_line(line: str) -> list[Point]:
    numbers = [float(t) for t in line.replace("\t", " ").split()[1:]]
    return [(numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(0, 63, 3)]


def itop_frame(root: Path, view: str, split: str, name: str) -> tuple[Readings, list[Point]]:
    import h5py

    with h5py.File(root / f"ITOP_{view}_{split}_labels.h5") as file:
        row = [i.decode() for i in file["id"]].index(name)
        points = [tuple(map(float, p)) for p in file["real_world_coordinates"][row]]
    with h5py.File(root / f"ITOP_{view}_{split}_depth_map.h5") as file:
        depth = file["data"][[i.decode() for i in file["id"]].index(name)]
    readings = {
        (u, v): float(depth[v][u]) * 1000
        for v in range(240)
        for u in range(320)
        if float(depth[v][u]) > 0 and float(depth[v][u]) != float("inf")
    }
    return readings, [(x * 1000, -y * 1000, z * 1000) for x, y, z in points]
