"""Epoch checkpoints of a run straight into the store's layout, readable after every epoch."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from v2vpose.errors import InvalidFieldError
from v2vpose.model_store import (
    Conventions,
    EpochRecord,
    Manifest,
    ModelStore,
    RefinerRecord,
    sha256_of,
    write_detector,
    write_epoch,
    write_manifest,
)
from v2vpose.training.data import TrainingSet
from v2vpose.training.state import STATE_FILE
from v2vpose.training.trainees import Trainees
from v2vpose.values import Decode

CONVENTIONS: Final = Conventions()
_MANIFEST: Final = "manifest.json"


def check_place(out: Path, run: Path) -> None:
    """Refuse to write a new run's checkpoints among those of another.

    Raises:
        InvalidFieldError: `out` is no place for a version, or holds one and `run` has not begun.
    """
    if not out.name.isdigit():
        raise InvalidFieldError(f"out must end in <model>/<number>, got {out}")
    if (out / _MANIFEST).exists() and not (run / STATE_FILE).exists():
        raise InvalidFieldError(
            f"{out}: expected no model version there, found one, and no run to go on with in {run}"
        )


def write_version(
    out: Path, epoch: int, trainees: Trainees, data: TrainingSet, record: dict[str, Any]
) -> Manifest:
    """Write a finished epoch's checkpoint, and the manifest of all so far.

    Args:
        out: `<store>/<model>/<version>`.
        epoch: its number.
        trainees: the nets.
        data: what they are trained on.
        record: of the run, for the manifest.
    """
    write_epoch(
        out, epoch, v2v=trainees.v2v.net, refiner=trainees.refiner.net, conventions=CONVENTIONS
    )
    detector = None
    if trainees.detector is not None:
        detector = write_detector(out, trainees.detector.net)
    files = {number: f"epoch-{number:02d}.safetensors" for number in range(1, epoch + 1)}
    recipe = data.recipe
    manifest = Manifest(
        model=out.parent.name,
        version=out.name,
        description=data.description,
        subject=data.subject,
        handedness=recipe.handedness,
        keypoints=list(data.keypoints),
        skeleton=list(data.skeleton),
        input_side=recipe.input_side,
        width=recipe.width,
        side_mm=recipe.side_mm,
        near_mm=recipe.near_mm,
        far_mm=recipe.far_mm,
        refiner=RefinerRecord(side_mm=recipe.refiner_side_mm, passes=1),
        conventions=CONVENTIONS,
        decode=Decode.ARGMAX,
        epochs=[
            EpochRecord(epoch=number, file=file, sha256=sha256_of(out / file))
            for number, file in files.items()
        ],
        detector=detector,
        training=record | {"recipe": asdict(recipe)},
    )
    write_manifest(out, manifest)
    return manifest


def warm_start(trainees: Trainees, directory: Path, data: TrainingSet) -> None:
    """Fill fresh nets with a version's last epoch checkpoint, and its detector if both have one.

    Raises:
        UnknownModelError, InvalidModelError: there is no such version, or it is broken.
        InvalidFieldError: it is of another width or has other keypoints.
    """
    version = ModelStore(directory.parent.parent).open(directory.parent.name, directory.name)
    manifest = version.manifest
    expected = (data.recipe.width, [keypoint.name for keypoint in data.keypoints])
    if (manifest.width, manifest.names) != expected:
        raise InvalidFieldError(
            f"{directory}: expected width and keypoints {expected}, "
            f"found {(manifest.width, manifest.names)}"
        )
    v2v, refiner = version.load_epoch(manifest.epoch_numbers[-1])
    trainees.v2v.net.load_state_dict(v2v.state_dict())
    trainees.refiner.net.load_state_dict(refiner.state_dict())
    detector = version.load_detector()
    if trainees.detector is not None and detector is not None:
        trainees.detector.net.load_state_dict(detector.state_dict())
