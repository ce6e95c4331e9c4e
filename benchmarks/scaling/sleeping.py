"""Members that sleep instead of computing: a known service time that needs no core."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from null_model import NullMember  # after the path

from v2vpose.member import MemberBatch
from v2vpose.values import Decode, TargetCrop

FIXED_S = 0.02
PER_CROP_S = 0.005


@dataclass(frozen=True)
class SleepingMember:
    """Sleeps `FIXED_S`, and `PER_CROP_S` for each crop."""

    epoch: int

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:
        """See `member.Member`."""
        time.sleep(FIXED_S + PER_CROP_S * len(crops))
        return NullMember(self.epoch).estimate(crops, decode)


def load_sleeping(epoch: int, *, threads: int) -> SleepingMember:  # noqa: ARG001
    return SleepingMember(epoch)
