"""Small model versions with random weights, written by the store's own writer."""

from collections.abc import Sequence
from pathlib import Path

import torch

from v2vpose.model_store import (
    Conventions,
    HandednessJudge,
    Keypoint,
    Manifest,
    ModelStore,
    ModelVersion,
    RefinerRecord,
    Subject,
    write_detector,
    write_epoch,
    write_manifest,
)
from v2vpose.nets import CentreDetector, Refiner, build_v2v
from v2vpose.values import Decode, Handedness

NUM_KEYPOINTS = 5
INPUT_SIDE = 16
WIDTH = 2


def write_tiny_store(
    root: Path,
    *,
    model: str = "hand",
    version: str = "1",
    epochs: int = 3,
    with_detector: bool = False,
    num_keypoints: int = NUM_KEYPOINTS,
    names: Sequence[str] = (),
    conventions: Conventions = Conventions(),  # noqa: B008  # frozen
    judge: HandednessJudge | None = None,
) -> ModelVersion:
    """Write one version of random weights and open it; `names` of keypoints set their number."""
    names = names or [f"k{i}" for i in range(num_keypoints)]
    num_keypoints = len(names)
    torch.manual_seed(int(version))
    directory = root / model / version
    records = []
    for epoch in range(1, epochs + 1):
        v2v = build_v2v(num_keypoints, width=WIDTH)
        for parameter in v2v.parameters():
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
        records.append(
            write_epoch(directory, epoch, v2v=v2v, refiner=Refiner(), conventions=conventions)
        )
    detector = write_detector(directory, CentreDetector()) if with_detector else None
    write_manifest(
        directory,
        Manifest(
            model=model,
            version=version,
            description="random weights for tests",
            subject=Subject.HAND,
            handedness=Handedness.RIGHT,
            keypoints=[Keypoint(name=name, meaning="nowhere") for name in names],
            skeleton=[(0, i) for i in range(1, num_keypoints)],
            input_side=INPUT_SIDE,
            width=WIDTH,
            side_mm=250,
            near_mm=100,
            far_mm=1500,
            refiner=RefinerRecord(side_mm=300, passes=1),
            conventions=conventions,
            decode=Decode.ARGMAX,
            epochs=records,
            detector=detector,
            judge=judge,
        ),
    )
    return ModelStore(root).open(model, version)
