"""Publish epoch checkpoints of a training run as a version of the store, with measured figures.

    python tools/publish_hand.py --run runs/hand --out model_store/hand/1 --epochs 4 5 6 7 8

Writes the checkpoints, the localising nets, `manifest.json` (recipe, figures), `log.csv` and
`curve.png`. The figures are those of `v2vpose evaluate --model hand --frames 1000`.
"""

import argparse
import csv
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from rich.progress import track

from v2vpose.datasets.synthetic import SyntheticHands
from v2vpose.estimator import Estimator, Options
from v2vpose.evaluation.measure import figures, measure
from v2vpose.model_store import HandednessJudge, ModelStore, ModelVersion, write_manifest
from v2vpose.training.hand import publish_hand
from v2vpose.training.recipe import COMPACT_HAND
from v2vpose.training.samples import bbox_midpoint
from v2vpose.values import Decode, DepthFrame, Hint

mpl.use("Agg")
LOG_FILE, CURVE_FILE = "log.csv", "curve.png"
JUDGE_SEED = 99  # no run is trained with it


def measured(version: ModelVersion, *, frames: int, seed: int) -> dict[str, Any]:
    """Measure a version on held-out frames."""
    manifest = version.manifest
    estimator = Estimator.load(version)
    hands = SyntheticHands(split="held_out", seed=seed)
    generated = (hands.frame(i) for i in track(range(frames), "estimating"))
    return {
        "data": f"synthetic hands, split held_out, seed {seed}",
        "centre_source": "own detector and judge, then the refiner; handedness by the judge",
        "command": f"v2vpose evaluate --model {manifest.model} --model-version "
        f"{manifest.version} --frames {frames} --seed {seed}",
    } | figures(measure(estimator, generated))


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


def draw_curve(log: Path, out: Path) -> None:
    """Draw losses and held-out errors over the steps of the run."""
    import matplotlib.pyplot as plt

    rows = list(csv.DictReader(log.open()))
    steps = [float(row["step"]) for row in rows]
    figure, (losses, errors) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    losses.plot(steps, [float(row["v2v_loss"]) for row in rows], color="#1f77b4")
    losses.set(
        xlabel="step", ylabel="loss of the V2V net", title="training (squared error a frame)"
    )
    for name, label in (
        ("argmax_mm", "keypoints, argmax"),
        ("subvoxel_mm", "keypoints, sub-voxel"),
        ("refined_mm", "reference point, refined"),
    ):
        errors.plot(steps, [float(row[name]) for row in rows], label=label)
    errors.set(xlabel="step", ylabel="mean error, mm", ylim=(0, None),
               title="128 held-out frames, hints off by sigma 20 mm an axis")  # fmt: skip
    errors.legend(frameon=False)
    for axes in (losses, errors):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Publish, measure, and write the figures into the manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/hand"))
    parser.add_argument("--out", type=Path, default=Path("model_store/hand/1"))
    parser.add_argument("--epochs", type=int, nargs="+", required=True)
    parser.add_argument("--decode", type=Decode, default=Decode.SUBVOXEL, choices=list(Decode))
    parser.add_argument("--passes", type=int, default=1, help="of the refiner")
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--note", default="", help="for the training record")
    args = parser.parse_args()
    manifest = publish_hand(
        args.run,
        args.out,
        recipe=COMPACT_HAND,
        epochs=args.epochs,
        decode=args.decode,
        refiner_passes=args.passes,
        judge=None,
        training={"recipe": asdict(COMPACT_HAND), "command": "v2vpose train", "note": args.note},
        figures={},
    )
    store = ModelStore(args.out.parent.parent)
    model, number = args.out.parent.name, args.out.name
    judge = fitted_judge(store.open(model, number), frames=300, seed=JUDGE_SEED)
    manifest = manifest.model_copy(update={"judge": judge})
    write_manifest(args.out, manifest)
    shutil.copyfile(args.run / LOG_FILE, args.out / LOG_FILE)
    draw_curve(args.out / LOG_FILE, args.out / CURVE_FILE)
    found = measured(store.open(model, number), frames=args.frames, seed=args.seed)
    write_manifest(args.out, manifest.model_copy(update={"figures": found}))


if __name__ == "__main__":
    main()
