"""One readable loop: blocks in, epoch checkpoints out."""

import csv
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader

from v2vpose.backends import TorchBackend
from v2vpose.geometry.camera import mirrored, mirrored_points
from v2vpose.geometry.cubic_box import CENTRED_CELL_OFFSET
from v2vpose.localise import target_crop
from v2vpose.member import Member, reach_mm
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import Block, bbox_midpoint
from v2vpose.training.stream import BlockStream
from v2vpose.training.trainees import (
    DetectorTrainee,
    RefinerTrainee,
    Trainee,
    V2VTrainee,
)
from v2vpose.values import (
    Decode,
    DepthFrame,
    FloatArray,
    Handedness,
    LabelledFrame,
    TargetCrop,
)

STATE_FILE = "state.pt"
LOG_FILE = "log.csv"
_LOG_FIELDS = (
    "step", "epoch", "v2v_loss", "refiner_loss", "detector_loss",
    "argmax_mm", "subvoxel_mm", "refined_mm", "seconds", "waited_share",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trainees:
    """The nets in training."""

    v2v: V2VTrainee
    refiner: RefinerTrainee
    detector: DetectorTrainee

    def named(self) -> dict[str, Trainee]:
        """Return them by name."""
        return {
            "v2v": self.v2v,
            "refiner": self.refiner,
            "detector": self.detector,
        }


@dataclass(frozen=True, slots=True)
class Held:
    """Held-out crops with their truth, to watch a run by.

    Attributes:
        crops: one a frame, the hand that the nets know, around a disturbed reference point.
        keypoints_mm: (N, K, 3) truth in the crops' camera frame.
    """

    crops: tuple[TargetCrop, ...]
    keypoints_mm: FloatArray


def fit(
    frame: Callable[[int], LabelledFrame],
    held: Held,
    recipe: Recipe,
    run: Path,
    *,
    num_keypoints: int,
    on_epoch: Callable[[int, Trainees], None],
    loaders: int = 1,
) -> Trainees:
    """Train the nets; continue where `run` stopped.

    Args:
        frame: the training set, labelled frame by index, without end.
        held: frames to watch the run by; nothing is chosen by them.
        recipe: every number of the run.
        run: directory of state and log.
        num_keypoints: K.
        on_epoch: called with each finished epoch, to write its checkpoint.
        loaders: processes that make blocks.
    """
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    trainees = Trainees(
        V2VTrainee(recipe, num_keypoints),
        RefinerTrainee(recipe),
        DetectorTrainee(recipe),
    )
    done = _resume(run / STATE_FILE, trainees)  # blocks
    steps_per_block = recipe.block // recipe.batch
    blocks_per_epoch = recipe.steps_per_epoch // steps_per_block
    total = recipe.epochs * blocks_per_epoch
    stream = _blocks(BlockStream(frame, recipe, first=done), loaders)
    sums = dict.fromkeys(trainees.named(), 0.0)
    started, waited_s, counted = time.monotonic(), 0.0, 0
    with _progress() as progress:
        task = progress.add_task("train", total=total, completed=done, note="")
        while done < total:
            before = time.monotonic()
            block = next(stream)
            waited_s += time.monotonic() - before
            for name, trainee in trainees.named().items():
                sums[name] += trainee.learn(block, done / total)
            done, counted = done + 1, counted + 1
            note = " ".join(f"{name} {total / counted:.4g}" for name, total in sums.items())
            progress.update(task, completed=done, note=note)
            if done % blocks_per_epoch % max(1, blocks_per_epoch // 4) == 0:
                elapsed_s = time.monotonic() - started
                row = {f"{name}_loss": value / counted for name, value in sums.items()}
                row |= {"step": done * steps_per_block, "epoch": done / blocks_per_epoch}
                row |= {"seconds": elapsed_s, "waited_share": waited_s / elapsed_s}
                row |= watch(trainees, held, recipe)
                if done % blocks_per_epoch == 0:
                    on_epoch(done // blocks_per_epoch, trainees)
                _save(run / STATE_FILE, trainees, done)  # last: what it says done, is done
                _append(run / LOG_FILE, row)
                sums = dict.fromkeys(sums, 0.0)
                started, waited_s, counted = time.monotonic(), 0.0, 0
    return trainees


def held_out(
    frame: Callable[[int], LabelledFrame], recipe: Recipe, *, count: int, sigma_mm: float = 20.0
) -> Held:
    """Return `count` held-out crops around reference points disturbed by `sigma_mm` an axis."""
    rng = np.random.default_rng(recipe.seed)
    crops, truth = [], []
    for index in range(count):
        labelled = frame(index)
        seen = DepthFrame(labelled.depth_mm, labelled.intrinsics)
        keypoints_mm: FloatArray = labelled.keypoints_mm
        if labelled.handedness is Handedness.LEFT:
            seen, keypoints_mm = mirrored(seen), mirrored_points(keypoints_mm)
        first_mm = bbox_midpoint(keypoints_mm) + rng.normal(0, sigma_mm, size=3)
        reach = reach_mm(
            side_mm=recipe.side_mm, refiner_side_mm=recipe.refiner_side_mm, refiner_passes=1
        )
        crops.append(target_crop(seen, first_mm, side_mm=recipe.side_mm, reach_mm=reach))
        truth.append(keypoints_mm)
    return Held(tuple(crops), np.stack(truth))


def watch(trainees: Trainees, held: Held, recipe: Recipe) -> dict[str, float]:
    """Return mean 3D errors on the held-out crops: both decodings, and the refined point."""
    member = Member(
        epoch=0,
        backend=TorchBackend(
            deepcopy(trainees.v2v.net), deepcopy(trainees.refiner.net), dtype=torch.bfloat16
        ),
        input_side=recipe.input_side,
        refiner_side_mm=recipe.refiner_side_mm,
        refiner_passes=1,
        cell_offset=CENTRED_CELL_OFFSET,
    )
    figures = {}
    for decode in Decode:
        answers = [
            answer
            for start in range(0, len(held.crops), 16)
            for answer in member.estimate(held.crops[start : start + 16], decode).answers
        ]
        found_mm = np.stack([answer.keypoints_mm for answer in answers])  # (N, K, 3)
        distance_mm = np.linalg.norm(found_mm - held.keypoints_mm, axis=-1)
        figures[f"{decode}_mm"] = float(distance_mm.mean())
    refined_mm = np.stack([answer.refined_point_mm for answer in answers])
    target_mm = np.stack([bbox_midpoint(keypoints) for keypoints in held.keypoints_mm])
    figures["refined_mm"] = float(np.linalg.norm(refined_mm - target_mm, axis=-1).mean())
    return figures


def _blocks(stream: BlockStream, loaders: int) -> Iterator[Block]:
    return iter(
        DataLoader(
            stream,
            batch_size=None,
            num_workers=loaders,
            multiprocessing_context="spawn" if loaders else None,
            prefetch_factor=4 if loaders else None,
            generator=torch.Generator(),  # its own: the nets' draws go on as if never stopped
        )
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )


def _save(path: Path, trainees: Trainees, blocks: int) -> None:
    state = {
        name: {"net": trainee.net.state_dict(), "optimiser": trainee.optimiser.state_dict()}
        for name, trainee in trainees.named().items()
    }
    part = path.with_suffix(".part")
    torch.save(state | {"blocks": blocks, "rng": torch.get_rng_state()}, part)
    part.replace(path)


def _resume(path: Path, trainees: Trainees) -> int:
    """Load the state if there is one; return how many blocks are done."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    for name, trainee in trainees.named().items():
        trainee.net.load_state_dict(state[name]["net"])
        trainee.optimiser.load_state_dict(state[name]["optimiser"])
    torch.set_rng_state(state["rng"])
    return int(state["blocks"])


def _append(path: Path, row: dict[str, float]) -> None:
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, _LOG_FIELDS)
        if fresh:
            writer.writeheader()
        writer.writerow({name: _short(value) for name, value in row.items()})


def _short(value: float) -> str:
    return f"{value:.6g}"
