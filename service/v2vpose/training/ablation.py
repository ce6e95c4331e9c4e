"""Table 1 of the paper on generated hands: four nets, the same frames, the same number of steps.

Equal frames, not equal minutes: what the table asks is what a kind of input and output makes of the
same examples; minutes would measure the machine (457 M parameters are read and written each step).
The nets take turns, a round each, so that a run that is stopped early has still shown all of them
the same frames. Same optimiser, rate and batch for all; a coordinate net learns squared distance,
a heatmap net equation 1.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from v2vpose.errors import InvalidFieldError
from v2vpose.evaluation.distance import distances_mm
from v2vpose.heatmaps import gaussian_heatmaps, peak_coordinates, peaks_of
from v2vpose.heatmaps.gaussian import sigma_cell
from v2vpose.nets.ablation import (
    HEATMAP_SIDE,
    AblationNet,
    Variant,
    build_ablation,
    parameters,
)
from v2vpose.training.ablation_frames import AblationFrames
from v2vpose.values import Decode, FloatArray

_HALF: Final = HEATMAP_SIDE / 2
_WATCH_BATCH: Final = 32
_SETTLE_FRAMES: Final = 128


@dataclass(frozen=True, slots=True)
class AblationRecipe:
    """Numbers of the four runs.

    Attributes:
        steps: of each net.
        round_steps: of one net before the next one's turn; it is measured and saved after each.
        batch: frames a step (paper, section 6.3: 8).
        learning_rate: Adam's; flat for the first half, then falling along a cosine.
        seed: of weights.
    """

    steps: int = 320
    round_steps: int = 32
    batch: int = 8
    learning_rate: float = 1e-3
    seed: int = 1

    @property
    def frames(self) -> int:
        """Frames each net sees."""
        return self.steps * self.batch


@dataclass(slots=True)
class Contestant:
    """One net of the table in training.

    Attributes:
        variant: the row.
        net: its network.
        optimiser: its optimiser.
        log: a record for each round done.
        seconds: processor time of its steps, all threads.
    """

    variant: Variant
    net: AblationNet
    optimiser: torch.optim.Optimizer
    log: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many are done."""
        return int(self.log[-1]["step"]) if self.log else 0


def contestants(recipe: AblationRecipe, num_keypoints: int, run: Path) -> list[Contestant]:
    """Return the four nets, as new or as `run` keeps them."""
    entered = []
    for variant in Variant:
        torch.manual_seed(recipe.seed)
        net = build_ablation(variant, num_keypoints)
        layout = torch.channels_last if variant.planar else torch.channels_last_3d
        net.trunk.to(memory_format=layout)  # type: ignore[call-overload]  # stub
        optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, fused=True)
        contestant = Contestant(variant, net, optimiser)
        _resume(contestant, run, recipe)
        entered.append(contestant)
    return entered


def rounds(
    entered: list[Contestant],
    train: AblationFrames,
    held: AblationFrames,
    recipe: AblationRecipe,
    run: Path,
) -> Iterator[Contestant]:
    """Give the nets their turns until all have done their steps; yield each after its turn."""
    for end in range(recipe.round_steps, recipe.steps + 1, recipe.round_steps):
        for contestant in entered:
            if contestant.steps < end:
                before_s = time.process_time()
                loss = _turn(contestant, train, recipe, end)
                contestant.seconds += time.process_time() - before_s
                settle(contestant, train, end=end * recipe.batch)
                contestant.log.append({"step": end, "loss": loss} | watch(contestant, held))
                _save(contestant, run, recipe)
                yield contestant


def watch(contestant: Contestant, held: AblationFrames) -> dict[str, float]:
    """Return mean 3D errors, mm; a net that regresses has the same one for both decodings."""
    planar = contestant.variant.planar
    contestant.net.eval()
    found: dict[Decode, list[FloatArray]] = {decode: [] for decode in Decode}
    for start in range(0, len(held), _WATCH_BATCH):
        rows = slice(start, start + _WATCH_BATCH)
        with torch.inference_mode():
            answer = _forward(contestant, held.inputs(rows, planar=planar)).numpy()
        for decode, cells in _cells(contestant.variant, answer).items():
            found[decode].append(held.keypoints_of(cells, rows, planar=planar))
    return {
        f"{decode}_mm": float(distances_mm(np.concatenate(points_mm), held.keypoints_mm).mean())
        for decode, points_mm in found.items()
    }


@torch.no_grad()
def settle(contestant: Contestant, train: AblationFrames, *, end: int) -> None:
    """Take the statistics of batch normalisation anew, over the last frames before frame `end`.

    Their running averages lag behind weights that move this fast; a net that learnt well would be
    measured with statistics of what it was.
    """
    norms = [m for m in contestant.net.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    contestant.net.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all that follow
    for start in range(max(0, end - _SETTLE_FRAMES), end, _WATCH_BATCH):
        rows = slice(start, min(start + _WATCH_BATCH, end))
        _forward(contestant, train.inputs(rows, planar=contestant.variant.planar))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def rows_of(entered: list[Contestant]) -> list[dict[str, Any]]:
    """Return what a report needs of each net."""
    return [
        {
            "variant": contestant.variant.value,
            "parameters": parameters(contestant.net),
            "steps": contestant.steps,
            "cpu_seconds": round(contestant.seconds, 1),
            "log": contestant.log,
        }
        for contestant in entered
    ]


def _turn(contestant: Contestant, train: AblationFrames, recipe: AblationRecipe, end: int) -> float:
    """Take the steps up to `end`; return their mean loss."""
    contestant.net.train()
    variant = contestant.variant
    losses = []
    for step in range(contestant.steps, end):
        rows = slice(step * recipe.batch, (step + 1) * recipe.batch)
        _set_rate(contestant.optimiser, recipe, step / recipe.steps)
        answer = _forward(contestant, train.inputs(rows, planar=variant.planar))
        cells = torch.from_numpy(train.cells(rows, planar=variant.planar))
        loss = nn.functional.mse_loss(answer, _target(variant, cells), reduction="sum")
        loss = loss / recipe.batch
        contestant.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        contestant.optimiser.step()
        losses.append(float(loss.detach()))
    contestant.optimiser.zero_grad(set_to_none=True)  # 1.8 GB that the next net can use
    return sum(losses) / len(losses)


def _forward(contestant: Contestant, inputs: FloatArray) -> Tensor:
    """Run the trunk in bfloat16 where that is faster: in three dimensions."""
    x = torch.from_numpy(inputs)
    with torch.autocast("cpu", torch.bfloat16, enabled=not contestant.variant.planar):
        features = contestant.net.trunk(x)
    answer: Tensor = contestant.net.head(features.float())
    return answer


def _target(variant: Variant, cells: Tensor) -> Tensor:
    """Return (B, K, 3) in halves of the cube, or (B, K, 24, 24, 24) heatmaps (equation 1)."""
    if variant.regresses:
        return (cells + 0.5) / _HALF - 1
    return gaussian_heatmaps(cells, heatmap_side=HEATMAP_SIDE, sigma_cell=sigma_cell(HEATMAP_SIDE))


def _cells(variant: Variant, answer: FloatArray) -> dict[Decode, FloatArray]:
    if variant.regresses:
        return dict.fromkeys(Decode, (answer + 1) * _HALF - 0.5)
    peaks = peaks_of(answer)
    return {decode: peak_coordinates(peaks, decode) for decode in Decode}


def _set_rate(optimiser: torch.optim.Optimizer, recipe: AblationRecipe, progress: float) -> None:
    fall = max(0.0, 2 * progress - 1)
    factor = 0.02 + 0.98 * (1 + math.cos(math.pi * fall)) / 2
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * factor


def _save(contestant: Contestant, run: Path, recipe: AblationRecipe) -> None:
    run.mkdir(parents=True, exist_ok=True)
    path = run / f"{contestant.variant}.pt"
    part = path.with_suffix(".part")
    record = {"recipe": repr(recipe), "log": contestant.log, "seconds": contestant.seconds}
    torch.save(
        {
            "net": contestant.net.state_dict(),
            "optimiser": contestant.optimiser.state_dict(),
            "record": json.dumps(record),
        },
        part,
    )
    part.replace(path)


def _resume(contestant: Contestant, run: Path, recipe: AblationRecipe) -> None:
    path = run / f"{contestant.variant}.pt"
    if not path.is_file():
        return
    state = torch.load(path, weights_only=True)
    record = json.loads(state["record"])
    if record["recipe"] != repr(recipe):
        raise InvalidFieldError(
            f"{path} is of another recipe: found {record['recipe']}, expected {recipe}"
        )
    contestant.net.load_state_dict(state["net"])
    contestant.optimiser.load_state_dict(state["optimiser"])
    contestant.log, contestant.seconds = record["log"], record["seconds"]
