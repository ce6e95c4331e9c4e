"""Turn what `v2vpose train --dataset hand` or `body` wrote into a published version, with figures.

    python tools/publish.py --version runs/store/hand/1 --epochs 5 6 7 8 9

Keeps the chosen epoch checkpoints and writes decoding and figures into `manifest.json`; for hands
also the judge: what its lead is worth, from how sure on it sees a hand at all; and what confidence
is worth. The figures are those of `v2vpose evaluate`.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from v2vpose.datasets.synthetic import EmptyScenes, SyntheticBodies, SyntheticHands
from v2vpose.estimator import Estimator, Options
from v2vpose.evaluation.distance import distances_mm
from v2vpose.evaluation.mean_ap import mean_ap
from v2vpose.evaluation.measure import Measured, figures, measure
from v2vpose.evaluation.refusal import refusals
from v2vpose.evaluation.reliability import WITHIN_MM, fitted
from v2vpose.model_store import (
    Calibration,
    HandednessJudge,
    ModelStore,
    ModelVersion,
    Subject,
    write_manifest,
)
from v2vpose.training.samples import bbox_midpoint
from v2vpose.values import Decode, DepthFrame, Hint

JUDGE_SEED = 99  # no run is trained with it
TUNING_SEED = 3  # figures are of others
EMPTY_SHARE = 0.985  # of those scenes shall be seen to be empty


def measured(version: ModelVersion, *, frames: int, seed: int) -> dict[str, Any]:
    """Measure a version on held-out frames."""
    manifest = version.manifest
    estimator = Estimator.load(version)
    is_body = manifest.subject is Subject.BODY
    held_out = (SyntheticBodies if is_body else SyntheticHands)(split="held_out", seed=seed)
    found = measure(estimator, (held_out.frame(i) for i in track(range(frames), "estimating")))
    facts = {
        "data": f"synthetic {'bodies' if is_body else 'hands'}, split held_out, seed {seed}",
        "centre_source": "own detector, then the refiner"
        if is_body
        else "own detector and judge, then the refiner; handedness by the judge",
        "command": f"v2vpose evaluate --model {manifest.model} --model-version "
        f"{manifest.version} --frames {frames} --seed {seed}",
    } | figures(found)
    if is_body:
        del facts["handedness_right_percent"]
        facts["map_10cm_percent"] = precision(found)
    return facts


def precision(found: Measured) -> dict[str, Any]:
    """Return ITOP's figure of the ensemble by decoding; an unanswered frame has found nothing."""
    answered = len(found.truth_mm) / (len(found.truth_mm) + len(found.unanswered))
    result = {}
    for decode, each_mm in found.found_mm.items():
        reached = mean_ap(distances_mm(each_mm.mean(axis=1), found.truth_mm), answered=answered)
        parts = {part: round(percent, 2) for part, percent in reached.per_part_percent.items()}
        result[decode.value] = {"mean": round(reached.mean_percent, 2)} | parts
    return result


def fitted_judge(version: ModelVersion, *, frames: int, seed: int) -> HandednessJudge:
    """Fit the score of handedness on frames of the train split that no run has drawn.

    One parameter, by maximum likelihood: the truth's lead in mean confidence over the other hand,
    through a logistic function.
    """
    epoch = version.manifest.epoch_numbers[-1]
    estimator = Estimator.load(version)
    hands = SyntheticHands(split="train", seed=seed)
    rng = np.random.default_rng(seed)
    leads = []
    for index in track(range(frames), "fitting the judge"):
        labelled = hands.frame(index)
        frame = DepthFrame(labelled.depth_mm, labelled.intrinsics)
        x, y, z = bbox_midpoint(labelled.keypoints_mm) + rng.normal(0, 15, size=3)
        hint = Hint(reference_point_mm=(float(x), float(y), float(z)))
        options = Options(hint=hint, epochs=(epoch,))
        truth, other = (
            estimator.estimate(frame, replace(options, handedness=hand)).confidence.mean()
            for hand in (labelled.handedness, labelled.handedness.other)
        )
        leads.append(truth - other)
    grid = np.geomspace(1, 1000, 300)  # (300,)
    loss = np.logaddexp(0, -grid[:, None] * np.array(leads)).mean(axis=1)
    return HandednessJudge(epoch=epoch, per_confidence=round(float(grid[loss.argmin()]), 1))


def least_confidence(version: ModelVersion, *, scenes: int, seed: int) -> float:
    """Return the lowest hundredth at which the judge finds nothing in enough empty scenes."""
    empty = EmptyScenes(split="held_out", seed=seed)
    generated = (empty.frame(i) for i in track(range(scenes), "scenes without a hand"))
    found = refusals(version, generated, ())
    steps = np.arange(1, 100) / 100
    shares = [found.empty_percent(least) / 100 for least in steps]
    return float(steps[int(np.argmax(np.array(shares) >= EMPTY_SHARE))])


def fitted_calibration(version: ModelVersion, *, frames: int, seed: int) -> Calibration:
    """Fit what peaks are worth; the version has no calibration yet."""
    hands = SyntheticHands(split="held_out", seed=seed)
    generated = (hands.frame(i) for i in track(range(frames), "calibrating confidence"))
    found = measure(Estimator.load(version), generated)
    off_mm = distances_mm(found.found_mm[version.manifest.decode].mean(axis=1), found.truth_mm)
    is_right = off_mm.ravel() <= WITHIN_MM
    return fitted(found.confidence.ravel(), is_right, within_mm=WITHIN_MM)


def main() -> None:
    """Choose epochs, fit the judge of hands, measure, and write it all into the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", type=Path, default=Path("runs/store/hand/1"))
    parser.add_argument("--epochs", type=int, nargs="+", required=True)
    parser.add_argument("--decode", type=Decode, default=Decode.SUBVOXEL, choices=list(Decode))
    parser.add_argument("--passes", type=int, default=1, help="of the refiner")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--note", default="", help="for the training record")
    args = parser.parse_args()
    store = ModelStore(args.version.parent.parent)
    model, number = args.version.parent.name, args.version.name
    trained = store.open(model, number).manifest
    manifest = trained.model_copy(
        update={
            "epochs": [record for record in trained.epochs if record.epoch in args.epochs],
            "decode": args.decode,
            "calibration": None,  # judge and calibration are fitted on bare peaks
            "refiner": trained.refiner.model_copy(update={"passes": args.passes}),
            "training": trained.training | {"note": args.note},
        }
    )
    write_manifest(args.version, manifest)
    if manifest.handedness is not None:
        judge = fitted_judge(store.open(model, number), frames=300, seed=JUDGE_SEED)
        manifest = manifest.model_copy(update={"judge": judge})
        write_manifest(args.version, manifest)
        least = least_confidence(store.open(model, number), scenes=500, seed=TUNING_SEED)
        judge = judge.model_copy(update={"min_confidence": least})
        manifest = manifest.model_copy(update={"judge": judge})
        write_manifest(args.version, manifest)
        worth = fitted_calibration(store.open(model, number), frames=500, seed=TUNING_SEED)
        manifest = manifest.model_copy(update={"calibration": worth})
        write_manifest(args.version, manifest)
    found = measured(store.open(model, number), frames=args.frames, seed=args.seed)
    write_manifest(args.version, manifest.model_copy(update={"figures": found}))
    for record in trained.epochs:
        if record not in manifest.epochs:
            (args.version / record.file).unlink()


if __name__ == "__main__":
    main()
