"""ITOP's figure (paper, section 7.2): mean average precision at 10 cm.

The precision of a joint is the share of frames in which it is found within 10 cm; the mean is over
the 15 joints, so a pair counts twice: the paper's Table 4 gives 88.74 and 83.44 only so. (The plain
mean of its nine rows would be 90.40 and 85.93.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from v2vpose.errors import InvalidFieldError
from v2vpose.values import FloatArray

THRESHOLD_MM: Final = 100.0
PARTS: Final[dict[str, tuple[int, ...]]] = {
    "head": (0,),
    "neck": (1,),
    "shoulders": (2, 3),
    "elbows": (4, 5),
    "hands": (6, 7),
    "torso": (8,),
    "hips": (9, 10),
    "knees": (11, 12),
    "feet": (13, 14),
}
"""Rows of Table 4, and the joints each stands for."""


@dataclass(frozen=True, slots=True)
class MeanAP:
    """Precision at a threshold, in percent.

    Attributes:
        threshold_mm: how near is found.
        mean_percent: mean over the joints.
        per_keypoint_percent: (K,) of each joint.
        per_part_percent: of each row of Table 4.
    """

    threshold_mm: float
    mean_percent: float
    per_keypoint_percent: tuple[float, ...]
    per_part_percent: dict[str, float]


def mean_ap(
    distance_mm: FloatArray, *, threshold_mm: float = THRESHOLD_MM, answered: float = 1.0
) -> MeanAP:
    """Summarise distances of valid frames; found means nearer than the threshold.

    Args:
        distance_mm: (N, 15).
        threshold_mm: how near is found.
        answered: share of all frames that these are; in the others nothing is found.
    """
    joints = sum(len(members) for members in PARTS.values())
    if distance_mm.ndim != 2 or distance_mm.shape[1] != joints or not len(distance_mm):
        raise InvalidFieldError(
            f"expected distances of (frames, {joints} joints), found {distance_mm.shape}"
        )
    each = (distance_mm < threshold_mm).mean(axis=0) * 100 * answered  # (15,)
    parts = {part: float(each[list(members)].mean()) for part, members in PARTS.items()}
    return MeanAP(
        threshold_mm=threshold_mm,
        mean_percent=mean_of_parts(parts),
        per_keypoint_percent=tuple(float(share) for share in each),
        per_part_percent=parts,
    )


def mean_of_parts(per_part_percent: Mapping[str, float]) -> float:
    """Return the mean over joints of Table 4's rows, a pair counted twice."""
    if per_part_percent.keys() != PARTS.keys():
        raise InvalidFieldError(
            f"expected the parts {', '.join(PARTS)}, found {', '.join(per_part_percent)}"
        )
    counts = [len(PARTS[part]) for part in per_part_percent]
    return float(np.average(list(per_part_percent.values()), weights=counts))
