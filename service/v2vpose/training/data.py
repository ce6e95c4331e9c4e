"""Training sets by name: where frames come from, and what a net trained on them is for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from v2vpose.datasets.disk import open_dataset
from v2vpose.datasets.frames import DiskFrame, DiskFrames, Shuffled, spread
from v2vpose.datasets.synthetic import HandFrame, SyntheticHands
from v2vpose.datasets.synthetic.hands import (
    HAND_KEYPOINT_MEANING,
    HAND_KEYPOINTS,
    HAND_SKELETON,
)
from v2vpose.errors import InvalidDepthMapError, InvalidFieldError
from v2vpose.model_store import Keypoint, Subject
from v2vpose.training.fit import Frames
from v2vpose.training.recipe import Recipe
from v2vpose.training.watch import Held, held_out

SetName: TypeAlias = Literal["hand", "icvl", "nyu", "msra", "hands17", "itop-side", "itop-top"]
WATCHED_FRAMES: Final = 128
HAND_EPOCH_FRAMES: Final = 6400
"""A pass over generated hands, which have no end, if the recipe does not say."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Everything about a set that training and the manifest need.

    Attributes:
        frames: to train on.
        held: to watch by.
        watched: which frames those are, in words.
        skipped: frames of the split that cannot be used, by reason.
        recipe: the recipe with the set's box, hand and depths.
        description: of a model trained on it.
        subject: what it shows.
        keypoints: in order.
        skeleton: edges by index into the keypoints.
    """

    frames: Frames
    held: Held
    watched: str
    skipped: dict[str, int]
    recipe: Recipe
    description: str
    subject: Subject
    keypoints: tuple[Keypoint, ...]
    skeleton: tuple[tuple[int, int], ...]


def open_training_set(
    name: SetName, root: Path | None, recipe: Recipe, *, fold: int
) -> TrainingSet:
    """Open a set.

    Args:
        name: of the set; `hand`: generated frames.
        root: where a set on disk lies.
        recipe: of the run.
        fold: of MSRA, the subject left out.

    Raises:
        InvalidFieldError: a set on disk without its root, or what `open_dataset` refuses.
    """
    if name == "hand":
        return _generated(recipe)
    if root is None:
        raise InvalidFieldError(f"dataset {name} needs its root directory, found none given")
    dataset, _, view = name.partition("-")
    side: Literal["side", "top"] = "top" if view == "top" else "side"
    train = open_dataset(dataset, root, "train", fold=fold, view=side)
    test = open_dataset(dataset, root, "test", fold=fold, view=side)
    return _on_disk(name, train, test, recipe)


@dataclass(frozen=True, slots=True)
class GeneratedFrames:
    """Generated hands; a pass is a number, for they have no end."""

    hands: SyntheticHands
    count: int

    @property
    def origin(self) -> str:
        """What they are, in words."""
        return f"synthetic hands, split {self.hands.split}, seed {self.hands.seed}"

    def __len__(self) -> int:
        """Frames a pass."""
        return self.count

    def frame(self, place: int) -> HandFrame:
        """Return the frame at a place of the endless sequence."""
        return self.hands.frame(place)


def _generated(recipe: Recipe) -> TrainingSet:
    recipe = replace(recipe, detector=True)
    held = SyntheticHands(split="held_out", seed=recipe.seed)
    count = HAND_EPOCH_FRAMES if recipe.epoch_frames is None else recipe.epoch_frames
    return TrainingSet(
        frames=GeneratedFrames(SyntheticHands(split="train", seed=recipe.seed), count),
        held=held_out((held.frame(index) for index in range(WATCHED_FRAMES)), recipe),
        watched=f"{WATCHED_FRAMES} generated frames, split held_out, seed {recipe.seed}",
        skipped={},
        recipe=recipe,
        description="21 keypoints of one hand, the MSRA set; trained on generated depth maps alone",
        subject=Subject.HAND,
        keypoints=tuple(Keypoint(name=n, meaning=HAND_KEYPOINT_MEANING[n]) for n in HAND_KEYPOINTS),
        skeleton=HAND_SKELETON,
    )


def _on_disk(name: str, train: DiskFrames, test: DiskFrames, recipe: Recipe) -> TrainingSet:
    known = train.known
    recipe = replace(
        recipe,
        side_mm=known.side_mm,
        near_mm=known.near_mm,
        far_mm=known.far_mm,
        handedness=known.handedness,
        refiner_side_mm=known.refiner_side_mm,
    )
    frames = Shuffled(train, seed=recipe.seed, limit=recipe.epoch_frames)
    watched = list(_labelled(test))
    which = "test split"
    if not watched:  # HANDS17 publishes no labels of it
        watched, which = list(_labelled(train)), "train split: the test split has no labels"
    return TrainingSet(
        frames=frames,
        held=held_out(watched, recipe),
        watched=f"{len(watched)} frames of the {which}",
        skipped=train.skipped,
        recipe=recipe,
        description=f"{len(known.keypoints)} keypoints of {name}",
        subject=known.subject,
        keypoints=tuple(Keypoint(name=n, meaning=f"as {name} labels it") for n in known.keypoints),
        skeleton=known.skeleton,
    )


def _labelled(frames: DiskFrames) -> Iterator[DiskFrame]:
    """Decode evenly spread frames that can be read and have labels."""
    for index in spread(len(frames), WATCHED_FRAMES).tolist():
        try:
            frame = frames.frame(index)
        except InvalidDepthMapError:
            continue
        if np.isfinite(frame.keypoints_mm).all():
            yield frame
