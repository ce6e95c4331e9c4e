"""Draw generated frames with their skeletons into one PNG, to look at.

PYTHONPATH=service python tools/contact_sheet.py --out sheet.png --count 48 --subject body
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from v2vpose.datasets.synthetic import BodyFrame, HandFrame, SyntheticBodies, SyntheticHands
from v2vpose.datasets.synthetic.body_rig import BODY_KEYPOINTS, BODY_SKELETON
from v2vpose.datasets.synthetic.hands import HAND_SKELETON

TILE_WH = (320, 240)
# BGR of index, middle, ring, little, thumb.
COLOURS = ((60, 60, 255), (0, 220, 255), (80, 255, 80), (255, 255, 0), (255, 0, 255))


Frame = HandFrame | BodyFrame


def edges(frame: Frame) -> list[tuple[int, int, tuple[int, int, int]]]:
    """The skeleton with its colours: a hand's by finger, a body's right side red, left green."""
    if isinstance(frame, HandFrame):
        return [(a, b, COLOURS[i // 4]) for i, (a, b) in enumerate(HAND_SKELETON)]
    return [
        (a, b, COLOURS[2] if BODY_KEYPOINTS[b].startswith("left") else COLOURS[0])
        for a, b in BODY_SKELETON
    ]


def picture(frame: Frame, *, skeleton: bool = True) -> NDArray[np.uint8]:
    """One frame as (240, 320, 3) BGR: red is near, blue is far, no reading is black."""
    depth = frame.depth_mm
    z = frame.keypoints_mm[:, 2]
    near, far = z.min() - 150.0, z.max() + 500.0
    grey = np.clip(1.0 - (depth - near) / (far - near), 0.0, 1.0) * 225.0 + 20.0
    image = cv2.applyColorMap(grey.astype(np.uint8), cv2.COLORMAP_TURBO)
    image[depth == 0] = 0
    height = round(TILE_WH[0] * depth.shape[0] / depth.shape[1])
    image = cv2.resize(image, (TILE_WH[0], height), interpolation=cv2.INTER_NEAREST)
    if skeleton:
        i = frame.intrinsics
        scale = TILE_WH[0] / depth.shape[1]
        points = frame.keypoints_mm
        u = (points[:, 0] / points[:, 2] * i.fx_px + i.cx_px) * scale
        v = (points[:, 1] / points[:, 2] * i.fy_px + i.cy_px) * scale
        uv = [(round(float(a)), round(float(b))) for a, b in zip(u, v, strict=True)]
        for a, b, colour in edges(frame):
            cv2.line(image, uv[a], uv[b], (255, 255, 255), 1, cv2.LINE_AA)
            cv2.circle(image, uv[b], 2, colour, -1)
    tile = np.zeros((TILE_WH[1], TILE_WH[0], 3), dtype=np.uint8)
    rows = min(height, TILE_WH[1])
    tile[:rows] = image[:rows]
    hand = f"{frame.handedness} " if isinstance(frame, HandFrame) else ""
    text = f"{hand}{z.mean():.0f} mm f{frame.intrinsics.fx_px:.0f}"
    cv2.putText(tile, text, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1)
    return tile


def sheet(frames: Sequence[Frame], columns: int, *, skeleton: bool = True) -> NDArray[np.uint8]:
    """All frames in rows of `columns` tiles."""
    tiles = [picture(f, skeleton=skeleton) for f in frames]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--first", type=int, default=0, help="index of the first frame")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--subject", choices=("hand", "body"), default="hand")
    parser.add_argument("--split", choices=("train", "held_out"), default="train")
    parser.add_argument("--bare", action="store_true", help="without the skeleton")
    arguments = parser.parse_args()
    generator = SyntheticBodies if arguments.subject == "body" else SyntheticHands
    generated = generator(split=arguments.split, seed=arguments.seed)
    frames = [generated.frame(arguments.first + i) for i in range(arguments.count)]
    cv2.imwrite(str(arguments.out), sheet(frames, arguments.columns, skeleton=not arguments.bare))


if __name__ == "__main__":
    main()
