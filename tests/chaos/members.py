"""Members whose answers say who gave them, to what, and from which version."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tests.serving.fakes import FakeBatch, FakeMember
from v2vpose.values import Decode, TargetCrop

if TYPE_CHECKING:
    from v2vpose.model_store import ModelVersion


@dataclass(frozen=True)
class TelltaleMember:
    """Says that every keypoint is at the reference point, `epoch` mm right, `version` mm down.

    It obeys the first reading of a crop, as a `FakeMember` does.
    """

    epoch: int
    version: int
    wait_s: float

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> FakeBatch:
        down_mm = np.array([0.0, self.version, 0.0])
        moved = [
            replace(crop, reference_point_mm=crop.reference_point_mm + down_mm) for crop in crops
        ]
        return FakeMember(self.epoch, wait_s=self.wait_s).estimate(moved, decode)


def load_telltale(
    version: int, wait_s: float, weights: "ModelVersion | None", epoch: int, *, threads: int
) -> TelltaleMember:
    """Load a member; `weights` are read and checked as a real member's, if given."""
    assert threads > 0
    if weights is not None:
        weights.load_epoch(epoch)
    return TelltaleMember(epoch, version, wait_s)
