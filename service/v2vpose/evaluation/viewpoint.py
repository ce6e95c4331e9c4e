"""From where a hand is seen, for errors by viewpoint (paper, figure 8).

The place of the camera in the palm's own frame, from the labels alone. Pitch: how far the fingers
point at the camera, -90 (away) to 90 (at it). Yaw: which side of the palm is seen, about the
fingers' direction; 0 = the palm itself, +-180 = the back of the hand, +90 = the thumb's side, -90 =
the little finger's. The palm is the triangle of wrist and knuckles of index and little finger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.values import FloatArray

_PALMS: Final = (("wrist", "index_mcp", "little_mcp"), ("palm", "index_root", "little_root"))
YAW_EDGES_DEG: Final = tuple(range(-180, 181, 30))
PITCH_EDGES_DEG: Final = tuple(range(-90, 91, 15))


@dataclass(frozen=True, slots=True)
class AngleBins:
    """Mean error by angle.

    Attributes:
        edges_deg: (B + 1,) edges of the bins.
        frames: (B,) how many frames fall into each.
        mean_mm: (B,) mean error over frames and keypoints; None where there is no frame.
    """

    edges_deg: tuple[int, ...]
    frames: tuple[int, ...]
    mean_mm: tuple[float | None, ...]


def palm_of(keypoints: Sequence[str]) -> tuple[int, int, int] | None:
    """Return the places of wrist, index and little knuckle, or None for sets without a palm."""
    for palm in _PALMS:
        if set(palm) <= set(keypoints):
            wrist, index, little = (keypoints.index(name) for name in palm)
            return wrist, index, little
    return None


def viewpoints_deg(
    truth_mm: FloatArray, palm: tuple[int, int, int], left: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Return (N,) yaw and (N,) pitch in degrees.

    Args:
        truth_mm: (N, K, 3) labels, camera frame.
        palm: places of wrist, index and little knuckle.
        left: (N,) whether it is a left hand.
    """
    wrist, index, little = (truth_mm[:, joint] for joint in palm)  # (N, 3) each
    fingers = _unit((index + little) / 2 - wrist)
    out = _unit(np.cross(index - wrist, little - wrist))  # of a right hand's palm
    out = np.where(left[:, None], -out, out)
    aside = np.cross(fingers, out)  # towards the thumb of a right hand
    aside = np.where(left[:, None], -aside, aside)
    camera = _unit(-wrist)
    pitch = np.degrees(np.arcsin(np.clip((camera * fingers).sum(axis=1), -1, 1)))
    yaw = np.degrees(np.arctan2((camera * aside).sum(axis=1), (camera * out).sum(axis=1)))
    return yaw, pitch


def by_angle(angle_deg: FloatArray, error_mm: FloatArray, edges: Sequence[int]) -> AngleBins:
    """Return the (N,) errors of frames averaged by their (N,) angles; the last edge belongs in."""
    place = np.clip(np.digitize(angle_deg, edges) - 1, 0, len(edges) - 2)
    frames = np.bincount(place, minlength=len(edges) - 1)
    sums = np.bincount(place, weights=error_mm, minlength=len(edges) - 1)
    return AngleBins(
        edges_deg=tuple(edges),
        frames=tuple(int(n) for n in frames),
        mean_mm=tuple(float(s / n) if n else None for s, n in zip(sums, frames, strict=True)),
    )


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: FloatArray = vectors / np.where(lengths > 0, lengths, 1)
    return unit
