"""Watching a run by frames that nothing is trained on and nothing is chosen by."""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from v2vpose.backends import TorchBackend
from v2vpose.geometry.cubic_box import CENTRED_CELL_OFFSET
from v2vpose.localise import target_crop
from v2vpose.member import Member, reach_mm
from v2vpose.training.recipe import Recipe
from v2vpose.training.samples import TrainingFrame, bbox_midpoint, known_view
from v2vpose.training.trainees import Trainees
from v2vpose.values import Decode, FloatArray, TargetCrop

_BATCH: Final = 16
_SIGMA_SHARE: Final = 0.08  # of the box: 20 mm of 250


@dataclass(frozen=True, slots=True)
class Held:
    """Held-out crops with their truth.

    Attributes:
        crops: one a frame, the hand that the nets know, around a disturbed reference point.
        keypoints_mm: (N, K, 3) truth in the crops' camera frame.
    """

    crops: tuple[TargetCrop, ...]
    keypoints_mm: FloatArray


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found in them.

    Attributes:
        figures: mean 3D errors, mm: both decodings, and the refined point.
        keypoints_mm: (N, K, 3) found, sub-voxel.
    """

    figures: dict[str, float]
    keypoints_mm: FloatArray


def held_out(frames: Iterable[TrainingFrame], recipe: Recipe) -> Held:
    """Return the frames as crops around reference points off by 8 % of the box an axis (sigma)."""
    rng = np.random.default_rng(recipe.seed)
    reach = reach_mm(
        side_mm=recipe.side_mm, refiner_side_mm=recipe.refiner_side_mm, refiner_passes=1
    )
    crops, truth = [], []
    for labelled in frames:
        known = known_view(labelled, recipe)
        sigma_mm = _SIGMA_SHARE * recipe.side_mm
        first_mm = bbox_midpoint(known.keypoints_mm) + rng.normal(0, sigma_mm, size=3)
        crops.append(target_crop(known.frame, first_mm, side_mm=recipe.side_mm, reach_mm=reach))
        truth.append(known.keypoints_mm)
    return Held(tuple(crops), np.stack(truth))


def watch(trainees: Trainees, held: Held, recipe: Recipe, device: torch.device) -> Watched:
    """Estimate the held-out crops with the nets as they are."""
    member = Member(
        epoch=0,
        backend=TorchBackend(
            deepcopy(trainees.v2v.net), deepcopy(trainees.refiner.net), device=device
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
            for start in range(0, len(held.crops), _BATCH)
            for answer in member.estimate(held.crops[start : start + _BATCH], decode).answers
        ]
        found_mm = np.stack([answer.keypoints_mm for answer in answers])  # (N, K, 3)
        figures[f"{decode}_mm"] = _mean_distance(found_mm, held.keypoints_mm)
    refined_mm = np.stack([answer.refined_point_mm for answer in answers])
    target_mm = np.stack([bbox_midpoint(keypoints) for keypoints in held.keypoints_mm])
    figures["refined_mm"] = _mean_distance(refined_mm, target_mm)
    return Watched(figures, found_mm)


def _mean_distance(found_mm: FloatArray, truth_mm: FloatArray) -> float:
    return float(np.linalg.norm(found_mm - truth_mm, axis=-1).mean())
