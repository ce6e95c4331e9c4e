"""Members for our own workers that cost nothing, or a nap: what `job.member` is for the peers."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.peers.job import KEYPOINTS
from v2vpose.member import STAGES, MemberBatch
from v2vpose.values import Decode, MemberAnswer, TargetCrop


@dataclass(frozen=True, slots=True)
class NullMember:
    """Answers with one point; naps before each batch."""

    nap_s: float

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:
        """See `Member.estimate`."""
        del decode
        if self.nap_s:
            time.sleep(self.nap_s)
        points_mm, ones = np.full((KEYPOINTS, 3), 500.0), np.ones(KEYPOINTS)
        answer = MemberAnswer(points_mm, ones, points_mm[0], occupied_vox=1)
        return MemberBatch((answer,) * len(crops), dict.fromkeys(STAGES, 0.0))


@dataclass(frozen=True, slots=True)
class LoadNullMember:
    """Loads a null member where it will work, and notes where that is."""

    nap_s: float
    pids: str

    def __call__(self, epoch: int, *, threads: int) -> NullMember:
        """See `ports.LoadMember`."""
        del epoch, threads
        Path(self.pids, str(os.getpid())).touch()
        return NullMember(self.nap_s)
