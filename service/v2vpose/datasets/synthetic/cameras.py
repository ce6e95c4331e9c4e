"""Cameras of the generated frames: image size and intrinsics."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.random import Generator

from v2vpose.datasets.synthetic.kinematics import Array
from v2vpose.values import Intrinsics

# cols, rows, share, focal length / cols from..to.
Kinds: TypeAlias = tuple[tuple[int, int, float, float, float], ...]
# 4:3, RealSense 16:9, Kinect v2, Azure Kinect, 16:10.
HAND_KINDS: Final[Kinds] = (
    (320, 240, 0.66, 0.69, 1.88),
    (320, 180, 0.12, 0.69, 1.20),
    (320, 265, 0.08, 0.69, 0.90),
    (320, 288, 0.07, 0.74, 1.20),
    (320, 200, 0.07, 0.80, 1.40),
)
# What looks at whole people: structured light (ITOP's among it), then as above.
BODY_KINDS: Final[Kinds] = (
    (320, 240, 0.45, 0.81, 0.95),
    (320, 240, 0.20, 0.58, 1.15),
    (320, 180, 0.15, 0.60, 0.98),
    (320, 265, 0.12, 0.69, 0.86),
    (320, 288, 0.08, 0.74, 0.90),
)
# Focal lengths / cols that training never sees.
HELD_OUT_SLOTS: tuple[tuple[float, float], ...] = ((0.78, 0.84), (1.05, 1.12), (1.42, 1.52))
# Of the held-out frames this share has twice the resolution.
LARGE_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Camera:
    """hw is (rows, cols)."""

    hw: tuple[int, int]
    intrinsics: Intrinsics

    def array(self) -> Array:
        """(4,) fx, fy, cx, cy in pixels."""
        i = self.intrinsics
        return np.array([i.fx_px, i.fy_px, i.cx_px, i.cy_px])


def _in_slots(ratio: float) -> bool:
    return any(low <= ratio <= high for low, high in HELD_OUT_SLOTS)


def sample_camera(rng: Generator, *, held_out: bool, kinds: Kinds = HAND_KINDS) -> Camera:
    """Draw one; held-out cameras have focal lengths of HELD_OUT_SLOTS, the others never do."""
    shares = np.array([k[2] for k in kinds])
    cols, rows, _, low, high = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
    while True:
        ratio = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        if _in_slots(ratio) == held_out:
            break
    if held_out and rng.random() < LARGE_SHARE:
        cols, rows = 2 * cols, 2 * rows
    off = np.clip(rng.normal(0.0, 0.02, 2), -0.05, 0.05) * cols
    fx = ratio * cols
    intrinsics = Intrinsics(
        fx_px=fx,
        fy_px=fx * float(rng.uniform(0.99, 1.01)),
        cx_px=(cols - 1) / 2 + float(off[0]),
        cy_px=(rows - 1) / 2 + float(off[1]),
    )
    return Camera((rows, cols), intrinsics)
