"""Show that training works: a set in NYU's format, ten epochs, two kills, ensemble against members.

    python tools/show_training.py --work runs/show --out benchmarks/results/training

Everything goes through the command line. `v2vpose synth` writes the set; `v2vpose train` trains on
it, is killed with SIGKILL after half an epoch and after one and three quarters, and goes on; the
ten checkpoints are measured on the whole test split. A short twin run, killed and not killed, must
give the same bytes. Each part that is done is not done again, so that this may be killed too.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from v2vpose.datasets.disk import open_dataset
from v2vpose.member import load_member
from v2vpose.model_store import ModelStore, ModelVersion
from v2vpose.training.data import open_training_set
from v2vpose.training.journal import CURVE_FILE, LOG_FILE
from v2vpose.training.recipe import COMPACT
from v2vpose.training.watch import held_out
from v2vpose.values import Decode

CLOCKS = {"seconds", "waited_share"}  # columns that no two runs share
OPTIONS = ["--recipe", "compact", "--input-side", "32", "--width", "8", "--threads", "1"]
KILLS = (2, 7)  # rows of the log, four an epoch
TWIN = ["--limit", "640", "--epochs", "2"]


def v2vpose(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "v2vpose", *map(str, arguments)]


def train_and_kill(command: list[str], run: Path, kills: tuple[int, ...]) -> float:
    """Run to the end, killed once the log has so many rows; return the seconds of all parts."""
    started_s = time.monotonic()
    for rows in kills:
        if len(log_of(run)) >= rows:
            continue
        process = subprocess.Popen(command, start_new_session=True)
        while process.poll() is None and len(log_of(run)) < rows:
            time.sleep(0.5)
        time.sleep(3)  # somewhere inside a block
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"killed after row {rows}", flush=True)
    subprocess.run(command, check=True)
    return time.monotonic() - started_s


def log_of(run: Path) -> list[dict[str, str]]:
    path = run / LOG_FILE
    return list(csv.DictReader(path.open())) if path.exists() else []


def twins(root: Path, work: Path) -> dict[str, Any]:
    """Train a short run twice, killed and not; return whether every byte and row is the same."""
    found: dict[str, list[Any]] = {"files": [], "rows": []}
    for name, kills in (("whole", ()), ("killed", (2, 5))):
        out, run = work / "twins" / name / "1", work / "twins" / f"{name}-run"
        train = v2vpose("train", "--dataset", "nyu", "--root", root, "--out", out, "--run-dir", run)
        train_and_kill([*train, *OPTIONS, *TWIN], run, kills)
        manifest = ModelStore(out.parent.parent).open(name, "1").manifest
        found["files"].append([record.sha256 for record in manifest.epochs])
        found["rows"].append(
            [{k: v for k, v in row.items() if k not in CLOCKS} for row in log_of(run)]
        )
    return {
        "command": f"v2vpose train {' '.join([*OPTIONS, *TWIN])}, killed after rows 2 and 5",
        "checkpoints_equal": found["files"][0] == found["files"][1],
        "log_rows_equal": found["rows"][0] == found["rows"][1],
        "log_rows": len(found["rows"][0]),
    }


def measured(version: ModelVersion, root: Path) -> dict[str, Any]:
    """Measure every checkpoint and the ensemble on all test frames."""
    recipe = open_training_set("nyu", root, COMPACT, fold=0).recipe
    held = held_out(open_dataset("nyu", root, "test"), recipe)
    figures: dict[str, Any] = {"frames": len(held.crops)}
    found = {
        decode: np.stack(
            [
                [
                    answer.keypoints_mm
                    for start in range(0, len(held.crops), 16)
                    for answer in member.estimate(held.crops[start : start + 16], decode).answers
                ]
                for member in track(
                    [
                        load_member(version, e, backend="torch")
                        for e in version.manifest.epoch_numbers
                    ],
                    f"measuring, {decode}",
                )
            ]
        )
        for decode in Decode
    }  # (M, N, K, 3) each
    for decode, each_mm in found.items():
        members = np.linalg.norm(each_mm - held.keypoints_mm, axis=-1).mean(axis=(1, 2))
        ensemble_mm = np.linalg.norm(each_mm.mean(axis=0) - held.keypoints_mm, axis=-1).mean()
        figures[decode.value] = {
            "members_mm": [round(float(m), 2) for m in members],
            "mean_of_members_mm": round(float(members.mean()), 2),
            "ensemble_mm": round(float(ensemble_mm), 2),
        }
    return figures


def table(result: dict[str, Any], rows: list[dict[str, str]]) -> str:
    """Write the account in Markdown."""
    first, last = rows[0], rows[-1]
    trained_s = sum(float(row["seconds"]) for row in rows)
    waited_s = sum(float(row["seconds"]) * float(row["waited_share"]) for row in rows)
    lines = [
        "# A training run, start to end",
        "",
        "`python tools/show_training.py --work runs/show --out benchmarks/results/training`",
        "",
        f"Set: `{result['synth']}` ({result['set_frames'][0]} train and {result['set_frames'][1]} "
        "test frames of 640 x 480 in NYU's layout; people, cameras' noise and poses of the test "
        "split are not in the train split).",
        "",
        f"Run: `{result['train']}`, killed with SIGKILL after {len(KILLS)} of its log rows "
        f"({' and '.join(map(str, KILLS))}; four an epoch) and started again. "
        f"{trained_s / 60:.0f} min of training on two shared cores at idle priority, "
        f"{100 * waited_s / trained_s:.0f} % of them waiting for the loader.",
        "",
        "| | first row | last row |",
        "|---|---|---|",
        *(
            f"| {label} | {float(first[name]):.4g} | {float(last[name]):.4g} |"
            for name, label in (
                ("v2v_loss", "loss of the V2V net"),
                ("refiner_loss", "loss of the refiner"),
                ("argmax_mm", "watched error, argmax, mm"),
                ("subvoxel_mm", "watched error, sub-voxel, mm"),
                ("refined_mm", "refined reference point off by, mm"),
            )
        ),
        "",
        f"Ten checkpoints on all {result['measured']['frames']} test frames; first reference "
        "point: the truth, off by 20 mm (sigma) along each axis, then the refiner:",
        "",
        "| decode | "
        + " | ".join(f"epoch {e}" for e in range(1, 11))
        + " | mean of ten | ensemble |",
        "|---|" + "---|" * 12,
    ]
    for decode in ("argmax", "subvoxel"):
        figures = result["measured"][decode]
        cells = [*figures["members_mm"], figures["mean_of_members_mm"], figures["ensemble_mm"]]
        lines.append(f"| {decode}, mm | " + " | ".join(f"{c:.1f}" for c in cells) + " |")
    twin = result["twins"]
    lines += [
        "",
        f"Twins (`{twin['command']}`, against the same not killed): checkpoints "
        f"{'equal byte for byte' if twin['checkpoints_equal'] else 'DIFFERENT'}; "
        f"{twin['log_rows']} log rows {'equal' if twin['log_rows_equal'] else 'DIFFERENT'} in "
        "every loss and error.",
        "",
        "The mean over an ensemble can never be worse than the mean error of its members; how much "
        "better it is, and whether it beats its best member, is what the table shows.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/show"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training"))
    args = parser.parse_args()
    root, out, run = args.work / "nyu", args.work / "store/nyu/1", args.work / "run"
    synth = ["synth", "--format", "nyu", "--frames", 5120, "--test-frames", 512, "--out", root]
    if not (root / "test/joint_data.mat").exists():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(v2vpose(*synth), check=True)
    train = ["train", "--dataset", "nyu", "--root", root, "--out", out, "--run-dir", run, *OPTIONS,
             "--epochs", 10]  # fmt: skip
    train_and_kill(v2vpose(*train), run, KILLS)
    args.out.mkdir(parents=True, exist_ok=True)
    for path in (run / LOG_FILE, run / CURVE_FILE, run / "overlays/epoch-10.png"):
        shutil.copyfile(path, args.out / path.name)
    result = {
        "synth": " ".join(map(str, ["v2vpose", *synth])),
        "train": " ".join(map(str, ["v2vpose", *train])),
        "set_frames": [len(open_dataset("nyu", root, split)) for split in ("train", "test")],
        "measured": measured(ModelStore(out.parent.parent).open("nyu", "1"), root),
        "twins": twins(root, args.work),
    }
    (args.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (args.out / "README.md").write_text(table(result, log_of(run)))


if __name__ == "__main__":
    main()
