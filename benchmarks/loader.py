"""How fast training input is made, and how long a step waits for it.

    python benchmarks/loader.py [--frames 1024] [--blocks 16] [--steps 16]

Frames of NYU's size (640 x 480), read from a generated set in NYU's layout: decoded, augmented,
voxelized to 88^3, and cropped for the refiner (ten crops a frame, the paper recipe; one, compact).
First frames/s of 1 and 2 loader processes with nothing to feed; then a training run in which they
feed the nets, and the share of its time that it waited.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from v2vpose.datasets.disk import open_dataset
from v2vpose.datasets.frames import Shuffled
from v2vpose.training.recipe import RECIPES
from v2vpose.training.stream import BlockStream, Schedule, blocks

OUT = Path("benchmarks/results/loader")
WARM_BLOCKS = 4  # until every loader has compiled and cached


def v2vpose(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "v2vpose", *map(str, arguments)], check=True)


def rate(root: Path, recipe_name: str, loaders: int, count: int) -> float:
    """Return frames/s of `loaders` processes (0: this one) that nobody waits for."""
    recipe = replace(RECIPES[recipe_name], input_side=88)  # type: ignore[index]
    frames = Shuffled(open_dataset("nyu", root, "train"), seed=1)
    schedule = Schedule(len(frames), recipe.block, recipe.batch)
    made = blocks(BlockStream(frames.frame, recipe, schedule, first=0), loaders=loaders)
    for _ in range(WARM_BLOCKS):
        next(made)
    began_s = time.monotonic()
    for _ in range(count):
        next(made)
    return count * recipe.block / (time.monotonic() - began_s)


def waited(root: Path, work: Path, loaders: int, options: list[str], limit: int) -> dict[str, Any]:
    """Train for one pass; return seconds a step and the share waited, without the first row."""
    name = f"loaders{loaders}-{'-'.join(options).strip('-')}"
    run = work / name
    v2vpose(
        *("train", "--dataset", "nyu", "--root", root, "--out", work / "store" / "nyu" / "1"),
        *("--run-dir", run, "--epochs", 1, "--limit", limit, "--loaders", loaders, *options),
    )
    (work / "store/nyu/1/manifest.json").unlink()
    rows = list(csv.DictReader((run / "log.csv").open()))
    steps = int(rows[-1]["step"]) - int(rows[0]["step"])
    seconds = sum(float(row["seconds"]) for row in rows[1:])
    share = sum(float(row["seconds"]) * float(row["waited_share"]) for row in rows[1:]) / seconds
    return {"options": " ".join(options), "loaders": loaders, "s_a_step": seconds / steps,
            "waited_percent": 100 * share}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1024, help="of the generated set")
    parser.add_argument("--blocks", type=int, default=16, help="of 32 frames a rate is taken over")
    parser.add_argument("--steps", type=int, default=16, help="of the training at 88")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    console = Console()
    result: dict[str, Any] = {"cores": os.cpu_count(), "rates": [], "steps": []}
    with tempfile.TemporaryDirectory() as directory:
        work, root = Path(directory), Path(directory) / "nyu"
        v2vpose("synth", "--frames", args.frames, "--test-frames", 8, "--out", root)
        table = Table(title="frames/s, 640 x 480 to 88^3", title_justify="left")
        for column in ("recipe", "loaders", "frames/s", "per loader"):
            table.add_column(column, justify="right")
        for name in ("paper", "compact"):
            for loaders in (0, 1, 2):
                found = rate(root, name, loaders, args.blocks)
                result["rates"].append({"recipe": name, "loaders": loaders, "frames_a_s": found})
                table.add_row(name, str(loaders), f"{found:.0f}", f"{found / max(loaders, 1):.0f}")
        console.print(table)
        table = Table(title="training on the CPU", title_justify="left")
        for column in ("options", "loaders", "s a step", "waited %"):
            table.add_column(column, justify="right")
        for options, frames in (
            (["--recipe", "paper"], 8 * args.steps),
            (["--recipe", "compact"], min(args.frames, 64 * args.steps)),
        ):
            found_steps = waited(root, work, 1, options, frames)
            result["steps"].append(found_steps)
            table.add_row(found_steps["options"], "1", f"{found_steps['s_a_step']:.3f}",
                          f"{found_steps['waited_percent']:.1f}")  # fmt: skip
        console.print(table)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "loader.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
