"""Is a keypoint that is reported with confidence 0.9 right in nine of ten cases?

"Right" is: at most so many millimetres from the truth. `fitted` turns heights of peaks into such
probabilities; `reliability` says how far reported ones are from what is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from v2vpose.model_store import Calibration
from v2vpose.values import FloatArray

WITHIN_MM: Final = 20.0
_BINS: Final = 10
_POINTS: Final = 12


@dataclass(frozen=True, slots=True)
class Bin:
    """Keypoints with about the same confidence: how many, what they were given, what was right."""

    keypoints: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How much reported confidence is worth.

    Attributes:
        bins: of equal width, 0 to 1, without empty ones.
        off_percent: mean distance of confidence from the share that is right, weighted by keypoints
            (the expected calibration error), in per cent.
    """

    bins: tuple[Bin, ...]
    off_percent: float


def reliability(confidence: FloatArray, is_right: NDArray[np.bool_]) -> Reliability:
    """Compare (N,) confidence 0..1 with (N,) whether the keypoint was right."""
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = [
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(is_right[inside].mean()))
        for inside in (place == index for index in range(_BINS))
        if inside.any()
    ]
    off = sum(each.keypoints * abs(each.confidence - each.right) for each in bins)
    return Reliability(tuple(bins), off_percent=100 * off / len(confidence))


def fitted(peaks: FloatArray, is_right: NDArray[np.bool_], *, within_mm: float) -> Calibration:
    """Fit probabilities to (N,) heights of peaks and (N,) whether the keypoint was right.

    Shares of equally many keypoints; neighbours are pooled where a higher peak is not better.
    """
    order = np.argsort(peaks, kind="stable")
    groups = [group for group in np.array_split(order, _POINTS) if len(group)]
    rows = _pooled([(peaks[g].mean(), is_right[g].mean(), len(g)) for g in groups])
    heights = [0.0, *(_inside(height) for height, _, _ in rows), 1.0]
    shares = [round(float(share), 4) for _, share, _ in rows]
    return Calibration(within_mm=within_mm, peaks=heights, shares=[0.0, *shares, shares[-1]])


def _inside(height: float) -> float:
    """Return a height to four digits, between the ends of the table."""
    return min(max(round(float(height), 4), 0.0001), 0.9999)


def _pooled(rows: Sequence[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Return (height, share, count) with rising shares: pool adjacent violators."""
    pooled: list[tuple[float, float, int]] = []
    for row in rows:
        pooled.append(row)
        while len(pooled) > 1 and (
            pooled[-2][1] >= pooled[-1][1] or _inside(pooled[-2][0]) >= _inside(pooled[-1][0])
        ):
            (h0, s0, n0), (h1, s1, n1) = pooled[-2:]
            count = n0 + n1
            pooled[-2:] = [((h0 * n0 + h1 * n1) / count, (s0 * n0 + s1 * n1) / count, count)]
    return pooled
