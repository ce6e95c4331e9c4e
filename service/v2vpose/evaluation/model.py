"""A model version on labelled frames, as methods of a comparison: the rows of the paper's Table 2.

Without refinement, refined, the ensemble of epoch checkpoints; and the ensemble decoded below the
voxel. The first three are decoded by argmax, as in the paper.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import numpy as np

from v2vpose.backends import BackendWish
from v2vpose.errors import InvalidFieldError
from v2vpose.estimator import Estimator, Localiser, Options
from v2vpose.evaluation.comparison import Comparison, Labels, Method, compare
from v2vpose.evaluation.distance import distances_mm
from v2vpose.evaluation.measure import Measured, figures, measure
from v2vpose.evaluation.reliability import WITHIN_MM, reliability
from v2vpose.member import load_member
from v2vpose.model_store import Manifest, ModelVersion
from v2vpose.values import Decode, Hint, LabelledFrame


class Centres(StrEnum):
    """Where reference points come from."""

    OWN = "own"
    OFFICIAL = "official"
    LABELS = "labels"


def evaluate_model(
    version: ModelVersion,
    frames: Iterable[LabelledFrame],
    *,
    dataset: str,
    keypoints: Sequence[str],
    centres: Centres = Centres.OWN,
    official: str = "",
    hand_is_told: bool = True,
    backend: BackendWish | None = None,
) -> Comparison:
    """Measure a version with and without refinement and ensemble.

    Args:
        version: the model.
        frames: labelled.
        dataset: their name, for the report.
        keypoints: names of the labels, in order; the model must have the same.
        centres: own: found as in service; official: the set's refined centres, taken as they are;
            labels: the middle of the true keypoints' box, taken as it is (a bound, no result).
        official: the files that official centres come from.
        hand_is_told: whether the model is told which hand it is.
        backend: None = the fastest here.

    Raises:
        InvalidFieldError: the model has other keypoints, or a frame no labels or no centre.
        NothingToEstimateError: not one frame was answered.
    """
    manifest = version.manifest
    _check_names(manifest, dataset, keypoints)
    plain = _unrefined(version)
    refines = centres is Centres.OWN and manifest.refiner.passes > 0
    measured = measure(
        Estimator.load(version if refines else plain, backend=backend),
        (_labelled(frame) for frame in frames),
        lambda frame: _told(frame, centres, hand_is_told=hand_is_told),
        unrefined=_last(plain, backend) if refines else None,
    )
    labels = Labels(
        dataset=dataset,
        keypoints=tuple(manifest.names),
        points_mm=measured.truth_mm,
        left=measured.left,
        unanswered=len(measured.unanswered),
    )
    methods = _methods(measured, manifest, _source(manifest, centres, official))
    return compare(labels, methods, _facts(measured, manifest, hand_is_told=hand_is_told))


def _methods(measured: Measured, manifest: Manifest, source: tuple[str, str]) -> list[Method]:
    first, refined = source
    name, last = f"{manifest.model} {manifest.version}", manifest.epoch_numbers[-1]
    argmax_mm, subvoxel_mm = (measured.found_mm[decode] for decode in Decode)  # (N, M, K, 3)
    methods = [
        Method(f"{name}, epoch {last}", refined, argmax_mm[:, -1]),
        Method(f"{name}, ensemble of {argmax_mm.shape[1]}", refined, argmax_mm.mean(axis=1)),
        Method(
            f"{name}, ensemble of {argmax_mm.shape[1]}, sub-voxel",
            refined,
            subvoxel_mm.mean(axis=1),
        ),
    ]
    if measured.unrefined_mm is not None:
        unrefined = Method(f"{name}, epoch {last}, not refined", first, measured.unrefined_mm)
        methods.insert(0, unrefined)
    return methods


def _facts(measured: Measured, manifest: Manifest, *, hand_is_told: bool) -> dict[str, Any]:
    found = figures(measured)
    facts = {
        "model": f"{manifest.model} {manifest.version}",
        "unanswered": found["unanswered"],
        "reference_point_off_mm": found["reference_point_mm"],
        "single_epochs_mm": {
            decode.value: dict(
                zip(manifest.epoch_numbers, found[decode.value]["single_mm"], strict=True)
            )
            for decode in Decode
        },
    }
    facts["confidence"] = _confidence(measured, manifest)
    if manifest.handedness is not None:
        right = f"found, right in {found['handedness_right_percent']} %"
        facts["handedness"] = "told" if hand_is_told else right
    return facts


def _confidence(measured: Measured, manifest: Manifest) -> dict[str, Any]:
    """Return what the ensemble's confidence is worth, as a probability of being right."""
    calibration = manifest.calibration
    within_mm = WITHIN_MM if calibration is None else calibration.within_mm
    found_mm = measured.found_mm[manifest.decode].mean(axis=1)
    is_right = distances_mm(found_mm, measured.truth_mm) <= within_mm
    worth = reliability(measured.confidence.ravel(), is_right.ravel())
    return {"is_calibrated": calibration is not None, "within_mm": within_mm, **asdict(worth)}


def _source(manifest: Manifest, centres: Centres, official: str) -> tuple[str, str]:
    """Return the centre source without and with refinement."""
    if centres is Centres.OFFICIAL:
        return official, official
    if centres is Centres.LABELS:
        truth = "middle of the labels' box (a bound, no result)"
        return truth, truth
    first = "own depth threshold" if manifest.detector is None else "own detector"
    return first, f"{first}, refined" if manifest.refiner.passes else first


def _told(frame: LabelledFrame, centres: Centres, *, hand_is_told: bool) -> Options:
    hand = frame.handedness if hand_is_told else None
    if centres is Centres.OWN:
        return Options(handedness=hand)
    if centres is Centres.LABELS:
        centre_mm = (frame.keypoints_mm.min(axis=0) + frame.keypoints_mm.max(axis=0)) / 2
    else:
        centre_mm = getattr(frame, "centre_mm", None)
        if centre_mm is None:
            raise InvalidFieldError(
                "expected an official centre for every frame, found a frame without; "
                "name their directory, or use own centres"
            )
    x, y, z = (float(c) for c in centre_mm)
    return Options(hint=Hint(reference_point_mm=(x, y, z)), handedness=hand)


def _check_names(manifest: Manifest, dataset: str, keypoints: Sequence[str]) -> None:
    """Refuse other keypoints, or the same ones in another order: distances would mean nothing."""
    for place, (ours, theirs) in enumerate(zip_longest(manifest.names, keypoints)):
        if ours != theirs:
            raise InvalidFieldError(
                f"{manifest.model} has other keypoints than {dataset}: at place {place} expected "
                f"{theirs}, found {ours}"
            )


def _labelled(frame: LabelledFrame) -> LabelledFrame:
    if not np.isfinite(frame.keypoints_mm).all():
        raise InvalidFieldError("expected labels, found a frame without: this split has none")
    return frame


def _unrefined(version: ModelVersion) -> ModelVersion:
    """Return the version as if it had no refiner."""
    refiner = version.manifest.refiner.model_copy(update={"passes": 0})
    manifest = version.manifest.model_copy(update={"refiner": refiner})
    return ModelVersion(manifest=manifest, directory=version.directory)


def _last(plain: ModelVersion, backend: BackendWish | None) -> Estimator:
    """Return the last epoch checkpoint alone; place and hand are always told to it."""
    last = plain.manifest.epoch_numbers[-1]
    record = [r for r in plain.manifest.epochs if r.epoch == last]
    alone = plain.manifest.model_copy(update={"epochs": record, "judge": None})
    version = ModelVersion(manifest=alone, directory=plain.directory)
    return Estimator(Localiser(alone, None), [load_member(version, last, backend=backend)])
