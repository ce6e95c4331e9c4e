"""A model that answers at once, and the store and the engine that serve it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from v2vpose.member import MemberBatch
from v2vpose.model_store import (
    Conventions,
    Keypoint,
    Manifest,
    ModelVersion,
    RefinerRecord,
    Subject,
    write_epoch,
    write_manifest,
)
from v2vpose.nets import Refiner, build_v2v
from v2vpose.serving.engines.local import LocalEngine
from v2vpose.serving.engines.placement import automatic, available_cores
from v2vpose.serving.engines.supervisor import BackOff
from v2vpose.serving.engines.watchdog import Patience
from v2vpose.serving.self_test import SelfTest, synthetic_crop
from v2vpose.values import Decode, Handedness, MemberAnswer, TargetCrop

KEYPOINTS = 21
SIDE_MM = 250.0


@dataclass(frozen=True)
class NullMember:
    """Says that every keypoint is at the reference point."""

    epoch: int

    def estimate(self, crops: Sequence[TargetCrop], decode: Decode) -> MemberBatch:  # noqa: ARG002
        """See `member.Member`."""
        return MemberBatch(
            tuple(
                MemberAnswer(
                    keypoints_mm=np.tile(crop.reference_point_mm, (KEYPOINTS, 1)),
                    confidence=np.ones(KEYPOINTS),
                    refined_point_mm=crop.reference_point_mm,
                    occupied_vox=1,
                )
                for crop in crops
            ),
            {"forward": 0.0},
        )


def load_null(epoch: int, *, threads: int) -> NullMember:  # noqa: ARG001
    return NullMember(epoch)


def write_null_store(root: Path, *, members: int) -> None:
    """Write a model version whose weights nobody reads."""
    directory = root / "hand" / "1"
    torch.manual_seed(0)
    v2v, refiner = build_v2v(KEYPOINTS, width=2), Refiner()
    write_manifest(
        directory,
        Manifest(
            model="hand",
            version="1",
            description="answers at once",
            subject=Subject.HAND,
            handedness=Handedness.RIGHT,
            keypoints=[Keypoint(name=f"k{i}", meaning="nowhere") for i in range(KEYPOINTS)],
            skeleton=[],
            input_side=16,
            width=2,
            side_mm=SIDE_MM,
            near_mm=100,
            far_mm=1500,
            refiner=RefinerRecord(side_mm=300, passes=1),
            decode=Decode.ARGMAX,
            epochs=[
                write_epoch(directory, epoch, v2v=v2v, refiner=refiner, conventions=Conventions())
                for epoch in range(1, members + 1)
            ],
        ),
    )


def null_engine(version: ModelVersion, *, max_batch_size: int) -> LocalEngine:
    return LocalEngine(
        name="null/1",
        plans=automatic(version.manifest.epoch_numbers, cores=available_cores()),
        load=load_null,
        self_test=SelfTest(synthetic_crop(SIDE_MM)),
        max_batch_size=max_batch_size,
        patience=Patience(),
        back_off=BackOff(),
    )
