"""The bundled `hand` model: trained on generated frames, then published into the store's layout."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from v2vpose.datasets.synthetic import SyntheticHands
from v2vpose.datasets.synthetic.hands import (
    HAND_KEYPOINT_MEANING,
    HAND_KEYPOINTS,
    HAND_SKELETON,
)
from v2vpose.model_store import (
    Conventions,
    EpochRecord,
    FileRecord,
    HandednessJudge,
    Keypoint,
    Manifest,
    RefinerRecord,
    Subject,
    sha256_of,
    write_detector,
    write_epoch,
    write_manifest,
)
from v2vpose.training.fit import Trainees, fit, held_out
from v2vpose.training.recipe import Recipe
from v2vpose.values import Decode, Handedness

CONVENTIONS: Final = Conventions()
WATCHED_FRAMES: Final = 128
NEAR_MM: Final = 100.0
FAR_MM: Final = 1500.0
_DESCRIPTION: Final = (
    "21 keypoints of one hand, the MSRA set; trained on generated depth maps alone"
)


def train_hand(recipe: Recipe, run: Path, *, loaders: int = 1) -> None:
    """Train the hand's nets; every epoch checkpoint goes to `run`.

    Args:
        recipe: every number of the run.
        run: directory of state, log and checkpoints; a run that stopped goes on from there.
        loaders: processes that generate frames.
    """

    def keep(epoch: int, trainees: Trainees) -> None:
        write_epoch(
            run,
            epoch,
            v2v=trainees.v2v.net,
            refiner=trainees.refiner.net,
            conventions=CONVENTIONS,
        )
        write_detector(run, trainees.detector.net)

    fit(
        SyntheticHands(split="train", seed=recipe.seed).frame,
        held_out(
            SyntheticHands(split="held_out", seed=recipe.seed).frame, recipe, count=WATCHED_FRAMES
        ),
        recipe,
        run,
        num_keypoints=len(HAND_KEYPOINTS),
        on_epoch=keep,
        loaders=loaders,
    )


def publish_hand(
    run: Path,
    out: Path,
    *,
    recipe: Recipe,
    epochs: Sequence[int],
    decode: Decode,
    refiner_passes: int,
    judge: HandednessJudge | None,
    training: dict[str, Any],
    figures: dict[str, Any],
) -> Manifest:
    """Copy the chosen epoch checkpoints of a run into a version of the store.

    Args:
        run: where `train_hand` wrote.
        out: `<store>/<model>/<version>`.
        recipe: that the run was trained with.
        epochs: the ensemble.
        decode: the decoding that `figures` were measured with.
        refiner_passes: likewise.
        judge: how handedness is decided.
        training: record of the run, for the manifest.
        figures: held-out figures, for the manifest.
    """
    out.mkdir(parents=True, exist_ok=True)

    def copied(file: str) -> tuple[str, str]:
        shutil.copyfile(run / file, out / file)
        return file, sha256_of(out / file)

    records = []
    for epoch in epochs:
        file, sha256 = copied(f"epoch-{epoch:02d}.safetensors")
        records.append(EpochRecord(epoch=epoch, file=file, sha256=sha256))
    file, sha256 = copied("detector.safetensors")
    manifest = Manifest(
        model=out.parent.name,
        version=out.name,
        description=_DESCRIPTION,
        subject=Subject.HAND,
        handedness=Handedness.RIGHT,
        keypoints=[Keypoint(name=n, meaning=HAND_KEYPOINT_MEANING[n]) for n in HAND_KEYPOINTS],
        skeleton=list(HAND_SKELETON),
        input_side=recipe.input_side,
        width=recipe.width,
        side_mm=recipe.side_mm,
        near_mm=NEAR_MM,
        far_mm=FAR_MM,
        refiner=RefinerRecord(side_mm=recipe.refiner_side_mm, passes=refiner_passes),
        conventions=CONVENTIONS,
        decode=decode,
        epochs=records,
        detector=FileRecord(file=file, sha256=sha256),
        judge=judge,
        training=training,
        figures=figures,
    )
    write_manifest(out, manifest)
    return manifest
